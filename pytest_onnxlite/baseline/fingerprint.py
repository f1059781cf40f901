"""What a machine's timings depend on, as a key under which they are stored."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from pytest_onnxlite.processors import cpuinfo, instruction_sets
from pytest_onnxlite.variants.cache import version_of


def usable_cpus() -> float:
    """Return the CPUs that this process may use, by its affinity and its control group's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    count: float = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else min(count, round(int(quota) / int(period), 2))


@lru_cache(maxsize=1)
def describe_machine() -> dict[str, Any]:
    """Return what is stored beside a machine's figures; no host name, no time."""
    model = cpuinfo().get("model name") or os.environ.get("PROCESSOR_IDENTIFIER") or platform.processor()
    return {
        "os": sys.platform,
        "architecture": platform.machine().lower(),
        "cpu": model or "unknown",
        "isa": instruction_sets(),
        "cpus": usable_cpus(),
        "onnxruntime": version_of("onnxruntime"),
        "provider": "CPUExecutionProvider",
        "optimization": "all",
    }


def fingerprint(description: dict[str, Any]) -> str:
    """Return a short key for a description: readable at its start, unique by its hash."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:12]
    return f"{description['os']}-{description['architecture']}-{description['cpus']:g}cpu-{digest}"
