"""The study: its page from figures, what it says if there are none, and how it is collected. The study itself runs for minutes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pytest_onnxlite.checks.accuracy.measurement import Accuracy
from pytest_onnxlite.checks.latency.measurement import Latency
from pytest_onnxlite.checks.memory.measurement import Memory, Peak
from pytest_onnxlite.checks.size.measurement import Size
from pytest_onnxlite.checks.turns.comparison import Comparison
from study.claims import CLAIMS, Judgement, crossover
from study.data import CIFAR_VARIABLE, load_cifar10
from study.figures import Cell, Figures, Unmeasured, read_records
from study.notes import Notes, read_notes
from study.page import Conditions, render, summary
from study.published import (
    BARE,
    COMPILED,
    H5,
    INT8,
    LOADING,
    ONNX,
    PREDICT,
    RATIO,
    REPEATS,
    RUNNING,
    SIZE,
    STATIC,
    STATIC_RATIO,
    TABLES,
    TFLITE_INT8,
    TRACED,
    WIDE,
)

from projects import REPOSITORY

CONDITIONS = Conditions(
    {"cpu": "a processor", "cpus": 2.0, "isa": ["avx2"], "os": "linux"}, {"onnx": "1.0"}, ["A note."], 90.0, 0
)

OPERATORS = {
    ("cnn-1", H5): ["Conv2D", "Dense", "Dense"],
    ("cnn-1", ONNX): ["Conv", "MatMul", "MatMul"],
    ("cnn-1", INT8): ["DynamicQuantizeLinear", "ConvInteger", "Cast", "Mul", "MatMulInteger"],
    ("cnn-1", STATIC): ["QuantizeLinear"],
    ("cnn-1", "TFLite"): ["CONV_2D"],
    ("cnn-1", TFLITE_INT8): ["QUANTIZE", "CONV_2D"],
    ("dnn", ONNX): ["MatMul"],
    ("dnn", INT8): ["DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul"],
    ("dnn", STATIC): ["QuantizeLinear"],
}


def as_published() -> dict[Cell, float]:
    """Return cells that are what was published, and where nothing was, what bears the claims out."""
    cells: dict[Cell, float] = {}
    for number, table in TABLES.items():
        for row, column in table.places:
            cells[number, row, column] = table.published.get((row, column), 1.0)
    for number in (2, 3):
        cells[number, SIZE, BARE] = cells[number, SIZE, H5]
    for row in TABLES[6].rows:
        cells[6, row, PREDICT] = cells[6, row, COMPILED] = 100 * cells[6, row, ONNX]
        cells[6, row, STATIC_RATIO] = 2.0
    for number in (7, 8):
        for column in (H5, ONNX, INT8):
            # A tenth of it, all of which tracemalloc sees.
            share = 0.1 if column == INT8 else 1.0
            cells[number, TRACED, column] = cells[number, RUNNING, column] = share
    return cells


def claim_of(start: str) -> int:
    (number,) = [number for number, claim in enumerate(CLAIMS) if claim.text.startswith(start)]
    return number


def test_what_was_published_bears_out_every_claim() -> None:
    figures = Figures(as_published(), OPERATORS)
    judged = {claim.text: claim.judged(figures) for claim in CLAIMS}
    assert {text: found for text, found in judged.items() if found[0] is not Judgement.HOLDS} == {}


@pytest.mark.parametrize(
    ("claim", "changes", "becomes"),
    [
        ("Sizes of h5", {(2, SIZE, ONNX): 12.0}, Judgement.NO_LONGER),
        ("Sizes of h5", {(3, SIZE, INT8): 2.0}, Judgement.NO_LONGER),
        ("Conversion", {(2, SIZE, BARE): 8.02, (3, SIZE, BARE): 3.11}, Judgement.OTHER),
        ("Quantization alone", {(2, SIZE, INT8): 4.0}, Judgement.NO_LONGER),
        ("Accuracy moves", {(4, REPEATS[2], INT8): 63.4}, Judgement.NO_LONGER),
        ("Accuracy moves", {(4, REPEATS[2], INT8): 63.5}, Judgement.HOLDS),
        ("ONNX INT8 is faster", {(5, repeat, TFLITE_INT8): 0.05 for repeat in REPEATS}, Judgement.NO_LONGER),
        ("ONNX is many times", {(6, row, COMPILED): 1.0 for row in TABLES[6].rows}, Judgement.OTHER),
        ("INT8 dense nets", {(6, "100 %", RATIO): 1.01}, Judgement.NO_LONGER),
        ("Nets with convolutions", {(6, "80 %", RATIO): 0.99}, Judgement.NO_LONGER),
        ("That is an open", {(6, row, STATIC_RATIO): 0.4 for row in TABLES[6].rows}, Judgement.NO_LONGER),
        ("Memory per", {(7, RUNNING, H5): 30_000.0, (7, RUNNING, INT8): 12_000.0}, Judgement.OTHER),
        ("Memory per", {(7, RUNNING, INT8): 0.2}, Judgement.NO_LONGER),
    ],
)
def test_other_figures_turn_a_claim(claim: str, changes: dict[Cell, float], becomes: Judgement) -> None:
    cells = as_published()
    assert set(changes) <= set(cells)
    if claim == "Memory per" and becomes is Judgement.OTHER:
        changes |= {(8, row, column): value for (_, row, column), value in changes.items()}
    found, text = CLAIMS[claim_of(claim)].judged(Figures(cells | changes, OPERATORS))
    assert (found, bool(text)) == (becomes, True)


@pytest.mark.parametrize(
    ("claim", "graph", "operators"),
    [
        ("The quantized TFLite", ("cnn-1", TFLITE_INT8), ["CONV_2D"]),
        ("After quantization", ("dnn", INT8), ["MatMul"]),
    ],
)
def test_other_operators_turn_a_claim(claim: str, graph: tuple[str, str], operators: list[str]) -> None:
    figures = Figures(as_published(), {**OPERATORS, graph: operators})
    assert CLAIMS[claim_of(claim)].judged(figures)[0] is Judgement.NO_LONGER


def test_the_crossover_lies_between_two_nets() -> None:
    found = crossover(Figures(as_published()))
    # From 1/3 at 100 % to 1.714 at 89 %.
    assert found == pytest.approx(94.69, abs=0.01)
    assert crossover(Figures(as_published() | {(6, row, RATIO): 0.5 for row in TABLES[6].rows})) is None


def rows_of(page: str, number: int) -> list[list[str]]:
    """Return the rows of a table of the page: name, published or measured, cells."""
    section = re.split(rf"^## Table {number}: .*$", page, flags=re.MULTILINE)[1].split("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| ")
    ]


def test_the_page_has_every_cell_published_and_measured() -> None:
    cells = {cell: 1000.0 + number for number, cell in enumerate(as_published())}
    page = render(Figures(cells, OPERATORS), CONDITIONS, [2])
    for number, table in TABLES.items():
        header, *rows = rows_of(page, number)
        assert header[2:] == [column.name for column in table.columns]
        for row in table.rows:
            kinds = {kind: shown for name, kind, *shown in rows if name == row}
            wanted = [f"{cells[number, row, c.name]:,.{c.digits}f}" for c in table.columns]
            assert kinds["measured"] == wanted
            published = [table.published.get((row, c.name)) for c in table.columns]
            assert ("published" in kinds) == any(p is not None for p in published)
            if "published" in kinds:
                texts = [
                    "–" if p is None else f"{p:,.{c.digits}f}" for p, c in zip(published, table.columns, strict=True)
                ]
                assert kinds["published"] == texts
    assert "images/study-table-2.png" in page
    assert "study-table-3.png" not in page
    assert "not measured" not in page
    for text in ("a processor", "onnx 1.0", "A note.", "1.5 minutes", "ConvInteger"):
        assert text in page


def test_a_cell_that_was_not_measured_says_why() -> None:
    cells = {cell: figure for cell, figure in as_published().items() if cell[0] != 3 and cell[2] != TFLITE_INT8}
    why = [
        Unmeasured(3, (H5, BARE, ONNX, INT8, STATIC, "TFLite", TFLITE_INT8), "no images of CIFAR-10"),
        Unmeasured(2, (TFLITE_INT8,), "LiteRT is missing"),
        Unmeasured("cnn-1", (TFLITE_INT8,), "LiteRT is missing"),
    ]
    operators = {graph: found for graph, found in OPERATORS.items() if graph[1] != TFLITE_INT8}
    figures = Figures(cells, operators, why)
    page = render(figures, CONDITIONS, [])
    assert set(rows_of(page, 3)[2][2:]) == {"(a)"}
    assert "- (a): not measured: no images of CIFAR-10." in page
    assert rows_of(page, 2)[2][-1] == "(a)"
    assert "- (a): not measured: LiteRT is missing." in page
    # No test says why: it was left out.
    assert "- (a): not measured: the test that measures it was not run." in page
    assert f"**cnn-1, {TFLITE_INT8}**: not measured: LiteRT is missing." in page
    lines = summary(figures)
    assert "Table 3 was not rebuilt: no images of CIFAR-10" in lines
    assert "Table 2: 1 of 7 cells were not measured: LiteRT is missing" in lines
    assert f"{Judgement.UNKNOWN.value}: {CLAIMS[claim_of('Sizes of h5')].text}" in lines
    assert not any(line.startswith("Table 4") for line in lines)


def test_cells_are_read_from_the_guards_own_measurements() -> None:
    def record(model: str, variant: str, check: str, measured: Size | Accuracy | Latency | Memory) -> dict[str, object]:
        return {"model": model, "variant": variant, "measured": {check: msgspec.to_builtins(measured)}}

    right = Accuracy("top1", 640, 1000, 1, "", "trained", 650, 15, 5)
    times = Latency(2e-4, (2e-4,), 1, 1, 1, 1, {"sibling": Comparison("onnx", 1e6, (1.4, 1.5, 1.6))})
    alone = Latency(1e-4, (1e-4,), 1, 1, 1, 1)
    peaks = Memory(Peak(2_000_000, 3_000_000, True), None, "VmHWM", None, 1, 1)
    found = read_records(
        [
            record("dnn", "int8", "size", Size(2_000_000, "onnx", 8_000_000)),
            record("dnn-static", "int8", "size", Size(2_100_000, "onnx", 8_000_000)),
            record("cnn-3", "int8", "accuracy", right),
            record("dense-80", "int8", "latency", times),
            record("wide", "onnx", "latency", alone),
            record("cnn-1", "tflite_int8", "memory", peaks),
        ]
    )
    assert found == pytest.approx(
        {
            (2, SIZE, INT8): 2.0,
            (2, SIZE, STATIC): 2.1,
            (4, REPEATS[2], INT8): 64.0,
            (4, REPEATS[2], H5): 65.0,
            (6, "80 %", INT8): 0.2,
            (6, "80 %", RATIO): 1.5,
            (6, WIDE, ONNX): 0.1,
            (7, LOADING, TFLITE_INT8): 2000.0,
            (7, RUNNING, TFLITE_INT8): 3000.0,
        }
    )


def test_notes_come_back_from_a_report() -> None:
    properties: list[tuple[str, object]] = [("something", "else")]
    notes = Notes(lambda name, value: properties.append((name, value)))
    notes.cell(2, SIZE, H5, 24)
    notes.operators("dnn", ONNX, ("MatMul",))
    assert read_notes(properties) == ({(2, SIZE, H5): 24.0}, {("dnn", ONNX): ["MatMul"]})


def test_a_table_with_figures_gets_a_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from study.plots import draw

    stale = tmp_path / "study-table-3.png"
    stale.write_bytes(b"of an earlier run")
    cells = {cell: figure for cell, figure in as_published().items() if cell[0] != 3}
    del cells[5, REPEATS[0], STATIC]
    assert draw(Figures(cells), tmp_path) == [2, 4, 5, 6, 7, 8]
    assert {path.name for path in tmp_path.iterdir()} == {f"study-table-{number}.png" for number in (2, 4, 5, 6, 7, 8)}


@pytest.mark.parametrize("content", ["missing", "text", "arrays"])
def test_a_file_of_images_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    path = tmp_path / "images.npz"
    monkeypatch.setenv(CIFAR_VARIABLE, str(path))
    if content == "text":
        path.write_text("no archive")
    elif content == "arrays":
        labels = np.zeros(3, np.uint8)
        np.savez(
            path, x_train=np.zeros((3, 32, 32), np.uint8), y_train=labels, x_test=np.zeros((3, 32, 32, 3), np.uint8)
        )
    with pytest.raises(ValueError, match=re.escape(f"{CIFAR_VARIABLE}={path}")) as caught:
        load_cifar10()
    if content == "arrays":
        assert "missing or of another form: x_train, y_test" in str(caught.value)


def test_a_net_is_trained_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    from study.data import Images
    from study.training import BARE_FILE, FILE, Plan, train

    from digits import load_digits

    (x, y), (x_test, y_test) = load_digits()
    said: list[str] = []

    def trained(seed: int, count: int = 64) -> Path:
        return train(Plan("dnn", seed, 1), Images(x[:count], y[:count], x_test, y_test), tmp_path, said.append)

    folder = trained(1)
    assert said[0] == "training dnn, seed 1, on 64 images"
    assert said[1].startswith("  epoch 1 of 1: accuracy 0.")
    # The optimizer keeps two figures for each weight.
    assert (folder / FILE).stat().st_size == pytest.approx(3 * (folder / BARE_FILE).stat().st_size, rel=0.02)
    said.clear()
    assert trained(1) == folder
    assert said == []
    assert trained(1, count=63) != folder
    assert said[0] == "training dnn, seed 1, on 63 images"


def run_pytest(*arguments: str, cwd: Path = REPOSITORY, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    env.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_only_who_names_the_folder_runs_the_study_and_its_collection_is_light() -> None:
    heavy = ("tensorflow", "keras", "matplotlib", "onnxruntime", "onnx", "h5py")
    code = (
        "import pytest, sys\n"
        "found = pytest.main(['--co', '-q', '-p', 'no:cacheprovider', *sys.argv[1:]])\n"
        f"print('HEAVY', [name for name in {heavy!r} if name in sys.modules], int(found))"
    )
    named = run_pytest("-c", code, "study")
    assert "study/test_accuracy.py::test_int8_loses_at_most_a_point[cnn-5-static]" in named.stdout, named.stderr
    assert "HEAVY [] 0" in named.stdout
    for arguments in ((), (".", "--ignore=tests", "--ignore=benchmarks")):
        other = run_pytest("-c", code, *arguments)
        assert "examples/test_release.py" in other.stdout, other.stderr
        assert "study/" not in other.stdout


def test_the_study_refuses_to_measure_beside_others(tmp_path: Path) -> None:
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    result = run_pytest("-m", "pytest", "study", "-n2", "-o", f"cache_dir={tmp_path}")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "run it without -n" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    result = run_pytest("-m", "pytest", "study", f"--onnxlite-study={out}", "-o", f"cache_dir={tmp_path / 'cache'}")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"--onnxlite-study={out}: Not a directory; give a folder that can be written" in result.stderr


def test_without_cifar10_its_tests_are_skipped_and_the_tables_are_named(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    out = tmp_path / "out"
    nowhere = "http://127.0.0.1:9"
    result = run_pytest(
        *("-m", "pytest", "study/test_accuracy.py", f"--onnxlite-study={out}", "-o", f"cache_dir={tmp_path / 'cache'}"),
        cwd=REPOSITORY,
        **{CIFAR_VARIABLE: "", "KERAS_HOME": str(tmp_path / "keras"), "https_proxy": nowhere, "HTTPS_PROXY": nowhere},
    )
    text = result.stdout
    assert "10 skipped" in text, text + result.stderr
    reason = "CIFAR-10 is neither in Keras's cache nor can it be fetched"
    assert re.search(rf"^Table 4 was not rebuilt: {reason}", text, re.MULTILINE)
    assert re.search("^Table 2 was not rebuilt: the test that measures it was not run$", text, re.MULTILINE)
    # A guard that looked at nothing never passes.
    assert "nothing was saved: no test of this run judged a model" in text
    assert result.returncode == 1
    page = (out / "study.md").read_text(encoding="utf-8")
    assert f"- (a): not measured: {reason}" in page
    assert set(rows_of(page, 4)[2][2:]) == {"(a)"}
