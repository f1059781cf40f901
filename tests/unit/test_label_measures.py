"""F1, word error rate, labels of positions and mean average precision, against the libraries that define them."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from pytest_onnxlite.detection import mean_average_precision, mean_average_precision_50
from pytest_onnxlite.label_measures import edits, f1, f1_macro, positions, wer
from pytest_onnxlite.metrics import as_metric

RNG = np.random.default_rng(5)
WORDS = ["the", "cat", "sat", "on", "a", "mat"]


def scene(seed: int) -> tuple[Any, Any]:
    """Boxes of ten images and three classes: some found well, some badly, some missed, some made up; padded."""
    rng = np.random.default_rng(seed)
    outputs, labels = np.zeros((10, 14, 6)), np.full((10, 8, 5), -1.0)
    for image in range(10):
        count = rng.integers(1, 8)
        corners = rng.uniform(0, 60, (count, 2))
        labels[image, :count] = np.hstack(
            [corners, corners + rng.uniform(20, 40, (count, 2)), rng.integers(0, 3, (count, 1))]
        )
        found = labels[image, : rng.integers(0, count + 1)]
        outputs[image, : len(found), :4] = found[:, :4] + rng.normal(0, 2, (len(found), 4))
        outputs[image, : len(found), 4:] = np.column_stack([rng.uniform(0.1, 1, len(found)), found[:, 4]])
        made = slice(len(found), len(found) + 4)
        corners = rng.uniform(0, 60, (4, 2))
        outputs[image, made] = np.hstack(
            [corners, corners + 20, rng.uniform(0.1, 0.9, (4, 1)), rng.integers(0, 3, (4, 1))]
        )
    return outputs, labels


# What pycocotools 2.0.11 says of these scenes: AP@[.50:.95] and AP@.50.
COCO = {1: (0.185065, 0.280851), 2: (0.169604, 0.275243), 3: (0.138308, 0.226971)}


@pytest.mark.parametrize("seed", COCO)
def test_average_precision_is_that_of_coco(seed: int) -> None:
    outputs, labels = scene(seed)
    found = mean_average_precision(outputs, labels), mean_average_precision_50(outputs, labels)
    assert found == pytest.approx(COCO[seed], abs=1e-6)
    assert mean_average_precision(outputs[::-1], labels) < 0.1  # the boxes of other images


@pytest.mark.parametrize("seed", [*range(6)])
def test_average_precision_is_that_of_pycocotools(seed: int) -> None:
    pytest.importorskip("pycocotools")
    assert (
        mean_average_precision(*scene(seed)),
        mean_average_precision_50(*scene(seed)),
    ) == pytest.approx(by_coco(*scene(seed)), abs=1e-9)


def by_coco(outputs: Any, labels: Any) -> tuple[float, float]:
    coco: Any = pytest.importorskip("pycocotools.coco")
    judge: Any = pytest.importorskip("pycocotools.cocoeval")

    def box(row: Any) -> list[float]:
        return [row[0], row[1], row[2] - row[0], row[3] - row[1]]

    rows = [(image, row) for image in range(len(labels)) for row in labels[image] if row[4] >= 0]
    annotations = [
        {"id": n, "image_id": image, "category_id": int(row[4]), "bbox": box(row), "iscrowd": 0, "area": 1.0}
        for n, (image, row) in enumerate(rows, 1)
    ]
    results = [
        {"image_id": image, "category_id": int(row[5]), "bbox": box(row), "score": row[4]}
        for image in range(len(outputs))
        for row in outputs[image]
        if row[4] > 0
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = {
            "images": [{"id": n} for n in range(len(labels))],
            "annotations": annotations,
            "categories": [{"id": n} for n in range(3)],
        }
        truth.createIndex()
        judged = judge.COCOeval(truth, truth.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return float(judged.stats[0]), float(judged.stats[1])


def test_boxes_by_hand() -> None:
    labels = np.array([[[0, 0, 10, 10, 1], [20, 20, 30, 30, 0], [0, 0, 0, 0, -1]]], float)
    perfect = np.array([[[0, 0, 10, 10, 0.9, 1], [20, 20, 30, 30, 0.8, 0]]], float)
    assert mean_average_precision(perfect, labels) == 1.0
    wrong_class = perfect.copy()
    wrong_class[0, 1, 5] = 2
    assert mean_average_precision(wrong_class, labels) == 0.5
    shifted = perfect.copy()
    shifted[0, 0, [0, 2]] += 2.5  # an overlap of 0.6 counts up to three of ten thresholds
    assert mean_average_precision(shifted, labels) == pytest.approx((0.3 + 1) / 2)
    assert mean_average_precision(perfect * 0, labels) == 0.0
    with pytest.raises(ValueError, match=r"map expects \(N, K, 6\)"):
        mean_average_precision(perfect[..., :5], labels)
    with pytest.raises(ValueError, match="hold no box"):
        mean_average_precision(perfect, labels[:, 2:])


def test_f1_is_that_of_scikit_learn() -> None:
    metrics: Any = pytest.importorskip("sklearn.metrics")
    scores, y = RNG.normal(size=(500, 4)), RNG.integers(0, 4, 500)
    assert f1_macro(scores, y) == pytest.approx(metrics.f1_score(y, scores.argmax(1), average="macro"))
    rare = np.where(y == 3, 0, y)
    assert f1_macro(scores, rare) == pytest.approx(metrics.f1_score(rare, scores.argmax(1), average="macro"))
    one, two = RNG.uniform(size=500), RNG.integers(0, 2, 500)
    assert f1(one, two) == pytest.approx(metrics.f1_score(two, one > 0.5))
    assert f1(one[:, None], two[:, None]) == f1(one, two) == f1((one > 0.5).astype(int), two)
    assert f1(np.column_stack([1 - one, one]), two) == f1(one, two)
    many = RNG.integers(0, 2, (500, 4))
    shares = RNG.uniform(size=(500, 4))
    assert f1_macro(shares, many) == pytest.approx(metrics.f1_score(many, shares > 0.5, average="macro"))


def test_f1_by_hand() -> None:
    assert f1(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])) == 0.5
    assert f1(np.array([0, 0]), np.array([0, 0])) == 0.0
    # Of 99 of one class and one of the other, answers that never change are 99 % right.
    assert f1(np.zeros(100, int), np.arange(100) // 99) == 0.0
    assert f1(np.array([[0.9, 0.1], [0.2, 0.3]]), np.array([[1, 0], [-100, -100]])) == 1.0
    calls: list[tuple[Any, str]] = [
        (lambda: f1(np.eye(3), np.arange(3)), "use f1_macro"),
        (lambda: f1_macro(np.eye(3), np.arange(3) * 0.5), "expects whole numbers"),
        (lambda: f1_macro(np.eye(3), np.arange(1, 4)), "labels reach to 3, the model has 3 classes"),
        (lambda: f1(np.zeros((3, 4, 5, 6)), np.zeros(3, int)), r"expects \(3, classes\) float"),
    ]
    for call, text in calls:
        with pytest.raises(ValueError, match=text):
            call()


def test_words() -> None:
    assert wer(np.array(["the cat sat", "on a mat"]), np.array(["the cat sat", "on the mat"])) == pytest.approx(1 / 6)
    assert wer(np.array(["a b c d", ""]), np.array(["a b", "x"])) == 1.0  # two put in, one left out, of three
    ids = np.array([[4, 5, 6, -1], [1, 2, 2, 2]])
    assert wer(ids, np.array([[4, 5, 6], [1, 2, -100]])) == pytest.approx(2 / 5)
    assert as_metric("wer").loss(np.array(0.2), np.array(0.1)) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="hold no word"):
        wer(np.array(["a"]), np.array([" "]))
    with pytest.raises(ValueError, match="are decoded first"):
        wer(np.zeros((2, 5, 9)), np.array(["a", "b"]))


def test_word_error_rate_is_that_of_jiwer() -> None:
    jiwer: Any = pytest.importorskip("jiwer")
    ours, theirs = ([" ".join(RNG.choice(WORDS, RNG.integers(1, 12))) for _ in range(60)] for _ in range(2))
    assert wer(np.array(ours), np.array(theirs)) == pytest.approx(jiwer.wer(theirs, ours))
    assert edits(list("kitten"), list("sitting")) == 3


def test_labels_of_positions() -> None:
    labels = np.array([[0, 1, 2], [1, 1, -100]])
    scores = np.eye(4)[[[0, 1, 1], [1, 0, 2]]].astype(np.float32)
    assert positions(scores, labels).tolist() == [pytest.approx(2 / 3), 0.5]
    assert positions(scores.argmax(-1), labels).tolist() == positions(scores, labels).tolist()
    image, answers = RNG.integers(0, 5, (4, 6, 7)), RNG.integers(0, 5, (4, 6, 7))
    shares = (image == answers).mean(axis=(1, 2))
    last = np.eye(5)[answers]
    for outputs in (last, np.moveaxis(last, -1, 1)):
        assert positions(outputs, image) == pytest.approx(shares)
    mask, probability = RNG.integers(0, 2, (4, 6, 7)), RNG.uniform(size=(4, 6, 7, 1))
    expected = ((probability[..., 0] > 0.5) == mask).mean(axis=(1, 2))
    assert positions(probability, mask) == pytest.approx(expected)
    assert positions(probability[..., 0], mask[..., None]) == pytest.approx(expected)
    with pytest.raises(ValueError, match="the classes may be on the second axis or on the last"):
        positions(np.zeros((2, 5, 5)), np.zeros((2, 5), int))
    with pytest.raises(ValueError, match="sample 1 has no label that is not negative"):
        positions(scores, np.array([[0, 1, 2], [-1, -1, -1]]))
