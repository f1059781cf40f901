"""Where the documentation says more about what a user sees: from a message to its heading on one page.

Each message has its place there, whether it prints the address or is too short to need one. Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Collection

# What every address begins with; a path in the repository until the pages have an address of their own.
PAGE = "docs/failures.md"

# A limit that fails stands under its check's name, any other verdict under its outcome.
OWN_CHECK = "a-check-of-your-own"
OUTCOMES = {
    "missing": "missing",
    "not comparable": "not-comparable",
    "inconclusive": "inconclusive",
    "not measured": "not-measured",
    "not compared": "not-compared",
}
# Of another runtime than the last release's, where that is to be red; no check has this name.
RUNTIME = "runtime"

# What is wrong with a run as a whole.
NOTHING_GUARDED = "nothing-was-guarded"
NOT_LOOKED_AT = "a-baseline-that-no-test-looked-at"
PARTIAL = "a-partial-run"
STOPPED = "a-run-that-was-stopped"
NOT_SAVED = "a-baseline-that-was-not-saved"
UNFINISHED = "a-save-that-did-not-come-to-its-end"
NOT_WRITTEN = "a-report-that-was-not-written"
PROCESSORS = "processors-that-nothing-was-counted-on"
RUN = (NOTHING_GUARDED, NOT_LOOKED_AT, PARTIAL, STOPPED, NOT_SAVED, UNFINISHED, NOT_WRITTEN, PROCESSORS)

# What keeps a run from starting.
MARKERS = "markers"
NO_RUNTIME = "no-onnx-runtime"
WORKERS = "timing-under-pytest-xdist"
START = (MARKERS, NO_RUNTIME, WORKERS)

# A mistake or fault, by the module that found it; of several that fit, the longest name counts.
NO_TOPIC = "not-measured"
SOURCES = {
    "spec": "what-a-modelspec-says",
    "variants.builder": "what-a-modelspec-says",
    "fixtures": "which-model-is-meant",
    "guard": "which-model-is-meant",
    "hooks": "which-model-is-meant",
    "lint": "a-file-that-cannot-be-read",
    "variants.external": "a-file-that-cannot-be-read",
    "variants.trained": "a-file-that-cannot-be-read",
    "runtime": "a-model-that-does-not-run",
    "variants": "a-model-that-does-not-run",
    "variants.conversion": "a-conversion-that-fails",
    "variants.tflite": "a-conversion-that-fails",
    "variants.blocks": "a-quantization-that-fails",
    "variants.float_faults": "a-quantization-that-fails",
    "variants.half": "a-quantization-that-fails",
    "variants.making": "a-quantization-that-fails",
    "variants.preparation": "a-quantization-that-fails",
    "variants.quantization": "a-quantization-that-fails",
    "variants.refusals": "a-quantization-that-fails",
    "files": "the-cache-and-temporary-files",
    "variants.cache": "the-cache-and-temporary-files",
    "workspace": "the-cache-and-temporary-files",
    "checks": "not-measured",
    "processors": "not-measured",
    "runtime.environment": "not-measured",
    "baseline": "not-comparable",
    "baseline.writing": NOT_SAVED,
    "addresses": "options",
    "settings": "options",
    "against": "options",
    "git": "options",
    "hooks.target": "options",
    "starting": "options",
    "checks.limit": MARKERS,
    "checks.quantity": MARKERS,
    "checks.accuracy.limit": MARKERS,
    "checks.outputs.limit": MARKERS,
    "markers": MARKERS,
    "declared": "declared-models",
    "declared.datafile": "a-file-that-cannot-be-read",
    "registry": "checks-and-kinds-of-your-own",
    "bundle": NOT_WRITTEN,
    "report.delivery": NOT_WRITTEN,
    "report": "commands",
    "records": "commands",
    "replay": "commands",
    "linter": "commands",
    "__main__": "commands",
}


def address(topic: str) -> str:
    """Return where a topic is written about."""
    return f"{PAGE}#{topic}"


def see(topic: str) -> str:
    """Return the sentence that sends a reader there."""
    return f"See {address(topic)}"


def told(text: str, topic: str) -> str:
    """Return what is wrong, with where to read about it."""
    return f"{text}{'' if text.endswith(('.', '!', '?')) else '.'} {see(topic)}"


def of_verdict(check: str, outcome: str, known: Collection[str]) -> str:
    """Return the topic of a red verdict.

    Args:
        check: the check's name, without a label.
        outcome: what came of it.
        known: the names of our own checks.
    """
    if outcome in OUTCOMES:
        return OUTCOMES[outcome]
    return check if check in known or check == RUNTIME else OWN_CHECK


def of_module(name: str) -> str:
    """Return the topic of what a module of this package finds wrong; empty for a module that no entry fits."""
    parts = name.split(".")
    found = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((SOURCES[part] for part in found if part in SOURCES), "")


def of_error(error: BaseException, package: str = __name__.partition(".")[0]) -> str:
    """Return the topic of a mistake or fault: that of the module which raised it."""
    trace, name = error.__traceback__, ""
    while trace is not None:
        own, _, module = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")
        name = module if own == package and module else name
        trace = trace.tb_next
    return of_module(name) or NO_TOPIC
