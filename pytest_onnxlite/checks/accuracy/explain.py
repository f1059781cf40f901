"""Why answers were lost: which classes, which layers, and what leaving a layer in float gives back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pytest_onnxlite.baseline.runtime import runtime_change, runtime_here
from pytest_onnxlite.checks.accuracy import measure as accuracy
from pytest_onnxlite.checks.accuracy.answers import Answers, compare_answers
from pytest_onnxlite.checks.accuracy.causes import (
    Before,
    Cause,
    Changed,
    Evidence,
    Moved,
    OneSided,
    Otherwise,
    Rank,
    is_proven,
    is_settled,
    rank_causes,
)
from pytest_onnxlite.checks.accuracy.classes import labels_of_columns
from pytest_onnxlite.checks.accuracy.drawn import details
from pytest_onnxlite.checks.accuracy.judge import changed_condition
from pytest_onnxlite.checks.accuracy.layer_causes import CLEAN, ranked_layers, worst_layers
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, AccuracyEvidence, Recount, Score
from pytest_onnxlite.checks.accuracy.pictures import channel_axis, pictures_of
from pytest_onnxlite.checks.accuracy.range_causes import range_text
from pytest_onnxlite.checks.accuracy.reasons import AccuracyReasons, Trial
from pytest_onnxlite.checks.accuracy.trials import (
    as_tried,
    figure_of,
    figure_text,
    recipe_of,
    remarks_of,
    try_calibration,
    try_layers,
    try_reduced,
)
from pytest_onnxlite.checks.last_inputs import runs_today
from pytest_onnxlite.checks.since_saved import runtime_text
from pytest_onnxlite.checks.suspects import NO_TIME, float_operators
from pytest_onnxlite.checks.task import Case
from pytest_onnxlite.checks.verdict import BASELINE, Explanation, Outcome
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.explain.layer import Analysis, Layer, LayersRequest
from pytest_onnxlite.explain.layers import analyse
from pytest_onnxlite.lint import signature
from pytest_onnxlite.lint.saturation import count_saturation
from pytest_onnxlite.metrics import answers, as_labels
from pytest_onnxlite.processors import this_processor
from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.runtime.childprocess import ask
from pytest_onnxlite.spec.dataset import count_samples, take
from pytest_onnxlite.spec.recipes import StaticInt8
from pytest_onnxlite.text import listed
from pytest_onnxlite.variants.deadline import OutOfTime
from pytest_onnxlite.variants.variant import OnnxVariant, Variant
from pytest_onnxlite.workspace import working_folder

Found = Accuracy | Score

# Runs on which layers are compared, spread over the evaluation data.
_RUNS = 32
# Calibration data of which this share has one answer, where the evaluation data has many.
_ONE_SIDED = 0.9
_LARGEST = 1 << 30
_CALIBRATION_SAMPLES = 256


def explain_accuracy(case: Case[Found]) -> Explanation:
    """Explain a loss of right answers, or of a metric's value."""
    lines: list[str] = []
    beside, name = _beside(case)
    try:
        found = _answers(case, beside, name)
    except OutOfTime:
        found = None
        lines.append("Answers were not compared, class by class: --onnxlite-explain-time gives more time.")
    flipped = found.flipped if found is not None else []
    pictures = pictures_of(case.task.builder.evaluation.x, flipped)
    reasons = AccuracyReasons(answers=found, pictures=pictures, counted=isinstance(case.found, Accuracy))
    evidence = _known(case, found, name)
    if is_settled(evidence):
        return _explanation(case, evidence, reasons, lines)
    evidence, reasons, notes = _look_into(case, evidence, reasons)
    return _explanation(case, evidence, reasons, [*lines, *notes])


def _explanation(case: Case[Found], evidence: Evidence, reasons: AccuracyReasons, lines: Sequence[str]) -> Explanation:
    first, *others = rank_causes(evidence) or [
        Cause(Rank.POSSIBLE, NO_TIME if case.budget.left <= 0 else "nothing that was looked at stands out.")
    ]
    quantized = [layer for layer in evidence.layers if layer.quantized]
    gained = (node for trial in reasons.left_in_float if trial.gain > 0 for node in trial.nodes)
    worst = (layer.node for layer in sorted(quantized, key=lambda entry: entry.worst))
    return Explanation(
        first.text,
        (*(cause.text for cause in others), *lines),
        reasons,
        details(reasons),
        first.kind,
        first.short,
        suspects=tuple(dict.fromkeys((*gained, *worst))),
        suspect_operators=float_operators(op for layer in quantized for op in layer.quantized),
    )


def _known(case: Case[Found], found: Answers | None, name: str) -> Evidence:
    """Return what is known before anything is taken apart."""
    shown, builder, verdict = case.verdict.evidence, case.task.builder, case.verdict
    shown = shown if isinstance(shown, AccuracyEvidence) else AccuracyEvidence()
    changed = None
    if verdict.outcome is Outcome.NOT_COMPARABLE and shown.saved is not None:
        condition = changed_condition(case.found, shown.saved)
        changed = Changed("data") if condition is None else Changed(*condition)
    return Evidence(
        name=name,
        lost=shown.lost or 0.0,
        counted=isinstance(case.found, Accuracy),
        is_quantized=builder.kind(case.task.variant.kind).quantized,
        against_last=verdict.against == BASELINE,
        has_images=channel_axis(builder.evaluation.x) is not None,
        changed=changed,
        answers=found,
        before=_before(case),
        moved=_moved(case),
        otherwise=_otherwise(case),
    )


def _look_into(
    case: Case[Found], evidence: Evidence, reasons: AccuracyReasons
) -> tuple[Evidence, AccuracyReasons, list[str]]:
    """Take the models apart, and try what would give answers back; the cheapest that may be the cause first."""
    source = _float_path(case)
    layers, runs, notes = _layers(case)
    evidence = replace(evidence, layers=layers, one_sided=_one_sided(case), saturating=_saturating(case))
    evidence = replace(evidence, is_constant=_is_constant(case))
    if evidence.lost > 0 and (evidence.is_constant or evidence.one_sided is not None or range_text(layers)[0]):
        evidence = replace(evidence, calibrated=try_calibration(case))
    if evidence.saturating and evidence.lost > 0:
        evidence = replace(evidence, reduced=try_reduced(case))
    proven = any(is_proven(evidence, tried) for tried in (evidence.calibrated, evidence.reduced))
    trials: list[Trial] = []
    if not proven:
        trials, skipped = try_layers(case, ranked_layers(layers), source, evidence.lost)
        notes += remarks_of(case, worst_layers(layers), skipped)
        evidence = replace(evidence, left_in_float=as_tried(trials))
    kept = [layer for layer in layers if layer.quantized or layer.worst < CLEAN or layer.is_drowned]
    reasons = msgspec.structs.replace(
        reasons,
        layers=tuple(kept),
        ranges=tuple(layer for layer in layers if layer.reach > 0 and layer not in kept),
        ranks_layers=not proven,
        runs=runs,
        tried=tuple(tried for tried in (evidence.calibrated, evidence.reduced) if tried is not None),
        left_in_float=tuple(trials),
    )
    return evidence, reasons, notes


# -- classes -------------------------------------------------------------------------------------------------


def _beside(case: Case[Found]) -> tuple[Variant | None, str]:
    """Return the variant whose answers are compared with, and what to call it."""
    reference = case.task.builder.accuracy_reference()
    if case.verdict.against != BASELINE and reference is not None and reference.kind != case.task.variant.kind:
        return reference, f"the {reference.kind} variant"
    last = case.task.last_variant()
    if last is not None and runs_today(case.task, last):
        return last, "the last release"
    if reference is not None and reference.kind != case.task.variant.kind:
        return reference, f"the {reference.kind} variant"
    return None, ""


def _answers(case: Case[Found], beside: Variant | None, name: str) -> Answers | None:
    if beside is None:
        return None
    builder = case.task.builder
    read = accuracy.reader(builder, case.task.batch_size)  # each variant runs once
    outputs = [read(variant) for variant in (beside, case.task.variant)]
    if not all(isinstance(output, np.ndarray) for output in outputs):
        return None
    theirs, ours = (answers(output) for output in outputs if isinstance(output, np.ndarray))
    metric = builder.spec.rating
    labels: Any = builder.evaluation.y
    if metric.against == "reference" or labels is None:
        reference = builder.accuracy_reference()
        if reference is None or not metric.is_built_in:
            return None
        labels = as_labels(metric, read(reference))
    else:
        labels = labels_of_columns(builder, case.task.variant, read, labels)
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if theirs is None or ours is None or labels.ndim != 1 or labels.dtype.kind not in "iub":
        return None
    return compare_answers(labels, theirs, ours, name)


def _before(case: Case[Found]) -> Before | None:
    """Return what the model that INT8 was made from lost, where the loss is against the last release."""
    evidence, found = case.verdict.evidence, case.found
    if case.verdict.against != BASELINE or not isinstance(found, Accuracy) or not found.reference:
        return None
    if not isinstance(evidence, AccuracyEvidence) or evidence.saved is None or evidence.lost is None:
        return None
    return Before(found.reference, found.reference_correct, (evidence.saved.correct or 0) - found.reference_correct)


def _moved(case: Case[Found]) -> Moved | None:
    """Return what the last release's own file lost since it was saved."""
    evidence, found = case.verdict.evidence, case.found
    if case.verdict.against != BASELINE or not isinstance(evidence, AccuracyEvidence) or evidence.saved is None:
        return None
    if found.last is None or evidence.lost is None:
        return None
    why = runtime_text(case.task)
    if isinstance(found, Score):
        assert found.last is not None
        was = evidence.saved.value or 0.0
        return Moved(f"{was:.4g}", f"{found.last.value:.4g}", replace(found, value=found.last.value).loss(was), why)
    assert isinstance(found.last, Recount)
    was = evidence.saved.correct or 0
    return Moved(f"{was} right", f"{found.last.correct} right", was - found.last.correct, why)


def _otherwise(case: Case[Found]) -> Otherwise | None:
    """Rate the same file as the variant runs it that it belongs to; None if that is not what was compared."""
    builder, kind = case.task.builder, case.task.variant.kind
    spec, row, of = builder.spec, builder.kind(kind), builder.spec.file_of(kind)
    if case.verdict.against == BASELINE or not of:
        return None
    change = runtime_change(runtime_here(row, spec.runtime_of(of)), runtime_here(row, spec.runtime_of(kind)))
    try:
        found = accuracy.measure(builder, builder.variant(of), case.task.batch_size)
    except OutOfTime:
        return None
    lost = figure_of(found) - figure_of(case.found)
    return Otherwise(of, change, figure_text(found), lost)


# -- layers --------------------------------------------------------------------------------------------------


def _float_path(case: Case[Found]) -> Path | None:
    """Return the float ONNX file to compare layers with, or the last release's, None without either."""
    kind = case.task.builder.kind(case.task.variant.kind)
    named = kind.name == "int8" or kind.name in case.task.builder.spec.variants
    made_from = case.task.builder.made_from(kind.name) if named else None
    return made_from.path if made_from is not None and made_from.has_file else case.task.last_file


def _layers(case: Case[Found]) -> tuple[list[Layer], int, list[str]]:
    """Return the layers, on how many runs they were compared, and what could not be."""
    path = _float_path(case)
    if not isinstance(case.task.variant, OnnxVariant) or path is None or path.suffix != ".onnx":
        return [], 0, []
    size = path.stat().st_size + case.task.variant.path.stat().st_size
    if case.task.variant.size > _LARGEST or size > _LARGEST:
        return [], 0, ["The model is too large to be taken apart: layers were not compared."]
    callers = _other_inputs(path, case.task.variant)
    if callers:
        return [], 0, [callers]
    case.task.progress(f"looking where the error of {case.task.variant.model} {case.task.variant.kind} enters")
    try:
        found = compare_layers(path, case.task.variant, case)
    except OnnxliteError as error:
        return [], 0, [f"Layers could not be compared: {error}"]
    return found.layers, found.runs, list(found.notes)


def _other_inputs(reference: Path, variant: OnnxVariant) -> str:
    """Say that two files are not fed by the same names; empty if they are."""
    expected = {tensor.name for tensor in signature(reference).inputs}
    found = {info.name for info in variant.inputs_info}
    if found <= expected:
        return ""
    return (
        f"Layers were not compared: this file takes {listed(sorted(found))}, and the float model {listed(sorted(expected))}. "
        "Programs pass inputs by name, so that comes first; onnxlite_graph judges it (OLX201)."
    )


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
    with working_folder() as folder:
        path = folder / "feeds.npz"
        arrays.save(path, feeds)
        seconds = max(case.budget.left / 2, 1.0)
        request = LayersRequest(str(reference), str(variant.path), str(path), case.task.runtime, seconds)
        return ask(analyse, request, timeout=seconds + 60)


# -- calibration and processor -------------------------------------------------------------------------------


def _saturating(case: Case[Found]) -> float:
    """Return the share of weight pairs whose products can saturate on this processor."""
    if this_processor() != "avx2" or not isinstance(case.task.variant, OnnxVariant):
        return 0.0
    found = count_saturation(case.task.variant.path)
    return found.share if found.is_likely else 0.0


def _is_constant(case: Case[Found]) -> bool:
    """Tell whether all calibration samples are the same in every input."""
    samples, builder = case.task.builder.spec.calibration, case.task.builder
    if samples is None or not builder.spec.batched or not isinstance(recipe_of(case), StaticInt8):
        return False
    inputs = [np.asarray(one) for one in (samples.values() if isinstance(samples, Mapping) else [samples])]
    return count_samples(samples) > 1 and all(x.dtype.kind in "iuf" and bool((x == x[:1]).all()) for x in inputs)


def _one_sided(case: Case[Found]) -> OneSided | None:
    """Say whether the calibration data is of one class, where the evaluation data is not."""
    spec, builder = case.task.builder.spec, case.task.builder
    if spec.calibration is None or not spec.batched or not isinstance(recipe_of(case), StaticInt8):
        return None
    samples = take(spec.calibration, slice(_CALIBRATION_SAMPLES))
    try:
        outputs = builder.onnx.run(samples, 1)
        whole = accuracy.read_output(builder, builder.onnx, case.task.batch_size)
    except OutOfTime:
        return None
    name = spec.output or (next(iter(outputs)) if len(outputs) == 1 else None)
    theirs = answers(outputs[name]) if name in outputs else None
    usual = answers(whole) if isinstance(whole, np.ndarray) else None
    if theirs is None or usual is None:
        return None
    (answer, count), *_ = Counter(theirs.tolist()).most_common(1)
    share = Counter(usual.tolist()).most_common(1)[0][1] / len(usual)
    if count < _ONE_SIDED * len(theirs) or share > _ONE_SIDED / 2:
        return None
    return OneSided(count, len(theirs), answer, float((usual == answer).mean()))
