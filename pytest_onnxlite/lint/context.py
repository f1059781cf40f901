"""What a check is given: the model, the float model it was made from, what is in float on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

import onnx_ir as ir

from pytest_onnxlite.lint.biases import Bias, find_biases
from pytest_onnxlite.lint.model_index import ModelIndex, Place, operator
from pytest_onnxlite.lint.precision import has_half
from pytest_onnxlite.lint.quantized_tensors import QuantizedTensors, find_quantized_tensors
from pytest_onnxlite.lint.weights import Weight, find_weights


@dataclass(frozen=True)
class Context:
    """A model under check.

    Attributes:
        index: the model.
        reference: the float model, None if none is given.
        excluded: names, globs or operator types of nodes that stay float on purpose.
    """

    index: ModelIndex
    reference: ModelIndex | None
    excluded: tuple[str, ...]

    @cached_property
    def quantized(self) -> bool:
        """Whether to judge it as a quantized model: it has such nodes, or comes with a float model."""
        return self.index.quantized or self.reference is not None

    @cached_property
    def halved(self) -> bool:
        """Whether it is in half precision, and the float model it was made from is not."""
        return self.reference is not None and has_half(self.index) and not has_half(self.reference)

    @cached_property
    def quantized_tensors(self) -> QuantizedTensors:
        """The model's quantized tensors."""
        return find_quantized_tensors(self.index)

    @cached_property
    def weights(self) -> list[Weight]:
        """Its stored weights, with their parameters."""
        return find_weights(self.index, self.quantized_tensors.of_role("weight", "constant"))

    @cached_property
    def biases(self) -> list[Bias]:
        """Its quantized biases."""
        return find_biases(self.index)

    @cached_property
    def _excluded_nodes(self) -> dict[ir.Node, str]:
        found = {}
        for place in self.index.places:
            glob = next((glob for glob in self.excluded if matches(place, glob)), None)
            if glob is not None:
                found[place.node] = glob
        return found

    def exclusion(self, node: ir.Node) -> str | None:
        """Return the exclusion that a node falls under, None without one."""
        return self._excluded_nodes.get(node)


def matches(place: Place, glob: str) -> bool:
    """Return whether a glob means this node: by name, by path and name, or by operator.

    The dynamic quantizer makes MatMul and Add of a Gemm before it looks at anything; the name of the Gemm
    still means that MatMul.
    """
    node = place.node
    names = (place.name, place.where, place.name.removesuffix("_MatMul"), node.op_type, operator(node))
    return any(fnmatchcase(name, glob) for name in names)
