"""Where tensors lie: inside the model or in files next to it, and whether they are all there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir


@dataclass(frozen=True)
class Problem:
    """Why a tensor's data cannot be read.

    Attributes:
        code: of the rule that it breaks.
        expected: what should be there.
        found: what is.
    """

    code: str
    expected: str
    found: str


def problem(tensor: ir.TensorProtocol, has_folder: bool) -> Problem | None:
    """Return why a tensor cannot be read, None if it can. Reads no data.

    Args:
        tensor: the tensor.
        has_folder: whether the model came from a file, so that data next to it can be found.
    """
    if isinstance(tensor, ir.ExternalTensor):
        try:
            return _external_problem(tensor, has_folder)
        except (OSError, ValueError) as error:  # no system has such a name
            reason = getattr(error, "strerror", None) or error
            return Problem(
                "OLX605", "the file with its data next to the model", f"{str(tensor.location)[:80]!r}: {reason}"
            )
    if isinstance(tensor, ir.serde.TensorProtoTensor):
        return inline_problem(tensor)
    return None


def _external_problem(tensor: ir.ExternalTensor, has_folder: bool) -> Problem | None:
    if not has_folder and not tensor.base_dir:
        return Problem(
            "OLX605",
            "a model with a folder to find external data in",
            "a model in memory; pass the path of its file",
        )
    folder, location = Path(tensor.base_dir), Path(tensor.location)
    path = folder / location
    if location.is_absolute() or not path.resolve().is_relative_to(folder.resolve()):
        return Problem("OLX605", "a file in the model's folder", f"{str(location)!r}, outside of it")
    if not path.is_file():
        return Problem("OLX605", "the file with its data next to the model", f"no file {str(location)!r}")
    offset = tensor.offset or 0
    length = tensor.nbytes if tensor.length is None else tensor.length
    if length != tensor.nbytes:
        return Problem("OLX116", f"{tensor.nbytes:,} bytes for {tensor.dtype.name}{tensor.shape}", f"{length:,}")
    size = path.stat().st_size
    if offset < 0 or offset + length > size:
        return Problem("OLX606", f"bytes {offset:,} to {offset + length:,} of {location.name}", f"a file of {size:,}")
    return None


def inline_problem(tensor: ir.serde.TensorProtoTensor) -> Problem | None:
    """Say why a tensor that lies in the model cannot be read; None if it can."""
    proto = tensor.raw
    if tensor.dtype in (ir.DataType.UNDEFINED, ir.DataType.STRING):
        return None
    if proto.HasField("raw_data"):
        if len(proto.raw_data) != tensor.nbytes:
            found = f"{len(proto.raw_data):,} bytes"
            return Problem("OLX116", f"{tensor.nbytes:,} bytes for {tensor.dtype.name}{tensor.shape}", found)
        return None
    count = sum(len(getattr(proto, name)) for name in _TYPED_FIELDS)
    # Complex values take two entries, 4-bit ones may share one.
    exact = tensor.dtype.bitwidth >= 8 and not tensor.dtype.name.startswith("COMPLEX")
    if exact and count != tensor.size:
        return Problem("OLX116", f"{tensor.size} values for {tensor.dtype.name}{tensor.shape}", f"{count} values")
    return None


_TYPED_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def release(tensor: ir.ExternalTensor) -> None:
    """Unmap a tensor's file; where an array still looks into it, the map goes with that array."""
    try:
        tensor.release()
    except BufferError:
        tensor.raw = None
