"""What a page draws of an explanation: classes, samples, ranges, layers and slices, from typed records."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from pytest_onnxlite.checks.accuracy.answers import Flip, compare_answers
from pytest_onnxlite.checks.accuracy.causes import CALIBRATION, LAYERS
from pytest_onnxlite.checks.accuracy.drawn import blocks, slice_bars
from pytest_onnxlite.checks.accuracy.measurement import LAST_RELEASE, Accuracy, Slice
from pytest_onnxlite.checks.accuracy.pictures import channel_axis, pictures_of, png
from pytest_onnxlite.checks.accuracy.reasons import AccuracyReasons, Picture
from pytest_onnxlite.checks.blocks import Block, Compared, Grid, Ranges, Table
from pytest_onnxlite.checks.latency.reasons import LatencyReasons, OperatorDifference
from pytest_onnxlite.checks.latency.reasons import blocks as latency_blocks
from pytest_onnxlite.checks.verdict import Explanation, Outcome, Verdict
from pytest_onnxlite.explain.layer import INPUT, Layer
from pytest_onnxlite.explain.noise import HIGHEST
from pytest_onnxlite.records import Conditions, JudgedFile, Record
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.report import html, markdown
from pytest_onnxlite.report.document import as_data, build, parse
from pytest_onnxlite.run import Run

from pages import Outline, network_faults, structure_faults

CHECKS = Registry.load().checks
CHECK = CHECKS["accuracy"]


def pixels(content: bytes) -> np.ndarray[Any, Any]:
    """Read a PNG without a palette and without filters."""
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(content):
        (length,), name = struct.unpack(">I", content[at : at + 4]), content[at + 4 : at + 8]
        body = content[at + 8 : at + 8 + length]
        assert struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0] == zlib.crc32(name + body)
        chunks[name], at = body, at + 12 + length
    wide, high, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(high, -1)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(high, wide, 3 if colour == 2 else 1)


def layer(node: str, own: float, **figures: Any) -> Layer:
    kept: dict[str, Any] = {"op": "MatMul", "quantized": ["MatMulInteger"], "inherited": own} | figures
    return Layer(tensor=node, node=node, own=own, channel=own, before=HIGHEST, gain=1.0, gain_free=own, **kept)


def of(form: type, found: list[Block]) -> Any:
    (one,) = (block for block in found if isinstance(block, form))
    return one


# -- pictures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((5, 28, 28, 1), 3), ((5, 3, 28, 28), 1), ((5, 28, 28, 4), 3), ((5, 60, 16), None), ((5, 8, 28, 28), None)],
)
def test_images_are_told_by_their_colours(shape: tuple[int, ...], axis: int | None) -> None:
    assert channel_axis(np.zeros(shape, np.float32)) == axis
    assert channel_axis({"x": np.zeros(shape, np.float32), "mask": np.zeros(5)}) is None


@pytest.mark.parametrize("colours", [1, 3])
def test_a_png_holds_the_pixels(colours: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, colours)).astype(np.uint8)
    assert (pixels(png(image)) == image).all()


@pytest.mark.parametrize(
    ("scale", "offset", "dtype"), [(1, 0, np.float32), (255, 0, np.float32), (255, 0, np.uint8), (4, -2, np.float32)]
)
@pytest.mark.parametrize("first", [True, False], ids=["channels first", "channels last"])
def test_samples_are_shown_from_black_to_white_whatever_their_scale(
    scale: float, offset: float, dtype: Any, first: bool
) -> None:
    ramp = np.linspace(0, 1, 64).reshape(1, 8, 8, 1)
    x = (ramp * scale + offset).astype(dtype)
    (picture,) = pictures_of(x.transpose(0, 3, 1, 2) if first else x, [Flip(0, 1, 1, 2)])
    shown = pixels(base64.b64decode(picture.png))
    assert shown.shape == (8, 8, 1)
    assert (np.abs(shown[..., 0].astype(int) - ramp[0, ..., 0] * 255) <= 1.5).all()


def test_pictures_are_few_and_small_and_of_each_kind_of_mistake() -> None:
    x = np.random.default_rng(0).uniform(size=(40, 200, 300, 3)).astype(np.float32)
    x[0, 0, 0] = np.nan
    flips = [Flip(i, 1, 1, 2) for i in range(30)] + [Flip(30, 3, 3, 4)]
    found = pictures_of(x, flips)
    assert len(found) == 6
    assert {(one.expected, one.candidate) for one in found} == {(1, 2), (3, 4)}
    assert all(max(pixels(base64.b64decode(one.png)).shape) <= 48 for one in found)
    assert sum(len(one.png) for one in found) < 60_000  # noise, which cannot be packed


@pytest.mark.parametrize("x", [np.zeros((4, 60, 16)), np.zeros((4, 3, 2, 2)), np.array([["a"]]), {}])
def test_what_is_no_image_has_no_picture(x: Any) -> None:
    assert pictures_of(x, [Flip(0, 1, 1, 2)]) == ()
    assert pictures_of(np.zeros((4, 8, 8, 1)), []) == ()


# -- classes -------------------------------------------------------------------------------------------------


def test_a_confusion_table_has_what_both_models_answer() -> None:
    labels = np.repeat([0, 1, 2], 10)
    candidate = labels.copy()
    candidate[:4] = 2
    answers = compare_answers(labels, labels, candidate, "the onnx variant")
    grid = of(Grid, blocks(AccuracyReasons(answers=answers), "int8", ""))
    assert isinstance(grid, Grid)
    assert grid.columns == ("0", "1", "2")
    rows = {name: [(cell.text, cell.note) for cell in cells] for name, cells in grid.rows}
    assert rows["0"] == [("6", "was 10"), ("", ""), ("4", "was 0")]
    assert rows["1"] == [("", ""), ("10", ""), ("", "")]
    assert [cell.is_right for cell in grid.rows[0][1]] == [True, False, False]


def test_of_many_classes_those_that_lost_most_are_shown_and_no_answer_is_left_out() -> None:
    labels = np.repeat(np.arange(100), 5)
    candidate = labels.copy()
    candidate[labels >= 95] = np.arange(25) + 30
    grid = of(Grid, blocks(AccuracyReasons(answers=compare_answers(labels, labels, candidate, "it")), "int8", ""))
    assert len(grid.rows) == 10
    assert {"95", "96", "97", "98", "99"} <= {name for name, _ in grid.rows}
    assert grid.columns[-1] == "others"
    assert "10 of 100 classes" in grid.note
    assert all(sum(int(cell.text or 0) for cell in cells) == 5 for _, cells in grid.rows)


# -- layers and ranges ---------------------------------------------------------------------------------------


def test_layers_are_bars_in_the_order_of_the_graph_with_the_bad_ones_marked() -> None:
    layers = [layer(f"n{i}", 40.0 + i) for i in range(20)]
    layers[15] = layer("bad", 3.0, inherited=2.0)
    found = of(Compared, blocks(AccuracyReasons(layers=tuple(layers), ranks_layers=True, runs=32), "int8", LAYERS))
    assert [row.name for row in found.rows] == [*(f"n{i}" for i in range(11)), "bad"]
    assert [row.name for row in found.rows if row.bad] == ["bad"]
    assert "12 of 20 layers, the worst" in found.note
    assert (found.rows[-1].text, found.rows[-1].marks[0].text) == ("3.0 dB", "2.0 dB")
    # What is wrong with all of them is no fault of one.
    assert blocks(AccuracyReasons(layers=tuple(layers), ranks_layers=False), "int8", CALIBRATION) == []


def test_ranges_show_what_is_cut_off_and_what_is_hardly_used() -> None:
    figures = {"op": INPUT, "quantized": [], "clipped": 0.4, "reach": 5.0, "low": -0.2, "high": 0.2}
    fed = layer("x", HIGHEST, least=-1.0, most=1.0, **figures)
    coarse = layer("coarse", 40.0, clipped=0.0, reach=0.01, low=0.0, high=100.0, least=0.0, most=1.0)
    fits = layer("fits", 40.0, clipped=0.0, reach=0.9, low=0.0, high=1.0, least=0.0, most=0.9)
    found = of(Ranges, blocks(AccuracyReasons(ranges=(fed,), layers=(coarse, fits)), "int8", CALIBRATION))
    rows = {row.name: row for row in found.rows}
    assert rows["input x"].bad == "40.0 % cut off"
    assert (rows["input x"].low, rows["input x"].high, rows["input x"].least, rows["input x"].most) == (0.4, 0.6, 0, 1)
    assert rows["coarse"].bad == "1.0 % of it used"
    assert rows["fits"].bad == ""


def test_what_the_first_cause_is_about_is_drawn_first() -> None:
    labels = np.arange(5)
    reasons = AccuracyReasons(
        answers=compare_answers(labels, labels, labels[::-1], "it"),
        layers=(layer("a", 3.0, reach=0.9, low=0.0, high=1.0, most=0.9),),
        ranks_layers=True,
    )
    firsts = {cause: type(blocks(reasons, "int8", cause)[0]) for cause in ("", LAYERS, CALIBRATION)}
    assert firsts == {"": Grid, LAYERS: Compared, CALIBRATION: Ranges}


# -- slices and operators ------------------------------------------------------------------------------------


def test_slices_are_bars_beside_the_float_model_and_the_last_release() -> None:
    slices = (
        Slice("night", "onnx", 40, 0.5, 0.9, 18, 2),
        Slice("day", "onnx", 60, 0.9, 0.9),
        Slice("night", LAST_RELEASE, 40, 0.5, 0.85, 16, 2),
        Slice("day", LAST_RELEASE, 60, 0.9, 0.9),
    )
    found = slice_bars(slices, {(True, "night")}, "int8")
    assert found is not None
    night, day = found.rows
    assert (night.name, night.text, night.share, night.bad) == ("night", "50.0 %", 0.5, "lost too much")
    assert [(mark.label, mark.text, mark.share) for mark in night.marks] == [
        ("onnx", "90.0 % (18 lost, 2 won)", 0.9),
        (LAST_RELEASE, "85.0 % (16 lost, 2 won)", 0.85),
    ]
    assert day.bad == ""
    assert slice_bars((), set(), "int8") is None


def test_operators_are_drawn_only_as_far_as_they_agree_with_the_verdict() -> None:
    rounded = (
        OperatorDifference("Reshape", 1, 1, 1e-6 + 2e-21, 1e-6),
        OperatorDifference("Add", 1, 1, 1e-6 + 2e-15, 1e-6),
    )
    operators = (
        OperatorDifference("Conv", 1, 1, 3e-6, 1e-6),
        *rounded,
        OperatorDifference("Relu", 1, 1, 1e-6, 2e-6),
    )
    slower = LatencyReasons(reference="it", seconds=4e-6, reference_seconds=3e-6, operators=operators, wanted=1)
    (found,) = latency_blocks(slower)
    assert isinstance(found, Compared)
    assert [row.name for row in found.rows] == ["Conv"]
    faster = LatencyReasons(reference="it", seconds=2e-6, reference_seconds=3e-6, operators=operators, wanted=1)
    assert latency_blocks(faster) == []


# -- the page ------------------------------------------------------------------------------------------------

EVIL = '<script>alert(1)</script>" onload="x'


def explained(**figures: Any) -> str:
    """A page of one red verdict whose explanation has these figures, read from a report."""
    conditions = Conditions(1, True, 1, "top1", 1000, None)
    verdict = Verdict("accuracy", "onnx", Outcome.FAIL, "1 %", "lost", red=True)
    record = Record("t", "m", "int8", JudgedFile(), conditions, verdicts=(verdict,), file="t.py")
    data = as_data(build(Run(records={"t": [record]}), "compare", CHECKS))
    data["records"][0]["verdicts"][0]["explanation"] = {"why": "a", "lines": ["b"], **figures}
    return html.render(parse(data, CHECKS, "it"), CHECKS)


def test_names_and_pictures_of_a_report_are_never_markup() -> None:
    bad = layer(EVIL, 1.0, reach=2.0, clipped=0.5, low=0.0, high=1.0, most=2.0)
    reasons = AccuracyReasons(layers=(bad,), ranks_layers=True, pictures=(Picture(1, 2, 3, f'AAAA" onerror="{EVIL}'),))
    answers = msgspec.to_builtins(compare_answers(np.arange(3), np.arange(3), np.zeros(3, int), EVIL))
    page = explained(**msgspec.to_builtins(reasons), answers=answers)
    assert "<script" not in page
    assert re.findall(r'<img [^>]*?src="([^"]*)"', page) == [
        "data:image/png;base64,AAAAonerror=scriptalert1/scriptonload=x"
    ]
    assert structure_faults(page) == []
    assert network_faults(page) == []
    assert Outline(page).text.count(EVIL) >= 3


def test_columns_are_named_after_the_checks_there_are() -> None:
    def judged(variant: str, *names: str) -> Record:
        found = tuple(Verdict(name, "onnx", Outcome.FAIL, "1 %", "lost", red=True) for name in names)
        return Record("t", "m", variant, JudgedFile(), Conditions(1, True, 1, "top1", 9, None), verdicts=found)

    records = [judged("int8", *CHECKS), judged("onnx", "size")]
    page = html.render(build(Run(records={"t": records}), "compare", CHECKS), CHECKS)
    summary = page.split('id="summary"')[1].split("</table>")[0]
    assert re.findall('data-label="([a-z]+)"', summary)[1 : 1 + len(CHECKS)] == list(CHECKS)


def test_slices_stand_in_markdown_too() -> None:
    slices = (Slice("night", "onnx", 40, 0.5, 0.9, 18, 2), Slice("night", LAST_RELEASE, 40, 0.5, 0.85, 16, 2))
    found = Accuracy("top1", 50, 100, 1, "d", "onnx", 90, 42, 2, slices=slices)
    verdict = Verdict("accuracy", "onnx", Outcome.FAIL, "1 %", "lost", red=True)
    one = Record("t", "m", "int8", JudgedFile(), Conditions(1, True, 1, "top1", 9, None), verdicts=(verdict,))
    run = Run(records={"t": [replace(one, measured={"accuracy": found})]})
    text = markdown.render(build(run, "compare", CHECKS), CHECKS)
    assert "| night (40 samples) | 50.0 % | 90.0 % (18 lost, 2 won) | 85.0 % (16 lost, 2 won) |" in text


def test_figures_that_an_other_version_wrote_are_kept_and_said_in_lines() -> None:
    page = explained(details=["c: 3 dB"], layers="none", sqnr={"dense": 3.25})
    shown = Outline(page).text
    assert "c: 3 dB" in shown
    assert "3.25" in shown
    assert structure_faults(page) == []


def test_what_is_drawn_is_not_said_in_lines_once_more_among_the_problems() -> None:
    labels = np.repeat([0, 1], 5)
    answers = msgspec.to_builtins(compare_answers(labels, labels, 1 - labels, "it"))
    page = explained(details=["Classes that lost most"], answers=answers)
    problems, rest = page.split('id="problems"')[1].split('id="model', 1)
    assert "Classes that lost most" not in problems
    assert "How the samples of each class are answered" in problems
    assert "Classes that lost most" in rest  # with every limit that was judged, in words
    assert of(Table, [*CHECK.drawn(parsed(answers), "int8")][1:]).rows[0] == ("0", "0", "1")


def parsed(answers: Any) -> Explanation:
    return Explanation("a", figures=CHECK.read_reasons({"answers": answers}))
