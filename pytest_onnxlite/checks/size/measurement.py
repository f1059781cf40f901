"""Bytes, and what they are; what a baseline keeps of them, and a verdict's evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from pytest_onnxlite.baseline.record import Positive


@dataclass(frozen=True)
class LeftInFloat:
    """A weight of 1 KiB or more that is in float: its tensor, its bytes, the node that reads it, and why."""

    tensor: str
    node: str
    bytes: int
    reason: str


@dataclass(frozen=True)
class Contents:
    """What the bytes of an ONNX file are: of its weights by dtype, and what is left in float."""

    weight_bytes: Mapping[str, int] = field(default_factory=dict)
    float_left: tuple[LeftInFloat, ...] = ()


@dataclass(frozen=True)
class Size:
    """Bytes of a candidate, and of the variant it was made from, if there is one.

    Attributes:
        bytes: of its file, and of the external data that it refers to.
        reference: the kind of the variant it was made from.
        reference_bytes: the same of that one.
        contents: what the bytes are.
        waste: bytes of its files of external data that nothing refers to.
        reach: the bytes that quantization can bring it to, where that is known.
    """

    bytes: int
    reference: str | None
    reference_bytes: int | None
    contents: Contents = Contents()
    waste: int = 0
    reach: int | None = None


class SizeSection(msgspec.Struct, frozen=True):
    """What a baseline keeps: the bytes of the last release, or of the first."""

    bytes: Positive


class SizeEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The numbers behind a verdict.

    Attributes:
        bytes: the candidate's.
        ratio: its share of the bytes of what it was made from.
        most: the share that is allowed.
        reach: the share that quantization can bring it to.
        saved: the last release's bytes.
        growth: how much larger the candidate is, relatively.
        first: the first release's bytes.
        budget: the bytes that the marker allows.
    """

    bytes: int
    ratio: float | None = None
    most: float | None = None
    reach: float | None = None
    saved: int | None = None
    growth: float | None = None
    first: int | None = None
    budget: int | None = None
