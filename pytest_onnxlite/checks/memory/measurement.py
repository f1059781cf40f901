"""Peaks of memory with their conditions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Peak:
    """Peak resident bytes of a child process, above what it held before the model was loaded.

    Attributes:
        load: the peak while loading.
        run: the peak while running, what loading left behind included.
        settled: whether repeated measurements agree.
        node_bytes: what ONNX Runtime itself counts as allocated by nodes in one run: exact, and blind to
            all else; None where it does not count.
        nodes: the nodes that allocate most of it, with their bytes.
    """

    load: int
    run: int
    settled: bool
    node_bytes: int | None = None
    nodes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Memory:
    """Peaks of a candidate and of a reference that was measured in the same way.

    Attributes:
        method: how the child read its peak; figures of different methods are never compared.
    """

    candidate: Peak
    reference: Peak | None
    method: str
    reference_method: str | None
    batch_size: int
    threads: int

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)
