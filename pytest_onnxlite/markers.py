"""What markers ask, and what a declared model is limited by: the only reader of markers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.graph.limit import GraphLimit
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.limit import Limit, check_value
from pytest_onnxlite.checks.memory.limit import MemoryLimit
from pytest_onnxlite.checks.size.limit import SizeLimit
from pytest_onnxlite.settings import KINDS, PREFIX, VARIANT_FIXTURES, UsageMistake
from pytest_onnxlite.text import unknown

if TYPE_CHECKING:
    import pytest


LIMITS: dict[str, type[Limit]] = {
    f"onnxlite_{limit.check}": limit for limit in (AccuracyLimit, SizeLimit, LatencyLimit, MemoryLimit, GraphLimit)
}


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
            values[name] = check_value(where, name, value, limit.rules[name])
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
    if kind in ("onnx", "tflite") and getattr(limit, "max_ratio", None) is not None:
        raise UsageMistake(f"{where}: max_ratio= compares with the {kind} variant, and that is the one it judges here.")
