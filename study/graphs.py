"""The operators of models, in the order of their graphs."""

from __future__ import annotations

from pathlib import Path


def keras_layers(path: Path) -> list[str]:
    """Return the layers of a Keras model."""
    import keras

    return [type(layer).__name__ for layer in keras.models.load_model(path, compile=False).layers]


def onnx_operators(path: Path) -> list[str]:
    """Return the operators of an ONNX model."""
    import onnx

    return [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]


def tflite_operators(path: Path) -> list[str]:
    """Return the operators of a TFLite model's first graph, by the names of its schema."""
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    return [names[model.operatorCodes[operator.opcodeIndex].builtinCode] for operator in model.subgraphs[0].operators]
