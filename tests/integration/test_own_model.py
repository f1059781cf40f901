"""Several models in one run: each test is judged on what its own `onnxlite_model` names, in every layout and order."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from onnx_models import lookup

SAMPLES = 100

HEADER = """
import numpy as np
import pytest
from pathlib import Path
from pytest_onnxlite import Dataset, ModelSpec

FILES = Path({files!r})

def spec(name, **more):
    x = np.arange({samples}).reshape(-1, 1)
    return ModelSpec(
        name, onnx=FILES / "float.onnx", int8=FILES / f"{{name}}.onnx", evaluation=Dataset(x, x[:, 0] % 10), **more
    )
"""

MODEL = """
@pytest.fixture(scope="session")
def onnxlite_model():
    return spec({name!r})
"""

TEST = """
@pytest.mark.onnxlite_accuracy(max_drop=0.02)
def test_release(onnxlite_int8):
    assert onnxlite_int8.model == {name!r}

def test_again(onnxlite_int8):
    assert onnxlite_int8.model == {name!r}
"""

# Each file's text by name, with the tests of two models.
LAYOUTS = {
    "folders": {
        "alpha/conftest.py": MODEL.format(name="alpha"),
        "alpha/test_alpha.py": TEST.format(name="alpha"),
        "beta/conftest.py": MODEL.format(name="beta"),
        "beta/test_beta.py": TEST.format(name="beta"),
    },
    "modules": {f"test_{name}.py": MODEL.format(name=name) + TEST.format(name=name) for name in ("alpha", "beta")},
    "root and one module": {
        "conftest.py": MODEL.format(name="alpha"),
        "test_alpha.py": TEST.format(name="alpha"),
        "test_beta.py": MODEL.format(name="beta") + TEST.format(name="beta"),
    },
    "classes": {
        "test_both.py": "".join(
            f"""
class Test{name.title()}:
    @pytest.fixture(scope="session")
    def onnxlite_model(self):
        return spec({name!r})
    @pytest.mark.onnxlite_accuracy(max_drop=0.02)
    def test_release(self, onnxlite_int8):
        assert onnxlite_int8.model == {name!r}
    def test_again(self, onnxlite_int8):
        assert onnxlite_int8.model == {name!r}
"""
            for name in ("alpha", "beta")
        )
    },
    "marked classes": {
        "test_both.py": "".join(
            f"""
@pytest.mark.onnxlite_accuracy(max_drop=0.02)
class Test{name.title()}:
    @pytest.fixture(scope="class")
    def onnxlite_int8(self, onnxlite_int8):
        return onnxlite_int8
    @pytest.fixture(scope="session")
    def onnxlite_model(self):
        return spec({name!r})
    def test_release(self, onnxlite_int8):
        assert onnxlite_int8.model == {name!r}
"""
            for name in ("alpha", "beta")
        )
    },
    "one model, of a name that each module gives": {
        "conftest.py": """
@pytest.fixture(scope="session")
def name():
    return None
@pytest.fixture(scope="session")
def onnxlite_model(name):
    return spec(name)
""",
        **{
            f"test_{name}.py": f"""
@pytest.fixture(scope="session")
def name():
    return {name!r}
"""
            + TEST.format(name=name)
            for name in ("alpha", "beta")
        },
    },
    "a model that takes the outer one": {
        "conftest.py": MODEL.format(name="alpha"),
        "test_alpha.py": TEST.format(name="alpha"),
        "test_beta.py": """
@pytest.fixture(scope="session")
def onnxlite_model(onnxlite_model):
    assert onnxlite_model.name == "alpha"
    return spec("beta")
"""
        + TEST.format(name="beta"),
    },
    "parameters of the fixture": {
        "test_both.py": """
@pytest.fixture(scope="session", params=["alpha", "beta"])
def onnxlite_model(request):
    return spec(request.param)
@pytest.mark.onnxlite_accuracy(max_drop=0.02)
def test_release(onnxlite_int8, onnxlite_model):
    assert onnxlite_int8.model == onnxlite_model.name
def test_again(onnxlite_int8, onnxlite_model):
    assert onnxlite_int8.model == onnxlite_model.name
"""
    },
    "parameters of the test": {
        "test_both.py": """
@pytest.fixture(scope="session")
def onnxlite_model(request):
    return spec(request.param)
@pytest.mark.parametrize("onnxlite_model", ["alpha", "beta"], indirect=True)
@pytest.mark.onnxlite_accuracy(max_drop=0.02)
def test_release(onnxlite_int8, onnxlite_model):
    assert onnxlite_int8.model == onnxlite_model.name
@pytest.mark.parametrize("onnxlite_model", ["alpha", "beta"], indirect=True)
def test_again(onnxlite_int8, onnxlite_model):
    assert onnxlite_int8.model == onnxlite_model.name
"""
    },
    "specs as parameters": {
        "test_both.py": """
@pytest.mark.parametrize("onnxlite_model", [spec("alpha"), spec("beta")], ids=["alpha", "beta"], scope="session")
@pytest.mark.onnxlite_accuracy(max_drop=0.02)
def test_release(onnxlite_int8, onnxlite_model):
    assert onnxlite_int8.model == onnxlite_model.name
@pytest.mark.parametrize("onnxlite_model", [spec("alpha"), spec("beta")], ids=["alpha", "beta"], scope="session")
def test_again(onnxlite_int8, onnxlite_model):
    assert onnxlite_int8.model == onnxlite_model.name
"""
    },
    "a folder within a folder": {
        "conftest.py": MODEL.format(name="alpha"),
        "test_alpha.py": TEST.format(name="alpha"),
        "within/conftest.py": MODEL.format(name="beta"),
        "within/test_beta.py": TEST.format(name="beta"),
    },
    "classes of unittest": {
        "conftest.py": MODEL.format(name="alpha"),
        "test_both.py": "import unittest\n"
        + "".join(
            f"""
class Test{name.title()}(unittest.TestCase):
    {override}
    @pytest.fixture(autouse=True)
    def _variant(self, onnxlite_int8):
        self.variant = onnxlite_int8
    @pytest.mark.onnxlite_accuracy(max_drop=0.02)
    def test_release(self):
        assert self.variant.model == {name!r}
    def test_again(self):
        assert self.variant.model == {name!r}
"""
            for name, override in (
                ("alpha", ""),
                ("beta", "onnxlite_model = pytest.fixture(lambda self: spec('beta'), scope='session')"),
            )
        ),
    },
    "an override that opens the model's own file": {
        "conftest.py": MODEL.format(name="alpha")
        + """
@pytest.fixture(scope="session")
def onnxlite_int8(onnxlite_model):
    from pytest_onnxlite.spec.runtimes import Runtime
    from pytest_onnxlite.variants.variant import OnnxVariant
    return OnnxVariant(onnxlite_model.name, "int8", onnxlite_model.int8, Runtime())
""",
        "test_alpha.py": TEST.format(name="alpha"),
        "test_beta.py": MODEL.format(name="beta") + TEST.format(name="beta"),
    },
    "fixtures that ask for it": {
        "conftest.py": MODEL.format(name="alpha")
        + """
@pytest.fixture(scope="session", autouse=True)
def warm(onnxlite_int8):
    onnxlite_int8.predict(np.arange(3).reshape(-1, 1))
@pytest.fixture(scope="session")
def asked(request):
    yield request.getfixturevalue("onnxlite_int8").model
""",
        "test_alpha.py": TEST.format(name="alpha").replace("again(", "again(asked, "),
        "test_beta.py": MODEL.format(name="beta") + TEST.format(name="beta").replace("again(", "again(asked, "),
    },
}


# Runs the tests of the two models in turns, whichever comes first.
IN_TURNS = """
import os, pytest

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    models = [[item for item in items if name in item.nodeid.lower()] for name in os.environ["ORDER"].split()]
    items[:] = [item for pair in zip(*models) for item in pair]
"""


def write(folder: Path, files: Mapping[str, str], in_turns: bool = True) -> None:
    """Write a project of two models: alpha's INT8 file is right 99 times of 100, beta's once."""
    right = np.arange(SAMPLES) % 10
    worse, worst = right.copy(), (right + 1) % 10
    worse[7] += 1
    worst[7] = right[7]
    (folder / "files").mkdir()
    lookup(folder / "files" / "float.onnx", right)
    lookup(folder / "files" / "alpha.onnx", worse, int8=True)
    lookup(folder / "files" / "beta.onnx", worst, int8=True)
    header = HEADER.format(files=str(folder / "files"), samples=SAMPLES)
    for name, text in {"conftest.py": "", **files}.items():
        text += IN_TURNS if name == "conftest.py" and in_turns else ""
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(header + text)


class TwoModels:
    """A project with two models in one run."""

    def __init__(self, pytester: pytest.Pytester, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = pytester.path
        self._pytester = pytester
        self._cache = cache
        self._monkeypatch = monkeypatch

    def run(self, *arguments: str, order: str = "alpha beta") -> pytest.RunResult:
        """Run the tests of the models in turns."""
        self._monkeypatch.setenv("ORDER", order)
        return self._pytester.runpytest(f"--onnxlite-cache-dir={self._cache}", "--onnxlite-explain-time=0", *arguments)


@pytest.fixture
def two(pytester: pytest.Pytester, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> TwoModels:
    return TwoModels(pytester, shared_cache, monkeypatch)


def require_own_verdicts(result: pytest.RunResult) -> None:
    """Check the line of each model in the terminal's summary."""
    lines = {line.split()[0]: line for line in result.outlines if re.match("(alpha|beta) +int8 ", line)}
    assert " 99.0 %" in lines["alpha"]
    assert "pass" in lines["alpha"]
    assert " 1.0 %" in lines["beta"]
    assert "FAIL" in lines["beta"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_test_is_judged_on_its_own_model(two: TwoModels, layout: str) -> None:
    write(two.path, LAYOUTS[layout])
    for order in ("alpha beta", "beta alpha"):
        result = two.run(order=order)
        result.assert_outcomes(passed=1 if layout == "marked classes" else 3, failed=1)
        require_own_verdicts(result)


@pytest.fixture
def mixed(two: TwoModels, monkeypatch: pytest.MonkeyPatch) -> TwoModels:
    """Every layout in one run, each in a folder of its own; in the order that plugins bring."""
    monkeypatch.delenv("PYTEST_ADDOPTS")
    folders = {layout: layout.replace(" ", "_").replace("'", "") for layout in LAYOUTS}
    files = {f"{folders[layout]}/{name}": text for layout, own in LAYOUTS.items() for name, text in own.items()}
    write(two.path, files, in_turns=False)
    return two


@pytest.mark.parametrize(
    "order", ["--randomly-seed=1", "--randomly-seed=2", "--randomly-seed=3", "-n2 --randomly-seed=4"]
)
def test_all_layouts_in_one_run_in_any_order(mixed: TwoModels, order: str) -> None:
    result = mixed.run(*order.split(), "--import-mode=importlib", "--onnxlite-report=r.json")
    records = json.loads((mixed.path / "r.json").read_text())["records"]
    found = {
        (
            record["test"].split("/")[0],
            record["model"],
            record["measured"]["accuracy"]["correct"],
            any(verdict["red"] for verdict in record["verdicts"]),
        )
        for record in records
    }
    folders = {path.relative_to(mixed.path).parts[0] for path in mixed.path.rglob("test_*.py")}
    right = {(folder, *model) for folder in folders for model in (("alpha", 99, False), ("beta", 1, True))}
    assert found == right
    # And the tests that guard nothing had their own model's variants: only beta's guarded ones failed.
    outcomes = result.parseoutcomes()
    assert (outcomes["failed"], len(records)) == (len(LAYOUTS), 2 * len(LAYOUTS))


def test_each_model_is_saved_in_its_own_folder(two: TwoModels) -> None:
    # Beta is saved as well: a release that breaks a limit against its float model is not, whatever is accepted.
    write(
        two.path, {name: text.replace("max_drop=0.02", "max_drop=0.995") for name, text in LAYOUTS["folders"].items()}
    )
    two.run("--onnxlite-save-baseline", order="beta alpha")
    for name in ("alpha", "beta"):
        (kept,) = two.path.glob(f"baselines/{name}/*.onnx")
        assert kept.read_bytes() == (two.path / "files" / f"{name}.onnx").read_bytes()


DERIVED = """
@pytest.fixture(scope="session")
def answers(onnxlite_int8):
    print("answers of", onnxlite_int8.model, "begin")
    yield onnxlite_int8.model, onnxlite_int8.predict(np.arange(3).reshape(-1, 1)).argmax(axis=1).tolist()
    print("answers of", onnxlite_int8.model, "end")

@pytest.fixture(scope="session")
def name_of(onnxlite_model):
    return onnxlite_model.name

@pytest.fixture(scope="module")
def all_of(answers, name_of, other):
    return answers, name_of, other

@pytest.fixture(scope="session")
def later(request):
    return request.getfixturevalue("onnxlite_int8").model

@pytest.fixture(scope="session")
def other():
    print("made once")
    return 1
"""

DERIVED_TEST = """
def test_one(all_of):
    assert all_of == (({name!r}, {answers}), {name!r}, 1)

def test_two(request, answers, later):
    assert answers == ({name!r}, {answers})
    assert later == {name!r}
    assert request.getfixturevalue("onnxlite_onnx").model == {name!r}
"""


def test_fixtures_that_are_made_from_a_variant_follow_and_others_stay(two: TwoModels) -> None:
    tests = {
        "alpha": DERIVED_TEST.format(name="alpha", answers=[0, 1, 2]),
        "beta": DERIVED_TEST.format(name="beta", answers=[1, 2, 3]),
    }
    write(
        two.path,
        {"conftest.py": DERIVED, **{f"test_{name}.py": MODEL.format(name=name) + text for name, text in tests.items()}},
    )
    result = two.run("-s")
    result.assert_outcomes(passed=4)
    text = result.stdout.str()
    # As pytest does if a parameter changes: one at a time, the last one's teardown before the next one's setup.
    turn = [f"{name} {what}" for name in ("alpha", "beta") for what in ("begin", "end")]
    assert re.findall("answers of (alpha begin|alpha end|beta begin|beta end)", text) == turn * 2
    assert text.count("made once") == 1


def test_of_one_model_nothing_is_made_twice(two: TwoModels) -> None:
    text = DERIVED_TEST.format(name="alpha", answers=[0, 1, 2])
    files = {f"test_{number}.py": text.replace("def test_", f"def test_alpha_{number}_") for number in (1, 2)}
    write(
        two.path,
        {
            "conftest.py": DERIVED + MODEL.format(name="alpha"),
            **files,
            "test_other.py": "def test_other(request): pass",
        },
    )
    result = two.run("-s", order="alpha")
    result.assert_outcomes(passed=4)
    assert result.stdout.str().count("answers of alpha begin") == 1


OVERRIDES = {
    "another model's": (
        """
@pytest.fixture(scope="session")
def onnxlite_int8(onnxlite_model):
    from pytest_onnxlite.spec.runtimes import Runtime
    from pytest_onnxlite.variants.variant import OnnxVariant
    return OnnxVariant("alpha", "int8", FILES / "alpha.onnx", Runtime())
""",
        [
            "gave alpha int8 (*alpha.onnx, SHA-256 *",
            "names beta int8 (*beta.onnx",
            "differ in model.",
            "take onnxlite_model",
        ],
    ),
    "another file": (
        """
@pytest.fixture(scope="session")
def onnxlite_int8(onnxlite_model):
    from pytest_onnxlite.spec.runtimes import Runtime
    from pytest_onnxlite.variants.variant import OnnxVariant
    return OnnxVariant("beta", "int8", FILES / "alpha.onnx", Runtime())
""",
        ["gave beta int8 (*alpha.onnx", "names beta int8 (*beta.onnx", "differ in file.", "ModelSpec(int8=...)"],
    ),
    "another kind": (
        """
@pytest.fixture(scope="session")
def onnxlite_int8(onnxlite_model, request):
    return request.getfixturevalue("onnxlite_onnx")
""",
        ["gave beta onnx (*float.onnx", "differ in kind."],
    ),
    "other threads": (
        """
@pytest.fixture(scope="session")
def onnxlite_int8(onnxlite_model):
    from pytest_onnxlite.spec.runtimes import Runtime
    from pytest_onnxlite.variants.variant import OnnxVariant
    return OnnxVariant("beta", "int8", FILES / "beta.onnx", Runtime(threads=2))
""",
        ["2 threads)", "1 thread)", "differ in how they are run."],
    ),
    "what another model's test left in a global": (
        """
KEPT = []
@pytest.fixture(scope="session")
def onnxlite_int8(onnxlite_model, request):
    from pytest_onnxlite.fixtures import session_of
    return session_of(request.config).guardian().variant(spec("alpha"), "int8")
""",
        ["gave alpha int8 (*alpha.onnx", "names beta int8 (*beta.onnx"],
    ),
    "a file that the test wrote to": (
        """
@pytest.fixture(autouse=True)
def overwrite(onnxlite_int8):
    onnxlite_int8.path.write_bytes((FILES / "alpha.onnx").read_bytes())
""",
        ["beta.onnx was written to or removed after the fixture onnxlite_int8 gave it"],
    ),
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_variant_that_is_not_the_models_own_is_an_error_that_names_both(two: TwoModels, override: str) -> None:
    text, said = OVERRIDES[override]
    write(
        two.path,
        {
            "test_beta.py": MODEL.format(name="beta")
            + text
            + TEST.format(name="beta").split("def test_again")[0].replace("assert", "assert True or")
        },
    )
    result = two.run("--onnxlite-save-baseline", "--onnxlite-accept", order="beta")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{part.replace('[', '[[]')}*" for part in said[:1]])
    for part in said[1:]:
        assert fnmatch.fnmatch(result.stdout.str(), f"*{part}*")
    assert "Traceback" not in result.stdout.str()
    assert not list(two.path.glob("baselines/[!.]*/*"))


def test_an_override_that_opens_the_models_own_file_is_judged(two: TwoModels) -> None:
    text = OVERRIDES["another file"][0].replace("beta", "alpha")
    write(two.path, {"test_alpha.py": MODEL.format(name="alpha") + text + TEST.format(name="alpha")})
    two.run(order="alpha").assert_outcomes(passed=2)


def test_a_file_that_was_written_to_after_its_verdict_is_not_saved(two: TwoModels) -> None:
    later = "\ndef test_later(): (FILES / 'alpha.onnx').write_bytes((FILES / 'beta.onnx').read_bytes())\n"
    write(two.path, {"test_alpha.py": MODEL.format(name="alpha") + TEST.format(name="alpha") + later})
    result = two.run("--onnxlite-save-baseline", order="alpha")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR: alpha/int8 was not saved: *alpha.onnx was written to after it was judged*"])
    assert not list(two.path.glob("baselines/[!.]*/*"))
