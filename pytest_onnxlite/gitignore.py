"""Which saved files git would leave out of a commit; asked of git itself, which knows every ignore file there is."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

# Git answers at once; whatever keeps it, such as a network drive, is not waited for.
_SECONDS = 10.0
# Files that a remark names.
_MOST_NAMED = 3


def ignored(folder: Path, names: Sequence[str], seconds: float = _SECONDS) -> list[tuple[str, str]]:
    """Return the files that git ignores, each with the rule: `.gitignore:3: *.onnx`.

    Nothing where git is absent, or does not answer in time, and for what is in no work tree. A file that is tracked already
    is not ignored, whatever the rules say.

    Args:
        folder: the folder that git is asked in.
        names: paths below it.
        seconds: how long it may take.
    """
    answers = _ask(folder, names, seconds)
    # A rule that begins so takes a file out again.
    return [(name, f"{source}:{line}: {rule}") for source, line, rule, name in answers if not rule.startswith("!")]


def _ask(folder: Path, names: Sequence[str], seconds: float) -> list[tuple[str, str, str, str]]:
    """Return for each name with a rule: the rule's file, its line, the rule, and the name."""
    try:
        done = subprocess.run(
            ["git", "check-ignore", "-v", "-z", "--stdin"],
            input="\0".join(names).encode(),
            capture_output=True,
            cwd=folder,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode != 0:
        return []
    parts = done.stdout.decode(errors="replace").split("\0")[:-1]
    return [(parts[i], parts[i + 1], parts[i + 2], parts[i + 3]) for i in range(0, len(parts) - 3, 4)]


def remark(folder: Path, names: Sequence[str]) -> str:
    """Say which saved files git hides, by which rule; empty if it hides none."""
    found = ignored(folder, names)
    if not found:
        return ""
    named = "; ".join(f"{name} ({rule})" for name, rule in found[:_MOST_NAMED])
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return (
        f"git ignores what was saved in {folder}, and a commit would leave it out: {named}{more}. Take the files out of the rule "
        "(a later line such as !baselines/**), or add them with: git add -f. To keep the models elsewhere on purpose, set "
        "onnxlite_artefact_dir."
    )
