"""The models of the studies: the examples' own, in the forms that teams ship, and slower twins of them."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples"))

from pytest_onnxlite import Dataset, ModelSpec  # noqa: E402
from pytest_onnxlite.runtime.sessions import open_session  # noqa: E402
from pytest_onnxlite.spec.runtimes import Runtime  # noqa: E402
from pytest_onnxlite.variants.builder import Builder  # noqa: E402
from pytest_onnxlite.variants.cache import Cache  # noqa: E402

from digits import load_digits  # noqa: E402


@dataclass(frozen=True)
class Model:
    """A file and the batch it is run with."""

    name: str
    path: Path
    batch_size: int


def feeds_of(model: Model) -> dict[str, Any]:
    """Return one batch of real digits; the smallest model takes their first pixels."""
    (x, _), _ = load_digits()
    graph = onnx.load(model.path, load_external_data=False).graph
    wanted = tuple(d.dim_value for d in graph.input[0].type.tensor_type.shape.dim[1:])
    pixels = x[: model.batch_size].reshape(model.batch_size, -1)[:, : int(np.prod(wanted))]
    return {graph.input[0].name: np.ascontiguousarray(pixels.reshape((model.batch_size, *wanted)))}


class _Calibration:
    """Real digits, one at a time, as ONNX Runtime's quantizer asks for them."""

    def __init__(self) -> None:
        (x, _), _ = load_digits()
        self._rows = iter(x[:100, None])

    def get_next(self) -> dict[str, Any] | None:
        row = next(self._rows, None)
        return None if row is None else {"image": row}


def _tiny(path: Path) -> None:
    """A dense INT8 net of nine small layers, about 20 µs."""
    from onnxruntime.quantization import quantize_dynamic

    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.normal(0, 0.1, (256, 256)).astype(np.float32) for i in range(9)}
    nodes = []
    for i in range(9):
        nodes.append(helper.make_node("MatMul", [f"r{i}" if i else "x", f"w{i}"], [f"m{i}"], name=f"m{i}"))
        nodes.append(helper.make_node("Relu", [f"m{i}"], [f"r{i + 1}" if i < 8 else "y"], name=f"r{i}"))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 256])],
        [numpy_helper.from_array(w, n) for n, w in weights.items()],
    )
    source = path.with_suffix(".float.onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), source)
    quantize_dynamic(source, path)


def make_models(folder: Path) -> list[Model]:
    """Build the models into a folder: 20 µs to 50 ms per run, dense, dynamic, static, float."""
    from onnxruntime.quantization import QuantFormat, quant_pre_process, quantize_static

    _, (x, y) = load_digits()
    folder.mkdir(parents=True, exist_ok=True)
    built = {}
    for name in ("dnn", "cnn"):
        spec = ModelSpec(name, trained=ROOT / "examples" / "models" / f"{name}.keras", evaluation=Dataset(x, y))
        built[name] = Builder(spec, Cache(folder / "cache"), lambda _: None)
    static = folder / "static.onnx"
    if not static.exists():
        quant_pre_process(built["cnn"].onnx.path, folder / "prepared.onnx")
        quantize_static(
            folder / "prepared.onnx", static, _Calibration(), quant_format=QuantFormat.QDQ, per_channel=True
        )
    if not (folder / "tiny.onnx").exists():
        _tiny(folder / "tiny.onnx")
    return [
        Model("tiny dense INT8", folder / "tiny.onnx", 1),
        Model("dense INT8", built["dnn"].int8.path, 1),
        Model("dynamic CNN", built["cnn"].int8.path, 1),
        Model("static QDQ CNN", static, 1),
        Model("float CNN", built["cnn"].onnx.path, 8),
        Model("float CNN, large batch", built["cnn"].onnx.path, 1400),
    ]


def true_ratio(candidate: Model, reference: Model, threads: int, pairs: int) -> float:
    """Return how much slower a model is: the median over many fresh session pairs, long blocks, both orders."""
    feeds, found = feeds_of(reference), []
    for pair in range(pairs):
        order = (candidate, reference) if pair % 2 else (reference, candidate)
        sessions = {model.path: open_session(model.path, Runtime(threads=threads)) for model in order}
        start = perf_counter()
        sessions[reference.path].run(None, feeds)
        loops = max(1, int(0.005 / (perf_counter() - start)))
        ratios = []
        for _ in range(7):
            times = []
            for model in (candidate, reference):
                run = sessions[model.path].run
                start = perf_counter()
                for _ in range(loops):
                    run(None, feeds)
                times.append(perf_counter() - start)
            ratios.append(times[0] / times[1])
        found.append(median(ratios[1:]))
    return median(found)


def slower_twin(model: Model, folder: Path, slowdown: float, threads: int, pairs: int = 30) -> Model:
    """Return a twin that is slower by at least a share, and by little more, at a thread count: found by bisection.

    `pairs` session pairs have to agree that it is.
    """
    target = folder / f"{model.name.replace(' ', '-')}-{slowdown:g}-{threads}.onnx"

    def ratio(nodes: int, pairs: int) -> float:
        return true_ratio(with_extra_work(model, target, nodes), model, threads, pairs)

    low, high = 1, 8
    while ratio(high, pairs // 5) < 1 + slowdown:
        low, high = high, high * 2
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        low, high = (middle, high) if ratio(middle, pairs // 3) < 1 + slowdown else (low, middle)
    while ratio(high, pairs) < 1 + slowdown:
        high += max(1, high // 50)
    return Model(model.name, target, model.batch_size)


def with_extra_work(model: Model, target: Path, nodes: int) -> Model:
    """Save a twin that does more: its output also goes through a chain of small nodes.

    What comes out is the same up to 1e-30 of it, and no optimizer can know that. Small nodes, because one thread
    runs them: what large ones take with two threads is another share in each process.
    """
    proto = onnx.load(model.path)
    graph = proto.graph
    output = graph.output[0]
    for node in graph.node:
        node.output[:] = ["extra_in" if name == output.name else name for name in node.output]
        node.input[:] = ["extra_in" if name == output.name else name for name in node.input]
    names = ["extra_in", *(f"extra_{i}" for i in range(nodes))]
    graph.node.extend(helper.make_node("Erf", [a], [b], name=b) for a, b in itertools.pairwise(names))
    graph.node.extend(
        [
            helper.make_node("Mul", [names[-1], "extra_scale"], ["extra_small"], name="extra_narrow"),
            helper.make_node("Add", ["extra_in", "extra_small"], [output.name], name="extra_add"),
        ]
    )
    graph.initializer.append(numpy_helper.from_array(np.asarray(1e-30, np.float32), "extra_scale"))
    onnx.save(proto, target)
    return Model(model.name, target, model.batch_size)


def with_stalls(model: Model, target: Path, share: float, nodes: int) -> Model:
    """Save a twin that does more in a share of its runs, at random: a chain of nodes over 10,000 numbers.

    What comes out is the same up to 1e-30 of it.
    """
    proto = onnx.load(model.path)
    graph = proto.graph
    output = graph.output[0]
    for node in graph.node:
        node.output[:] = ["stall_in" if name == output.name else name for name in node.output]
        node.input[:] = ["stall_in" if name == output.name else name for name in node.input]
    value = helper.make_tensor_value_info("stall", TensorProto.FLOAT, [])
    names = ["stall_full", *(f"stall_{i}" for i in range(nodes))]
    work = [helper.make_node("Expand", ["stall_random", "stall_shape"], ["stall_full"])]
    work += [helper.make_node("Erf", [a], [b]) for a, b in itertools.pairwise(names)]
    work += [helper.make_node("ReduceMax", [names[-1]], ["stall_then"], keepdims=0)]
    then = helper.make_graph(work, "work", [], [helper.make_tensor_value_info("stall_then", TensorProto.FLOAT, [])])
    nothing = [helper.make_node("Identity", ["stall_scale"], ["stall_else"])]
    other = helper.make_graph(
        nothing, "nothing", [], [helper.make_tensor_value_info("stall_else", TensorProto.FLOAT, [])]
    )
    graph.node.extend(
        [
            helper.make_node("RandomUniform", [], ["stall_random"], shape=[1]),
            helper.make_node("Less", ["stall_random", "stall_share"], ["stall_now"]),
            helper.make_node("If", ["stall_now"], [value.name], then_branch=then, else_branch=other),
            helper.make_node("Mul", [value.name, "stall_scale"], ["stall_small"]),
            helper.make_node("Add", ["stall_in", "stall_small"], [output.name]),
        ]
    )
    for name, number in (
        ("stall_share", np.asarray(share, np.float32)),
        ("stall_scale", np.asarray(1e-30, np.float32)),
        ("stall_shape", np.asarray([10_000], np.int64)),
    ):
        graph.initializer.append(numpy_helper.from_array(number, name))
    onnx.save(proto, target)
    return Model(model.name, target, model.batch_size)
