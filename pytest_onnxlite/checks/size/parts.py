"""What the bytes of a model are, as records. Imports nothing heavy, since reports are read with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bytes:
    """The bytes of a model by kind.

    Attributes:
        int8: tensors of 8-bit integers that are read.
        floats: float tensors that are read, scales not among them.
        scales: scales and zero points.
        other: integers of other widths: biases, shapes, indices.
        unread: tensors that the file holds and nothing reads.
        notes: what exporters write next to nodes and values, and no runtime reads: source lines, stack traces.
        graph: what is left of the files: nodes, names, the model's own metadata.
        waste: bytes of files of external data that no tensor refers to; they are not counted in the size.
    """

    int8: int
    floats: int
    scales: int
    other: int
    unread: int
    notes: int
    graph: int
    waste: int

    @property
    def total(self) -> int:
        """The size that is judged."""
        return self.int8 + self.floats + self.scales + self.other + self.unread + self.notes + self.graph


@dataclass(frozen=True)
class Unread:
    """A tensor that nothing reads."""

    tensor: str
    bytes: int


@dataclass(frozen=True)
class Copy:
    """A tensor that holds the values of another, whose bytes are stored twice."""

    tensor: str
    of: str
    bytes: int
