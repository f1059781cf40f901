"""From the names that ONNX Runtime gives to what it fused and laid out anew, to the nodes of the model's file."""

from __future__ import annotations

import re
from pathlib import Path

import onnx

from pytest_onnxlite.lint.protobuf import load_graph, nodes

_TOKEN = re.compile(r"_token_\d+$")
_FUSION = re.compile(r"/\w*Fusion/?(_MatMul|_Add)?$")
_NODE_SUFFIXES = ("_quant_output_scale_mul", "_quant_scales_mul", "_quant", "_MatMul")
_TENSOR_SUFFIXES = ("_output_quantized_cast", "_bias_add", "_nchwc", "_MatMul_output_quantized_cast")
_READ_SUFFIXES = ("_QuantizeLinear", "_DequantizeLinear", "_q")
_ACTIVATIONS = frozenset({"Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh"})


class Provenance:
    """The nodes of a file, and what its runtime's nodes were made from.

    Args:
        paths: the file, and others whose names may have been kept, such as the float model.
    """

    def __init__(self, *paths: Path) -> None:
        self._nodes: dict[str, str] = {}
        self._producers: dict[str, onnx.NodeProto] = {}
        self._consumers: dict[str, onnx.NodeProto] = {}
        for path in paths:
            for node in nodes(load_graph(path)):
                self._nodes.setdefault(node.name, node.op_type)
                for name in node.output:
                    self._producers.setdefault(name, node)
                for name in node.input:
                    self._consumers.setdefault(name, node)

    def of(self, name: str) -> str:
        """Return the name of the node of the file that a node of the runtime computes, or helps to."""
        found = self._strip(_TOKEN.sub("", name).removeprefix("fused "))
        # Fused twice: when the file was prepared for quantization, and when it is loaded.
        while (inner := _FUSION.sub("", found)) != found:
            found = inner
        return found

    def _strip(self, name: str) -> str:
        for suffix in _READ_SUFFIXES:
            tensor = name.removesuffix(suffix)
            if tensor != name and tensor in self._consumers:
                return self._strip_node(self._consumers[tensor].name)
        for suffix in sorted(_TENSOR_SUFFIXES, key=len, reverse=True):
            tensor = name.removesuffix(suffix)
            if tensor != name and tensor in self._producers:
                return self._computing(tensor)
        return self._strip_node(name)

    def _strip_node(self, name: str) -> str:
        for suffix in _NODE_SUFFIXES:
            name = name.removesuffix(suffix)
        return name

    def _computing(self, tensor: str) -> str:
        """Return the node that computes a tensor, past an activation that was fused into it."""
        node = self._producers[tensor]
        if node.op_type in _ACTIVATIONS and node.input and node.input[0] in self._producers:
            node = self._producers[node.input[0]]
        return self._strip_node(node.name.removesuffix("_output_quantized_cast"))
