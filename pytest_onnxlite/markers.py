"""What markers ask of a test: the only reader of markers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_onnxlite import commands
from pytest_onnxlite.checks.limit import Limit, parse_limits
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.kinds import CHOSEN, PARAMETRIZE, Kind
from pytest_onnxlite.labels import labelled
from pytest_onnxlite.options import PREFIX
from pytest_onnxlite.registry import Registry, marker_of
from pytest_onnxlite.settings import UsageMistake
from pytest_onnxlite.text import listed

if TYPE_CHECKING:
    import pytest

    from pytest_onnxlite.checks.check import Check


def parse_marker(mark: pytest.Mark, check: str, where: str, registry: Registry, chosen: str = "") -> list[Limit]:
    """Turn a marker into its limits: one, unless it names several metrics.

    Args:
        mark: the marker.
        check: the check that it is of.
        where: the test, for messages.
        registry: the checks and kinds there are.
        chosen: the variant that the test has as `onnxlite_variant`; empty for none.

    Raises:
        UsageMistake: an unknown argument, or a value of the wrong type or out of range.
    """
    where = f"{where}: @pytest.mark.{mark.name}"
    limit = registry.checks[check].limit
    if mark.args:
        raise UsageMistake(f"{where}: takes keyword arguments only ({', '.join(limit.names())}), found {mark.args!r}.")
    names = dict.fromkeys([*registry.kinds, *((chosen, CHOSEN) if chosen else ())])
    found = parse_limits(limit, mark.kwargs, where, tuple(names))
    return [replace(one, variant=chosen) if chosen and one.variant == CHOSEN else one for one in found]


def chosen_by(item: pytest.Item) -> str:
    """Return the name of the variant that a test has as `onnxlite_variant`; empty if it takes none.

    Raises:
        UsageMistake: it takes one, and does not say which.
    """
    fixture = f"{PREFIX}{CHOSEN}"
    if fixture not in getattr(item, "fixturenames", ()):
        return ""
    name = getattr(getattr(item, "callspec", None), "params", {}).get(fixture)
    if not isinstance(name, str) or not name:
        what = "not parametrized" if name is None else f"given {name!r}"
        raise UsageMistake(f"{item.nodeid}: takes {fixture}, which is {what}. {PARAMETRIZE}")
    if f"{PREFIX}model" not in item.fixturenames:  # type: ignore[attr-defined]
        raise UsageMistake(f"{item.nodeid}: {fixture} is the text {name!r}: indirect=True is missing. {PARAMETRIZE}")
    return name


@dataclass(frozen=True)
class Guard:
    """The limits of one test, each with the kind of variant that it judges and its check.

    Attributes:
        limits: kind, check and limit.
        other_limits: those that other tests judge, and that a suggestion must keep as well.
        declared_in: the table of pyproject.toml that declares the model; empty for markers.
        times: the checks that time; none where nothing is timed.
        needs_quiet: whether something is measured that other processes at work would disturb.
        chosen: the variant that the test has as `onnxlite_variant`; empty for none.
    """

    limits: tuple[tuple[str, str, Limit], ...]
    other_limits: tuple[tuple[str, str, Limit], ...] = ()
    declared_in: str = ""
    times: tuple[str, ...] = ()
    needs_quiet: bool = False
    chosen: str = ""

    def fixture_of(self, kind: str) -> str:
        """Return the fixture that the test has a variant from."""
        return f"{PREFIX}{CHOSEN if kind == self.chosen else kind}"

    @classmethod
    def of(
        cls,
        limits: Sequence[tuple[str, str, Limit]],
        registry: Registry,
        other_limits: Sequence[tuple[str, str, Limit]] = (),
        declared_in: str = "",
        chosen: str = "",
    ) -> Guard:
        """Return the guard of these limits."""
        checks = [registry.checks[name] for _, name, _ in limits]
        times, needs_quiet = tuple(c.name for c in checks if c.timed), any(check.needs_quiet for check in checks)
        return cls(tuple(limits), tuple(other_limits), declared_in, times, needs_quiet, chosen)

    @classmethod
    def from_item(cls, item: pytest.Item, registry: Registry) -> Guard | None:
        """Read the markers of a test; None if it has none of ours.

        Of several markers of one name the closest counts, so that a test can sharpen its module's limit;
        one for another variant, or with another label, is judged as well.

        Raises:
            UsageMistake: see `parse_marker`; or there is no variant to judge, or no telling which; or there are two markers at
                one place that nothing tells apart.
        """
        names = {marker_of(check): check for check in registry.checks}
        marks = [(node, mark) for node, mark in item.iter_markers_with_node() if mark.name in names]
        if not marks:
            return None
        fixtures = getattr(item, "fixturenames", ())
        chosen = chosen_by(item)
        taken = [kind for kind in registry.kinds if f"{PREFIX}{kind}" in fixtures and kind != chosen]
        taken += [chosen] if chosen else []
        limits: dict[tuple[str, str], Limit] = {}
        places: dict[tuple[str, str], object] = {}
        read = [
            (*one, limit)
            for one in marks
            for limit in parse_marker(one[1], names[one[1].name], item.nodeid, registry, chosen)
        ]
        for node, mark, limit in read:
            check = names[mark.name]
            key = _choose_kind(item.nodeid, check, limit, taken, registry), labelled(check, limit.label)
            if places.setdefault(key, node) is node and key in limits and limit != limits[key]:
                raise UsageMistake(_twice(item.nodeid, mark.name, limit))
            limits.setdefault(key, limit)
        found = [(kind, registry.checks[name].name, limits[kind, name]) for kind, name in registry.in_order(limits)]
        return cls.of(found, registry, chosen=chosen)


def _twice(where: str, marker: str, limit: Limit) -> str:
    what = f"with the label {limit.label!r}" if limit.label else "without a label"
    return (
        f"{where}: @pytest.mark.{marker} stands here twice {what}, and only one of the two would be judged. Remove one, or tell "
        'them apart: label="..." gives each a section of its own in the baseline.'
    )


def _choose_kind(where: str, check: str, limit: Limit, taken: list[str], registry: Registry) -> str:
    where = f"{where}: @pytest.mark.{marker_of(check)}"
    if limit.variant is not None and limit.variant not in taken:
        raise UsageMistake(
            f"{where}(variant={limit.variant!r}): the test does not take that variant. Add the fixture "
            f"{PREFIX}{limit.variant} to its arguments, or @pytest.mark.usefixtures to it."
        )
    if not taken:
        raise UsageMistake(
            f"{where}: the test takes no variant to judge. Add one of the fixtures "
            f"{', '.join(f'{PREFIX}{kind}' for kind in (*registry.kinds, CHOSEN))} to its arguments."
        )
    # A test may take others for its own use: the trained one, of which there is no graph.
    possible = [kind for kind in taken if registry.checks[check].supports(registry.kind(kind))] or taken
    if limit.variant is None and len(possible) > 1:
        raise UsageMistake(
            f"{where}: the test takes several variants ({', '.join(possible)}); say which is judged with variant=..."
        )
    kind = limit.variant or possible[0]
    require_support(where, check, limit, kind, registry)
    return kind


def require_support(where: str, check: str, limit: Limit, kind: str, registry: Registry) -> None:
    """Check that a limit can judge a kind of variant.

    Raises:
        UsageMistake: it does not support it.
    """
    problem = misfit_of(check, limit, registry.kind(kind), registry)
    if problem:
        raise UsageMistake(f"{where}: {problem}")


def require_fit(check: str, limit: Limit, kind: Kind, registry: Registry) -> Check[Any, Any]:
    """Return the check of a limit that judges a variant whose kind was not known when its marker was read.

    Raises:
        OnnxliteError: it cannot.
    """
    problem = misfit_of(check, limit, kind, registry)
    if problem:
        raise OnnxliteError(f"the variant {kind.name!r}: {problem}")
    return registry.checks[check]


def misfit_of(check: str, limit: Limit, kind: Kind, registry: Registry) -> str:
    """Say why a limit cannot judge a kind of variant; empty if it can."""
    found = registry.checks[check]
    if not found.supports(kind):
        good = [name for name, row in registry.kinds.items() if found.supports(row)]
        return f"{marker_of(check)} does not support {kind.name}; it supports {listed(good)}."
    return limit.misfit(kind)


def disturbed_text(
    tests: Sequence[str], checks: Sequence[str], mode: str, workers: int, others: bool, repeated: Sequence[str]
) -> str:
    """Say that tests measure what other processes at work disturb, and what to type.

    Args:
        tests: the tests.
        checks: the checks that are disturbed.
        mode: what the run is for.
        workers: how many processes pytest-xdist runs.
        others: whether there are guarded tests that nothing disturbs.
        repeated: options that a command needs to mean what this run does.
    """
    more = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
    text = (
        f"{tests[0]}{more}: {listed(checks)} cannot be measured while pytest-xdist runs other tests at the same time. Nothing was "
        "run. "
    )
    if mode == "save":  # one run measures all of a new file, or nothing is saved of it
        how, lines = "Save in one process", [commands.save_alone()]
    else:
        how = f"Measure in one process{', and judge the rest in several' if others else ''}"
        lines = commands.compare_apart([marker_of(check) for check in checks], workers, others)
    options = [option for option in repeated if not option.startswith("-n ")]  # each command says itself how many
    return "\n  ".join([f"{text}{how}:", *(commands.with_options(line, options) for line in lines)])
