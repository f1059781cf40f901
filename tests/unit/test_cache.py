"""The cache: an entry is whole or is built again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.variants.cache import Cache, hash_tree


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


class Build:
    def __init__(self, text: str = "content") -> None:
        self.text = text
        self.count = 0

    def __call__(self, folder: Path) -> None:
        self.count += 1
        (folder / "model").write_text(self.text)


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("capi/build_and_package_info.py", "package_name = 'onnxruntime-gpu'\n__version__ = '9.8.7'\n", "9.8.7"),
        ("__init__.py", '__version__ = "9.8.6"\n', "9.8.6"),
    ],
)
def test_onnx_runtime_is_known_whatever_distribution_holds_it(tmp_path: Path, file: str, text: str, found: str) -> None:
    # onnxruntime-gpu and its like; what is imported comes from the first folder of the path.
    (tmp_path / "onnxruntime" / "capi").mkdir(parents=True)
    (tmp_path / "onnxruntime" / "__init__.py").write_text("raise ImportError('it is only looked at')\n")
    (tmp_path / "onnxruntime" / file).write_text(text)
    (tmp_path / "onnxruntime_gpu-9.8.7.dist-info").mkdir()
    code = "from pytest_onnxlite.variants.cache import version_of; print(version_of('onnxruntime'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == found


def test_the_same_inputs_build_once_and_others_anew(cache: Cache) -> None:
    build = Build()
    first = cache.entry("onnx", {"model": "a", "tools": {"onnx": "1"}}, build)
    assert cache.entry("onnx", {"tools": {"onnx": "1"}, "model": "a"}, build) == first
    assert build.count == 1
    assert cache.entry("onnx", {"model": "a", "tools": {"onnx": "2"}}, build) != first
    assert cache.entry("int8", {"model": "a", "tools": {"onnx": "1"}}, build) != first
    assert build.count == 3


def _empty_manifest(entry: Path, other: Path) -> None:
    (entry / "manifest.json").write_text("{}")


def _manifest_that_lists_nothing(entry: Path, other: Path) -> None:
    key = json.loads((entry / "manifest.json").read_text())["key"]
    (entry / "manifest.json").write_text(json.dumps({"key": key, "files": {}}))


def _another_entry_in_its_place(entry: Path, other: Path) -> None:
    shutil.rmtree(entry)
    shutil.copytree(other, entry)


def _files_of_another_entry(entry: Path, other: Path) -> None:
    shutil.copyfile(other / "model", entry / "model")


def _manifest_of_the_edition_before(entry: Path, other: Path) -> None:
    (entry / "manifest.json").write_text(json.dumps(json.loads((entry / "manifest.json").read_text())["files"]))


def _into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "another content": lambda entry, other: (entry / "model").write_text("another"),
    "a file cut short": lambda entry, other: (entry / "model").write_text(""),
    "a file missing": lambda entry, other: (entry / "model").unlink(),
    "a file more": lambda entry, other: (entry / "model.data").write_text(""),
    "a folder for a file": lambda entry, other: _into_a_folder(entry / "model"),
    "no manifest": lambda entry, other: (entry / "manifest.json").unlink(),
    "half a manifest": lambda entry, other: (entry / "manifest.json").write_text("{"),
    "a manifest of bytes": lambda entry, other: (entry / "manifest.json").write_bytes(b"\xff\xfe\x00"),
    "a manifest of another kind": lambda entry, other: (entry / "manifest.json").write_text("[1]"),
    "an empty manifest": _empty_manifest,
    "a manifest that lists nothing": _manifest_that_lists_nothing,
    "a manifest of the edition before": _manifest_of_the_edition_before,
    "another entry in its place": _another_entry_in_its_place,
    "files of another entry": _files_of_another_entry,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_built_again(cache: Cache, damage: str) -> None:
    build = Build()
    other = cache.entry("onnx", {"model": "other"}, Build("other"))
    entry = cache.entry("onnx", {}, build)
    DAMAGES[damage](entry, other)
    assert (cache.entry("onnx", {}, build) / "model").read_text() == "content"
    assert build.count == 2
    cache.entry("onnx", {}, build)
    assert build.count == 2


def test_an_entry_without_what_must_be_there_is_built_again(cache: Cache) -> None:
    entry = cache.entry("onnx", {}, Build())

    def build(folder: Path) -> None:
        (folder / "model").write_text("content")
        (folder / "more").write_text("")

    assert cache.entry("onnx", {}, build, ["model"]) == entry
    assert not (entry / "more").exists()
    assert (cache.entry("onnx", {}, build, ["model", "more"]) / "more").exists()


def test_what_fails_leaves_nothing(cache: Cache) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise OnnxliteError("no")

    with pytest.raises(OnnxliteError, match="no"):
        cache.entry("onnx", {}, fail)
    assert names(cache) == []


def names(cache: Cache) -> list[str]:
    """What lies in the cache folder, but for the locks."""
    return sorted(path.name for path in cache.folder.iterdir() if path.name != "locks")


def test_two_at_once_end_with_one_whole_entry_where_nothing_can_be_locked(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    barrier = threading.Barrier(2)

    def build(folder: Path) -> None:
        barrier.wait(10)
        (folder / "model").write_text("content")

    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(cache.entry("onnx", {}, build))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert names(cache) == [found[0].name]


BUILDER = """
import os, signal, sys, time
from pathlib import Path
from pytest_onnxlite.variants.cache import Cache
log, how = Path(sys.argv[2]), sys.argv[3]

def build(folder):
    with log.open("a") as file:
        file.write("built ")
    if how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)
    (folder / "model").write_text("content")

entry = Cache(Path(sys.argv[1])).entry("onnx", {}, build)
assert (entry / "model").read_text() == "content"
"""


def start(cache: Cache, log: Path, how: str = "builds") -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", BUILDER, str(cache.folder), str(log), how])


def test_processes_that_want_the_same_build_it_once(cache: Cache, tmp_path: Path) -> None:
    log = tmp_path / "log"
    children = [start(cache, log) for _ in range(3)]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert log.read_text() == "built "
    assert len(names(cache)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
def test_a_builder_that_dies_stops_nobody(cache: Cache, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert start(cache, log, "dies").wait(60) < 0
    assert names(cache)[0].startswith(".building-")
    assert start(cache, log).wait(60) == 0
    assert log.read_text() == "built built "


HOUR = 3600.0


def used(entry: Path, hours_ago: float) -> None:
    then = time.time() - hours_ago * HOUR
    os.utime(entry / "manifest.json", (then, then))


def test_the_least_recently_used_entries_go_until_the_others_fit(cache: Cache) -> None:
    entries = [cache.entry("onnx", {"model": i}, Build("x" * 1000)) for i in range(4)]
    for entry, hours in zip(entries, (2, 5, 3, 4), strict=True):
        used(entry, hours)
    size = sum(path.stat().st_size for path in entries[0].iterdir())
    assert cache.trim(4 * size, time.time()) == []
    assert cache.trim(2 * size, time.time()) == [entries[1], entries[3]]
    assert names(cache) == sorted([entries[0].name, entries[2].name])
    assert len(list((cache.folder / "locks").iterdir())) == 2


def test_reading_an_entry_is_using_it(cache: Cache) -> None:
    entries = [cache.entry("onnx", {"model": i}, Build()) for i in range(2)]
    for entry in entries:
        used(entry, 5)
    build = Build()
    cache.entry("onnx", {"model": 0}, build)
    assert build.count == 0
    assert cache.trim(0, time.time()) == [entries[1]]


def test_what_this_run_or_another_may_be_using_stays(cache: Cache) -> None:
    long, recent, idle = (cache.entry("onnx", {"model": i}, Build()) for i in range(3))
    used(long, 3)  # by this run, which began four hours ago
    used(recent, 0.5)  # by whoever
    used(idle, 5)
    assert cache.trim(0, time.time() - 4 * HOUR) == [idle]


def test_what_a_killed_run_left_goes(cache: Cache) -> None:
    kept = cache.entry("onnx", {}, Build())
    for name, hours in (("killed", 5.0), ("at work", 0.1)):
        left = cache.folder / f".building-{name}"
        left.mkdir()
        then = time.time() - hours * HOUR
        os.utime(left, (then, then))
    cache.trim(1 << 30, time.time())
    assert names(cache) == [".building-at work", kept.name]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OnnxliteError, match="--onnxlite-cache-dir"):
        Cache(tmp_path / "file").entry("onnx", {}, Build())


def test_a_folders_hash_depends_on_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = hash_tree(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    second = hash_tree(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({first, second, hash_tree(tmp_path)}) == 3
