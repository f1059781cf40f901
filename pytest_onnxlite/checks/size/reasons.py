"""The figures behind an explanation of size: what a report keeps, and what a page draws of it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from pytest_onnxlite.checks.blocks import Block, Compared, ComparedRow, Mark
from pytest_onnxlite.checks.size.parts import Bytes, Copy, Unread
from pytest_onnxlite.lint.float_left import FloatLeft
from pytest_onnxlite.text import size_text

_LABELS = {
    "int8": "8-bit integers",
    "floats": "float",
    "scales": "scales",
    "other": "other integers",
    "unread": "unread",
    "notes": "exporter's notes",
    "graph": "graph",
}


@dataclass(frozen=True)
class Grown:
    """A tensor that is larger than in the last release, or that was not there: 0 bytes."""

    tensor: str
    bytes: int
    previous: int

    @property
    def change(self) -> int:
        """How many bytes it grew by."""
        return self.bytes - self.previous


class SizeReasons(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the bytes are.

    Attributes:
        bytes: the file's, by kind.
        reference_bytes: those of what it is compared with; None for nothing.
        reference: what that is called.
        unread: tensors that nothing reads, the largest.
        copies: tensors that are stored twice, the largest.
        float_left: tensors that were left in float.
        excess: how many bytes are too many.
        cure: the tensors that would bring the file under the limit.
        cure_saves: how many bytes they save.
        grown: tensors that grew since the last release.
    """

    bytes: Bytes
    reference_bytes: Bytes | None = None
    reference: str = ""
    unread: tuple[Unread, ...] = ()
    copies: tuple[Copy, ...] = ()
    float_left: tuple[FloatLeft, ...] = ()
    excess: int = 0
    cure: tuple[str, ...] = ()
    cure_saves: int = 0
    grown: tuple[Grown, ...] = ()

    @property
    def kinds(self) -> list[tuple[str, int, int]]:
        """The kinds of bytes that there are: what each is called, how many, and how many in the reference."""
        before = self.reference_bytes
        found = [
            (label, getattr(self.bytes, field), getattr(before, field) if before else 0)
            for field, label in _LABELS.items()
        ]
        return [(label, now, was) for label, now, was in found if now or was]


def details(reasons: SizeReasons) -> tuple[str, ...]:
    """Return the figures as a line."""
    known = reasons.reference_bytes is not None
    parts = [
        f"{label} {size_text(now)}" + (f" ({size_text(was)})" if known else "") for label, now, was in reasons.kinds
    ]
    brackets = f" (in brackets: {reasons.reference})" if known else ""
    return (f"Bytes by kind{brackets}: {', '.join(parts)}.",)


def blocks(reasons: SizeReasons) -> list[Block]:
    """Return the kinds of bytes as bars, each marked with the reference's."""
    known = reasons.reference_bytes is not None
    most = max((max(now, was) for _, now, was in reasons.kinds), default=0) or 1
    rows = tuple(
        ComparedRow(
            label,
            size_text(now),
            now / most,
            (Mark(reasons.reference, size_text(was), was / most),) if known else (),
        )
        for label, now, was in reasons.kinds
    )
    note = f"A bar is this file's, the mark what {reasons.reference} has." if known else ""
    return [Compared("Bytes by kind", rows, note)] if rows else []
