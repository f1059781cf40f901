"""The first run of a file that nobody has run yet: `run` is called in a child process, since it may crash."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.runtime.interpreter import open_interpreter
from pytest_onnxlite.runtime.placements import placements
from pytest_onnxlite.runtime.sessions import NoProvider, open_session, session_outputs
from pytest_onnxlite.runtime.values import as_arrays
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.text import shortened


class TrialRequest(msgspec.Struct, frozen=True):
    """The model's file, the file with one run's feeds, the file that takes the outputs, and how the model is run."""

    model: str
    feeds: str
    outputs: str
    runtime: Runtime


def run(request: TrialRequest) -> None:
    """Load the model, run it once and write the outputs, as `arrays.save` does.

    Raises:
        NoProvider: no provider that was asked for runs any node of it.
    """
    path, feeds = Path(request.model), arrays.load(Path(request.feeds))
    if path.suffix == ".tflite":
        outputs = open_interpreter(path, request.runtime).run(feeds)
    else:
        session = open_session(path, request.runtime)
        names = [info.name for info in session_outputs(session)]
        outputs, _ = as_arrays(names, session.run(names, feeds))
        _require_placed(path, request.runtime)
    arrays.save(Path(request.outputs), outputs)


def _require_placed(path: Path, runtime: Runtime) -> None:
    """Refuse a runtime whose providers run nothing of a model: every figure would be another provider's."""
    if runtime.is_on_cpu:
        return
    found = placements(path, runtime)
    if found and not any(part.provider in runtime.wanted for part in found):
        nodes = [f"{name or 'a node'} ({operator})" for part in found for name, operator in part.nodes]
        raise NoProvider(
            f"{' and '.join(runtime.wanted)} was asked for and runs no node of the model: all {len(nodes)} fall back to "
            f"{' and '.join(part.provider for part in found)}: {shortened(nodes)}. Leave the provider out, or export the model "
            "with operators that it has"
        )
