"""Files that are no files, or others than they are taken for: told as what they are, and never waited for."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_onnxlite import Dataset, ModelSpec, OnnxliteError
from pytest_onnxlite.baseline.record import BrokenBaseline
from pytest_onnxlite.baseline.store import BaselineStore
from pytest_onnxlite.declared.datafile import DataFile, read_arrays
from pytest_onnxlite.labels import ByName
from pytest_onnxlite.lint.finding import GraphError
from pytest_onnxlite.lint.protobuf import load_graph
from pytest_onnxlite.runtime.sessions import open_session
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.variants.cache import hash_file
from pytest_onnxlite.variants.external import external_files

from onnx_models import dense

needs_pipes = pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")


def _text(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


FOREIGN = {
    "a pipe": (_pipe, "is no regular file"),
    "a device": (_device, "is no regular file"),
    "empty": (_text(b""), "is empty"),
    "an LFS pointer": (_text(b"version https://git-lfs.github.com/spec/v1\n"), "is a Git LFS pointer.* git lfs pull"),
    "a web page": (_text(b"\n<!DOCTYPE html><title>404</title>"), "is a web page"),
}
foreign = pytest.mark.parametrize(("make", "says"), FOREIGN.values(), ids=FOREIGN)


@needs_pipes
@foreign
def test_a_foreign_file_is_told_as_what_it_is(make: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    for name, read in {
        "model.onnx": lambda path: ModelSpec("m", onnx=path),
        "int8.onnx": lambda path: ModelSpec("m", int8=path),
        "model.keras": lambda path: ModelSpec("m", trained=path),
        "evaluation.npz": lambda path: read_arrays(DataFile(path), "data", labelled=True),
        "graph.onnx": load_graph,
    }.items():
        path = tmp_path / name
        make(path)
        with pytest.raises((OnnxliteError, GraphError), match=rf"(?s){name}'? {says}"):
            read(path)


@needs_pipes
@foreign
def test_so_is_a_foreign_baseline(make: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    store = BaselineStore(tmp_path, ByName({}))
    path = store.path("m", "int8")
    path.parent.mkdir()
    make(path)
    with pytest.raises(BrokenBaseline, match=says):
        store.load("m", "int8")


@needs_pipes
def test_no_pipe_is_hashed(tmp_path: Path) -> None:
    _pipe(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        hash_file(tmp_path / "pipe")


def _array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.ones(3))


def _objects(path: Path) -> None:
    np.savez(path, x=np.array([{}, {}], object))


def _claims(path: Path) -> None:
    """An archive whose array says that it has 64 TB."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (8796093022208,), }"
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)


def _cut(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00" + bytes(60))


DAMAGED = {
    "another archive": (lambda path: zipfile.ZipFile(path, "w").close(), r"has no array 'x'"),
    "one array": (_array, r"is no \.npz file"),
    "text": (_text(b"x,y\n1,2\n"), r"is no \.npz file"),
    "objects": (_objects, "an array in it holds Python objects"),
    "64 TB": (_claims, "cannot be read"),
    "cut": (_cut, "cannot be read"),
}


@pytest.mark.parametrize(("make", "says"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_data_is_an_error_with_the_file(make: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.npz"
    make(path)
    with pytest.raises(OnnxliteError, match=says) as raised:
        read_arrays(DataFile(path), "data", labelled=True)
    assert "evaluation.npz" in str(raised.value)
    assert "allow_pickle" not in str(raised.value)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"location": "w.bin", "length": "many"}, "makes no sense: invalid literal"),
        ({"location": "w.bin", "offset": "0x1"}, "makes no sense: invalid literal"),
        ({"location": "w.bin", "offset": "-8"}, "begin at byte -8"),
        ({"location": "w.bin", "length": "-1"}, "-1 bytes long"),
        ({"location": "w\0.bin"}, "makes no sense|no such file"),
        ({"location": "w" * 5000}, "makes no sense|no such file"),
        ({"location": "pipe"}, "no such file"),
    ],
    ids=lambda value: str(value)[:30],
)
@needs_pipes
def test_external_data_that_makes_no_sense(entries: dict[str, str], says: str, tmp_path: Path) -> None:
    _pipe(tmp_path / "pipe")
    (tmp_path / "w.bin").write_bytes(bytes(16))
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        weight.external_data.add(key=key, value=value)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "main", [], [y], [weight])
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(OnnxliteError, match=says):
        external_files(path, onnx.load(path, load_external_data=False))


def test_a_folder_is_a_trained_model_and_no_onnx_file(tmp_path: Path) -> None:
    assert ModelSpec("m", trained=tmp_path, evaluation=Dataset(np.ones((1, 2), np.float32))).trained == tmp_path
    with pytest.raises(OnnxliteError, match="is a folder"):
        ModelSpec("m", onnx=tmp_path)


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names there are Unicode")
def test_a_path_that_no_runtime_can_be_told_is_told_with_the_locale_that_makes_it_so(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"no\xfftext.onnx")
    with pytest.raises(
        ValueError, match=r"is not the name of a file in Unicode. Give the folder or the file another name"
    ):
        open_session(dense(odd, 1, width=3), Runtime())
    # Where Python takes names for ASCII, every other letter makes one of these.
    code = (
        "import os; from pytest_onnxlite.files import not_unicode; print(not_unicode(os.fsdecode(b'mod\\xc3\\xa8le')))"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "Python takes names for ascii here: set LC_ALL=C.UTF-8 or PYTHONUTF8=1" in said.stdout
