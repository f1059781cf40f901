"""What `onnxlite_outputs` asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from pytest_onnxlite.checks.limit import FLAG, Argument, Limit, number, whole
from pytest_onnxlite.settings import UsageMistake
from pytest_onnxlite.text import unknown

_DECIBEL = number(-100.0, 150.0, "a number of dB from -100 to 150")
_TOLERANCE = number(0.0, 1e12, "a number from 0")
_SHARE = number(0.0, 1.0, "a number from 0 to 1 (0.01 is 1 %)")
# An output of labels that may differ where the marker does not say.
LABELS_SHARE = 0.1


@dataclass(frozen=True)
class Override:
    """What is asked of one output; None for what the marker asks of all.

    Attributes:
        output: its name.
        skip: whether it is not compared at all.
    """

    output: str
    min_sqnr: float | None = None
    atol: float | None = None
    rtol: float | None = None
    bad_share: float | None = None
    skip: bool = False


_OVERRIDES = {"min_sqnr": _DECIBEL, "atol": _TOLERANCE, "rtol": _TOLERANCE, "bad_share": _SHARE, "skip": FLAG}


@dataclass(frozen=True)
class _Overrides(Argument):
    """The rule for overrides by output name."""

    def accept(self, where: str, name: str, value: Any) -> Any:
        """Return overrides as the limit keeps them.

        Raises:
            UsageMistake: they are no mapping of mappings, or hold an unknown key or a value out of range.
        """
        if not isinstance(value, Mapping) or not all(isinstance(entry, Mapping) for entry in value.values()):
            raise UsageMistake(f"{where}: {name}={value!r}; expected {self.says}.")
        found = []
        for output, given in sorted(value.items()):
            for key, entry in given.items():
                if key not in _OVERRIDES:
                    raise UsageMistake(f"{where}: {name}[{output!r}]: {unknown('argument', key, _OVERRIDES)}")
                _OVERRIDES[key].accept(f"{where}: {name}[{output!r}]", key, entry)
            found.append(Override(str(output), **given))
        return tuple(found)


@dataclass(frozen=True)
class Tolerance:
    """What is asked of one output; see `OutputsLimit`."""

    min_sqnr: float
    min_last_sqnr: float
    atol: float
    rtol: float
    bad_share: float | None
    skip: bool = False


@dataclass(frozen=True)
class OutputsLimit(Limit):
    """`onnxlite_outputs`: every output, element by element, as what it was made from and the last release give it.

    More: docs/outputs.md.

    Attributes:
        min_sqnr: the lowest signal-to-noise ratio, in dB, that any column of any output may have.
        min_last_sqnr: the same against what the last release answered, which another training changes too.
        atol: a difference that counts as none, together with `rtol`.
        rtol: the same, as a share of the reference's value: `atol + rtol * |reference|`.
        bad_share: the largest share of elements that may differ by more than that; of labels, that may differ. None for no
            limit of numbers, and for 0.1 of labels.
        batch_size: samples per inference; the spec's where None.
        outputs: what is asked of an output by its name, instead of that; `{"skip": True}` leaves one out.
    """

    arguments: ClassVar[Mapping[str, Argument]] = {
        "min_sqnr": _DECIBEL,
        "min_last_sqnr": _DECIBEL,
        "atol": _TOLERANCE,
        "rtol": _TOLERANCE,
        "bad_share": _SHARE,
        "batch_size": whole(1),
        "outputs": _Overrides(tuple, "a mapping such as {'boxes': {'min_sqnr': 20}, 'noise': {'skip': True}}"),
    }

    min_sqnr: float = 3.0
    min_last_sqnr: float = 0.0
    atol: float = 0.0
    rtol: float = 1e-3
    bad_share: float | None = None
    batch_size: int | None = None
    outputs: tuple[Override, ...] = ()

    def of(self, output: str) -> Tolerance:
        """Return what is asked of an output."""
        own = next((override for override in self.outputs if override.output == output), Override(output))
        names = [field.name for field in fields(Tolerance) if field.name not in ("skip", "min_last_sqnr")]
        given = {name: getattr(own, name) for name in names}
        values = {name: getattr(self, name) if value is None else value for name, value in given.items()}
        return Tolerance(skip=own.skip, min_last_sqnr=self.min_last_sqnr, **values)
