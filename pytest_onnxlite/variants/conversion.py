"""From a trained model to float ONNX, by tf2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_onnxlite import commands
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.variants.reproducible import canonicalize
from pytest_onnxlite.variants.silence import silence
from pytest_onnxlite.variants.trained import Program

OPSET = 17


def convert(program: Program, model: str, target: Path) -> None:
    """Write the model as ONNX, in inference mode, inputs and outputs by their Keras names, the batch dynamic.

    Goes through `from_function`, because tf2onnx's `from_keras` fails on every Keras 3 Sequential model
    (onnx/tensorflow-onnx#2448).

    Raises:
        OnnxliteError: tf2onnx is missing or cannot convert the model, or an output was lost.
    """
    try:
        with silence():
            import onnx
            import tf2onnx
    except ImportError as error:
        raise OnnxliteError(
            f"converting {model} needs tf2onnx: {error}. Install it with: {commands.install('tensorflow')}"
        ) from None
    program.start_anew()
    try:
        with silence():
            proto, _ = tf2onnx.convert.from_function(program.function, input_signature=program.specs, opset=OPSET)
    except Exception as error:
        raise OnnxliteError(
            f"{model}: tf2onnx {tf2onnx.__version__} cannot convert the trained model: {' '.join(str(error).split())}. "
            "Replace the layer it names, or convert the model yourself and give the file as ModelSpec(onnx=...)."
        ) from None
    _reorder(proto.graph.input, [info.name for info in program.inputs], model, "inputs")
    _reorder(proto.graph.output, list(program.outputs), model, "outputs")
    canonicalize(proto)
    onnx.save(proto, target)


def _reorder(values: Any, names: list[str], model: str, what: str) -> None:
    """Put inputs or outputs back into the trained model's order."""
    have = {value.name: value for value in values}
    if set(names) < set(have):
        raise OnnxliteError(
            f"{model}: tf2onnx made {what} of what the model keeps inside: {', '.join(sorted(set(have) - set(names)))}. Layers "
            "that look up values in a table, such as StringLookup or TextVectorization, are not converted: leave them out of the "
            "model that is released, or convert it yourself and give the file as ModelSpec(onnx=...)."
        )
    if set(names) != set(have):
        raise OnnxliteError(
            f"{model}: conversion changed the {what}: expected {names}, found {list(have)}. An input that no layer "
            "uses is dropped; remove it from the model."
        )
    ordered = [have[name] for name in names]
    del values[:]
    values.extend(ordered)
