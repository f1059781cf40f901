"""The fixtures. What is heavy is imported when one of them is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from pytest_onnxlite.declared import DeclaredFile
    from pytest_onnxlite.markers import Guard
    from pytest_onnxlite.session import GuardSession
    from pytest_onnxlite.variants.variant import Variant

Result = TypeVar("Result")

# On pytest's config: the models that pyproject.toml declares, where it declares any.
DECLARED: pytest.StashKey[DeclaredFile] = pytest.StashKey()
_SESSION: pytest.StashKey[GuardSession] = pytest.StashKey()
# On a test: the limits it is judged by.
GUARD: pytest.StashKey[Guard] = pytest.StashKey()


def session_of(config: pytest.Config) -> GuardSession:
    """Return what guards this run; made when first asked for, and from then on called by pytest's hooks."""
    if _SESSION not in config.stash:
        from pytest_onnxlite.session import GuardSession

        config.stash[_SESSION] = GuardSession(config)
        # Without a name: one could be given to -p no:, and a guard would pass without having looked.
        config.pluginmanager.register(config.stash[_SESSION])
    return config.stash[_SESSION]


def or_fail(call: Callable[[], Result]) -> Result:
    """Return what a call returns; a user's mistake ends the test with its text, without our traceback."""
    from pytest_onnxlite.errors import OnnxliteError

    __tracebackhide__ = True
    try:
        return call()
    except OnnxliteError as error:
        text = str(error)
    # Outside of the handler: pytest would show both exceptions.
    raise pytest.fail.Exception(text, pytrace=False)


def _variant(request: pytest.FixtureRequest, spec: object, kind: str) -> Variant:
    guardian = session_of(request.config).guardian()
    return or_fail(lambda: guardian.variant(spec, kind))


@pytest.fixture(scope="session")
def onnxlite_model() -> Any:
    """The model to guard: override this in conftest.py and return a `pytest_onnxlite.ModelSpec`."""
    pytest.fail(
        "no model is declared: a test asks for an onnxlite variant, and the fixture onnxlite_model is not overridden. "
        'Define it in conftest.py with @pytest.fixture(scope="session"), returning '
        'ModelSpec("name", trained="model.keras", evaluation=Dataset(x, y)).',
        pytrace=False,
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


@pytest.fixture(scope="session")
def onnxlite_tflite(request: pytest.FixtureRequest, onnxlite_model: Any) -> Variant:
    """The float TFLite model, converted from the trained model."""
    return _variant(request, onnxlite_model, "tflite")


@pytest.fixture(scope="session")
def onnxlite_tflite_int8(request: pytest.FixtureRequest, onnxlite_model: Any) -> Variant:
    """The INT8 TFLite model, converted from the trained model; calibrated where the spec has calibration data."""
    return _variant(request, onnxlite_model, "tflite_int8")
