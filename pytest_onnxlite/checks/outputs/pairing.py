"""Which output is to be compared with which, and how each pair differs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pytest_onnxlite.checks.outputs.compare import (
    WHOLE,
    column_held,
    compare_labels,
    compare_numbers,
    explains,
    is_numbers,
    likeness,
    missing_function,
)
from pytest_onnxlite.checks.outputs.limit import OutputsLimit, Tolerance
from pytest_onnxlite.checks.outputs.measurement import Column, Comparison, Difference
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.text import listed
from pytest_onnxlite.variants.output_names import pair_outputs
from pytest_onnxlite.variants.variant import Outputs

_MOST_SHOWN = 5
# Looking for a cause takes copies of an output.
_MOST_ELEMENTS = 10_000_000


def compare(reference: Outputs, candidate: Outputs, limit: OutputsLimit, least: str, *, ordered: bool) -> Comparison:
    """Compare all outputs for the same samples.

    Args:
        reference: what is expected, by name, in the model's order.
        candidate: what was answered.
        limit: the marker.
        least: the field of `Tolerance` with the lowest ratio that is allowed.
        ordered: whether the outputs' order counts too: callers may fetch them by position.
    """
    samples = len(next(iter(candidate.values())))
    pairs = pair_outputs(reference, candidate)
    if pairs is None:
        return Comparison(samples, problem=f"expected the outputs {_names(reference)}, found {_names(candidate)}")
    if ordered and list(reference) != list(candidate):
        text = f"expected the outputs in the order {_names(reference)}, found {_names(candidate)}"
        return Comparison(samples, problem=text)
    asked = {name: limit.of(name) for name in candidate}
    found = tuple(
        _difference(name, pairs.of[name], reference, array, asked[name], getattr(asked[name], least))
        for name, array in candidate.items()
        if not asked[name].skip
    )
    skipped = tuple(name for name in candidate if asked[name].skip)
    return Comparison(samples, found, skipped=skipped, paired=pairs.by)


def _names(outputs: Outputs) -> str:
    return listed(map(repr, outputs))


def _difference(
    name: str, other: str, outputs: Outputs, candidate: Array, asked: Tolerance, least: float
) -> Difference:
    reference = outputs[other]
    expected, found = _flat_kind(reference), _flat_kind(candidate)
    if is_numbers(expected) != is_numbers(found):
        return Difference(name, misfit=f"expected {expected.dtype}, found {found.dtype}")
    one, two, misshapen, misfit = _fitting(reference, candidate)
    base = Difference(name, misshapen=misshapen, misfit=misfit)
    if not one.size:
        return base
    if not is_numbers(one):
        differing = compare_labels(one, two)
        cause = _cause_of_labels(outputs, other, candidate) if differing else ""
        return replace(base, labels=True, beyond=differing, cause=cause)
    numbers = compare_numbers(one, two, asked.atol, asked.rtol)
    judged = {key: value for key, value in numbers.sqnr.items() if key not in numbers.tolerated}
    bad = {key for key, value in judged.items() if value < least or key in numbers.collapsed}
    shown = sorted(judged, key=lambda key: (judged[key], key))[:_MOST_SHOWN]
    columns = [Column(*key, round(judged[key], 2), key in numbers.collapsed) for key in shown]
    cause = ""
    if bad and one.size <= _MOST_ELEMENTS:
        cause = _cause(outputs, other, one, two)
        columns = [replace(c, holds=column_held(one, two, c.axis, c.index)) if not cause else c for c in columns]
    return replace(
        base,
        columns=tuple(columns),
        below=len(bad - {WHOLE}) or len(bad),
        cause=cause,
        sqnr=round(numbers.sqnr[WHOLE], 2),
        of=max(len(numbers.sqnr) - 1, 1),
        largest=float(f"{numbers.largest:.6g}"),
        p999=float(f"{numbers.p999:.6g}"),
        beyond=round(numbers.beyond, 6),
        broken=numbers.broken,
    )


def _flat_kind(array: Array) -> Array:
    """Return an array of the type that the samples have."""
    return np.asarray(array[0]) if array.dtype == object and len(array) else array


def _fitting(reference: Array, candidate: Array) -> tuple[Array, Array, float, str]:
    """Return both as arrays of one shape, of the samples that have it; the share of those that have not, and what they have."""
    if reference.dtype != object and candidate.dtype != object:
        if reference.shape[1:] == candidate.shape[1:]:
            return reference, candidate, 0.0, ""
        return (
            reference[:0],
            candidate[:0],
            1.0,
            f"expected the shape {reference.shape[1:]} for a sample, found {candidate.shape[1:]}",
        )
    pairs = [(np.asarray(one), np.asarray(two)) for one, two in zip(reference, candidate, strict=True)]
    unlike = [number for number, (one, two) in enumerate(pairs) if one.shape != two.shape]
    misfit = ""
    if unlike:
        one, two = pairs[unlike[0]]
        misfit = (
            f"the shape differs for {len(unlike)} of {len(pairs)} samples, first for sample {unlike[0]}: expected {one.shape}, "
            f"found {two.shape}"
        )
    alike = [pair for pair in pairs if pair[0].shape == pair[1].shape]
    return *_stacked(alike), len(unlike) / max(len(pairs), 1), misfit


def _stacked(pairs: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Return samples of several lengths behind one another, with the columns that they share."""
    if not pairs:
        return np.zeros(0), np.zeros(0)
    shares = all(one.ndim > 1 for one, _ in pairs) and len({one.shape[1:] for one, _ in pairs}) == 1
    parts = [pair if shares else (pair[0].ravel(), pair[1].ravel()) for pair in pairs]
    return np.concatenate([one for one, _ in parts]), np.concatenate([two for _, two in parts])


def _cause(outputs: Outputs, name: str, reference: Array, candidate: Array) -> str:
    """Say what explains a difference, where something that is known does."""
    own = likeness(reference, candidate)
    for other, array in outputs.items():
        if other != name and array.dtype != object and explains(likeness(array, candidate), own):
            return f"it holds what the output {other!r} should: two outputs are wired to one tensor, or swapped"
    function = missing_function(reference, candidate, own)
    return f"{function} of it is what is expected: the function is missing at the end" if function else ""


def _cause_of_labels(outputs: Outputs, name: str, candidate: Array) -> str:
    for other, array in outputs.items():
        if (
            other != name
            and array.shape == candidate.shape
            and array.dtype != object
            and np.array_equal(array, candidate)
        ):
            return f"it holds what the output {other!r} should: two outputs are wired to one tensor, or swapped"
    return ""
