"""What a machine's timings depend on, as a key under which they are stored."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from functools import lru_cache
from pathlib import Path

import msgspec

from pytest_onnxlite.variants.cache import version_of

# The instruction sets by which ONNX Runtime picks its kernels, as Linux names them and as numpy does.
_LINUX_FLAGS = {
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx_vnni": "avx-vnni",
    "avx512_vnni": "avx512-vnni",
    "amx_int8": "amx-int8",
    "asimddp": "neon-dotprod",
    "i8mm": "neon-i8mm",
    "sve": "sve",
}
_NUMPY_FLAGS = {"AVX2": "avx2", "AVX512F": "avx512", "AVX512VNNI": "avx512-vnni", "ASIMDDP": "neon-dotprod"}


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _isa(cpuinfo: dict[str, str]) -> list[str]:
    flags = (cpuinfo.get("flags") or cpuinfo.get("Features") or "").split()
    if flags:
        return sorted(name for flag, name in _LINUX_FLAGS.items() if flag in flags)
    try:
        from numpy._core._multiarray_umath import __cpu_features__ as features
    except ImportError:
        return []
    return sorted(name for flag, name in _NUMPY_FLAGS.items() if features.get(flag))


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
    """What is stored beside a machine's figures; no host name, no time.

    Attributes:
        os: as Python calls it.
        architecture: such as `x86_64`.
        cpu: the processor's name.
        isa: the instruction sets by which ONNX Runtime picks its kernels.
        cpus: the CPUs that a process may use.
        onnxruntime: its version.
        provider: its execution provider.
        optimization: its optimization level.
    """

    os: str = "unknown"
    architecture: str = "unknown"
    cpu: str = "unknown"
    isa: tuple[str, ...] = ()
    cpus: int | float = 0
    onnxruntime: str = "unknown"
    provider: str = "unknown"
    optimization: str = "unknown"


@lru_cache(maxsize=1)
def describe_machine() -> Machine:
    """Return what this machine is."""
    cpuinfo = _cpuinfo()
    model = cpuinfo.get("model name") or os.environ.get("PROCESSOR_IDENTIFIER") or platform.processor()
    return Machine(
        os=sys.platform,
        architecture=platform.machine().lower(),
        cpu=model or "unknown",
        isa=tuple(_isa(cpuinfo)),
        cpus=usable_cpus(),
        onnxruntime=version_of("onnxruntime"),
        provider="CPUExecutionProvider",
        optimization="all",
    )


def fingerprint(machine: Machine) -> str:
    """Return a short key for a machine: readable at its start, unique by its hash."""
    digest = hashlib.sha256(json.dumps(msgspec.to_builtins(machine), sort_keys=True).encode()).hexdigest()[:12]
    return f"{machine.os}-{machine.architecture}-{machine.cpus:g}cpu-{digest}"
