"""When outputs are like those of what a candidate was made from, and like the last release's."""

from __future__ import annotations

from pytest_onnxlite.baseline.fingerprint import Machine
from pytest_onnxlite.checks.outputs.limit import LABELS_SHARE, OutputsLimit, Tolerance
from pytest_onnxlite.checks.outputs.measurement import (
    Comparison,
    Difference,
    Found,
    OutputsEvidence,
    OutputsSection,
    decibel_text,
)
from pytest_onnxlite.checks.reference import ACCEPT_IT, Reference, saved_section
from pytest_onnxlite.checks.verdict import BASELINE, LIMIT, Outcome, Verdict
from pytest_onnxlite.commands import ACCEPT
from pytest_onnxlite.text import percent

NAME = "outputs"
# Below it, what the last release's own file answers today is said to differ from what it answered: rounding is above.
_TOLD = 60.0


def judge_outputs(limit: OutputsLimit, found: Found, reference: Reference) -> list[Verdict]:
    """Judge outputs against those of what the candidate was made from, and against what the last release answered."""
    verdicts = [_judge_reference(limit, found)]
    saved, missing = saved_section(reference, OutputsSection, NAME, found.figure)
    if saved is None:
        return [*verdicts, *missing]
    if found.incomparable:
        text = f"{found.incomparable} Save anew with: {ACCEPT}"
        return [*verdicts, Verdict(NAME, BASELINE, Outcome.NOT_COMPARABLE, found.figure, text)]
    return [*verdicts, _judge_last(limit, found)]


def _judge_reference(limit: OutputsLimit, found: Found) -> Verdict:
    if found.reference is None:
        return Verdict(NAME, LIMIT, Outcome.PASS, found.figure)
    lines = faults(limit, found.reference, limit.min_sqnr, "min_sqnr")
    message = ""
    if lines:
        message = "\n".join([
            f"the outputs are not those of the {found.made_from} variant, for the same {found.reference.samples} samples:",
            *lines,
            "Look at what stands at the end of the graph; for a small error in one output, leave its last layers in float, or "
            "say in outputs={...} what that output may have.",
        ])  # fmt: skip
    return _verdict(found.made_from, found, found.reference, limit.min_sqnr, lines, message)


def _judge_last(limit: OutputsLimit, found: Found) -> Verdict:
    """Judge the runtime first: if the last release's own file answers otherwise here, the model is not to blame."""
    told = _runtime_text(found)
    if found.runtime is not None:
        lines = faults(limit, found.runtime, limit.min_sqnr, "min_sqnr")
        if lines:
            message = "\n".join([
                "the last release's own file gives other outputs here than when it was saved:",
                *lines,
                _places(found),
                "Find out which of the two is right. If this one is, and the release ships to places like it: "
                f"{ACCEPT_IT[0].lower()}{ACCEPT_IT[1:]}",
            ])  # fmt: skip
            return _verdict(BASELINE, found, found.runtime, limit.min_sqnr, lines, message, told)
    if found.last is None:
        shown = found.runtime or Comparison(0)
        return _verdict(BASELINE, found, shown, limit.min_sqnr, [], "", told)
    lines = faults(limit, found.last, limit.min_last_sqnr, "min_last_sqnr")
    message = ""
    if lines:
        message = "\n".join([
            f"the outputs are not like those that the last release recorded, for the same {found.last.samples} samples:",
            *lines,
            f"Callers get something else than they did. If that is meant: {ACCEPT_IT[0].lower()}{ACCEPT_IT[1:]}",
        ])  # fmt: skip
    return _verdict(BASELINE, found, found.last, limit.min_last_sqnr, lines, message, told)


def _verdict(
    against: str, found: Found, compared: Comparison, least: float, lines: list[str], message: str, runtime: str = ""
) -> Verdict:
    bad = tuple(one.output for one in compared.differences if any(repr(one.output) in line for line in lines))
    evidence = OutputsEvidence(sqnr=compared.lowest, min_sqnr=least, outputs=bad, runtime=runtime)
    return Verdict(NAME, against, Outcome.FAIL if lines else Outcome.PASS, found.figure, message, evidence)


def faults(limit: OutputsLimit, compared: Comparison, least: float, argument: str) -> list[str]:
    """Return what is too different, a line for each."""
    if compared.problem:
        return [f"  {compared.problem}"]
    lines = []
    for one in compared.differences:
        asked = limit.of(one.output)
        own = asked.min_sqnr if argument == "min_sqnr" else least
        lines += [f"  output {one.output!r}: {text}" for text in _faults(one, asked, own, argument)]
    return lines


def _faults(one: Difference, asked: Tolerance, least: float, argument: str) -> list[str]:
    share = asked.bad_share
    if one.misfit and one.misshapen > (share or 0.0):
        return [f"{one.misfit}."]
    if one.misfit and not one.misshapen:
        return [f"{one.misfit}."]
    cause = f" {one.cause[:1].upper()}{one.cause[1:]}." if one.cause else ""
    if one.labels:
        most = LABELS_SHARE if share is None else share
        if one.beyond <= most:
            return []
        return [
            f"{percent(one.beyond)} of its labels differ, at most {percent(most)} allowed (bad_share={most:g}).{cause}"
        ]
    found = []
    if one.broken:
        found.append(f"{one.broken} elements are NaN or infinite in one of the two alone.{cause}")
    if one.below:
        found.append(f"{_columns_text(one)}, at least {least:g} dB expected ({argument}={least:g}).{cause}")
    if share is not None and one.beyond > share:
        found.append(
            f"{percent(one.beyond)} of its elements differ by more than {asked.atol:g} + {asked.rtol:g} * |reference| (the "
            f"largest by {one.largest:.3g}), at most {percent(share)} allowed (bad_share={share:g}).{cause}"
        )
    return found


def _columns_text(one: Difference) -> str:
    worst = next((column for column in one.columns if column.constant), one.columns[0])
    what = "" if worst.axis < 0 else f"{worst.text} "
    text = f"{what}{'is constant' if worst.constant else f'has {decibel_text(worst.sqnr)}'}"
    if worst.holds is not None:
        text += f", and holds what column {worst.holds} should"
    if worst.axis >= 0:
        text += f"; {one.below} of {one.of} columns are too far off" if one.below > 1 else ""
        text += f" (the whole has {decibel_text(one.sqnr)})"
    return text


def _runtime_text(found: Found) -> str:
    """Say that the last release's own file answers otherwise here, if that is more than rounding."""
    compared = found.runtime
    if compared is None or compared.problem:
        return ""
    unlike = any(one.beyond > 0 if one.labels else one.lowest < _TOLD for one in compared.differences)
    if not unlike:
        return ""
    return f"the last release's own file gives other outputs here than when it was saved ({compared.figure}). {_places(found)}"


def _places(found: Found) -> str:
    """Say where outputs were recorded and where they are compared."""
    if found.there is None or found.here is None or found.there == found.here:
        return "Machine and ONNX Runtime are the same: look for what else changed, such as the libraries of custom operators."
    return f"Then: {_place(found.there)}. Now: {_place(found.here)}."


def _place(machine: Machine) -> str:
    isa = f" ({', '.join(machine.isa)})" if machine.isa else ""
    return f"ONNX Runtime {machine.onnxruntime} on {machine.os} {machine.architecture}, {machine.cpu}{isa}"
