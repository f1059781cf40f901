"""A child process: the peak memory of loading a Keras model and of running it on one image, as the plugin's own child reads it.

Started with a model's file and an `.npy` file of one image, `(1, H, W, C) float32`; prints JSON, in bytes above what stood before.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

# Running is repeated until nothing is added any more: what a first run compiles and allocates belongs to it.
_RUNS = 10


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def main() -> None:
    """Measure and print."""
    # Whatever the libraries print must not end up in the answer.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    model_file, image_file = sys.argv[1:]

    import keras
    import numpy as np

    image = np.load(image_file, allow_pickle=False)
    # The library's own memory is no model's: TensorFlow allocates it with the first tensor.
    keras.ops.convert_to_tensor(image)
    base = _status("VmRSS")
    peaks = {}
    Path("/proc/self/clear_refs").write_text("5")
    model = keras.models.load_model(model_file, compile=False)
    peaks["load"] = _status("VmHWM") - base
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(_RUNS):
        model.predict(image, verbose=0)
    peaks["run"] = _status("VmHWM") - base
    answer.write(json.dumps(peaks) + "\n")
    answer.flush()


if __name__ == "__main__":
    main()
