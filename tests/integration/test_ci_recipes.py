"""The CI recipes of docs/ci: their YAML is what the services read, and their shell does what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from onnx_models import lookup
from projects import REPOSITORY

RECIPES = REPOSITORY / "docs" / "ci"
WORKFLOWS = sorted((*RECIPES.glob("github*.yml"), *REPOSITORY.glob(".github/workflows/*.yml")))
ANSWERS = np.arange(200) % 10
CONFTEST = """
import numpy as np
import pytest
from pytest_onnxlite import Dataset, ModelSpec

@pytest.fixture(scope="session")
def onnxlite_model():
    data = np.load("data.npz")
    return ModelSpec("digits", onnx="model.onnx", evaluation=Dataset(data["x"], data["y"]))
"""
TESTS = """
import pytest

@pytest.mark.onnxlite_size
def test_size(onnxlite_onnx):
    pass

def test_one():
    pass

def test_another():
    pass

@pytest.mark.nightly
@pytest.mark.onnxlite_accuracy
def test_accuracy(onnxlite_onnx):
    pass
"""
# Stands for GitHub's command, which needs a token: it keeps the comment that it was to write.
GH = '#!/bin/sh\necho "$@" > gh.txt\nfor last; do :; done\ncp "$last" comment.md\n'


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


@dataclass
class Repository:
    """A user's repository with one guarded model, saved, and committed."""

    path: Path
    said: str = ""
    codes: dict[str, int] = field(default_factory=dict)

    def git(self, *arguments: str) -> str:
        name = ["-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "init.defaultBranch=main"]
        done = subprocess.run(["git", *name, *arguments], cwd=self.path, capture_output=True, text=True, check=True)
        return done.stdout

    def release(self, wrong: int) -> None:
        """Put a model into it that answers so many of 200 samples wrongly."""
        lookup(self.path / "model.onnx", (ANSWERS + (np.arange(len(ANSWERS)) < wrong)) % 10)

    def run(self, command: str, **environment: str) -> int:
        """Run a step's shell, as a runner does."""
        path = f"{self.path / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        outer = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "GITHUB_", "ONNXLITE_"))}
        done = subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=self.path,
            env={**outer, "PATH": path, "PYTEST_ADDOPTS": "-p no:randomly", **environment},
            capture_output=True,
            text=True,
        )
        self.said += done.stdout + done.stderr
        return done.returncode

    def job(self, job: Any, **values: str) -> int:
        """Run a job's steps; those after a failed one only if they say so. Returns the worst exit code."""
        worst = 0
        for step in job["steps"]:
            if "run" not in step or "pip install" in step["run"] or (worst and "always()" not in step.get("if", "")):
                continue
            environment = {name: values.get(name, "") for name in step.get("env", {})}
            code = self.run(step["run"], **environment)
            self.codes[step["name"]] = code
            worst = worst or code
        return worst


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = Repository(tmp_path_factory.mktemp("repository"))
    repository.release(wrong=0)
    np.savez(repository.path / "data.npz", x=np.arange(len(ANSWERS)).reshape(-1, 1), y=ANSWERS)
    for name, text in {
        "conftest.py": CONFTEST,
        "test_release.py": TESTS,
        "pytest.ini": "[pytest]\nmarkers = nightly: at night\n",
        ".gitignore": "__pycache__/\n.pytest_cache/\n.onnxlite-cache/\n.benchmarks/\nonnxlite*\njunit.xml\nbin/\n*.txt\ncomment.md\n",
    }.items():
        (repository.path / name).write_text(text)
    (repository.path / "bin").mkdir()
    (repository.path / "bin" / "gh").write_text(GH)
    (repository.path / "bin" / "gh").chmod(0o755)
    assert repository.run("pytest --onnxlite-save-baseline") == 0, repository.said
    repository.git("init")
    repository.git("add", ".")
    repository.git("commit", "-m", "first release")
    return repository.path


@pytest.fixture
def repository(saved: Path, tmp_path: Path) -> Repository:
    return Repository(Path(shutil.copytree(saved, tmp_path / "repository")))


def test_the_services_can_read_them() -> None:
    """By the schemas of GitHub's workflows and of GitLab's CI, as check-jsonschema has them."""
    assert len(WORKFLOWS) >= 4
    for schema, files in {"github-workflows": WORKFLOWS, "gitlab-ci": [RECIPES / "gitlab.yml"]}.items():
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_recipe_names_options_that_there_are(pytestconfig: pytest.Config) -> None:
    known = {name for name in vars(pytestconfig.option) if name.startswith("onnxlite_")}
    named = {name for path in RECIPES.glob("*.yml") for name in re.findall(r"--(onnxlite-[a-z-]+)", path.read_text())}
    assert "onnxlite-complete" in named
    assert {name.replace("-", "_") for name in named} <= known


def test_github_reports_a_good_release_and_a_bad_one(repository: Repository) -> None:
    job = load(RECIPES / "github.yml")["jobs"]["guard"]
    assert repository.job(job, NUMBER="7") == 0, repository.said
    assert "--edit-last --create-if-none" in (repository.path / "gh.txt").read_text()
    assert "Release guard" in (repository.path / "comment.md").read_text()
    repository.release(wrong=20)
    assert repository.job(job, NUMBER="7") == 1
    assert repository.codes == {"guard": 1, "page": 0, "comment": 0}
    assert "20 fewer right" in (repository.path / "comment.md").read_text()
    for name in ("onnxlite.json", "onnxlite.html", "junit.xml"):
        assert "20 fewer right" in (repository.path / name).read_text(), name


def test_gitlab_reports_a_bad_release(repository: Repository) -> None:
    job = load(RECIPES / "gitlab.yml")["guard"]
    repository.release(wrong=20)
    *_, guard = job["script"]
    assert repository.run(f"{guard} --onnxlite-sarif=a.sarif --onnxlite-code-quality=q.json") == 1, repository.said
    (entry,) = json.loads((repository.path / "q.json").read_text())
    assert (entry["check_name"], entry["location"]["path"]) == ("onnxlite/accuracy", "test_release.py")
    assert "20 fewer right" in (repository.path / "a.sarif").read_text()
    assert repository.run("\n".join(job["after_script"])) == 0, repository.said
    for name in (*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]):
        assert "20 fewer right" in (repository.path / name).read_text(), name


def test_four_shards_give_one_verdict(repository: Repository) -> None:
    jobs = load(RECIPES / "github-shards.yml")["jobs"]
    numbers = [str(number) for number in jobs["shard"]["strategy"]["matrix"]["shard"]]
    assert [repository.job(jobs["shard"], SHARD=number) for number in numbers] == [0, 0, 0, 0], repository.said
    assert repository.job(jobs["verdict"]) == 0, repository.said
    repository.release(wrong=20)
    assert repository.job(jobs["shard"], SHARD="4") == 1, repository.said
    assert repository.job(jobs["verdict"]) == 1
    assert "20 fewer right" in (repository.path / "onnxlite.md").read_text()
    (repository.path / "onnxlite-1.json").unlink()
    assert repository.job(jobs["verdict"]) == 1
    assert "4 shards were to report, and there are reports of 3" in (repository.path / "onnxlite.md").read_text()


def test_what_is_nightly_is_left_out_by_day_and_judged_at_night(repository: Repository) -> None:
    jobs = load(RECIPES / "github-nightly.yml")["jobs"]
    repository.release(wrong=20)
    assert repository.job(jobs["push"]) == 0, repository.said
    assert "partial" in repository.said
    assert repository.job(jobs["night"]) == 1


def test_a_pull_request_is_compared_with_its_target(repository: Repository) -> None:
    job = load(RECIPES / "github-against-main.yml")["jobs"]["guard"]
    repository.git("rm", "-r", "-q", "baselines")
    repository.git("commit", "-q", "-m", "no baselines in git")
    repository.git("checkout", "-q", "-b", "change")
    repository.release(wrong=20)
    repository.git("commit", "-q", "-a", "-m", "a worse model")
    assert repository.job(job, TARGET="main") == 1
    assert repository.codes == {"target": 0, "guard": 1}, repository.said
    assert "20 fewer right" in repository.said
    assert "compared with baselines of the folder ../target (commit" in repository.said


def test_a_label_accepts_a_release_as_a_commit(repository: Repository) -> None:
    job = load(RECIPES / "github-accept.yml")["jobs"]["save"]
    job["steps"] = [step for step in job["steps"] if step.get("name") != "push"]
    repository.release(wrong=20)
    assert repository.job(job, REASON="fewer digits, by choice") == 0, repository.said
    assert "fewer digits, by choice" in repository.git("show")
    assert "baselines/digits/onnx.json" in repository.git("show", "--stat", "--format=%s")
    assert repository.run("pytest --onnxlite-baseline") == 0, repository.said
