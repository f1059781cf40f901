"""The order of causes by itself, and advice by how a variant was made: what cannot be broken on every machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cause import Cause

from pytest_onnxlite.checks.accuracy.advice import Made, advise
from pytest_onnxlite.checks.accuracy.answers import compare_answers
from pytest_onnxlite.checks.accuracy.causes import Evidence, Moved, Rank, rank_causes
from pytest_onnxlite.checks.accuracy.range_causes import range_text
from pytest_onnxlite.checks.accuracy.reasons import Tried
from pytest_onnxlite.checks.accuracy.trials import chain
from pytest_onnxlite.explain.layer import Layer
from pytest_onnxlite.kinds import KINDS, Kind
from pytest_onnxlite.metrics import as_indices
from pytest_onnxlite.spec.recipes import DynamicInt8, StaticInt8


def layer(node: str, own: float = 40.0, **more: Any) -> Layer:
    """Return a layer that computes in integers."""
    inherited = more.pop("inherited", own)
    return Layer(node, node, "MatMul", ["MatMul"], own, own, inherited, 120.0, 1.0, own, **more)


LOST = Evidence(name="the onnx variant", lost=49.0, layers=[layer("a", 17.5), layer("b", 36.0)])
# 80 % of the samples are of class 0, and so is most of what was lost.
UNEVEN = np.repeat([0, 1, 2, 3], [800, 70, 70, 60])
ANSWERS = compare_answers(UNEVEN, UNEVEN, np.where(np.arange(1000) < 45, 1, UNEVEN))

NO_VNNI = Cause(
    "a processor without VNNI on which neighbouring weights saturate",
    r"^this processor is an x86 without VNNI, .* reduce_range=True gives back 45 of the 49 lost answers \(100\.0 % of 600 right\)",
    (r"^a \(MatMul\)",),
)
NO_VNNI_FILE = Cause(
    "the same of an INT8 file of the user's, that cannot be quantized anew",
    r"^this processor is an x86 without VNNI, .* Quantize it with reduce_range=True or with uint8 weights\.",
)
NO_VNNI_IN_VAIN = Cause(
    "weights that could saturate and do not: the layer is to blame",
    r"^a \(MatMul\) adds the largest error",
    (r"^this processor",),
)
CONTRADICTION = Cause(
    "a layer whose own error, in the graph that was taken apart, is larger than all of it in the model",
    r"^b \(MatMul\) adds the largest error \(own SQNR 24\.0 dB",
    (r"a \(MatMul\)",),
)
REGAINED = Cause(
    "a layer with a good signal that gives back 44 of 49, next to one with a bad signal that gives nothing",
    r"^b loses most: left in float, it gives back 44 of the 49 lost answers",
    (r"no layer stands out",),
)
QUIET = Cause(
    "a layer that gives 44 of 49 back if none has a bad signal",
    r"^b loses most: left in float, it gives back 44 of the 49 lost answers",
    (r"no layer stands out",),
)
IN_VAIN = Cause(
    "a bad layer that gives nothing back in float",
    r"^no layer that was left in float gives most of the loss back",
    (r"each is within",),
)
UNEVEN_CLASS = Cause(
    "a loss in a class with 80 % of the samples", r"^a \(MatMul\) adds the largest error", (r"training data",)
)
QUANTIZED_CLASS = Cause(
    "a loss in one class of many, of a quantized model and its float model",
    r"^a \(MatMul\) adds the largest error",
    (r"comes from its training data",),
)
METRIC = Cause(
    "a metric's value that the last release's own file no longer has",
    r"^the last release's own file has 0\.81 today, and had 0\.9 when it was saved: 0\.09 of the 0\.1 lost come from the machine",
    (r"answers",),
)
TFLITE = Cause(
    "TFLite with integers", r"^Calibrate with more data .* leave calibration= out", (r"exclude=", r"per_channel")
)
TFLITE_WEIGHTS = Cause("TFLite with integer weights", r"^Weights alone are integers", (r"exclude=", r"per_channel"))
INT4 = Cause(
    "weights in blocks of 4 bits", r"^Quantize its weights anew in smaller blocks", (r"exclude=", r"per_channel")
)
CONVERTED = Cause("a converted float model", r"^It was converted, not quantized", (r"exclude=", r"per_channel"))
OWN_KIND = Cause("a kind of a project's own", r"^Change how the kind 'fp8' is built", (r"exclude=", r"per_channel"))
ELSEWHERE = Cause("an INT8 file of the user's", r"^It was quantized elsewhere", (r"exclude=", r"per_channel"))
PER_CHANNEL = Cause("a recipe with a scale for each channel already", r"recipe exclude=\[\.\.\.\]", (r"per_channel",))
PER_TENSOR = Cause(
    "a recipe with one scale for all channels", r"recipe exclude=\[\.\.\.\].*per_channel=True", (r"calibrate",)
)
ONE_HOT = Cause("one-hot labels", r"Turn one-hot labels into indices with y\.argmax\(axis=1\)")
POSITIONS = Cause(
    "labels for each position", r"There are 16 labels for each sample: give metric= a function", (r"one-hot",)
)
FLOAT_IDS = Cause("float class ids", r"They are whole numbers: give y\.astype\(int\)", (r"one-hot",))
NAMES = Cause("labels as names", r"They are names or objects: .*np\.unique\(y, return_inverse=True\)", (r"one-hot",))
REAL = Cause("real values as labels", r"They are no classes: give metric=", (r"one-hot", r"astype"))
CAUSES = [
    *(
        NO_VNNI,
        NO_VNNI_FILE,
        NO_VNNI_IN_VAIN,
        CONTRADICTION,
        REGAINED,
        QUIET,
        IN_VAIN,
        UNEVEN_CLASS,
        QUANTIZED_CLASS,
        METRIC,
    ),
    *(TFLITE, TFLITE_WEIGHTS, INT4, CONVERTED, OWN_KIND, ELSEWHERE, PER_CHANNEL, PER_TENSOR),
    *(ONE_HOT, POSITIONS, FLOAT_IDS, NAMES, REAL),
]


@pytest.mark.parametrize(
    ("cause", "evidence"),
    [
        (NO_VNNI, replace(LOST, saturating=0.085, reduced=Tried("reduce_range=True", 45, "100.0 % of 600 right"))),
        (NO_VNNI_FILE, replace(LOST, saturating=0.085)),
        (NO_VNNI_IN_VAIN, replace(LOST, saturating=0.085, reduced=Tried("reduce_range=True", 1))),
        (CONTRADICTION, replace(LOST, layers=[layer("a", 21.8, inherited=45.3), layer("b", 24.0), layer("c", 41.0)])),
        (REGAINED, replace(LOST, left_in_float=[Tried("b", 44, nodes=("b",)), Tried("a", 0, nodes=("a",))])),
        (
            QUIET,
            replace(LOST, layers=[layer("a", 38.0), layer("b", 39.0)], left_in_float=[Tried("b", 44, nodes=("b",))]),
        ),
        (IN_VAIN, replace(LOST, left_in_float=[Tried("a", 0, "75.0 % of 200 right", ("a",))])),
        (UNEVEN_CLASS, replace(LOST, answers=ANSWERS)),
        (
            QUANTIZED_CLASS,
            replace(
                LOST,
                answers=compare_answers(
                    np.arange(1000) % 10,
                    np.arange(1000) % 10,
                    np.where(np.arange(1000) % 20 == 3, 5, np.arange(1000) % 10),
                ),
            ),
        ),
        (METRIC, replace(LOST, lost=0.1, counted=False, against_last=True, moved=Moved("0.9", "0.81", 0.09))),
    ],
)
def test_the_surest_cause_is_said_first(cause: Cause, evidence: Evidence) -> None:
    found = rank_causes(evidence)
    cause.hold(found[0].text, "\n".join(one.text for one in found))


def test_a_class_that_training_lost_is_laid_to_training() -> None:
    labels = np.arange(1000) % 10
    lost = compare_answers(labels, labels, np.where(labels == 3, 5, labels))
    (first, *_) = rank_causes(Evidence("the last release", 100.0, is_quantized=False, against_last=True, answers=lost))
    assert first.rank is Rank.LIKELY
    assert first.text.endswith("A loss in one class comes from its training data or labels.")


def test_ranges_that_fit_are_no_cause() -> None:
    assert range_text([layer("a", clipped=0.0001, reach=1.1), layer("b", reach=0.8)]) == ("", False)
    # A method that cuts off on purpose, or one quiet layer, is no misfit.
    assert range_text([layer("a", clipped=0.0015, reach=2.5), layer("b", reach=0.2), layer("c", reach=0.9)]) == (
        "",
        False,
    )
    assert rank_causes(replace(LOST, lost=0.0, layers=[layer("a")]))[0].text.startswith("no layer stands out")


def test_a_chain_reaches_from_product_to_product() -> None:
    nodes = [
        ("product", "MatMul", ("x", "w"), ("p",)),
        ("scale", "Mul", ("p", "s"), ("q",)),
        ("add", "Add", ("q", "m"), ("r",)),
        ("softmax", "Softmax", ("r",), ("t",)),
        ("values", "MatMul", ("t", "v"), ("y",)),
        ("other", "Mul", ("y", "s"), ("z",)),
    ]
    names = frozenset(name for name, *_ in nodes)
    assert chain("softmax", names, nodes) == ("scale", "add", "softmax")
    assert chain("softmax", names - {"add"}, nodes) == ("softmax",)
    assert chain("product", names, nodes) == ("product",)


@pytest.mark.parametrize(
    ("cause", "made"),
    [
        (TFLITE, Made(KINDS["tflite_int8"], is_calibrated=True)),
        (TFLITE_WEIGHTS, Made(KINDS["tflite_int8"])),
        (INT4, Made(KINDS["int8"], operators={"MatMulNBits", "Relu"})),
        (INT4, Made(Kind("int4", quantized=True, made_from="onnx"), operators={"MatMulNBits"})),
        (CONVERTED, Made(KINDS["onnx"])),
        (CONVERTED, Made(KINDS["tflite"])),
        (OWN_KIND, Made(Kind("fp8", quantized=True, made_from="onnx"))),
        (ELSEWHERE, Made(KINDS["int8"], operators={"MatMulInteger"})),
        (PER_CHANNEL, Made(KINDS["int8"], StaticInt8(per_channel=True), is_calibrated=True)),
        (PER_TENSOR, Made(KINDS["int8"], DynamicInt8(per_channel=False))),
    ],
)
def test_advice_is_of_the_format_that_is_judged(cause: Cause, made: Made) -> None:
    text = advise(made)
    cause.hold(text, text)


@pytest.mark.parametrize(
    ("cause", "labels"),
    [
        (ONE_HOT, np.eye(4)[[0, 1, 2]]),
        (ONE_HOT, np.eye(4, dtype=np.int64)[[0, 1, 2]]),
        (ONE_HOT, np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)),
        (POSITIONS, np.arange(60 * 16).reshape(60, 16) % 7),
        (FLOAT_IDS, np.array([0.0, 1.0, 2.0])),
        (NAMES, np.array(["cat", "dog"])),
        (NAMES, np.array(["cat", 1], object)),
        (REAL, np.array([0.5, 1.25])),
    ],
)
def test_labels_that_are_no_indices_are_told_what_they_are(cause: Cause, labels: Any) -> None:
    with pytest.raises(ValueError, match="labels are") as raised:
        as_indices(labels)
    cause.hold(str(raised.value), str(raised.value))
