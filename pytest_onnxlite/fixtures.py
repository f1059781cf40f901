"""The fixtures. What is heavy is imported when one of them is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pytest_onnxlite.kinds import KINDS, Kind
from pytest_onnxlite.settings import PREFIX, UsageMistake

if TYPE_CHECKING:
    from pytest_onnxlite.declared import DeclaredFile
    from pytest_onnxlite.markers import Guard
    from pytest_onnxlite.registry import Registry
    from pytest_onnxlite.session import GuardSession
    from pytest_onnxlite.variants.variant import Variant

Result = TypeVar("Result")

# On pytest's config: the models that pyproject.toml declares, where it declares any.
DECLARED: pytest.StashKey[DeclaredFile] = pytest.StashKey()
_OWN: pytest.StashKey[Own] = pytest.StashKey()
_REGISTRY: pytest.StashKey[Registry] = pytest.StashKey()
_SESSION: pytest.StashKey[GuardSession] = pytest.StashKey()
# On a test: the limits it is judged by.
GUARD: pytest.StashKey[Guard] = pytest.StashKey()


class Own:
    """The checks and kinds that a project adds."""

    def __init__(self, checks: list[Any], kinds: list[Any]) -> None:
        self.checks = checks
        self.kinds = kinds

    def fixtures(self) -> object:
        """Return a plugin with a fixture for each kind of the project's own."""
        plugin = ModuleType("onnxlite_kinds")  # pytest looks for fixtures in modules and classes alone
        vars(plugin).update({f"{PREFIX}{kind.name}": variant_fixture(kind) for kind in self.kinds})
        return plugin


def own_of(config: pytest.Config) -> Own:
    """Return what a project's conftest.py files add, by the hooks `pytest_onnxlite_checks` and `pytest_onnxlite_kinds`."""
    if _OWN not in config.stash:
        hooks = config.hook.pytest_onnxlite_checks, config.hook.pytest_onnxlite_kinds
        config.stash[_OWN] = Own(*([one for found in hook() for one in found or ()] for hook in hooks))
    return config.stash[_OWN]


def registry_of(config: pytest.Config) -> Registry:
    """Return the checks and kinds of this run.

    Raises:
        UsageError: one that a project adds cannot be used.
    """
    if _REGISTRY not in config.stash:
        from pytest_onnxlite.registry import Registry

        own = own_of(config)
        try:
            config.stash[_REGISTRY] = Registry.load(own.checks, own.kinds)
        except UsageMistake as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[_REGISTRY]


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


def variant_fixture(kind: Kind) -> Any:
    """Return the fixture of a kind of variant."""

    def build(request: pytest.FixtureRequest, onnxlite_model: Any) -> Variant:
        return _variant(request, onnxlite_model, kind.name)

    build.__doc__ = kind.says
    return pytest.fixture(scope="session", name=f"{PREFIX}{kind.name}")(build)


VARIANT_FIXTURES = {f"{PREFIX}{kind.name}": variant_fixture(kind) for kind in KINDS.values()}
