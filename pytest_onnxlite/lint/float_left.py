"""A weight that is left in float, as a record. Imports nothing heavy, since reports are read with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FloatLeft:
    """A float tensor of 1 KiB or more.

    Attributes:
        tensor: its name, with the subgraph's path.
        node: the first node that reads it.
        bytes: its size.
        reason: why it is in float.
    """

    tensor: str
    node: str
    bytes: int
    reason: str
