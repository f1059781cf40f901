"""What messages tell the reader to type stands in one place, and each of it works, typed as it stands, also where an ini file asks for workers."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest

from pytest_onnxlite import commands
from pytest_onnxlite.__main__ import main

from onnx_models import lookup
from projects import REPOSITORY, UNEXPLAINED, Project

Make = Callable[..., Project]
PACKAGE = REPOSITORY / "pytest_onnxlite"
# The README's own, five markers on one test; latency is timed for less long.
README = """
    @pytest.mark.onnxlite_accuracy(max_drop=0.01)
    @pytest.mark.onnxlite_size
    @pytest.mark.onnxlite_latency(max_slowdown=1.0, max_time=0.5)
    @pytest.mark.onnxlite_memory(max_growth=0.5)
    @pytest.mark.onnxlite_graph
"""
COMMAND = re.compile(
    r"\bpytest (?:-(?!-markers)|onnxlite\b)|python -m pytest_onnxlite|\bgit (?:checkout|lfs|add|fetch)\b|pip install [-'\"]|apt-get|-m venv"
)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module that are no docstrings, with their lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    documented = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, owners) and node.body
                  and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.lineno, node.value


def test_commands_are_suggested_from_one_place_alone() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "commands.py" and COMMAND.search(path.read_text(encoding="utf-8"))
        for line, text in texts(path)
        if COMMAND.search(text)
    ]
    assert not found
    templates = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.j2")]
    assert templates
    assert not any(COMMAND.search(text) for text in templates)


def type_in(project: Project, command: str) -> tuple[int, str]:
    """Type a command as it stands; returns its exit code, and what it printed."""
    words = shlex.split(command)
    if words[0] == "pytest":
        result = project.run(UNEXPLAINED, *words[1:])
        return int(result.ret), result.stdout.str() + result.stderr.str()
    if words[:3] == ["python", "-m", "pytest_onnxlite"]:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main(words[3:])
        return code, said.getvalue()
    done = subprocess.run(words, cwd=project.path, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def git(project: Project, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", *identity, *arguments], cwd=project.path, check=True, capture_output=True)


@pytest.fixture
def readme(digits_project: Make) -> Project:
    """The README's example, under git, where an ini file asks for workers."""
    project = digits_project(markers=README)
    (project.path / "pytest.ini").write_text("[pytest]\naddopts = -n 2\n")
    (project.path / ".gitignore").write_text(".pytest_cache\n__pycache__\n.benchmarks\nconftest.py\n")
    git(project, "init", "-q")
    return project


def test_what_the_example_says_to_type_works_with_workers_in_addopts(readme: Project) -> None:
    def follow(before: str, command: str, code: int = 0) -> str:
        """Type a command that a text suggests."""
        assert command in before
        found, after = type_in(readme, command)
        assert found == code, after
        return after

    # Saved: what is refused says what to type.
    _, refused = type_in(readme, f"{commands.SAVE} --dist=each")
    follow(refused, f"{commands.SAVE} -n 0")
    git(readme, "add", "-A")
    git(readme, "commit", "-qm", "a release")

    # A damaged baseline, and a released file that is gone, are restored.
    for path in (readme.baseline, readme.artefact):
        path.write_bytes(b"{")
        _, red = type_in(readme, f"{commands.COMPARE} -n 0 -p no:benchmark")
        follow(red, commands.restore(path))
    assert b"artefact" in readme.baseline.read_bytes()

    # What no baseline names is removed, and a failure is accepted and replayed.
    stray = readme.artefact.with_name(f"int8-{hashlib.sha256(b'merged').hexdigest()[:16]}.onnx")
    stray.write_bytes(b"merged")
    test = readme.path / "test_release.py"
    test.write_text(test.read_text().replace("_size", "_size(ratio=1.0, tolerance=0.0)"))
    model = onnx.load(readme.path / "int8.onnx")
    model.producer_version = "of a release that is larger"
    onnx.save(model, readme.path / "int8.onnx")
    _, red = type_in(readme, f"{commands.COMPARE} -n 0 --onnxlite-bundle=failures")
    follow(red, commands.prune(readme.path / "baselines"))
    assert not stray.exists()
    (bundle,) = (readme.path / "failures").iterdir()
    follow(red, commands.replay(bundle), code=1)
    follow(red, "pytest -n 0 --onnxlite-save-baseline --onnxlite-accept")


def test_a_command_means_what_the_run_did(project: Project, tmp_path: Path) -> None:
    """The runtime, the folder and the mode of the run that suggests it, and paths with spaces."""
    (project.path / "pyproject.toml").write_text('[tool.onnxlite.runtimes.lean]\noptimization = "basic"\n')
    model = lookup(tmp_path / "a.onnx", [0] * 30)
    x = np.arange(30, dtype=np.int64).reshape(-1, 1)
    project.write({"onnx": model}, x, np.zeros(30, np.int64), variant="onnx", markers="@pytest.mark.onnxlite_outputs")
    options = "--onnxlite-runtime=lean --onnxlite-baseline-dir='my baselines'"
    _, missing = type_in(project, f"{commands.COMPARE} {options}")
    said = f"pytest {options} --onnxlite-save-baseline"
    assert said in missing
    assert type_in(project, said)[0] == 0
    assert type_in(project, f"{commands.COMPARE} {options}")[0] == 0
    kept = project.path / "my baselines" / "@lean"
    assert (kept / "digits" / "onnx.json").is_file()

    # What git ignores is added.
    git(project, "init", "-q")
    (project.path / ".gitignore").write_text("*.onnx\n")
    (kept / "digits" / "onnx.json").unlink()
    _, ignored = type_in(project, said)
    assert (add := commands.add_ignored(kept)) in ignored
    assert type_in(project, add)[0] == 0
    listed = subprocess.run(["git", "ls-files"], cwd=project.path, capture_output=True, text=True, check=True).stdout
    assert ".onnx" in listed

    # A save that was cut short is taken back.
    git(project, "commit", "-qm", "a release")
    (baseline,) = kept.glob("*/*.json")
    before = hashlib.sha256(baseline.read_bytes()).hexdigest()
    baseline.write_bytes(baseline.read_bytes() + b"\n")
    changes = {"digits/onnx.json": {"before": before, "after": hashlib.sha256(baseline.read_bytes()).hexdigest()},
               "digits/int8.json": {"before": "", "after": "0" * 64}}  # fmt: skip
    (kept / "unfinished-save.json").write_text(json.dumps({"baselines": changes}))
    _, torn = type_in(project, f"{commands.COMPARE} {options}")
    assert (back := commands.restore(kept)) in torn
    assert type_in(project, back)[0] == 0
    assert type_in(project, f"{commands.COMPARE} {options}")[0] == 0

    # What is no report is written as one, and a package below another root is judged.
    report = project.path / "my report.json"
    report.write_text("no JSON")
    code, text = type_in(project, f"python -m pytest_onnxlite report {commands.quoted(report)}")
    assert code == 2
    assert (write := commands.report(report)) in text
    assert type_in(project, write)[0] == 0
    assert type_in(project, f"python -m pytest_onnxlite report {commands.quoted(report)}")[0] == 0
    package = project.path / "my package"
    package.mkdir()
    shutil.copyfile(model, package / "a.onnx")
    np.savez(package / "data.npz", x=x, y=np.zeros(30, np.int64))
    declared = (
        '[tool.onnxlite.models.own]\nonnx = "a.onnx"\nvariants = ["onnx"]\ndata = "data.npz"\nsize = {ratio = 1.0}\n'
    )
    (package / "pyproject.toml").write_text(declared)
    _, told = type_in(project, f"{commands.COMPARE} {options}")
    assert (elsewhere := commands.judge_elsewhere(package / "pyproject.toml")) in told
    assert "own" in type_in(project, elsewhere)[1]
    assert type_in(project, commands.lint(package / "a.onnx"))[0] == 0


def test_what_is_to_be_installed_exists(tmp_path: Path) -> None:
    # Nothing is installed here: pip reads the command, and the extra is one of ours.
    extras = set(metadata.metadata("pytest-onnxlite").get_all("Provides-Extra") or ())
    asked = {
        extra for path in PACKAGE.rglob("*.py") for extra in re.findall(r"\binstall\(['\"](\w+)", path.read_text())
    }
    assert asked
    assert asked <= extras
    pip = importlib.import_module("pip._internal.commands").create_command("install")
    for command in (*map(commands.install, asked), commands.install_into(tmp_path / "a b", "onnxruntime")):
        program, install, *words = shlex.split(command)
        assert (program, install) == ("pip", "install")
        options, wanted = pip.parse_args(words)
        assert len(wanted) == 1
        assert options.target_dir in (None, str(tmp_path / "a b"))
    words = shlex.split(commands.make_environment(sys.executable, tmp_path / "a b"))
    assert subprocess.run([*words, "--without-pip"], check=False).returncode == 0
    if shutil.which("git-lfs"):
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        assert subprocess.run(shlex.split(commands.LFS_PULL), cwd=tmp_path, check=False).returncode == 0
