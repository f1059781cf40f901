"""Whether a model gives the same outputs twice for the same inputs; else no figure of it means anything."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.spec.dataset import Array, take
from pytest_onnxlite.text import listed
from pytest_onnxlite.variants import called
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.variant import RuntimeVariant, Variant

# Samples that are run twice, or one batch where that is more.
_SAMPLES = 64
# Threads that add up in another order differ by less: of the element, and of the output's largest value.
_OF_ELEMENT, _OF_LARGEST = 1e-4, 1e-6
_MOST_NODES = 5
# Several checks of a test need it: by variant, the batch sizes at which it gave the same outputs.
_repeated: WeakKeyDictionary[Variant, set[int]] = WeakKeyDictionary()


def require_repeatable(builder: Builder, variant: Variant, batch_size: int) -> None:
    """Check that a variant, and what is called as its reference, gives the same outputs for the same inputs in two runs.

    What a cache holds the outputs of is not run again.

    Raises:
        OnnxliteError: one does not; the text names the nodes that draw random numbers.
    """
    reference = builder.accuracy_reference()
    for one in {variant, reference} if reference is not None and reference.kind == "trained" else {variant}:
        if batch_size not in _repeated.setdefault(one, set()):
            _require_repeatable(builder, one, batch_size)
            _repeated[one].add(batch_size)


def _require_repeatable(builder: Builder, variant: Variant, batch_size: int) -> None:
    is_called = variant.kind == "trained" and called.is_foreign(builder.spec.trained)
    if not is_called and not isinstance(variant, RuntimeVariant):
        return
    some = take(builder.evaluation.x, slice(max(_SAMPLES // batch_size, 1) * batch_size))
    # Whether NaN and infinity are right answers is not asked here.
    run = variant.answer if isinstance(variant, RuntimeVariant) else variant.run
    first, second = run(some, batch_size), run(some, batch_size)
    for name, array in first.items():
        again = second[name]
        count = sum(differs(one, other) for one, other in zip(array, again, strict=True))
        if count:
            raise OnnxliteError(
                f"{variant.model} {variant.kind} is nondeterministic: output {name!r} differs between two runs of the same file "
                f"on the same inputs, for {count} of {len(array)} samples. No figure of it can be measured twice.\n"
                f"{_cause(variant)}"
            )


def differs(one: Array, other: Array) -> bool:
    """Tell whether two outputs for one sample differ by more than the order of sums explains."""
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return True
    if one.dtype.kind != "f":
        return not np.array_equal(one, other)
    floor = _OF_LARGEST * float(np.abs(one[np.isfinite(one)]).max(initial=0.0))
    return not np.allclose(one, other, rtol=_OF_ELEMENT, atol=floor, equal_nan=True)


def _cause(variant: Variant) -> str:
    if not variant.has_file:
        return "It is something that is called: switch its training mode off (a PyTorch module's eval()), or give it a seed."
    if variant.path.suffix != ".onnx":
        return "Look for random operators, and for layers in training mode, and convert it again."
    from pytest_onnxlite.lint.randomness import random_nodes

    nodes = random_nodes(variant.path)
    if not nodes:
        return (
            "No operator that is known to be random is in the file: look for a custom operator that is, or that leaves a "
            "part of its output unwritten."
        )
    more = [f"{len(nodes) - _MOST_NODES} more"] if len(nodes) > _MOST_NODES else []
    return (
        f"These nodes draw random numbers: {listed([*nodes[:_MOST_NODES], *more])}. Export the model in inference mode, or "
        "take the noise from an input, which the evaluation data then holds."
    )
