"""Trained models that can only be called: a PyTorch module, a scikit-learn estimator, or any function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pytest_onnxlite.errors import OnnxliteError, hide_mistakes
from pytest_onnxlite.runtime.sessions import TensorInfo
from pytest_onnxlite.spec.dataset import Array, Inputs, as_texts
from pytest_onnxlite.spec.model import ModelSpec
from pytest_onnxlite.text import first_line
from pytest_onnxlite.variants.variant import Outputs

__tracebackhide__ = hide_mistakes


def is_in_memory(trained: Any) -> bool:
    """Tell a model object from a path."""
    return not isinstance(trained, Path)


def is_foreign(trained: Any) -> bool:
    """Tell what can only be called from what Keras can load, save and convert."""
    return (
        trained is not None
        and is_in_memory(trained)
        and not all(hasattr(trained, name) for name in ("get_weights", "to_json"))
    )


def require_convertible(spec: ModelSpec, what: str) -> None:
    """Refuse to convert what can only be called.

    Args:
        spec: the model.
        what: what it was to become.

    Raises:
        OnnxliteError: it can only be called.
    """
    if is_foreign(spec.trained):
        raise OnnxliteError(
            f"ModelSpec({spec.name!r}): trained= is a {type(spec.trained).__name__}, which can be called but not converted to "
            f"{what} here. Export it with the tools it comes from, and give the file as onnx=."
        )


def load_foreign(
    spec: ModelSpec, x: Inputs, output_names: Callable[[], Sequence[str]]
) -> tuple[tuple[TensorInfo, ...], Callable[[Mapping[str, Array]], Outputs]]:
    """Return what a callable is fed and what runs it: a PyTorch module, a scikit-learn estimator, or any function.

    Args:
        spec: the model.
        x: samples, whose shapes and dtypes are what it takes.
        output_names: names for what it returns as a list or tuple.

    Raises:
        OnnxliteError: it cannot be called, or is a PyTorch module in training mode.
    """
    call = _caller(spec, output_names)
    named = x if isinstance(x, Mapping) else {"x": x}
    infos = tuple(TensorInfo(name, *_sample_type(array, spec.batched)) for name, array in named.items())

    def run(feeds: Mapping[str, Array]) -> Outputs:
        given = dict(feeds) if isinstance(x, Mapping) else feeds["x"]
        try:
            result = call(given)
        except Exception as error:
            raise OnnxliteError(
                f"{spec.name}: the trained model, a {type(spec.trained).__name__}, failed on the evaluation data: "
                f"{type(error).__name__}: {first_line(error)}. It is called with "
                f"{'a dict of arrays' if isinstance(x, Mapping) else 'one array'} of a whole batch."
            ) from error
        if isinstance(result, Mapping):
            return {str(name): _as_numpy(value) for name, value in result.items()}
        if isinstance(result, (list, tuple)) and len(result) > 1:
            names = output_names() or [f"output_{i}" for i in range(len(result))]
            return {name: _as_numpy(value) for name, value in zip(names, result, strict=True)}
        if isinstance(result, (list, tuple)):
            (result,) = result
        return {next(iter(output_names()), "output"): _as_numpy(result)}

    return infos, run


def _sample_type(array: Array, batched: bool) -> tuple[str, tuple[int | str, ...]]:
    sample = array[0]
    shape: tuple[int | str, ...] = tuple(sample.shape)
    if array.dtype == object:
        shape = tuple("?" for _ in shape)
    return "str" if sample.dtype.kind == "U" else sample.dtype.name, ("batch", *shape) if batched else shape


def _caller(spec: ModelSpec, output_names: Callable[[], Sequence[str]]) -> Callable[[Any], Any]:
    trained = spec.trained
    torch = sys.modules.get("torch")  # whoever has a module of it has imported it
    if torch is not None and isinstance(trained, torch.nn.Module):
        if trained.training:
            raise OnnxliteError(
                f"ModelSpec({spec.name!r}): trained= is a PyTorch module in training mode, in which dropout and batch "
                "normalization give other answers each time. Call its .eval() first."
            )

        def run_module(given: Any) -> Any:
            with torch.no_grad():
                if isinstance(given, dict):
                    return trained(**{name: torch.from_numpy(array) for name, array in given.items()})
                return trained(torch.from_numpy(given))

        return run_module
    if not callable(trained) and all(hasattr(trained, name) for name in ("predict", "predict_proba", "classes_")):
        # As skl2onnx has it: the label, then the probabilities.
        names = output_names()
        if len(names) == 2:
            return lambda given: dict(
                zip(names, (trained.predict(_texts(given)), trained.predict_proba(_texts(given))), strict=True)
            )
        return lambda given: trained.predict_proba(_texts(given))
    for method in ("predict_proba", "predict"):
        if not callable(trained) and callable(getattr(trained, method, None)):
            found: Callable[[Any], Any] = getattr(trained, method)
            return found
    return trained  # type: ignore[no-any-return]


def _texts(given: Any) -> Any:
    """Return one text for each sample as scikit-learn takes them, `(N,)`, where ONNX takes `(N, 1)`; the rest as it is."""
    is_text = isinstance(given, np.ndarray) and given.dtype.kind == "U" and given.ndim == 2 and given.shape[1] == 1
    return given[:, 0] if is_text else given


def _as_numpy(value: Any) -> Array:
    return as_texts(np.asarray(value.detach().cpu() if hasattr(value, "detach") else value))
