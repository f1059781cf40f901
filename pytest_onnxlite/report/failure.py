"""What a failed test says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def failure_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of all red verdicts of a test; empty where there is none."""
    # Checks that fail for one reason, such as a baseline that is missing, give it once.
    checks: dict[tuple[str, str, str], list[str]] = {}
    for record in records:
        for verdict in record["verdicts"]:
            if verdict["red"]:
                key = f"{record['model']} {record['variant']}", verdict["outcome"], verdict["message"]
                checks.setdefault(key, []).append(verdict["check"])
    blocks = []
    for (name, outcome, message), names in checks.items():
        state = "" if outcome == "fail" else f" {outcome}"
        body = message.replace("\n", "\n  ")
        blocks.append(f"{name}: {', '.join(dict.fromkeys(names))}{state}\n  {body}")
    return "\n".join(blocks)


def skip_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Return why a test judged nothing; empty where it judged something."""
    verdicts = [verdict for record in records for verdict in record["verdicts"]]
    if not verdicts or any(verdict["outcome"] not in ("not compared", "not measured") for verdict in verdicts):
        return ""
    checks = ", ".join(sorted({verdict["check"] for verdict in verdicts}))
    return f"{checks} {verdicts[0]['outcome']}: {verdicts[0]['message']}"
