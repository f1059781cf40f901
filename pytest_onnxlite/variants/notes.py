"""What was decided about a variant while a recipe made it, kept next to its file."""

from __future__ import annotations

from pathlib import Path

import msgspec


class RecipeNotes(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipe decided.

    Attributes:
        recipe: the recipe as code; empty where no recipe made the variant.
        weight_type: the type that weights are stored in: `int8`, `uint8`, `int4`, `float16`.
        weights: the same in words, and why.
        excluded: the nodes that stay in float on purpose.
        notes: what preparation had to go without, and what else a person should know.
    """

    recipe: str = ""
    weight_type: str = ""
    weights: str = ""
    excluded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write them as JSON."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=1))

    @classmethod
    def read(cls, path: Path) -> RecipeNotes:
        """Return those of a file; empty ones if there is none.

        Raises:
            msgspec.DecodeError: it is no JSON of notes.
        """
        return msgspec.json.decode(path.read_bytes(), type=cls) if path.exists() else cls()
