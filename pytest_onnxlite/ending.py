"""What a run comes to when its tests are done: its baselines, its reports, and its lines in the terminal."""

from __future__ import annotations

from pathlib import Path

from pytest_onnxlite.against import Against
from pytest_onnxlite.baseline import released, unfinished
from pytest_onnxlite.baseline.store import BaselineStore
from pytest_onnxlite.baseline.writing import left_behind
from pytest_onnxlite.checks.verdict import BASELINE, Outcome
from pytest_onnxlite.commands import with_options
from pytest_onnxlite.coverage import wording
from pytest_onnxlite.coverage.scope import Scope
from pytest_onnxlite.coverage.tally import Assessor, Name, Tally
from pytest_onnxlite.records import Checks
from pytest_onnxlite.report import delivery, terminal
from pytest_onnxlite.run import Run, processor_findings
from pytest_onnxlite.saving import Saved, remarks_of_git, save_all
from pytest_onnxlite.settings import Settings
from pytest_onnxlite.text import shortened, shown_lines
from pytest_onnxlite.topics import NOT_SAVED, NOTHING_GUARDED, PARTIAL, STOPPED, UNFINISHED, see, told

_TITLES = {
    "plain": "onnxlite: not compared with baselines",
    "compare": "onnxlite: compared with baselines",
    "save": "onnxlite: saving baselines",
}


def conclude(run: Run, settings: Settings, checks: Checks, scope: Scope, stopped: bool) -> None:
    """Save or compare, judge the run as a whole, and write its reports.

    Args:
        run: what the guarded tests said; gets its coverage, findings, remarks, and what was saved.
        settings: what was asked of the run.
        checks: the checks by name.
        scope: what the run was to look at.
        stopped: whether it was stopped before its end.
    """
    if settings.mode != "plain":
        _look_at_baselines(run, settings, checks, scope, stopped)
        full = run.coverage is not None and run.coverage.state != "partial"
    else:
        full = _is_whole(run, scope)
    full = full and not stopped
    if settings.processors and not run.unjudged:
        wrong, remarks = processor_findings(run.all_records(), settings.processors, full)
        run.findings, run.remarks = [*run.findings, *wrong], [*run.remarks, *remarks]
    run.findings, run.remarks = (
        [with_options(text, run.repeated) for text in own] for own in (run.findings, run.remarks)
    )
    run.findings += delivery.deliver(run, settings, checks)


def _is_whole(run: Run, scope: Scope) -> bool:
    """Tell whether a run reached every test file, and nothing that guards was left out of it."""
    collected = scope.collected
    narrowed = collected.spared or collected.last_failed or not collected.came.keys() <= run.started
    return not narrowed and (scope.reach.everything or scope.reach.covers_every_file())


def _look_at_baselines(run: Run, settings: Settings, checks: Checks, scope: Scope, stopped: bool) -> None:
    """Compare what the run looked at with what there is to look at, and save if that was asked for."""
    store = BaselineStore(settings.baseline_dir, checks, source=settings.compared_with)
    held = store.held()
    judged: dict[str, dict[Name, set[str]]] = {}
    for record in run.all_records():
        judged.setdefault(record.test, {}).setdefault((record.model, record.variant), set()).update(record.limits)
    tally = Assessor(held, judged, run.started, run.unjudged, scope, run.skipped).tally()
    found = run.coverage = wording.describe(tally, {name: own.digest for name, own in held.items()})
    if stopped:
        run.findings += _stopped(run, found, settings)
    elif settings.complete and found.not_judged:
        run.findings.append(
            f"--onnxlite-complete asks for a full run, and these guarded tests judged nothing: {shortened(found.not_judged)}. "
            f"They were skipped, and no baseline names them. Let them run, and save; or take their markers away. {see(PARTIAL)}"
        )
    elif settings.complete and found.state == "partial":
        run.findings.append(
            f"--onnxlite-complete asks for a full run, and this one is {found.text}. Let every guarded test run: leave "
            "away what narrows the run, such as -k, -m, --lf, or a part of the test files. What narrows it may stand in "
            f"addopts, or be a plugin or a hook of a conftest.py. {see(PARTIAL)}"
        )
    if settings.mode == "compare":
        run.findings += [*wording.nothing_guarded(tally, judged, run.unjudged, scope), *wording.findings(tally)]
    elif not run.findings:
        _save(run, settings, checks, tally, scope)
    own = settings.target is None
    left = left_behind(store) if own else unfinished.describe(store.folder)  # what is another's is left as it is
    run.findings += [told(left, UNFINISHED)] if left else []
    run.remarks += [] if settings.target is None else [*settings.target.remarks, *_worse(run, settings.target)]
    if found.state != "partial" and not stopped and own:
        run.remarks += [released.remark(store.folder, paths) for paths in [released.unnamed(store)] if paths]
    said = "\n".join(run.findings)
    run.remarks += [*wording.remarks(found), *wording.not_judged(found)]
    run.remarks += [line for line in wording.elsewhere(scope) if line not in said]


def _worse(run: Run, target: Against) -> list[str]:
    """Say of what is worse than another commit's release that accepting it here does not help."""
    verdicts = [verdict for record in run.all_records() for verdict in record.verdicts]
    if not any(verdict.red and verdict.against == BASELINE and verdict.outcome is Outcome.FAIL for verdict in verdicts):
        return []
    return [
        f"what is worse than the release of {target.name} is red until it is merged there, also if it is accepted here: whoever "
        "merges it decides"
    ]


def _stopped(run: Run, found: wording.Coverage, settings: Settings) -> list[str]:
    """Say what a run that was stopped did not come to."""
    if settings.mode == "save":
        return [f"the run was stopped before its end; no baseline was saved. {see(STOPPED)}"]
    if found.left_out:
        text = f"the run was stopped before its end, and these did not run: {shortened(found.left_out)}"
        return [told(text, STOPPED)]
    return [] if run.started else [f"the run was stopped before a guarded test ran: nothing was judged. {see(STOPPED)}"]


def _save(run: Run, settings: Settings, checks: Checks, tally: Tally, scope: Scope) -> None:
    run.saved = save_all(run.all_records(), list(run.unjudged), settings, checks, tally)
    run.remarks += remarks_of_git(run.saved, settings, checks)
    run.findings += [
        told(f"{s.model}/{s.variant} was not saved: {s.reason}", NOT_SAVED) for s in run.saved if s.outcome == "refused"
    ]
    if not run.saved and not run.unjudged:
        text = f"nothing was saved: no test of this run judged a model. {wording.how_to_guard(scope)}"
        run.findings.append(told(text, NOTHING_GUARDED))


def summary(run: Run, settings: Settings, checks: Checks, folder: Path, verbosity: int) -> list[tuple[str, str]]:
    """Return the lines of the terminal, each with the colour it is written in, a title first; none if nothing was guarded.

    Args:
        run: what happened.
        settings: what was asked of the run.
        checks: the checks by name.
        folder: pytest's own, to which the saved files are shown relative.
        verbosity: pytest's.
    """
    records = run.all_records()
    if not records and not run.findings and not run.remarks:
        return []
    on = f", on the runtime {settings.runtime}" if settings.runtime else ""
    of = f" of {settings.compared_with}" if settings.compared_with else ""
    lines = [(_TITLES[settings.mode] + of + on, "")]
    if records:
        lines += [(text, colour or "bold") for text, colour in terminal.table(records, checks, verbosity > 0)]
    lines += [(line, "") for line in terminal.notes(records, checks, verbosity)]
    lines += [(_saved_line(s, folder), "") for s in run.saved if s.outcome != "refused"]
    lines += [(shown_lines(line), "yellow") for line in run.remarks]
    lines += [(shown_lines(f"ERROR: {line}"), "red") for line in run.findings]
    return [*lines, *((line, "") for line in run.annotations)]


def _saved_line(saved: Saved, folder: Path) -> str:
    return f"{saved.outcome}: {_relative(saved.path, folder)}{f', {saved.details}' if saved.details else ''}"


def _relative(path: str, folder: Path) -> str:
    try:
        return str(Path(path).relative_to(folder))
    except ValueError:
        return path
