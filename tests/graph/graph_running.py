"""Running models in ONNX Runtime, and quantizing them, for the property tests."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from pytest_onnxlite.strategies import RandomModel

LEVELS = ort.GraphOptimizationLevel


def session(model: onnx.ModelProto | str, level=LEVELS.ORT_ENABLE_ALL) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = level
    source = model if isinstance(model, str) else model.SerializeToString()
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def optimized(model: onnx.ModelProto, level=LEVELS.ORT_ENABLE_ALL) -> onnx.ModelProto:
    """Return the file that ONNX Runtime saves of the graph that it runs."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = level
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def run(model: onnx.ModelProto | str, feed: dict[str, np.ndarray], level=LEVELS.ORT_ENABLE_ALL) -> np.ndarray:
    return session(model, level).run(["y"], feed)[0]


@contextlib.contextmanager
def quiet():
    """Hold back the quantizer's advice."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class Feeds(CalibrationDataReader):
    def __init__(self, feeds: list[dict[str, np.ndarray]]) -> None:
        self._feeds = iter(feeds)

    def get_next(self):
        return next(self._feeds, None)


def quantized(model: RandomModel, *, prepare: bool = True, **options) -> onnx.ModelProto:
    """Return the dynamically quantized model, prepared as releases are."""
    options.setdefault("weight_type", QuantType.QUInt8)
    options.setdefault("extra_options", {"EnableSubgraph": True})
    with tempfile.TemporaryDirectory() as folder, quiet():
        source = model.save(Path(folder))
        if prepare:
            source = prepared(source)
        quantize_dynamic(source, Path(folder) / "int8.onnx", **options)
        return sorted_model(onnx.load(Path(folder) / "int8.onnx"))


def statically_quantized(model: RandomModel, feeds: list[dict[str, np.ndarray]], **options) -> onnx.ModelProto:
    """Return the statically quantized model: QDQ, per channel, reduced range."""
    options = {"per_channel": True, "reduce_range": True, **options}
    with tempfile.TemporaryDirectory() as folder, quiet():
        source = prepared(model.save(Path(folder)))
        quantize_static(source, Path(folder) / "int8.onnx", Feeds(feeds), **options)
        return drop_unused_opsets(onnx.load(Path(folder) / "int8.onnx"))


def prepared(source: Path) -> Path:
    target = source.with_name("prepared.onnx")
    with contextlib.chdir(source.parent):  # it leaves a work file where it fails
        try:
            quant_pre_process(str(source), str(target))
        except Exception:  # symbolic shape inference gives up on some models; releases go on without it
            quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
    return target


def sorted_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """Sort the nodes, which the quantizer leaves unsorted behind subgraphs, and drop unused imports."""
    import onnx_ir as ir

    drop_unused_opsets(model)
    graph = ir.from_proto(model)
    graph.graph.sort()
    return ir.to_proto(graph)


def drop_unused_opsets(model: onnx.ModelProto) -> onnx.ModelProto:
    used = {n.domain for n in model.graph.node} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model
