"""Many runs of a candidate in one session, in a child process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_onnxlite.checks.memory.measurement import Soak
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime import arrays, soak
from pytest_onnxlite.runtime.childprocess import ChildError, ask
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.workspace import working_folder


def run_often(model: Path, feeds: Sequence[Mapping[str, Array]], runtime: Runtime, runs: int) -> Soak:
    """Run a model many times, and read what is resident meanwhile.

    Args:
        model: its file.
        feeds: one batch of each shape that there is, the longest first.
        runtime: how it is run.
        runs: how often.

    Raises:
        OnnxliteError: the child could not load or run it, or took too long.
    """
    with working_folder() as folder:
        files = []
        for number, batch in enumerate(feeds[: runs + 1]):
            files.append(folder / f"feeds-{number}.npz")
            arrays.save(files[-1], dict(batch))
        request = soak.SoakRequest(str(model), runtime, tuple(map(str, files)), runs)
        try:
            found = ask(soak.soak, request, fork=True, stays=runtime.has_one_thread)
        except ChildError as error:
            raise OnnxliteError(
                f"running {model.name} {runs} times in a child process failed: {error}. Ask for fewer runs if it takes too long."
            ) from None
    return Soak(tuple(found.runs), tuple(found.shapes), found.repeats, found.kinds)
