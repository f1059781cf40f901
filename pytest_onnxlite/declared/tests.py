"""The tests that are collected for the models that a pyproject.toml declares."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_onnxlite.declared.models import ROOT, DeclaredModel, read
from pytest_onnxlite.fixtures import session_of
from pytest_onnxlite.markers import Guard
from pytest_onnxlite.options import PREFIX
from pytest_onnxlite.registry import Registry, marker_of
from pytest_onnxlite.stash import GUARD, or_fail


@dataclass(frozen=True, eq=False)
class DeclaredFile:
    """A pyproject.toml and the models that it declares; a plugin, so that they are collected."""

    path: Path
    models: tuple[DeclaredModel, ...]
    registry: Registry

    @classmethod
    def read(cls, path: Path, registry: Registry, strict: bool = False) -> DeclaredFile:
        """Read a pyproject.toml; see `read`."""
        return cls(path, tuple(read(path, registry, strict)), registry)

    def take_arguments(self, config: pytest.Config) -> None:
        """Let a run over the test paths reach the declared models too, and let their tests be selected by id."""
        config.args[:] = [
            f"{self.path}{argument[len(ROOT) :]}"
            if argument.split("::")[0] == ROOT and not Path(config.invocation_params.dir, ROOT).exists()
            else argument
            for argument in config.args
        ]
        if config.args_source is config.ArgsSource.TESTPATHS:
            folders = [Path(config.invocation_params.dir, argument) for argument in config.args]
            if not any(folder == self.path or folder in self.path.parents for folder in folders):
                config.args.append(str(self.path))

    def tests(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """Return the ids of their tests, whether they are collected or not, and the variant's kind and the check of each."""
        return {
            f"{ROOT}::{model.name}::{limit.kind}::{limit.name}": ((limit.kind, limit.name),)
            for model in self.models
            for limit in model.limits
        }

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> OnnxliteModels | None:
        """Collect their tests, whose ids start with `onnxlite::`."""
        if file_path != self.path:
            return None
        collector: OnnxliteModels = OnnxliteModels.from_parent(parent, name=ROOT, path=self.path, nodeid=ROOT)
        collector.models = self.models
        collector.registry = self.registry
        return collector


def _lines(path: Path) -> dict[str, int]:
    """Return the line, from 0, on which the table of each model starts, if it has one of its own."""
    header = re.compile(r"""\s*\[\s*tool\s*\.\s*onnxlite\s*\.\s*models\s*\.\s*["']?([^\]"']+?)["']?\s*\]""")
    found: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        match = header.match(line)
        if match:
            found.setdefault(match[1], number)
    return found


class OnnxliteModels(pytest.Collector):
    """All models of a pyproject.toml."""

    models: tuple[DeclaredModel, ...] = ()
    registry: Registry

    def collect(self) -> Iterator[pytest.Collector]:
        """Yield a collector for each model."""
        lines = _lines(self.path)
        for model in self.models:
            collector = OnnxliteModel.from_parent(self, name=model.name)
            collector.model = model
            collector.registry = self.registry
            collector.line = lines.get(model.name)
            yield collector


class OnnxliteModel(pytest.Collector):
    """One model."""

    model: DeclaredModel
    registry: Registry
    line: int | None

    def collect(self) -> Iterator[pytest.Collector]:
        """Yield a collector for each variant."""
        for kind in dict.fromkeys(declared.kind for declared in self.model.limits):
            yield OnnxliteVariant.from_parent(self, name=kind)


class OnnxliteVariant(pytest.Collector):
    """One variant of a model."""

    parent: OnnxliteModel

    def collect(self) -> Iterator[pytest.Item]:
        """Yield a test for each limit."""
        limits, registry = self.parent.model.limits, self.parent.registry
        for declared in limits:
            if declared.kind == self.name:
                item: OnnxliteCheck = OnnxliteCheck.from_parent(self, name=declared.name, callobj=_build)
                other_limits = [other.key for other in limits if other is not declared]
                item.stash[GUARD] = Guard.of([declared.key], registry, other_limits, self.parent.model.where)
                item.add_marker(getattr(pytest.mark, marker_of(declared.check))(**declared.given))
                yield item


class OnnxliteCheck(pytest.Function):
    """One limit of a variant, as a test: its body builds the variant, and the plugin judges it as any other."""

    parent: OnnxliteVariant

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Name the declaration as the place, and the test as it is selected."""
        return self.path, self.parent.parent.line, self.nodeid


def _build(request: pytest.FixtureRequest) -> None:
    item: OnnxliteCheck = request.node
    model, kind = item.parent.parent.model, item.parent.name
    guardian = session_of(item.config).guardian()
    spec = or_fail(lambda: model.spec)
    benchmark: Any = item.funcargs.get("benchmark")
    if benchmark is not None:  # in whose table all of them would be called by their check
        benchmark.name = f"{model.name} {kind} {item.name}"
    item.funcargs["onnxlite_model"] = spec
    item.funcargs[f"{PREFIX}{kind}"] = or_fail(lambda: guardian.variant(spec, kind))
