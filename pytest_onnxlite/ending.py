"""What a run comes to when its tests are done: its baselines, its reports, and its lines in the terminal."""

from __future__ import annotations

from pathlib import Path

from pytest_onnxlite.records import Checks
from pytest_onnxlite.report import delivery, terminal
from pytest_onnxlite.run import Run, baseline_findings, processor_findings
from pytest_onnxlite.settings import Settings

_TITLES = {
    "plain": "onnxlite: not compared with baselines",
    "compare": "onnxlite: compared with baselines",
    "save": "onnxlite: saving baselines",
}


def conclude(run: Run, settings: Settings, checks: Checks, stopped: bool, full: bool) -> None:
    """Save or compare, judge the run as a whole, and write its reports.

    Args:
        run: what the guarded tests said; gets findings, remarks, and what was saved.
        settings: what was asked of the run.
        checks: the checks by name.
        stopped: whether it was stopped before its end.
        full: whether it reached every test.
    """
    if settings.mode == "save":
        _save(run, settings, checks, stopped, full)
    elif settings.mode == "compare":
        from pytest_onnxlite.baseline.store import BaselineStore

        saved = BaselineStore(settings.baseline_dir, checks).held()
        run.findings, run.remarks = baseline_findings(run.all_records(), list(run.unjudged), saved, full)
    if settings.processors and not run.unjudged:
        wrong, remarks = processor_findings(run.all_records(), settings.processors, full)
        run.findings, run.remarks = [*run.findings, *wrong], [*run.remarks, *remarks]
    if run.records or run.findings or run.unjudged:
        run.findings += delivery.deliver(run, settings, checks)


def _save(run: Run, settings: Settings, checks: Checks, stopped: bool, full: bool) -> None:
    if stopped:
        run.findings.append("the run was stopped before its end; no baseline was saved.")
        return
    from pytest_onnxlite.saving import save_all

    run.saved = save_all(run.all_records(), list(run.unjudged), settings, checks, full)
    run.findings += [f"{s.model}/{s.variant} was not saved: {s.reason}" for s in run.saved if s.outcome == "refused"]
    if not run.saved and not run.unjudged:
        run.findings.append(
            "nothing was saved: no test of this run judged a model. Mark a test that takes a variant, such as "
            "@pytest.mark.onnxlite_accuracy on a test with the argument onnxlite_int8."
        )


def summary(run: Run, settings: Settings, checks: Checks, folder: Path) -> list[tuple[str, str]]:
    """Return the lines of the terminal, each with the colour it is written in, a title first; none where nothing was guarded.

    Args:
        run: what happened.
        settings: what was asked of the run.
        checks: the checks by name.
        folder: pytest's own, to which the saved files are shown relative.
    """
    records = run.all_records()
    if not records and not run.findings:
        return []
    lines = [(_TITLES[settings.mode], "")]
    if records:
        lines += [(text, colour or "bold") for text, colour in terminal.table(records, checks)]
    lines += [(line, "") for line in terminal.notes(records, checks)]
    lines += [(f"{s.outcome}: {_relative(s.path, folder)}", "") for s in run.saved if s.outcome != "refused"]
    lines += [(line, "yellow") for line in run.remarks]
    lines += [(f"ERROR: {line}", "red") for line in run.findings]
    return [*lines, *((line, "") for line in run.annotations)]


def _relative(path: str, folder: Path) -> str:
    try:
        return str(Path(path).relative_to(folder))
    except ValueError:
        return path
