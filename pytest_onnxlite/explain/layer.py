"""A layer of a quantized model, compared; what is asked of a child that compares layers, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from pytest_onnxlite.spec.runtimes import Runtime

# What reaches no more steps of a scale than this is told apart in five bits at most.
FEWEST_STEPS = 16.0
# The operator of what a graph is fed with.
INPUT = "input"


@dataclass
class Layer:
    """What is known about one tensor and the nodes that compute it from the tensors matched before.

    Attributes:
        tensor: its name, with the path of its subgraph.
        node: the node to leave in float: the quantized one's name before it was quantized; else the float node's.
        op: the float operator.
        quantized: the operators that compute in integers on the way to it; empty if none does.
        own: dB, the layer's own error, inputs taken from the float model.
        channel: dB, the same of the median output channel, each by itself.
        inherited: dB, with the errors of all layers before.
        before: dB, the lowest such ratio of the tensors that it reads.
        gain: the factor between its output and the float model's, least squares.
        gain_free: dB, own, once that factor is taken out.
        clipped: share of its values beyond what its integers can hold; 0 where the range is computed at run time.
        reach: its largest value, as a multiple of the end of that range.
        low: where that range begins.
        high: where it ends.
        least: the smallest of its values, or 0.
        most: the largest, or 0.
        spread: its most extreme channel's largest value, as a multiple of the median channel's.
        spread_channel: that channel.
        weight_spread: the same of the layer's weights, by output channel.
        weight_channel: that channel.
        per_channel: whether its weights have a scale for each output channel; None if it has none.
        joined: of what a Concat joins under one scale, the tensor that reaches least far; empty for all else.
        joined_steps: how many of that scale's steps it reaches.
    """

    tensor: str
    node: str
    op: str
    quantized: list[str]
    own: float
    channel: float
    inherited: float
    before: float
    gain: float
    gain_free: float
    clipped: float = 0.0
    reach: float = 0.0
    low: float = 0.0
    high: float = 0.0
    least: float = 0.0
    most: float = 0.0
    spread: float = 1.0
    spread_channel: int = 0
    weight_spread: float = 1.0
    weight_channel: int = 0
    per_channel: bool | None = None
    joined: str = ""
    joined_steps: float = 0.0

    @property
    def is_drowned(self) -> bool:
        """Whether something that it joins under one scale is lost in it."""
        return bool(self.joined) and self.joined_steps < FEWEST_STEPS

    @property
    def worst(self) -> float:
        """The lower of both figures of the layer's own error."""
        return min(self.own, self.channel)


class LayersRequest(msgspec.Struct, frozen=True):
    """What is compared.

    Args:
        reference: the float ONNX file.
        candidate: the quantized one.
        feeds: the file of what both are fed with, each name after the number of its run: `0 x`, `1 x`.
        runtime: how both are run.
        seconds: after these no further run is begun.
    """

    reference: str
    candidate: str
    feeds: str
    runtime: Runtime
    seconds: float


class Analysis(msgspec.Struct, frozen=True):
    """What came of it: the layers, in the order of the float graph; what could not be looked at, or only in part; and
    how many runs were made."""

    layers: list[Layer]
    notes: list[str]
    runs: int
