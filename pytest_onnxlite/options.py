"""The options of the plugin, on the command line and in an ini file; `settings` reads what a run was given."""

from __future__ import annotations

# What the name of every marker, fixture, option and ini value of ours begins with.
PREFIX = "onnxlite_"

# The plugin's options: name, whether it is a flag, help. Each has an ini twin of the same name.
OPTIONS: tuple[tuple[str, bool, str], ...] = (
    (
        "baseline",
        True,
        "compare the guarded models with their saved baselines; every uncertain state is a failure",
    ),
    (
        "save-baseline",
        True,
        "measure the guarded models and save them as baselines, unless they fail their limits",
    ),
    (
        "accept",
        True,
        "with --onnxlite-save-baseline: save a candidate although it is worse than its baseline",
    ),
    (
        "accept-only",
        False,
        "as --onnxlite-accept, for these checks alone: latency,size; any other limit that is broken stays red",
    ),
    ("reason", False, "with either: why it is accepted, one line; kept in the baseline with what was overridden"),
    (
        "complete",
        True,
        "with --onnxlite-baseline or --onnxlite-save-baseline: fail unless every baseline and every guarded test is looked "
        "at, whatever narrows the run; for CI",
    ),
    (
        "against",
        False,
        "with --onnxlite-baseline: compare with the baselines and released files of a git ref (origin/main; REF:FOLDER where "
        "they are in another folder), or with those that were saved in a folder of another checkout",
    ),
    ("baseline-dir", False, "folder of the baselines (default: baselines, below the root directory)"),
    ("cache", False, "off: keep nothing of what is built for the next run (default: on)"),
    ("cache-dir", False, "folder for converted and quantized models (default: in pytest's cache folder)"),
    ("report", False, "write everything that was measured and decided to this JSON file"),
    ("explain", True, "explain every verdict, not failures alone"),
    ("explain-time", False, "seconds that explaining one failed limit may take (default: 60; 0: explain nothing)"),
    ("suggest", True, "where the INT8 variant fails: search for a recipe that passes every limit of the test"),
    ("suggest-time", False, "seconds that such a search may take (default: 300)"),
    (
        "runtime",
        False,
        "run every model as [tool.onnxlite.runtimes.NAME] of pyproject.toml says; its baselines are in a folder of their own, "
        "@NAME in that of the baselines",
    ),
    (
        "processors",
        False,
        "count the accuracy of ONNX variants on these processors too, emulated where this is another: avx2,sse4,vnni",
    ),
    (
        "last-runtime",
        False,
        'for runtime="last": a virtual environment or a pip --target folder with the last release\'s runtime; auto: let pip '
        "install it into the cache",
    ),
    ("processor-time", False, "seconds that counting on one processor may take (default: 120)"),
    ("html", False, "write it as one self-contained HTML page (needs jinja2: the extra `html`)"),
    ("markdown", False, "write it as Markdown; a GitHub job summary gets it without being asked"),
    ("sarif", False, "write what is wrong as SARIF, which code scanning reads"),
    ("code-quality", False, "write what is wrong as GitLab's code quality report"),
    (
        "model-card",
        False,
        "write what was judged into this model card, such as README.md, between two marks; the rest of it stays (needs pyyaml: "
        "the extra `card`)",
    ),
    ("bundle", False, "for each failed test write a folder that replays it elsewhere: files, failing inputs, baseline"),
    ("bundle-data", True, "with --onnxlite-bundle: put the whole evaluation data into the folder"),
)
# What the options that are no flags take; a folder if nothing is said.
METAVARS = {
    "accept-only": "NAMES",
    "reason": "TEXT",
    "report": "FILE.json",
    "html": "FILE.html",
    "markdown": "FILE.md",
    "sarif": "FILE.sarif",
    "code-quality": "FILE.json",
    "model-card": "FILE.md",
    "cache": "on|off",
    "explain-time": "SECONDS",
    "suggest-time": "SECONDS",
    "processors": "NAMES",
    "processor-time": "SECONDS",
    "last-runtime": "DIR|auto",
    "against": "REF|DIR",
    "runtime": "NAME",
}
# What is a project's habit and not a run's: name, help, default.
INI_ONLY: tuple[tuple[str, str, str | bool], ...] = (
    ("artefact_dir", "folder, or address such as s3://bucket/folder, of artefacts apart from their baselines", ""),
    ("artefact_time", "seconds in which nothing may be heard of the server with the artefacts (default: 60)", "60"),
    ("keep_artefact", "false: do not keep the artefact with a saved baseline (default: true)", True),
    ("inference_time", "seconds that one inference may take before it is ended (default: 600)", "600"),
    ("runtime_change", "fail: a runtime that is not the last release's is red; report: it is said (default)", "report"),
    ("cache_size", "MiB that the cache may take; what was not used for the longest goes (default: 4096)", "4096"),
)


def ini_name(name: str) -> str:
    """Return the name of an option's ini twin, under which pytest's config has what was typed too."""
    return f"{PREFIX}{name.replace('-', '_')}"


# What the ini file says where it says nothing, by the name there.
INI_DEFAULTS: dict[str, str | bool] = {
    **{ini_name(name): False if is_flag else "" for name, is_flag, _ in OPTIONS},
    **{ini_name(name): default for name, _, default in INI_ONLY},
}
