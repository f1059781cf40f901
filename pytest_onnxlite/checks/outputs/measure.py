"""The outputs of a candidate next to those of what it was made from, and of the last release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pytest_onnxlite.baseline.record import Baseline, KeptFile
from pytest_onnxlite.checks.determinism import require_repeatable
from pytest_onnxlite.checks.outputs import recording
from pytest_onnxlite.checks.outputs.judge import NAME
from pytest_onnxlite.checks.outputs.limit import OutputsLimit
from pytest_onnxlite.checks.outputs.measurement import Comparison, Found, OutputsSection, Recording
from pytest_onnxlite.checks.outputs.pairing import compare
from pytest_onnxlite.checks.task import Task
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.spec.dataset import Array, Inputs
from pytest_onnxlite.variants.cache import hash_file
from pytest_onnxlite.variants.variant import OnnxVariant, Outputs, Variant

# What another machine or another save may change of equal outputs, in dB.
_EQUAL_OUTPUTS, _EQUAL_RATIO = 60.0, 1.0


@dataclass(frozen=True)
class _Released:
    """What the last release recorded: which samples, the outputs for them, and what the baseline says of it."""

    section: OutputsSection
    rows: Array
    outputs: Outputs
    same_file: bool


def measure(task: Task[OutputsLimit]) -> Found:
    """Run a candidate on all evaluation data, and compare every output.

    Raises:
        OnnxliteError: the candidate is nondeterministic, cannot be run, or what was recorded cannot be read.
    """
    builder, variant, size = task.builder, task.variant, task.batch_size
    require_repeatable(builder, variant, size)
    outputs = _answers(task, variant)
    total = len(builder.evaluation)
    reference = builder.made_from(variant.kind) or builder.accuracy_reference()
    compared = None
    if reference is not None and reference.kind != variant.kind:
        ordered = isinstance(reference, OnnxVariant) and isinstance(variant, OnnxVariant)
        compared = compare(_answers(task, reference), outputs, task.limit, "min_sqnr", ordered=ordered)
    released, incomparable = _released(task, total)
    last = runtime = None
    if released is not None:
        rows = released.rows
        least = "min_sqnr" if released.same_file else "min_last_sqnr"
        found = compare(released.outputs, _some(outputs, rows), task.limit, least, ordered=True)
        last, runtime = (None, found) if released.same_file else (found, _again(task, released, total))
    return Found(
        total=total,
        batch_size=size,
        data_sha256=builder.evaluation.sha256,
        outputs=tuple(outputs),
        recording=_record(task, outputs, compared, released, runtime),
        made_from=reference.kind if compared is not None and reference is not None else "",
        reference=compared,
        last=last,
        runtime=runtime,
        incomparable=incomparable,
        here=task.here,
        there=released.section.machine if released is not None else None,
    )


def _answers(task: Task[OutputsLimit], variant: Variant) -> Outputs:
    builder = task.builder
    if variant.kind == "trained":
        found = builder.outputs(variant, task.batch_size)
    else:  # NaN and infinity are answers too: whether they are right, the comparison says.
        found = builder.shared.answer(variant, builder.evaluation, task.batch_size)
    return {name: _plain(array) for name, array in found.items()}


def _plain(array: Array) -> Array:
    """Return texts as an array of texts; the rest as it is."""
    is_text = array.dtype == object and array.size and all(isinstance(value, (str, bytes)) for value in array.flat)
    return array.astype(str) if is_text else array


def _some(outputs: Outputs, rows: Array) -> Outputs:
    return {name: array[rows] for name, array in outputs.items()}


def _released(task: Task[OutputsLimit], total: int) -> tuple[_Released | None, str]:
    """Return what the last release recorded, or why it is no reference; nothing of both where it recorded nothing."""
    section = task.reference.section(OutputsSection) if isinstance(task.reference, Baseline) else None
    if section is None or not isinstance(task.reference, Baseline):
        return None, ""
    if section.data_sha256 != task.builder.evaluation.sha256 or section.total != total:
        return None, "the evaluation data changed since the last release, so that its outputs are of other samples."
    if section.batch_size != task.batch_size:
        return None, (
            f"the last release's outputs were recorded at batch size {section.batch_size}, and batch size {task.batch_size} is "
            "judged: what dynamic quantization makes of a sample depends on the others in its batch."
        )
    rows, outputs = recording.decode(task.last_data[section.recorded.file], section.outputs)
    if rows.min() < 0 or rows.max() >= total:
        raise OnnxliteError(
            f"{section.recorded.file} holds outputs of samples that there are none of. Restore it, or save anew."
        )
    return _Released(section, rows, outputs, task.has_released_bytes), ""


def _again(task: Task[OutputsLimit], released: _Released, total: int) -> Comparison | None:
    """Run the last release's own file again, and compare with what it answered when it was saved."""
    last = task.last_variant()
    if last is None:
        return None
    rows = recording.batches_around(released.rows, task.batch_size, total)
    x = task.builder.evaluation.x
    some: Inputs = {name: array[rows] for name, array in x.items()} if isinstance(x, Mapping) else x[rows]
    found = {name: _plain(array) for name, array in last.answer(some, task.batch_size).items()}
    last.release()
    recorded = np.searchsorted(rows, released.rows)
    return compare(released.outputs, _some(found, recorded), task.limit, "min_sqnr", ordered=True)


def _record(
    task: Task[OutputsLimit],
    outputs: Outputs,
    compared: Comparison | None,
    released: _Released | None,
    runtime: Comparison | None,
) -> Recording:
    """Record a sample of the outputs; that of the last release stays where its file answers as it did."""
    lowest = compared.lowest if compared is not None else None
    lowest = None if lowest is None else round(lowest, 1)
    if released is not None and released.same_file and runtime is not None and _is_as_before(runtime):
        section = released.section
        near = section.sqnr is not None and lowest is not None and abs(section.sqnr - lowest) < _EQUAL_RATIO
        path = task.last_data[section.recorded.file]
        sqnr = section.sqnr if near else lowest
        return Recording(section.recorded, str(path), section.samples, section.machine, sqnr)
    rows = recording.choose(outputs, task.batch_size)
    path = task.keep(recording.encode(rows, _some(outputs, rows)), ".npz")
    sha256 = hash_file(path)
    file = KeptFile(KeptFile.name(task.variant.kind, NAME, sha256, ".npz"), sha256, path.stat().st_size)
    return Recording(file, str(path), len(rows), task.here, lowest)


def _is_as_before(found: Comparison) -> bool:
    if found.problem:
        return False
    return all(
        not one.misfit and not one.broken and (not one.beyond if one.labels else one.lowest >= _EQUAL_OUTPUTS)
        for one in found.differences
    )
