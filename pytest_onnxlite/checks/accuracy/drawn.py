"""What an explanation's figures say: as lines, and as what a page draws. Both from the same records."""

from __future__ import annotations

from collections.abc import Container, Sequence

from pytest_onnxlite.checks.accuracy.answers import Answers, Confusion
from pytest_onnxlite.checks.accuracy.causes import CALIBRATION, CLASSES, LAYERS, PROCESSOR
from pytest_onnxlite.checks.accuracy.layer_causes import CLEAN, CLIPPED, REACH, worst_layers
from pytest_onnxlite.checks.accuracy.measurement import LAST_RELEASE, Slice
from pytest_onnxlite.checks.accuracy.range_causes import UNUSED
from pytest_onnxlite.checks.accuracy.reasons import AccuracyReasons, Picture
from pytest_onnxlite.checks.blocks import (
    Block,
    Compared,
    ComparedRow,
    Grid,
    GridCell,
    Image,
    Images,
    Mark,
    RangeRow,
    Ranges,
    Table,
)
from pytest_onnxlite.explain.layer import INPUT, Layer
from pytest_onnxlite.text import listed, percent

_MOST_ROWS = 12
# The end of the axis of signal to noise; what is beyond has no error that matters.
_CLEAREST = 60.0
_MOST_FLIPS = 6


# -- as lines ------------------------------------------------------------------------------------------------


def details(reasons: AccuracyReasons) -> tuple[str, ...]:
    """Return the figures as lines."""
    classes = _class_lines(reasons.answers) if reasons.answers is not None else []
    return (*classes, *_layer_lines(reasons), *_trial_lines(reasons))


def _class_lines(found: Answers) -> list[str]:
    lines = []
    worst = [c for c in found.classes if c.lost > 0][:3]
    if worst:
        parts = [
            f"{c.label}: {c.candidate} of {c.samples}, was {c.reference}"
            + (f" ({c.mistaken} answered {c.mistaken_for})" if c.mistaken_for is not None else "")
            for c in worst
        ]
        lines.append(f"Classes that lost most against {found.reference}: {'; '.join(parts)}.")
    if found.flipped:
        shown = ", ".join(f"{f.sample} ({f.expected} → {f.candidate})" for f in found.flipped[:_MOST_FLIPS])
        lines.append(
            f"Samples that only {found.reference} gets right: {shown}{', ...' if found.lost > _MOST_FLIPS else ''} "
            f"({found.lost} in all; {found.gained} that only this variant gets right)."
        )
    return lines


def _layer_lines(reasons: AccuracyReasons) -> list[str]:
    suspects = worst_layers(reasons.layers) if reasons.ranks_layers else []
    if not suspects:
        return []
    return [
        f"Where the error enters (signal to noise in dB, on {reasons.runs} runs of evaluation data: own, then with all before it):",
        *(f"  {layer.node}: {layer.worst:.1f}, {layer.inherited:.1f} ({_operators(layer)})" for layer in suspects),
    ]


def _operators(layer: Layer) -> str:
    return " and ".join(dict.fromkeys(layer.quantized)) or layer.op


def _trial_lines(reasons: AccuracyReasons) -> list[str]:
    """Say what leaving nodes in float gives back, the best first."""
    if not reasons.left_in_float:
        return []
    return [
        "Left in float, on all evaluation data:",
        *(
            f"  {trial.node}: {_gain(trial.gain, reasons.counted)} ({trial.figure}), {trial.more:+,} bytes"
            for trial in reasons.left_in_float
        ),
    ]


def _gain(gain: float, counted: bool) -> str:
    return f"{gain:+.0f} right" if counted else f"{gain:+.4g}"


# -- as drawings ---------------------------------------------------------------------------------------------


def blocks(reasons: AccuracyReasons, kind: str, cause: str) -> list[Block]:
    """Return what a page draws: what the first cause is about, then classes, samples, ranges, layers, and what was tried.

    Args:
        reasons: the figures.
        kind: of the variant.
        cause: what the first cause is about.
    """
    answers = reasons.answers
    found: list[tuple[str, Block | None]] = [
        (CLASSES, _confusion_grid(answers, kind) if answers is not None else None),
        (CLASSES, _flips(reasons, kind)),
        (CALIBRATION, _ranges([*reasons.ranges, *reasons.layers])),
        (LAYERS, _layers(reasons)),
        (LAYERS, _trials(reasons)),
        (PROCESSOR, _saturated(reasons)),
    ]
    return [block for about, block in sorted(found, key=lambda entry: entry[0] != cause) if block is not None]


def _confusion_grid(found: Answers, kind: str) -> Grid | None:
    table = found.confusion
    if table is None or not table.labels:
        return None
    others = any(row[-1] for row in (*table.reference, *table.candidate))
    columns = (*map(str, table.answers), *(["others"] if others else []))
    many = len(found.classes) > len(table.labels)
    which = f"{len(table.labels)} of {len(found.classes)} classes, those that lost most. " if many else ""
    return Grid(
        f"How the samples of each class are answered by {kind}",
        "class",
        columns,
        tuple(_confusion_row(table, number, len(columns)) for number in range(len(table.labels))),
        f"{which}A row is a class, a column an answer. Where the count of {found.reference} differs, it stands below.",
    )


def _confusion_row(table: Confusion, number: int, wide: int) -> tuple[str, tuple[GridCell, ...]]:
    ours, theirs = table.candidate[number][:wide], table.reference[number][:wide]
    label, total = table.labels[number], max(sum(ours), 1)
    right = [answer == label for answer in (*table.answers, None)]
    cells = tuple(
        GridCell(str(now) if now or was else "", f"was {was}" if now != was else "", now / total, is_right)
        for now, was, is_right in zip(ours, theirs, right[:wide], strict=True)
    )
    return str(label), cells


def _flips(reasons: AccuracyReasons, kind: str) -> Images | Table | None:
    """Return the samples that were lost: as pictures, else as a table."""
    found = reasons.answers
    if found is None or not found.flipped:
        return None
    title = f"Samples that only {found.reference} gets right"
    note = f"{found.lost} in all; {found.gained} that only {kind} gets right."
    if reasons.pictures:
        return Images(title, tuple(Image(one.png, _caption(one)) for one in reasons.pictures), note)
    rows = tuple((str(f.sample), str(f.expected), str(f.candidate)) for f in found.flipped[:_MOST_ROWS])
    return Table(f"{title} ({note.rstrip('.')})", ("sample", "label", "answer"), rows, (0, 1, 2))


def _caption(picture: Picture) -> str:
    return f"sample {picture.sample}: label {picture.expected}, answered {picture.candidate}"


def _ranges(layers: Sequence[Layer]) -> Ranges | None:
    """Return the ranges that calibration fixed, those that fit worst."""
    known = [layer for layer in layers if layer.reach > 0 and layer.high > layer.low]
    if not known:
        return None
    # What the graph is fed with, then what is cut off most, then what uses least of its range.
    ranked = sorted(known, key=lambda layer: (layer.op != INPUT, -layer.clipped, layer.reach))[:_MOST_ROWS]
    shown = [layer for layer in known if any(layer is other for other in ranked)]
    many = f"{len(shown)} of {len(known)} ranges, those that fit worst. " if len(known) > len(shown) else ""
    return Ranges(
        "Calibrated ranges, and the values of the evaluation data",
        tuple(map(_range_row, shown)),
        f"{many}The band is what the integers hold, the line what the values reach; each row has an axis of its own.",
    )


def _range_row(layer: Layer) -> RangeRow:
    low, high = min(layer.low, layer.least), max(layer.high, layer.most)
    places = [(value - low) / (high - low) for value in (layer.low, layer.high, layer.least, layer.most)]
    text = f"values {layer.least:.3g} to {layer.most:.3g}, range {layer.low:.3g} to {layer.high:.3g}"
    bad = f"{percent(layer.clipped)} cut off" if layer.clipped > CLIPPED and layer.reach > REACH else ""
    if layer.reach < UNUSED:
        bad = f"{percent(layer.reach)} of it used"
    name = f"input {layer.node}" if layer.op == INPUT else layer.node
    return RangeRow(name, text, places[0], places[1], places[2], places[3], bad)


def _layers(reasons: AccuracyReasons) -> Compared | None:
    """Return the layers' own errors, the worst ones in the order of the graph."""
    quantized = [layer for layer in reasons.layers if layer.op != INPUT]
    if not quantized or not reasons.ranks_layers:
        return None
    ranked = sorted(quantized, key=lambda layer: layer.worst)[:_MOST_ROWS]
    shown = [layer for layer in quantized if any(layer is other for other in ranked)]
    worst = {layer.node for layer in worst_layers(reasons.layers) if layer.worst < CLEAN or layer.is_drowned}
    rows = tuple(
        ComparedRow(
            layer.node,
            f"{layer.worst:.1f} dB",
            _along(layer.worst),
            (Mark("with all before it", f"{layer.inherited:.1f} dB", _along(layer.inherited)),),
            _operators(layer),
            "large error" if layer.node in worst else "",
        )
        for layer in shown
    )
    many = f"{len(shown)} of {len(quantized)} layers, the worst, " if len(quantized) > len(shown) else "Layers "
    note = (
        f"{many}in the order of the graph, on {reasons.runs} runs of evaluation data. A bar is the layer's own signal to noise: "
        "longer is better, and 6 dB less is twice the error. The mark is the same with the errors of all layers before it."
    )
    return Compared("Where the error enters", rows, note, Mark("limit", f"{CLEAN:.0f} dB", _along(CLEAN)))


def _along(decibels: float) -> float:
    return min(max(decibels / _CLEAREST, 0.0), 1.0)


def _trials(reasons: AccuracyReasons) -> Table | None:
    if not reasons.left_in_float:
        return None
    rows = tuple(
        (trial.node, _gain(trial.gain, reasons.counted), trial.figure, f"{trial.more:+,}")
        for trial in reasons.left_in_float[:_MOST_ROWS]
    )
    return Table("Left in float, on all evaluation data", ("nodes", "gain", "has then", "bytes"), rows, (1, 2, 3))


def slice_bars(slices: Sequence[Slice], lost: Container[tuple[bool, str]], kind: str) -> Compared | None:
    """Return what a variant has in each slice, marked with what it is compared with.

    Args:
        slices: of each slice one for each variant that it is compared with.
        lost: whether against the last release, and the name, of each slice that lost more than is allowed.
        kind: of the variant.
    """
    if not slices:
        return None
    by_name: dict[str, list[Slice]] = {}
    for one in slices:
        by_name.setdefault(one.name, []).append(one)
    end = max(max(abs(one.value), abs(one.reference_value)) for one in slices)
    end = 1.0 if slices[0].loss is None else end or 1.0
    rows = []
    for name, each in by_name.items():
        marks = tuple(Mark(one.against, _slice_text(one), abs(one.reference_value) / end) for one in each)
        own = each[0]
        bad = any((one.against == LAST_RELEASE, name) in lost for one in each)
        text = percent(own.value) if own.loss is None else f"{own.value:.4g}"
        samples = f"{own.samples:,} samples"
        rows.append(ComparedRow(name, text, abs(own.value) / end, marks, samples, "lost too much" if bad else ""))
    note = f"A bar is what {kind} has in a slice, a mark what {listed(dict.fromkeys(one.against for one in slices))} has there."
    return Compared("Slices", tuple(rows), note)


def _slice_text(one: Slice) -> str:
    if one.loss is not None:
        return f"{one.reference_value:.4g}"
    return f"{percent(one.reference_value)} ({one.only_reference} lost, {one.only_candidate} won)"


def _saturated(reasons: AccuracyReasons) -> Compared | None:
    if not reasons.tensors:
        return None
    rows = tuple(ComparedRow(one.tensor, percent(one.share), min(one.share, 1.0)) for one in reasons.tensors)
    return Compared("Neighbouring weight pairs that can saturate", rows)
