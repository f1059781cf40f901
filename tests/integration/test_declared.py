"""Models declared in pyproject.toml: tests of their own, by the same rules."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from onnx_models import dense, lookup
from projects import UNEXPLAINED, Project

SIZE = 400
ANSWERS = np.random.default_rng(0).integers(0, 10, SIZE)
Write = Callable[..., Project]

# What every declaration here starts with.
HEAD = """
[tool.onnxlite.models.digits]
onnx = "models/onnx.onnx"
int8 = "models/int8.onnx"
data = "data.npz"
"""


@pytest.fixture
def declare(project: Project, tmp_path: Path) -> Write:
    """Write a project without test code, whose INT8 model has `wrong` answers fewer right."""

    def write(text: str, wrong: int = 0, ini: str = "") -> Project:
        worse = (ANSWERS + (np.arange(SIZE) < wrong)) % 10
        (project.path / "models").mkdir(exist_ok=True)
        lookup(project.path / "models" / "onnx.onnx", ANSWERS)
        lookup(project.path / "models" / "int8.onnx", worse, int8=True)
        np.savez(project.path / "data.npz", x=np.arange(SIZE).reshape(-1, 1), y=ANSWERS)
        (project.path / "pyproject.toml").write_text(f"[tool.pytest.ini_options]\n{ini}\n{text}")
        return project

    return write


def said(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


def collected(result: pytest.RunResult) -> list[str]:
    return [line for line in result.stdout.lines if line.startswith("onnxlite::")]


# The same model for tests with markers.
MARKED = """
import numpy as np, pytest
from pytest_onnxlite import Dataset, ModelSpec
@pytest.fixture(scope="session")
def onnxlite_model():
    data = np.load("data.npz")
    return ModelSpec(
        "marked", onnx="models/onnx.onnx", int8="models/int8.onnx", evaluation=Dataset(data["x"], data["y"])
    )
"""
LIMITS = """
variants = ["onnx", "int8"]
accuracy = {variant = "int8", max_drop = 0.01}
size = {variant = "int8", ratio = 1.0}
graph = {variant = "onnx"}
"""


def test_each_limit_of_each_variant_is_a_test(declare: Write) -> None:
    project = declare(HEAD + LIMITS)
    tests = [
        "onnxlite::digits::onnx::graph",
        "onnxlite::digits::int8::accuracy",
        "onnxlite::digits::int8::size",
    ]
    assert collected(project.run("--collect-only", "-q")) == tests
    result = project.run("-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines([f"{test}*PASSED*" for test in tests])


def test_they_are_saved_compared_and_found_worse(declare: Write) -> None:
    project = declare(HEAD + LIMITS)
    project.save()
    assert sorted(p.name for p in project.path.glob("baselines/digits/*.json")) == ["int8.json", "onnx.json"]
    project.compare().assert_outcomes(passed=3)
    declare(HEAD + LIMITS, wrong=8)
    result = project.compare()
    result.assert_outcomes(passed=2, failed=1)
    assert "onnxlite::digits::int8::accuracy" in said(result)
    assert "8 fewer right" in said(result)
    assert "models.py" not in said(result)
    assert "Traceback" not in said(result)


def test_the_same_limit_means_the_same_in_both_forms(declare: Write) -> None:
    project = declare(HEAD + "accuracy = {max_drop = 0.05, relative = true}\nsize = {ratio = 0.5}\n", wrong=30)
    project.pytester.makeconftest(MARKED)
    (project.path / "test_release.py").write_text(
        """import pytest
@pytest.mark.onnxlite_accuracy(max_drop=0.05, relative=True)
@pytest.mark.onnxlite_size(ratio=0.5)
def test_release(onnxlite_int8): pass
"""
    )
    project.run("--onnxlite-report=report.json").assert_outcomes(failed=2, passed=1)
    verdicts: dict[str, list[object]] = {"digits": [], "marked": []}
    for record in json.loads((project.path / "report.json").read_text())["records"]:
        verdicts[record["model"]] += [
            json.loads(json.dumps(verdict).replace("'marked'", "'digits'")) for verdict in record["verdicts"]
        ]
    assert len(verdicts["digits"]) == 4
    assert verdicts["digits"] == verdicts["marked"]


# -- as tests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["-k", "int8 and accuracy"], 1),
        (["-k", "digits"], 3),
        (["-m", "onnxlite_graph"], 1),
        (["-m", "not onnxlite_graph"], 2),
        (["onnxlite::digits::int8::size"], 1),
        (["onnxlite::digits::int8"], 2),
        (["onnxlite::digits"], 3),
        (["pyproject.toml"], 3),
        (["pyproject.toml::digits::int8::size"], 1),
        (["."], 3),
        (["onnxlite::digits::onnx", "onnxlite::digits::int8::size"], 2),
    ],
)
def test_they_are_selected_as_tests_are(declare: Write, arguments: list[str], count: int) -> None:
    project = declare(HEAD + LIMITS)
    assert len(collected(project.run("--collect-only", "-q", *arguments))) == count


def test_no_option_switches_them_off_alone(declare: Write) -> None:
    result = declare(HEAD + LIMITS, wrong=40).run("-pno:onnxlite-session", "-pno:onnxlite-declared")
    result.assert_outcomes(passed=2, failed=1)


def test_an_id_that_is_none_of_theirs_is_told(declare: Write) -> None:
    result = declare(HEAD + LIMITS).run("onnxlite::digits::int8::latency")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "not found" in said(result)


@pytest.mark.parametrize("testpaths", ['testpaths = ["tests"]', 'testpaths = ["."]', ""])
def test_a_run_over_everything_reaches_them_once(declare: Write, testpaths: str) -> None:
    project = declare(HEAD + LIMITS, ini=testpaths)
    (project.path / "tests").mkdir()
    (project.path / "tests" / "test_other.py").write_text("def test_other(): pass")
    project.run().assert_outcomes(passed=4)
    project.run("tests").assert_outcomes(passed=1)
    (project.path / "onnxlite").mkdir()  # a folder of this name is a folder
    (project.path / "onnxlite" / "test_more.py").write_text("def test_more(): pass")
    project.run("onnxlite").assert_outcomes(passed=1)


def test_a_run_that_does_not_reach_them_is_no_full_one(declare: Write) -> None:
    project = declare(HEAD + LIMITS, ini='testpaths = ["tests"]')
    (project.path / "tests").mkdir()
    (project.path / "tests" / "test_other.py").write_text(
        "import pytest\n@pytest.mark.onnxlite_size(ratio=1.0)\ndef test_other(onnxlite_int8): pass\n"
    )
    project.pytester.makeconftest(MARKED)
    project.save()
    project.compare().assert_outcomes(passed=4)
    part = project.compare("tests")
    assert part.ret == 0
    part.stdout.fnmatch_lines(["baselines not looked at in this run: digits/int8.json, digits/onnx.json"])
    declare(HEAD + 'accuracy = {variant = "onnx"}\n', ini='testpaths = ["tests"]')
    full = project.compare()
    assert full.ret == 1
    full.stdout.fnmatch_lines(["ERROR: no test looked at the baseline digits/int8.json*"])
    # A part of the tests knows too what is declared no longer.
    gone = project.compare("tests")
    assert gone.ret == 1
    assert "onnxlite::digits::int8::accuracy is declared no longer" in said(gone)


def test_last_failed_reruns_them_beside_others(declare: Write) -> None:
    project = declare(HEAD + LIMITS, wrong=40)
    (project.path / "test_other.py").write_text("def test_red(): assert False\ndef test_green(): pass\n")
    project.run().assert_outcomes(failed=2, passed=3)
    project.run("--lf").assert_outcomes(failed=2)
    declare(HEAD + LIMITS)
    project.run("--lf").assert_outcomes(failed=1, passed=1)


def test_junit_has_them_as_test_cases(declare: Write) -> None:
    project = declare(HEAD + LIMITS, wrong=40)
    project.run("--junitxml=junit.xml")
    (suite,) = ElementTree.parse(project.path / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    cases = {f"{case.get('classname')}.{case.get('name')}": case for case in suite.iterfind("testcase")}
    failed = cases["onnxlite.digits.int8.accuracy"]
    assert "40 fewer right" in (failed.findtext("failure") or "")
    assert failed.find("properties/property[@name='onnxlite.digits.int8.accuracy.onnx']") is not None


def test_workers_share_them(declare: Write) -> None:
    project = declare(HEAD + LIMITS + 'latency = {variant = "int8"}\n', wrong=40)
    # What is timed is run after the others, and has nothing to be compared with.
    project.run("-n2").assert_outcomes(passed=2, failed=1, skipped=1)


@pytest.mark.alone
def test_latency_and_memory_are_measured(declare: Write) -> None:
    project = declare(HEAD + "latency = {max_slowdown = 0.9, max_time = 5}\nmemory = {max_growth = 1.0}\n")
    project.save()
    result = project.compare("--benchmark-json=bench.json")
    result.assert_outcomes(passed=2)
    (timed,) = json.loads((project.path / "bench.json").read_text())["benchmarks"]
    assert timed["fullname"] == "onnxlite::digits::int8::latency"


def test_fixtures_that_ask_for_every_test_get_them_too(declare: Write) -> None:
    project = declare(HEAD + LIMITS)
    project.pytester.makeconftest(
        """
        import pytest
        @pytest.fixture(autouse=True)
        def everywhere(request):
            with open("seen.txt", "a") as file:
                file.write(request.node.nodeid + "\\n")
        """
    )
    project.run().assert_outcomes(passed=3)
    assert len((project.path / "seen.txt").read_text().splitlines()) == 3


# -- what is declared ----------------------------------------------------------------------------------------


def test_data_under_other_names_and_in_several_inputs(declare: Write) -> None:
    project = declare(
        """
[tool.onnxlite.models.digits]
onnx = "models/onnx.onnx"
int8 = "models/int8.onnx"
data = {file = "my data/images.npz", x = {index = "images"}, y = "labels"}
calibration = {file = "my data/images.npz", x = {index = "images"}}
accuracy = {}
batch_size = 4
threads = 1
metric = "top1"
recipe = {kind = "DynamicInt8", per_channel = true, exclude = ["Gather"]}
"""
    )
    (project.path / "my data").mkdir()
    np.savez(project.path / "my data" / "images.npz", images=np.arange(SIZE).reshape(-1, 1), labels=ANSWERS)
    result = project.run("--onnxlite-report=report.json")
    result.assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "report.json").read_text())["records"]
    assert (record["measured"]["accuracy"]["correct"], record["measured"]["accuracy"]["batch_size"]) == (SIZE, 4)


def test_a_metric_of_the_project_is_named_by_its_place(declare: Write) -> None:
    project = declare(HEAD + 'metric = "measures:rate"\naccuracy = {min = 0.25}', ini='pythonpath = "."')
    (project.path / "measures.py").write_text(
        """
from pytest_onnxlite import Metric

def first_half(outputs, labels):
    right = outputs.argmax(axis=1) == labels
    right[len(right) // 2 :] = False
    return right

rate = Metric(first_half, "first half")
"""
    )
    result = project.run("--onnxlite-report=report.json")
    result.assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "report.json").read_text())["records"]
    assert record["measured"]["accuracy"]["metric"] == "first half"
    assert 0 < record["measured"]["accuracy"]["correct"] <= SIZE // 2
    # As many wrong answers in the second half, which the metric does not count, would be green.
    lookup(project.path / "models" / "int8.onnx", (ANSWERS + (np.arange(SIZE) < SIZE // 2)) % 10, int8=True)
    result = project.run(UNEXPLAINED)
    result.assert_outcomes(failed=1)
    assert "0.0 % (0 of 400 right), at least 25.0 % asked (min=0.25)" in said(result)
    lookup(project.path / "models" / "int8.onnx", (ANSWERS + (np.arange(SIZE) >= SIZE // 2)) % 10, int8=True)
    project.run().assert_outcomes(passed=1)


def test_a_model_is_quantized_by_the_recipe_that_is_declared(declare: Write) -> None:
    project = declare(
        """
[tool.onnxlite.models.net]
onnx = "net.onnx"
data = "net.npz"
accuracy = {max_drop = 0.02}
metric = "cosine"
recipe = {kind = "DynamicInt8", exclude = ["matmul1"]}
"""
    )
    dense(project.path / "net.onnx", 3, width=64)
    np.savez(project.path / "net.npz", x=np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32))
    result = project.run("--onnxlite-report=report.json")
    result.assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "report.json").read_text())["records"]
    assert "DynamicInt8(exclude=['matmul1'])" in record["recipe"]


MISTAKES = {
    "acuracy = {}": "unknown key 'acuracy'; did you mean accuracy?",
    "accuracy = {max_dorp = 0.1}": "accuracy: unknown argument 'max_dorp'; did you mean max_drop?",
    'accuracy = {max_drop = "1 %"}': "accuracy: max_drop='1 %'; expected a number from 0",
    "accuracy = true": "accuracy=True; expected a table, {} for the defaults",
    "accuracy = [{}, {}]": "accuracy is limited twice; say with variant=",
    'accuracy = [{variant = "onnx"}, {variant = "onnx"}]': "accuracy of the variant onnx is limited twice",
    'accuracy = {variant = "int4"}': "variant='int4'; expected one of trained, onnx, int8",
    'latency = {variant = "trained"}': "onnxlite_latency does not support trained",
    'variants = ["trained"]\nlatency = {}': "onnxlite_latency does not support trained",
    'variants = ["onnx"]\nlatency = {max_ratio = 1.0}': "max_ratio= compares with the onnx variant",
    'graph = {structure = "loose"}': "structure='loose'; expected 'frozen'",
    'graph = {ignore = "OLX101"}': "ignore='OLX101'; expected a list",
    'variants = "int8"\nsize = {}': "variants='int8'; expected a list of trained, onnx",
    'batch_size = "8"\nsize = {}': "batch_size='8'; expected a whole number",
    "batch_size = true\nsize = {}": "batch_size=True; expected a whole number",
    "trained = 1\nsize = {}": "trained=1; expected a string",
    'recipe = "static"\nsize = {}': "recipe: 'static'; expected a table with kind = 'DynamicInt8' or 'StaticInt8'",
    'recipe = {kind = "DynamicInt8", perchannel = true}\nsize = {}': "unknown key 'perchannel'; did you mean per_channel?",
    'recipe = {kind = "DynamicInt8", weight_type = "int4"}\nsize = {}': "recipe: weight_type='int4': expected 'auto'",
    'calibration = {x = "x"}\nsize = {}': 'calibration: names no file; expected file = "data.npz"',
    'calibration = {file = "a.npz", y = "y"}\nsize = {}': "calibration: unknown key 'y'",
    'calibration = {file = "a.npz", x = 1}\nsize = {}': "calibration: x=1; expected an array's name, or a table",
    "": "limits nothing; give accuracy, outputs, size, latency, throughput, memory, graph or placement",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_told_with_its_place(declare: Write, text: str) -> None:
    result = declare(HEAD + text).run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: pyproject.toml: [tool.onnxlite.models.digits]" in said(result)
    assert MISTAKES[text] in said(result), said(result)
    assert "Traceback" not in said(result)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.onnxlite.modles.digits]", "[tool.onnxlite]: unknown key 'modles'; did you mean models?"),
        ("[tool.onnxlite]\nmodels = 1", "[tool.onnxlite]: models=1; expected tables"),
        ("[tool.onnxlite.models]\ndigits = 1", "[tool.onnxlite.models.digits]: 1; expected a table"),
        ("[tool.onnxlite.models.digits]\nsize = {}", "names no model file; give trained, onnx or int8"),
        ("[tool]\nonnxlite = 1", "expected a table"),
        (
            f'[tool.onnxlite.models.digits]\nonnx = {__file__!r}\ngrows = ["mask"]\nsize = {{}}',
            "grows names inputs of a model with a state; give state too",
        ),
    ],
)
def test_a_mistake_above_the_models_is_told(declare: Write, text: str, message: str) -> None:
    result = declare(text).run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in said(result)


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--onnxlite-baseline"], pytest.ExitCode.USAGE_ERROR)])
def test_a_pyproject_that_cannot_be_read_is_told_where_models_are_judged(
    pytester: pytest.Pytester, options: list[str], code: int
) -> None:
    pytester.makeini("[pytest]")
    pytester.mkdir("pyproject.toml")  # nobody can read it, whoever runs the test
    pytester.makepyfile("def test_other(): pass")
    result = pytester.runpytest_subprocess(*options)
    assert result.ret == code
    assert ("pyproject.toml may declare models, and cannot be read" in said(result)) is bool(options)


def test_all_mistakes_are_told_at_once(declare: Write) -> None:
    result = declare(
        '[tool.onnxlite.models.a]\nonnx = "a"\nsise = {}\n[tool.onnxlite.models.b]\nonnx = "b"\nsise = {}\n'
    ).run("-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert re.findall(r"models\.(\w)\]: unknown key 'sise'; did you mean size\?", result.stderr.str()) == ["a", "b"]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (HEAD.replace("int8.onnx", "absent.onnx"), "absent.onnx"),
        (HEAD.replace("data.npz", "absent.npz"), "there is no file"),
        (HEAD.replace('"data.npz"', '"models/onnx.onnx"'), "is no .npz file"),
        (HEAD.replace('"data.npz"', '{file = "data.npz", x = "images"}'), "has no array 'images'; it has x and y"),
        (HEAD.replace('"data.npz"', '{file = "data.npz", y = "labels"}'), "has no array 'labels'"),
        (HEAD.replace('data = "data.npz"', ""), "has no evaluation data"),
        (HEAD + 'metric = "top11"', "metric"),
        (
            HEAD + 'metric = "absent:error"',
            "metric='absent:error' cannot be imported (ModuleNotFoundError: No module named",
        ),
        (
            HEAD + 'metric = "json:absent"',
            "cannot be imported (AttributeError: module 'json' has no attribute 'absent')",
        ),
        (HEAD + 'metric = "json:__name__"', "metric='json:__name__' is a str; expected a function (outputs, labels)"),
    ],
)
def test_what_cannot_be_used_fails_the_test(declare: Write, head: str, message: str) -> None:
    result = declare(f"{head}\naccuracy = {{}}\n").run()
    result.assert_outcomes(failed=1)
    assert message in said(result)
    assert "models.py" not in said(result)
    assert "traceback entries are hidden" not in said(result)


def test_a_name_that_a_fixture_uses_for_another_model_is_refused(declare: Write) -> None:
    project = declare(HEAD + "size = {ratio = 1.0}\n")
    project.pytester.makeconftest(
        """
        import numpy as np, pytest
        from pytest_onnxlite import Dataset, ModelSpec
        @pytest.fixture(scope="session")
        def onnxlite_model():
            data = np.load("data.npz")
            return ModelSpec("digits", onnx="models/int8.onnx", evaluation=Dataset(data["x"], data["y"]))
        """
    )
    (project.path / "test_release.py").write_text("def test_release(onnxlite_onnx): pass\n")
    result = project.run()
    assert result.ret == 1
    assert "two different models are called 'digits'" in said(result)


def test_collecting_them_imports_nothing_heavy(declare: Write) -> None:
    project = declare(HEAD + LIMITS)
    code = (
        "import pytest, sys; pytest.main(['--collect-only', '-q']);"
        "print([m for m in ('numpy', 'onnx', 'onnxruntime', 'tensorflow', 'filelock') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project.path, check=True)
    assert "onnxlite::digits::int8::size" in done.stdout
    # Hypothesis and others bring none of these by themselves.
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "table",
    [
        "tool.onnxlit.models",
        "tool.onnx-lite.models",
        "tool.pytest_onnxlite.models",
        "tool.OnnxLite.model",
        "onnxlite.models",
        "tools.onnxlite.models",
        "tool.pytest.onnxlite.models",
    ],
)
def test_a_table_that_is_nearly_called_ours_is_an_error_where_something_is_asked_of_us(
    declare: Write, table: str
) -> None:
    project = declare(HEAD.replace("tool.onnxlite.models", table) + LIMITS)
    (project.path / "test_other.py").write_text("def test_other(): pass")
    project.run().assert_outcomes(passed=1)
    result = project.compare()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    name = table.rsplit(".", 1)[0]
    assert f"[{name}] seems to declare models" in result.stderr.str()


@pytest.mark.parametrize(
    "table",
    ["[tool.onnxruntime.models.a]", "[tool.onnxlint]\nmodels = 1", "[tool.onnx.models.a]", "[tool.onnxlit.more]"],
)
def test_another_tools_table_is_its_own(declare: Write, table: str) -> None:
    project = declare(HEAD + LIMITS + table)
    assert project.run("--onnxlite-report=r.json").ret == 0


def test_declared_models_whose_names_differ_by_case_alone_are_an_error(declare: Write) -> None:
    project = declare(HEAD + LIMITS + HEAD.replace("digits", "Digits") + LIMITS)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "[tool.onnxlite.models.Digits]: differs from 'digits' by case alone" in result.stderr.str()


DECLARES = '[tool.onnxlite.models.m]\nonnx = "m.onnx"\nsize = {variant = "onnx"}\n'


def test_models_that_a_run_does_not_reach_are_named(pytester: pytest.Pytester) -> None:
    """A package's below another root, and those of the root where a run is started in a folder below it."""
    package = pytester.mkdir("package")
    (package / "pyproject.toml").write_text(DECLARES)
    (pytester.mkdir("package/tests") / "test_other.py").write_text("def test_other(): pass\n")
    pytester.makefile(".ini", pytest="[pytest]\n")
    (pytester.path / "test_root.py").write_text("def test_root(): pass\n")
    elsewhere = (
        f"{package / 'pyproject.toml'} declares models ([tool.onnxlite]) and is not read, since pytest's root is"
    )
    command = f"pytest -c {package / 'pyproject.toml'} {package}"
    for options in (["--onnxlite-baseline"], ["--onnxlite-save-baseline"], ["--onnxlite-baseline", "package/tests"]):
        result = pytester.runpytest(*options)
        assert result.ret == 1
        assert elsewhere in said(result)
        assert said(result).count(command) == 1
    # What is told is what judges them.
    assert "<OnnxliteCheck size>" in said(pytester.runpytest("--collect-only", *command.split()[1:]))
    # In the root's own file they are read, and only out of reach.
    (pytester.path / "pytest.ini").unlink()
    (pytester.path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n" + DECLARES)
    (package / "pyproject.toml").unlink()
    result = pytester.runpytest("--onnxlite-baseline", "package/tests")
    assert result.ret == 1
    assert f"{pytester.path / 'pyproject.toml'} declares models ([tool.onnxlite]), and what this run was given" in said(
        result
    )
    assert "<OnnxliteCheck size>" in said(pytester.runpytest("--collect-only", "onnxlite"))


def test_a_table_of_another_tool_below_is_not_ours(pytester: pytest.Pytester) -> None:
    (pytester.mkdir("package") / "pyproject.toml").write_text(
        '[tool.onnxlitening]\nx = 1\n[tool.other]\ny = "tool.onnxlite"\n'
    )
    pytester.makefile(".ini", pytest="[pytest]\n")
    pytester.makepyfile("def test_root(): pass")
    assert "package" not in said(pytester.runpytest("--onnxlite-baseline"))
