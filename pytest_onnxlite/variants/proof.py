"""No model is believed before it was loaded and run once, in a child, so that a crash there ends nothing here."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from pytest_onnxlite.childprocess import ChildError, ask
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.spec import Array
from pytest_onnxlite.variants.variant import Outputs

# Float arithmetic in another order: what Keras and ONNX Runtime may differ by, of an output's largest value.
_TOLERANCE = 1e-3


def prove(path: Path, model: str, kind: str, feeds: dict[str, Array], threads: int) -> Outputs:
    """Load a file and run it on samples.

    Returns:
        The outputs by name.

    Raises:
        OnnxliteError: it cannot be loaded or run, or the process dies of it.
    """
    with tempfile.TemporaryDirectory(prefix="onnxlite-") as folder:
        given, made = Path(folder) / "feeds.npz", Path(folder) / "outputs.npz"
        np.savez(given, **feeds)  # type: ignore[arg-type]
        try:
            ask(
                {
                    "task": "prove",
                    "model": str(path),
                    "threads": threads,
                    "feeds": str(given),
                    "outputs": str(made),
                }
            )
        except ChildError as error:
            raise OnnxliteError(f"{model} {kind}: {path.name} cannot be used: {error}.") from None
        with np.load(made, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def require_same_outputs(expected: Outputs, found: Outputs, model: str, kind: str, *, values: bool) -> None:
    """Check that a variant gives the outputs of the one it was made from.

    Args:
        expected: the outputs of the variant it was made from.
        found: its own, for the same samples.
        model: for the message.
        kind: for the message.
        values: whether the numbers must agree too, as they must for a float model.

    Raises:
        OnnxliteError: names, shapes, finiteness or values differ.
    """
    if set(expected) != set(found):
        raise OnnxliteError(f"{model} {kind}: expected the outputs {sorted(expected)}, found {sorted(found)}.")
    for name, want in expected.items():
        have = found[name]
        if want.shape != have.shape:
            raise OnnxliteError(
                f"{model} {kind}: output {name!r} has shape {have.shape} for samples where the variant that it "
                f"was made from gives {want.shape}."
            )
        if not np.isfinite(have).all():
            raise OnnxliteError(f"{model} {kind}: output {name!r} holds NaN or infinity for the first samples.")
        scale = float(np.abs(want).max(initial=0.0)) or 1.0
        worst = float(np.abs(want.astype(np.float64) - have.astype(np.float64)).max(initial=0.0))
        if values and worst > _TOLERANCE * scale:
            raise OnnxliteError(
                f"{model} {kind}: output {name!r} differs from the trained model's by {worst:.3g} where the values "
                f"reach {scale:.3g}; expected at most {_TOLERANCE * scale:.3g}. The conversion changed the model: look "
                "for a layer that behaves differently in inference, or convert it yourself and give onnx=."
            )
