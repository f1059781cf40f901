"""Where the last release runs, if model and runtime are judged together (`runtime="last"`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.baseline.runtime import runtime_change, runtime_here, shipped_with
from pytest_onnxlite.baseline.shipped import ShippedRuntime
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.task import Task
from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.commands import SAVE, WITH_LAST_RUNTIME
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime.environment import install, packages_of, require

if TYPE_CHECKING:
    from pytest_onnxlite.spec.runtimes import Runtime


@dataclass(frozen=True)
class LastRuntime:
    """The runtime of the last release, in processes of its own.

    Attributes:
        name: for a person: `onnxruntime 1.24.4`.
        packages: the folder that it is loaded from; None for today's.
        runtime: how the release was run.
    """

    name: str
    packages: Path | None
    runtime: Runtime


def last_runtime(task: Task[Any]) -> LastRuntime | Absent | None:
    """Return where the last release runs; None if that is where the candidate runs; or why it cannot.

    It is today's runtime if nothing of it changed, unless a folder is named.
    """
    if not task.limit.runtime or not isinstance(task.reference, Baseline):
        return None
    kind = task.builder.kind(task.variant.kind)
    before, now = shipped_with(task.reference, kind), runtime_here(kind, task.builder.spec.runtime_of(kind.name))
    if before is None or now is None:
        return _absent(
            "its baseline does not say which runtime that was: a version of pytest-onnxlite saved it that did not keep it, or "
            f"machines with several did. Keep today's with: {SAVE}"
        )
    where = task.settings.last_runtime
    if not runtime_change(before, now) and not isinstance(where, Path):
        return None
    if task.last_file is None:
        return _absent(task.no_last_file)
    if before.package == now.package and not isinstance(where, Path):
        return _found(task, before, None)
    if not where:
        return _absent(
            f"that was {before.package}, and here is {now.package}. Name an environment that holds "
            "it, a virtual environment or a folder of pip's --target: "
            f"{WITH_LAST_RUNTIME}; or let pip install it into the cache: --onnxlite-last-runtime=auto"
        )
    try:
        folder = where if isinstance(where, Path) else _installed(task, before)
        packages = packages_of(folder, before.library)
        require(packages, before.library, before.version)
    except OnnxliteError as error:
        return _absent(f"that was {before.package}. --onnxlite-last-runtime={where}: {error}")
    return _found(task, before, packages)


def _installed(task: Task[Any], before: ShippedRuntime) -> Path:
    """Return the folder that pip installed a runtime into, now or in an earlier run."""

    def build(folder: Path) -> None:
        task.progress(f"installing {before.package}, the last release's runtime")
        install(before.library, before.version, folder, before.distribution)

    inputs = {"library": before.distribution or before.library, "version": before.version, "python": _python()}
    return task.cached("runtime", inputs, build)


def _python() -> str:
    import sysconfig

    return f"{sysconfig.get_python_version()} {sysconfig.get_platform()}"


def _found(task: Task[Any], before: ShippedRuntime, packages: Path | None) -> LastRuntime:
    """Return the last release's runtime, with the options that it was saved with, but for those that the marker names."""
    try:
        runtime = task.builder.spec.runtime_of(task.variant.kind).restored(before.provider, before.options)
    except (msgspec.ValidationError, OnnxliteError):
        runtime = task.runtime
    if getattr(task.limit, "threads", None):
        runtime = runtime.with_threads(task.runtime.threads)
    name = before.package
    if runtime.threads != task.runtime.threads:
        name += f", threads {runtime.threads}"
    return LastRuntime(name, packages, runtime)


def _absent(why: str) -> Absent:
    return Absent(Outcome.NOT_COMPARABLE, f'runtime="last" asks for the last release in its own runtime: {why}')
