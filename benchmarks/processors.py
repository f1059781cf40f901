"""What INT8 recipes give on x86 processors with and without VNNI: signal to noise, right answers, bytes, time.

python benchmarks/processors.py                  three minutes on two cores
python benchmarks/processors.py --nets dense     one of them

Small nets are trained on the digits of examples/digits.py, quantized in each way, and run on this processor, and on one with AVX2
and without VNNI that qemu-user emulates with the same Python and the same ONNX Runtime. Where qemu-user is missing, that half is
left out. Times are this processor's alone: under emulation they mean nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from pytest_onnxlite import Dataset, DynamicInt8, ModelSpec, StaticInt8
from pytest_onnxlite.spec.recipes import Recipe, recipe_text

EMULATOR, PROCESSOR = "qemu-x86_64", "Haswell"
# For each kind of recipe all 8 bits of int8, uint8, 7 bits of int8; the default is one of them.
DYNAMIC = (DynamicInt8(weight_type="int8"), DynamicInt8(), DynamicInt8(weight_type="int8", reduce_range=True))
STATIC = (StaticInt8(weight_type="int8"), StaticInt8(weight_type="uint8"), StaticInt8())
# Emulated, a digit takes a hundred times as long.
DIGITS, BATCH = 250, 50
ROUNDS, BLOCK = 200, 0.002
Floats = npt.NDArray[np.float32]


def dense() -> Any:
    """Return a net of three dense layers."""
    from keras import Input, Sequential, layers

    hidden = [layers.Dense(512, activation="relu"), layers.Dense(512, activation="relu")]
    return Sequential([Input((28, 28, 1)), layers.Flatten(), *hidden, layers.Dense(10)])


def convolutional() -> Any:
    """Return a net of two convolutions and a dense layer."""
    from keras import Input, Sequential, layers

    first = [layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D()]
    second = [layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D()]
    return Sequential([Input((28, 28, 1)), *first, *second, layers.Flatten(), layers.Dense(10)])


def recurrent() -> Any:
    """Return an LSTM that reads an image row by row."""
    from keras import Input, Sequential, layers

    rows = layers.Reshape((28, 28))
    return Sequential([Input((28, 28, 1)), rows, layers.LSTM(128), layers.Dense(10)])


def attention() -> Any:
    """Return a block of a transformer over rows, pooled."""
    from keras import Input, Model, layers

    image = Input((28, 28, 1))
    x = layers.Dense(64)(layers.Reshape((28, 28))(image))
    x = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(4, 16)(x, x)]))
    x = layers.Add()([x, layers.Dense(64)(layers.Dense(256, activation="relu")(x))])
    return Model(image, layers.Dense(10)(layers.Flatten()(x)))


NETS: dict[str, tuple[Callable[[], Any], tuple[Recipe, ...]]] = {
    "dense": (dense, (*DYNAMIC, *STATIC)),
    "convolutional": (convolutional, (*DYNAMIC, *STATIC)),
    "recurrent": (recurrent, DYNAMIC),
    "attention": (attention, (*DYNAMIC, *STATIC)),
}


@dataclass
class Row:
    """A net quantized in one way."""

    net: str
    recipe: str
    source: Path
    path: Path
    size: float
    seconds: float = 0.0


def build(net: str, folder: Path) -> list[Row]:
    """Train a net and quantize it in each way."""
    import keras

    from pytest_onnxlite.variants.builder import Builder
    from pytest_onnxlite.variants.cache import Cache

    from digits import load_digits

    (x, y), (evaluation, labels) = load_digits()
    keras.utils.set_random_seed(2021)
    make, recipes = NETS[net]
    model = make()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, epochs=6, batch_size=64, verbose=0)
    spec = ModelSpec(net, trained=model, evaluation=Dataset(evaluation, labels), calibration=x[:200])
    builder = Builder(spec, Cache(folder / net), lambda _: None)
    source = builder.onnx
    rows = [Row(net, "float", source.path, source.path, 1.0)]
    for recipe in recipes:
        path = builder.quantized(recipe) / "model.onnx"
        name = f"`{recipe_text(recipe)}`" + (" (default)" if recipe in (DynamicInt8(), StaticInt8()) else "")
        rows.append(Row(net, name, source.path, path, path.stat().st_size / source.size))
    return rows


def session(path: Path) -> Any:
    """Open a model as it is timed: one thread, no spinning."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path: Path, x: Floats) -> Floats:
    """Return a model's outputs, batch by batch."""
    opened = session(path)
    feed = opened.get_inputs()[0].name
    parts = [opened.run(None, {feed: x[start : start + BATCH]})[0] for start in range(0, len(x), BATCH)]
    return np.concatenate(parts)


def measure(rows: Sequence[Row], x: Floats) -> None:
    """Time one sample at a time, all ways of a net in turns: the fast tenth of blocks, steady beside busy neighbours."""
    for net in {row.net: None for row in rows}:
        ours = [row for row in rows if row.net == net]
        opened = [session(row.path) for row in ours]
        feed = {opened[0].get_inputs()[0].name: x[:1]}
        blocks: list[list[float]] = [[] for _ in ours]
        counts = [max(1, int(BLOCK / _block(each, feed, 20))) for each in opened]
        for _ in range(ROUNDS):
            for each, times, count in zip(opened, blocks, counts, strict=True):
                times.append(_block(each, feed, count))
        for row, times in zip(ours, blocks, strict=True):
            row.seconds = float(np.quantile(times, 0.1))


def _block(opened: Any, feed: dict[str, Floats], count: int) -> float:
    opened.run(None, feed)
    start = time.perf_counter()
    for _ in range(count):
        opened.run(None, feed)
    return (time.perf_counter() - start) / count


def worker(folder: Path) -> None:
    """Run the models that are named in a folder, and leave their outputs there."""
    x = np.load(folder / "x.npy")
    for number, path in enumerate(json.loads((folder / "paths.json").read_text())):
        np.save(folder / f"{number}.npy", run(Path(path), x))


def outputs(rows: Sequence[Row], x: Floats, emulator: Sequence[str] = ()) -> list[Floats]:
    """Run all models in a process of their own, under an emulator if one is given."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "x.npy", x)
        (folder / "paths.json").write_text(json.dumps([str(row.path) for row in rows]))
        # What the emulator says of features that it lacks is no error.
        command = [*emulator, sys.executable, __file__, "--worker", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        return [np.load(folder / f"{number}.npy") for number in range(len(rows))]


def figures(expected: Floats, found: Floats, labels: Any) -> tuple[str, str]:
    """Return signal to noise against the float net, in dB, and right answers."""
    signal, noise = (float((array**2).sum()) for array in (expected, expected - found))
    decibels = f"{10 * np.log10(signal / noise):.1f}" if noise else ""
    return decibels, f"{int((found.argmax(axis=1) == labels).sum())}"


def processor() -> str:
    """Name this processor as Linux does."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    vnni = any("vnni" in line for line in lines if line.startswith("flags"))
    return f"{name}, {'with' if vnni else 'without'} VNNI"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        worker(chosen.worker)
        return
    from digits import load_digits

    logging.disable(logging.WARNING)
    _, (x, labels) = load_digits()
    x, labels = x[:DIGITS], labels[:DIGITS]
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for net in chosen.nets for row in build(net, Path(folder))]
        found = outputs(rows, x)
        measure(rows, x)
        # Float arithmetic is the same everywhere, and takes minutes under emulation.
        int8 = [row for row in rows if row.recipe != "float"]
        missing = not shutil.which(EMULATOR)
        emulated = [] if missing else outputs(int8, x, [EMULATOR, "-cpu", PROCESSOR])
    floats = {row.net: output for row, output in zip(rows, found, strict=True) if row.recipe == "float"}
    here = [figures(floats[row.net], output, labels) for row, output in zip(rows, found, strict=True)]
    elsewhere = {id(row): figures(floats[row.net], o, labels) for row, o in zip(int8, emulated, strict=False)}
    print(f"Processor: {processor()}; {len(labels)} digits in batches of {BATCH}; times of one digit, one thread.")
    if missing:
        print(f"{EMULATOR} (qemu-user) is not installed: what a processor without VNNI gives is left out.")
    print("\n| net | recipe | size | time | dB here | dB without VNNI | right here | right without VNNI |")
    print("|---|---|---|---|---|---|---|---|")
    for row, (signal, right) in zip(rows, here, strict=True):
        other, others = elsewhere.get(id(row), ("", ""))
        clock = f"{row.seconds * 1e6:.0f} µs"
        cells = [row.net, row.recipe, f"{row.size:.3f}", clock, signal, other, right, others]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
