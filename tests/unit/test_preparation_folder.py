"""Preparing a model works in a folder of its own, and comes back."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from pytest_onnxlite import OnnxliteError
from pytest_onnxlite.variants.preparation import prepare_all

from onnx_models import dense


@pytest.mark.skipif("sys.platform == 'win32'", reason="Windows removes no folder that a process is in")
def test_a_folder_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, gone, work = dense(tmp_path / "a.onnx", 1), tmp_path / "gone", tmp_path / "work"
    gone.mkdir()
    work.mkdir()
    monkeypatch.chdir(gone)
    prepare_all(model, onnx.load(model), work, "a")
    assert Path.cwd() == gone
    gone.rmdir()
    with pytest.raises(OnnxliteError, match="the folder that pytest runs in was removed meanwhile"):
        prepare_all(model, onnx.load(model), work, "a")
