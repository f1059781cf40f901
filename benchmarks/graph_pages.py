"""Write the pages of docs/ that are made from the checks and their tests.

    python benchmarks/graph_pages.py

`docs/graph-checks.md` has each rule with an example that a test breaks it by, which `onnxlite explain` prints too;
`docs/graph-mutations.md` says which tool sees which fault. Tests compare them with what this script would write.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "graph"))

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from float_mutations import (  # noqa: E402
    FLOAT_MUTATIONS,
    SCOPES,
    STORAGES,
    FloatMutation,
    candidate,
    source,
    stored_as,
)
from graph_cases import CASES  # noqa: E402
from graph_models import convnet  # noqa: E402
from graph_mutations import MUTATIONS, sound  # noqa: E402
from graph_running import quiet, session  # noqa: E402

from pytest_onnxlite.lint import RULES, check_graph  # noqa: E402

FAMILIES = {
    "1": "Structure",
    "2": "Inputs and outputs",
    "3": "Quantization parameters",
    "4": "The dynamic pattern",
    "5": "The QDQ pattern",
    "6": "Coverage and size",
    "7": "Likeness to the float model",
    "8": "The whole graph next to the float model's",
    "9": "The call itself",
}
_CHECKS_HEAD = """# What the graph checks look at

`check_graph` judges an ONNX model and returns findings; a sound model has none.

```python
from pytest_onnxlite.lint import check_graph

for finding in check_graph("model.int8.onnx", "model.onnx"):
    print(finding)
```

Each rule has a code that stays the same from release to release. Silence one with `ignore=["OLX611"]`; a code
that matches no finding is a finding itself, so that no exception outlives its reason. Nodes left in float on
purpose are named in `excluded=`, by name, glob or operator.

An **error** is a graph that is wrong, or not what it claims to be. A **warning** works, with a loss or not
everywhere. Subgraphs, functions and external data are looked at like the rest; a finding in a branch is
reported with its path, as in `If_3/then_branch/MatMul_1`. Weights are read one by one. Without a float model,
what needs one is not asked: metadata and signature, likeness, size.

With a float model the whole graph is compared, from the outputs backwards: operators, attributes, wiring, constants, inputs and
outputs, through branches, loops and local functions. Quantization is undone first, in whatever form it is written, and both models
are brought into one form, so that what ONNX Runtime's preparation changes is no difference: constants computed beforehand,
BatchNormalization in the weights of a Conv, Gemm for MatMul and Add, Transposes moved, functions written out. Weights are found by
what they feed, whatever they are called. What cannot be compared, because an optimizer has made one node of several, is counted and
named (`OLX808`, `OLX809`).

Operators of other domains keep what they compute with where no check looks: trees, linear models and scalers of `ai.onnx.ml` in attributes,
custom operators in a library. Their graph is checked as any other: the format, the names, what is written of inputs and outputs, operators since the last
release. The figure says what was not looked into: `sound, nothing to compare: Scaler, TreeEnsembleClassifier, ZipMap` if there is nothing else
in the model, `sound, not looked into: NegPos` if there is. Accuracy and outputs judge what they answer.

What that costs, as `python benchmarks/graph_time.py` printed it (onnx 1.23.2, ONNX Runtime 1.32.0, AMD EPYC):

| model | read by | processor time | memory beyond the interpreter's |
|---|---|---|---|
| INT8, 100 MiB | check_graph, all checks | 0.20 s | 200 MiB |
| INT8, 100 MiB | onnx.checker, full_check=True | 0.15 s | 200 MiB |
| INT8, 100 MiB | ONNX Runtime, a session | 0.25 s | 141 MiB |
| INT8 with its float model, 140 MiB | check_graph, all checks | 0.29 s | 258 MiB |
| INT8 with its float model, 140 MiB | onnx.checker, full_check=True | 0.22 s | 231 MiB |
| INT8 with its float model, 140 MiB | ONNX Runtime, a session | 0.40 s | 192 MiB |

Of a graph of many small nodes the memory goes by its nodes, and not by its bytes: a node of 35 bytes in the file takes 380 as `onnx.load` holds
it, and 1,500 more as onnx-ir does. The checks add little to that. With weights, it is about twice the file (`--nodes`, on a busy machine):

| model | onnx.load | onnx.checker, full_check=True | check_graph, all checks |
|---|---|---|---|
| a chain of 100,000 nodes, 3.3 MiB | 38 MiB | 102 MiB | 198 MiB (60 times the file), 4.8 s |
| 100,000 nodes of QDQ layers, 40,000 initializers, 7.3 MiB | 54 MiB | 149 MiB | 370 MiB (51 times), 13 s |
| 50,000 sums, 50,000 initializers of 8 floats, 4.2 MiB | 34 MiB | 98 MiB | 196 MiB (47 times), 4.4 s |
| 20,000 sums, 20,000 initializers of 1,000 floats, 77 MiB | 173 MiB | 169 MiB | 173 MiB (2.2 times), 2.0 s |

The examples are what the checks say about models that this project's tests break.
"""
_TABLE_HEAD = """# Which tool sees which fault

Small INT8 models, each broken in one place, given to `onnx.checker`, to the same with `full_check`, to
ONNX Runtime for loading and for one run, to onnx-doctor with its rules for ONNX Runtime (`onnx-doctor check --ort`), and to
`check_graph` along with the float model. A cross means that the tool refused the model. Codes are those of what a tool finds in the
broken model and not in the sound one; of `check_graph` it is the finding meant for the fault. onnx-doctor looks at the broken
model alone, as the checker does: what only a comparison with the float model tells it cannot see.

`python benchmarks/graph_pages.py` writes this page; a test checks that it is still true with the versions
installed.
"""

_FLOAT_HEAD = """
## What stays in float

INT8 models that are broken in what no quantizer touches: each change in the main graph, in a branch of `If`, in the body of
`Loop` and in a local function, with the tensors in the file and in files next to it. A code stands where it was found with both.
"""
PLACES = {"main": "the main graph", "If": "a branch", "Loop": "a loop", "function": "a function"}


def examples() -> dict[str, str]:
    """Return what is said about a model that breaks a rule, by the rule's code."""
    found = {}
    for code in sorted(RULES):
        with tempfile.TemporaryDirectory() as folder, quiet():
            finding = next(f for f in CASES[code](Path(folder)) if f.code == code)
        found[code] = f"{finding.where}: expected {finding.expected}, found {finding.found}"
    return found


def checks_page(found: dict[str, str]) -> str:
    """Return docs/graph-checks.md, with these examples."""
    parts = [_CHECKS_HEAD]
    family = ""
    for code, rule in sorted(RULES.items()):
        if code[3] != family:
            family = code[3]
            parts.append(f"\n## {FAMILIES[family]}\n")
        parts.append(f"\n### {code}: {rule.title}\n\n{_sentence(rule.severity)} {_sentence(rule.why)}\n")
        parts.append(f"\n```text\n{found[code]}\n```\n\nWhat to do: {rule.hint}.\n")
    return "".join(parts)


def mutations_page() -> str:
    """Return docs/graph-mutations.md."""
    head = ["model", "fault", "checker", "full check", "load", "run", "onnx-doctor", "check_graph"]
    rows = []
    seen = [0] * 5
    before = {form: _doctor(sound(form)) for form in ("static", "dynamic")}
    for mutation in MUTATIONS:
        mutant = mutation.mutant()
        marks = [_refuses(judge, mutant) for judge in (_check, _check_fully, session, _run)]
        doctor = _doctor(mutant) - before[mutation.form]
        seen = [count + mark for count, mark in zip(seen, [*marks, bool(doctor)], strict=True)]
        codes = {finding.code for finding in check_graph(mutant, convnet())}
        ours = f"{mutation.code}" if mutation.code in codes else ""
        rows.append([mutation.form, mutation.name, *("×" if mark else "" for mark in marks), _listed(doctor), ours])
    total = len(MUTATIONS)
    rows.append(["", f"**of {total}**", *(f"**{count}**" for count in seen), f"**{sum(bool(r[-1]) for r in rows)}**"])
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    versions = f"onnx {onnx.__version__}, ONNX Runtime {onnxruntime.__version__}, onnx-doctor {version('onnx-doctor')}"
    return f"{_TABLE_HEAD}\nWith {versions}:\n\n{table}\n{_FLOAT_HEAD}\n{_float_table()}\n"


def _float_table() -> str:
    head = ["what was done", "full check", "load", "onnx-doctor", *(f"in {PLACES[scope]}" for scope in SCOPES)]
    rows = []
    before = _doctor(candidate("main"))
    for mutation in FLOAT_MUTATIONS:
        mutant = candidate("main")
        mutation.apply(mutant)
        marks = ["×" if _refuses(judge, mutant) else "" for judge in (_check_fully, session)]
        marks.append(_listed(_doctor(mutant) - before))
        rows.append([mutation.name, *marks, *(_code(mutation, scope) for scope in SCOPES)])
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def _code(mutation: FloatMutation, scope: str) -> str:
    """Return the code that is found with the tensors in the file and next to it, empty if one of both is not."""
    if mutation.top and scope != "main":
        return "-"
    for storage in STORAGES:
        mutant = candidate(scope)
        mutation.apply(mutant)
        with tempfile.TemporaryDirectory() as folder:
            found = check_graph(stored_as(mutant, storage, Path(folder)), source(scope))
        if mutation.code not in {finding.code for finding in found}:
            return ""
    return mutation.code


def _check(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model)


def _check_fully(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)


def _run(model: onnx.ModelProto) -> None:
    loaded = session(model)
    shape = [dim if isinstance(dim, int) else 1 for dim in loaded.get_inputs()[0].shape]
    loaded.run(None, {"x": np.ones(shape, np.float32)})


def _doctor(model: onnx.ModelProto) -> set[str]:
    """Return the codes of what onnx-doctor finds, by its command line."""
    from onnx_doctor._cli import main as doctor

    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(said):
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        doctor(["check", str(path), "--ort", "--output-format", "json"])
    return {finding["code"] for finding in json.loads(said.getvalue())}


def _listed(codes: set[str]) -> str:
    return ", ".join(sorted(codes))


def _refuses(judge: Callable[[onnx.ModelProto], object], model: onnx.ModelProto) -> bool:
    try:
        judge(model)
    except Exception:  # each tool has its own
        return True
    return False


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


EXAMPLES = ROOT / "pytest_onnxlite" / "linter" / "examples.json"

if __name__ == "__main__":
    spoken = examples()
    EXAMPLES.write_text(json.dumps(spoken, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (ROOT / "docs" / "graph-checks.md").write_text(checks_page(spoken), encoding="utf-8")
    (ROOT / "docs" / "graph-mutations.md").write_text(mutations_page(), encoding="utf-8")
    print("docs/graph-checks.md, docs/graph-mutations.md and the linter's examples are written")
