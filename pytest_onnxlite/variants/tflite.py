"""From a trained Keras model to TFLite, by TensorFlow's converter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime.sessions import to_feeds
from pytest_onnxlite.spec.dataset import Inputs, count_samples, take
from pytest_onnxlite.text import first_line
from pytest_onnxlite.variants.silence import silence
from pytest_onnxlite.variants.trained import Program, import_tensorflow


def convert(program: Program, model: str, target: Path, quantized: bool, calibration: Inputs | None) -> None:
    """Write the model as TFLite.

    Args:
        program: the trained model.
        model: its name, for messages.
        target: the file to write.
        quantized: with INT8 weights; with `calibration` also INT8 activations, inputs and outputs.
        calibration: samples to find the activations' ranges with.

    Raises:
        OnnxliteError: the calibration data does not fit, or the converter fails.
    """
    tf = import_tensorflow()
    try:
        with silence():
            module = _frozen(tf, program)
            converter = tf.lite.TFLiteConverter.from_concrete_functions([module.call.get_concrete_function()], module)
            if quantized:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if quantized and calibration is not None:
                converter.representative_dataset = lambda: _samples(program, calibration)
                if all(info.dtype == "float32" for info in program.inputs):
                    converter.inference_input_type = tf.int8
                    converter.inference_output_type = tf.int8
            content = converter.convert()
    except OnnxliteError:
        raise
    except Exception as error:
        raise OnnxliteError(
            f"{model}: TensorFlow {tf.__version__} cannot convert the trained model to TFLite: {first_line(error)}. Replace "
            "the layer it names, or judge the ONNX variants alone."
        ) from None
    target.write_bytes(content)


def _frozen(tf: Any, program: Program) -> Any:
    """Return a module that owns the program with its variables made constants.

    Left as variables, those of a Keras 3 model come out as ones that nothing sets, and outputs are NaN (seen with
    TensorFlow 2.21); frozen and handed over without a module, inputs and outputs lose their names.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    program.start_anew()
    constant = convert_variables_to_constants_v2(program.function.get_concrete_function())

    def call(*tensors: Any) -> dict[str, object]:
        # TensorFlow sorts what is returned by name.
        return {
            name: tf.identity(value, name=name)
            for name, value in zip(sorted(program.outputs), constant(*tensors), strict=True)
        }

    module = tf.Module()
    module.call = tf.function(call, input_signature=program.specs)
    return module


def _samples(program: Program, calibration: Inputs) -> Iterator[Mapping[str, object]]:
    for number in range(count_samples(calibration)):
        try:
            feeds = to_feeds(take(calibration, slice(number, number + 1)), program.inputs)
        except ValueError as error:
            raise OnnxliteError(f"calibration data and model do not fit: {error}.") from None
        yield feeds
