"""Is the memory that we report true, and what does a check of it cost? Prints the tables of docs/latency.md.

python benchmarks/memory_study.py                            five minutes on two quiet cores
python benchmarks/memory_study.py --checks 10 --repeats 4    one

Alarms are counted over as many checks as are asked for in the last way, and over a fifth of them in the others.

Four ways stand side by side: processes that are started one after the other and whose heap keeps what is freed; processes
that are started and give it back; children of a fork server that give it back, candidate and last release at once; and
the same, kept on one processor. The last is what `onnxlite_memory` does on Linux for a model that runs with one thread.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
from memory_kept import measure_kept
from onnx import TensorProto, helper, numpy_helper

from pytest_onnxlite.baseline.record import Artefact, Baseline
from pytest_onnxlite.checks.memory import measure as memory
from pytest_onnxlite.checks.memory.judge import judge_memory
from pytest_onnxlite.checks.memory.limit import MemoryLimit
from pytest_onnxlite.checks.memory.measurement import Memory
from pytest_onnxlite.runtime import forking, peak
from pytest_onnxlite.runtime.childprocess import Child
from pytest_onnxlite.spec.runtimes import Runtime

MIB = 1 << 20
NOTHING_SAVED = Baseline("study", "onnx", Artefact("", "", 0, True))
NAMES = ("m", "model", "digits-int8-64d2dbe", "a" * 40, "a" * 90, "a" * 140)
# A run's activations, for the peak while running: side² values in each of three maps.
BASE_MAPS = 400

Feeds = Mapping[str, Any]


@dataclass(frozen=True)
class Way:
    """A way to measure."""

    name: str
    kept: bool
    fork: bool
    stays: bool = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Measure in this way, within."""
        settle = memory._settle

        def one_by_one(sides: Sequence[Any], fewest: int) -> None:
            for side in sides:
                settle([side], fewest)

        def start(packages: Path | None, fork: bool, stays: bool) -> Child:
            return Child(packages=packages, fork=fork and self.fork, stays=stays and self.stays)

        with mock.patch.object(memory, "Child", start):
            if self.fork:
                yield
            elif not self.kept:
                with mock.patch.object(memory, "_settle", one_by_one):
                    yield
            else:
                kept = mock.Mock(wraps=peak, measure=measure_kept)
                with mock.patch.object(memory, "_settle", one_by_one), mock.patch.object(memory, "peak", kept):
                    yield


WAYS = (
    Way("started anew, heap keeps", kept=True, fork=False),
    Way("started anew, given back", kept=False, fork=False),
    Way("forked, given back", kept=False, fork=True),
    Way("forked, on one processor", kept=False, fork=True, stays=True),
)


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: dict[str, Any]) -> Path:
    stored = [numpy_helper.from_array(w, n) for n, w in weights.items()]
    graph = helper.make_graph(nodes, "memory", inputs, outputs, stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def table_model(path: Path, weight_bytes: int, maps: int = BASE_MAPS, side: int = 64) -> Path:
    """A model with an embedding table of known bytes, and activations of known bytes in each of three maps."""
    weights = {
        "w": np.zeros((maps, 1, 3, 3), np.float32),
        "table": np.random.default_rng(0).normal(size=(weight_bytes // 4 // 64, 64)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gather", ["table", "at"], ["f"]),
        helper.make_node("ReduceSum", ["f"], ["g"], keepdims=0),
        helper.make_node("Add", ["e", "g"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, side, side]),
        helper.make_tensor_value_info("at", TensorProto.INT64, ["batch"]),
    ]
    return save(path, nodes, inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", maps])], weights)


def dense_model(path: Path, layers: int, width: int = 1024) -> Path:
    """A chain of dense layers, whose weights ONNX Runtime packs anew while it loads them."""
    rng, nodes, weights, last = np.random.default_rng(0), [], {}, "x"
    for i in range(layers):
        weights[f"w{i}"] = rng.normal(0, (2 / width) ** 0.5, (width, width)).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]))
        last = "y" if i == layers - 1 else f"r{i}"
        nodes.append(helper.make_node("Relu", [f"m{i}"], [last]))
    value = helper.make_tensor_value_info
    inputs, outputs = [value("x", TensorProto.FLOAT, ["b", width])], [value("y", TensorProto.FLOAT, ["b", width])]
    return save(path, nodes, inputs, outputs, weights)


def outcome(found: Memory) -> str:
    return judge_memory(MemoryLimit(max_growth=0.03), found, NOTHING_SAVED)[0].outcome.value


def processor_seconds() -> float:
    """Return what child processes that ended took of the processors, and a fork server with its children."""
    own = os.times()
    total = own.children_user + own.children_system
    for server in forking._servers:
        fields = Path(f"/proc/{server._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def spread(values: Sequence[int]) -> str:
    return f"{(max(values) - min(values)) / min(values):.2%}"


def rows(folder: Path, checks: int, repeats: int) -> Iterator[tuple[str, str, Callable[[Way], str]]]:
    """Return what is measured: its name, what is expected, and what measures it."""
    feeds: Feeds = {"x": np.ones((1, 1, 64, 64), np.float32), "at": np.zeros(1, np.int64)}
    wide: Feeds = {"x": np.ones((1, 1024), np.float32)}
    small: Feeds = {"x": np.ones((1, 64), np.float32)}
    tables = [table_model(folder / f"table{size}.onnx", size * MIB) for size in (32, 40)]
    dense = [dense_model(folder / f"dense{layers}.onnx", layers) for layers in (6, 8)]
    tiny = dense_model(folder / "tiny.onnx", 4, 64)
    # About 5 % more than the 62 MiB that the first table's model needs.
    grown = table_model(folder / "grown.onnx", 32 * MIB, maps=BASE_MAPS + 50)
    runtime = Runtime()

    def seconds(model: Path, feeds: Feeds) -> str:
        memory.measure(model, model, feeds, 1, runtime)
        start, before = time.perf_counter(), processor_seconds()
        for _ in range(repeats):
            memory.measure(model, model, feeds, 1, runtime)
        taken = (time.perf_counter() - start) / repeats, (processor_seconds() - before) / repeats
        return f"{taken[0]:.2f} s ({taken[1]:.2f} s)"

    def more(models: Sequence[Path], feeds: Feeds) -> str:
        found = memory.measure(models[1], models[0], feeds, 1, runtime)
        assert found.reference is not None
        extra = [(getattr(found.candidate, p) - getattr(found.reference, p)) / MIB for p in ("load", "run")]
        return f"{extra[0]:.2f}, {extra[1]:.2f} MiB"

    def repeated(model: Path, feeds: Feeds) -> str:
        found = [memory.measure(model, None, feeds, 1, runtime).candidate for _ in range(repeats)]
        return ", ".join(spread([getattr(one, phase) for one in found]) for phase in ("load", "run"))

    def renamed(model: Path, feeds: Feeds) -> str:
        found, last = [], model
        for name in NAMES:
            last = last.rename(folder / f"{name}.onnx")
            found.append(memory.measure(last, None, feeds, 1, runtime).candidate)
        last.rename(model)
        return ", ".join(spread([getattr(one, phase) for one in found]) for phase in ("load", "run"))

    def red(model: Path, reference: Path, feeds: Feeds, times: int) -> str:
        found = [outcome(memory.measure(model, reference, feeds, 1, runtime)) for _ in range(times)]
        return f"{found.count('fail')} of {times}, {found.count('inconclusive')} unsettled"

    yield "a check of a tiny model (on processors)", "", lambda _: seconds(tiny, small)
    yield "a check of a dense one of 24 MiB (on processors)", "", lambda _: seconds(dense[0], wide)
    yield "8 MiB more in an embedding: loading (the file too), running", "16, 8 MiB", lambda _: more(tables, feeds)
    yield "8 MiB more in dense layers: loading, running", "8, 8 MiB", lambda _: more(dense, wide)
    yield f"{repeats} measurements of the embedding: loading, running", "0 %", lambda _: repeated(tables[0], feeds)
    yield f"{repeats} measurements of the dense layers: loading, running", "0 %", lambda _: repeated(dense[0], wide)
    yield f"the embedding under {len(NAMES)} names: loading, running", "0 %", lambda _: renamed(tables[0], feeds)
    yield f"the dense layers under {len(NAMES)} names: loading, running", "0 %", lambda _: renamed(dense[0], wide)
    yield "about 5 % more at max_growth=0.03", "red", lambda _: red(grown, tables[0], feeds, 10)
    yield (
        "the same file at max_growth=0.03",
        "never red",
        lambda way: red(tables[0], tables[0], feeds, checks if way.stays else checks // 5),
    )
    copy = folder / ("a copy of the dense layers " * 5 + ".onnx")
    copy.write_bytes(dense[0].read_bytes())
    yield (
        "a copy under another name at max_growth=0.03",
        "never red",
        lambda way: red(copy, dense[0], wide, checks if way.stays else checks // 5),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=100, help="checks of one file (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=10, help="repeated measurements (default: %(default)s)")
    parser.add_argument("--way", default="", help="measure in the ways alone whose name has this in it")
    options = parser.parse_args()
    ways = [way for way in WAYS if options.way in way.name]
    # A child finds memory_kept by its name.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    with tempfile.TemporaryDirectory() as folder:
        print(f"| what | expected | {' | '.join(way.name for way in ways)} |")
        print(f"|---|---|{'---|' * len(ways)}")
        for name, expected, found in rows(Path(folder), options.checks, options.repeats):
            cells = []
            for way in ways:
                with way.taken():
                    cells.append(found(way))
            print(f"| {name} | {expected} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
