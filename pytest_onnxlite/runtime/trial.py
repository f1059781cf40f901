"""The first run of a file that nobody has run yet: `run` is called in a child process, since it may crash."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.runtime.interpreter import open_interpreter
from pytest_onnxlite.runtime.sessions import open_session, session_outputs
from pytest_onnxlite.runtime.values import as_arrays
from pytest_onnxlite.spec import Runtime


class TrialRequest(msgspec.Struct, frozen=True):
    """The model's file, the file with one run's feeds, the file that takes the outputs, and how the model is run."""

    model: str
    feeds: str
    outputs: str
    runtime: Runtime


def run(request: TrialRequest) -> None:
    """Load the model, run it once and write the outputs, as `arrays.save` does."""
    path, feeds = Path(request.model), arrays.load(Path(request.feeds))
    if path.suffix == ".tflite":
        outputs = open_interpreter(path, request.runtime).run(feeds)
    else:
        session = open_session(path, request.runtime)
        names = [info.name for info in session_outputs(session)]
        outputs, _ = as_arrays(names, session.run(names, feeds))
    arrays.save(Path(request.outputs), outputs)
