"""Models that are declared in pyproject.toml.

Their limits are those of the markers: the same names, the same values, read by the same code. What is heavy is
imported when such a test runs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pytest_onnxlite.checks.limit import Limit, parse_limits
from pytest_onnxlite.declared.datafile import DataFile, read_arrays
from pytest_onnxlite.declared.runtimes import mistakes_of_runtimes, named_runtime, other_runtime
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.labels import labelled
from pytest_onnxlite.markers import require_support
from pytest_onnxlite.registry import DECLARED_KEYS, Registry
from pytest_onnxlite.settings import UsageMistake
from pytest_onnxlite.spec.given import problem_of_name, problem_of_source
from pytest_onnxlite.spec.recipes import AnyRecipe, Made, OtherRuntime, Recipe
from pytest_onnxlite.spec.scenarios import Scenario, as_scenarios, unknown_scenario
from pytest_onnxlite.spec.stateful import Stateful
from pytest_onnxlite.text import listed, twin, unknown

if TYPE_CHECKING:
    from pytest_onnxlite.spec.model import ModelSpec

# What the tests' ids start with, in the place of a file.
ROOT = "onnxlite"

_FILES = ("trained", "onnx", "int8")
_DATA = {"data": ("file", "x", "y", "slices", "labels"), "calibration": ("file", "x")}
# Handed to ModelSpec as they are, which checks their range.
_PLAIN = {"metric": str, "output": str, "batch_size": int, "threads": int, "batched": bool}
_KEYS = (*_FILES, *_DATA, *_PLAIN, "recipe", "runtime", "scenarios", "state", "grows", "variants", "judge")
assert set(_KEYS) == DECLARED_KEYS  # which no check of a project's own may be called
# How alike two names are of which one is the other misspelt, from 0 to 1.
_ALIKE = 0.85
# A table of models that was put somewhere else, such as [tool.pytest.onnxlite.models.NAME].
_DEEPEST = 3
_APART = "Limits of one check on one variant are told apart by label=."
_TYPES = {str: "a string", int: "a whole number", bool: "true or false"}


@dataclass(frozen=True)
class DeclaredLimit:
    """A limit of a declared model.

    Attributes:
        kind: the kind of variant that it judges.
        check: the check.
        limit: what it asks.
        given: the marker's arguments as they were given.
    """

    kind: str
    check: str
    limit: Limit
    given: Mapping[str, object]

    @property
    def key(self) -> tuple[str, str, Limit]:
        """Kind, check and limit."""
        return self.kind, self.check, self.limit

    @property
    def name(self) -> str:
        """The check, with the label if there is one."""
        return labelled(self.check, self.limit.label)


@dataclass(frozen=True)
class DeclaredModel:
    """A model as it is declared.

    Attributes:
        name: its name.
        where: the place of the declaration, for messages.
        arguments: what `ModelSpec` is given as it is.
        data: the evaluation data.
        calibration: the calibration data.
        limits: the limits.
        scenarios: what else it is fed with, by name; instead of inputs of their own, the file of these.
    """

    name: str
    where: str
    arguments: Mapping[str, Any]
    data: DataFile | None
    calibration: DataFile | None
    limits: tuple[DeclaredLimit, ...] = field(default=())
    scenarios: Mapping[str, Scenario] = field(default_factory=dict)

    @cached_property
    def spec(self) -> ModelSpec:
        """The model's spec; reads its data.

        Raises:
            OnnxliteError: a file is not there or unusable.
        """
        from pytest_onnxlite.spec.dataset import Dataset
        from pytest_onnxlite.spec.model import ModelSpec

        evaluation = None
        if self.data is not None:
            evaluation = Dataset(*read_arrays(self.data, f"{self.where}: data", labelled=True))
        calibration = None
        if self.calibration is not None:
            calibration, *_ = read_arrays(self.calibration, f"{self.where}: calibration", labelled=False)
        scenarios = {name: self._with_inputs(name, scenario) for name, scenario in self.scenarios.items()}
        return ModelSpec(
            self.name, evaluation=evaluation, calibration=calibration, scenarios=scenarios, **self.arguments
        )

    def _with_inputs(self, name: str, scenario: Scenario) -> Scenario:
        if scenario.inputs is None:
            return scenario
        inputs, *_ = read_arrays(scenario.inputs, f"{self.where} scenarios.{name}: inputs", labelled=False)
        return replace(scenario, inputs=inputs)


# -- reading the declaration ---------------------------------------------------------------------------------


def read(path: Path, registry: Registry, strict: bool = False) -> list[DeclaredModel]:
    """Read the models that a pyproject.toml declares; none of their files is opened.

    Args:
        path: the file.
        registry: the checks and kinds there are.
        strict: whether a table that looks as if it was to declare models, under another name, is a mistake.

    Raises:
        UsageMistake: no TOML, a wrong key, or a value of the wrong type or out of range; all mistakes are told.
    """
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageMistake(f"{path}: {error}") from None
    if strict:
        _require_no_misspelt(path, content)
    table = content.get("tool", {}).get(ROOT)
    if table is None:
        return []
    where = f"{path.name}: [tool.onnxlite"
    _require_keys(f"{where}]", table, ("models", "runtimes"))
    models, runtimes = table.get("models", {}), table.get("runtimes", {})
    for key, tables in (("models", models), ("runtimes", runtimes)):
        if not isinstance(tables, dict):
            raise UsageMistake(f"{where}]: {key}={tables!r}; expected tables [tool.onnxlite.{key}.NAME].")
    declared: list[DeclaredModel] = []
    mistakes = mistakes_of_runtimes(path.parent, runtimes, f"{where}.runtimes")
    for name, entries in models.items():
        other = twin(name, [model.name for model in declared])
        if other is not None:
            mistakes.append(f"{where}.models.{name}]: differs from {other!r} by case alone; give one another name.")
        try:
            declared.append(_model(path.parent, name, entries, f"{where}.models.{name}]", registry, runtimes))
        except UsageMistake as mistake:
            mistakes.append(str(mistake))
    if mistakes:
        raise UsageMistake("\n".join(mistakes))
    return declared


def _require_no_misspelt(path: Path, content: Mapping[str, object]) -> None:
    """Refuse a table that is nearly called `tool.onnxlite` and holds models: nobody would read it."""
    from difflib import get_close_matches

    for place, table in _tables(content, _DEEPEST):
        plain = re.sub("[-_]", "", place[-1].lower()).removeprefix("pytest")
        if place == ("tool", ROOT) or not get_close_matches(plain, [ROOT], cutoff=_ALIKE):
            continue
        keys = [key for key, value in table.items() if isinstance(value, dict)]
        if any(get_close_matches(key.lower(), ["models", "runtimes"], cutoff=_ALIKE) for key in keys):
            raise UsageMistake(
                f"{path.name}: [{'.'.join(place)}] seems to declare models or runtimes, and nobody reads a table of that "
                f"name. Call it [tool.{ROOT}.models.NAME] or [tool.{ROOT}.runtimes.NAME]."
            )


def _tables(content: Mapping[str, object], deep: int) -> Iterator[tuple[tuple[str, ...], Mapping[str, object]]]:
    """Return the tables of a file, so many levels deep, each with its place."""
    for name, table in content.items():
        if isinstance(table, dict):
            yield (name,), table
            if deep > 1:
                yield from (((name, *place), inner) for place, inner in _tables(table, deep - 1))


def _require_keys(where: str, table: object, keys: Iterable[str]) -> None:
    if not isinstance(table, dict):
        raise UsageMistake(f"{where}: {table!r}; expected a table.")
    keys = tuple(keys)
    for key in table:
        if key not in keys:
            raise UsageMistake(f"{where}: {unknown('key', key, keys)}")


def _model(
    folder: Path, name: str, table: Any, where: str, registry: Registry, runtimes: Mapping[str, object]
) -> DeclaredModel:
    _require_keys(where, table, (*_KEYS, *registry.checks))
    arguments: dict[str, Any] = {}
    for key in _FILES:
        if key in table:
            arguments[key] = folder / _typed(where, table, key, str)
    named = _named(folder, where, table, registry, runtimes)
    sources = [made.of if isinstance(made, OtherRuntime) else made for made in named.values()]
    if not arguments and not any(isinstance(source, Path) for source in sources):
        raise UsageMistake(f"{where}: names no model file; give {listed(_FILES, 'or')}.")
    for key, wanted in _PLAIN.items():
        if key in table:
            arguments[key] = _typed(where, table, key, wanted)
    if "recipe" in table:
        arguments["recipe"] = _recipe(f"{where} recipe", table["recipe"], Recipe)
    if "runtime" in table:
        arguments["runtime"] = named_runtime(folder, where, table["runtime"], runtimes)
    if "state" in table:
        try:
            arguments["stateful"] = Stateful(table["state"], grows=table.get("grows", ()))
        except OnnxliteError as error:
            raise UsageMistake(f"{where} state: {error}") from None
    elif "grows" in table:
        raise UsageMistake(f"{where}: grows names inputs of a model with a state; give state too.")
    data = {
        key: _data_file(folder, f"{where} {key}", table[key], names) for key, names in _DATA.items() if key in table
    }
    scenarios = _scenarios(folder, where, table.get("scenarios", {}), arguments.get("batched", True))
    limits = _limits(where, table, registry, [*(["int8"] if arguments else []), *named], named)
    if named:
        arguments["variants"] = named
    for declared in limits:
        asked = declared.limit.scenario_name
        if asked and asked not in scenarios:
            raise UsageMistake(f"{where} {declared.check}: {unknown_scenario(asked, scenarios)}")
    return DeclaredModel(name, where, arguments, data.get("data"), data.get("calibration"), limits, scenarios)


def _scenarios(folder: Path, where: str, value: Any, batched: bool) -> Mapping[str, Scenario]:
    where = f"{where} scenarios"
    if not isinstance(value, dict):
        raise UsageMistake(f"{where}={value!r}; expected tables by name, such as {{long = {{length = 512}}}}.")
    found = {}
    for name, table in value.items():
        _require_keys(f"{where}.{name}", table, ("length", "batch_size", "inputs"))
        given = dict(table)
        if "inputs" in given:
            given["inputs"] = _data_file(folder, f"{where}.{name} inputs", given["inputs"], ("file", "x"))
        try:
            found[name] = Scenario(**given)
        except OnnxliteError as error:
            raise UsageMistake(f"{where}.{name}: {error}") from None
    try:
        return as_scenarios(found, where, batched)
    except OnnxliteError as error:
        raise UsageMistake(str(error)) from None


def _typed(where: str, table: Mapping[str, object], key: str, wanted: type) -> Any:
    value = table[key]
    # In Python, true is a whole number too.
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)) or value == "":
        raise UsageMistake(f"{where}: {key}={value!r}; expected {_TYPES[wanted]}.")
    return value


def _data_file(folder: Path, where: str, value: Any, keys: tuple[str, ...]) -> DataFile:
    if isinstance(value, str):
        value = {"file": value}
    _require_keys(where, value, keys)
    if "file" not in value:
        raise UsageMistake(f'{where}: names no file; expected file = "data.npz".')
    x = value.get("x", "x")
    by_input = isinstance(x, dict) and x and all(isinstance(name, str) for name in x.values())
    if not by_input and not (isinstance(x, str) and x):
        raise UsageMistake(
            f"{where}: x={x!r}; expected an array's name, or a table of such names by the model's inputs."
        )
    y = _typed(where, value, "y", str) if "y" in value else None
    tables = {}
    for key, example in (("slices", '{night = "is_night"}'), ("labels", '{score = "y_score"}')):
        table = tables[key] = value.get(key, {})
        if not isinstance(table, dict) or not all(isinstance(name, str) and name for name in table.values()):
            raise UsageMistake(f"{where}: {key}={table!r}; expected a table of arrays' names, such as {example}.")
    return DataFile(folder / _typed(where, value, "file", str), x, y, **tables)


def _named(
    folder: Path, where: str, table: Mapping[str, object], registry: Registry, runtimes: Mapping[str, object]
) -> dict[str, Made]:
    """Return the variants that have names of their own: `variants` may also be a list, which picks."""
    given = table.get("variants")
    if not isinstance(given, dict):
        return {}
    where = f"{where} variants"
    found: dict[str, Made] = {}
    for name, made in given.items():
        problem = problem_of_name(name, found)
        if problem:
            raise UsageMistake(f"{where}: {problem}")
        if isinstance(made, str) and made:
            found[name] = folder / made
        elif isinstance(made, dict) and "of" in made:
            found[name] = other_runtime(folder, f"{where}.{name}", made, runtimes)
        else:
            found[name] = _recipe(f"{where}.{name}", made, AnyRecipe)
    for name, made in found.items():
        if not isinstance(made, OtherRuntime):
            continue
        problem = problem_of_source(name, made, found)
        known = [other for other in (*registry.kinds, *found) if other not in ("trained", name)]
        if not problem and isinstance(made.of, str) and made.of not in known:
            problem = unknown("variant", made.of, known, "There are")
        if problem:
            raise UsageMistake(f"{where}: {problem}")
    return found


def _recipe(where: str, value: Any, kinds: Any) -> Any:
    known = {kind.__name__: kind for kind in get_args(kinds)}
    if not isinstance(value, dict) or value.get("kind") not in known:
        given = value.get("kind") if isinstance(value, dict) else value
        raise UsageMistake(f"{where}: {given!r}; expected a table with kind = {listed(map(repr, known), 'or')}.")
    kind = known[value["kind"]]
    _require_keys(where, value, ("kind", *kind.__dataclass_fields__))
    try:
        return kind(**{key: entry for key, entry in value.items() if key != "kind"})
    except OnnxliteError as error:
        raise UsageMistake(f"{where}: {error}") from None


def _limits(
    where: str, table: Mapping[str, object], registry: Registry, judged: list[str], named: Collection[str]
) -> tuple[DeclaredLimit, ...]:
    kinds = (*registry.kinds, *named)
    taken = next((name for name in named if name.lower() in registry.kinds), None)
    if taken is not None:
        raise UsageMistake(f"{where}: a variant is called {taken!r}, which is the name of a kind; choose another.")
    if "judge" in table and not named:
        raise UsageMistake(f"{where}: judge picks among variants with names, and there are none; use variants = [...].")
    key = "judge" if named else "variants"
    more = "" if named else ", or a table of recipes and files by name"
    variants = table.get(key, judged)
    if not isinstance(variants, list) or not variants or not all(kind in kinds for kind in variants):
        raise UsageMistake(f"{where}: {key}={variants!r}; expected a list of {listed(kinds)}{more}.")
    found: dict[tuple[str, str], DeclaredLimit] = {}
    for check in registry.checks:
        for declared in _limits_of(f"{where} {check}", table.get(check), check, variants, registry, kinds):
            found[declared.kind, declared.name] = declared
    if not found:
        raise UsageMistake(
            f"{where}: limits nothing; give {listed(registry.checks, 'or')}, such as accuracy = {{max_drop = 0.01}}."
        )
    return tuple(found[key] for key in registry.in_order(found))


def _limits_of(
    where: str, value: Any, check: str, variants: list[str], registry: Registry, kinds: tuple[str, ...]
) -> list[DeclaredLimit]:
    """Return the limits of one check; of those of one label, one that names its variant goes before one that does not."""
    if value is None:
        return []
    parsed = []
    for given in value if isinstance(value, list) else [value]:
        if not isinstance(given, dict):
            raise UsageMistake(f"{where}={given!r}; expected a table, {{}} for the defaults.")
        limits = parse_limits(registry.checks[check].limit, given, where, kinds)
        parsed += [(limit, given) for limit in limits]
    found: dict[tuple[str, str], DeclaredLimit] = {}
    for limit, given in parsed:
        if limit.variant is not None:
            require_support(where, check, limit, limit.variant, registry)
            if (limit.variant, limit.label) in found:
                what = f", with the label {limit.label!r}" if limit.label else ""
                raise UsageMistake(f"{where} of the variant {limit.variant} is limited twice{what}. {_APART}")
            found[limit.variant, limit.label] = DeclaredLimit(limit.variant, check, limit, given)
    general: dict[str, tuple[Limit, Mapping[str, object]]] = {}
    for limit, given in parsed:
        if limit.variant is None:
            if limit.label in general:
                what = f" with the label {limit.label!r}" if limit.label else ""
                raise UsageMistake(f"{where} is limited twice{what}; say with variant= what each is for. {_APART}")
            general[limit.label] = limit, given
    for limit, given in general.values():
        supports = registry.checks[check].supports
        for kind in [kind for kind in variants if supports(registry.kind(kind))] or variants:
            require_support(where, check, limit, kind, registry)
            found.setdefault((kind, limit.label), DeclaredLimit(kind, check, limit, given))
    return list(found.values())
