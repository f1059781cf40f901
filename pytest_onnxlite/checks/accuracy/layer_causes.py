"""What a layer's figures tell of its error. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_onnxlite.explain.layer import Layer
from pytest_onnxlite.text import percent

# Layers that are shown, and that are tried in float first.
MOST_LAYERS = 5
# Below this a layer's own error is worth naming; INT8 layers that work are at 30 to 50 dB.
CLEAN = 25.0
# Below this little of the signal is left.
_DROWNED = 6.0
# What is added on the way is not taken away again: an own error that is so much larger (dB) than the error with all before it
# was not that of the model that ships, whose nodes are fused, but of the graph that was taken apart.
_CONTRADICTS = 6.0
_RECURRENT = frozenset({"DynamicQuantizeLSTM", "GRU", "LSTM", "Loop", "RNN", "Scan"})
# An output that is off by a factor, and how much closer it is without.
_GAIN, _GAIN_FREE = 0.1, 10.0
# Of a static range: the share of values beyond it, and how far the largest one goes.
CLIPPED, REACH = 0.002, 1.2
_SPREAD = 16.0


def worst_layers(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers that compute in integers, or differ without, the largest own error first."""
    return ranked_layers(layers)[:MOST_LAYERS]


def ranked_layers(layers: Sequence[Layer]) -> list[Layer]:
    """Return all of them; first where what is joined under one scale is lost."""
    suspects = [layer for layer in layers if layer.quantized or layer.is_drowned or layer.worst < CLEAN]
    suspects = [layer for layer in suspects if layer.inherited <= layer.own + _CONTRADICTS or layer.own >= CLEAN]
    # What surrounds a subgraph has the errors within it: the subgraph's own layers say more.
    inner = {layer.tensor.split("/then_branch/")[0].split("/else_branch/")[0] for layer in layers}
    suspects = [s for s in suspects if not (s.op in ("If", "Loop", "Scan") and s.node in inner)]
    return sorted(suspects, key=lambda layer: (not layer.is_drowned, layer.worst))


def layer_cause(layer: Layer, layers: Sequence[Layer]) -> str:
    """Say what is the matter with a layer, as far as its figures tell."""
    if layer.is_drowned:
        return (
            f"{layer.node} ({layer.op}) joins tensors of very different size under one scale: {layer.joined} reaches "
            f"{layer.joined_steps:.2g} of its steps, and is lost in it. Leave {layer.node} in float, or give out both by themselves."
        )
    others = [other.worst for other in layers if other.quantized and other is not layer]
    usual = f"; the other quantized layers: {np.median(others):.0f} dB" if others else ""
    # Of what is worse, left in float by itself, a trial said that it is not the cause.
    cleared = any(other.worst < layer.worst for other in ranked_layers(layers) if other is not layer)
    of = " of the layers that no trial cleared" if cleared else ""
    where = f"{layer.node} ({layer.op}) adds the largest error{of} (own SQNR {layer.worst:.1f} dB{usual})"
    if abs(layer.gain - 1) > _GAIN and layer.gain_free > layer.own + _GAIN_FREE:
        return f"{where}. Its output is {layer.gain:.3g} times the float model's: its weights or a scale are off by that factor."
    if layer.clipped > CLIPPED and layer.reach > REACH:
        return (
            f"{where}. {percent(layer.clipped)} of its values lie beyond what its integers hold, up to {layer.reach:.1f} "
            "times: calibration saw smaller ones. Calibrate with data like the evaluation data."
        )
    if layer.per_channel is False and layer.weight_spread > _SPREAD:
        cure = "quantize per_channel=True"
        if "ConvInteger" in layer.quantized:  # whatever per_channel= says
            cure = "quantize it statically, per channel, or leave it in float; ConvInteger takes one scale for all channels"
        return (
            f"{where}. Output channel {layer.weight_channel} has weights {layer.weight_spread:.0f} times as large as the median "
            f"channel's, and one scale serves all: {cure}."
        )
    if layer.spread > _SPREAD:
        return (
            f"{where}. Channel {layer.spread_channel} of its output reaches {layer.spread:.0f} times as far as the median "
            "channel, and one scale serves all: leave it, or what reads it, in float."
        )
    return f"{where}."


def recurrent(layers: Sequence[Layer]) -> list[str]:
    """Say what a recurrent layer makes of the error, which goes from step to step in it."""
    for layer in layers:
        if _RECURRENT & {layer.op, *layer.quantized} and layer.inherited < _DROWNED:
            own = f"{layer.worst:.1f} dB of its own"
            part = f"its input is what is off ({own})" if layer.worst >= CLEAN else f"it adds to it ({own})"
            return [
                f"The signal drowns in the recurrent {layer.node}: {layer.before:.1f} dB in front of it, "
                f"{layer.inherited:.1f} dB behind; {part}."
            ]
    return []
