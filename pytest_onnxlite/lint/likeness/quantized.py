"""Quantized operators, read as the float operators that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pytest_onnxlite.lint.likeness.rewrites import build
from pytest_onnxlite.lint.likeness.tensors import Attributes, Tensor, dequantized, exact, moved
from pytest_onnxlite.lint.likeness.terms import CONSTANT, SCALE, SUMS, ZERO, Term, constant, plain, quantized
from pytest_onnxlite.lint.model_index import CARRIERS, Array
from pytest_onnxlite.lint.operators import OUTPUT, QUANTIZED, QuantizedOperator

Inputs = tuple[Term | None, ...]
_OWN = {"channels_last", "opset", "block_size", "saturate", "output_dtype", "precision"}


def at(inputs: Inputs, position: int | None) -> Term | None:
    """Return an input, None if there is none."""
    return inputs[position] if position is not None and 0 <= position < len(inputs) else None


def read_quantized(
    row: QuantizedOperator, inputs: Inputs, attributes: Attributes, where: str
) -> tuple[Term, ...] | None:
    """Return the outputs of a quantized operator as float terms, None for one that is not known here."""
    handler = _HANDLERS.get(row.name)
    if handler is not None:
        return handler(row, inputs, attributes, where)
    if row.pattern == "QOperator" and row.output is not None:
        return _linear(row, inputs, attributes, where)
    return None


def _numbers(term: Term | None) -> Array | None:
    """Return the numbers of a scale or zero point, None for a computed one."""
    return term.tensor.data() if term is not None and term.op == CONSTANT and term.tensor is not None else None


def _bounds(term: Term | None, tensor: Tensor | None = None) -> tuple[float, float]:
    """Return the ends of the integers that a zero point belongs to."""
    roots = tensor.roots if tensor is not None else ()
    if roots and roots[0].tensor.dtype.is_integer():
        dtype = roots[0].tensor.dtype
        low, high = float(dtype.min), float(dtype.max)
    else:
        found = _numbers(term)
        kind = np.dtype(np.uint8) if found is None else found.dtype
        if kind.kind not in "iu":
            return -np.inf, np.inf
        low, high = float(np.iinfo(kind).min), float(np.iinfo(kind).max)
    return low, high


def real(
    term: Term | None, scale: Term | None, zero: Term | None, axis: int | None, where: str, block: int = 0
) -> Term | None:
    """Return what integers with a scale stand for: a computed tensor is already read so."""
    if term is None:
        return None
    s, z = _numbers(scale), _numbers(zero)
    if term.op != CONSTANT or term.tensor is None:
        if term.op in (SCALE, ZERO):
            return term
        return quantized(_dequantized_below(plain(term), scale, zero, where), _range(s, z, zero), where)
    if not term.tensor.raw and term.tensor.kind != "i":
        return term
    spread = _spread(s, term.tensor.shape, axis, block)
    off = np.zeros(()) if zero is None else None if z is None else _spread(z, term.tensor.shape, axis, block)
    if spread is None or off is None:
        return Term("dequantized in a way that is not known", (term, scale, zero), where=where, name=term.name)
    found = dequantized(term.tensor, spread, off, _bounds(zero, term.tensor))
    return constant(found, term.where, term.name)


def _carried(term: Term) -> list[Term]:
    """Return a term and those that its values come from, past what only picks or moves them."""
    path = [term]
    while path[-1].op in CARRIERS and path[-1].inputs and path[-1].inputs[0] is not None:
        path.append(plain(path[-1].inputs[0]))
    return path


def _is_stored(term: Term) -> bool:
    found = _carried(plain(term))[-1]
    return found.is_constant and found.tensor is not None and found.tensor.raw


def _dequantized_below(term: Term, scale: Term | None, zero: Term | None, where: str) -> Term:
    """Return a term that only picks or moves stored integers, such as rows of a table, as one that picks numbers."""
    path = _carried(term)
    found: Term | None = path.pop()
    if found is None or not path or found.tensor is None or not found.is_constant or not found.tensor.raw:
        return term
    found = real(found, scale, zero, None, where)
    for own in reversed(path):
        found = build(own.op, (found, *own.inputs[1:]), own.attributes, own.where, own.name, own.rank)
    assert found is not None
    return found


def _spread(values: Array | None, shape: tuple[int, ...], axis: int | None, block: int) -> Array | None:
    if values is None:
        return None
    if values.size == 1:
        return np.asarray(values).reshape(())
    rank = len(shape)
    if axis is None or not -rank <= axis < rank:
        return None
    axis %= rank
    if block:
        if values.ndim != rank:
            return None
        wide = np.repeat(values, block, axis=axis)
        return np.take(wide, range(shape[axis]), axis=axis) if wide.shape[axis] >= shape[axis] else None
    if values.size != shape[axis]:
        return None
    return np.asarray(values).reshape([-1 if i == axis else 1 for i in range(rank)])


def _range(scale: Array | None, zero: Array | None, term: Term | None) -> tuple[float, float] | None:
    if scale is None or scale.size != 1 or (zero is None and term is not None):
        return None
    low, high = _bounds(term)
    s, z = float(scale.reshape(-1)[0]), 0.0 if zero is None else float(zero.reshape(-1)[0])
    # A range that reaches half a step further rounds to the same.
    return s * (low - z + 0.5), s * (high - z - 0.5)


def _quantize(row: QuantizedOperator, inputs: Inputs, attributes: Attributes, where: str) -> tuple[Term, ...]:
    term, scale, zero = (at(inputs, slot) for slot in range(3))
    if term is None:
        return (Term(row.name, inputs, attributes, where=where),)
    s, z = _numbers(scale), _numbers(zero)
    if term.op == CONSTANT and term.tensor is not None and s is not None and term.tensor.kind == "f":
        spread = _spread(s, term.tensor.shape, attributes.get("axis", 1), attributes.get("block_size", 0))
        if spread is not None:
            off = np.zeros(()) if z is None or z.size > 1 else z.reshape(())
            return (constant(_rounded(term.tensor, spread, off, _bounds(zero)), term.where, term.name),)
    return (quantized(plain(term), _range(s, z, zero), where),)


def _rounded(tensor: Tensor, scale: Array, zero: Array, bounds: tuple[float, float]) -> Tensor:
    """Return a float constant that a node rounds to integers each time."""
    found = dequantized(tensor, np.ones(()), np.zeros(()), (-np.inf, np.inf))
    plain_load = found.load

    def load():  # type: ignore[no-untyped-def]
        values = plain_load()
        wide = np.abs(np.asarray(scale, np.float64))
        ends = ((bounds[0] - float(zero)) * wide, (bounds[1] - float(zero)) * wide)
        return values._replace(data=np.clip(values.data, *ends), step=wide, low=ends[0], high=ends[1])

    found.load = load
    return found


def _dequantize(row: QuantizedOperator, inputs: Inputs, attributes: Attributes, where: str) -> tuple[Term, ...]:
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    term = real(at(inputs, 0), at(inputs, 1), at(inputs, 2), axis, where, block)
    return (term,) if term is not None else (Term(row.name, inputs, attributes, where=where),)


def _dynamic(row: QuantizedOperator, inputs: Inputs, attributes: Attributes, where: str) -> tuple[Term, ...]:
    term = at(inputs, 0)
    if term is None:
        return (Term(row.name, inputs, attributes, where=where),)
    own = term if term.is_constant else quantized(plain(term), None, where)
    return own, Term(SCALE, (own,), where=where), Term(ZERO, (own,), where=where)


def _sums(row: QuantizedOperator, inputs: Inputs, attributes: Attributes, where: str) -> tuple[Term, ...]:
    """Read an integer product: what it stands for is known when its sums are scaled."""
    kept = {**attributes, "operator": row.float_op}
    return (Term(SUMS + row.float_op, inputs, kept, where=where),)


def scaled_sums(sums: Term, factors: list[Term], where: str) -> Term | None:
    """Return the float product that scaled integer sums stand for, None while a scale is missing.

    Whether the scales are those of its operands is asked elsewhere.
    """
    left, right, left_zero, right_zero = (at(sums.inputs, slot) for slot in range(4))
    op = str(sums.attributes["operator"])
    stored = [factor for factor in factors if factor.is_constant]
    operands: list[Term | None] = []
    if len(factors) < 2:
        return None
    for side, zero in ((left, left_zero), (right, right_zero)):
        if side is None or not _is_stored(side):
            operands.append(side)
            continue
        scale = stored[-1 if side is right else 0] if stored else None
        axis = 0 if op == "Conv" else -1
        operands.append(real(side, scale, zero, axis if side is right else -2, sums.where))
    kept = {name: value for name, value in sums.attributes.items() if name != "operator"}
    return build(op, tuple(operands), kept, where or sums.where)


def _to_float(row: QuantizedOperator, inputs: Inputs, attributes: Attributes, where: str) -> tuple[Term, ...]:
    left = real(at(inputs, 0), at(inputs, 2), at(inputs, 4), -2, where)
    right = real(at(inputs, 1), at(inputs, 3), at(inputs, 5), -1, where)
    return (_with_bias(build("MatMul", (left, right), {}, where), at(inputs, 6), where),)


def _dynamic_matmul(row: QuantizedOperator, inputs: Inputs, attributes: Attributes, where: str) -> tuple[Term, ...]:
    right = real(at(inputs, 1), at(inputs, 2), at(inputs, 3), -1, where)
    return (_with_bias(build("MatMul", (_plain(at(inputs, 0)), right), {}, where), at(inputs, 4), where),)


def _plain(term: Term | None) -> Term | None:
    return None if term is None else plain(term)


def _with_bias(term: Term, bias: Term | None, where: str) -> Term:
    return term if bias is None else build("Add", (term, bias), {}, where)


def _lstm(row: QuantizedOperator, inputs: Inputs, attributes: Attributes, where: str) -> tuple[Term, ...] | None:
    weights = []
    for slots in row.tensors:
        term, scale, zero = (
            at(inputs, slots.data),
            _numbers(at(inputs, slots.scale)),
            _numbers(at(inputs, slots.zero_point)),
        )
        if term is None or term.tensor is None or scale is None:
            return None
        dims = term.tensor.shape
        if len(dims) != 3 or scale.size not in (dims[0], dims[0] * dims[2]):
            return None
        s, z = (np.asarray(v).reshape(dims[0], 1, -1) if v is not None else np.zeros(()) for v in (scale, zero))
        found = dequantized(term.tensor, s, z, _bounds(None, term.tensor))
        turned = moved(found, lambda values: np.swapaxes(values, 1, 2), (dims[0], dims[2], dims[1]))
        weights.append(constant(turned, term.where, term.name))
    rest = tuple(at(inputs, slot) for slot in range(3, 8))
    while rest and rest[-1] is None:
        rest = rest[:-1]
    whole = (at(inputs, 0), *weights, *rest)
    return tuple(Term("LSTM", whole, attributes, position=position, where=where) for position in range(3))


def _linear(row: QuantizedOperator, inputs: Inputs, attributes: Attributes, where: str) -> tuple[Term, ...]:
    """Read an operator from and to integers."""
    tensors = [slots for slots in row.tensors if slots.data != OUTPUT]
    triples = [(slots.data, slots.scale, slots.zero_point) for slots in tensors]
    if row.more is not None:
        triples += [(start, start + 1, start + 2) for start in range(row.more, len(inputs), 3)]
    axis = row.channel
    if row.name == "QGemm":
        axis = 0 if attributes.get("transB") else 1
    read = [real(at(inputs, d), at(inputs, s), at(inputs, z), axis, where) for d, s, z in triples]
    if row.name == "QLinearWhere":
        read.insert(0, at(inputs, 0))
    if row.bias is not None and at(inputs, row.bias) is not None:
        read.append(_bias(inputs, row, where))
    kept = {name: value for name, value in attributes.items() if name not in _OWN}
    if row.float_op == "ReduceMean" and "axes" in kept:
        read.append(constant(exact(np.array(kept.pop("axes"), np.int64))))
    found = build(row.float_op, tuple(read), kept, where)
    slots = row.output
    assert slots is not None
    scale, zero = at(inputs, slots.scale), at(inputs, slots.zero_point)
    if scale is None:
        return (found,)
    return (quantized(found, _range(_numbers(scale), _numbers(zero), zero), where),)


def _bias(inputs: Inputs, row: QuantizedOperator, where: str) -> Term | None:
    bias = at(inputs, row.bias)
    scales = [_numbers(at(inputs, slots.scale)) for slots in row.tensors[:2]]
    if bias is None or bias.tensor is None or scales[0] is None or scales[1] is None or scales[0].size != 1:
        return bias
    product = np.asarray(scales[0], np.float64).reshape(-1)[0] * np.asarray(scales[1], np.float64).reshape(-1)
    if product.size not in (1, bias.tensor.size):
        return bias
    found = dequantized(bias.tensor, product.reshape(()) if product.size == 1 else product, np.zeros(()), _INT32)
    return constant(found, bias.where, bias.name)


_INT32 = (float(-(2**31)), float(2**31 - 1))


def _blocks(row: QuantizedOperator, inputs: Inputs, attributes: Attributes, where: str) -> tuple[Term, ...]:
    """Read weights of 2 to 8 bits in blocks, packed into bytes."""
    packed, scale, zero = at(inputs, 1), _numbers(at(inputs, 2)), at(inputs, 3)
    weight: Term | None = None
    if packed is not None and packed.tensor is not None and scale is not None and at(inputs, 4) is None:
        zeros = _numbers(zero)
        if (zero is None or zeros is not None) and attributes.get("bits", 4) in (2, 4, 8):
            weight = constant(_unpacked(packed.tensor, scale, zeros, attributes), packed.where, packed.name)
    if weight is None:
        weight = Term("packed in a way that is not known", (packed,), where=where)
    return (_with_bias(build("MatMul", (at(inputs, 0), weight), {}, where), at(inputs, 5), where),)


def _unpacked(packed: Tensor, scale: Array, zeros: Array | None, attributes: Attributes) -> Tensor:
    rows, columns = int(attributes["N"]), int(attributes["K"])
    bits, block = int(attributes.get("bits", 4)), int(attributes["block_size"])
    blocks = -(-columns // block)

    def spread(values: Array) -> Array:
        return np.repeat(np.asarray(values, np.float64).reshape(rows, blocks), block, axis=1)[:, :columns].T

    def integers() -> Any:
        flat = _bits(packed.data().reshape(rows, -1), bits).reshape(rows, blocks * block)
        return packed.values()._replace(data=flat[:, :columns].T)

    middle: Array = np.full((rows, blocks), 1 << (bits - 1))
    if zeros is not None:
        whole = zeros.dtype.kind == "u"
        middle = _bits(zeros.reshape(rows, -1), bits)[:, :blocks] if whole else zeros
    own = Tensor((columns, rows), "i", integers, packed.roots, raw=True)
    return dequantized(own, spread(scale), spread(middle), (0.0, float((1 << bits) - 1)))


def _bits(values: Array, bits: int) -> Array:
    """Return the integers that lie in bytes, the lowest bits first."""
    parts = [(values.astype(np.uint8) >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(values.shape[0], -1)


_Handler = Callable[[QuantizedOperator, Inputs, Attributes, str], "tuple[Term, ...] | None"]
_HANDLERS: dict[str, _Handler] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic,
    "MatMulInteger": _sums,
    "ConvInteger": _sums,
    "MatMulIntegerToFloat": _to_float,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "DynamicQuantizeLSTM": _lstm,
    "MatMulNBits": _blocks,
}
assert set(_HANDLERS) <= set(QUANTIZED)
