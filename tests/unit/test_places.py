"""Released files at an address, on the file systems that fsspec brings along; servers are in tests/remote."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_onnxlite.addresses import Address
from pytest_onnxlite.baseline.places.choosing import place_at
from pytest_onnxlite.baseline.places.place import Place, Wanted
from pytest_onnxlite.baseline.record import Artefact, Baseline, BrokenBaseline
from pytest_onnxlite.baseline.store import BaselineStore
from pytest_onnxlite.baseline.writing import save
from pytest_onnxlite.checks.size.measurement import SizeSection
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.variants.cache import Cache, hash_file

pytest.importorskip("fsspec")


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"the first release")
    return path


def file_of(path: Path) -> Wanted:
    sha256 = hash_file(path)
    return Wanted(f"int8-{sha256[:16]}.onnx", sha256, path.stat().st_size, True)


def place_of(tmp_path: Path, cache: str = "cache", address: str = "") -> Place:
    where = Address(address or (tmp_path / "server").as_uri())
    place = place_at(where, tmp_path / "baselines", 20, Cache(tmp_path / cache))
    assert place is not None
    return place


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_file_goes_there_once_and_back(kind: str, tmp_path: Path, net: Path) -> None:
    place = place_of(tmp_path, address="memory://released/of-one-test" if kind == "memory" else "")
    with pytest.raises(OnnxliteError, match="it is not there"):
        place.obtain("digits", file_of(net))
    assert place.put("digits", file_of(net), [net], [])
    assert not place.put("digits", file_of(net), [net], [])
    assert place.obtain("digits", file_of(net)).read_bytes() == net.read_bytes()


def test_what_is_not_the_file_is_no_file(tmp_path: Path, net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, place = file_of(net), place_of(tmp_path)
    place.put("digits", wanted, [net], [])
    there = tmp_path / "server" / "digits" / wanted.file
    for content, says in (
        (b"the other release", "what came is another file: expected SHA-256"),
        (b"the first rel", "it has 13 bytes there, and the release has 17"),
        (b"", "it has 0 bytes there"),
        (None, "it is not there"),
    ):
        there.unlink() if content is None else there.write_bytes(content)
        with pytest.raises(OnnxliteError, match=says):
            place_of(tmp_path, "cold").obtain("digits", wanted)
    assert place.put("digits", wanted, [net], [])
    # A copy with the right hash is enough only for who says so.
    place.obtain("digits", wanted)
    there.unlink()
    with pytest.raises(OnnxliteError, match="it is not there"):
        place_of(tmp_path).obtain("digits", wanted)
    monkeypatch.setenv("ONNXLITE_OFFLINE", "1")
    assert place_of(tmp_path).obtain("digits", wanted).read_bytes() == net.read_bytes()
    with pytest.raises(OnnxliteError, match="it is not in the cache"):
        place_of(tmp_path, "cold").obtain("digits", wanted)
    with pytest.raises(OnnxliteError, match="is not written to: ONNXLITE_OFFLINE"):
        place_of(tmp_path).put("digits", wanted, [net], [])


def test_a_save_uploads_before_the_json_changes(tmp_path: Path, net: Path) -> None:
    store = BaselineStore(tmp_path / "baselines", Registry.load().checks, place_of(tmp_path))

    def release(content: bytes) -> Baseline:
        net.write_bytes(content)
        wanted = file_of(net)
        artefact = Artefact(wanted.file, wanted.sha256, wanted.bytes, True)
        return Baseline("digits", "int8", artefact, {"size": SizeSection(wanted.bytes)})

    first = release(b"the first release")
    save(store, first, [net])
    assert store.load("digits", "int8") == first
    assert store.artefact(first).read_bytes() == b"the first release"
    assert sorted(path.name for path in store.path("digits", "int8").parent.iterdir()) == ["int8.json"]
    # A folder that nobody may write to: root may, so that a file stands in its place.
    second = release(b"the second release")
    (tmp_path / "server" / "digits").rename(tmp_path / "server" / "kept")
    (tmp_path / "server" / "digits").write_text("no folder")
    with pytest.raises(OnnxliteError, match="cannot be uploaded to file://"):
        save(store, second, [net])
    assert store.load("digits", "int8") == first
    with pytest.raises(
        BrokenBaseline, match=r"the last release's file file://.* cannot be read: .*\. Restore it there"
    ):
        store.artefact(first)
    (tmp_path / "server" / "digits").unlink()
    (tmp_path / "server" / "kept").rename(tmp_path / "server" / "digits")
    save(store, second, [net])
    # What the commit before names is still there.
    assert [store.artefact(one).read_bytes()[:9] for one in (first, second)] == [b"the first", b"the secon"]


def test_no_name_leads_out_of_the_folder(tmp_path: Path, net: Path) -> None:
    (tmp_path / "server").mkdir()
    for model, name in (("..", "net.onnx"), ("digits", "../../net.onnx"), ("a/..", "x"), ("", "net.onnx")):
        wanted = Wanted(name, hash_file(net), net.stat().st_size, True)
        with pytest.raises(OnnxliteError, match="is no name of a file"):
            place_of(tmp_path).obtain(model, wanted)
        with pytest.raises(OnnxliteError, match="is no name of a file"):
            place_of(tmp_path).put(model, wanted, [net], [])
