"""Guards every ONNX file in the wheels of several packages, as they are, in half precision, in 4-bit blocks and in INT8; prints a table.

    python -m pip install --no-deps basic-pitch faster-whisper magika nudenet rapidocr-onnxruntime silero-vad skl2onnx
    python benchmarks/real_models.py [FOLDER]

Each has random inputs of the shapes that it declares, and is judged by accuracy, outputs, size and graph. Red is no fault: many of the
files in the onnx wheel are a single operator without a weight, so that nothing can be quantized, and random inputs say little of a
detector. What must not be is a traceback, a test that ends in no verdict and says not why, or a run that pytest cannot finish.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pytest_onnxlite.lint import signature

# Sizes of dims that a model leaves open, by a part of the dim's name; what else is open is 2, and 1 in front.
_SIZES = {"height": 320, "width": 320}
# Of files whose dims have no name that says it: what is open behind the first dim.
_BEHIND = {"silero_vad": 576, "ch_PP-OCRv4_det": 160, "ch_PP-OCRv4_rec": 48, "ch_ppocr_mobile": 48}
_SAMPLES = 4
_WHEELS = {
    "basic-pitch": ("basic_pitch", "saved_models/icassp_2022/nmp.onnx"),
    "magika": ("magika", "models/*/model.onnx"),
    "faster-whisper": ("faster_whisper", "assets/silero_vad_v6.onnx"),
    "nudenet": ("nudenet", "320n.onnx"),
    "rapidocr": ("rapidocr_onnxruntime", "models/*.onnx"),
    "silero-vad": ("silero_vad", "data/*.onnx"),
    "onnx": ("onnx", "backend/test/data/**/*.onnx"),
}
_OPTIONS = (
    *("-p", "no:randomly", "-o", "addopts=", "--basetemp=t"),
    *("--onnxlite-explain-time=0", "--onnxlite-report=r.json", "--onnxlite-cache-dir=cache"),
)
_INTEGERS = {"INT64", "INT32", "INT16", "INT8", "UINT8", "UINT16", "UINT32", "UINT64"}
_FLOATS = {"FLOAT": "float32", "DOUBLE": "float64"}

_CONFTEST = """
import json

import numpy as np
import pytest

from pytest_onnxlite import Dataset, Float16, ModelSpec, WeightOnly

MODELS = json.load(open("models.json"))


@pytest.fixture(scope="session", params=MODELS, ids=[model["name"] for model in MODELS])
def onnxlite_model(request):
    model = request.param
    variants = {"fp16": Float16(), "int4": WeightOnly()}
    data = dict(np.load(model["data"]))
    return ModelSpec(
        model["name"],
        onnx=model["file"],
        evaluation=Dataset(data),
        metric="cosine",
        output=model["output"],
        batched=False,
        variants=variants,
    )
"""
_TEST = """
import pytest


@pytest.mark.onnxlite_accuracy(max_drop=0.05)
@pytest.mark.onnxlite_outputs(min_sqnr=20)
@pytest.mark.onnxlite_size
@pytest.mark.onnxlite_graph
@pytest.mark.parametrize("onnxlite_variant", ["onnx", "fp16", "int4", "int8"], indirect=True)
def test_release(onnxlite_variant):
    pass
"""


def files() -> dict[str, Path]:
    """Return the ONNX files of the wheels that are installed, by a name."""
    found = {}
    for wheel, (package, pattern) in _WHEELS.items():
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            print(f"{wheel} is not installed: left out", file=sys.stderr)
            continue
        root = Path(next(iter(spec.submodule_search_locations)))
        for path in sorted(root.glob(pattern)):
            name = path.parent.name if path.stem == "model" else path.stem
            found[f"{wheel}-{re.sub(r'[^A-Za-z0-9_-]', '-', name)}"[:60]] = path
    return found


def inputs_of(path: Path, rng: np.random.Generator) -> dict[str, Any]:
    """Return samples of the shapes that a file declares, each input's first axis counting them."""
    found: dict[str, Any] = {}
    for tensor in signature(path).inputs:
        usual = next((size for name, size in _BEHIND.items() if path.name.startswith(name)), 2)
        behind = 1 if tensor.name == "state" else usual
        dims = [
            size if isinstance(size, int) else 1 if not number else _size(str(size), behind)
            for number, size in enumerate(tensor.shape or ())
        ]
        shape = (_SAMPLES, *dims)
        if tensor.dtype in _INTEGERS:
            found[tensor.name] = rng.integers(0, 2, shape).astype(tensor.dtype.lower())
        elif tensor.dtype == "BOOL":
            found[tensor.name] = rng.integers(0, 2, shape).astype(bool)
        elif tensor.dtype == "STRING":
            found[tensor.name] = np.full(shape, "text")
        else:
            found[tensor.name] = rng.normal(size=shape).astype(_FLOATS.get(tensor.dtype, "float16"))
    if "sr" in found:  # silero-vad's sampling rate, which is one of two
        found["sr"] = np.full_like(found["sr"], 16000)
    return found


def _size(name: str, behind: int) -> int:
    return next((size for part, size in _SIZES.items() if part in name), behind)


def write(folder: Path, chosen: dict[str, Path]) -> None:
    """Write a project that guards all of them."""
    rng = np.random.default_rng(0)
    models = []
    for name, path in chosen.items():
        np.savez(folder / f"{name}.npz", **inputs_of(path, rng))
        output = signature(path).outputs[0].name
        models.append({"name": name, "file": str(path), "data": f"{name}.npz", "output": output})
    (folder / "models.json").write_text(json.dumps(models))
    (folder / "conftest.py").write_text(_CONFTEST)
    (folder / "test_release.py").write_text(_TEST)


def run(folder: Path) -> tuple[dict[tuple[str, str], str], str]:
    """Guard them; return what came of each model and variant, and what pytest printed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *_OPTIONS],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    found: dict[tuple[str, str], str] = {}
    for record in json.loads((folder / "r.json").read_text())["records"]:
        red = sorted({verdict["check"] for verdict in record["verdicts"] if verdict["red"]})
        found[record["model"], record["variant"]] = f"red: {', '.join(red)}" if red else "green"
    # What cannot be made or run fails where its fixture is set up, with a sentence.
    for error in re.finditer(r"_ ERROR at setup of test_release\[(\S+?)-(onnx|fp16|int4|int8)\] _+\n(.*)", done.stdout):
        found.setdefault((error[1], error[2]), error[3].split(": ", 1)[-1])
    return found, done.stdout + done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="where the project stays; a temporary folder if left out")
    parser.add_argument("--only", default="", help="what the names of the models to look at begin with")
    arguments = parser.parse_args()
    chosen = {name: path for name, path in files().items() if name.startswith(arguments.only)}
    with tempfile.TemporaryDirectory() as place:
        folder = arguments.folder or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, chosen)
        found, text = run(folder)
    kinds = ("onnx", "fp16", "int4", "int8")
    print(f"| model | {' | '.join(kinds)} |\n|---|{'---|' * len(kinds)}")
    for name in chosen:
        if not name.startswith("onnx-"):
            print(f"| {name} | {' | '.join(found.get((name, kind), 'nothing') for kind in kinds)} |")
    print("\nThe files of the onnx wheel:")
    for kind in kinds:
        rest = Counter(
            re.sub(r"onnx-\S+|'[^']*'|\d+", "…", found.get((n, kind), "nothing"))
            for n in chosen
            if n.startswith("onnx-")
        )
        print(f"- {kind}: " + "; ".join(f"{count} {what}" for what, count in rest.most_common()))
    faults = re.findall(r"Traceback|INTERNALERROR|in pytest_onnxlite", text)
    missing = [(name, kind) for name in chosen for kind in kinds if (name, kind) not in found]
    print(
        f"\n{len(chosen)} files, {len(found)} ends, {len(faults)} tracebacks, {len(missing)} without an end {missing[:5]}"
    )


if __name__ == "__main__":
    main()
