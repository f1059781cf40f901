"""A name with a label, `latency[long]`: what tells several markers of one check on one test apart. Imports nothing of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

T_co = TypeVar("T_co", covariant=True)
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:=+-]{0,63}")
# What a label may be, for a message.
LABEL_SAYS = "1 to 64 letters, digits, '_', '.', ':', '=', '+' or '-', starting with a letter or digit"
_LABELLED = re.compile(rf"([^\[\]]+)\[({LABEL.pattern})\]")


def labelled(name: str, label: str) -> str:
    """Return a name with a label; without one the name as it is."""
    return f"{name}[{label}]" if label else name


def unlabelled(name: str) -> str:
    """Return a name without its label."""
    found = _LABELLED.fullmatch(name)
    return found[1] if found else name


def label_of(name: str) -> str:
    """Return the label of a name; empty where it has none."""
    found = _LABELLED.fullmatch(name)
    return found[2] if found else ""


class ByName(Mapping[str, T_co]):
    """A table by names without labels, in which a name with a label finds what stands under the name.

    What is known of checks is kept in it, so that nobody who looks a check up has to think of labels.
    """

    def __init__(self, content: Mapping[str, T_co]) -> None:
        self._content = dict(content)

    def __getitem__(self, name: str) -> T_co:
        return self._content[unlabelled(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __repr__(self) -> str:
        return f"ByName({self._content!r})"

    def known(self, names: Iterable[str]) -> list[tuple[str, T_co]]:
        """Return those of several names that stand in it, in its order, each with what stands there."""
        return [(name, self[name]) for name in self.in_order(names) if name in self]

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Return names in its order, the one without a label first; what is not in it comes last."""
        place = {name: number for number, name in enumerate(self)}
        return sorted(set(names), key=lambda name: (place.get(unlabelled(name), len(place)), name))
