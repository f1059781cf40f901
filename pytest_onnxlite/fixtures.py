"""The fixtures. What is heavy is imported when one of them is first asked for."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_onnxlite.kinds import CHOSEN, KINDS, PARAMETRIZE, Kind
from pytest_onnxlite.options import PREFIX
from pytest_onnxlite.stash import SETTINGS, or_fail, own_of, refusal, registry_of

if TYPE_CHECKING:
    from pytest_onnxlite.hooks.session import GuardSession
    from pytest_onnxlite.settings import Settings
    from pytest_onnxlite.variants.variant import Variant

_SESSION: pytest.StashKey[GuardSession] = pytest.StashKey()


def settings_of(config: pytest.Config) -> Settings:
    """Return what the user asked of the run; read when first asked for.

    Raises:
        UsageError: options that contradict each other.
    """
    if SETTINGS not in config.stash:
        from pytest_onnxlite.settings import Settings, UsageMistake

        try:
            settings = Settings.from_config(config)
            if settings.against:
                from pytest_onnxlite.hooks.target import settled

                settings = settled(settings, config)
            if settings.accept_only:
                settings.require_known(registry_of(config).checks)
        except UsageMistake as error:
            raise refusal(error) from None
        config.stash[SETTINGS] = settings
    return config.stash[SETTINGS]


def session_of(config: pytest.Config) -> GuardSession:
    """Return what guards this run; made when first asked for, and from then on called by pytest's hooks."""
    if _SESSION not in config.stash:
        from pytest_onnxlite.hooks.overrides import Overrides
        from pytest_onnxlite.hooks.session import GuardSession

        config.stash[_SESSION] = GuardSession(config, settings_of(config))
        # Without a name: one could be given to -p no:, and a guard would pass without having looked.
        config.pluginmanager.register(config.stash[_SESSION])
        config.pluginmanager.register(
            Overrides([*VARIANT_FIXTURES, *(f"{PREFIX}{kind.name}" for kind in own_of(config).kinds)])
        )
    return config.stash[_SESSION]


def _variant(request: pytest.FixtureRequest, spec: object, kind: str) -> Variant:
    guardian = session_of(request.config).guardian()
    return or_fail(lambda: guardian.variant(spec, kind))


@pytest.fixture(scope="session")
def onnxlite_model() -> Any:
    """The model to guard: override this in conftest.py and return a `pytest_onnxlite.ModelSpec`."""
    from pytest_onnxlite.topics import of_module, see

    pytest.fail(
        "no model is declared: a test asks for an onnxlite variant, and the fixture onnxlite_model is not overridden. "
        'Define it in conftest.py with @pytest.fixture(scope="session"), returning '
        f'ModelSpec("name", trained="model.keras", evaluation=Dataset(x, y)). {see(of_module("fixtures"))}',
        pytrace=False,
    )


def variant_fixture(kind: Kind) -> Any:
    """Return the fixture of a kind of variant."""

    def build(request: pytest.FixtureRequest, onnxlite_model: Any) -> Variant:
        return _variant(request, onnxlite_model, kind.name)

    build.__doc__ = kind.says
    return pytest.fixture(scope="session", name=f"{PREFIX}{kind.name}")(build)


@pytest.fixture(scope="session")
def onnxlite_variant(request: pytest.FixtureRequest, onnxlite_model: Any) -> Variant:
    """The variant that the test names: @pytest.mark.parametrize("onnxlite_variant", ["fp16"], indirect=True)."""
    name = getattr(request, "param", None)
    if not isinstance(name, str):
        pytest.fail(f"onnxlite_variant is given {name!r}. {PARAMETRIZE}", pytrace=False)
    return _variant(request, onnxlite_model, name)


VARIANT_FIXTURES = {
    **{f"{PREFIX}{kind.name}": variant_fixture(kind) for kind in KINDS.values()},
    f"{PREFIX}{CHOSEN}": onnxlite_variant,
}


def own_fixtures(kinds: Iterable[Kind]) -> ModuleType:
    """Return a plugin with a fixture for each kind of a project's own."""
    plugin = ModuleType("onnxlite_kinds")  # pytest looks for fixtures in modules and classes alone
    vars(plugin).update({f"{PREFIX}{kind.name}": variant_fixture(kind) for kind in kinds})
    return plugin
