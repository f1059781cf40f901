"""What markers ask, and what a declared model is limited by, as frozen dataclasses: the only reader of markers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_onnxlite.settings import KINDS, PREFIX, PROCESSORS, RUNTIME_KINDS, VARIANT_FIXTURES, UsageMistake
from pytest_onnxlite.text import unknown

if TYPE_CHECKING:
    import pytest


def _whole(low: int) -> Any:
    return {"type": int, "low": low, "high": math.inf, "says": f"a whole number from {low}"}


def _number(low: float, high: float, says: str) -> Any:
    return {"type": float, "low": low, "high": high, "says": says}


_DROP = _number(0.0, 1e12, "a number from 0 (0.01 is one point)")
# Who writes 5 means 5 %, and would be guarded against nothing.
_GROWTH = _number(0.0, 1.0, "a number from 0 to 1 (0.05 is 5 %)")
_FLAG = {"type": bool, "says": "True or False"}
_STRUCTURE = {"type": str, "choices": ("frozen",), "says": "'frozen', or nothing"}
_NAMES = {"type": tuple, "says": "a list of finding codes, such as ['OLX114']"}
_PROCESSORS = {"type": tuple, "known": PROCESSORS, "says": "a list of processors, such as ['avx2', 'sse4']"}


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
        max_drop: how much worse the metric may be, inclusive: points as a share of 1 (of an error or a score, in its own
            unit), or a share of the reference's value where `relative`.
        relative: see `max_drop`.
        confidence: where given, the upper end of the drop's interval must be within the limit too.
        batch_size: samples per inference; the spec's where None.
        processors: other processors that it is counted on and judged by as well, emulated where this is another.
    """

    check = "accuracy"
    rules: ClassVar[dict[str, Any]] = {
        "max_drop": _DROP,
        "relative": _FLAG,
        "confidence": _number(0.5, 0.9999, "a number from 0.5 to 0.9999"),
        "batch_size": _whole(1),
        "processors": _PROCESSORS,
    }

    max_drop: float = 0.01
    relative: bool = False
    confidence: float | None = None
    batch_size: int | None = None
    processors: tuple[str, ...] = ()

    # The variants that ONNX Runtime runs; a trained model or a TFLite file is not run on an emulated processor.
    processor_kinds: ClassVar[tuple[str, ...]] = ("onnx", "int8")


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
    default_ratios: ClassVar[dict[str, float]] = {"int8": 0.25, "onnx": 1.0, "tflite": 1.0, "tflite_int8": 0.25}


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
    kinds: ClassVar[tuple[str, ...]] = RUNTIME_KINDS
    rules: ClassVar[dict[str, Any]] = {
        "max_slowdown": _number(0.005, 1.0, "a number from 0.005 to 1 (0.05 is 5 %)"),
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
    kinds: ClassVar[tuple[str, ...]] = RUNTIME_KINDS
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
        value = tuple(sorted(set(value))) if good else value
        for entry in value if good and "known" in rule else ():
            if entry not in rule["known"]:
                raise UsageMistake(f"{where}: {name}: {unknown('name', entry, rule['known'], 'There are')}")
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
    where = f"{where}: @pytest.mark.{mark.name}"
    if mark.args:
        names = ", ".join(field.name for field in dataclasses.fields(LIMITS[mark.name]))
        raise UsageMistake(f"{where}: takes keyword arguments only ({names}), found {mark.args!r}.")
    return parse_limit(mark.name, mark.kwargs, where)


def parse_limit(marker: str, arguments: Mapping[str, Any], where: str) -> Limit:
    """Turn the arguments of a marker, wherever they were written, into its limit.

    Args:
        marker: the marker's name.
        arguments: its arguments.
        where: where they are written, for messages.

    Raises:
        UsageMistake: an unknown argument, or a value of the wrong type or out of range.
    """
    limit = LIMITS[marker]
    names = [field.name for field in dataclasses.fields(limit)]
    values = {}
    for name, value in arguments.items():
        if name not in names:
            raise UsageMistake(f"{where}: {unknown('argument', name, names)}")
        if name == "variant":
            if value is not None and value not in KINDS:
                raise UsageMistake(f"{where}: variant={value!r}; expected one of {', '.join(KINDS)}.")
            values[name] = value
        elif value is not None or limit.rules[name]["type"] in (bool, tuple):
            values[name] = _check_value(where, name, value, limit.rules[name])
    return limit(**values)


def in_order(keys: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Sort pairs of variant and check as they are shown and judged."""
    checks = [limit.check for limit in LIMITS.values()]
    return sorted(keys, key=lambda key: (KINDS.index(key[0]), checks.index(key[1])))


@dataclass(frozen=True)
class Guard:
    """The limits of one test, each with the variant it judges.

    Attributes:
        limits: the limits.
        beside: those that other tests judge, and that a suggestion must keep as well.
        declared_in: the table of pyproject.toml that declares the model; empty for markers.
    """

    limits: tuple[tuple[str, Limit], ...]
    beside: tuple[tuple[str, Limit], ...] = ()
    declared_in: str = ""

    @property
    def times(self) -> bool:
        """Whether something is timed."""
        return any(isinstance(limit, LatencyLimit) for _, limit in self.limits)

    @property
    def needs_quiet(self) -> bool:
        """Whether something is measured that other processes at work beside it would disturb."""
        return any(isinstance(limit, (LatencyLimit, MemoryLimit)) for _, limit in self.limits)

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
        return cls(tuple((kind, limits[kind, check]) for kind, check in in_order(limits)))


def _choose_kind(where: str, marker: str, limit: Limit, taken: list[str]) -> str:
    where = f"{where}: @pytest.mark.{marker}"
    if limit.variant is not None and limit.variant not in taken:
        raise UsageMistake(
            f"{where}(variant={limit.variant!r}): the test does not take that variant. Add the fixture "
            f"{PREFIX}{limit.variant} to its arguments, or @pytest.mark.usefixtures to it."
        )
    if not taken:
        raise UsageMistake(
            f"{where}: the test takes no variant to judge. Add one of the fixtures "
            f"{', '.join(VARIANT_FIXTURES)} to its arguments."
        )
    # Beside the one that is judged a test may take others for its own use: the trained one, of which there is no graph.
    possible = [kind for kind in taken if kind in limit.kinds] or taken
    if limit.variant is None and len(possible) > 1:
        raise UsageMistake(
            f"{where}: the test takes several variants ({', '.join(possible)}); say which is judged with variant=..."
        )
    kind = limit.variant or possible[0]
    check_kind(where, limit, kind)
    return kind


def check_kind(where: str, limit: Limit, kind: str) -> None:
    """Check that a limit can judge a variant.

    Raises:
        UsageMistake: it is not judged of that variant.
    """
    if kind not in limit.kinds:
        raise UsageMistake(
            f"{where}: {limit.check} of the {kind} variant is not judged; it is of {' and '.join(limit.kinds)}."
        )
    if isinstance(limit, AccuracyLimit) and limit.processors and kind not in limit.processor_kinds:
        raise UsageMistake(
            f"{where}: processors={list(limit.processors)} of the {kind} variant is not supported: only what ONNX Runtime "
            f"runs ({' and '.join(limit.processor_kinds)}) is counted on other processors. Leave processors= out."
        )
    if kind in ("onnx", "tflite") and getattr(limit, "max_ratio", None) is not None:
        raise UsageMistake(f"{where}: max_ratio= compares with the {kind} variant, and that is the one it judges here.")
