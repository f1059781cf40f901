"""The course of the saved baselines, from the git history of their folder."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_onnxlite.baseline.record import Baseline, BrokenBaseline, parse
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.report.marks import accuracy_of

# Git's own separators could stand in a file's name; these cannot.
_COMMIT = "\x01"


def history(folder: Path) -> list[dict[str, Any]]:
    """Return for each model and variant what every commit of its baseline saved, oldest first.

    Args:
        folder: the folder of the baselines, in a git repository.

    Returns:
        `model`, `variant`, `releases` (each `commit`, `date`, `figures`, `data_sha256`), and `broken`, a text for each commit
        whose file cannot be read. Latency and memory are factors since the first accepted release, as each save
        multiplied them up: unlike seconds they can be compared from machine to machine.

    Raises:
        OnnxliteError: no git, no repository, or no commit that has baselines.
    """
    if not folder.is_dir():
        raise OnnxliteError(f"--history: there is no folder {folder}. Name the folder of the baselines.")
    log = _git(folder, "log", "--reverse", f"--format={_COMMIT}%H %cs", "--name-only", "--relative", "-z", "--", ".")
    series: dict[tuple[str, str], dict[str, Any]] = {}
    for commit, date, names in _commits(log):
        for name in names:
            parts = Path(name).parts
            if len(parts) != 2 or not name.endswith(".json"):
                continue
            model, variant = parts[0], Path(name).stem
            entry = series.setdefault(
                (model, variant), {"model": model, "variant": variant, "releases": [], "broken": []}
            )
            text = _show(folder, commit, name)
            if text is None:
                continue  # deleted there
            try:
                baseline = parse(json.loads(text), model, variant, f"{name} at {commit[:10]}")
                figures = _figures(baseline)
            except (ValueError, BrokenBaseline) as error:
                reason = str(error) if isinstance(error, BrokenBaseline) else f"{name} at {commit[:10]} is not JSON"
                entry["broken"].append(reason)
                continue
            data = baseline.accuracy["data_sha256"] if baseline.accuracy else None
            entry["releases"].append({"commit": commit, "date": date, "figures": figures, "data_sha256": data})
    if not series:
        raise OnnxliteError(
            f"--history: no commit of the repository has a baseline in {folder}. Save one with: "
            "pytest --onnxlite-save-baseline, and commit it. A shallow clone has no history: fetch it (fetch-depth: 0)."
        )
    return [series[key] for key in sorted(series)]


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except OSError as error:
        raise OnnxliteError(f"--history: git cannot be run: {error.strerror or error}.") from None
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise OnnxliteError(f"--history: git cannot read the history of {folder}: {reason[0]}")
    return done.stdout


def _commits(log: str) -> list[tuple[str, str, list[str]]]:
    found = []
    for block in log.split(_COMMIT)[1:]:
        head, *names = block.split("\0")
        commit, date = head.split()
        found.append((commit, date, [name.strip("\n") for name in names if name.strip("\n")]))
    return found


def _show(folder: Path, commit: str, name: str) -> str | None:
    """Return a file as a commit has it; None where it has none, because it deleted it."""
    try:
        return _git(folder, "show", f"{commit}:./{name}")
    except OnnxliteError:
        return None


def _figures(baseline: Baseline) -> Mapping[str, float]:
    figures: dict[str, float] = {}
    if baseline.accuracy:
        figures["accuracy" if "correct" in baseline.accuracy else "score"] = accuracy_of(baseline.accuracy)[0]
    if baseline.size:
        figures["size"] = baseline.size["bytes"]
    for check in ("latency", "memory"):
        ratio = baseline.first.get(f"{check}_ratio")
        if isinstance(ratio, (int, float)):
            figures[check] = float(ratio)
    return figures
