"""Bytes, and what they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Size:
    """Bytes of a candidate, and of the variant it was made from, where there is one.

    Attributes:
        bytes: of its file, and of the external data that it refers to.
        reference: the kind of the variant it was made from.
        reference_bytes: the same of that one.
        contents: what the bytes are: `weight_bytes` by dtype, `float_left`.
        waste: bytes of its files of external data that nothing refers to.
    """

    bytes: int
    reference: str | None
    reference_bytes: int | None
    contents: dict[str, Any]
    waste: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)
