"""Records of workers on other machines: whose figures are told, and what of them is saved here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from msgspec.structs import replace as altered

from pytest_onnxlite.records import Conditions, JudgedFile, JudgedOn, Record, this_machine, without_this_machine
from pytest_onnxlite.report.terminal import judged_elsewhere
from pytest_onnxlite.saving import _elsewhere
from pytest_onnxlite.variants.external import hash_model

from onnx_models import dense

HERE = this_machine(None)
OTHER = JudgedOn("box", altered(HERE.machine, cpu="A Processor", cpus=64))


def record(path: Path | str, sha256: str, on: JudgedOn | None) -> Record:
    conditions = Conditions(1, True, 1, "top1", 9, None)
    return Record("t", "m", "onnx", JudgedFile(str(path), sha256, 3), conditions, judged_on=on)


def test_this_machine_is_not_named_and_another_one_is(tmp_path: Path) -> None:
    own, other = (without_this_machine(record("", "", on)) for on in (HERE, OTHER))
    assert (own.judged_on, other.judged_on) == (None, OTHER)
    same_kind = without_this_machine(record("", "", replace(HERE, host="next to it")))
    assert same_kind.judged_on is not None
    (line,) = judged_elsewhere([own, other, other])
    assert line == f"m onnx: judged on box (A Processor, {OTHER.machine.kind})"


def test_what_another_machine_judged_is_saved_if_its_file_is_here(tmp_path: Path) -> None:
    model = dense(tmp_path / "m.onnx", 1, 8)
    sha256 = hash_model(model)
    assert _elsewhere([record(model, sha256, OTHER)]) == ""
    dense(model, 2, 8)
    assert "on this machine is another file. Save there" in _elsewhere([record(model, sha256, OTHER)])
    model.unlink()
    assert "is not on this machine. Save there" in _elsewhere([record(model, sha256, OTHER)])
    assert _elsewhere([record(model, sha256, None)]) == ""  # told by whoever copies it
    both = _elsewhere([record(model, sha256, OTHER), record(model, sha256, None)])
    assert both.startswith("its tests ran on box (")
    assert " and this machine, and a baseline is of one machine at a time. Save on one of them" in both
