"""Baselines on disk: read with suspicion, replaced in one step, never half written."""

from __future__ import annotations

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

from pytest_onnxlite.baseline.fingerprint import Machine
from pytest_onnxlite.baseline.record import Artefact, Baseline, BrokenBaseline, KeptFile, OnMachine, ShippedRuntime
from pytest_onnxlite.baseline.store import BaselineStore, NoArtefact
from pytest_onnxlite.checks.accuracy.measurement import Accuracy
from pytest_onnxlite.checks.check import Check, Judged, Task
from pytest_onnxlite.checks.latency.measurement import Comparison, Latency, LatencySection
from pytest_onnxlite.checks.limit import Limit
from pytest_onnxlite.checks.memory.measurement import Memory, Peak
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.size.measurement import Size, SizeSection
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.last_release import load_last
from pytest_onnxlite.registry import Registry
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
    assert store.save(baseline, [source])
    assert store.load("digits", "int8") == baseline
    assert store.artefact(baseline).read_bytes() == source.read_bytes()
    assert store.saved() == [("digits", "int8")]


def test_saving_the_same_again_writes_nothing(store: BaselineStore, source: Path) -> None:
    store.save(a_baseline(source), [source])
    path = store.path("digits", "int8")
    before = path.stat().st_mtime_ns, path.read_bytes()
    assert not store.save(a_baseline(source), [source])
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


def test_the_artefact_before_is_removed(store: BaselineStore, source: Path) -> None:
    store.save(a_baseline(source), [source])
    source.write_bytes(b"the second release")
    store.save(a_baseline(source), [source])
    assert [p.read_bytes() for p in store.folder.glob("*/*.onnx")] == [b"the second release"]


def other(source: Path, content: bytes = b"the second release") -> Baseline:
    source.write_bytes(content)
    return a_baseline(source)


@pytest.mark.parametrize("name", ["int8.json", "onnx.json", "onnx-0123456789abcdef.onnx", "notes.txt", "kept"])
def test_a_save_removes_no_file_that_it_would_not_have_named_so(store: BaselineStore, source: Path, name: str) -> None:
    """A name in a JSON may be any file's: another variant's, a folder's, the baseline's own."""
    store.save(a_baseline(source), [source])
    folder = store.folder / "digits"
    content = json.loads((folder / "int8.json").read_text())
    content["artefact"]["file"] = name
    (folder / "int8.json").write_text(json.dumps(content))
    (folder / "kept").mkdir()
    for file in ("onnx.json", "onnx-0123456789abcdef.onnx", "notes.txt", "kept/notes.txt"):
        (folder / file).write_text("mine")
    there = sorted(folder.rglob("*"))
    baseline = other(source)
    store.save(baseline, [source])
    assert sorted(folder.rglob("*")) == sorted([*there, folder / baseline.artefact.file])
    assert store.load("digits", "int8") == baseline


def test_a_released_file_that_another_baseline_names_stays(store: BaselineStore, source: Path) -> None:
    first = a_baseline(source)
    store.save(first, [source])
    (store.folder / "digits" / "own.json").write_text(json.dumps({"artefact": {"file": first.artefact.file}}))
    store.save(other(source), [source])
    assert (store.folder / "digits" / first.artefact.file).is_file()


def test_what_a_dead_process_left_is_removed(store: BaselineStore, source: Path) -> None:
    store.save(a_baseline(source), [source])
    folder = store.folder / "digits"
    left = [".saving-abc", "int8-0123456789abcdef.onnx"]
    stays = ["onnx-0123456789abcdef.onnx", "int8-mine.onnx", "int8-0123456789abcdef.onnx.bak.txt"]
    for name in (*left, *stays, ".saving-now", "int8-fedcba9876543210.onnx"):
        (folder / name).write_text("x")
    for name in (*left, *stays):
        os.utime(folder / name, (0, 0))
    baseline = other(source)
    store.save(baseline, [source])
    young = [".saving-now", "int8-fedcba9876543210.onnx"]  # somebody may be at it
    assert {path.name for path in folder.iterdir()} == {*stays, *young, "int8.json", baseline.artefact.file}


def test_files_of_other_branches_stay_in_a_folder_that_the_user_named(tmp_path: Path, source: Path) -> None:
    store = BaselineStore(tmp_path / "baselines", CHECKS, tmp_path / "files")
    first = a_baseline(source)
    store.save(first, [source])
    branch = tmp_path / "files" / "digits" / "int8-0123456789abcdef.onnx"
    branch.write_text("another branch's")
    os.utime(branch, (0, 0))
    store.save(other(source), [source])
    assert branch.is_file()
    assert not (branch.parent / first.artefact.file).exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own there")
def test_a_baseline_that_is_a_link_stays_one(store: BaselineStore, source: Path, tmp_path: Path) -> None:
    store.save(a_baseline(source), [source])
    path, target = store.path("digits", "int8"), tmp_path / "elsewhere.json"
    path.replace(target)
    path.symlink_to(target)
    baseline = other(source)
    store.save(baseline, [source])
    assert path.is_symlink()
    assert store.load("digits", "int8") == baseline
    assert json.loads(target.read_text())["artefact"]["file"] == baseline.artefact.file


def test_artefacts_may_lie_elsewhere(tmp_path: Path, source: Path) -> None:
    store = BaselineStore(tmp_path / "baselines", CHECKS, tmp_path / "elsewhere")
    store.save(a_baseline(source), [source])
    assert not list((tmp_path / "baselines").rglob("*.onnx"))
    assert store.artefact(a_baseline(source)).is_relative_to(tmp_path / "elsewhere")


def test_an_artefact_that_was_not_kept_says_so(store: BaselineStore, source: Path) -> None:
    baseline = a_baseline(source)
    baseline = replace(baseline, artefact=structs.replace(baseline.artefact, kept=False))
    store.save(baseline, [source])
    assert not list(store.folder.rglob("*.onnx"))
    with pytest.raises(NoArtefact, match="onnxlite_keep_artefact = false"):
        store.artefact(baseline)


def test_a_changed_artefact_is_noticed(store: BaselineStore, source: Path) -> None:
    baseline = a_baseline(source)
    store.save(baseline, [source])
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
        store.save(a_baseline(source), [source])
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
        BaselineStore(tmp_path / "baselines", CHECKS, tmp_path / "file").save(a_baseline(source), [source])


SAVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store import CHECKS, a_baseline
from pytest_onnxlite.checks.graph.measurement import GraphSection
from pytest_onnxlite.checks.size.measurement import SizeSection
from pytest_onnxlite.lint import Signature
from pytest_onnxlite.baseline.store import BaselineStore
folder = Path(sys.argv[2])
store = BaselineStore(folder / "baselines", CHECKS)
print("ready", flush=True)
for i in range(10**9):
    source = folder / "candidate.onnx"
    source.write_bytes(str(i).encode() * 200_000)
    sections = {"size": SizeSection(source.stat().st_size), "graph": GraphSection(Signature((), ()), {"i": i})}
    store.save(a_baseline(source, sections=sections), [source])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_save_that_is_killed_leaves_a_whole_baseline(tmp_path: Path, store: BaselineStore) -> None:
    for attempt in range(7):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(Path(__file__).parent), str(tmp_path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.01 + 0.024 * attempt)
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


def test_another_machine_gets_a_section_of_its_own() -> None:
    first = merged(None, "0", measured(1.0, 100))
    second = merged(first, "0", measured(2.0, 100), Machine(os="linux", cpus=2, cpu="other"))
    assert len(second.machines) == 2
    sections = [second.section(LatencySection, machine) for machine in second.machines]
    assert {section.sibling_ratio for section in sections if section} == {0.5}
    assert sorted(section.seconds for section in sections if section) == [1.0, 2.0]


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
        store.save(a_baseline(source), [source])


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
    return BaselineStore(tmp_path / "baselines", {**CHECKS, "note": NoteCheck()})


def a_note(folder: Path, source: Path, text: str) -> tuple[Baseline, Path]:
    path = folder / "note.txt"
    path.write_text(text)
    return a_baseline(source, sections={"note": NoteCheck().save(path)}), path


def test_a_data_file_is_kept_with_the_baseline_until_no_baseline_names_it(
    noting: BaselineStore, tmp_path: Path, source: Path
) -> None:
    first, note = a_note(tmp_path, source, "first")
    assert noting.save(first, [source], [note])
    (kept,) = noting.data(first).items()
    assert (kept[0], kept[1].read_text()) == (first.sections["note"].note.file, "first")  # type: ignore[attr-defined]
    assert noting.load("digits", "int8") == first
    assert not noting.save(first, [source]), "an equal one is left alone, and not asked for again"
    # As it does with a release that does not know it, nothing is half saved.
    second, note = a_note(tmp_path, source, "second")
    with pytest.raises(OnnxliteError, match="is not there to be saved"):
        noting.save(second, [source], [])
    assert noting.load("digits", "int8") == first
    assert noting.save(second, [source], [note])
    assert [path.read_text() for path in noting.folder.glob("*/*.txt")] == ["second"]
    assert noting.save(a_baseline(source), [source])
    assert not list(noting.folder.glob("*/*.txt"))


@pytest.mark.parametrize("damage", ["changed", "removed", "a pipe"])
def test_a_data_file_that_is_not_the_one_that_was_kept_is_told(
    noting: BaselineStore, tmp_path: Path, source: Path, damage: str
) -> None:
    baseline, note = a_note(tmp_path, source, "first")
    noting.save(baseline, [source], [note])
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
    noting.save(baseline, [source], [note])
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
        noting.save(a_baseline(source), [source])
