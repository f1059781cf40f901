"""One way of writing for what ONNX Runtime's preparation, optimizer and quantizers write in another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pytest_onnxlite.lint.likeness.folding import fold
from pytest_onnxlite.lint.likeness.tensors import Attributes, Tensor, exact, moved, normalization, scaled, shifted
from pytest_onnxlite.lint.likeness.terms import COMMUTATIVE, PENDING, QUANTIZED, Term, constant, plain
from pytest_onnxlite.lint.likeness.transposes import sink, transposed

Inputs = tuple[Term | None, ...]
AFFINE = "BatchNormalization"
# What a node gives back unchanged, if its second input is this number.
_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0, "Pow": 1.0}
_FUSED_ACTIVATION = {"FusedConv": "Conv", "FusedGemm": "Gemm"}


def build(
    op: str, inputs: Inputs, attributes: Attributes, where: str = "", name: str = "", rank: int | None = None
) -> Term:
    """Return the term of an operator with one output."""
    while inputs and inputs[-1] is None:
        inputs = inputs[:-1]
    if inputs and all(term is None or term.is_constant for term in inputs):
        found = fold(op, attributes, [None if term is None else term.tensor for term in inputs])
        if found is not None:
            return constant(found, where, name)
    rule = _RULES.get(op)
    made = rule(inputs, attributes, where) if rule is not None else None
    if made is None:
        made = _neutral(op, inputs)
    if made is None:
        made = sink(op, inputs, attributes, where, build)
    if made is None:
        made = Term(op, inputs, attributes, where=where, name=name, rank=rank)
    return made


def one_number(term: Term | None) -> float | None:
    """Return the number of a constant that holds one, None for another term."""
    if (
        term is None
        or term.tensor is None
        or not term.is_constant
        or term.tensor.size != 1
        or term.tensor.kind not in "fi"
    ):
        return None
    return float(np.asarray(term.tensor.data(), np.float64).reshape(-1)[0])


def _neutral(op: str, inputs: Inputs) -> Term | None:
    if op not in _NEUTRAL or len(inputs) != 2:
        return None
    sides = (inputs, inputs[::-1]) if op in COMMUTATIVE else (inputs,)
    for term, other in sides:
        found = one_number(other)
        # A scale of one is a scale.
        if term is not None and not term.is_constant and not term.op.startswith(PENDING) and found is not None:
            assert other is not None
            assert other.tensor is not None
            # Integers may stand for the neutral number and be off; half precision has it as it is.
            off = float(other.tensor.values().step.max()) / 2 if other.tensor.quantized else 0.0
            if abs(found - _NEUTRAL[op]) <= off:
                return term
    return None


def _same(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    return inputs[0]


def _dropout(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    trains = inputs[2] if len(inputs) > 2 else None
    if trains is None:
        return inputs[0]
    if trains.tensor is not None and trains.is_constant and not trains.tensor.data().any():
        return inputs[0]
    return None


def _cast(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    # A float tensor is cast to float where types are mixed, and the optimizer removes that.
    term = inputs[0]
    if term is not None and term.op == "Cast" and term.attributes.get("to") == attributes.get("to"):
        return term
    return None


def _gemm(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    left, right = inputs[0], inputs[1]
    bias = inputs[2] if len(inputs) > 2 else None
    if left is None or right is None:
        return None
    if attributes.get("transA", 0):
        left = transposed(left, (1, 0), where, build)
    if attributes.get("transB", 0):
        right = transposed(right, (1, 0), where, build)
    product = build("MatMul", (left, right), {}, where, rank=2)
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    product = product if alpha == 1 else build("Mul", (product, number(alpha)), {}, where, rank=2)
    if bias is None or beta == 0:
        return product
    bias = bias if beta == 1 else build("Mul", (bias, number(beta)), {}, where)
    return build("Add", (product, bias), {}, where, rank=2)


def number(value: float) -> Term:
    """Return the term of a number."""
    return constant(exact(np.array(value, np.float32)))


def _fused_matmul(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    left, right = inputs[0], inputs[1]
    if left is None or right is None or attributes.get("transBatchA") or attributes.get("transBatchB"):
        return None
    sides = []
    for term, turned in ((left, attributes.get("transA", 0)), (right, attributes.get("transB", 0))):
        if turned and term.rank is None:
            return None
        perm = (*range((term.rank or 2) - 2), (term.rank or 2) - 1, (term.rank or 2) - 2)
        sides.append(transposed(term, perm, where, build) if turned else term)
    product = build("MatMul", tuple(sides), {}, where)
    return build("Mul", (product, number(attributes.get("alpha", 1.0))), {}, where)


def _fused(op: str) -> Callable[[Inputs, Attributes, str], Term | None]:
    def rule(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
        kept = {name: value for name, value in attributes.items() if not name.startswith("activation")}
        activation, numbers = attributes.get("activation", ""), attributes.get("activation_params", ())
        if len(inputs) > 3 or activation not in ("", "Relu", "Sigmoid", "Tanh", "LeakyRelu"):
            return None
        found = build(op, inputs, kept, where)
        if activation == "LeakyRelu":
            return build(activation, (found,), {"alpha": numbers[0] if numbers else 0.01}, where)
        return build(activation, (found,), {}, where) if activation else found

    return rule


def _normalization(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    """Read a BatchNormalization as a factor and an offset for each channel."""
    if attributes.get("training_mode", 0) or len(inputs) != 5 or inputs[0] is None:
        return None
    if any(term is None or not term.is_constant or term.tensor is None for term in inputs[1:]):
        return None
    tensors = [term.tensor for term in inputs[1:] if term is not None and term.tensor is not None]
    if any(len(tensor.shape) != 1 or tensor.raw for tensor in tensors) or len({tensor.size for tensor in tensors}) != 1:
        return None
    factor, offset = normalization(tensors, attributes.get("epsilon", 1e-5))
    k, c = constant(factor, where), constant(offset, where)
    return affine((inputs[0], k, c), attributes, where)


def affine(inputs: Inputs, attributes: Attributes, where: str) -> Term:
    """Return a term times a factor plus an offset, taken into the product in front if there is one."""
    term, k, c = inputs
    assert term is not None
    assert k is not None
    assert c is not None
    assert k.tensor is not None
    assert c.tensor is not None
    inner, bias = _product(term)
    size = k.tensor.size
    if inner is not None and inner.inputs[1] is not None and inner.inputs[1].tensor is not None:
        weight = inner.inputs[1].tensor
        channel = 0 if inner.op == "Conv" else 1
        fits = len(weight.shape) == 2 if inner.op == "MatMul" else len(weight.shape) > 2
        if fits and weight.shape[channel] == size and (bias is None or bias.size in (1, size)):
            offset = c.tensor
            if bias is not None:
                offset = shifted(scaled(_for_each(bias, size), k.tensor), c.tensor)
            return _with(inner, weight, k.tensor, channel, offset, where)
    return Term(AFFINE, (term, k, c), where=where, name=term.name, rank=term.rank)


def _with(inner: Term, weight: Tensor, factor: Tensor, channel: int, offset: Tensor, where: str) -> Term:
    vector = tuple(factor.size if axis == channel else 1 for axis in range(len(weight.shape)))
    made = constant(scaled(weight, factor, vector), inner.where)
    if inner.op == "Conv":
        return Term("Conv", (inner.inputs[0], made, constant(offset, where)), inner.attributes, where=inner.where)
    product = Term("MatMul", (inner.inputs[0], made), {}, where=inner.where, rank=2)
    return Term("Add", (product, constant(offset, where)), {}, where=where, rank=2)


def _product(term: Term) -> tuple[Term | None, Tensor | None]:
    """Return a convolution or product with stored weights, and its bias."""
    if _may_stand_for_relu(term):
        return None, None
    term = plain(term)
    if term.op == "Add" and len(term.inputs) == 2:
        left, right = term.inputs
        if left is not None and right is not None and right.is_constant and plain(left).op == "MatMul":
            inner, _ = _product(left)
            return inner, right.tensor
    if term.op not in ("Conv", "MatMul") or len(term.inputs) < 2:
        return None, None
    weight, bias = term.inputs[1], term.inputs[2] if len(term.inputs) > 2 else None
    if weight is None or not weight.is_constant or (bias is not None and not bias.is_constant):
        return None, None
    return term, None if bias is None else bias.tensor


def _may_stand_for_relu(term: Term) -> bool:
    """Tell whether integers keep a term from being negative: nothing behind them can be taken into what is in front then."""
    while term.op == QUANTIZED:
        if term.range is not None and term.range[0] >= 0:
            return True
        assert term.inputs[0] is not None
        term = term.inputs[0]
    return False


def _for_each(tensor: Tensor, size: int) -> Tensor:
    """Return a number for each of so many channels; one alone is that of all."""
    if tensor.size != size:
        return moved(tensor, lambda values: np.broadcast_to(np.reshape(values, (1,)), (size,)), (size,))
    return tensor if len(tensor.shape) == 1 else moved(tensor, lambda values: np.reshape(values, (size,)), (size,))


def _convolution(term: Term, other: Term) -> tuple[Term, Tensor, Tensor | None, Tensor] | None:
    """Return the convolution whose channels a constant meets, with its weight, its bias and the constant for each channel;
    None for another term."""
    inner, bias = _product(term)
    if inner is None or inner.op != "Conv":
        return None
    assert inner.inputs[1] is not None
    assert inner.inputs[1].tensor is not None
    assert other.tensor is not None
    weight, shape = inner.inputs[1].tensor, other.tensor.shape
    size, spatial = weight.shape[0], len(weight.shape) - 2
    meets = len(shape) > spatial and shape[-spatial - 1] == size == other.tensor.size
    if other.tensor.kind != "f" or not (other.tensor.size == 1 or meets):
        return None
    return inner, weight, None if bias is None else _for_each(bias, size), _for_each(other.tensor, size)


def _ordered(inputs: Inputs) -> Inputs:
    """Put the constant of two operands last."""
    left, right = inputs
    return (right, left) if left is not None and left.is_constant else inputs


def _add(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    if len(inputs) != 2:
        return None
    term, other = _ordered(inputs)
    if term is None or other is None or not other.is_constant or other.tensor is None:
        return None
    front = _convolution(term, other)
    if front is not None:
        inner, _, bias, offset = front
        offset = offset if bias is None else shifted(offset, bias)
        return Term("Conv", (*inner.inputs[:2], constant(offset, where)), inner.attributes, where=inner.where)
    return None if inputs[0] is term else build("Add", (term, other), attributes, where)


def _mul(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    if len(inputs) != 2:
        return None
    term, other = _ordered(inputs)
    if term is None or other is None:
        return None
    if not other.is_constant or other.tensor is None:
        for one, two in ((term, other), (other, term)):
            if one.op == "Div" and one_number(one.inputs[0]) == 1.0:
                return build("Div", (two, one.inputs[1]), {}, where)
        return None
    front = _convolution(term, other)
    if front is not None:
        inner, weight, bias, factor = front
        offset = exact(np.zeros(factor.size)) if bias is None else scaled(bias, factor)
        return _with(inner, weight, factor, 0, offset, where)
    return None if inputs[0] is term else build("Mul", (term, other), attributes, where)


def _sum(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    if len(inputs) == 1:
        return inputs[0]
    return build("Add", inputs, attributes, where) if len(inputs) == 2 else None


def _concat(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    return inputs[0] if len(inputs) == 1 else None


def _clip(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    term = inputs[0]
    low = one_number(inputs[1]) if len(inputs) > 1 else None
    if term is not None and plain(term).op == "Relu" and (len(inputs) < 2 or inputs[1] is None or low is not None):
        bound = number(max(low or 0.0, 0.0))
        return build("Clip", (plain(term).inputs[0], bound, *inputs[2:]), attributes, where)
    return None


def _where(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    condition = inputs[0]
    if condition is not None and condition.op == "Not":
        return build("Where", (condition.inputs[0], inputs[2], inputs[1]), attributes, where)
    return None


def _conv(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    """Take in a Pad of zeros in front of it."""
    term = inputs[0]
    if term is None or plain(term).op != "Pad":
        return None
    pad = plain(term)
    pads = pad.inputs[1].tensor if len(pad.inputs) > 1 and pad.inputs[1] is not None else None
    fill = pad.inputs[2] if len(pad.inputs) > 2 else None
    if pads is None or pad.attributes.get("mode", "constant") != "constant" or len(pad.inputs) > 3:
        return None
    if (fill is not None and one_number(fill) != 0.0) or attributes.get("auto_pad", "NOTSET") not in (
        "NOTSET",
        "VALID",
    ):
        return None
    added = [int(item) for item in pads.data().reshape(-1)]
    half = len(added) // 2
    if any(added[:2]) or any(added[half : half + 2]) or min(added, default=0) < 0:
        return None
    added = added[2:half] + added[half + 2 :]
    own = list(attributes.get("pads") or [0] * len(added))
    if len(own) != len(added):
        return None
    whole = tuple(a + b for a, b in zip(own, added, strict=True))
    kept = {**attributes, "pads": whole}
    kept.pop("auto_pad", None)
    return build("Conv", (pad.inputs[0], *inputs[1:]), kept, where)


def _transpose(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    term = inputs[0]
    if term is None:
        return None
    perm = attributes.get("perm") or (tuple(reversed(range(term.rank))) if term.rank is not None else None)
    return None if perm is None else transposed(term, tuple(perm), where, build)


def _slice(inputs: Inputs, attributes: Attributes, where: str) -> Term | None:
    """Drop a Slice of everything."""
    if len(inputs) < 3 or any(term is None or term.tensor is None for term in inputs[1:]):
        return None
    start, end, *rest = (term.tensor.data().reshape(-1) for term in inputs[1:] if term and term.tensor)
    whole = not start.any() and (end >= 2**31 - 1).all() and (len(rest) < 2 or (rest[1] == 1).all())
    return inputs[0] if whole else None


_RULES: dict[str, Callable[[Inputs, Attributes, str], Term | None]] = {
    "Identity": _same,
    "Dropout": _dropout,
    "Cast": _cast,
    "Gemm": _gemm,
    "com.microsoft.FusedMatMul": _fused_matmul,
    "com.microsoft.FusedConv": _fused("Conv"),
    "com.microsoft.FusedGemm": _fused("Gemm"),
    "BatchNormalization": _normalization,
    "Add": _add,
    "Mul": _mul,
    "Sum": _sum,
    "Concat": _concat,
    "Clip": _clip,
    "Where": _where,
    "Conv": _conv,
    "Transpose": _transpose,
    "Slice": _slice,
}
