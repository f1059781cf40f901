"""Which saved files git would leave out of a commit, and which are too large for it; asked of git, which knows its own rules."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from pytest_onnxlite import commands
from pytest_onnxlite.text import size_text

# Git answers at once; whatever keeps it, such as a network drive, is not waited for.
_SECONDS = 10.0
# GitHub warns of a larger file, and refuses one that is twice as large; git keeps all releases for ever.
_MOST_BYTES = 50 << 20
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
    parts = _answers(folder, ["check-ignore", "-v", "-z", "--stdin"], names, seconds)
    return [(parts[i], parts[i + 1], parts[i + 2], parts[i + 3]) for i in range(0, len(parts) - 3, 4)]


def _answers(folder: Path, command: Sequence[str], names: Sequence[str], seconds: float) -> list[str]:
    """Return the fields that git answers of files; none where it is absent, says no, or does not answer in time."""
    try:
        done = subprocess.run(
            ["git", *command],
            input="\0".join(names).encode(),
            capture_output=True,
            cwd=folder,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.decode(errors="replace").split("\0")[:-1] if done.returncode == 0 else []


def without_lfs(folder: Path, names: Sequence[str], most: int = _MOST_BYTES, seconds: float = _SECONDS) -> list[str]:
    """Return the files of more than so many bytes that a commit would put into git itself: no rule of Git LFS covers them.

    Nothing where git is absent, and for what is in no work tree, or is ignored.

    Args:
        folder: the folder that git is asked in.
        names: paths below it.
        most: bytes that a file may have.
        seconds: how long git may take each time.
    """
    large = [name for name in names if (folder / name).stat().st_size > most]
    if not large:
        return []
    parts = _answers(folder, ["check-attr", "-z", "--stdin", "filter"], large, seconds)
    filters = {parts[i]: parts[i + 2] for i in range(0, len(parts) - 2, 3)}
    hidden = {name for name, _ in ignored(folder, large, seconds)}
    return [name for name in large if name in filters and filters[name] != "lfs" and name not in hidden]


def remark_large(folder: Path, names: Sequence[str], most: int = _MOST_BYTES) -> str:
    """Say which saved files are too large for git, and what to do; empty if none is."""
    found = without_lfs(folder, names, most)
    if not found:
        return ""
    named = "; ".join(f"{name} ({size_text((folder / name).stat().st_size)})" for name in found[:_MOST_NAMED])
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    endings = [f"*{ending}" for ending in sorted({Path(name).suffix for name in found} - {""})]
    return (
        f"what was saved in {folder} is larger than {size_text(most)}, and no rule of Git LFS covers it: {named}{more}. Git keeps "
        f"every release for ever, and GitHub refuses a file of more than 100 MiB. Before the commit: "
        f"{commands.track(endings or found[:1])}; or keep released files elsewhere, with onnxlite_artefact_dir."
    )


def remark(folder: Path, names: Sequence[str]) -> str:
    """Say which saved files git hides, by which rule; empty if it hides none."""
    found = ignored(folder, names)
    if not found:
        return ""
    named = "; ".join(f"{name} ({rule})" for name, rule in found[:_MOST_NAMED])
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return (
        f"git ignores what was saved in {folder}, and a commit would leave it out: {named}{more}. Take the files out of the rule "
        f"(a later line such as !baselines/**), or add them with: {commands.add_ignored(folder)}. To keep "
        "the models elsewhere on purpose, set onnxlite_artefact_dir."
    )
