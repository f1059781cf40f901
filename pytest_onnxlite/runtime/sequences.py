"""Steps of a model with a state: what it gives back as state is what it is fed with at the next step.

Imports nothing heavy, so that the child processes that time and measure can use it too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_onnxlite.runtime.sessions import TensorInfo

    Array = npt.NDArray[Any]
    Feeds = Mapping[str, Array]


def steps_of(feeds: Feeds, axis: int, grows: Sequence[str] = ()) -> Iterator[dict[str, Array]]:
    """Yield what is fed at each step, the state aside.

    Args:
        feeds: sequences, by input.
        axis: the axis that counts the steps.
        grows: inputs that hold all steps so far, such as a mask: of these the first step, then the first two, and so on.

    Raises:
        ValueError: inputs have different numbers of steps, or none.
    """
    import numpy as np

    counts = {name: array.shape[axis] for name, array in feeds.items()}
    if len(set(counts.values())) != 1 or not next(iter(counts.values())):
        raise ValueError(f"inputs have different numbers of steps, or none: {counts}")
    for step in range(next(iter(counts.values()))):
        so_far = range(step + 1)
        yield {
            name: np.ascontiguousarray(array.take(so_far if name in grows else step, axis))
            for name, array in feeds.items()
        }


# What tf2onnx calls dims that have no name: each one otherwise.
_UNNAMED = re.compile(r"unk__\d+")


def first_state(infos: Sequence[TensorInfo], names: Mapping[str, str], step: Feeds) -> dict[str, Array]:
    """Return the state before the first step: zeros; a dim that nothing says the size of is an empty cache's.

    Args:
        infos: all inputs of the model.
        names: by the state's inputs, its outputs.
        step: what is fed at the first step, the state aside.

    Raises:
        ValueError: the model has no such input, or its dims leave the shape of a state open.
    """
    import numpy as np

    shapes = {info.name: tuple("?" if _UNNAMED.fullmatch(str(dim)) else dim for dim in info.shape) for info in infos}
    known = {
        dim: size
        for name, array in step.items()
        if name in shapes
        for dim, size in zip(shapes[name], array.shape, strict=False)
        if isinstance(dim, str) and dim != "?"
    }
    sizes = [array.shape[0] for name, array in step.items() if name in shapes and array.ndim and shapes[name]]
    dtypes = {info.name: info.dtype for info in infos}
    found = {}
    require_inputs(infos, names)
    for name in names:
        dims = shapes[name]
        if dims.count("?") > 1:
            raise ValueError(
                f"the state {name!r} has several dims without a name ({', '.join(map(str, dims))}), so that nobody can tell which "
                "counts samples; name them when the model is exported"
            )
        # The one dim without a name counts samples.
        unnamed = sizes[0] if sizes else 1
        shape = [dim if isinstance(dim, int) else unnamed if dim == "?" else known.get(dim, 0) for dim in dims]
        found[name] = np.zeros(shape, np.dtype(dtypes[name]))
    return found


# Among feeds: that the others are sequences, and of which state. By a name that no input has.
_SEQUENCE = "onnxlite-sequence"


def as_sequence(feeds: Feeds, names: Mapping[str, str], axis: int, grows: Sequence[str]) -> dict[str, Array]:
    """Return feeds of which a runner runs every step in turn."""
    import numpy as np

    # Of an input that grows, itself stands where a state has its output.
    pairs = [*names.items(), *((name, name) for name in grows)]
    return {**feeds, _SEQUENCE: np.array([str(axis), *(name for pair in pairs for name in pair)])}


def without_mark(feeds: Feeds) -> dict[str, Array]:
    """Return feeds without what says that they are sequences."""
    return {name: array for name, array in feeds.items() if name != _SEQUENCE}


def sequence_runner(
    feeds: Feeds, infos: Sequence[TensorInfo], outputs: Sequence[str], run_step: Callable[[Feeds], Sequence[Any]]
) -> Callable[[], Any] | None:
    """Return what runs all steps of sequences once; None for feeds of one run.

    Args:
        feeds: what `as_sequence` returns, or feeds of one run.
        infos: the model's inputs.
        outputs: the names of its outputs.
        run_step: runs the model once, and returns all outputs in their order.

    Raises:
        ValueError: the feeds are none of this model's.
    """
    if _SEQUENCE not in feeds:
        return None
    axis, *flat = map(str, feeds[_SEQUENCE])
    pairs = dict(zip(flat[::2], flat[1::2], strict=True))
    grows = [name for name, other in pairs.items() if name == other]
    names = {name: output for name, output in pairs.items() if name not in grows}
    steps = list(steps_of(without_mark(feeds), int(axis), grows))
    first = first_state(infos, names, steps[0])
    require_outputs(outputs, names)
    places = {name: outputs.index(output) for name, output in names.items()}

    def run() -> None:
        state = first
        for step in steps:
            found = run_step({**step, **state})
            state = {name: found[place] for name, place in places.items()}

    return run


def require_inputs(infos: Sequence[TensorInfo], names: Collection[str], what: str = "for a state") -> None:
    """Check that a model has these inputs.

    Raises:
        ValueError: it has no such input.
    """
    inputs = [info.name for info in infos]
    for name in names:
        if name not in inputs:
            raise ValueError(f"the model has no input {name!r} {what}; it has {', '.join(inputs)}")


def require_outputs(outputs: Sequence[str], names: Mapping[str, str]) -> None:
    """Check that a model gives its state back.

    Raises:
        ValueError: it has no such output.
    """
    for name in names.values():
        if name not in outputs:
            raise ValueError(f"the model has no output {name!r} for a state; it has {', '.join(outputs)}")
