"""The fixtures. What is heavy is imported when one of them is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from pytest_onnxlite.guard import Guardian
    from pytest_onnxlite.variants.variant import Variant

GUARDIAN = pytest.StashKey[Any]()


def _variant(request: pytest.FixtureRequest, spec: object, kind: str) -> Variant:
    from pytest_onnxlite.errors import OnnxliteError

    guardian: Guardian = request.config.stash[GUARDIAN]()
    try:
        return guardian.variant(spec, kind)
    except OnnxliteError as error:
        text = str(error)
    # Outside of the handler: pytest would show both exceptions.
    fail(text)


def fail(text: str) -> NoReturn:
    """End a test with a text for people, and no traceback through our code."""
    __tracebackhide__ = True
    pytest.fail(text, pytrace=False)


@pytest.fixture(scope="session")
def onnxlite_model() -> Any:
    """The model to guard: override this in conftest.py and return a `pytest_onnxlite.ModelSpec`."""
    fail(
        "no model is declared: a test asks for an onnxlite variant, and the fixture onnxlite_model is not overridden. "
        'Define it in conftest.py with @pytest.fixture(scope="session"), returning '
        'ModelSpec("name", trained="model.keras", evaluation=Dataset(x, y)).'
    )


@pytest.fixture(scope="session")
def onnxlite_trained(request: pytest.FixtureRequest, onnxlite_model: Any) -> Variant:
    """The trained model, as Keras runs it."""
    return _variant(request, onnxlite_model, "trained")


@pytest.fixture(scope="session")
def onnxlite_onnx(request: pytest.FixtureRequest, onnxlite_model: Any) -> Variant:
    """The float ONNX model: the spec's file, or converted from the trained model."""
    return _variant(request, onnxlite_model, "onnx")


@pytest.fixture(scope="session")
def onnxlite_int8(request: pytest.FixtureRequest, onnxlite_model: Any) -> Variant:
    """The INT8 ONNX model: the spec's file, or quantized from the float one by the spec's recipe."""
    return _variant(request, onnxlite_model, "int8")
