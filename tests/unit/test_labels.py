"""Labels that do not belong to the data, classes that were lost: what is told, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pytest_onnxlite.checks.accuracy.answers import compare_answers
from pytest_onnxlite.checks.accuracy.chance import fit_of, lost_classes
from pytest_onnxlite.checks.accuracy.judge import judge_accuracy
from pytest_onnxlite.checks.accuracy.judge_labels import doubt, misfit
from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, LostClass
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.metrics import as_metric

Array = npt.NDArray[Any]
PLAIN = Absent(Outcome.NOT_COMPARED, "only under --onnxlite-baseline")


def draw(n: int, classes: int, strength: float, share: list[float] | None = None, seed: int = 0) -> tuple[Array, Array]:
    """Return scores of a model that is better the larger its strength is, (n, classes), and the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n, p=share)
    scores = rng.normal(size=(n, classes))
    scores[np.arange(n), labels] += strength
    if share is not None:
        scores += np.log(share)
    return np.exp(scores).astype(np.float32), labels


def said(scores: Array, labels: Array, metric: str = "top1") -> tuple[str, str]:
    is_bool = labels.dtype.kind == "b"
    fit = fit_of("onnx", labels.astype(np.int64), as_metric(metric).choices(scores), is_bool=is_bool)
    return misfit(fit, len(labels)), doubt(fit, len(labels))


SOUND: dict[str, tuple[Any, ...]] = {
    "ten classes": (1000, 10, 4.0),
    "ten classes, few samples": (30, 10, 3.0),
    "two classes, a weak model": (1000, 2, 0.5),
    "two classes, few samples": (24, 2, 2.0),
    "5 % of one class, found": (300, 2, 3.0, [0.95, 0.05]),
    "1 % of one class, found": (5000, 2, 4.0, [0.99, 0.01]),
    "a thousand classes, 35 % right": (1000, 1000, 2.8),
    "a thousand classes, 12 % right": (1000, 1000, 2.0),
    "a thousand classes, fewer samples than classes": (400, 1000, 2.8),
}


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("seed", range(5))
def test_a_useful_model_is_neither_at_chance_nor_are_its_labels_doubtful(name: str, seed: int) -> None:
    scores, labels = draw(*SOUND[name], seed=seed)  # type: ignore[misc]
    assert said(scores, labels) == ("", "")


def test_data_of_two_of_ten_classes_fits() -> None:
    scores, labels = draw(500, 10, 4.0, [0.5, 0.5, *[1e-12] * 8])
    assert said(scores, labels) == ("", "")


MISFITS: dict[str, Callable[[Array], Array]] = {
    "of the sample before": lambda labels: np.roll(labels, 1),
    "of the class after": lambda labels: (labels + 1) % 10,
    "shuffled": lambda labels: np.random.default_rng(1).permutation(labels),
    "True and False": lambda labels: labels == 3,
    "all 0": np.zeros_like,
    "another head's": lambda labels: np.random.default_rng(2).integers(0, 10, len(labels)),
}


@pytest.mark.parametrize("name", MISFITS)
@pytest.mark.parametrize("n", [100, 1000])
def test_labels_that_do_not_belong_to_the_data_are_told(name: str, n: int) -> None:
    scores, labels = draw(n, 10, 4.0)
    assert said(scores, MISFITS[name](labels))[0]
    assert said(scores, MISFITS[name](labels), "top3")[0] or name == "True and False"


def test_two_classes_with_the_labels_of_the_sample_before() -> None:
    scores, labels = draw(600, 2, 4.0)
    assert "always answering" in said(scores, np.roll(labels, 1))[0]


def test_it_says_what_always_giving_the_commonest_label_has() -> None:
    labels = np.repeat([3, 0, 1, 2], [50, 50, 50, 50])
    scores = np.eye(4, dtype=np.float32)[np.roll(labels, 50)]
    scores[:49] = np.eye(4, dtype=np.float32)[3]
    assert said(scores, labels)[0] == "the onnx variant has 24.5 %, always answering 0 has 25.0 %"


def test_a_model_that_is_always_right_shows_every_loss() -> None:
    labels = np.zeros(50, np.int64)
    assert said(np.eye(2, dtype=np.float32)[labels], labels) == ("", "")


DOUBTFUL: dict[str, tuple[Callable[[Array], Array], str]] = {
    "half of them another's": (
        lambda labels: np.where(np.random.default_rng(3).random(len(labels)) < 0.5, labels, np.roll(labels, 1)),
        "surest of its answer",
    ),
    "two classes as one": (lambda labels: np.where(labels < 8, labels, 7), "answers 8 and 9 to"),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubtful_labels_are_told(name: str) -> None:
    scores, labels = draw(1000, 10, 4.0)
    change, text = DOUBTFUL[name]
    wrong, doubtful = said(scores, change(labels))
    assert not wrong
    assert text in doubtful


@pytest.mark.parametrize(("right", "red", "doubtful"), [(0.12, True, False), (0.18, False, True), (0.4, False, False)])
def test_a_model_that_hardly_beats_chance_does_not_fit_its_data(right: float, red: bool, doubtful: bool) -> None:
    """As with inputs that are prepared otherwise than in training."""
    rng = np.random.default_rng(4)
    labels = np.arange(600) % 10
    margins = rng.uniform(0.1, 1, 600).astype(np.float32)
    known = np.argsort(-margins)[: int(600 * right)]  # it is right where it is surest
    answers = (labels + rng.integers(1, 10, 600)) % 10
    answers[known] = labels[known]
    scores = np.eye(10, dtype=np.float32)[answers] * margins[:, None]
    wrong, doubts = said(scores, labels)
    assert (bool(wrong), not wrong and bool(doubts)) == (red, doubtful)
    assert not red or "the difference may be luck" in wrong
    assert not doubtful or "hardly more than the 10" in doubts or "hardly more than the 9" in doubts


def test_boolean_labels_fit_two_classes_alone() -> None:
    scores, labels = draw(500, 2, 3.0)
    assert said(scores, labels.astype(bool)) == ("", "")
    three, labels = draw(500, 3, 3.0, [0.5, 0.5, 1e-12])
    assert "the model has 3 classes" in said(three, labels.astype(bool))[1]
    assert said(scores[:, 1] / scores.sum(axis=1), (scores[:, 1] > scores[:, 0]).astype(bool)) == ("", "")


def test_shuffled_labels_are_reckoned_as_shuffling_finds() -> None:
    scores, labels = draw(200, 5, 1.0)
    for metric in ("top1", "top2"):
        choices = as_metric(metric).choices(scores)
        rng = np.random.default_rng(0)
        counted = [int((choices.among == rng.permutation(labels)[:, None]).any(axis=1).sum()) for _ in range(3000)]
        fit = fit_of("onnx", labels, choices)
        assert fit.shuffled == pytest.approx(np.mean(counted), abs=0.5)
        assert fit.shuffled_most == pytest.approx(np.quantile(counted, 0.99), abs=1.5)


def judged(answers: Array, labels: Array, scores: Array, limit: AccuracyLimit) -> tuple[Outcome, str, tuple[str, ...]]:
    """Judge answers against those of scores."""
    metric = as_metric("top1")
    theirs, own = metric.choices(scores), metric.choices(np.eye(scores.shape[1], dtype=np.float32)[answers])
    before, now = theirs.answers == labels, own.answers == labels
    found = Accuracy(
        "top1",
        int(now.sum()),
        len(labels),
        1,
        "d" * 64,
        "onnx",
        int(before.sum()),
        int((before & ~now).sum()),
        int((now & ~before).sum()),
        fit=fit_of("onnx", labels, theirs, own),
        lost_classes=lost_classes("the onnx variant", labels, before, now),
    )
    verdict = judge_accuracy(limit, found, PLAIN)[0]
    return verdict.outcome, verdict.message, verdict.remarks


def test_where_labels_are_doubtful_answers_are_judged_by_the_same_limit() -> None:
    scores, labels = draw(1000, 10, 4.0)
    labels = DOUBTFUL["half of them another's"][0](labels)
    same = scores.argmax(axis=1)
    limit = AccuracyLimit(max_drop=0.01)
    outcome, _, remarks = judged(same, labels, scores, limit)
    assert outcome is Outcome.PASS
    assert "doubtful" in remarks[0]
    assert "0 of 1000 samples are answered differently" in remarks[0]

    # As many are right as before, and a fortieth of all answers is another.
    other, rng = same.copy(), np.random.default_rng(5)
    wrong, right = np.flatnonzero(same != labels), np.flatnonzero(same == labels)
    gained = rng.choice(wrong, 12, replace=False)
    other[gained] = labels[gained]
    other[rng.choice(right, 13, replace=False)] += 1
    outcome, message, _ = judged(other % 10, labels, scores, limit)
    assert outcome is Outcome.FAIL
    assert "at most 10 allowed" in message
    assert "chance_ok=True" in message
    outcome, _, remarks = judged(other % 10, labels, scores, replace(limit, chance_ok=True))
    assert (outcome, remarks) == (Outcome.PASS, ())


def test_fewer_answers_differ_where_labels_are_sound_and_nobody_minds() -> None:
    scores, labels = draw(1000, 10, 4.0)
    other = scores.argmax(axis=1)
    other[np.flatnonzero(other != labels)[:5]] += 1
    assert judged(other % 10, labels, scores, AccuracyLimit(max_drop=0.001)) == (Outcome.PASS, "", ())


def test_a_class_that_is_lost_wholly_is_told_on_a_pass() -> None:
    labels = np.repeat([0, 1], [991, 9])
    scores = np.eye(2, dtype=np.float32)[labels]
    scores[0] = scores[-1]  # one answer is wrong
    outcome, _, (remark,) = judged(np.zeros(1000, np.int64), labels, scores, AccuracyLimit(max_drop=0.01))
    assert outcome is Outcome.PASS
    assert "class 1 (0 of 9 right, the onnx variant has 9)" in remark


@pytest.mark.parametrize(
    ("samples", "had", "has", "lost"),
    [(9, 9, 0, True), (9, 9, 1, False), (40, 30, 3, True), (40, 30, 4, False), (9, 2, 0, False), (3, 3, 0, True)],
)
def test_a_class_is_lost_where_hardly_one_right_answer_is_left(samples: int, had: int, has: int, lost: bool) -> None:
    labels = np.repeat([0, 1], [2000, samples])
    theirs, ours = np.ones(len(labels), bool), np.ones(len(labels), bool)
    theirs[2000 + had :] = ours[2000 + has :] = False
    expected = (LostClass("1", samples, "the onnx variant", had, has),) if lost else ()
    assert lost_classes("the onnx variant", labels, theirs, ours) == expected


def test_many_small_classes_lose_one_by_chance() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(300), 4)
    for _ in range(20):
        theirs, ours = rng.random(1200) < 0.7, rng.random(1200) < 0.65
        assert not lost_classes("the onnx variant", labels, theirs, ours)


def test_a_class_that_most_samples_have_is_no_cause() -> None:
    """Where the axis of a scale is wrong, nearly all answers become another's: most of them are the common class's."""
    labels = np.repeat([0, 1, 2, 3, 4], [890, 30, 30, 25, 25])
    collapsed = np.where(np.arange(1000) % 40 == 0, labels, 1)
    found = compare_answers(labels, labels, collapsed)
    assert found.classes[0].label == 0
    assert found.concentrated() == []
    # The same losses where classes are even have one class as their cause.
    labels = np.repeat(np.arange(5), 200)
    relabelled = np.where(labels == 0, 1, labels)
    assert [c.label for c in compare_answers(labels, labels, relabelled).concentrated()] == [0]
