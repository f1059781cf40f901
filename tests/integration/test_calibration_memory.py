"""Static calibration is streamed: its memory does not grow with the number of samples. A real process is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from onnx_models import wide

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc/self/status")

MIB = 1 << 20
# Activations of 32 x 64 x 64 floats, 512 KiB each, four to a sample.
CHILD = """
import json, sys
from pathlib import Path
import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, quantize_static
from pytest_onnxlite import StaticInt8
from pytest_onnxlite.variants import quantization
from pytest_onnxlite.runtime.sessions import TensorInfo

model, folder = map(Path, sys.argv[1:])
x = np.random.default_rng(0).normal(size=(120, 1, 64, 64)).astype(np.float32)
info = TensorInfo("x", "float32", ("batch", 1, 64, 64))

def peak():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))

def calibrate(count):
    for method in ("minmax", "entropy", "percentile", "distribution"):
        given = quantization.Calibration(x[:count], (info,))
        quantization.quantize(model, StaticInt8(method=method), "wide", folder / "int8.onnx", given)
    return peak()

class Reader(CalibrationDataReader):
    rows = iter(x)
    def get_next(self):
        row = next(self.rows, None)
        return None if row is None else {"x": row[None]}

few, many = calibrate(20), calibrate(120)
quantize_static(model, folder / "own.onnx", Reader(), calibrate_method=CalibrationMethod.Percentile)
print(json.dumps([few, many, peak()]))
"""


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    model = wide(tmp_path / "wide.onnx", 32)
    command = [sys.executable, "-c", CHILD, str(model), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    few, many, kept = json.loads(done.stdout.splitlines()[-1])
    assert many - few < 20 * MIB, (few, many)
    # The measurement would see them kept: the quantizer as its users call it holds all intermediate outputs.
    assert kept - many > 100 * MIB, (many, kept)
