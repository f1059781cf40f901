"""Writes docs/first-causes.md: what is broken in each seeded failure of tests/causes, what is said first, and what is not.

python benchmarks/first_causes.py
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "first-causes.md"
_HEAD = """# First causes

A reader acts on the first line. Each row below is a failure that a test puts into a real model, file or measurement: what is broken,
what the first line of the explanation must match, and what must stand nowhere, since it is not true there. Both are regular
expressions. `python benchmarks/first_causes.py` writes this page from `tests/causes`, and a test keeps it in step.
"""


def page() -> str:
    """Return the page."""
    folder = REPOSITORY / "tests" / "causes"
    for path in (folder, folder.parent):
        if str(path) not in sys.path:
            sys.path.insert(0, str(path))
    parts, count = [], 0
    for path in sorted(folder.glob("test_*_causes.py")):
        module = importlib.import_module(path.stem)
        causes = getattr(module, "CAUSES", None)
        if not causes:
            continue
        count += len(causes)
        title = (module.__doc__ or path.stem).split(":")[0].split("\n")[0].strip().rstrip(".")
        rows = "\n".join(_row(cause) for cause in causes)
        parts.append(
            f"## {title}\n\n| what is broken | what is said first | what is not said |\n|---|---|---|\n{rows}\n"
        )
    return "\n".join([_HEAD, f"{count} failures.\n", *parts])


def _row(cause: Any) -> str:
    return f"| {_plain(cause.broken)} | {_code(cause.first)} | {', '.join(map(_code, cause.never))} |"


def _plain(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    ticks = "``" if "`" in text else "`"
    return f"{ticks}{_plain(text)}{ticks}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
