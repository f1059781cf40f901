"""Baselines on disk: read with suspicion, replaced in one step, never half written."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, structs

from pytest_onnxlite.baseline import unfinished
from pytest_onnxlite.baseline.fingerprint import Machine, describe_machine, fingerprint
from pytest_onnxlite.baseline.places.folder import LocalFolder
from pytest_onnxlite.baseline.record import Artefact, Baseline, BrokenBaseline, KeptFile, OnMachine
from pytest_onnxlite.baseline.released import unnamed
from pytest_onnxlite.baseline.runtime import machine_key
from pytest_onnxlite.baseline.shipped import ShippedRuntime
from pytest_onnxlite.baseline.store import BaselineStore, NoArtefact
from pytest_onnxlite.baseline.unfinished import NAME, digest
from pytest_onnxlite.baseline.writing import Entry, as_text, left_behind, save, saving
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, AccuracySection
from pytest_onnxlite.checks.check import Check
from pytest_onnxlite.checks.latency.measurement import Latency, LatencySection
from pytest_onnxlite.checks.limit import Limit
from pytest_onnxlite.checks.memory.measurement import Memory, Peak
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.size.measurement import Size, SizeSection
from pytest_onnxlite.checks.task import Judged, Task
from pytest_onnxlite.checks.turns.comparison import Comparison
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import LOCKS, Busy, Pending, locked
from pytest_onnxlite.guard.last_release import load_last
from pytest_onnxlite.labels import ByName
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.report.listing import describe
from pytest_onnxlite.saving import merge
from pytest_onnxlite.variants.cache import hash_file

MACHINE = Machine(os="linux", architecture="x86_64", cpus=2, cpu="test")
CHECKS = Registry.load().checks


def a_baseline(source: Path, **changes: Any) -> Baseline:
    sha256 = hash_file(source)
    artefact = Artefact(f"int8-{sha256[:16]}.onnx", sha256, source.stat().st_size, True)
    return replace(Baseline("digits", "int8", artefact, {"size": SizeSection(source.stat().st_size)}), **changes)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the first release")
    return path


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path / "baselines", CHECKS)


def test_what_is_saved_is_loaded(store: BaselineStore, source: Path) -> None:
    baseline = a_baseline(source)
    assert store.load("digits", "int8") is None
    assert save(store, baseline, [source])
    assert store.load("digits", "int8") == baseline
    assert store.artefact(baseline).read_bytes() == source.read_bytes()
    assert store.saved() == [("digits", "int8")]


def test_saving_the_same_again_writes_nothing(store: BaselineStore, source: Path) -> None:
    save(store, a_baseline(source), [source])
    path = store.path("digits", "int8")
    before = path.stat().st_mtime_ns, path.read_bytes()
    assert not save(store, a_baseline(source), [source])
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


def test_the_artefact_before_is_removed(store: BaselineStore, source: Path) -> None:
    save(store, a_baseline(source), [source])
    source.write_bytes(b"the second release")
    save(store, a_baseline(source), [source])
    assert [p.read_bytes() for p in store.folder.glob("*/*.onnx")] == [b"the second release"]


def other(source: Path, content: bytes = b"the second release") -> Baseline:
    source.write_bytes(content)
    return a_baseline(source)


@pytest.mark.parametrize("name", ["int8.json", "onnx.json", "onnx-0123456789abcdef.onnx", "notes.txt", "kept"])
def test_a_save_removes_no_file_that_it_would_not_have_named_so(store: BaselineStore, source: Path, name: str) -> None:
    """A name in a JSON may be any file's: another variant's, a folder's, the baseline's own."""
    save(store, a_baseline(source), [source])
    folder = store.folder / "digits"
    content = json.loads((folder / "int8.json").read_text())
    content["artefact"]["file"] = name
    (folder / "int8.json").write_text(json.dumps(content))
    (folder / "kept").mkdir()
    for file in ("onnx.json", "onnx-0123456789abcdef.onnx", "notes.txt", "kept/notes.txt"):
        (folder / file).write_text("mine")
    there = sorted(folder.rglob("*"))
    baseline = other(source)
    save(store, baseline, [source])
    assert sorted(folder.rglob("*")) == sorted([*there, folder / baseline.artefact.file])
    assert store.load("digits", "int8") == baseline


def test_a_released_file_that_another_baseline_names_stays(store: BaselineStore, source: Path) -> None:
    first = a_baseline(source)
    save(store, first, [source])
    (store.folder / "digits" / "own.json").write_text(json.dumps({"artefact": {"file": first.artefact.file}}))
    save(store, other(source), [source])
    assert (store.folder / "digits" / first.artefact.file).is_file()


def test_what_a_dead_process_left_is_removed(store: BaselineStore, source: Path) -> None:
    save(store, a_baseline(source), [source])
    folder = store.folder / "digits"
    left = [".saving-abc", "int8-0123456789abcdef.onnx"]
    stays = ["onnx-0123456789abcdef.onnx", "int8-mine.onnx", "int8-0123456789abcdef.onnx.bak.txt"]
    (folder / ".saving-now").write_text("x")  # whoever holds the lock is alone
    for name in (*left, *stays, "int8-fedcba9876543210.onnx"):
        (folder / name).write_text("x")
    for name in (*left, *stays):
        os.utime(folder / name, (0, 0))
    baseline = other(source)
    save(store, baseline, [source])
    young = "int8-fedcba9876543210.onnx"  # a merge may be going on
    assert {path.name for path in folder.iterdir()} == {*stays, young, "int8.json", baseline.artefact.file}


def test_where_no_lock_can_be_had_what_somebody_may_be_writing_stays(store: BaselineStore, source: Path) -> None:
    store.folder.mkdir()
    (store.folder / LOCKS).write_text("no folder")
    save(store, a_baseline(source), [source])
    work = store.folder / "digits" / ".saving-now"
    work.write_text("x")
    assert save(store, other(source), [source])
    assert work.is_file()


def test_files_of_other_branches_stay_in_a_folder_that_the_user_named(tmp_path: Path, source: Path) -> None:
    store = BaselineStore(tmp_path / "baselines", CHECKS, LocalFolder(tmp_path / "files"))
    first = a_baseline(source)
    save(store, first, [source])
    branch = tmp_path / "files" / "digits" / "int8-0123456789abcdef.onnx"
    branch.write_text("another branch's")
    os.utime(branch, (0, 0))
    save(store, other(source), [source])
    assert branch.is_file()
    assert not (branch.parent / first.artefact.file).exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own there")
def test_a_baseline_that_is_a_link_stays_one(store: BaselineStore, source: Path, tmp_path: Path) -> None:
    save(store, a_baseline(source), [source])
    path, target = store.path("digits", "int8"), tmp_path / "elsewhere.json"
    path.replace(target)
    path.symlink_to(target)
    baseline = other(source)
    save(store, baseline, [source])
    assert path.is_symlink()
    assert store.load("digits", "int8") == baseline
    assert json.loads(target.read_text())["artefact"]["file"] == baseline.artefact.file


def test_artefacts_may_lie_elsewhere(tmp_path: Path, source: Path) -> None:
    store = BaselineStore(tmp_path / "baselines", CHECKS, LocalFolder(tmp_path / "elsewhere"))
    save(store, a_baseline(source), [source])
    assert not list((tmp_path / "baselines").rglob("*.onnx"))
    assert store.artefact(a_baseline(source)).is_relative_to(tmp_path / "elsewhere")


def test_an_artefact_that_was_not_kept_says_so(store: BaselineStore, source: Path) -> None:
    baseline = a_baseline(source)
    baseline = replace(baseline, artefact=structs.replace(baseline.artefact, kept=False))
    save(store, baseline, [source])
    assert not list(store.folder.rglob("*.onnx"))
    with pytest.raises(NoArtefact, match="onnxlite_keep_artefact = false"):
        store.artefact(baseline)


def test_a_changed_artefact_is_noticed(store: BaselineStore, source: Path) -> None:
    baseline = a_baseline(source)
    save(store, baseline, [source])
    store.artefact(baseline).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(BrokenBaseline, match="not the file that was measured"):
        store.artefact(baseline)


def content(**changes: Any) -> str:
    good = Baseline("digits", "int8", Artefact("a.onnx", "0" * 64, 1, True), {"size": SizeSection(1)}).as_dict()
    return json.dumps({**good, **changes})


BROKEN = {
    "truncated": (content()[:40], "not JSON"),
    "conflict marks": ("<<<<<<< HEAD\n" + content(), "not JSON"),
    "empty": ("", "is empty"),
    "a list": ("[]", "no baseline"),
    "another JSON": ('{"a": 1}', "no baseline"),
    "a later schema": (content(schema=2), "schema 2"),
    "a schema that Python takes for 1": (content(schema=True), "schema True"),
    "another model": (content(model="faces"), "another model: expected 'digits', found 'faces'"),
    "another variant": (content(variant="onnx"), "another variant"),
    "no artefact": (content(artefact=None), "'artefact' should be an object"),
    "a number as text": (content(size={"bytes": "1"}), "size.bytes: expected `int`, got `str`"),
    "a truth as number": (content(size={"bytes": True}), "size.bytes: expected `int`, got `bool`"),
    "a path that leaves": (
        content(artefact={"file": "../../x.onnx", "sha256": "0", "bytes": 1, "kept": True}),
        "leaves the folder",
    ),
    "machines as list": (content(machines=[]), "'machines' should be an object"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_and_left_alone(store: BaselineStore, source: Path, case: str) -> None:
    text, message = BROKEN[case]
    path = store.path("digits", "int8")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(BrokenBaseline, match=message) as raised:
        store.load("digits", "int8")
    assert str(path) in str(raised.value)
    with pytest.raises(BrokenBaseline):
        save(store, a_baseline(source), [source])
    assert path.read_text() == text


def test_bytes_that_are_no_text_are_broken(store: BaselineStore) -> None:
    path = store.path("digits", "int8")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BrokenBaseline, match="not UTF-8"):
        store.load("digits", "int8")


def test_an_unreadable_file_is_broken(store: BaselineStore) -> None:
    store.path("digits", "int8").mkdir(parents=True)  # what root cannot read either
    with pytest.raises(BrokenBaseline, match="cannot be read"):
        store.load("digits", "int8")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, source: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OnnxliteError, match="cannot be written"):
        save(
            BaselineStore(tmp_path / "baselines", CHECKS, LocalFolder(tmp_path / "file")), a_baseline(source), [source]
        )


SAVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store import CHECKS, a_baseline
from pytest_onnxlite.checks.graph.measurement import GraphSection
from pytest_onnxlite.checks.size.measurement import SizeSection
from pytest_onnxlite.lint import Signature
from pytest_onnxlite.baseline.store import BaselineStore
from pytest_onnxlite.baseline.writing import save
folder = Path(sys.argv[2])
store = BaselineStore(folder / "baselines", CHECKS)
print("ready", flush=True)
for i in range(10**9):
    source = folder / "candidate.onnx"
    source.write_bytes(str(i).encode() * 200_000)
    sections = {"size": SizeSection(source.stat().st_size), "graph": GraphSection(Signature((), ()), {"i": i})}
    save(store, a_baseline(source, sections=sections), [source])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_save_that_is_killed_leaves_a_whole_baseline(tmp_path: Path, store: BaselineStore) -> None:
    for attempt in range(7):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(Path(__file__).parent), str(tmp_path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        # However busy the machine is, the last one is killed after a save was whole.
        deadline = time.monotonic() + 60 * (attempt == 6)
        while time.monotonic() < deadline and not store.path("digits", "int8").exists():
            time.sleep(0.01)
        time.sleep(0.01 + 0.024 * attempt)
        while attempt == 6 and store.load("digits", "int8") is None and process.poll() is None:
            time.sleep(0.01)  # however slow the machine is, one of them has saved something
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        baseline = store.load("digits", "int8")
        if baseline is not None:
            store.artefact(baseline)  # there, and with the hash that the JSON names
    assert store.load("digits", "int8") is not None


def measured(seconds: float, load: int, ratio: float = 1.0, size: int = 100) -> dict[str, object]:
    times = (seconds,) * 8
    comparisons = {
        "baseline": Comparison("last release", 1.05, (ratio,) * 8),
        "sibling": Comparison("onnx", 1e6, (0.5,) * 8),
    }
    return {
        "accuracy": Accuracy("top1", 95, 100, 1, "d", "", 95, 0, 0),
        "size": Size(size, None, None),
        "latency": Latency(seconds, times, 40, 5, 1, 1, comparisons),
        "memory": Memory(Peak(load, load, True), Peak(100, 100, True), "VmHWM", "VmHWM", 1, 1),
    }


def merged(before: Baseline | None, sha256: str, found: dict[str, object], machine: Machine = MACHINE) -> Baseline:
    fresh = Baseline("digits", "int8", Artefact("a", sha256, 1, True))
    return merge(before, fresh, found, machine, CHECKS)


def test_noise_of_the_same_artefact_changes_nothing() -> None:
    first = merged(None, "0", measured(1.0, 100))
    assert merged(first, "0", measured(1.3, 110, 1.02)) == first


def test_what_a_runtime_made_worse_and_was_accepted_is_what_counts_from_then_on() -> None:
    first = merged(None, "0", measured(1.0, 100))
    fresh = Baseline("digits", "int8", Artefact("a", "0", 1, True))
    second = merge(first, fresh, measured(5.0, 900), MACHINE, CHECKS, accepted={"latency"})
    (machine,) = second.machines.values()
    assert [
        getattr(machine.sections[name], figure) for name, figure in (("latency", "seconds"), ("memory", "load"))
    ] == [
        5.0,
        100,
    ]


def test_machines_of_a_kind_are_those_of_other_runtimes_too() -> None:
    here = Machine("linux", "x86_64", "a cpu", ("avx2",), 2, "1.2", "CPUExecutionProvider", "all")
    saved = {
        "same": (here, 1.0),
        "other version": (structs.replace(here, onnxruntime="1.1"), 2.0),
        "other processor": (structs.replace(here, cpu="another"), 3.0),
        "fewer": (structs.replace(here, cpus=1), 4.0),
    }
    machines = {
        key: OnMachine(machine, {"latency": LatencySection(seconds=seconds, batch_size=1, threads=1)})
        for key, (machine, seconds) in saved.items()
    }
    baseline = Baseline("digits", "int8", Artefact("a", "0", 1, True), machines=machines)

    def seconds(version: str = "") -> list[float]:
        runtime = ShippedRuntime("onnxruntime", version) if version else None
        return [s.seconds for s in replace(baseline, runtime=runtime).sections_alike(LatencySection, here)]

    assert seconds() == [1.0, 2.0]
    # Those that the release itself was accepted with, if there are any.
    assert (seconds("1.1"), seconds("1.2"), seconds("1.0")) == ([2.0], [1.0], [1.0, 2.0])


def test_a_machine_is_known_by_what_runs_the_file() -> None:
    machine = Machine("linux", "x86_64", "a cpu", ("avx2",), 2, "1.2", "CPUExecutionProvider", "all")
    # As every version had it: baselines are looked up by it.
    assert fingerprint(machine) == "linux-x86_64-2cpu-e57db1d0bf5c"
    onnx, tflite = describe_machine(), describe_machine("litert")
    assert (tflite.onnxruntime, tflite.runtime_version) == ("", tflite.litert)
    assert onnx.is_like(tflite)
    own, old = fingerprint(tflite), fingerprint(onnx)
    assert own != old

    def found(library: str, version: str, *keys: str) -> str:
        machines = {key: OnMachine(onnx if key == old else tflite, {}) for key in keys}
        runtime = ShippedRuntime("litert", version) if version else None
        artefact = Artefact("a", "0", 1, True)
        now = ShippedRuntime(library, "9.9")
        return machine_key(Baseline("digits", "tflite", artefact, machines=machines, runtime=runtime), now)

    # What was saved before LiteRT's version was kept counts, unless LiteRT is known to have changed.
    assert found("litert", "", old) == old
    assert found("litert", str(tflite.litert), old) == old
    assert found("litert", "0.1", old) == own
    assert found("litert", "", old, own) == own
    assert found("litert", "") == own
    assert found("onnxruntime", "0.1", own) == old


def test_another_machine_gets_a_section_of_its_own() -> None:
    first = merged(None, "0", measured(1.0, 100))
    second = merged(first, "0", measured(2.0, 100), Machine(os="linux", cpus=2, cpu="other"))
    assert len(second.machines) == 2
    sections = [second.section(LatencySection, machine) for machine in second.machines]
    assert {section.sibling_ratio for section in sections if section} == {0.5}
    assert sorted(section.seconds for section in sections if section) == [1.0, 2.0]


def test_what_the_file_answered_stays_where_another_machine_adds_its_figures() -> None:
    x86 = structs.replace(MACHINE, onnxruntime="1.0")
    first = replace(merged(None, "0", measured(1.0, 100), x86), runtime=ShippedRuntime("onnxruntime", "1.0"))
    arm = Machine(os="linux", architecture="aarch64", cpus=2)

    def added(machine: Machine, correct: int = 94, total: int = 100, sha256: str = "0", **options: Any) -> Baseline:
        found = {**measured(2.0, 100), "accuracy": Accuracy("top1", correct, total, 1, "d", "", correct, 0, 0)}
        fresh = Baseline("digits", "int8", Artefact("a", sha256, 1, True), runtime=ShippedRuntime("onnxruntime", "2.0"))
        return merge(first, fresh, found, machine, CHECKS, **options)

    def of(baseline: Baseline) -> tuple[int | None, str]:
        accuracy = baseline.section(AccuracySection)
        assert accuracy is not None
        assert baseline.runtime is not None
        return accuracy.correct, baseline.runtime.version

    second = added(arm)
    assert replace(second, machines=first.machines) == first
    assert set(second.machines) == {fingerprint(x86), fingerprint(arm)}
    assert of(added(arm, accepted={"accuracy"})) == (94, "1.0")
    assert of(added(arm, accepted={"runtime"})) == (95, "2.0")
    assert of(added(arm, total=99)) == (94, "1.0")  # of other samples
    assert of(added(MACHINE)) == (95, "2.0")
    assert of(added(arm, sha256="1")) == (94, "2.0")  # another release


def test_small_losses_add_up_where_a_person_sees_them() -> None:
    baseline = merged(None, "0", measured(1.0, 100))
    for release in ("1", "2", "3"):
        baseline = merged(baseline, release, measured(1.0, 104, 1.04, 100 + int(release)))
    assert baseline.first["latency_ratio"] == pytest.approx(1.04**3, abs=1e-3)
    assert baseline.first["memory_ratio"] == pytest.approx(1.04**3, abs=1e-3)
    assert baseline.first["size"] == SizeSection(100)
    assert baseline.section(SizeSection) == SizeSection(103)


def test_figures_of_another_artefact_are_not_kept() -> None:
    before = merged(None, "0", measured(1.0, 100))
    after = merged(before, "1", {"size": Size(7, None, None)})
    assert (after.machines, after.sections) == ({}, {"size": SizeSection(7)})


# Figures that cannot be: each would be believed, and a worse release pass.
IMPOSSIBLE: dict[str, tuple[str, str, str]] = {
    "a value that is NaN": ('"value": 0.5', '"value": NaN', "is not JSON"),
    "a value that is infinite": ('"value": 0.5', '"value": -Infinity', "is not JSON"),
    "a value beyond a float": ('"value": 0.5', '"value": 1e400', "is not JSON"),
    "more right than samples": ('"value": 0.5', '"correct": 101', "accuracy: 'correct' is 101, of a 'total' of 100"),
    "fewer than none right": ('"value": 0.5', '"correct": -1', r"accuracy.correct: expected `int` >= 0"),
    "no samples": ('"total": 100', '"total": 0', r"accuracy.total: expected `int` >= 1"),
    "neither right answers nor a value": ('"value": 0.5, ', "", "either 'correct' or 'value' should be a number"),
    "bytes of another file": ('"size": {"bytes": 7}', '"size": {"bytes": 8}', "size.bytes is 8, and artefact.bytes 7"),
    "no time": ('"seconds": 0.001', '"seconds": 0', r"machines.m.latency.seconds: expected `float` > 0"),
    "a time that is infinite": ('"seconds": 0.001', '"seconds": Infinity', "is not JSON"),
    "a negative ratio": ('"sibling_ratio": 0.5', '"sibling_ratio": -1', r"machines.m.latency.sibling_ratio"),
    "a ratio as text": ('"latency_ratio": 1.0', '"latency_ratio": "1"', r"first.latency_ratio: expected `float`"),
    "a machine that is nothing": ('"m": {', '"x": null, "m": {', r"'machines.x' should be an object"),
    "a first size that is nothing": ('"size": {"bytes": 6}', '"size": null', r"first.size: expected `object`"),
    "a first accuracy without counts": ('"correct": 5, ', "", r"first.accuracy: either 'correct' or 'value'"),
    "operators as text": ('"Conv": 1', '"Conv": "one"', r"graph.operators\[...\]: expected `int`"),
    "operators that were added fewer than none": (
        '"operators": {"Conv": 1}',
        '"operators": {"Conv": 1}, "quantization": {"added": {"Cast": -1}}',
        r"graph.quantization.added\[...\]: expected `int` >= 0",
    ),
    "nesting without end": ('"model"', '"deep": ' + "[" * 1500 + "]" * 1500 + ', "model"', "is not JSON"),
    "a lone surrogate": ('"test-cpu"', '"\\ud800"', "is not JSON"),
    "a name with NUL": ('"a.onnx"', '"a\\u0000.onnx"', "is no file's name"),
    "a name of 300 characters": ('"a.onnx"', f'"{"a" * 300}"', "is no file's name"),
}
POSSIBLE = """{"schema": 1, "model": "digits", "variant": "int8",
"artefact": {"file": "a.onnx", "sha256": "0", "bytes": 7, "kept": true},
"accuracy": {"value": 0.5, "total": 100, "batch_size": 1, "metric": "mae", "data_sha256": "d", "higher_is_better": false},
"size": {"bytes": 7}, "graph": {"signature": {"inputs": [], "outputs": []}, "operators": {"Conv": 1}},
"machines": {"m": {"description": {"cpu": "test-cpu"},
"latency": {"seconds": 0.001, "batch_size": 1, "threads": 1, "sibling_ratio": 0.5}}},
"first": {"accuracy": {"correct": 5, "total": 100, "data_sha256": "d"}, "size": {"bytes": 6}, "latency_ratio": 1.0}}"""


def test_a_possible_baseline_is_read(store: BaselineStore) -> None:
    path = store.path("digits", "int8")
    path.parent.mkdir(parents=True)
    path.write_text(POSSIBLE)
    found = store.load("digits", "int8")
    assert found is not None
    assert found.checks == ("accuracy", "size", "graph", "latency")


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_figure_that_cannot_be_breaks_the_baseline(store: BaselineStore, source: Path, case: str) -> None:
    was, now, message = IMPOSSIBLE[case]
    assert was in POSSIBLE
    path = store.path("digits", "int8")
    path.parent.mkdir(parents=True)
    path.write_text(POSSIBLE.replace(was, now, 1))
    with pytest.raises(BrokenBaseline, match=message) as raised:
        store.load("digits", "int8")
    assert str(path) in str(raised.value)
    with pytest.raises(BrokenBaseline):
        save(store, a_baseline(source), [source])


def test_what_a_check_saved_that_nobody_registers_any_more_is_still_held(store: BaselineStore) -> None:
    path = store.path("digits", "int8")
    path.parent.mkdir(parents=True)
    path.write_text(POSSIBLE.replace('"size": {"bytes": 7}', '"size": {"bytes": 7}, "word_errors": {"rate": 0.1}'))
    assert "word_errors" in store.held()["digits", "int8"].checks


# -- data files that checks keep -----------------------------------------------------------------------------


class NoteSection(Struct, frozen=True):
    note: KeptFile


class NoteCheck(Check[Limit, Path]):
    """Keeps a file."""

    name = "note"
    limit = Limit
    found = Path
    section = NoteSection

    def judge(self, task: Task[Limit]) -> Judged[Path]:
        raise NotImplementedError

    def save(self, found: Path) -> NoteSection:
        sha256 = hash_file(found)
        return NoteSection(KeptFile(KeptFile.name("int8", self.name, sha256, ".txt"), sha256, found.stat().st_size))

    def kept(self, section: NoteSection) -> KeptFile:
        return section.note


@pytest.fixture
def noting(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path / "baselines", ByName({**CHECKS, "note": NoteCheck()}))


def a_note(folder: Path, source: Path, text: str) -> tuple[Baseline, Path]:
    path = folder / "note.txt"
    path.write_text(text)
    return a_baseline(source, sections={"note": NoteCheck().save(path)}), path


def test_a_data_file_is_kept_with_the_baseline_until_no_baseline_names_it(
    noting: BaselineStore, tmp_path: Path, source: Path
) -> None:
    first, note = a_note(tmp_path, source, "first")
    assert save(noting, first, [source], [note])
    (kept,) = noting.data(first).items()
    assert (kept[0], kept[1].read_text()) == (first.sections["note"].note.file, "first")  # type: ignore[attr-defined]
    assert noting.load("digits", "int8") == first
    assert not save(noting, first, [source]), "an equal one is left alone, and not asked for again"
    # As it does with a release that does not know it, nothing is half saved.
    second, note = a_note(tmp_path, source, "second")
    with pytest.raises(OnnxliteError, match="is not there to be saved"):
        save(noting, second, [source], [])
    assert noting.load("digits", "int8") == first
    assert save(noting, second, [source], [note])
    assert [path.read_text() for path in noting.folder.glob("*/*.txt")] == ["second"]
    assert save(noting, a_baseline(source), [source])
    assert not list(noting.folder.glob("*/*.txt"))


@pytest.mark.parametrize("damage", ["changed", "removed", "a pipe"])
def test_a_data_file_that_is_not_the_one_that_was_kept_is_told(
    noting: BaselineStore, tmp_path: Path, source: Path, damage: str
) -> None:
    baseline, note = a_note(tmp_path, source, "first")
    save(noting, baseline, [source], [note])
    (path,) = noting.data(baseline).values()
    path.unlink()
    if damage == "changed":
        path.write_text("another")
    elif damage == "a pipe":
        os.mkfifo(path)
    with pytest.raises(BrokenBaseline, match=r"is not the file|cannot be read: there is none|is no regular file"):
        noting.data(baseline)
    last = load_last(noting, "digits", "int8", "compare")
    assert isinstance(last.reference, Absent), "whatever is judged"


@pytest.mark.parametrize(
    "name", ["../../mine.txt", "int8.json", "int8-size-{sha}.txt", "int8-note-{sha}/x", "int8-note-{sha}"]
)
def test_a_data_file_of_another_name_is_neither_read_nor_removed(
    noting: BaselineStore, tmp_path: Path, source: Path, name: str
) -> None:
    baseline, note = a_note(tmp_path, source, "first")
    save(noting, baseline, [source], [note])
    path = noting.path("digits", "int8")
    content = json.loads(path.read_text())
    own = content["note"]["note"]["sha256"][:16]
    content["note"]["note"]["file"] = name.format(sha=own)
    path.write_text(json.dumps(content))
    if name == "int8-note-{sha}":  # without an ending it is one of ours, and is not there
        assert noting.load("digits", "int8") is not None
        return
    with pytest.raises(BrokenBaseline, match="no name of a file of this check"):
        noting.load("digits", "int8")
    with pytest.raises(BrokenBaseline):
        save(noting, a_baseline(source), [source])


# -- several processes ---------------------------------------------------------------------------------------

# Two releases in turns, so that what one saver removes is what the other saves; a reader counts what it cannot read.
AT_ONCE = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store import CHECKS, a_baseline
from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.baseline.store import BaselineStore
from pytest_onnxlite.baseline.writing import save
from pytest_onnxlite.guard.last_release import load_last
folder, role, until = Path(sys.argv[2]), sys.argv[3], time.monotonic() + float(sys.argv[4])
store = BaselineStore(folder / "baselines", CHECKS)
done, wrong = 0, []
while time.monotonic() < until or done < 2:  # however slow the machine is
    if role == "read":
        last = load_last(store, "digits", "int8", "compare")
        if not isinstance(last.reference, Baseline) or last.file is None:
            wrong.append(last.reference.reason)
    else:
        source = folder / f"{role}.onnx"
        source.write_bytes((b"old", b"new")[done % 2] * 20_000)
        save(store, a_baseline(source), [source])
    done += 1
print(done, len(wrong), *wrong[:1])
"""


def test_savers_and_readers_at_once_never_find_a_mixture(tmp_path: Path, store: BaselineStore, source: Path) -> None:
    save(store, a_baseline(source), [source])
    command = [sys.executable, "-c", AT_ONCE, str(Path(__file__).parent), str(tmp_path)]
    roles = ["one", "two", "read", "read"]
    processes = [subprocess.Popen([*command, role, "1.5"], stdout=subprocess.PIPE, text=True) for role in roles]
    told = [process.communicate()[0].split(maxsplit=2) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert all(int(done) > 1 for done, *_ in told), told
    assert [wrong for _, wrong, *_ in told] == ["0"] * 4, told
    baseline = store.load("digits", "int8")
    assert baseline is not None
    store.artefact(baseline)
    assert len(list(store.folder.glob("*/*"))) == 2 + 2, "the JSON, its file, and the lock with its .gitignore"


def test_a_save_waits_for_another_and_then_says_so(store: BaselineStore, source: Path) -> None:
    with locked(store.folder, 1) as alone:
        assert alone
        with (
            pytest.raises(Busy, match=r"another process has been writing to .* for 0 s\. Wait for it"),
            saving(store, 0),
        ):
            raise AssertionError
    save(store, a_baseline(source), [source])
    assert (store.folder / LOCKS / ".gitignore").read_text() == "*\n", "git leaves the lock out"


# -- several baselines ---------------------------------------------------------------------------------------


def variants(source: Path, content: bytes, *names: str) -> list[Entry]:
    entries = []
    for name in names:
        path = source.with_name(f"{name}.onnx")
        path.write_bytes(content + name.encode())
        baseline = a_baseline(path, variant=name)
        artefact = structs.replace(baseline.artefact, file=f"{name}-{baseline.artefact.sha256[:16]}.onnx")
        entries.append(Entry(replace(baseline, artefact=artefact), [path]))
    return entries


def save_together(store: BaselineStore, entries: list[Entry]) -> list[bool]:
    with saving(store) as saver:
        return saver.save(entries)


def state(store: BaselineStore) -> dict[str, bytes]:
    return {
        path.relative_to(store.folder).as_posix(): path.read_bytes()
        for path in store.folder.rglob("*")
        if path.is_file() and LOCKS not in path.parts
    }


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def half(store: BaselineStore, source: Path, monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    """What a save was at that died after the first of its two baselines."""
    save_together(store, variants(source, b"first ", "int8", "onnx"))
    entries = variants(source, b"second ", "int8", "onnx")
    with monkeypatch.context() as patch:
        commit = Pending.commit
        done: list[Pending] = []

        def once(self: Pending) -> None:
            if self.path.suffix == ".json" and self.path.parent != store.folder:
                if done:
                    raise Killed
                done.append(self)
            commit(self)

        patch.setattr(Pending, "commit", once)
        with pytest.raises(Killed):
            save_together(store, entries)
    return entries


def test_a_save_of_several_that_was_killed_is_told_until_the_next_one_repairs_it(
    store: BaselineStore, half: list[Entry]
) -> None:
    assert left_behind(store).startswith(
        f"a save in {store.folder} did not come to its end: of the baselines that belong together, it wrote "
        "digits/int8.json, and not digits/onnx.json. Save again"
    )
    assert "unfinished: a save" in "\n".join(describe(store.folder, CHECKS)[0])
    save_together(store, half[:1])  # the one that was written already: the other is still old
    assert "and not digits/onnx.json" in left_behind(store)
    save_together(store, half[1:])
    assert left_behind(store) == ""
    assert not (store.folder / NAME).exists()


def test_a_killed_save_that_was_taken_back_is_not_told(store: BaselineStore, source: Path, half: list[Entry]) -> None:
    (first,) = variants(source, b"first ", "int8")
    save(store, first.baseline, first.files)
    assert left_behind(store) == "", "both are the first again"
    save_together(store, variants(source, b"first ", "int8", "onnx"))
    assert left_behind(store) == ""
    assert not (store.folder / NAME).exists()


def test_a_save_that_died_before_the_first_baseline_leaves_no_word(store: BaselineStore, source: Path) -> None:
    save_together(store, variants(source, b"first ", "int8", "onnx"))
    entries = variants(source, b"second ", "int8", "onnx")
    covered = {f"digits/{entry.baseline.variant}.json": digest(as_text(entry.baseline)) for entry in entries}
    covered = {f"digits/{entry.baseline.variant}.json": digest(as_text(entry.baseline)) for entry in entries}
    unfinished.begin(store.folder, covered, covered)
    assert left_behind(store) == ""
    save_together(store, entries[:1])  # of another save than the one that died: they do not belong together
    assert left_behind(store) == ""


@pytest.mark.parametrize("content", ["", "[", '{"baselines": {"\\u0000": {"before": "x", "after": "y"}}}', "[1]"])
def test_a_note_that_says_nothing_is_none(store: BaselineStore, content: str) -> None:
    store.folder.mkdir()
    (store.folder / NAME).write_text(content)
    assert left_behind(store) == ""


def test_a_save_of_several_that_fails_leaves_everything_as_it_was(store: BaselineStore, source: Path) -> None:
    save_together(store, variants(source, b"first ", "int8", "onnx"))
    before = state(store)
    entries = variants(source, b"second ", "int8", "onnx")
    entries[1].files[0].unlink()
    with pytest.raises(OnnxliteError, match=r"cannot be written: No such file or directory \(.*onnx\.onnx\)"):
        save_together(store, entries)
    assert state(store) == before


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store import CHECKS, save_together, variants
from pytest_onnxlite.baseline.store import BaselineStore
from pytest_onnxlite.errors import OnnxliteError
folder = Path(sys.argv[2])
entries = variants(folder / "model.onnx", b"x" * int(sys.argv[3]), "int8", "onnx")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
try:
    save_together(BaselineStore(folder / "baselines", CHECKS), entries)
except OnnxliteError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit for the size of files")
@pytest.mark.parametrize(("size", "most"), [(100_000, 50_000), (100, 300)], ids=["a released file", "a JSON"])
def test_a_disk_that_is_full_leaves_everything_as_it_was(
    store: BaselineStore, source: Path, tmp_path: Path, size: int, most: int
) -> None:
    save_together(store, variants(source, b"first ", "int8", "onnx"))
    before = state(store)
    command = [sys.executable, "-c", FULL, str(Path(__file__).parent), str(tmp_path), str(size), str(most)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be written: File too large" in done.stdout, done
    assert state(store) == before


# -- released files ------------------------------------------------------------------------------------------


def same_file(source: Path, *names: str) -> list[Baseline]:
    found = []
    for name in names:
        baseline = a_baseline(source, variant=name)
        artefact = structs.replace(baseline.artefact, file=f"{name}-{baseline.artefact.sha256[:16]}.onnx")
        found.append(replace(baseline, artefact=artefact))
    return found


def save_shared(store: BaselineStore, source: Path, baselines: list[Baseline]) -> list[bool]:
    with saving(store) as saver:
        return saver.save([Entry(baseline, [source]) for baseline in saver.shared(baselines)])


def kept(store: BaselineStore) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in store.folder.glob("*/*.onnx"))


def test_the_same_file_of_two_variants_is_kept_once(store: BaselineStore, source: Path) -> None:
    save_shared(store, source, same_file(source, "int8", "onnx"))
    assert kept(store) == ["int8"]
    for variant in ("int8", "onnx"):
        baseline = store.load("digits", variant)
        assert baseline is not None
        assert store.artefact(baseline).read_bytes() == b"the first release"
    assert not any(save_shared(store, source, same_file(source, "int8", "onnx")))
    # The one that it is named for goes on: the other still has it. Then nobody has.
    second = source.with_name("second.onnx")
    second.write_bytes(b"the second release")
    save_shared(store, second, same_file(second, "int8"))
    assert kept(store) == ["int8", "int8"]
    save_shared(store, second, same_file(second, "onnx"))
    assert kept(store) == ["int8"]


def test_two_copies_that_an_earlier_version_saved_stay(store: BaselineStore, source: Path) -> None:
    baselines = same_file(source, "int8", "onnx")
    save_together(store, [Entry(baseline, [source]) for baseline in baselines])
    assert kept(store) == ["int8", "onnx"]
    assert not any(save_shared(store, source, baselines))


def test_released_files_that_no_baseline_names_are_told_and_pruned(store: BaselineStore, source: Path) -> None:
    save(store, a_baseline(source), [source])
    folder = store.folder / "digits"
    sha256 = hashlib.sha256(b"merged").hexdigest()
    retired = store.folder / "retired" / f"int8-{sha256[:16]}.onnx"
    retired.parent.mkdir()
    merged_in, pointer = folder / f"int8-{sha256[:16]}.onnx", folder / f"onnx-{'a' * 16}.onnx"
    for path in (merged_in, retired):
        path.write_bytes(b"merged")
    pointer.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 1\n")
    mine = ["notes.txt", f"int8-{'0' * 16}.onnx", f"backup of int8-{sha256[:16]}.onnx", "int8.onnx"]
    for name in mine:
        (folder / name).write_bytes(b"merged")
    conflicted = folder / "onnx.json"
    held_on = folder / f"onnx-{'b' * 16}.onnx"
    held_on.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'b' * 64}\nsize 1\n")
    # While a baseline is damaged, nobody knows which files of its model it names: all of them stay.
    for damaged in (
        f"<<<<<<< ours\nonnx-{'b' * 16}.onnx\n=======",
        '{"artefa',
        "{}",
        "[]",
        '"a"',
        '{"artefact": {"file": "onnx.json"}}',
    ):
        conflicted.write_text(damaged)
        assert unnamed(store) == [retired]
    conflicted.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(conflicted)
        assert unnamed(store) == [retired]
        conflicted.unlink()
    conflicted.write_text(json.dumps({"artefact": {"file": held_on.name}}))

    lines, _ = describe(store.folder, CHECKS)
    (line,) = [line for line in lines if "no baseline names" in line]
    names = [path.relative_to(store.folder).as_posix() for path in (merged_in, pointer, retired)]
    assert all(name in line for name in names), line
    assert line.endswith(f"Remove them with: python -m pytest_onnxlite show {store.folder} --prune")
    there = set(state(store))
    lines, _ = describe(store.folder, CHECKS, prune=True)
    assert [line for line in lines if line.startswith("removed")] == [f"removed: {name}" for name in names]
    assert there - set(state(store)) == set(names)
    assert "no baseline names" not in "\n".join(describe(store.folder, CHECKS)[0])
