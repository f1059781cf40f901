"""What times the latency of a test: pytest-benchmark's fixture, if the run lets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_onnxlite.hooks.quiet import is_alone

if TYPE_CHECKING:
    from pytest_onnxlite.checks.task import Clock


def clock_of(benchmark: Any, config: pytest.Config, skips: bool) -> Clock:
    """Return what times, or why nothing does.

    Args:
        benchmark: pytest-benchmark's fixture; None if it is switched off.
        config: pytest's.
        skips: whether the run is to skip what is timed.
    """
    from pytest_onnxlite.checks.task import Clock

    if skips:
        return Clock(missing="--benchmark-skip leaves out what pytest-benchmark times. Run without it.")
    if benchmark is None:
        off = config.pluginmanager.is_blocked("benchmark")
        todo = "is switched off, {}. Run without -p no:benchmark." if off else "is not loaded, {}. Add -p benchmark."
        return Clock(missing=f"pytest-benchmark {todo.format('and it does the timing')}")
    if is_alone(config) and not config.getoption("benchmark_disable", False):
        benchmark.disabled = False  # it is wherever pytest-xdist is at work
    if not benchmark.disabled:
        return Clock(benchmark)
    if hasattr(config, "workerinput") and not is_alone(config):
        return Clock(
            missing="nothing can be timed while pytest-xdist runs other tests at the same time. Run it with -n 0."
        )
    return Clock(missing="pytest-benchmark is disabled, and it does the timing. Run without --benchmark-disable.")


def put_away(item: pytest.Item) -> None:
    """Use pytest-benchmark's fixture if nothing came to be timed: it was asked for by us, and would warn."""
    benchmark = getattr(item, "funcargs", {}).get("benchmark")
    if benchmark is not None and benchmark.stats is None:
        benchmark.disabled = True
        benchmark(lambda: None)
