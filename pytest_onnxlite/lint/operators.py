"""The tables of operators: quantized ones, the float ones that quantizers replace, and those that draw random numbers.

It takes nodes of onnx and of onnx-ir alike. Positions are those of a node's inputs, as the operators' schemas give them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

NodeLike: TypeAlias = "onnx.NodeProto | ir.Node"

Pattern = Literal["dynamic", "QOperator", "QDQ", "weight-only"]
Role = Literal["activation", "weight", "bias", "constant"]
Layout = Literal["channels", "directions", "blocks"]

ONNX_DOMAINS = ("", "ai.onnx")
# ONNX Runtime's own operators, and the forms of ONNX's operators that it makes for one kind of processor.
_RUNTIME = ("com.microsoft", "com.ms.internal.nhwc")
PROCESSOR_DOMAINS = frozenset({"com.microsoft.nchwc", "com.ms.internal.nhwc"})
# Of other domains no check knows what an operator holds: trees and linear models keep their numbers in attributes.
READ_DOMAINS = frozenset({*ONNX_DOMAINS, *_RUNTIME, *PROCESSOR_DOMAINS})
QUANTIZE = "QuantizeLinear"
DEQUANTIZE = "DequantizeLinear"
DYNAMIC_QUANTIZE = "DynamicQuantizeLinear"
OUTPUT = -1
"""The position of a tensor that is the first output."""


@dataclass(frozen=True)
class Slots:
    """Where an operator has a quantized tensor, its scale and its zero point; None for what it does not take.

    Attributes:
        role: what the tensor is to the operator.
    """

    data: int
    scale: int | None
    zero_point: int | None
    role: Role = "activation"


@dataclass(frozen=True)
class QuantizedOperator:
    """An operator that quantizes, dequantizes, or computes with quantized tensors.

    Attributes:
        name: its name.
        pattern: the form of quantization that it belongs to; of several, the first of `Pattern` is a model's.
        float_op: the float operator that it stands for, empty for one that converts.
        tensors: its quantized tensors.
        more: where the first of any number of further activations is, each with scale and zero point behind it.
        bias: where it takes an int32 bias that has no scale of its own.
        channel: the dim of its weight that is the output channel, None where attributes or blocks decide.
        sums: whether it gives int32 sums, which the nodes behind it scale.
        layout: how scales lie in their tensor: along `channel`, by direction of a recurrent layer, or in blocks.
        domains: where it is defined.
    """

    name: str
    pattern: Pattern
    float_op: str = ""
    tensors: tuple[Slots, ...] = ()
    more: int | None = None
    bias: int | None = None
    channel: int | None = -1
    sums: bool = False
    layout: Layout = "channels"
    domains: tuple[str, ...] = _RUNTIME

    @property
    def converts(self) -> bool:
        """Whether it only turns floats into integers or back."""
        return not self.float_op

    @property
    def output(self) -> Slots | None:
        """Where the parameters of its first output are, None if that has none."""
        return next((slots for slots in self.tensors if slots.data == OUTPUT), None)


def _weight(data: int, scale: int | None, zero_point: int | None) -> Slots:
    return Slots(data, scale, zero_point, "weight")


def _unary(name: str, float_op: str) -> QuantizedOperator:
    return QuantizedOperator(name, "QOperator", float_op, (Slots(0, 1, 2), Slots(OUTPUT, 3, 4)))


def _binary(name: str, float_op: str) -> QuantizedOperator:
    return QuantizedOperator(name, "QOperator", float_op, (Slots(0, 1, 2), Slots(3, 4, 5), Slots(OUTPUT, 6, 7)))


def _blocks(name: str, float_op: str, *weights: tuple[int, int | None]) -> QuantizedOperator:
    """Return a row for weights of 2 to 8 bits in blocks, several of them packed into a byte."""
    tensors = tuple(_weight(data, scale, None) for data, scale in weights)
    return QuantizedOperator(name, "weight-only", float_op, tensors, channel=None, layout="blocks")


_BOTH = (*ONNX_DOMAINS, *_RUNTIME)
_PRODUCT = (Slots(0, 1, 2), _weight(3, 4, 5), Slots(OUTPUT, 6, 7))
_EMBEDDED = ((2, 8, 13), (3, 9, 14), (4, 10, 15), (5, 11, 16), (6, 12, 17))
QUANTIZED: dict[str, QuantizedOperator] = {
    row.name: row
    for row in (
        QuantizedOperator("QuantizeLinear", "QDQ", tensors=(Slots(OUTPUT, 1, 2),), channel=None, domains=_BOTH),
        QuantizedOperator("DequantizeLinear", "QDQ", tensors=(Slots(0, 1, 2),), channel=None, domains=_BOTH),
        QuantizedOperator("QuantizeBFP", "QDQ"),
        QuantizedOperator("DequantizeBFP", "QDQ"),
        QuantizedOperator("QuantizeWithOrder", "QDQ"),
        QuantizedOperator("DequantizeWithOrder", "QDQ"),
        # Dynamic
        QuantizedOperator("DynamicQuantizeLinear", "dynamic", domains=ONNX_DOMAINS),
        QuantizedOperator(
            "MatMulInteger", "dynamic", "MatMul", (Slots(0, None, 2), _weight(1, None, 3)), sums=True, domains=_BOTH
        ),
        QuantizedOperator(
            "ConvInteger",
            "dynamic",
            "Conv",
            (Slots(0, None, 2), _weight(1, None, 3)),
            channel=0,
            sums=True,
            domains=_BOTH,
        ),
        QuantizedOperator("MatMulIntegerToFloat", "dynamic", "MatMul", (Slots(0, 2, 4), _weight(1, 3, 5))),
        QuantizedOperator("DynamicQuantizeMatMul", "dynamic", "MatMul", (_weight(1, 2, 3),)),
        QuantizedOperator(
            "DynamicQuantizeLSTM", "dynamic", "LSTM", (_weight(1, 8, 9), _weight(2, 10, 11)), layout="directions"
        ),
        QuantizedOperator("MatMulInteger16", "dynamic", "MatMul"),
        QuantizedOperator("MulInteger", "dynamic", "Mul"),
        QuantizedOperator("ReduceSumInteger", "dynamic", "ReduceSum"),
        # QOperator
        QuantizedOperator("QLinearConv", "QOperator", "Conv", _PRODUCT, bias=8, channel=0, domains=_BOTH),
        QuantizedOperator("QLinearConvTranspose", "QOperator", "ConvTranspose", _PRODUCT, bias=8, channel=1),
        QuantizedOperator("QLinearMatMul", "QOperator", "MatMul", _PRODUCT, domains=_BOTH),
        QuantizedOperator("QGemm", "QOperator", "Gemm", (*_PRODUCT[:2], Slots(OUTPUT, 7, 8)), bias=6, channel=None),
        QuantizedOperator("QAttention", "QOperator", "Attention", (Slots(0, 3, 6), _weight(1, 4, 7))),
        QuantizedOperator(
            "QEmbedLayerNormalization",
            "QOperator",
            "EmbedLayerNormalization",
            tuple(Slots(data, scale, zero, "constant") for data, scale, zero in _EMBEDDED),
        ),
        QuantizedOperator("QLinearConcat", "QOperator", "Concat", (Slots(OUTPUT, 0, 1),), more=2),
        QuantizedOperator("QLinearWhere", "QOperator", "Where", (Slots(1, 2, 3), Slots(4, 5, 6), Slots(OUTPUT, 7, 8))),
        _binary("QLinearAdd", "Add"),
        _binary("QLinearMul", "Mul"),
        _unary("QLinearAveragePool", "AveragePool"),
        _unary("QLinearGlobalAveragePool", "GlobalAveragePool"),
        _unary("QLinearLeakyRelu", "LeakyRelu"),
        _unary("QLinearReduceMean", "ReduceMean"),
        _unary("QLinearSigmoid", "Sigmoid"),
        _unary("QLinearSoftmax", "Softmax"),
        QuantizedOperator("GemmFloat8", "QOperator", "Gemm", channel=None),
        QuantizedOperator("QOrderedAttention", "QOperator", "Attention"),
        QuantizedOperator("QOrderedGelu", "QOperator", "Gelu"),
        QuantizedOperator("QOrderedLayerNormalization", "QOperator", "LayerNormalization"),
        QuantizedOperator("QOrderedLongformerAttention", "QOperator", "LongformerAttention"),
        QuantizedOperator("QOrderedMatMul", "QOperator", "MatMul"),
        # Weights alone
        _blocks("MatMulNBits", "MatMul", (1, 2)),
        _blocks("MatMulNBitsMlp", "MatMul", (3, 4), (6, 7)),
        _blocks("MatMulNBitsQLoRA", "MatMul", (1, 2)),
        _blocks("MatMulNBitsQkv", "MatMul", (3, 4), (6, 7), (9, 10)),
        _blocks("MatMulBnb4", "MatMul", (1, 2)),
        _blocks("MatMulFpQ4", "MatMul", (1, None)),
        _blocks("MatMulPacked", "MatMul", (1, None)),
        _blocks("MatMulBlockQuantizedFp4Weight", "MatMul", (1, None)),
        _blocks("MatMulBlockQuantizedFp8Weight", "MatMul", (1, 2)),
        _blocks("GatherBlockQuantized", "Gather", (0, 2)),
        _blocks("GatherPacked", "Gather", (0, None)),
        _blocks("QMoE", "MoE", (2, 3), (5, 6), (8, 9)),
        _blocks("MoEPacked", "MoE", (2, None), (3, None), (4, None)),
    )
}
"""Every quantized operator by its name."""


@dataclass(frozen=True)
class FloatOperator:
    """An operator with weights.

    Attributes:
        weight: where it takes its weight.
        bias: where it takes its bias, None if it has none or that stays float.
        channel: the dim of the weight that is the output channel, None where an attribute decides or none is.
        patterns: the forms of quantization that replace it.
    """

    weight: int
    bias: int | None = None
    channel: int | None = None
    patterns: frozenset[Pattern] = frozenset()


_INT8: frozenset[Pattern] = frozenset({"dynamic", "QOperator", "QDQ"})
WEIGHTED = {
    "Conv": FloatOperator(1, 2, 0, _INT8),
    "ConvTranspose": FloatOperator(1, 2, 1, frozenset({"QDQ"})),
    "Gemm": FloatOperator(1, 2, None, _INT8),
    "MatMul": FloatOperator(1, None, -1, _INT8 | {"weight-only"}),
    "Gather": FloatOperator(0),
    "LSTM": FloatOperator(1, patterns=frozenset({"dynamic"})),
    "GRU": FloatOperator(1),
    "RNN": FloatOperator(1),
}
"""The float operators with weights, by name."""


@dataclass(frozen=True)
class RandomOperator:
    """An operator that draws random numbers.

    Attributes:
        name: its name.
        training_mode: the input that switches it on; None if it always draws.
        ratio: the input with the share of elements that it drops; None if it drops none.
        domains: where it is defined.
    """

    name: str
    training_mode: int | None = None
    ratio: int | None = None
    domains: tuple[str, ...] = ONNX_DOMAINS


_MICROSOFT = ("com.microsoft",)
RANDOM = {
    row.name: row
    for row in (
        RandomOperator("RandomNormal"),
        RandomOperator("RandomNormalLike"),
        RandomOperator("RandomUniform"),
        RandomOperator("RandomUniformLike"),
        RandomOperator("Multinomial"),
        RandomOperator("Bernoulli"),
        RandomOperator("Sampling", domains=_MICROSOFT),
        RandomOperator("Dropout", training_mode=2, ratio=1),
        RandomOperator("BitmaskDropout", training_mode=2, ratio=1, domains=_MICROSOFT),
        RandomOperator("BiasDropout", training_mode=4, ratio=3, domains=_MICROSOFT),
        RandomOperator("BitmaskBiasDropout", training_mode=4, ratio=3, domains=_MICROSOFT),
    )
}
"""The operators that draw random numbers, by name."""


def random_operator(node: NodeLike) -> RandomOperator | None:
    """Return the row of a node's operator in the table of random ones, None if it is not in it."""
    row = RANDOM.get(node.op_type)
    return row if row is not None and node.domain in row.domains else None


def quantized_operator(node: NodeLike) -> QuantizedOperator | None:
    """Return the row of a node's operator, None if it is no quantized one."""
    row = QUANTIZED.get(node.op_type)
    return row if row is not None and node.domain in row.domains else None


def float_operator(node: NodeLike) -> str:
    """Return the float operator that a node stands for: its own if it is no quantized one."""
    row = quantized_operator(node)
    return node.op_type if row is None else row.float_op


def takes_weight(op_type: str, position: int) -> bool:
    """Tell whether a float operator takes its weight at a position."""
    row = WEIGHTED.get(op_type)
    return row is not None and row.weight == position


def takes_bias(op_type: str, position: int) -> bool:
    """Tell whether a float operator takes its bias at a position."""
    row = WEIGHTED.get(op_type)
    return row is not None and row.bias == position
