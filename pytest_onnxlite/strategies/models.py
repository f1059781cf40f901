"""Random float models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper

from pytest_onnxlite.strategies.blocks import BLOCKS, WEIGHTS
from pytest_onnxlite.strategies.graph_builder import Builder

OPSETS: tuple[int, ...] = tuple(range(11, onnx.defs.onnx_opset_version() + 1))
"""From the first with DynamicQuantizeLinear to the newest that the installed onnx knows."""
STORAGES: tuple[str, ...] = ("inline", "constant", "external")
"""Where weights lie: in initializers, in Constant nodes, or in a file next to the model."""

# What a model starts with: the shape behind the batch, and whether it is looked up by token numbers.
_INPUTS: dict[str, tuple[int | None, ...]] = {
    "features": (None, 4),
    "steps": (None, 3, 4),
    "tokens": (None, 3),
    "image": (None, 3, 5, 5),
}
VOCABULARY = 10


@dataclass(frozen=True)
class RandomModel:
    """A model and what it was drawn from; what fails is printed as that.

    Attributes:
        source: `features`, `steps`, `tokens` or `image`.
        blocks: its blocks, each with its width.
        opset: the version of ONNX's operators.
        weights: the distribution of its weights.
        storage: where they lie; `external` when saved.
        seed: of the weights.
        proto: the model, with its weights inside.
    """

    source: str
    blocks: tuple[tuple[str, int], ...]
    opset: int
    weights: str
    storage: str
    seed: int
    proto: onnx.ModelProto = field(repr=False, compare=False)

    @property
    def linear(self) -> bool:
        """Whether zero in gives zero out."""
        return self.source != "tokens" and all(BLOCKS[name].linear for name, _ in self.blocks)

    def save(self, folder: Path) -> Path:
        """Write the model as `model.onnx`, its weights where `storage` says, and return its path."""
        path = folder / "model.onnx"
        if self.storage == "external":
            data = onnx.ModelProto()
            data.CopyFrom(self.proto)
            (folder / "model.data").unlink(missing_ok=True)  # onnx appends to what is there
            onnx.save(
                data,
                path,
                save_as_external_data=True,
                location="model.data",
                size_threshold=0,
                convert_attribute=False,
            )
        else:
            onnx.save(self.proto, path)
        return path


@st.composite
def models(
    draw: st.DrawFn,
    *,
    blocks: Sequence[str] | None = None,
    weights: Sequence[str] = WEIGHTS,
    storages: Sequence[str] = STORAGES,
    opsets: Sequence[int] = OPSETS,
    max_blocks: int = 4,
) -> RandomModel:
    """Draw float models that onnx.checker accepts and ONNX Runtime runs.

    Args:
        draw: given by Hypothesis.
        blocks: the kinds of block to choose from, names of `BLOCKS`; all by default.
        weights: the distributions to choose from, names of `WEIGHTS`.
        storages: where weights may lie, names of `STORAGES`.
        opsets: the versions to choose from; leave newer ones out for an older runtime.
        max_blocks: how many blocks at most.

    Raises:
        KeyError: a block, distribution or storage is not known.
    """
    allowed = [BLOCKS[name] for name in (BLOCKS if blocks is None else blocks)]
    ranks = {block.rank for block in allowed}
    sources = [name for name, shape in _INPUTS.items() if _rank(name, shape) in ranks]
    source = draw(st.sampled_from(sources))
    opset, distribution = draw(st.sampled_from(sorted(opsets))), draw(st.sampled_from(list(weights)))
    storage, seed = draw(st.sampled_from(list(storages))), draw(st.integers(0, 2**16 - 1))
    builder = Builder(opset, distribution, seed, _INPUTS[source])
    declared = helper.make_tensor_value_info(
        "x", TensorProto.INT64 if source == "tokens" else TensorProto.FLOAT, ["N", *_INPUTS[source][1:]]
    )
    if source == "tokens":
        builder.last = builder.node("Gather", [builder.weight(VOCABULARY, 4), "x"], stem="embedding")
        builder.shape = (None, 3, 4)
    drawn: list[tuple[str, int]] = []
    for _ in range(draw(st.integers(1, max_blocks))):
        fitting = [block for block in allowed if block.rank == len(builder.shape)]
        if not fitting:
            break
        block, width = draw(st.sampled_from(fitting)), draw(st.integers(1, 6))
        block.build(builder, width)
        drawn.append((block.name, width))
    proto = builder.finish([declared])
    if storage == "constant":
        _move_to_constants(proto)
    return RandomModel(source, tuple(drawn), opset, distribution, storage, seed, proto)


def _rank(source: str, shape: tuple[int | None, ...]) -> int:
    return len(shape) + (source == "tokens")


def _move_to_constants(model: onnx.ModelProto) -> None:
    """Put the float weights into Constant nodes, as some exporters do."""
    graph = model.graph
    weights = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT]
    others = [tensor for tensor in graph.initializer if tensor.data_type != TensorProto.FLOAT]
    nodes = [
        helper.make_node("Constant", [], [tensor.name], f"constant_{tensor.name}", value=tensor) for tensor in weights
    ]
    nodes += graph.node
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(others)
    graph.node.extend(nodes)
