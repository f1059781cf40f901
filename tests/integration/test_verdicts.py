"""Each fault of a release, in a real project with a real model: the guard is red and says what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnx_models import (
    branching,
    dense,
    edit,
    in_other_bytes,
    lookup,
    overflowing,
    quantize,
    set_weight,
    two_outputs,
    weights_of,
    wide,
)
from projects import UNEXPLAINED, Digits, Project

Make = Callable[..., Project]

EVERYTHING = """
@pytest.mark.onnxlite_accuracy(max_drop=0.01)
@pytest.mark.onnxlite_size(ratio=0.25, tolerance=0.05)
@pytest.mark.onnxlite_latency(max_slowdown=0.25)
@pytest.mark.onnxlite_memory(max_growth=0.05)
@pytest.mark.onnxlite_graph
"""


def said(result: pytest.RunResult) -> str:
    return result.stdout.str()


def assert_red(result: pytest.RunResult, *texts: str) -> None:
    result.assert_outcomes(failed=1)
    assert result.ret == 1
    for text in texts:
        assert text in said(result), said(result)


# -- a good release ------------------------------------------------------------------------------------------


@pytest.mark.alone
def test_a_good_release_is_saved_and_then_green(digits_project: Make) -> None:
    project = digits_project(markers=EVERYTHING)
    project.save()
    saved = project.baseline.read_bytes()
    result = project.compare()
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"digits +int8 .*\(0\.25\d of onnx.*x last.*sound +pass"])
    again = project.save()
    assert project.baseline.read_bytes() == saved
    again.stdout.fnmatch_lines(["unchanged: baselines/digits/int8.json"])


def test_without_the_option_what_needs_no_baseline_is_judged(digits_project: Make) -> None:
    result = digits_project(markers=EVERYTHING).run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*pass, not compared"])
    assert "warning" not in said(result)


def test_a_test_with_nothing_else_to_judge_is_skipped(digits_project: Make) -> None:
    result = digits_project(markers="@pytest.mark.onnxlite_latency\n@pytest.mark.onnxlite_memory").run("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["*latency, memory not compared: baselines are looked at under: pytest --onnxlite-baseline"]
    )
    result.stdout.re_match_lines([r"digits +int8 +not measured +not measured +not compared$"])


# -- accuracy ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wrong", "red"), [(10, False), (11, True)])
def test_eleven_of_a_thousand_are_red_and_ten_are_not(project: Project, tmp_path: Path, wrong: int, red: bool) -> None:
    answers = np.random.default_rng(0).integers(0, 10, 1000)
    worse = answers.copy()
    worse[:wrong] = (worse[:wrong] + 1) % 10
    files = {"onnx": lookup(tmp_path / "a.onnx", answers), "int8": lookup(tmp_path / "b.onnx", worse, int8=True)}
    project.write(files, np.arange(1000).reshape(-1, 1), answers)
    result = project.run()
    if red:
        assert_red(result, "98.9 % (989 of 1000 right), the onnx variant has 100.0 % (1000)")
        assert "11 fewer right, at most 10 allowed" in said(result)
        assert "Only the onnx variant right: 11 samples; only this one: 0" in said(result)
    else:
        result.assert_outcomes(passed=1)


def test_accuracy_below_the_last_release_is_red(project: Project, tmp_path: Path) -> None:
    answers = np.random.default_rng(0).integers(0, 10, 1000)
    model = lookup(tmp_path / "a.onnx", answers)
    project.write({"onnx": model}, np.arange(1000).reshape(-1, 1), answers, variant="onnx")
    project.save()
    answers[:11] = (answers[:11] + 1) % 10
    project.replace("onnx.onnx", lookup(tmp_path / "b.onnx", answers))
    assert_red(project.compare(), "last release had 100.0 % (1000): 11 fewer right, at most 10 allowed")


def test_a_ruined_layer_is_red(digits_project: Make, digits: Digits, tmp_path: Path) -> None:
    def ruin(model: onnx.ModelProto) -> None:
        name, weights = max(weights_of(model).items(), key=lambda entry: entry[1].size)
        set_weight(model, name, weights[::-1].copy())

    ruined = edit(digits.int8, tmp_path / "ruined.onnx", ruin)
    assert_red(digits_project(files={"onnx": digits.onnx, "int8": ruined}).run(), "fewer right, at most 10 allowed")


def test_other_evaluation_data_is_not_compared(digits_project: Make, digits: Digits) -> None:
    project = digits_project()
    project.save()
    np.savez(project.path / "data.npz", x=digits.x[:900], y=digits.y[:900])
    assert_red(project.compare(), "accuracy not comparable", "counted on other evaluation data (1000 samples")
    refused = project.run("--onnxlite-save-baseline")
    assert refused.ret == 1
    accepted = project.run("--onnxlite-save-baseline", "--onnxlite-accept")
    assert accepted.ret == 0, said(accepted)
    project.compare().assert_outcomes(passed=1)


# -- size ----------------------------------------------------------------------------------------------------


def test_a_layer_left_in_float_is_red(digits_project: Make, digits: Digits, tmp_path: Path) -> None:
    nodes = [node for node in onnx.load(digits.onnx).graph.node if node.op_type == "MatMul"]
    half = quantize(digits.onnx, tmp_path / "half.onnx", nodes_to_exclude=[nodes[0].name])
    project = digits_project(files={"onnx": digits.onnx, "int8": half}, markers="@pytest.mark.onnxlite_size")
    result = project.run()
    assert_red(
        result,
        "of the onnx variant's",
        "(what quantization can reach with this model is 0.2",
        "Left in float:",
        nodes[0].name,
    )


def test_a_model_that_grew_since_the_last_release_is_red(project: Project, tmp_path: Path) -> None:
    x = np.ones((4, 64), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 10, 64)}, x, variant="onnx", markers="@pytest.mark.onnxlite_size")
    project.save()
    project.replace("onnx.onnx", dense(tmp_path / "b.onnx", 11, 64))
    assert_red(project.compare(), "10.0 % more, at most 5.0 % allowed")


def test_small_losses_that_were_saved_one_by_one_are_added_up(project: Project, tmp_path: Path) -> None:
    answers = np.random.default_rng(0).integers(0, 10, 1000)
    x, markers = np.arange(1000).reshape(-1, 1), "@pytest.mark.onnxlite_accuracy(max_drop=0.01)"
    project.write({"onnx": lookup(tmp_path / "0.onnx", answers)}, x, answers, variant="onnx", markers=markers)
    project.save()
    for release in (1, 2, 3):
        worse = answers.copy()
        worse[: 8 * release] = (worse[: 8 * release] + 1) % 10
        project.replace("onnx.onnx", lookup(tmp_path / f"{release}.onnx", worse))
        result = project.compare()
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines([f"digits onnx since the first release: accuracy -{0.8 * release:.1f} points"])
        project.save()


# -- latency -------------------------------------------------------------------------------------------------

LATENCY = "@pytest.mark.onnxlite_latency(max_slowdown=0.08)"


@pytest.mark.alone
def test_a_fifth_more_work_is_red(project: Project, tmp_path: Path) -> None:
    x = np.ones((4, 256), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 10)}, x, variant="onnx", markers=LATENCY)
    project.save()
    project.compare().assert_outcomes(passed=1)
    project.replace("onnx.onnx", dense(tmp_path / "b.onnx", 12))
    result = project.compare(UNEXPLAINED)
    assert_red(result, "against the last release, noise ±", "at most 1.08x allowed", "An independent second set agrees")


@pytest.mark.alone
def test_a_slower_release_can_be_accepted(project: Project, tmp_path: Path) -> None:
    x = np.ones((4, 256), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 8)}, x, variant="onnx", markers=LATENCY)
    project.save()
    project.replace("onnx.onnx", dense(tmp_path / "b.onnx", 12))
    refused = project.run("--onnxlite-save-baseline", UNEXPLAINED)
    assert_red(refused, "was not saved: it fails its limits: latency (fail)")
    accepted = project.save("--onnxlite-accept", UNEXPLAINED)
    accepted.stdout.fnmatch_lines(["*accepted", "accepted: digits onnx latency: *", "saved: *"])
    # Half more layers take half more time, and more where their weights no longer fit the cache.
    assert json.loads(project.baseline.read_text())["first"]["latency_ratio"] > 1.3
    project.compare().assert_outcomes(passed=1)


@pytest.mark.alone
def test_int8_that_is_slower_than_float_is_red_without_a_baseline(project: Project, tmp_path: Path) -> None:
    x = np.ones((4, 256), np.float32)
    files = {"onnx": dense(tmp_path / "a.onnx", 8), "int8": dense(tmp_path / "b.onnx", 16, int8=True)}
    project.write(files, x, markers="@pytest.mark.onnxlite_latency(max_ratio=1.0)")
    result = project.run(UNEXPLAINED)
    assert_red(result, "against the onnx variant, noise ±", "at most 1x allowed (max_ratio=1")
    result.stdout.re_match_lines([r"digits +int8 .*x onnx"])


@pytest.mark.alone
def test_int8_that_is_faster_than_float_passes_without_a_baseline(project: Project, tmp_path: Path) -> None:
    x = np.ones((4, 1024), np.float32)
    float_model = dense(tmp_path / "a.onnx", 4, 1024)
    files = {"onnx": float_model, "int8": quantize(float_model, tmp_path / "b.onnx")}
    project.write(files, x, markers="@pytest.mark.onnxlite_latency(max_ratio=1.0)")
    project.run().assert_outcomes(passed=1)


def without_artefact(project: Project, tmp_path: Path, markers: str) -> None:
    """Save a baseline whose artefact is not kept, of an INT8 model that has a float sibling; a file of other bytes is there now."""
    x = np.ones((4, 256), np.float32)
    files = {"onnx": dense(tmp_path / "a.onnx", 16), "int8": dense(tmp_path / "b.onnx", 8, int8=True)}
    project.write(files, x, markers=markers)
    project.pytester.makeini("[pytest]\nonnxlite_keep_artefact = false\n")
    project.save()
    project.replace("int8.onnx", in_other_bytes(files["int8"], tmp_path / "same.onnx"))


@pytest.mark.alone
def test_where_the_artefact_is_not_kept_the_sibling_stands_in(project: Project, tmp_path: Path) -> None:
    without_artefact(project, tmp_path, "@pytest.mark.onnxlite_latency(max_slowdown=0.25)")
    result = project.compare()
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"digits +int8 .*x onnx ±.*, at most \d\.\d\dx"])
    # A ratio of two models that was saved is coarse: the processor's cache alone makes 0.37x of the same two 0.50x.
    project.replace("int8.onnx", dense(tmp_path / "c.onnx", 40, int8=True))
    assert_red(
        project.compare(UNEXPLAINED),
        "against the onnx variant",
        "up to 2.5 times that counts as no change",
        "Keep the file",
    )


def test_on_another_machine_there_is_nothing_to_stand_in(project: Project, tmp_path: Path) -> None:
    without_artefact(project, tmp_path, "@pytest.mark.onnxlite_latency")
    saved = json.loads(project.baseline.read_text())
    (machine,) = saved["machines"].values()
    saved["machines"] = {"another": machine}
    project.baseline.write_text(json.dumps(saved))
    assert_red(project.compare(), "latency not comparable", "Nothing saved on a machine like this")


@pytest.mark.alone
def test_saved_seconds_count_only_where_asked_for(project: Project, tmp_path: Path) -> None:
    x = np.ones((4, 256), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 8)}, x, variant="onnx", markers="@pytest.mark.onnxlite_latency")
    project.pytester.makeini("[pytest]\nonnxlite_keep_artefact = false\n")
    project.save()
    project.replace("onnx.onnx", in_other_bytes(tmp_path / "a.onnx", tmp_path / "same.onnx"))
    assert_red(project.compare(), "ask with absolute=True")
    path = project.path / "test_release.py"
    path.write_text(path.read_text().replace("onnxlite_latency", "onnxlite_latency(absolute=True, max_slowdown=1.0)"))
    project.compare().assert_outcomes(passed=1)
    project.replace("onnx.onnx", dense(tmp_path / "b.onnx", 32))
    assert_red(project.compare(UNEXPLAINED), "were saved on a machine like this")
    # Where the machine itself was so much faster when it saved, what takes longer is no slower model.
    baseline = json.loads(project.baseline.read_text())
    (machine,) = baseline["machines"].values()
    machine["latency"]["pace"] /= 100
    project.baseline.write_text(json.dumps(baseline))
    project.compare().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("marker", "conditions"),
    [
        ("onnxlite_latency(max_slowdown=0.5, batch_size=2, threads=2)", (2, 2)),
        ("onnxlite_latency(max_slowdown=0.5)", (3, 1)),
    ],
)
def test_conditions_come_from_the_marker_or_the_spec(
    project: Project, tmp_path: Path, marker: str, conditions: tuple[int, int]
) -> None:
    x = np.ones((4, 256), np.float32)
    model = dense(tmp_path / "a.onnx", 4)
    project.write({"onnx": model}, x, variant="onnx", markers=f"@pytest.mark.{marker}", spec="batch_size=3")
    project.save("--onnxlite-report=r.json")
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    times = record["measured"]["latency"]
    assert (times["batch_size"], times["threads"]) == conditions


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--benchmark-disable"], "pytest-benchmark is disabled"),
        (["-p", "no:benchmark"], "pytest-benchmark is switched off"),
    ],
)
def test_what_is_not_timed_is_red(project: Project, tmp_path: Path, options: list[str], reason: str) -> None:
    x = np.ones((4, 256), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 4)}, x, variant="onnx", markers=LATENCY)
    project.save()
    assert_red(project.compare(*options), "latency not measured", reason)


@pytest.mark.alone
def test_the_table_of_pytest_benchmark_shows_time_per_inference(project: Project, tmp_path: Path) -> None:
    x = np.ones((4, 256), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 4)}, x, variant="onnx", markers=LATENCY)
    project.save()
    project.compare("--benchmark-json=b.json", "--onnxlite-report=r.json")
    (benchmark,) = json.loads((project.path / "b.json").read_text())["benchmarks"]
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    times = record["measured"]["latency"]
    assert benchmark["stats"]["median"] == pytest.approx(times["seconds"], rel=1e-4)
    assert benchmark["stats"]["rounds"] == times["rounds"] >= 24
    assert benchmark["stats"]["iterations"] == times["iterations"] > 1


@pytest.mark.alone
def test_pytest_benchmark_saves_compares_and_draws_the_guarded_variant(project: Project, tmp_path: Path) -> None:
    x = np.ones((4, 256), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 4)}, x, variant="onnx", markers=LATENCY)
    project.save("--benchmark-autosave")
    compare = "--onnxlite-baseline", "--benchmark-compare"
    result = project.run(*compare, "--benchmark-histogram=drawn", subprocess=True)
    result.assert_outcomes(passed=1)
    # Its table has the release that was saved and this one, of the same test.
    rows = [line.split()[1] for line in result.outlines if line.startswith("test_release (")]
    assert sorted(row.strip("()")[:4] for row in rows) == ["0001", "NOW"]
    assert "test_release" in (project.path / "drawn.svg").read_text()
    # And its own gate sees the time of a model that got ten times as long.
    project.replace("onnx.onnx", dense(tmp_path / "b.onnx", 40))
    slower = project.run(*compare, "--benchmark-compare-fail=median:400%", UNEXPLAINED, subprocess=True)
    assert slower.ret != 0
    slower.stderr.fnmatch_lines(["*Performance has regressed*"])


# -- memory --------------------------------------------------------------------------------------------------

MEMORY = "@pytest.mark.onnxlite_memory(max_growth=0.05)"


def test_twice_the_activations_are_red(project: Project, tmp_path: Path) -> None:
    x = np.ones((4, 1, 64, 64), np.float32)
    project.write({"onnx": wide(tmp_path / "a.onnx", 512)}, x, variant="onnx", markers=MEMORY)
    project.save()
    project.compare().assert_outcomes(passed=1)
    project.replace("onnx.onnx", wide(tmp_path / "b.onnx", 1024))
    result = project.compare()
    assert_red(result, "Allocated by nodes in one run: ", "most by ")
    assert_red(result, "needs more memory than the last release: peak while running", "5.0 % allowed")


# -- graph ---------------------------------------------------------------------------------------------------

GRAPH = "@pytest.mark.onnxlite_graph"
PAIR = ("digit", "score")
SIGNATURES: dict[str, tuple[dict[str, Any], str]] = {
    "renamed output": ({"names": ("digit", "result")}, "result"),
    "reordered outputs": ({"names": ("score", "digit")}, "score"),
    "frozen batch dimension": ({"batch": 1}, "batch"),
}


@pytest.mark.parametrize("case", SIGNATURES)
def test_a_changed_signature_is_red(project: Project, tmp_path: Path, case: str) -> None:
    changes, text = SIGNATURES[case]
    x = np.ones((4, 8), np.float32)
    project.write({"onnx": two_outputs(tmp_path / "a.onnx")}, x, variant="onnx", markers=GRAPH)
    project.save()
    project.compare().assert_outcomes(passed=1)
    project.replace("onnx.onnx", two_outputs(tmp_path / "b.onnx", **changes))
    assert_red(project.compare(), "inputs or outputs changed since the last release", text)


def test_branches_are_quantized_and_their_graph_is_sound(project: Project, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 32)).astype(np.float32)
    project.write({"onnx": branching(tmp_path / "a.onnx")}, x, markers=GRAPH)
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"digits +int8 +sound"])


def test_changed_operators_are_shown_and_red_where_frozen(project: Project, tmp_path: Path) -> None:
    x = np.ones((4, 64), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 3, 64)}, x, variant="onnx", markers=GRAPH)
    project.save()
    project.replace("onnx.onnx", dense(tmp_path / "b.onnx", 4, 64))
    result = project.compare()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["digits onnx: operators changed since the last release: +1 MatMul, +1 Relu"])
    path = project.path / "test_release.py"
    path.write_text(path.read_text().replace("onnxlite_graph", "onnxlite_graph(structure='frozen')"))
    assert_red(project.compare(), "structure='frozen'): +1 MatMul, +1 Relu")


def test_the_baseline_holds_what_quantization_changed(digits_project: Make) -> None:
    project = digits_project(markers=GRAPH)
    project.save()
    changed = json.loads(project.baseline.read_text())["graph"]["quantization"]
    assert changed["added"]["MatMulInteger"] == 2
    assert changed["added"]["ConvInteger"] == 2
    assert changed["removed"]["Conv"] == 2


def test_an_int8_signature_other_than_the_float_models_is_red(project: Project, tmp_path: Path) -> None:
    float_model = two_outputs(tmp_path / "a.onnx")
    int8 = quantize(two_outputs(tmp_path / "b.onnx", names=("digit", "result")), tmp_path / "c.onnx")
    project.write({"onnx": float_model, "int8": int8}, np.ones((4, 8), np.float32), markers=GRAPH)
    assert_red(project.run(), "digits int8: graph", "result")


def test_a_matmul_left_in_float_is_red(digits_project: Make, digits: Digits, tmp_path: Path) -> None:
    nodes = [node for node in onnx.load(digits.onnx).graph.node if node.op_type == "MatMul"]
    half = quantize(digits.onnx, tmp_path / "half.onnx", nodes_to_exclude=[nodes[0].name])
    project = digits_project(files={"onnx": digits.onnx, "int8": half}, markers=GRAPH)
    assert_red(project.run(), nodes[0].name)


@pytest.mark.parametrize(
    ("scale", "code"), [(0.0, "OLX302"), (-0.01, "OLX302"), (float("nan"), "OLX301"), (float("inf"), "OLX301")]
)
def test_a_scale_that_is_no_scale_is_red(
    digits_project: Make, digits: Digits, tmp_path: Path, scale: float, code: str
) -> None:
    def change(model: onnx.ModelProto) -> None:
        name = next(n for n in weights_of(model) if n.endswith("_scale"))
        set_weight(model, name, np.full_like(weights_of(model)[name], scale))

    bad = edit(digits.int8, tmp_path / "bad.onnx", change)
    assert_red(digits_project(files={"onnx": digits.onnx, "int8": bad}, markers=GRAPH).run(), f"{code} error", "_scale")


# -- baselines -----------------------------------------------------------------------------------------------


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda p: p.write_text(p.read_text()[:100]), "is not JSON"),
    "not JSON": (lambda p: p.write_text("baseline: 1"), "is not JSON"),
    "another schema": (lambda p: edit_json(p, schema=99), "has schema 99"),
    "another model": (lambda p: edit_json(p, model="faces"), "of another model"),
    "unreadable": (_into_a_folder, "cannot be read"),
}


@pytest.mark.parametrize("case", BREAKS)
def test_a_broken_baseline_is_red_and_never_overwritten(digits_project: Make, case: str) -> None:
    damage, text = BREAKS[case]
    project = digits_project()
    project.save()
    path = project.baseline
    damage(path)
    before = path.read_bytes() if path.is_file() else None
    assert_red(project.compare(), "accuracy not comparable", text)
    for options in ([], ["--onnxlite-accept"]):
        result = project.run("--onnxlite-save-baseline", *options)
        assert result.ret == 1
        result.stdout.fnmatch_lines(["ERROR: digits/int8 was not saved: the baseline there is cannot be read*"])
        assert (path.read_bytes() if path.is_file() else None) == before


def test_no_baseline_is_red(digits_project: Make) -> None:
    project = digits_project(markers=EVERYTHING)
    result = project.compare()
    assert_red(result, "there is no baseline", "pytest --onnxlite-save-baseline")
    # One reason, given once for the five checks that share it.
    # Under CI pytest repeats the text in its summary.
    assert said(result).split("short test summary")[0].count("there is no baseline") == 1
    assert "digits int8: accuracy, size, latency, memory, graph missing" in said(result)


def test_a_missing_artefact_is_red(digits_project: Make) -> None:
    project = digits_project(markers=MEMORY)
    project.save()
    project.artefact.unlink()
    assert_red(project.compare(), "memory not comparable", "the last release's file", "cannot be read")


@pytest.mark.parametrize(
    "markers", ["@pytest.mark.onnxlite_size", "@pytest.mark.onnxlite_accuracy", "@pytest.mark.onnxlite_graph"]
)
@pytest.mark.parametrize("fault", ["deleted", "truncated", "a Git LFS pointer"])
def test_a_released_file_that_is_not_there_whole_is_red_whatever_is_judged(
    digits_project: Make, markers: str, fault: str
) -> None:
    project = digits_project(markers=markers)
    project.save()
    artefact = project.artefact
    if fault == "deleted":
        artefact.unlink()
    elif fault == "truncated":
        artefact.write_bytes(artefact.read_bytes()[:-1])
    else:
        artefact.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert_red(project.compare(), "not comparable", "the last release's file")


def test_another_artefact_is_red(digits_project: Make, digits: Digits) -> None:
    project = digits_project(markers=MEMORY)
    project.save()
    shutil.copyfile(digits.onnx, project.artefact)
    assert_red(project.compare(), "memory not comparable", "is not the file that was measured")


def test_a_check_that_the_baseline_lacks_is_red(digits_project: Make) -> None:
    project = digits_project(markers="@pytest.mark.onnxlite_size")
    project.save()
    (project.path / "test_release.py").write_text(
        "import pytest\n@pytest.mark.onnxlite_accuracy\ndef test_release(onnxlite_int8): pass\n"
    )
    assert_red(project.compare(), "accuracy missing", "has no accuracy")


# -- models and data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("argument", ["trained", "onnx", "int8"])
@pytest.mark.parametrize("fault", ["missing", "truncated", "no model"])
def test_a_model_file_that_is_none_is_red(
    digits_project: Make, digits: Digits, tmp_path: Path, argument: str, fault: str
) -> None:
    files = {"trained": digits.trained} if argument == "trained" else {"onnx": digits.onnx, "int8": digits.int8}
    whole = files[argument]
    bad = tmp_path / f"bad{whole.suffix}"
    bad.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2] if fault == "truncated" else b"not a model\n" * 9)
    project = digits_project(files={**files, argument: bad})
    if fault == "missing":
        (project.path / f"{argument}{whole.suffix}").unlink()
    result = project.run()
    assert result.ret == 1
    expected = "no such file" if fault == "missing" else "is not a whole" if argument == "trained" else "not an ONNX"
    assert expected in said(result), said(result)
    assert f"{argument}{whole.suffix}" in said(result)


def test_nan_in_the_outputs_is_red(project: Project, tmp_path: Path) -> None:
    project.write(
        {"onnx": overflowing(tmp_path / "a.onnx")},
        np.ones((100, 8), np.float32),
        np.zeros(100, int),
        variant="onnx",
    )
    assert_red(project.run(), "output 'y' holds NaN or infinity for 100 of 100 samples, first in sample 0")


def test_a_frozen_batch_is_told_where_another_ships(project: Project, tmp_path: Path) -> None:
    model = two_outputs(tmp_path / "a.onnx", batch=2)
    project.write(
        {"onnx": model}, np.ones((100, 8), np.float32), np.zeros(100, int), variant="onnx", spec="output='digit'"
    )
    assert_red(project.run(), "takes batches of 2 only, and is run with 1. Give batch_size=2")


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (np.zeros((100, 14, 14, 1), np.float32), np.zeros(100, int), "takes (N, 28, 28, 1) float32, the data is"),
        (np.zeros((99, 28, 28, 1), np.float32), np.zeros(99, int), "Give at least 100 samples"),
        (np.zeros((100, 28, 28, 1), np.float32), np.full(100, 10), "labels reach from 10 to 10"),
    ],
    ids=["shape", "too few", "labels"],
)
def test_data_that_cannot_be_judged_on_is_red(digits_project: Make, x: Any, y: Any, text: str) -> None:
    result = digits_project(x=x, y=y).run()
    assert result.ret == 1
    assert text in said(result), said(result)
    assert "Traceback" not in said(result)
    assert "During handling" not in said(result)
    assert "pytest_onnxlite/" not in said(result)
