"""How outputs are compared: figures, pairs, labels, what may fool a comparison, and what is sound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from pytest_onnxlite.checks.outputs import recording
from pytest_onnxlite.checks.outputs.compare import WHOLE, compare_numbers
from pytest_onnxlite.checks.outputs.judge import faults
from pytest_onnxlite.checks.outputs.limit import OutputsLimit, Override
from pytest_onnxlite.checks.outputs.pairing import compare

RNG = np.random.default_rng(0)
LIMIT = OutputsLimit()


def ragged(*arrays: Any) -> Any:
    found = np.empty(len(arrays), object)
    found[:] = arrays
    return found


def said(reference: Any, candidate: Any, limit: OutputsLimit = LIMIT, **options: bool) -> list[str]:
    one = reference if isinstance(reference, dict) else {"y": reference}
    two = candidate if isinstance(candidate, dict) else {"y": candidate}
    found = compare(one, two, limit, "min_sqnr", ordered=options.get("ordered", False))
    return faults(limit, found, limit.min_sqnr, "min_sqnr")


def noisy(array: Any, decibels: float = 20.0) -> Any:
    """What INT8 does to a sound model's outputs: an error of the same share in each column."""
    unit = np.abs(array).max()
    spread = (array / unit).std(axis=0) * 10 ** (-decibels / 20)
    return ((array / unit + RNG.normal(size=array.shape) * spread) * unit).astype(array.dtype)


NORMAL = RNG.normal(size=(200, 6)).astype(np.float32)
BOXES = (NORMAL * [300, 200, 90, 60, 0.2, 0.1] + [320, 240, 0, 0, 0.5, 0.3]).astype(np.float32)
EXPONENTIAL = np.exp(3 * RNG.normal(size=(200, 50)) - np.arange(50) / 5)
# Most classes hardly occur, as in a sample of a data set with many.
CLASSES = (EXPONENTIAL / EXPONENTIAL.sum(axis=1, keepdims=True)).astype(np.float32)
FAR = (1000 + NORMAL).astype(np.float32)


@pytest.mark.parametrize(
    "array", [NORMAL, BOXES, FAR, NORMAL * 1e-30, NORMAL * np.float64(1e200), NORMAL.reshape(200, 3, 2)]
)
def test_a_sound_twin_is_green(array: Any) -> None:
    assert said(array, noisy(array)) == []
    assert said(array, array) == []


def test_classes_that_hardly_occur_are_compared_with_the_others() -> None:
    found = np.abs(CLASSES + 0.01 * RNG.normal(size=CLASSES.shape))
    assert (CLASSES.var(axis=0) / ((CLASSES - found) ** 2).mean(axis=0)).min() < 1, "by itself it has less than 0 dB"
    assert said(CLASSES, found) == []


CONSTANT = np.hstack([NORMAL, np.full((200, 1), 3.0), np.zeros((200, 1))])


def test_a_constant_column_counts_with_its_size() -> None:
    assert said(CONSTANT, CONSTANT + 0.01 * RNG.normal(size=CONSTANT.shape)) == []
    wrong = CONSTANT.copy()
    wrong[:, 6] = -3
    assert "column 6 of axis 1" in said(CONSTANT, wrong)[0]
    wrong = CONSTANT.copy()
    wrong[:, 7] = 3
    assert "column 7 of axis 1" in said(CONSTANT, wrong)[0]


def flat(array: Any, column: int) -> Any:
    found = array.copy()
    found[..., column] = array[..., column].mean()
    return found


def exchanged(array: Any) -> Any:
    found = array.copy()
    found[:, [4, 5]] = array[:, [5, 4]]
    return found


LOGITS = NORMAL * 4
SOFT = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("reference", "candidate", "text"),
    [
        (BOXES, flat(BOXES, 5), "column 5 of axis 1 is constant"),
        (BOXES, exchanged(BOXES), "and holds what column"),
        (BOXES, BOXES.astype(np.float32).round(-1), "is constant"),
        (FAR, np.full_like(FAR, 1000), "is constant"),
        (SOFT, LOGITS, "Softmax over axis 1 of it is what is expected"),
        (1 / (1 + np.exp(-NORMAL)), NORMAL, "Sigmoid of it is what is expected"),
        (BOXES.T[None], BOXES.T.round(-1)[None], "axis 1 is constant"),
        (NORMAL, NORMAL[:, :5], "expected the shape (6,) for a sample, found (5,)"),
        (NORMAL, NORMAL.astype(np.int64), "expected float32, found int64"),
        (ragged(NORMAL[:3], NORMAL[:4]), ragged(NORMAL[:3], NORMAL[:5]), "the shape differs for 1 of 2 samples"),
        (np.arange(200), np.arange(200)[::-1], "100.0 % of its labels differ, at most 10.0 %"),
        (np.array(["a", "b"]), np.array(["a", "c"]), "50.0 % of its labels differ"),
        (np.array([True, False]), np.array([True, True]), "50.0 % of its labels differ"),
    ],
)
def test_a_fault_is_told(reference: Any, candidate: Any, text: str) -> None:
    assert text in " ".join(said(reference, candidate)), said(reference, candidate)


def test_what_leaves_an_output_as_it_is_explains_no_difference() -> None:
    """Outputs that are alike by themselves, and a Relu of what is positive, were given as the cause."""
    noisy = np.maximum(SOFT + RNG.normal(0, 0.003, SOFT.shape), 0)
    noisy[:, 5] = SOFT[:, 5].mean()
    (text,) = said(SOFT, noisy)
    assert "column 5 of axis 1 is constant" in text
    assert "is what is expected" not in text
    twins = {"a": NORMAL, "b": NORMAL + RNG.normal(0, 1e-3, NORMAL.shape)}
    found = said(twins, {"a": NORMAL, "b": NORMAL + RNG.normal(0, 0.02, NORMAL.shape)}, replace(LIMIT, min_sqnr=40.0))
    assert len(found) == 1
    assert "holds what" not in found[0]
    near = np.stack([NORMAL[:, 0], NORMAL[:, 0] + RNG.normal(0, 1e-3, len(NORMAL))], axis=1)
    for text in said(near, near + RNG.normal(0, 0.02, near.shape), replace(LIMIT, min_sqnr=40.0)):
        assert "holds what" not in text


def test_nan_and_infinity_on_both_sides_are_equal_and_on_one_are_not() -> None:
    broken = NORMAL.copy()
    broken[0, 0], broken[1, 1], broken[2, 2] = np.nan, np.inf, -np.inf
    assert said(broken, broken.copy()) == []
    assert "3 elements are NaN or infinite" in said(NORMAL, broken)[0]
    turned = broken.copy()
    turned[1, 1] = -np.inf
    assert "1 elements are NaN or infinite" in said(broken, turned)[0]


def test_labels_may_differ_in_part_and_empty_outputs_are_equal() -> None:
    labels = np.arange(200) % 7
    other = labels.copy()
    other[:10] += 1
    assert said(labels, other) == []
    assert said(labels, other, replace(LIMIT, bad_share=0.01))
    # Pixels and quantized numbers are numbers: one more is no other label.
    pixels = RNG.integers(0, 256, (50, 8, 8, 3)).astype(np.uint8)
    assert said(pixels, np.minimum(pixels, 250) + np.uint8(1)) == []
    assert said(np.zeros((3, 0), np.float32), np.zeros((3, 0), np.float32)) == []
    empty = ragged(NORMAL[:0], NORMAL[:4])
    assert said(empty, empty) == []
    limit = replace(LIMIT, outputs=(Override("y", bad_share=0.6),))
    assert said(ragged(NORMAL[:3], NORMAL[:4]), ragged(NORMAL[:3], NORMAL[:5]), limit) == []


def test_outputs_are_paired_by_name_and_by_shape_where_another_tool_named_them() -> None:
    two, three = NORMAL[:, :2], NORMAL[:, :3]
    assert said({"a": two, "b": three}, {"b": three, "a": two}) == []
    assert "in the order 'a' and 'b'" in said({"a": two, "b": three}, {"b": three, "a": two}, ordered=True)[0]
    assert said({"a": two, "b": three}, {"out_1": three, "out_0": two}) == []
    assert said({"a": two}, {"Identity:0": two}) == []
    for reference, candidate in (
        ({"a": two, "b": three}, {"a": two, "c": three}),
        ({"a": two, "b": three}, {"a": two}),
        ({"a": two}, {"a": two, "b": three}),
    ):
        assert "expected the outputs" in said(reference, candidate)[0]
    swapped = said({"a": two, "b": three[:, 1:]}, {"a": three[:, 1:], "b": two})
    assert "it holds what the output 'b' should" in swapped[0].lower()


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 0.5, 3.0, 1e6]), st.sampled_from([(40, 3), (40, 2, 4)]))
def test_samples_in_another_order_and_a_column_in_another_unit_change_nothing(
    seed: int, factor: float, shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(seed)
    one = rng.normal(size=shape)
    two = one + 0.1 * rng.normal(size=shape)
    expected = compare_numbers(one, two, 0, 0).sqnr
    order = rng.permutation(len(one))
    assert compare_numbers(one[order], two[order], 0, 0).sqnr == pytest.approx(expected)
    unit = np.ones(shape[-1])
    unit[0] = factor
    scaled = compare_numbers(one * unit, two * unit, 0, 0).sqnr
    last = len(shape) - 1
    assert {key: value for key, value in scaled.items() if key[0] == last} == pytest.approx(
        {key: value for key, value in expected.items() if key[0] == last}
    )


def test_one_more_decibel_is_one_more_decibel() -> None:
    one = RNG.normal(size=(10_000, 1))
    noise = RNG.normal(size=one.shape)
    for wanted in (-10.0, 0.0, 17.0):
        found = compare_numbers(one, one + noise * 10 ** (-wanted / 20), 0, 0)
        assert found.sqnr[WHOLE] == pytest.approx(wanted, abs=0.3)


@pytest.mark.parametrize(
    ("total", "batch", "count"), [(1000, 1, 256), (1000, 32, 256), (100, 32, 100), (5000, 512, 256), (3, 8, 3)]
)
def test_what_is_recorded_are_whole_batches_over_all_the_data(total: int, batch: int, count: int) -> None:
    outputs = {"y": np.zeros((total, 4), np.float32)}
    rows = recording.choose(outputs, batch)
    assert count - batch < len(rows) <= count
    assert len(set(rows.tolist())) == len(rows)
    assert (np.diff(rows) > 0).all()
    around = recording.batches_around(rows, batch, total)
    assert set(rows.tolist()) <= set(around.tolist())
    assert len(recording.choose({"y": np.zeros((total, 10**6), np.int8)}, 1)) <= 2


def test_what_is_recorded_is_read_back(tmp_path: Any) -> None:
    outputs = {"a/../b": NORMAL[:2], "r": ragged(NORMAL[:3], NORMAL[:1]), "t": np.array(["x", "yz"])}
    rows = np.array([0, 1])
    path = tmp_path / "o.npz"
    path.write_bytes(recording.encode(rows, outputs))
    assert path.read_bytes() == recording.encode(rows, outputs), "to the byte"
    found_rows, found = recording.decode(path, tuple(outputs))
    assert found_rows.tolist() == [0, 1]
    assert list(found) == list(outputs)
    for name, array in outputs.items():
        assert all(np.array_equal(one, two) for one, two in zip(array, found[name], strict=True))


THREE = {name: RNG.normal(size=(50, 4)).astype(np.float32) for name in ("contour", "note", "onset")}
NUMBERED = {f"StatefulPartitionedCall:{number}": THREE[name] for number, name in enumerate(sorted(THREE))}


def backwards(outputs: Any) -> Any:
    return dict(reversed(outputs.items()))


@pytest.mark.parametrize("ordered", [THREE, backwards(THREE)], ids=["forwards", "backwards"])
@pytest.mark.parametrize("turned", [False, True])
def test_numbers_of_tensorflow_are_those_of_the_names_in_their_order(ordered: Any, turned: bool) -> None:
    named, numbered = ordered, backwards(NUMBERED)
    assert said(*((numbered, named) if turned else (named, numbered))) == []
    # Two that are wired to one tensor, and two that are given in each other's place.
    wired = {**numbered, "StatefulPartitionedCall:2": numbered["StatefulPartitionedCall:1"]}
    assert len(said(named, wired)) == 1
    assert "it holds what the output 'note' should" in said(named, wired)[0].replace("It", "it")
    swapped = {**numbered, "StatefulPartitionedCall:1": THREE["onset"], "StatefulPartitionedCall:2": THREE["note"]}
    assert len(said(named, swapped)) == 2


def test_outputs_of_equal_shapes_that_were_all_named_anew_are_paired_by_position_with_a_word() -> None:
    anew = {name: THREE[was] for name, was in (("a", "contour"), ("b", "note"), ("c", "onset"))}
    found = compare(THREE, anew, LIMIT, "min_sqnr", ordered=False)
    assert (found.paired, faults(LIMIT, found, LIMIT.min_sqnr, "min_sqnr")) == ("by position", [])
    assert len(said(THREE, {**anew, "b": anew["a"]})) == 1
    assert len(said(THREE, {**anew, "b": anew["a"], "a": anew["b"]})) == 2
    # Between two ONNX files names are what callers ask by, and so is one name of several that changed.
    assert "in the order" in said(THREE, anew, ordered=True)[0]
    assert (
        "expected the outputs" in said(THREE, {"contour": THREE["contour"], "b": THREE["note"], "c": THREE["onset"]})[0]
    )
    # Shapes that are others at a place tell nothing.
    assert "expected the outputs" in said(THREE, {**anew, "b": anew["b"][:, :3], "c": anew["c"][:, :3]})[0]
