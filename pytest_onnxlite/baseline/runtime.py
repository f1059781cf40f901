"""The runtime that a release ships with: kept with its baseline, and compared with today's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_onnxlite.baseline.fingerprint import Machine, describe_machine, fingerprint
from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.baseline.shipped import ShippedRuntime
from pytest_onnxlite.kinds import LITERT, ONNX_RUNTIME, Kind
from pytest_onnxlite.spec.runtimes import option_change
from pytest_onnxlite.variants.cache import onnxruntime_distribution, version_of

if TYPE_CHECKING:
    from pytest_onnxlite.spec.runtimes import Runtime

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
    version = version_of(_DISTRIBUTIONS[kind.runtime])
    if kind.runtime != ONNX_RUNTIME:
        return ShippedRuntime(kind.runtime, version, options={"threads": str(runtime.threads)})
    package = onnxruntime_distribution()
    return ShippedRuntime(
        library=kind.runtime,
        version=version,
        provider=", ".join(runtime.providers),
        options=runtime.options(),
        distribution="" if package == ONNX_RUNTIME else package,
    )


def machine_here(shipped: ShippedRuntime | None) -> Machine:
    """Return what this machine is, for files that are run so; for one that its own library calls as for ONNX Runtime."""
    if shipped is None:
        return describe_machine()
    return describe_machine(shipped.library, shipped.provider, shipped.options)


def machine_key(baseline: Baseline | None, now: ShippedRuntime | None) -> str:
    """Return the key of this machine in a baseline, for files that are run as they are today.

    Versions that did not keep LiteRT's version had it under another key, which is this machine's as long as LiteRT is
    not known to have changed.
    """
    key = fingerprint(machine_here(now))
    if now is None or now.library != LITERT or baseline is None or key in baseline.machines:
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

    An option that one of the two does not have was the default there; but for the threads, which early versions did not
    write down.
    """
    if before is None or now is None:
        return ""
    pairs = [("", before.version, now.version)]
    if (before.library, before.distribution) != (now.library, now.distribution):
        pairs = [("", before.package, now.package)]
    pairs.append(("provider ", before.provider, now.provider))
    for name in sorted({*before.options, *now.options}):
        if name != "threads" or (name in before.options and name in now.options):
            pairs.append((f"{name} ", *option_change(name, before.options.get(name), now.options.get(name))))
    return ", ".join(
        f"{what}{was} → {new}" for what, was, new in pairs if was != new and was not in _UNKNOWN and new not in _UNKNOWN
    )
