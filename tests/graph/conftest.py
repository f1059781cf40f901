"""Profiles: a quick one for every run, a long one for a night (`--hypothesis-profile=hunt`)."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A model is built and run in each example: the first run of an operator is far slower than the next.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}

settings.register_profile("graph", max_examples=25, derandomize=True, database=None, **_COMMON)
settings.register_profile("hunt", max_examples=2000, print_blob=True, **_COMMON)


def pytest_configure(config):
    # Only where no other profile was asked for on the command line.
    if not config.getoption("--hypothesis-profile", default=None):
        settings.load_profile("graph")
