"""What the user asked for, as frozen dataclasses: the only readers of pytest's options, ini file and markers."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_onnxlite.judge.verdict import Mode

if TYPE_CHECKING:
    import pytest

KINDS = ("trained", "onnx", "int8")
FIXTURE_PREFIX = "onnxlite_"
VARIANT_FIXTURES = {f"{FIXTURE_PREFIX}{kind}": kind for kind in KINDS}

# The plugin's options: name, whether it is a flag, help. Each has an ini twin of the same name.
OPTIONS: tuple[tuple[str, bool, str], ...] = (
    (
        "baseline",
        True,
        "compare the guarded models with their saved baselines; every uncertain state is a failure",
    ),
    (
        "save-baseline",
        True,
        "measure the guarded models and save them as baselines, unless they fail their limits",
    ),
    (
        "accept",
        True,
        "with --onnxlite-save-baseline: save a candidate although it is worse than its baseline",
    ),
    ("baseline-dir", False, "folder of the baselines (default: baselines, below the root directory)"),
    ("cache-dir", False, "folder for converted and quantized models (default: in pytest's cache folder)"),
    ("report", False, "write everything that was measured and decided to this JSON file"),
)
# What is a project's habit and not a run's: name, help, default.
INI_ONLY: tuple[tuple[str, str, str | bool], ...] = (
    ("artefact_dir", "folder where saved artefacts are kept instead of beside their baselines", ""),
    ("keep_artefact", "false: do not keep the artefact with a saved baseline (default: true)", True),
)


class UsageMistake(Exception):
    """A mistake in options or markers; the plugin raises it as `pytest.UsageError`."""


@dataclass(frozen=True)
class Settings:
    """The options of a run.

    Attributes:
        mode: whether baselines are left alone, compared with, or saved.
        accept: save a candidate that is worse than its baseline.
        baseline_dir: where baselines are.
        artefact_dir: where their artefacts are; None where they lie beside them.
        keep_artefact: whether a save keeps the artefact.
        cache_dir: where built models are kept; None for pytest's cache folder.
        report: the JSON report to write.
    """

    mode: Mode
    accept: bool
    baseline_dir: Path
    artefact_dir: Path | None
    keep_artefact: bool
    cache_dir: Path | None
    report: Path | None

    @classmethod
    def from_config(cls, config: pytest.Config) -> Settings:
        """Read command line, then ini, then default.

        Raises:
            UsageMistake: options that contradict each other.
        """

        def option(name: str) -> Any:
            return config.getoption(f"onnxlite_{name}")

        def flag(name: str) -> bool:
            given = option(name)
            return bool(config.getini(f"onnxlite_{name}") if given is None else given)

        def path(name: str, base: Path) -> Path | None:
            given = option(name)
            if given:
                return Path(config.invocation_params.dir, given)
            ini = config.getini(f"onnxlite_{name}")
            return base / str(ini) if ini else None

        if option("baseline") and option("save_baseline"):
            raise UsageMistake(
                "--onnxlite-baseline compares with the saved baselines and --onnxlite-save-baseline replaces them; "
                "give one of the two."
            )
        # What is typed wins over what the ini file says.
        saving = option("save_baseline") or (not option("baseline") and flag("save_baseline"))
        mode = Mode.SAVE if saving else Mode.COMPARE if flag("baseline") else Mode.PLAIN
        accept = flag("accept")
        if option("accept") and mode is not Mode.SAVE:
            raise UsageMistake("--onnxlite-accept goes with --onnxlite-save-baseline; alone it would accept nothing.")
        artefact_dir = config.getini("onnxlite_artefact_dir")
        return cls(
            mode=mode,
            accept=accept,
            baseline_dir=path("baseline_dir", config.rootpath) or config.rootpath / "baselines",
            artefact_dir=config.rootpath / str(artefact_dir) if artefact_dir else None,
            keep_artefact=bool(config.getini("onnxlite_keep_artefact")),
            cache_dir=path("cache_dir", config.rootpath),
            report=path("report", config.rootpath),
        )


def _whole(low: int) -> Any:
    return {"type": int, "low": low, "high": math.inf, "says": f"a whole number from {low}"}


def _number(low: float, high: float, says: str) -> Any:
    return {"type": float, "low": low, "high": high, "says": says}


_SHARE = _number(0.0, 1.0, "a number from 0 to 1 (0.01 is one point)")
_GROWTH = _number(0.0, 100.0, "a number from 0 (0.05 is 5 %)")
_FLAG = {"type": bool, "says": "True or False"}
_STRUCTURE = {"type": str, "choices": ("frozen",), "says": "'frozen', or nothing"}
_NAMES = {"type": tuple, "says": "a list of finding codes, such as ['OLX114']"}


@dataclass(frozen=True)
class Limit:
    """What one marker asks; its fields are the marker's arguments."""

    check: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = KINDS
    rules: ClassVar[dict[str, Any]] = {}

    variant: str | None = None


@dataclass(frozen=True)
class AccuracyLimit(Limit):
    """`onnxlite_accuracy`: right answers, against the trained variant and against the baseline.

    Attributes:
        max_drop: how far accuracy may fall, inclusive: points as a share of 1, or of the reference's right
            answers where `relative`.
        relative: see `max_drop`.
        confidence: where given, the upper end of the drop's interval must be within the limit too.
        batch_size: samples per inference; the spec's where None.
    """

    check = "accuracy"
    rules: ClassVar[dict[str, Any]] = {
        "max_drop": _SHARE,
        "relative": _FLAG,
        "confidence": _number(0.5, 0.9999, "a number from 0.5 to 0.9999"),
        "batch_size": _whole(1),
    }

    max_drop: float = 0.01
    relative: bool = False
    confidence: float | None = None
    batch_size: int | None = None


@dataclass(frozen=True)
class SizeLimit(Limit):
    """`onnxlite_size`: bytes, as a ratio of the variant it was made from and against the baseline.

    Attributes:
        ratio: the share of the float model's bytes that is expected.
        tolerance: how far, relatively, the ratio may be exceeded, and the baseline's bytes be outgrown.
    """

    check = "size"
    rules: ClassVar[dict[str, Any]] = {
        "ratio": _number(0.001, 10.0, "a number from 0.001 to 10"),
        "tolerance": _GROWTH,
    }

    ratio: float | None = None
    tolerance: float = 0.05

    # What quantization to 8 of 32 bits leaves; a conversion to ONNX must not make a model larger.
    default_ratios: ClassVar[dict[str, float]] = {"int8": 0.25, "onnx": 1.0}


@dataclass(frozen=True)
class LatencyLimit(Limit):
    """`onnxlite_latency`: time per inference, against the previous release's artefact, run between the rounds.

    Attributes:
        max_slowdown: how much slower it may be, relatively.
        max_ratio: where given, its time may be at most this share of the float ONNX model's, in this run; this
            needs no baseline.
        absolute: where the previous artefact was not kept, and no sibling can stand in, compare with the
            saved seconds, on a machine of the same fingerprint.
        batch_size: samples per inference; the spec's where None.
        threads: intra-op threads; the spec's where None.
        max_time: seconds after which measuring longer is given up.
    """

    check = "latency"
    kinds: ClassVar[tuple[str, ...]] = ("onnx", "int8")
    rules: ClassVar[dict[str, Any]] = {
        "max_slowdown": _number(0.005, 100.0, "a number from 0.005 (0.05 is 5 %)"),
        "max_ratio": _number(0.001, 1000.0, "a number from 0.001 (1.0: no slower than the float model)"),
        "absolute": _FLAG,
        "batch_size": _whole(1),
        "threads": _whole(1),
        "max_time": _number(0.5, 3600.0, "seconds, from 0.5 to 3600"),
    }

    max_slowdown: float = 0.05
    max_ratio: float | None = None
    absolute: bool = False
    batch_size: int | None = None
    threads: int | None = None
    max_time: float = 120.0


@dataclass(frozen=True)
class MemoryLimit(Limit):
    """`onnxlite_memory`: peak memory of loading and of running, against the previous release's artefact.

    Attributes:
        max_growth: how much more it may need, relatively.
        batch_size: samples per inference; the spec's where None.
        threads: intra-op threads; the spec's where None.
    """

    check = "memory"
    kinds: ClassVar[tuple[str, ...]] = ("onnx", "int8")
    rules: ClassVar[dict[str, Any]] = {"max_growth": _GROWTH, "batch_size": _whole(1), "threads": _whole(1)}

    max_growth: float = 0.05
    batch_size: int | None = None
    threads: int | None = None


@dataclass(frozen=True)
class GraphLimit(Limit):
    """`onnxlite_graph`: a sound graph, whose inputs and outputs are the float model's and the baseline's.

    Attributes:
        ignore: codes of findings that are known and accepted; one that matches nothing is a finding.
        structure: `frozen` asks that the operators be those of the last accepted release; else a change is shown.
    """

    check = "graph"
    kinds: ClassVar[tuple[str, ...]] = ("onnx", "int8")
    rules: ClassVar[dict[str, Any]] = {"ignore": _NAMES, "structure": _STRUCTURE}

    ignore: tuple[str, ...] = ()
    structure: str | None = None


LIMITS: dict[str, type[Limit]] = {
    f"onnxlite_{limit.check}": limit for limit in (AccuracyLimit, SizeLimit, LatencyLimit, MemoryLimit, GraphLimit)
}


def _check_value(where: str, name: str, value: Any, rule: dict[str, Any]) -> Any:
    wanted = rule["type"]
    if wanted is tuple:
        good = isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(v, str) for v in value)
        value = tuple(sorted(value)) if good else value
    elif wanted is str:
        good = value in rule["choices"]
    elif wanted is bool:
        good = isinstance(value, bool)
    else:
        numbers = (int, float) if wanted is float else (int,)
        good = isinstance(value, numbers) and not isinstance(value, bool) and rule["low"] <= value <= rule["high"]
    if not good:
        raise UsageMistake(f"{where}: {name}={value!r}; expected {rule['says']}.")
    return value


def parse_marker(mark: pytest.Mark, where: str) -> Limit:
    """Turn a marker into its limit.

    Args:
        mark: the marker.
        where: the test, for messages.

    Raises:
        UsageMistake: an unknown argument, or a value of the wrong type or out of range.
    """
    limit = LIMITS[mark.name]
    where = f"{where}: @pytest.mark.{mark.name}"
    names = [field.name for field in dataclasses.fields(limit)]
    if mark.args:
        raise UsageMistake(f"{where}: takes keyword arguments only ({', '.join(names)}), found {mark.args!r}.")
    values = {}
    for name, value in mark.kwargs.items():
        if name not in names:
            import difflib

            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UsageMistake(f"{where}: unknown argument {name!r}{hint} It takes {', '.join(names)}.")
        if name == "variant":
            if value is not None and value not in KINDS:
                raise UsageMistake(f"{where}: variant={value!r}; expected one of {', '.join(KINDS)}.")
            values[name] = value
        elif value is not None or limit.rules[name]["type"] in (bool, tuple):
            values[name] = _check_value(where, name, value, limit.rules[name])
    return limit(**values)


@dataclass(frozen=True)
class Guard:
    """The limits of one test, each with the variant it judges."""

    limits: tuple[tuple[str, Limit], ...]

    @property
    def times(self) -> bool:
        """Whether something is timed."""
        return any(isinstance(limit, LatencyLimit) for _, limit in self.limits)

    @classmethod
    def from_item(cls, item: pytest.Item) -> Guard | None:
        """Read the markers of a test; None where it has none of ours.

        Of several markers of one name the closest counts, so that a test can sharpen its module's limit;
        one for another variant stands beside it.

        Raises:
            UsageMistake: see `parse_marker`; or there is no variant to judge, or no telling which.
        """
        marks = [mark for mark in item.iter_markers() if mark.name in LIMITS]
        if not marks:
            return None
        taken = [kind for name, kind in VARIANT_FIXTURES.items() if name in getattr(item, "fixturenames", ())]
        limits: dict[tuple[str, str], Limit] = {}
        for mark in marks:
            limit = parse_marker(mark, item.nodeid)
            kind = _choose_kind(item.nodeid, mark.name, limit, taken)
            limits.setdefault((kind, limit.check), limit)
        order = [limit.check for limit in LIMITS.values()]
        ordered = sorted(limits.items(), key=lambda entry: (KINDS.index(entry[0][0]), order.index(entry[0][1])))
        return cls(tuple((kind, limit) for (kind, _), limit in ordered))


def _choose_kind(where: str, marker: str, limit: Limit, taken: list[str]) -> str:
    where = f"{where}: @pytest.mark.{marker}"
    if limit.variant is not None and limit.variant not in taken:
        raise UsageMistake(
            f"{where}(variant={limit.variant!r}): the test does not take that variant. Add the fixture "
            f"{FIXTURE_PREFIX}{limit.variant} to its arguments, or @pytest.mark.usefixtures to it."
        )
    if not taken:
        raise UsageMistake(
            f"{where}: the test takes no variant to judge. Add one of the fixtures "
            f"{', '.join(VARIANT_FIXTURES)} to its arguments."
        )
    if limit.variant is None and len(taken) > 1:
        raise UsageMistake(
            f"{where}: the test takes several variants ({', '.join(taken)}); say which is judged with variant=..."
        )
    kind = limit.variant or taken[0]
    if kind not in limit.kinds:
        raise UsageMistake(
            f"{where}: {limit.check} of the {kind} variant is not judged; it is of {' and '.join(limit.kinds)}."
        )
    if kind == "onnx" and getattr(limit, "max_ratio", None) is not None:
        raise UsageMistake(f"{where}: max_ratio= compares with the onnx variant, and that is the one it judges here.")
    return kind
