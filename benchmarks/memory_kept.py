"""How memory was measured before, for `memory_study`: called in a child process, where it imports nothing that takes time."""

from __future__ import annotations

from pytest_onnxlite.runtime import peak


def measure_kept(request: peak.PeakRequest) -> peak.PeakAnswer:
    """Measure as `peak.measure` does, in a heap that keeps what is freed."""
    peak.give_back_freed_blocks = lambda: None
    return peak.measure(request)
