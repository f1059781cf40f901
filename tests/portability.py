"""Runs models as other x86 processors would: emulated by qemu-user, with the same Python and the same ONNX Runtime.

Run as a script, within the emulation: `python portability.py FOLDER` runs what `emulate` wrote there.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

# AVX2 and no VNNI: what saturates. No AVX2: answers as exact as VNNI's.
WITHOUT_VNNI, EXACT = "Haswell", "Nehalem"
_EMULATOR = "qemu-x86_64"
_LONGEST = 600


@dataclass(frozen=True)
class Pair:
    """A float model, what was quantized from it, inputs `x` for both, and options of the session that runs them."""

    source: Path
    int8: Path
    x: npt.NDArray[np.float32]
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ran:
    """What a processor makes of a pair.

    Attributes:
        output: signal to noise of the outputs, dB.
        layers: the same of each layer of integers, its inputs taken from the float model; none where the session has options.
    """

    output: float
    layers: dict[str, float]


def why_not() -> str:
    """Say why nothing can be emulated here; empty if it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "qemu-user runs this Python as another x86 processor on Linux on x86 alone"
    return "" if shutil.which(_EMULATOR) else f"{_EMULATOR} is not installed (qemu-user), which emulates the processor"


def saturates() -> bool:
    """Tell whether this processor cuts off sums of a uint8's and an int8's products."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [4, 64])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [4, 64])],
        [numpy_helper.from_array(np.full((64, 64), 127, np.int8), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((4, 64), 255, np.uint8)})
    return bool((found != 64 * 255 * 127).any())


def emulate(processor: str, pairs: Mapping[str, Pair]) -> dict[str, Ran]:
    """Run pairs of models as a processor would, all in one process: it starts within seconds, not at once."""
    with tempfile.TemporaryDirectory() as folder:
        _write(pairs, Path(folder))
        command = [_EMULATOR, "-cpu", processor, sys.executable, __file__, folder]
        # What it says of features that it does not emulate is no error.
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found = json.loads((Path(folder) / "found.json").read_text())
    return {name: Ran(**entry) for name, entry in found.items()}


def run_here(pairs: Mapping[str, Pair]) -> dict[str, Ran]:
    """Run pairs of models on this processor."""
    return {name: _run(pair) for name, pair in pairs.items()}


def _write(pairs: Mapping[str, Pair], folder: Path) -> None:
    jobs = {}
    for number, (name, pair) in enumerate(pairs.items()):
        np.save(folder / f"{number}.npy", pair.x)
        jobs[name] = [str(pair.source), str(pair.int8), f"{number}.npy", pair.options]
    (folder / "jobs.json").write_text(json.dumps(jobs))


def _run(pair: Pair) -> Ran:
    from pytest_onnxlite.explain.layer import LayersRequest
    from pytest_onnxlite.explain.layers import analyse
    from pytest_onnxlite.explain.noise import decibel
    from pytest_onnxlite.runtime import arrays
    from pytest_onnxlite.spec.runtimes import Runtime

    expected, got = (_outputs(path, pair) for path in (pair.source, pair.int8))
    output = decibel(float((expected**2).sum()), float(((expected - got) ** 2).sum()))
    if pair.options:  # the layers are run by a session without them
        return Ran(output, {})
    with tempfile.TemporaryDirectory() as work:
        feeds = Path(work) / "feeds.npz"
        arrays.save(feeds, {"0 x": pair.x})
        found = analyse(LayersRequest(str(pair.source), str(pair.int8), str(feeds), Runtime(), _LONGEST))
    layers = {layer.tensor: layer.own for layer in found.layers if layer.quantized}
    return Ran(output, layers)


def _outputs(path: Path, pair: Pair) -> npt.NDArray[np.float64]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    for name, value in pair.options.items():
        options.add_session_config_entry(name, value)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    output: npt.NDArray[np.float64] = session.run(None, {"x": pair.x})[0].astype(np.float64)
    return output


def _main(folder: Path) -> None:
    jobs = json.loads((folder / "jobs.json").read_text())
    pairs = {name: Pair(Path(a), Path(b), np.load(folder / x), o) for name, (a, b, x, o) in jobs.items()}
    found = {name: {"output": ran.output, "layers": ran.layers} for name, ran in run_here(pairs).items()}
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
