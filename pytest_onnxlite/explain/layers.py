"""Where the error of a quantized model enters, layer by layer.

Each tensor that both graphs compute is compared twice. *Inherited*: the quantized model runs by itself, so that the
error of every layer before is in it. *Own*: every matched tensor of the quantized model is replaced by the float
model's, so that a layer's error is its own alone. Both are signal-to-quantization-noise ratios,
10 log10(sum x² / sum (x - x')²) in dB, x the float model's values: 20 dB is an error of a tenth, 0 dB one as large as the
signal.

Runs in a child process (`runtime.childprocess`), since a graph that is taken apart may crash what runs it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from pytest_onnxlite.explain.forced_graphs import FORCED, force, with_outputs
from pytest_onnxlite.explain.layer import INPUT, Analysis, Layer, LayersRequest
from pytest_onnxlite.explain.matching import Index, Pair, float_name, is_integer_node, match
from pytest_onnxlite.explain.noise import HIGHEST, Floats, NoiseSums, decibel, spread_of
from pytest_onnxlite.explain.subgraph_extraction import Feeds, Subgraph, extract, subgraphs
from pytest_onnxlite.lint.model_index import Array
from pytest_onnxlite.lint.operators import WEIGHTED
from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.runtime.sessions import open_session
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.workspace import working_folder

# Runs of the outer graph from which a subgraph's are taken.
_INNER_RUNS = 8
# A range is left by rounding alone; beyond this share of a step values are cut off.
_ROUNDING = 1.0
# What lies below a range that begins at 0 counts from this share of it on.
_BELOW = 0.2
_CHANNELS_FIRST = frozenset({"BatchNormalization", "Conv", "ConvTranspose", "InstanceNormalization"})
_CHANNELS_LAST = frozenset({"GRU", "Gemm", "LSTM", "LayerNormalization", "MatMul", "RNN"})


@dataclass(frozen=True)
class _Scope:
    """A graph of both models, with what it is fed; a main graph, or an extracted subgraph."""

    path: str
    reference: onnx.ModelProto
    candidate: onnx.ModelProto
    runs: Sequence[tuple[Feeds, Feeds]]
    note: str = ""


class _Sessions:
    """Opens changed models from a folder."""

    def __init__(self, folder: Path, runtime: Runtime) -> None:
        self._folder = folder
        self._runtime = runtime
        self._count = 0

    def open(self, model: onnx.ModelProto) -> Any:
        self._count += 1
        path = self._folder / f"{self._count}.onnx"
        onnx.save(model, path)
        return open_session(path, self._runtime)


def analyse(request: LayersRequest) -> Analysis:
    """Compare a quantized model with the float one, tensor by tensor."""
    runs: dict[int, Feeds] = {}
    for key, array in arrays.load(Path(request.feeds)).items():
        number, _, name = key.partition(" ")
        runs.setdefault(int(number), {})[name] = array
    with working_folder() as folder:
        return _analyse(request, list(runs.values()), _Sessions(folder, request.runtime))


def _analyse(request: LayersRequest, runs: Sequence[Feeds], sessions: _Sessions) -> Analysis:
    deadline = time.monotonic() + request.seconds
    layers: list[Layer] = []
    notes: list[str] = []
    whole = onnx.load(request.reference), onnx.load(request.candidate)
    waiting = [_Scope("", *whole, [(feeds, feeds) for feeds in runs])]
    done = 0
    while waiting:
        scope = waiting.pop(0)
        comparison = _Comparison(scope, sessions)
        try:
            count = comparison.run(deadline)
        except Exception as error:
            if not scope.path:
                raise
            reason = " ".join(str(error).split())[:200]
            notes.append(f"{scope.path} could not be looked into: {reason}")
            continue
        done = done or count
        layers += comparison.layers()
        if scope.note and count:
            notes.append(scope.note)
        waiting += comparison.inner(notes)
    return Analysis(layers, notes, done)


class _Comparison:
    """One graph of both models."""

    def __init__(self, scope: _Scope, sessions: _Sessions) -> None:
        self._scope = scope
        self._sessions = sessions
        self._reference = Index(scope.reference.graph)
        self._candidate = Index(scope.candidate.graph)
        self._pairs: list[Pair] = []
        self._sums: list[NoiseSums] = []
        self._subgraphs = list(self._find_subgraphs())
        self._outer: list[tuple[Feeds, Feeds]] = []
        self._fed: dict[str, NoiseSums] = {}
        # Of a tensor, how far it reaches from zero in all runs.
        self._reaches: dict[str, float] = {}

    def _find_subgraphs(self) -> Iterator[tuple[Subgraph, Subgraph]]:
        # By name too: an Identity behind it may be gone, and with it the name of its output.
        named = {node.name: node for node in self._scope.candidate.graph.node if node.name}
        for node in self._scope.reference.graph.node:
            other = self._candidate.producers.get(node.output[0]) if node.output else None
            if other is None or other.op_type != node.op_type:
                other = named.get(node.name)
            if other is not None and other.op_type == node.op_type:
                theirs = {subgraph.attribute: subgraph for subgraph in subgraphs(other)}
                for subgraph in subgraphs(node):
                    if subgraph.attribute in theirs:
                        yield subgraph, theirs[subgraph.attribute]

    def run(self, deadline: float) -> int:
        """Run both models, as often as time allows, at least once."""
        self._pairs = match(self._reference, self._candidate)
        wanted = {
            name for subgraph, _ in self._subgraphs for name in subgraph.wanted() if name in self._reference.producers
        }
        names = list(dict.fromkeys([*(pair.name for pair in self._pairs), *sorted(wanted)]))
        reference = self._sessions.open(with_outputs(self._scope.reference, names))
        forced: Any = None
        cumulative: Any = None
        extra: list[str] = []
        half: set[str] = set()
        count = 0
        for reference_feeds, candidate_feeds in self._scope.runs:
            values = dict(zip(names, reference.run(names, reference_feeds), strict=True))
            if forced is None:
                self._keep_floats(values)
                extra = self._inner_names()
                own_names = [pair.candidate for pair in self._pairs]
                cumulative = self._sessions.open(with_outputs(self._scope.candidate, own_names))
                answered = zip(own_names, cumulative.run(own_names, candidate_feeds), strict=True)
                half = {name for name, array in answered if getattr(array, "dtype", None) == np.float16}
                forced = self._sessions.open(force(self._scope.candidate, self._pairs, extra, half))
            given = {pair.candidate: _as_given(pair, values[pair.name], half) for pair in self._pairs}
            accepted = {value.name for value in forced.get_inputs()}
            fed = {name: value for name, value in {**candidate_feeds, **given}.items() if name in accepted}
            own = forced.run([pair.candidate + FORCED for pair in self._pairs] + extra, fed)
            theirs = cumulative.run([pair.candidate for pair in self._pairs], candidate_feeds)
            for sums, pair, one, other in zip(self._sums, self._pairs, own, theirs, strict=False):
                one, other = self._as_read(pair, one), self._as_read(pair, other)
                x = values[pair.name]
                if one.shape == x.shape == other.shape:
                    sums.add(x, one, other)
                    self._note_clipping(sums, pair, x)
            if self._subgraphs and count < _INNER_RUNS:
                inner = dict(zip(extra, own[len(self._pairs) :], strict=True))
                self._outer.append(({**reference_feeds, **values}, {**candidate_feeds, **given, **inner}))
            self._note_inputs(reference_feeds)
            self._note_reaches({**reference_feeds, **values})
            count += 1
            if time.monotonic() > deadline:
                break
        return count

    def _keep_floats(self, values: Mapping[str, Array]) -> None:
        """Leave out tensors that are not float: shapes, indices, sequences."""
        self._pairs = [
            pair
            for pair in self._pairs
            if isinstance(values[pair.name], np.ndarray)
            and values[pair.name].dtype == np.float32
            and values[pair.name].size > 0
        ]
        self._sums = [NoiseSums(self._channel_axis(pair.name, values[pair.name].ndim)) for pair in self._pairs]

    def _channel_axis(self, name: str, rank: int) -> int:
        node = self._reference.producers[name]
        for _ in range(3):  # an activation has the channels of what it is applied to
            if node.op_type in _CHANNELS_FIRST:
                return 1
            if node.op_type in _CHANNELS_LAST:
                return -1
            before = next((self._reference.producers[i] for i in node.input if i in self._reference.producers), None)
            if before is None or node.op_type in ("Transpose", "Reshape", "Flatten", "Squeeze"):
                break
            node = before
        return 1 if rank == 4 else -1

    def _inner_names(self) -> list[str]:
        """Return what the subgraphs of the quantized graph read that is neither stored, fed nor matched."""
        matched = {pair.candidate for pair in self._pairs}
        wanted = {name for _, subgraph in self._subgraphs for name in subgraph.wanted()}
        return sorted((wanted & set(self._candidate.producers)) - matched - set(self._candidate.constants))

    def _as_read(self, pair: Pair, values: Any) -> Floats:
        """Return a tensor as the nodes behind it read it: past the integers that it is written to.

        A Relu may be left to the range of those integers.
        """
        if pair.scale is not None:
            return pair.scale.dequantize(values)
        scale = self._candidate.range_of(pair.candidate)
        plain = values.astype(np.float32) if values.dtype == np.float16 else values
        found: Floats = plain if scale is None else scale.dequantize(scale.quantize(plain))
        return found

    def _note_clipping(self, sums: NoiseSums, pair: Pair, values: Floats) -> None:
        scale = pair.scale or self._candidate.range_of(pair.candidate)
        if scale is None:
            return
        margin = _ROUNDING * scale.scale
        sums.clipped += int(np.count_nonzero((values > scale.high + margin) | (values < scale.low - margin)))
        least, most = float(values.min()), float(values.max())
        ends = [v / e for v, e in ((most, scale.high), (least, scale.low)) if e != 0]
        sums.highest = max([sums.highest, *ends])
        sums.low, sums.high = scale.low, scale.high
        sums.least, sums.most = min(sums.least, least), max(sums.most, most)

    def _note_inputs(self, feeds: Feeds) -> None:
        """Note what the ranges cut off of what the graph is fed with."""
        for name, values in feeds.items():
            scale = self._candidate.range_of(name)
            if scale is not None and isinstance(values, np.ndarray) and values.dtype == np.float32 and values.size:
                sums = self._fed.setdefault(name, NoiseSums(-1))
                sums.values += values.size
                self._note_clipping(sums, Pair(name, name), values)
                # Within the graph a range that begins at 0 may do the work of a Relu; here it cuts off what it is fed.
                below = -sums.least / scale.high if scale.low == 0 < scale.high else 0.0
                if below > _BELOW:
                    sums.highest = max(sums.highest, 1 + below)

    def _note_reaches(self, values: Mapping[str, Array]) -> None:
        for name in {
            source for node in self._reference.graph.node if node.op_type == "Concat" for source in node.input
        }:
            value = values.get(name)
            if isinstance(value, np.ndarray) and value.dtype == np.float32:
                self._reaches[name] = max(self._reaches.get(name, 0.0), float(np.abs(value).max(initial=0.0)))

    def layers(self) -> list[Layer]:
        """Return the figures, the worse one where a tensor is there twice; what the graph is fed with first."""
        found: dict[str, Layer] = {
            name: _input_layer(self._scope.path + name, sums) for name, sums in self._fed.items()
        }
        for pair, sums in zip(self._pairs, self._sums, strict=True):
            if sums.values:
                layer = self._layer(pair, sums)
                known = found.get(pair.name)
                if known is None or layer.worst < known.worst:
                    found[pair.name] = layer
        return list(found.values())

    def _layer(self, pair: Pair, sums: NoiseSums) -> Layer:
        ends = frozenset(pair.candidate for pair in self._pairs)
        nodes = list(self._candidate.between(pair.candidate, ends))
        inherited = {p.candidate: decibel(s.signal, s.noise) for p, s in zip(self._pairs, self._sums, strict=True)}
        integer = [node for node in nodes if is_integer_node(self._candidate, node)]
        producer = self._reference.producers[pair.name]
        gain = sums.dot / sums.signal if sums.signal else 1.0
        rest = max(0.0, sums.own_power - gain * gain * sums.signal)
        spread, channel = sums.spread()
        named = next((node for node in integer if node.name), None)
        # What only hands on the output of a branch or loop has the error within it.
        around = next((node for node in nodes if subgraphs(node)), None)
        if named is None and around is not None:
            producer = around
        layer = Layer(
            tensor=self._scope.path + pair.name,
            node=float_name(named) if named is not None else producer.name or pair.name,
            op=producer.op_type,
            quantized=[node.op_type for node in integer],
            own=decibel(sums.signal, sums.own_noise),
            channel=sums.channel(),
            inherited=decibel(sums.signal, sums.noise),
            before=min(
                (inherited[name] for node in nodes for name in node.input if name in inherited), default=HIGHEST
            ),
            gain=float(gain),
            gain_free=decibel(gain * gain * sums.signal, rest),
            spread=spread,
            spread_channel=channel,
        )
        _add_range(layer, sums)
        self._add_weights(layer, pair)
        self._add_joined(layer, pair)
        return layer

    def _add_joined(self, layer: Layer, pair: Pair) -> None:
        node = self._reference.producers[pair.name]
        scale = pair.scale or self._candidate.range_of(pair.candidate)
        parts = {name: self._reaches[name] for name in node.input if self._reaches.get(name)}
        if node.op_type == "Concat" and scale is not None and scale.scale > 0 and parts:
            layer.node, layer.joined = node.name or pair.name, min(parts, key=lambda name: parts[name])
            layer.joined_steps = parts[layer.joined] / scale.scale

    def _add_weights(self, layer: Layer, pair: Pair) -> None:
        ends = frozenset(pair.name for pair in self._pairs) - {pair.name}
        for node in self._reference.between(pair.name, ends):
            if node.op_type == "Gemm":
                transposed = any(a.name == "transB" and a.i for a in node.attribute)
                axis = 0 if transposed else 1
            elif node.op_type in WEIGHTED and (channel := WEIGHTED[node.op_type].channel) is not None:
                axis = channel
            else:
                continue
            weight = self._reference.constant(node.input[1])
            if weight is None or weight.ndim < 2:
                continue
            rows = np.moveaxis(np.abs(weight.astype(np.float32)), axis, 0).reshape(weight.shape[axis], -1)
            layer.weight_spread, layer.weight_channel = spread_of(rows.max(axis=1))
            scale = self._candidate.constant(f"{node.input[1]}_scale")
            layer.per_channel = None if scale is None else scale.size > 1
            return

    def inner(self, notes: list[str]) -> list[_Scope]:
        """Return the subgraphs that were run, as graphs of their own."""
        scopes = []
        for ours, theirs in self._subgraphs:
            where = f"{self._scope.path}{ours.node.name or ours.node.op_type}/{ours.attribute}/"
            runs: list[tuple[Feeds, Feeds]] = []
            models: tuple[onnx.ModelProto, onnx.ModelProto] | None = None
            for reference_values, candidate_values in self._outer:
                if not ours.is_taken(reference_values):
                    continue
                try:
                    one, one_feeds = extract(self._scope.reference, self._reference, ours, reference_values)
                    # Its own inputs and conditions are the float model's, so that the errors within are its own.
                    other, other_feeds = extract(
                        self._scope.candidate, self._candidate, theirs, {**reference_values, **candidate_values}
                    )
                except (KeyError, ValueError, AttributeError) as error:
                    notes.append(f"{where} could not be looked into: {error}")
                    break
                models = models or (one, other)
                runs.append((one_feeds, other_feeds))
            if models is not None:
                note = ""
                if ours.node.op_type in ("Loop", "Scan"):
                    note = f"{where} was compared in its first iteration alone"
                scopes.append(_Scope(where, *models, runs, note))
        return scopes


def _as_given(pair: Pair, values: Floats, half: Collection[str]) -> Array:
    """Return a tensor of the float graph as the quantized one takes it: as integers, or in half precision."""
    if pair.scale is not None:
        return pair.scale.quantize(values)
    with np.errstate(over="ignore"):  # what half precision cannot hold is infinite there too
        return values.astype(np.float16) if pair.candidate in half else values


def _input_layer(name: str, sums: NoiseSums) -> Layer:
    """Return what is known of a tensor that a graph is fed with: it has no error of its own."""
    layer = Layer(name, name, INPUT, [], HIGHEST, HIGHEST, HIGHEST, HIGHEST, 1.0, HIGHEST)
    _add_range(layer, sums)
    return layer


def _add_range(layer: Layer, sums: NoiseSums) -> None:
    """Add how values fit into the range of their integers."""
    layer.clipped, layer.reach = sums.clipped / sums.values, sums.highest
    layer.low, layer.high, layer.least, layer.most = sums.low, sums.high, sums.least, sums.most
