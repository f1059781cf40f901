"""Which output of one file is which of another's, where a converter named them anew. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_onnxlite.spec.dataset import Array

# TensorFlow numbers the outputs of a signature in the order of their names.
_NUMBERED = re.compile(r"(?:Identity|(?:Stateful)?PartitionedCall)(?:_(\d+))?(?::(\d+))?")


@dataclass(frozen=True)
class Pairs:
    """The output of a reference for each of a candidate's, and by what they were told; empty by their names."""

    of: Mapping[str, str]
    by: str = ""


def pair_outputs(reference: Mapping[str, Array], candidate: Mapping[str, Array]) -> Pairs | None:
    """Return which output is which, each once; None if they cannot be told.

    By name. If all of them were named anew: the only one; by the shape of a sample, if the shapes tell all of them apart;
    by the numbers that TensorFlow gives them, which follow from the names; else by position, if the shapes are those. What is
    paired wrongly is unlike, so that a comparison finds it: values are never looked at to pair what is to be compared by them.

    Args:
        reference: `(N, ...)` by name, in the model's order.
        candidate: likewise.
    """
    if set(reference) == set(candidate):
        return Pairs({name: name for name in candidate})
    if len(reference) != len(candidate) or set(reference) & set(candidate):
        return None
    if len(reference) == 1:
        return Pairs(dict(zip(candidate, reference, strict=True)))
    expected, found = ({name: _shape(array) for name, array in side.items()} for side in (reference, candidate))
    by_shape = {shape: name for name, shape in expected.items()}
    if len(by_shape) == len(expected):
        pairs = {name: by_shape.get(shape, "") for name, shape in found.items()}
        return Pairs(pairs, "by shape") if set(pairs.values()) == set(reference) else None
    for by, ones, others in (
        ("by the converter's numbers", *_in_order_of_numbers(reference, candidate)),
        ("by position", list(candidate), list(reference)),
    ):
        if ones and [found[name] for name in ones] == [expected[name] for name in others]:
            return Pairs(dict(zip(ones, others, strict=True)), by)
    return None


def _shape(array: Array) -> tuple[int, ...]:
    return () if array.dtype == object else array.shape[1:]


def _in_order_of_numbers(reference: Mapping[str, Array], candidate: Mapping[str, Array]) -> tuple[list[str], list[str]]:
    """Return the candidate's outputs and the reference's in one order, if one side has numbers and the other has names."""
    numbers = [_numbers(side) for side in (candidate, reference)]
    if (numbers[0] is None) == (numbers[1] is None):
        return [], []
    ones, others = (
        sorted(side) if known is None else known for side, known in zip((candidate, reference), numbers, strict=True)
    )
    return ones, others


def _numbers(names: Mapping[str, Array]) -> list[str] | None:
    """Return names in the order of TensorFlow's numbers from 0; None if they have none."""
    found = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match is None:
            return None
        found[int(match[1] or 0) + int(match[2] or 0)] = name
    return [found[number] for number in range(len(names))] if set(found) == set(range(len(names))) else None
