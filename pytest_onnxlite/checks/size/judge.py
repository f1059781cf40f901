"""When bytes are within their limit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.checks.reference import ACCEPT_IT, Absent, Reference, absent, missing
from pytest_onnxlite.checks.since_first import Total
from pytest_onnxlite.checks.size.limit import SizeLimit
from pytest_onnxlite.checks.size.measurement import Size, SizeEvidence, SizeSection
from pytest_onnxlite.checks.verdict import BASELINE, LIMIT, Outcome, Verdict
from pytest_onnxlite.commands import SAVE
from pytest_onnxlite.kinds import Kind
from pytest_onnxlite.text import percent, size_text

NAME = "size"
# As near to what quantization can reach as its figures are exact.
_NEAR = 1.02


def judge_size(limit: SizeLimit, kind: Kind, found: Size, reference: Reference) -> list[Verdict]:
    """Judge bytes as a ratio of those of what it was made from and against the baseline's."""
    figure = size_text(found.bytes)
    verdicts = []
    if (limit.ratio or kind.size_ratio) is not None and found.reference is not None:
        verdicts.append(_judge_ratio(limit, kind, found, figure))
    elif limit.ratio is not None:
        message = (
            f"ratio={limit.ratio} asks for a share of the model it was made from, and the spec names none for the "
            f"{kind.name} variant. Give onnx= or trained=, or leave ratio= out."
        )
        verdicts.append(Verdict(NAME, LIMIT, Outcome.FAIL, figure, message))
    if limit.max is not None:
        verdicts.append(_judge_budget(limit.max, found, figure))
    if isinstance(reference, Absent):
        return [*verdicts, absent(NAME, figure, reference)]
    saved = reference.section(SizeSection)
    if saved is None:
        return [*verdicts, missing(NAME, figure, reference)]
    lines: list[str] = []
    if not any(verdict.outcome is Outcome.FAIL for verdict in verdicts):  # which has said it
        # A float model has nothing left in float.
        lines = [*(_contents(found) if kind.quantized else ()), *_waste(found)]
    if limit.max_growth_total is not None:
        verdicts.append(_judge_total(limit.max_growth_total, found, figure, reference))
    return [*verdicts, _judge_baseline(limit, found, figure, saved.bytes, reference, lines)]


def _judge_ratio(limit: SizeLimit, kind: Kind, found: Size, figure: str) -> Verdict:
    assert found.reference is not None
    assert found.reference_bytes is not None
    share = found.bytes / found.reference_bytes
    reach = None if found.reach is None else found.reach / found.reference_bytes
    ratio, asked = _expected(limit, kind, reach)
    most = ratio * (1 + limit.tolerance)
    evidence = SizeEvidence(
        bytes=found.bytes,
        ratio=round(share, 6),
        most=round(most, 6),
        reach=None if reach is None else round(reach, 6),
    )
    if share <= most:
        return Verdict(NAME, found.reference, Outcome.PASS, figure, "", evidence)
    message = (
        f"{found.bytes:,} bytes are {share:.3f} of the {found.reference} variant's {found.reference_bytes:,}; at most "
        f"{most:.3f} allowed ({asked}, tolerance={limit.tolerance}), which is "
        f"{found.bytes - int(most * found.reference_bytes):,} bytes too many."
    )
    message = "\n".join([message, *_contents(found, _passing(share, limit.tolerance)), *_waste(found)])
    return Verdict(NAME, found.reference, Outcome.FAIL, figure, message, evidence)


def _judge_budget(most: float, found: Size, figure: str) -> Verdict:
    """Judge bytes by the marker's own number."""
    evidence = SizeEvidence(bytes=found.bytes, budget=int(most))
    if found.bytes <= most:
        return Verdict(NAME, LIMIT, Outcome.PASS, figure, "", evidence)
    head = (
        f"{found.bytes:,} bytes, at most {int(most):,} allowed (max={size_text(int(most))}): {found.bytes - int(most):,} bytes "
        "too many."
    )
    return Verdict(NAME, LIMIT, Outcome.FAIL, figure, "\n".join([head, *_contents(found), *_waste(found)]), evidence)


def _expected(limit: SizeLimit, kind: Kind, reach: float | None) -> tuple[float, str]:
    """Return the share that is expected, and how a person reads it.

    Of a small model quantization leaves more than a quarter: what it adds to the graph weighs more than what it takes from the
    weights. Where no share is asked for, what it can reach with this very model is the measure, and nothing that was left in
    float is.
    """
    if limit.ratio is not None:
        return limit.ratio, f"ratio={limit.ratio}"
    assert kind.size_ratio is not None
    if reach is None or reach <= kind.size_ratio:
        return kind.size_ratio, f"ratio={kind.size_ratio}"
    return reach, f"what quantization can reach with this model is {reach:.3f}"


def _passing(share: float, tolerance: float) -> float:
    """Return the smallest ratio of two digits that a share passes."""
    return math.ceil(share / (1 + tolerance) * 100 - 1e-9) / 100


def _contents(found: Size, passing: float | None = None) -> list[str]:
    by_type = found.contents.weight_bytes
    if not by_type:
        return []
    lines = ["Weights: " + ", ".join(f"{size_text(count)} {kind}" for kind, count in by_type.items()) + "."]
    left = found.contents.float_left
    would = "" if passing is None else f"ratio={passing:g} would pass"
    if left:
        lines.append("Left in float:")
        lines += [f"  {t.tensor}: {size_text(t.bytes)}, read by {t.node} ({t.reason})" for t in left[:5]]
        lines.append(
            ("Convert them too (keep=)" if "FLOAT16" in by_type else "Quantize them (recipe, exclude=)")
            + (f", or, if they must stay in float: {would}." if would else ".")
        )
        return lines
    integers = sum(count for kind, count in by_type.items() if "INT" in kind)
    floats = sum(by_type.values()) - integers
    small = "weights in half precision, and other floats" if "FLOAT16" in by_type else "small float tensors and scales"
    parts = {"integers, the weights among them": integers, small: floats}
    parts["the graph itself"] = max(0, found.bytes - integers - floats)
    ordered = sorted(parts.items(), key=lambda entry: -entry[1])
    listed = ", ".join(f"{size_text(count)} {what}" for what, count in ordered)
    single = "float32" if "FLOAT16" in by_type else "float"
    lines.append(f"No weight of 1 KiB or more is left in {single}. Of {size_text(found.bytes)} are {listed}.")
    if would:
        lines.append(_why_more(found, would))
    return lines


def _why_more(found: Size, would: str) -> str:
    """Say why a model with all its weights quantized is larger than was asked for, and what would pass."""
    assert found.reference_bytes is not None
    if found.reach is not None and found.bytes <= found.reach * _NEAR:
        return (
            f"This is what quantization reaches with a model as small as this: its weights shrink, and scales and what is "
            f"added to the graph do not. {would}; without ratio= the limit follows from the model."
        )
    if found.reach is None:
        return f"{would}."
    return f"{size_text(found.bytes - found.reach)} of it are more than quantization needs. {would}."


def _waste(found: Size) -> list[str]:
    if not found.waste:
        return []
    return [
        f"Next to it, {size_text(found.waste)} of its data files are unused. They are not counted, but they ship too: "
        "delete the data files before you save the model again."
    ]


def _judge_total(most: float, found: Size, figure: str, baseline: Baseline) -> Verdict:
    """Judge bytes against the first release's."""
    total, first = Total(NAME, "max_growth_total", figure), baseline.first_of(NAME, SizeSection)
    if first is None:
        return total.nothing_kept()
    allowed = int(first.bytes * (1 + most))
    text = (
        f"{found.bytes:,} bytes, the first release had {first.bytes:,}: {percent(found.bytes / first.bytes - 1)} more, at most "
        f"{percent(most)} allowed (max_growth_total={most:g})"
    )
    return total.judge(text, found.bytes > allowed, SizeEvidence(bytes=found.bytes, first=first.bytes, budget=allowed))


def _judge_baseline(
    limit: SizeLimit, found: Size, figure: str, saved: int, baseline: Baseline, lines: Sequence[str]
) -> Verdict:
    growth = found.bytes / saved - 1
    first = baseline.first_of(NAME, SizeSection)
    start = first.bytes if first else None
    evidence = SizeEvidence(bytes=found.bytes, saved=saved, growth=round(growth, 6), first=start)
    since = f" Since the first release: {found.bytes - start:+,} bytes." if start else ""
    if found.bytes > saved * (1 + limit.tolerance):
        head = (
            f"{found.bytes:,} bytes, the last release had {saved:,}: {percent(growth)} more, at most "
            f"{percent(limit.tolerance)} allowed (tolerance={limit.tolerance}).{since}"
        )
        message = "\n".join([head, *lines, f"If you mean it to grow: {ACCEPT_IT[0].lower()}{ACCEPT_IT[1:]}"])
        return Verdict(NAME, BASELINE, Outcome.FAIL, figure, message, evidence)
    if found.bytes < saved * (1 - limit.tolerance):
        message = f"{percent(-growth)} smaller than the last release."
        return Verdict(NAME, BASELINE, Outcome.IMPROVED, figure, message, evidence, keep=SAVE)
    return Verdict(NAME, BASELINE, Outcome.PASS, figure, "", evidence)
