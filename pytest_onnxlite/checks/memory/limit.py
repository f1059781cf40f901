"""What `onnxlite_memory` asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_onnxlite.checks.limit import GROWTH, Limit, whole
from pytest_onnxlite.settings import RUNTIME_KINDS

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class MemoryLimit(Limit):
    """`onnxlite_memory`: peak memory of loading and of running, against the previous release's artefact.

    Attributes:
        max_growth: how much more it may need, relatively.
        batch_size: samples per inference; the spec's where None.
        threads: intra-op threads; the spec's where None.
    """

    check = "memory"
    kinds: ClassVar[tuple[str, ...]] = RUNTIME_KINDS
    rules: ClassVar[dict[str, Any]] = {"max_growth": GROWTH, "batch_size": whole(1), "threads": whole(1)}

    max_growth: float = 0.05
    batch_size: int | None = None
    threads: int | None = None
