"""The cache: an entry is whole or is built again."""

from __future__ import annotations

import json
import threading
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


def test_the_same_inputs_build_once_and_others_anew(cache: Cache) -> None:
    build = Build()
    first = cache.entry("onnx", {"model": "a", "tools": {"onnx": "1"}}, build)
    assert cache.entry("onnx", {"tools": {"onnx": "1"}, "model": "a"}, build) == first
    assert build.count == 1
    assert cache.entry("onnx", {"model": "a", "tools": {"onnx": "2"}}, build) != first
    assert cache.entry("int8", {"model": "a", "tools": {"onnx": "1"}}, build) != first
    assert build.count == 3


@pytest.mark.parametrize("damage", ["change", "truncate", "remove", "manifest", "manifest of another kind"])
def test_a_damaged_entry_is_built_again(cache: Cache, damage: str) -> None:
    build = Build()
    entry = cache.entry("onnx", {}, build)
    if damage == "remove":
        (entry / "model").unlink()
    elif damage == "manifest":
        (entry / "manifest.json").write_text("{")
    elif damage == "manifest of another kind":
        (entry / "manifest.json").write_text(json.dumps([1]))
    else:
        (entry / "model").write_text("" if damage == "truncate" else "other")
    assert (cache.entry("onnx", {}, build) / "model").read_text() == "content"
    assert build.count == 2


def test_what_fails_leaves_nothing(cache: Cache) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise OnnxliteError("no")

    with pytest.raises(OnnxliteError, match="no"):
        cache.entry("onnx", {}, fail)
    assert list(cache.folder.iterdir()) == []


def test_two_at_once_end_with_one_whole_entry(cache: Cache) -> None:
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
    assert [path.name for path in cache.folder.iterdir()] == [found[0].name]


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
