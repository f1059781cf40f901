"""Under pytest-xdist: nothing is lost, nothing is built twice, and nothing is measured beside others at work."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onnx_models import dense, wide
from projects import UNEXPLAINED, Project

Make = Callable[..., Project]

SIZE = "@pytest.mark.onnxlite_size"


def said(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


def test_where_no_worker_can_follow_it_stops_before_running_and_says_what_to_type(digits_project: Make) -> None:
    """Each of the workers of --dist=each runs every test."""
    project = digits_project(
        test=f"""import pytest
@pytest.mark.onnxlite_latency
def test_release(onnxlite_int8): pass
{SIZE}
def test_size(onnxlite_int8): pass
def test_other(): open("ran", "w")
"""
    )
    for mode in ("--onnxlite-baseline", "--onnxlite-save-baseline"):
        result = project.run(mode, "--dist=each", "--tx=2*popen")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        text = result.stderr.str()
        assert text.count("ERROR: ") == 1
        assert "ERROR: test_release.py::test_release: latency cannot be measured while pytest-xdist" in text
        assert "Traceback" not in said(result)
        assert "INTERNALERROR" not in said(result)
        assert not (project.path / "ran").exists()
        if mode == "--onnxlite-baseline":
            assert f'pytest {mode} -n 0 -m "onnxlite_latency"\n' in text
            assert f'pytest {mode} -n 2 -m "not onnxlite_latency"\n' in text
        else:  # of a new file all is measured in one run, or nothing is saved
            assert "Save in one process:\n  pytest --onnxlite-save-baseline -n 0\n" in text


LOG = """
import os, time, pytest

@pytest.fixture(autouse=True)
def log(request):
    began = time.time()
    yield
    with open("log.txt", "a") as file:
        file.write(f"{request.node.name} {os.environ['PYTEST_XDIST_WORKER']} {began} {time.time()}\\n")
"""


@pytest.mark.alone
def test_what_is_timed_runs_after_all_others_and_alone(project: Project, tmp_path: Path) -> None:
    x = np.ones((4, 256), np.float32)
    test = f"""{LOG}
@pytest.mark.onnxlite_latency(max_slowdown=1.0, max_time=10)
def test_timed(onnxlite_onnx): pass
@pytest.mark.parametrize("number", range(3))
def test_other(number): time.sleep(0.2)
@pytest.mark.xdist_group("one")
@pytest.mark.onnxlite_graph
@pytest.mark.onnxlite_latency(max_slowdown=1.0, max_time=10)
def test_timed_too(onnxlite_onnx): pass
@pytest.mark.onnxlite_graph
def test_size(onnxlite_onnx): pass
"""
    project.write({"onnx": dense(tmp_path / "a.onnx", 4)}, x, test=test)
    project.save("-n2", "--dist=loadgroup").assert_outcomes(passed=6)
    lines = [line.split() for line in (project.path / "log.txt").read_text().splitlines()]
    timed, others = ([line for line in lines if line[0].startswith("test_timed") is kind] for kind in (True, False))
    assert (len(timed), len(others)) == (2, 4)
    assert {line[1] for line in timed} == {"gw2"}
    assert min(float(line[2]) for line in timed) > max(float(line[3]) for line in others)
    compare = "--dist=worksteal", "--onnxlite-complete", UNEXPLAINED
    green = project.compare("-n2", *compare)
    green.assert_outcomes(passed=6)
    green.stdout.fnmatch_lines(["onnxlite: 2 tests that nothing may disturb, one after the other"])
    assert "judged on" not in said(green)
    project.replace("onnx.onnx", dense(tmp_path / "b.onnx", 16))
    red = project.compare("-n2", *compare)
    red.assert_outcomes(passed=4, failed=2)
    red.stdout.fnmatch_lines(["*at most 2.00x allowed*"])
    assert "judged on" not in said(red)


def test_nothing_that_was_to_be_timed_later_is_lost(project: Project, tmp_path: Path) -> None:
    """A worker that dies, a run that is stopped before, and a collection that gives other tests the second time."""
    test = """import os, pytest
kind, worker = os.environ["KIND"], os.environ.get("PYTEST_XDIST_WORKER")

if worker == "gw2":  # before it builds anything: what the others built must be there, though all of them are gone
    import pathlib, tempfile
    from pytest_onnxlite.workspace import remove_left
    place = pathlib.Path(tempfile.gettempdir())
    for folder in place.glob("onnxlite-*"):
        os.utime(folder, (1, 1))
    before = set(place.iterdir())
    remove_left(place)
    open("removed" if before - set(place.iterdir()) else "kept", "w").close()

@pytest.mark.onnxlite_size
def test_built(onnxlite_onnx): pass

@pytest.mark.onnxlite_latency
def test_dies(onnxlite_onnx): os._exit(1)

if kind != "lost" or worker in ("gw0", "gw1"):
    @pytest.mark.onnxlite_latency
    def test_last(onnxlite_onnx): open("last", "w").close()

def test_other(): assert kind != "stopped"
"""
    project.write({"onnx": dense(tmp_path / "a.onnx", 2)}, np.ones((4, 256), np.float32), test=test)
    last = project.path / "last"
    told = {
        "dies": (
            ["--onnxlite-report=r.json", "--onnxlite-cache=off"],
            "crashed while running 'test_release.py::test_dies'",
        ),
        "stopped": (["-x"], "stopping after 1 failures"),
        "lost": (["-k", "not dies"], "and did not: test_release.py::test_last"),
    }
    (tmp_path / "tmp").mkdir()
    for kind, (options, text) in told.items():
        last.unlink(missing_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KIND", kind)
            patch.setenv("TMPDIR", str(tmp_path / "tmp"))
            result = project.pytester.runpytest_subprocess("-n2", *options)
        assert result.ret != 0
        assert text in said(result)
        assert last.exists() == (kind == "dies"), said(result)
        if kind == "dies":
            assert (project.path / "kept").exists()
            assert not (project.path / "removed").exists()
    assert json.loads((project.path / "r.json").read_text())["verdict"] == "fail"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other processes at work disturb it elsewhere")
def test_memory_is_judged_in_the_workers(project: Project, tmp_path: Path) -> None:
    markers = {"growth": "", "budget": "max='200 MiB'", "red": "max='1 MiB'"}
    tests = [
        f"@pytest.mark.onnxlite_memory({m})\ndef test_{name}(onnxlite_onnx): pass\n" for name, m in markers.items()
    ]
    x = np.ones((2, 1, 64, 64), np.float32)
    project.write({"onnx": wide(tmp_path / "model.onnx", 64)}, x, test="\n".join(["import pytest", *tests]))
    project.save("-k", "growth")
    project.compare("-n2").assert_outcomes(passed=2, failed=1)
    # Twice as many maps are alive at once.
    project.replace("onnx.onnx", wide(tmp_path / "wider.onnx", 128))
    result = project.compare(UNEXPLAINED, "-n2", "--dist=loadfile", "-k", "growth")
    result.assert_outcomes(failed=1)
    assert "needs more memory than the last release" in said(result)


def test_a_mistake_in_a_marker_is_told_once_and_is_no_crash(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n@pytest.mark.onnxlite_size(ratoi=1)\ndef test_release(onnxlite_int8): pass\ndef test_other(): pass"
    )
    result = pytester.runpytest("-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said(result).count("unknown argument 'ratoi'; did you mean ratio?") == 1
    assert "INTERNALERROR" not in said(result)


COUNT_BUILDS = """
from pytest_onnxlite.variants.cache import Cache

build = Cache._build

def counted(self, place, *rest):
    with open("built.txt", "a") as log:
        log.write(place.name.split("-")[0] + " ")
    if list(self.folder.glob("lock-*")):
        open("held.txt", "w")
    build(self, place, *rest)

Cache._build = counted
"""


@pytest.mark.parametrize(
    "options",
    [["-pno:cacheprovider"], *(pytest.param(o, marks=pytest.mark.thorough) for o in ([], ["--onnxlite-cache=off"]))],
)
def test_variants_are_built_once_and_not_once_a_worker(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    x = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    model = dense(tmp_path / "model.onnx", 3, width=64)
    project.write(
        {"onnx": model},
        x,
        test=f"""import pytest
@pytest.mark.parametrize("number", range(6))
{SIZE}(ratio=0.3)
def test_release(onnxlite_int8, number): pass
""",
    )
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text() + COUNT_BUILDS)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    project.pytester.runpytest_subprocess("-n2", "--dist=load", *options).assert_outcomes(passed=6)
    assert sorted((project.path / "built.txt").read_text().split()) == ["first", "int8"]
    assert [path.name for path in temporary.iterdir() if "onnxlite" in path.name] == []
    assert bool(list(project.path.glob(".pytest_cache/d/onnxlite*"))) == (not options)
    # What the workers alone use is held by them: of a run that was killed, the next one removes it.
    assert (project.path / "held.txt").exists() == bool(options)


def test_nothing_is_lost_between_the_workers_and_the_controller(digits_project: Make) -> None:
    project = digits_project(
        test=f"""import pytest
{SIZE}
def test_size(onnxlite_int8): pass
@pytest.mark.onnxlite_accuracy(variant="onnx")
@pytest.mark.onnxlite_graph(variant="onnx")
def test_onnx(onnxlite_onnx): pass
@pytest.mark.onnxlite_accuracy
def test_int8(onnxlite_int8): pass
{SIZE}(ratio=0.001)
def test_red(onnxlite_int8): pass
"""
    )
    reports = []
    for number, workers in enumerate((["-n2"], [])):
        result = project.run(*workers, f"--onnxlite-report={number}.json", f"--junitxml={number}.xml")
        result.assert_outcomes(passed=3, failed=1)
        report = json.loads((project.path / f"{number}.json").read_text())
        reports.append(sorted(report["records"], key=lambda record: (record["test"], record["variant"])))
        assert "onnxlite.digits.int8.size.onnx" in (project.path / f"{number}.xml").read_text()
    assert reports[0] == reports[1]


def test_a_baseline_nobody_looked_at_is_red_only_where_all_tests_ran(digits_project: Make) -> None:
    project = digits_project(
        test=f"import pytest\n{SIZE}\ndef test_size(onnxlite_int8): pass\ndef test_other(): pass\n"
    )
    project.save("-n2")
    forgotten = project.path / "baselines" / "faces" / "int8.json"
    forgotten.parent.mkdir()
    forgotten.write_text("{}")
    full = project.compare("-n2")
    assert full.ret == 1
    full.stdout.fnmatch_lines(["ERROR: no test looked at the baseline faces/int8.json*"])
    # Workers leave tests out, and the controller must hear of those that guard.
    shutil.rmtree(forgotten.parent)
    part = project.compare("-n2", "-k", "other")
    assert part.ret == 0
    part.stdout.fnmatch_lines(
        ["partial: 0 of 1 baseline looked at.", "baselines not looked at in this run: digits/int8.json"]
    )


def test_a_worker_that_dies_saves_nothing_of_its_test(digits_project: Make) -> None:
    project = digits_project(
        test=f"""import os, pytest
{SIZE}
def test_size(onnxlite_int8): pass
{SIZE}
def test_dies(onnxlite_int8): os._exit(1)
"""
    )
    result = project.run("--onnxlite-save-baseline", "-n2", "--max-worker-restart=1")
    assert result.ret == 1
    assert not list(project.path.glob("baselines/*/*.json"))


# Runs what it is told on one processor: by its fingerprint that is another machine than the one that started the run.
SSH = f"""#!{sys.executable}
import os, sys
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
os.execv("/bin/sh", ["sh", "-c", sys.argv[-1]])
"""
TIMED_TOO = """import os, pytest

@pytest.mark.onnxlite_graph
def test_graph(onnxlite_onnx): pass

@pytest.mark.onnxlite_memory(max_growth=1.0)
@pytest.mark.onnxlite_latency(max_slowdown=1.0, max_time=10)
def test_timed(onnxlite_onnx): open("timed", "w").write(os.environ.get("PYTEST_XDIST_WORKER", "none"))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a processor to be chosen")
def test_workers_on_other_machines_measure_there_and_it_is_told(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("one processor is the same machine")
    x = np.ones((4, 256), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 4)}, x, test=TIMED_TOO)
    project.save()
    here = json.loads(project.baseline.read_text())["machines"]
    there = tmp_path / "there"
    shutil.copytree(project.path, there)
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(ssh.parent), prepend=os.pathsep)
    workers = ("--dist=load", f"--tx=ssh=box//chdir={there}//python={sys.executable}")

    shutil.copyfile(dense(tmp_path / "b.onnx", 24), there / "onnx.onnx")
    red = project.compare(*workers, "--onnxlite-report=r.json", "--onnxlite-markdown=r.md", UNEXPLAINED)
    red.assert_outcomes(passed=1, failed=1)
    assert (there / "timed").read_text() == "gw1"
    on = f"digits onnx: judged on {platform.node()} ("
    assert red.stdout.str().count(on) == 1
    assert (project.path / "r.md").read_text().count(on) >= 1
    report = json.loads((project.path / "r.json").read_text())
    assert [record["judged_on"]["machine"]["cpus"] for record in report["records"]] == [1, 1]
    assert report["machine"]["cpus"] > 1

    # What is saved is that machine's, if its file is here too.
    shutil.copyfile(tmp_path / "a.onnx", there / "onnx.onnx")
    project.save(*workers)
    machines = json.loads(project.baseline.read_text())["machines"]
    assert {key: machines[key] for key in here} == here
    (added,) = machines.keys() - here.keys()
    assert machines[added]["description"]["cpus"] == 1
