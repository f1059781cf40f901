"""When bytes are within their limit."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.checks.reference import SAVE, Absent, Reference, absent, missing
from pytest_onnxlite.checks.size.limit import SizeLimit
from pytest_onnxlite.checks.size.measurement import Size
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.text import percent, size_text


def judge_size(limit: SizeLimit, variant: str, found: Size, reference: Reference) -> list[Verdict]:
    """Judge bytes as a ratio of the float model's and against the baseline's."""
    figure = size_text(found.bytes)
    verdicts = []
    ratio = limit.ratio if limit.ratio is not None else limit.default_ratios.get(variant)
    if ratio is not None and found.reference is not None:
        verdicts.append(_judge_ratio(ratio, limit.tolerance, found, figure))
    elif limit.ratio is not None:
        verdicts.append(
            Verdict(
                "size",
                "limit",
                Outcome.FAIL,
                figure,
                f"ratio={limit.ratio} asks for a share of the model it was made from, and the spec names none for the "
                f"{variant} variant. Give onnx= or trained=, or leave ratio= out.",
            )
        )
    if isinstance(reference, Absent):
        return [*verdicts, absent("size", figure, reference)]
    if reference.size is None:
        return [*verdicts, missing("size", figure, reference)]
    lines: list[str] = []
    if not any(verdict.outcome is Outcome.FAIL for verdict in verdicts):  # which has said it
        # A float model has nothing left in float.
        lines = [*(_contents(found) if variant.endswith("int8") else ()), *_waste(found)]
    return [*verdicts, _judge_size_baseline(limit, found, figure, reference, lines)]


def _judge_ratio(ratio: float, tolerance: float, found: Size, figure: str) -> Verdict:
    assert found.reference is not None
    assert found.reference_bytes is not None
    share = found.bytes / found.reference_bytes
    most = ratio * (1 + tolerance)
    evidence = {**found.as_dict(), "ratio": round(share, 6), "most": round(most, 6)}
    if share <= most:
        return Verdict("size", found.reference, Outcome.PASS, figure, "", evidence)
    message = (
        f"{found.bytes:,} bytes are {share:.3f} of the {found.reference} variant's {found.reference_bytes:,}; at most "
        f"{most:.3f} allowed (ratio={ratio}, tolerance={tolerance}), which is "
        f"{found.bytes - int(most * found.reference_bytes):,} bytes too many."
    )
    message = "\n".join([message, *_contents(found), *_waste(found)])
    return Verdict("size", found.reference, Outcome.FAIL, figure, message, evidence)


def _contents(found: Size) -> list[str]:
    lines = []
    by_type = found.contents.get("weight_bytes", {})
    if by_type:
        lines.append("Weights: " + ", ".join(f"{size_text(count)} {kind}" for kind, count in by_type.items()) + ".")
    left = found.contents.get("float_left", [])
    if left:
        lines.append("Left in float:")
        lines += [f"  {t['tensor']}: {size_text(t['bytes'])}, read by {t['node']} ({t['reason']})" for t in left[:5]]
        lines.append("Quantize them (recipe, exclude=), or raise ratio= if they must stay in float.")
    else:
        lines.append("No weight of 1 KiB or more is left in float: the graph itself or the scales take the room.")
    return lines


def _waste(found: Size) -> list[str]:
    if not found.waste:
        return []
    return [
        f"Beside it {size_text(found.waste)} of its data files are referred to by nothing. They are not counted, and ship all "
        "the same: delete the data files before the model is saved anew."
    ]


def _judge_size_baseline(
    limit: SizeLimit, found: Size, figure: str, baseline: Baseline, lines: Sequence[str]
) -> Verdict:
    assert baseline.size is not None
    saved = baseline.size["bytes"]
    growth = found.bytes / saved - 1
    start = baseline.first.get("size", {}).get("bytes")
    evidence = {"bytes": found.bytes, "saved": saved, "growth": round(growth, 6), "first": start}
    since = f" Since the first accepted release: {found.bytes - start:+,} bytes." if start else ""
    if found.bytes > saved * (1 + limit.tolerance):
        head = (
            f"{found.bytes:,} bytes, the last accepted release had {saved:,}: {percent(growth)} more, at most "
            f"{percent(limit.tolerance)} allowed (tolerance={limit.tolerance}).{since}"
        )
        message = "\n".join([head, *lines, f"If the growth is meant, accept it with: {SAVE} --onnxlite-accept"])
        return Verdict("size", BASELINE, Outcome.FAIL, figure, message, evidence)
    if found.bytes < saved * (1 - limit.tolerance):
        message = f"{percent(-growth)} smaller than the last accepted release. Keep it with: {SAVE}"
        return Verdict("size", BASELINE, Outcome.IMPROVED, figure, message, evidence)
    return Verdict("size", BASELINE, Outcome.PASS, figure, "", evidence)
