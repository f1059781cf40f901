"""A name with a label, `latency[long]`: what tells several markers of one check on one test apart. Imports nothing of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")
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


def look_up(table: Mapping[str, T], name: str) -> T | None:
    """Return what stands in a table under a name without its label; None for nothing."""
    return table.get(unlabelled(name))


def known(names: Iterable[str], table: Mapping[str, T]) -> list[tuple[str, T]]:
    """Return those names that a table knows, in its order, each with what stands there."""
    return [(name, found) for name in in_order(names, table) if (found := look_up(table, name)) is not None]


def in_order(names: Iterable[str], table: Mapping[str, object]) -> list[str]:
    """Return names in the order of a table, the one without a label first; what the table does not know comes last."""
    order = {name: number for number, name in enumerate(table)}
    return sorted(set(names), key=lambda name: (order.get(unlabelled(name), len(order)), name))
