"""Which place a project's released files are kept in."""

from __future__ import annotations

from pathlib import Path

from pytest_onnxlite.baseline.places.folder import LocalFolder
from pytest_onnxlite.baseline.places.place import Place


def place_at(where: Path | None) -> Place | None:
    """Return the place of released files; None for the folder of the baselines."""
    return None if where is None else LocalFolder(where)
