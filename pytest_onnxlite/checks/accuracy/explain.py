"""Why answers were lost: which classes, which layers, and what leaving a layer in float gives back."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pytest_onnxlite.checks.accuracy import measure as accuracy
from pytest_onnxlite.checks.accuracy.answers import Answers, compare_answers
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, AccuracyEvidence, Score
from pytest_onnxlite.checks.accuracy.trials import lines_of, try_layers
from pytest_onnxlite.checks.check import Case
from pytest_onnxlite.checks.suspects import NO_TIME, float_operators
from pytest_onnxlite.checks.verdict import BASELINE, Explanation, Outcome
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.explain.layer import Analysis, Layer, LayersRequest
from pytest_onnxlite.explain.layers import analyse
from pytest_onnxlite.metrics import answers, as_labels
from pytest_onnxlite.recipes import StaticInt8
from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.runtime.childprocess import ask
from pytest_onnxlite.spec import count_samples, take
from pytest_onnxlite.text import percent
from pytest_onnxlite.variants.deadline import OutOfTime
from pytest_onnxlite.variants.variant import OnnxVariant, Variant

Found = Accuracy | Score

# Runs on which layers are compared, spread over the evaluation data.
_RUNS = 32
# Layers that are shown, and that are tried in float.
MOST_LAYERS = 5
# Below this a layer's own error is worth naming; INT8 layers that work are at 30 to 50 dB.
_CLEAN = 25.0
# Below this little of the signal is left.
_DROWNED = 6.0
_RECURRENT = frozenset({"DynamicQuantizeLSTM", "GRU", "LSTM", "Loop", "RNN", "Scan"})
# An output that is off by a factor, and how much closer it is without.
_GAIN, _GAIN_FREE = 0.1, 10.0
_CLIPPED, _REACH = 0.002, 1.2
_SPREAD = 16.0
# Calibration data of which this share has one answer, where the evaluation data has many.
_ONE_SIDED = 0.9
_LARGEST = 1 << 30
_CALIBRATION_SAMPLES = 256


def explain_accuracy(case: Case[Found]) -> Explanation:
    """Explain a loss of right answers, or of a metric's value."""
    data: dict[str, Any] = {}
    lines: list[str] = []
    beside, name = _beside(case)
    causes: list[str] = []
    try:
        found = _answers(case, beside)
    except OutOfTime:
        found = None
        lines.append("Answers were not compared, class by class: --onnxlite-explain-time gives more time.")
    if found is not None:
        data["answers"] = found.as_dict() | {"reference": name}
        causes += _class_causes(found, name)
        lines += _class_lines(found, name)
    if case.verdict.outcome is Outcome.NOT_COMPARABLE:
        today = _today(found, name)
        return Explanation((causes or [today])[0], (*causes[1:], *([today] if causes else []), *lines), data)
    causes += _float_cause(case)
    layers, notes = _layers(case, data)
    suspects = worst_layers(layers)
    calibration = _calibration_cause(case)
    if calibration:
        causes.insert(0, calibration)
    if suspects and suspects[0].worst < _CLEAN:
        causes.append(" ".join([layer_cause(suspects[0], layers), *_recurrent(layers)]))
    elif layers and not causes:
        lowest = min(layer.worst for layer in layers)
        causes.append(
            f"no layer stands out: each is within {lowest:.0f} dB of the float model by itself, so that the loss is the sum "
            "of small errors, or not quantization's."
        )
    lines += _layer_lines(suspects, notes, data.get("runs", 0))
    trials, skipped = try_layers(case, suspects)
    data["left_in_float"] = [asdict(trial) for trial in trials]
    lines += lines_of(case, suspects, trials, skipped)
    nothing = NO_TIME if case.budget.left <= 0 else "nothing that was looked at stands out."
    why = causes[0] if causes else nothing
    quantized = [layer for layer in layers if layer.quantized]
    return Explanation(
        why,
        (*causes[1:], *lines),
        data,
        suspects=(
            *(trial.node for trial in trials if trial.gain > 0),
            *(layer.node for layer in sorted(quantized, key=lambda entry: entry.worst)),
        ),
        suspect_operators=float_operators(op for layer in quantized for op in layer.quantized),
    )


# -- classes -------------------------------------------------------------------------------------------------


def _beside(case: Case[Found]) -> tuple[Variant | None, str]:
    """Return the variant whose answers are compared with, and what to call it."""
    reference = case.task.builder.accuracy_reference()
    if case.verdict.against != BASELINE and reference is not None and reference.kind != case.task.variant.kind:
        return reference, f"the {reference.kind} variant"
    last = case.task.last_variant()
    if last is not None:
        return last, "the last release"
    if reference is not None and reference.kind != case.task.variant.kind:
        return reference, f"the {reference.kind} variant"
    return None, ""


def _answers(case: Case[Found], beside: Variant | None) -> Answers | None:
    if beside is None:
        return None
    builder = case.task.builder
    outputs = [accuracy.read_output(builder, v, case.task.batch_size) for v in (beside, case.task.variant)]
    if not all(isinstance(output, np.ndarray) for output in outputs):
        return None
    theirs, ours = (answers(output) for output in outputs if isinstance(output, np.ndarray))
    metric = builder.spec.rating
    labels: Any = builder.evaluation.y
    if metric.against == "reference" or labels is None:
        reference = builder.accuracy_reference()
        if reference is None or not metric.is_built_in:
            return None
        labels = as_labels(metric, accuracy.read_output(builder, reference, case.task.batch_size))
    else:
        read = accuracy.reader(builder, case.task.batch_size)
        labels = accuracy.labels_of_columns(builder, case.task.variant, read, labels)
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if theirs is None or ours is None or labels.ndim != 1 or labels.dtype.kind not in "iub":
        return None
    return compare_answers(labels, theirs, ours)


def _class_causes(found: Answers, name: str) -> list[str]:
    causes = [
        f"label {doubt.label} looks wrong: {doubt.samples} of its {doubt.total} samples are answered {doubt.answer} by this "
        f"variant and by {name} alike. Were their images relabelled?"
        for doubt in found.doubts[:2]
    ]
    classes = found.concentrated()
    if classes:
        named = " and ".join(
            f"class {c.label} ({c.candidate} of {c.samples} right, {name} {c.reference}"
            + (f"; {c.mistaken} are answered {c.mistaken_for})" if c.mistaken_for is not None else ")")
            for c in classes
        )
        lost = sum(c.lost for c in classes)
        causes.append(
            f"{lost} of {sum(max(c.lost, 0) for c in found.classes)} lost answers are of {named}. A loss in one class comes "
            "from its training data or labels rather than from quantization."
        )
    return causes


def _today(found: Answers | None, name: str) -> str:
    """Say what both models make of data that the baseline was not counted on."""
    if found is None:
        return "the evaluation data changed, and the two figures are of different data."
    total, ours, theirs = (sum(getattr(c, n) for c in found.classes) for n in ("samples", "candidate", "reference"))
    return f"the data changed: of today's {total} samples this variant has {ours} right, {name} {theirs}."


def _class_lines(found: Answers, name: str) -> list[str]:
    lines = []
    worst = [c for c in found.classes if c.lost > 0][:3]
    if worst:
        parts = [
            f"{c.label}: {c.candidate} of {c.samples}, was {c.reference}"
            + (f" ({c.mistaken} answered {c.mistaken_for})" if c.mistaken_for is not None else "")
            for c in worst
        ]
        lines.append(f"Classes that lost most against {name}: {'; '.join(parts)}.")
    if found.flipped:
        shown = ", ".join(f"{f.sample} ({f.expected} → {f.candidate})" for f in found.flipped[:6])
        lines.append(
            f"Samples that only {name} gets right: {shown}{', ...' if found.lost > 6 else ''} ({found.lost} in all)."
        )
    return lines


def _float_cause(case: Case[Found]) -> list[str]:
    """Say whether the model that INT8 was made from had lost as much, where the loss is against the last release."""
    evidence, found = case.verdict.evidence, case.found
    if case.verdict.against != BASELINE or not isinstance(found, Accuracy) or not found.reference:
        return []
    if not isinstance(evidence, AccuracyEvidence) or evidence.saved is None or evidence.lost is None:
        return []
    before = (evidence.saved.correct or 0) - found.reference_correct
    if before < 0.5 * evidence.lost:
        return []
    return [
        f"the {found.reference} model itself has {found.reference_correct} right now: {before} of the {evidence.lost:g} "
        "answers were lost before quantization."
    ]


# -- layers --------------------------------------------------------------------------------------------------


def _float_path(case: Case[Found]) -> Path | None:
    """Return the float ONNX file to compare layers with, or the last release's, None without either."""
    made_from = case.task.builder.made_from("int8") if case.task.variant.kind == "int8" else None
    return made_from.path if made_from is not None else case.task.last_file


def _layers(case: Case[Found], data: dict[str, Any]) -> tuple[list[Layer], list[str]]:
    path = _float_path(case)
    if not isinstance(case.task.variant, OnnxVariant) or path is None or path.suffix != ".onnx":
        return [], []
    size = path.stat().st_size + case.task.variant.path.stat().st_size
    if case.task.variant.size > _LARGEST or size > _LARGEST:
        return [], ["The model is too large to be taken apart: layers were not compared."]
    case.task.progress(f"looking where the error of {case.task.variant.model} {case.task.variant.kind} enters")
    try:
        found = compare_layers(path, case.task.variant, case)
    except OnnxliteError as error:
        return [], [f"Layers could not be compared: {error}"]
    data["layers"] = [_rounded(layer) for layer in found.layers if layer.quantized or layer.worst < _CLEAN]
    data["runs"] = found.runs
    return found.layers, found.notes


def compare_layers(reference: Path, variant: OnnxVariant, case: Case[Found]) -> Analysis:
    """Compare the layers of two files on some of the evaluation data, in a child process.

    Raises:
        OnnxliteError: the child failed, or took too long.
    """
    x = case.task.builder.evaluation.x
    step = case.task.batch_size
    starts = range(0, max(count_samples(x) - step + 1, 1), step)
    chosen = [starts[i] for i in np.unique(np.linspace(0, len(starts) - 1, min(_RUNS, len(starts))).astype(int))]
    feeds = {}
    for number, start in enumerate(chosen):
        for name, array in variant.feeds(take(x, slice(start, start + step))).items():
            feeds[f"{number} {name}"] = array
    with tempfile.TemporaryDirectory(prefix="onnxlite-") as folder:
        path = Path(folder) / "feeds.npz"
        arrays.save(path, feeds)
        seconds = max(case.budget.left / 2, 1.0)
        request = LayersRequest(str(reference), str(variant.path), str(path), case.task.runtime, seconds)
        return ask(analyse, request, timeout=seconds + 60)


def _rounded(layer: Layer) -> dict[str, Any]:
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in asdict(layer).items()}


def worst_layers(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers that compute in integers, or differ without, the largest own error first."""
    suspects = [layer for layer in layers if layer.quantized or layer.worst < _CLEAN]
    # What surrounds a subgraph has the errors within it: the subgraph's own layers say more.
    inner = {layer.tensor.split("/then_branch/")[0].split("/else_branch/")[0] for layer in layers}
    suspects = [s for s in suspects if not (s.op in ("If", "Loop", "Scan") and s.node in inner)]
    return sorted(suspects, key=lambda layer: layer.worst)[:MOST_LAYERS]


def layer_cause(layer: Layer, layers: Sequence[Layer]) -> str:
    """Say what is the matter with a layer, as far as its figures tell."""
    others = [other.worst for other in layers if other.quantized and other is not layer]
    usual = f"; the other quantized layers: {np.median(others):.0f} dB" if others else ""
    where = f"{layer.node} ({layer.op}) adds the largest error (own SQNR {layer.worst:.1f} dB{usual})"
    if abs(layer.gain - 1) > _GAIN and layer.gain_free > layer.own + _GAIN_FREE:
        return f"{where}. Its output is {layer.gain:.3g} times the float model's: its weights or a scale are off by that factor."
    if layer.clipped > _CLIPPED and layer.reach > _REACH:
        return (
            f"{where}. {percent(layer.clipped)} of its values lie beyond what its integers hold, up to {layer.reach:.1f} "
            "times: calibration saw smaller ones. Calibrate with data like the evaluation data."
        )
    if layer.per_channel is False and layer.weight_spread > _SPREAD:
        cure = "quantize per_channel=True"
        if "ConvInteger" in layer.quantized:  # whatever per_channel= says
            cure = "quantize it statically, per channel, or leave it in float; ConvInteger takes one scale for all channels"
        return (
            f"{where}. Output channel {layer.weight_channel} has weights {layer.weight_spread:.0f} times as large as the median "
            f"channel's, and one scale serves all: {cure}."
        )
    if layer.spread > _SPREAD:
        return (
            f"{where}. Channel {layer.spread_channel} of its output reaches {layer.spread:.0f} times as far as the median "
            "channel, and one scale serves all: leave it, or what reads it, in float."
        )
    return f"{where}."


def _recurrent(layers: Sequence[Layer]) -> list[str]:
    """Say what a recurrent layer makes of the error, which goes from step to step in it."""
    for layer in layers:
        if _RECURRENT & {layer.op, *layer.quantized} and layer.inherited < _DROWNED:
            own = f"{layer.worst:.1f} dB of its own"
            part = f"its input is what is off ({own})" if layer.worst >= _CLEAN else f"it adds to it ({own})"
            return [
                f"The signal drowns in the recurrent {layer.node}: {layer.before:.1f} dB in front of it, "
                f"{layer.inherited:.1f} dB behind; {part}."
            ]
    return []


def _layer_lines(suspects: Sequence[Layer], notes: Sequence[str], runs: int) -> list[str]:
    lines = []
    if suspects:
        lines.append(
            f"Where the error enters (signal to noise in dB, on {runs} runs of evaluation data: own, then with all before it):"
        )
        lines += [
            f"  {layer.node}: {layer.worst:.1f}, {layer.inherited:.1f} ({' and '.join(dict.fromkeys(layer.quantized)) or layer.op})"
            for layer in suspects
        ]
    return [*lines, *(f"  {note}" for note in notes)]


# -- calibration ---------------------------------------------------------------------------------------------


def _calibration_cause(case: Case[Found]) -> str:
    """Say whether the calibration data is of one class, where the evaluation data is not."""
    spec, builder = case.task.builder.spec, case.task.builder
    if case.task.variant.kind != "int8" or spec.int8 is not None or spec.calibration is None or not spec.batched:
        return ""
    if not isinstance(builder.recipe[0], StaticInt8):
        return ""
    samples = take(spec.calibration, slice(_CALIBRATION_SAMPLES))
    try:
        outputs = builder.onnx.run(samples, 1)
        whole = accuracy.read_output(builder, builder.onnx, case.task.batch_size)
    except OutOfTime:
        return ""
    name = spec.output or (next(iter(outputs)) if len(outputs) == 1 else None)
    theirs = answers(outputs[name]) if name in outputs else None
    usual = answers(whole) if isinstance(whole, np.ndarray) else None
    if theirs is None or usual is None:
        return ""
    (answer, count), *_ = Counter(theirs.tolist()).most_common(1)
    share = Counter(usual.tolist()).most_common(1)[0][1] / len(usual)
    if count < _ONE_SIDED * len(theirs) or share > _ONE_SIDED / 2:
        return ""
    return (
        f"the calibration data is one-sided: {count} of {len(theirs)} samples are answered {answer}, of the evaluation data "
        f"{percent(float((usual == answer).mean()))}. Ranges of activations are too small for the rest. Calibrate with a "
        "random choice of the training data."
    )
