"""How much a run looked at, in words: in the reports, as remarks, and as what is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pytest_onnxlite import commands
from pytest_onnxlite.coverage.scope import Scope
from pytest_onnxlite.coverage.tally import Guarded, Name, State, Tally
from pytest_onnxlite.text import counted, shortened
from pytest_onnxlite.topics import NOT_LOOKED_AT, NOTHING_GUARDED, told


@dataclass(frozen=True)
class Coverage:
    """How much of what is guarded a run looked at; in the report.

    Attributes:
        state: `full`, `partial`, or `missing`.
        text: the same in a few words: "partial: 2 of 8 baselines looked at".
        baselines: by name, the hash of what each baseline held when the run looked.
        not_looked: what of them was not looked at.
        left_out: guarded tests that were collected and not run.
        removed: those of them that were removed without pytest's being told.
        not_judged: guarded tests that ran, judged nothing, and that no baseline names.
    """

    state: Literal["full", "partial", "missing"] = "full"
    text: str = ""
    baselines: Mapping[str, str] = field(default_factory=dict)
    not_looked: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    not_judged: tuple[str, ...] = ()

    @property
    def if_partial(self) -> str:
        """The text where the run was partial; empty if it was not."""
        return self.text if self.state == "partial" else ""


def file_of(name: Name) -> str:
    """Return a baseline's file, as it is spoken of."""
    return f"{name[0]}/{name[1]}.json"


def describe(tally: Tally, digests: Mapping[Name, str]) -> Coverage:
    """Return what stands in the reports."""
    unseen = tally.of(*(state for state in State if state.is_partial or state.is_missing))
    kind: Literal["full", "partial", "missing"] = "missing" if unseen else "full"
    if tally.left_out or tally.of(*(state for state in State if state.is_partial)):
        kind = "partial"
    looked = sum(set(own.values()) == {State.LOOKED} for own in tally.states.values())
    text = f"{looked} of {counted(len(tally.states), 'baseline')} looked at"
    names = {f"{model}/{variant}": digest for (model, variant), digest in digests.items()}
    text = f"partial: {text}" if kind == "partial" else text
    return Coverage(kind, text, names, tuple(_places(tally, unseen)), tally.left_out, tally.removed, tally.not_judged)


def _places(tally: Tally, found: Mapping[Name, Sequence[str]]) -> Iterator[str]:
    for name, checks in sorted(found.items()):
        unseen = [check for check in checks if check not in tally.looked.get(name, ())]
        if unseen:
            yield file_of(name) if len(unseen) == len(tally.states[name]) else f"{', '.join(unseen)} of {file_of(name)}"
        yield from _by_test(guarded for guarded in tally.unjudged_of(name) if guarded.state is not State.FAILED)


def _by_test(guards: Iterable[Guarded]) -> list[str]:
    """Return what each test did not judge, of checks that other tests judged."""
    found: dict[tuple[Name, str], list[str]] = {}
    for guarded in guards:
        found.setdefault((guarded.name, guarded.test), []).append(guarded.check)
    return [f"{', '.join(checks)} of {file_of(name)} by {test}" for (name, test), checks in found.items()]


def remarks(coverage: Coverage) -> list[str]:
    """Return what a partial run says of itself."""
    if coverage.state != "partial":
        return []
    lines = [f"{coverage.text}."]
    if coverage.not_looked:
        lines.append(f"baselines not looked at in this run: {shortened(coverage.not_looked)}")
    told = [test for test in coverage.left_out if test not in coverage.removed]
    if told:
        lines.append(f"guarded tests that were left out: {shortened(told)}")
    if coverage.removed:
        lines.append(
            f"guarded tests that a plugin or a conftest.py removed, without telling pytest: {shortened(coverage.removed)}"
        )
    return lines


def not_judged(coverage: Coverage) -> list[str]:
    """Say which tests look as if they guarded something, and do not: nothing was saved of them, and nothing was judged."""
    if not coverage.not_judged:
        return []
    return [f"guarded tests that judged nothing, and that no baseline names: {shortened(coverage.not_judged)}"]


def findings(tally: Tally) -> list[str]:
    """Return what was to be looked at and was not."""
    missing = tally.of(State.NOT_JUDGED, State.GONE)
    whole = [
        name for name, checks in missing.items() if len(checks) == len(tally.states[name]) and name not in tally.looked
    ]
    parts = {
        name: unseen
        for name, checks in missing.items()
        if name not in whole
        if (unseen := [check for check in checks if check not in tally.looked.get(name, ())])
    }
    found = []
    if whole:
        why = [f"{file_of(name)}: {tally.reasons[name]}" for name in whole if name in tally.reasons]
        found.append(
            f"no test looked at the baseline{'s' if len(whole) > 1 else ''} {', '.join(map(file_of, whole))}: whatever "
            "was guarded by it is no longer. Bring back its test or its model; if the test has another name now, let it "
            "run, or save anew; delete the file if the model is retired."
            + (f" What became of it: {shortened(why, '; ')}." if why else "")
        )
    if parts:
        names = "; ".join(f"{', '.join(checks)} of {file_of(name)}" for name, checks in parts.items())
        why = [tally.reasons[name] for name in parts if name in tally.reasons]
        found.append(
            f"the baseline holds what no test asked for: {names}. It was guarded and is no longer. Bring back its marker "
            f"or its test, or, if it is meant, save anew without it: {commands.ACCEPT}"
            + (f" What became of it: {shortened(list(dict.fromkeys(why)), '; ')}." if why else "")
        )
    shared = [guarded for name in missing for guarded in tally.unjudged_of(name) if guarded.state.is_missing]
    if shared:
        why = [guarded.reason for guarded in shared if guarded.reason]
        found.append(
            f"a test did not judge what it guards: {'; '.join(_by_test(shared))}. Other tests judged that too, and none "
            "stands in for another: each has its own limit. Bring the test back, and let it run; if it is meant to be gone, "
            f"save anew without it: {commands.ACCEPT}."
            + (f" What became of it: {shortened(list(dict.fromkeys(why)), '; ')}." if why else "")
        )
    return [told(text, NOT_LOOKED_AT) for text in found]


def nothing_guarded(
    tally: Tally, judged: Collection[str], failed: Collection[str], scope: Scope | None = None
) -> Iterable[str]:
    """Say so where no test of a run judged a model, and none was left out; and name what declares models and was not reached."""
    partial = tally.left_out or any(state.is_partial for own in tally.states.values() for state in own.values())
    if not judged and not failed and not partial:
        text = f"nothing was guarded: no test of this run judged a model. {how_to_guard(scope)}"
        yield told(text, NOTHING_GUARDED)


def how_to_guard(scope: Scope | None) -> str:
    """Say what a run needs that guards nothing."""
    if scope is not None and scope.declared and not any(map(scope.reach.holds, scope.declared)):
        return (
            f"{scope.reach.declaring} declares models ([tool.onnxlite]), and what this run was given does not reach it. Run pytest "
            f"in {scope.reach.root} without arguments, or name the models: {commands.DECLARED}"
        )
    if scope is not None and scope.collected.elsewhere:
        return elsewhere(scope)[0]
    return (
        "Mark a test that takes a variant, such as @pytest.mark.onnxlite_accuracy on a test with the argument onnxlite_int8, "
        "and check that it is not skipped or deselected; or declare the model in pyproject.toml, in a table "
        "[tool.onnxlite.models.NAME]."
    )


def elsewhere(scope: Scope) -> list[str]:
    """Say which files declare models that nobody reads."""
    return [
        f"{path} declares models ([tool.onnxlite]) and is not read, since pytest's root is {scope.reach.root}. Judge them in a run "
        f"of their own: {commands.judge_elsewhere(Path(path))}"
        for path in scope.collected.elsewhere
    ]
