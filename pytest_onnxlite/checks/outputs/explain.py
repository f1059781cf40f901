"""Which columns of which outputs differ most."""

from __future__ import annotations

from dataclasses import asdict

from pytest_onnxlite.checks.outputs.measurement import Comparison, Difference, Found, decibel_text
from pytest_onnxlite.checks.task import Case
from pytest_onnxlite.checks.verdict import BASELINE, Explanation
from pytest_onnxlite.text import percent


def explain_outputs(case: Case[Found]) -> Explanation | None:
    """Explain a verdict by the outputs that differ most."""
    found = case.found
    compared = found.reference if case.verdict.against != BASELINE else found.last or found.runtime
    if compared is None or not compared.differences:
        return None
    ordered = sorted(compared.differences, key=lambda one: (one.lowest, -one.beyond))
    figures: dict[str, object] = {"outputs": [asdict(one) for one in ordered]}
    details = tuple(line for one in ordered for line in lines_of(one))
    return Explanation(_why(ordered[0], compared), (), figures, details)


def _why(worst: Difference, compared: Comparison) -> str:
    if worst.cause:
        return f"output {worst.output!r}: {worst.cause}."
    if worst.misfit:
        return f"output {worst.output!r}: {worst.misfit}."
    if worst.labels:
        return f"output {worst.output!r} differs most: {percent(worst.beyond)} of its labels."
    where = f", in {worst.columns[0].text}" if worst.columns and worst.columns[0].axis >= 0 else ""
    return f"output {worst.output!r} differs most{where}: {decibel_text(worst.lowest)}, of {compared.samples} samples."


def lines_of(one: Difference) -> list[str]:
    """Return the figures of an output, and of its worst columns."""
    if one.labels:
        return [f"{one.output}: {percent(one.beyond)} of labels differ"]
    lines = [
        f"{one.output}: {decibel_text(one.sqnr)}, differences up to {one.largest:.3g} (99.9 % below {one.p999:.3g}), "
        f"{percent(one.beyond)} of elements beyond the tolerance"
    ]
    lines += [f"  {column.text}: {decibel_text(column.sqnr)}" for column in one.columns if column.axis >= 0]
    return lines
