"""The figures behind an explanation of lost answers: what a report keeps and a page draws."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from pytest_onnxlite.checks.accuracy.answers import Answers
from pytest_onnxlite.explain.layer import Layer


@dataclass(frozen=True)
class Tried:
    """What a change gives back: the change in words, the gain in right answers or in the metric's value, and what it has then."""

    change: str
    gain: float
    figure: str = ""
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """What leaving nodes in float gives back.

    Attributes:
        node: the node; of several all their names.
        value: the accuracy, or the metric's value, with them in float.
        gain: how much better that is than without: right answers, or of the metric's value.
        bytes: the file's size then.
        nodes: the nodes' names.
        more: how many bytes more that is than without.
        figure: the value with how many samples it is of.
    """

    node: str
    value: float
    gain: float
    bytes: int
    nodes: tuple[str, ...] = ()
    more: int = 0
    figure: str = ""


@dataclass(frozen=True)
class Picture:
    """A sample that was lost, as a small picture.

    Attributes:
        sample: its index in the evaluation data.
        expected: its label.
        candidate: what the candidate answers.
        png: the file, in base64.
    """

    sample: int
    expected: int
    candidate: int
    png: str


@dataclass(frozen=True)
class Saturated:
    """A weight, and the share of its neighbouring pairs that can saturate."""

    tensor: str
    share: float


class AccuracyReasons(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is known of a loss.

    Attributes:
        answers: which classes and samples changed.
        pictures: some of the samples that were lost, where samples are images.
        layers: layers that compute in integers, or differ, in the order of the graph.
        ranges: other tensors whose range was fixed by calibration, what the graph is fed with first.
        ranks_layers: whether the layers' own errors say anything: not where all of them suffer from one cause.
        runs: on how many runs of evaluation data layers were compared.
        tried: other changes that were tried.
        left_in_float: nodes that were left in float, the best first.
        counted: whether gains are right answers.
        share: of neighbouring weight pairs, how many can saturate on another processor.
        tensors: the worst of these weights.
    """

    answers: Answers | None = None
    pictures: tuple[Picture, ...] = ()
    layers: tuple[Layer, ...] = ()
    ranges: tuple[Layer, ...] = ()
    ranks_layers: bool = False
    runs: int = 0
    tried: tuple[Tried, ...] = ()
    left_in_float: tuple[Trial, ...] = ()
    counted: bool = True
    share: float | None = None
    tensors: tuple[Saturated, ...] = ()
