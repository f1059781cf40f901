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

from pytest_onnxlite.baseline.record import Artefact, Baseline, BrokenBaseline
from pytest_onnxlite.baseline.saving import merge
from pytest_onnxlite.baseline.store import BaselineStore, NoArtefact
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.variants.cache import hash_file

MACHINE = {"os": "linux", "architecture": "x86_64", "cpus": 2, "cpu": "test"}


def a_baseline(source: Path, **changes: Any) -> Baseline:
    sha256 = hash_file(source)
    artefact = Artefact(f"int8-{sha256[:16]}.onnx", sha256, source.stat().st_size, True)
    return replace(Baseline("digits", "int8", artefact, size={"bytes": source.stat().st_size}), **changes)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the first release")
    return path


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path / "baselines")


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


def test_artefacts_may_lie_elsewhere(tmp_path: Path, source: Path) -> None:
    store = BaselineStore(tmp_path / "baselines", tmp_path / "elsewhere")
    store.save(a_baseline(source), [source])
    assert not list((tmp_path / "baselines").rglob("*.onnx"))
    assert store.artefact(a_baseline(source)).is_relative_to(tmp_path / "elsewhere")


def test_an_artefact_that_was_not_kept_says_so(store: BaselineStore, source: Path) -> None:
    baseline = a_baseline(source)
    baseline = replace(baseline, artefact=replace(baseline.artefact, kept=False))
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
    good = Baseline("digits", "int8", Artefact("a.onnx", "0" * 64, 1, True), size={"bytes": 1}).as_dict()
    return json.dumps({**good, **changes})


BROKEN = {
    "truncated": (content()[:40], "not JSON"),
    "conflict marks": ("<<<<<<< HEAD\n" + content(), "not JSON"),
    "empty": ("", "not JSON"),
    "a list": ("[]", "no baseline"),
    "another JSON": ('{"a": 1}', "no baseline"),
    "a later schema": (content(schema=2), "schema 2"),
    "another model": (content(model="faces"), "another model: expected 'digits', found 'faces'"),
    "another variant": (content(variant="onnx"), "another variant"),
    "no artefact": (content(artefact=None), "'artefact' should be an object"),
    "a number as text": (content(size={"bytes": "1"}), "size.bytes should be of type int, found '1'"),
    "a truth as number": (content(size={"bytes": True}), "size.bytes should be of type int"),
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
        BaselineStore(tmp_path / "baselines", tmp_path / "file").save(a_baseline(source), [source])


SAVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store import a_baseline
from pytest_onnxlite.baseline.store import BaselineStore
folder = Path(sys.argv[2])
store = BaselineStore(folder / "baselines")
print("ready", flush=True)
for i in range(10**9):
    source = folder / "candidate.onnx"
    source.write_bytes(str(i).encode() * 200_000)
    store.save(a_baseline(source, graph={"signature": {"i": i}, "operators": {}}), [source])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_save_that_is_killed_leaves_a_whole_baseline(tmp_path: Path, store: BaselineStore) -> None:
    for attempt in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(Path(__file__).parent), str(tmp_path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.01 + 0.013 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        baseline = store.load("digits", "int8")
        if baseline is not None:
            store.artefact(baseline)  # there, and with the hash that the JSON names
    assert store.load("digits", "int8") is not None


def measured(seconds: float, load: int, ratio: float = 1.0) -> dict[str, Any]:
    return {
        "accuracy": {"correct": 95, "total": 100, "batch_size": 1, "data_sha256": "d", "metric": "top1", "x": 1},
        "size": {"bytes": 100, "reference": None},
        "latency": {
            "seconds": seconds,
            "batch_size": 1,
            "threads": 1,
            "comparisons": {
                "baseline": {"reference": "previous artefact", "first": [ratio] * 8},
                "sibling": {"reference": "onnx", "first": [0.5] * 8},
            },
        },
        "memory": {
            "candidate": {"load": load, "run": load},
            "reference": {"load": 100, "run": 100},
            "method": "VmHWM",
            "batch_size": 1,
            "threads": 1,
        },
    }


def test_noise_of_the_same_artefact_changes_nothing() -> None:
    artefact = Artefact("a", "0", 1, True)
    first = merge(None, artefact, measured(1.0, 100), MACHINE, "digits", "int8")
    assert merge(first, artefact, measured(1.3, 110, 1.02), MACHINE, "digits", "int8") == first


def test_another_machine_gets_a_section_of_its_own() -> None:
    artefact = Artefact("a", "0", 1, True)
    first = merge(None, artefact, measured(1.0, 100), MACHINE, "digits", "int8")
    second = merge(first, artefact, measured(2.0, 100), {**MACHINE, "cpu": "other"}, "digits", "int8")
    assert len(second.machines) == 2
    assert {m["latency"]["sibling_ratio"] for m in second.machines.values()} == {0.5}
    assert sorted(m["latency"]["seconds"] for m in second.machines.values()) == [1.0, 2.0]


def test_small_losses_add_up_where_a_person_sees_them() -> None:
    baseline = merge(None, Artefact("a", "0", 1, True), measured(1.0, 100), MACHINE, "digits", "int8")
    for release in ("1", "2", "3"):
        found = {**measured(1.0, 104, 1.04), "size": {"bytes": 100 + int(release)}}
        baseline = merge(baseline, Artefact("a", release, 1, True), found, MACHINE, "digits", "int8")
    assert baseline.first["latency_ratio"] == pytest.approx(1.04**3, abs=1e-3)
    assert baseline.first["memory_ratio"] == pytest.approx(1.04**3, abs=1e-3)
    assert baseline.first["size"] == {"bytes": 100}
    assert baseline.size == {"bytes": 103}


def test_figures_of_another_artefact_are_not_kept() -> None:
    before = merge(None, Artefact("a", "0", 1, True), measured(1.0, 100), MACHINE, "digits", "int8")
    after = merge(before, Artefact("a", "1", 1, True), {"size": {"bytes": 7}}, MACHINE, "digits", "int8")
    assert (after.accuracy, after.machines, after.size) == (None, {}, {"bytes": 7})
