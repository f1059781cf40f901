"""What a machine's timings depend on, as a key under which they are stored."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import msgspec

from pytest_onnxlite.kinds import LITERT, ONNX_RUNTIME
from pytest_onnxlite.processors import cpuinfo, instruction_sets
from pytest_onnxlite.variants.cache import version_of

_CPUS = msgspec.Meta(ge=0, le=1_000_000)


def usable_cpus() -> float:
    """Return the CPUs that this process may use, by its affinity and its control group's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    count: float = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else min(count, round(int(quota) / int(period), 2))


class Machine(msgspec.Struct, frozen=True):
    """What is stored with a machine's figures; no host name, no time.

    Attributes:
        os: as Python calls it.
        architecture: such as `x86_64`.
        cpu: the processor's name.
        isa: the instruction sets by which ONNX Runtime picks its kernels.
        cpus: the CPUs that a process may use.
        onnxruntime: its version.
        provider: its execution providers, in the order of preference.
        optimization: its optimization level.
        litert: LiteRT's version, for what that runs; ONNX Runtime's fields are empty then. Not set by versions that did
            not keep it.
        options: further options that ONNX Runtime runs with, by name; not set where all are the default.
    """

    os: str = "unknown"
    architecture: str = "unknown"
    cpu: str = "unknown"
    isa: tuple[str, ...] = ()
    cpus: Annotated[int, _CPUS] | Annotated[float, _CPUS] = 0
    onnxruntime: str = "unknown"
    provider: str = "unknown"
    optimization: str = "unknown"
    litert: str | msgspec.UnsetType = msgspec.UNSET
    options: Mapping[str, str] | msgspec.UnsetType = msgspec.UNSET

    @property
    def runtime_version(self) -> str:
        """The version of what runs a file there."""
        return self.onnxruntime if self.litert is msgspec.UNSET else self.litert

    def is_like(self, other: Machine) -> bool:
        """Tell whether another machine is of the same kind, whatever runtime is installed there."""
        return all(getattr(self, name) == getattr(other, name) for name in ("os", "architecture", "cpu", "isa", "cpus"))

    @property
    def kind(self) -> str:
        """A short key for all machines of the same kind, whatever runtime is installed there."""
        return fingerprint(Machine(self.os, self.architecture, self.cpu, self.isa, self.cpus))


def describe_machine(
    library: str = ONNX_RUNTIME, provider: str = "", options: Mapping[str, str] | None = None
) -> Machine:
    """Return what this machine is, for files that a library runs.

    Args:
        library: the library.
        provider: its execution providers, if they are not the default.
        options: its options by name, but for those that are the default; threads do not count, which figures keep themselves.
    """
    here = _describe_machine(library)
    if library != ONNX_RUNTIME:
        return here
    rest = {name: value for name, value in (options or {}).items() if name not in ("threads", "optimization")}
    return msgspec.structs.replace(
        here,
        provider=provider or here.provider,
        optimization=(options or {}).get("optimization", here.optimization),
        options=rest or msgspec.UNSET,
    )


@lru_cache
def _describe_machine(library: str) -> Machine:
    if library == LITERT:
        here = _describe_machine(ONNX_RUNTIME)
        version = version_of("ai-edge-litert")
        return msgspec.structs.replace(here, onnxruntime="", provider="", optimization="", litert=version)
    model = cpuinfo().get("model name") or os.environ.get("PROCESSOR_IDENTIFIER") or platform.processor()
    return Machine(
        os=sys.platform,
        architecture=platform.machine().lower(),
        cpu=model or "unknown",
        isa=tuple(instruction_sets()),
        cpus=usable_cpus(),
        onnxruntime=version_of("onnxruntime"),
        provider="CPUExecutionProvider",
        optimization="all",
    )


def host_name() -> str:
    """Return what this machine is called in its network."""
    return platform.node() or "unknown"


def machine_names() -> set[str]:
    """Return what this machine is called: its kind, and the name that CI gave it in ONNXLITE_MACHINE."""
    return {name for name in (describe_machine().kind, os.environ.get("ONNXLITE_MACHINE", "").strip()) if name}


def fingerprint(machine: Machine) -> str:
    """Return a short key for a machine: readable at its start, unique by its hash."""
    digest = hashlib.sha256(json.dumps(msgspec.to_builtins(machine), sort_keys=True).encode()).hexdigest()[:12]
    return f"{machine.os}-{machine.architecture}-{machine.cpus:g}cpu-{digest}"
