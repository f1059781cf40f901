"""The runtime that a release ships with: kept with its baseline, and compared with today's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_onnxlite.baseline.fingerprint import describe_machine, fingerprint
from pytest_onnxlite.baseline.record import Baseline, ShippedRuntime
from pytest_onnxlite.kinds import LITERT, ONNX_RUNTIME, Kind
from pytest_onnxlite.variants.cache import version_of

if TYPE_CHECKING:
    from pytest_onnxlite.spec import Runtime

_DISTRIBUTIONS = {ONNX_RUNTIME: "onnxruntime", LITERT: "ai-edge-litert"}
# What stands where nobody could tell.
_UNKNOWN = ("", "unknown", "absent")


def runtime_here(kind: Kind, runtime: Runtime) -> ShippedRuntime | None:
    """Return what runs a kind of variant today; None for one that its own library calls.

    Args:
        kind: the kind.
        runtime: how the spec says it is run.
    """
    if kind.runtime not in _DISTRIBUTIONS:
        return None
    return ShippedRuntime(
        library=kind.runtime,
        version=version_of(_DISTRIBUTIONS[kind.runtime]),
        provider=describe_machine().provider if kind.runtime == ONNX_RUNTIME else "",
        options={name: str(getattr(runtime, name)) for name in runtime.__struct_fields__},
    )


def machine_key(baseline: Baseline | None, library: str) -> str:
    """Return the key of this machine in a baseline, for files that a library runs.

    Versions that did not keep LiteRT's version had it under another key, which is this machine's as long as LiteRT is
    not known to have changed.
    """
    key = fingerprint(describe_machine(library))
    if library != LITERT or baseline is None or key in baseline.machines:
        return key
    before = fingerprint(describe_machine())
    shipped = baseline.runtime.version if baseline.runtime is not None else ""
    same = shipped in (*_UNKNOWN, describe_machine(LITERT).litert)
    return before if same and before in baseline.machines else key


def shipped_with(baseline: Baseline, kind: Kind) -> ShippedRuntime | None:
    """Return the runtime of a release; None if it is not known.

    A baseline of a version that did not keep it has the versions of ONNX Runtime on the machines that saved it: if they
    all had the same, that is it.
    """
    if baseline.runtime is not None or kind.runtime != ONNX_RUNTIME:
        return baseline.runtime
    machines = [found.description for found in baseline.machines.values()]
    versions = {machine.onnxruntime for machine in machines} - set(_UNKNOWN)
    if len(versions) != 1:
        return None
    providers = {machine.provider for machine in machines} - set(_UNKNOWN)
    return ShippedRuntime(ONNX_RUNTIME, versions.pop(), providers.pop() if len(providers) == 1 else "")


def runtime_change(before: ShippedRuntime | None, now: ShippedRuntime | None) -> str:
    """Say how the runtime changed: `1.24.4 → 1.32.0, threads 1 → 2`; empty if it did not, or nobody knows.

    An option that one of the two does not have is not compared: the version that wrote it did not know it.
    """
    if before is None or now is None:
        return ""
    pairs = [("", before.version, now.version)]
    if before.library != now.library:
        pairs = [("", f"{before.library} {before.version}", f"{now.library} {now.version}")]
    pairs.append(("provider ", before.provider, now.provider))
    pairs += [(f"{name} ", was, now.options[name]) for name, was in before.options.items() if name in now.options]
    return ", ".join(
        f"{what}{was} → {new}" for what, was, new in pairs if was != new and was not in _UNKNOWN and new not in _UNKNOWN
    )
