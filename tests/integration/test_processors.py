"""Accuracy on other processors: counted in emulation, judged, reported, and never passed for want of looking."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnxruntime.quantization import QuantType

from pytest_onnxlite.checks.accuracy.processors import spread
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.processors import command, this_processor
from pytest_onnxlite.replay import replay
from pytest_onnxlite.runtime import arrays, trial
from pytest_onnxlite.runtime.childprocess import ChildError, ask
from pytest_onnxlite.settings import PROCESSORS
from pytest_onnxlite.spec.runtimes import Runtime

from emulation import ELSEWHERE, needs_qemu, run_on
from onnx_models import dense, edit, quantize, saturating, save_graph
from projects import Project

pytestmark = needs_qemu

Array = npt.NDArray[np.float32]

_OUTPUTS = """
import sys, numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
x = np.load(sys.argv[1])
for model in sys.argv[2:]:
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    np.save(f"{model}.npy", np.concatenate([session.run(None, {"x": x[i : i + 1]})[0] for i in range(len(x))]))
"""


def _samples(bright: int = 15, dim: int = 100, striped: int = 85) -> tuple[Array, npt.NDArray[np.int64]]:
    """Samples of `saturating` with the float model's answers; on a processor that saturates the bright ones go wrong."""
    ones = np.ones((bright, 64)), np.full((dim, 64), 0.5), np.tile([1, 0], (striped, 32))
    return np.concatenate(ones).astype(np.float32), np.repeat([0, 0, 1], [bright, dim, striped])


def _outputs(processor: str, x: Array, *models: Path) -> list[Array]:
    """Run models of one folder on a processor, in one process: it starts within seconds, not at once."""
    np.save(models[0].with_name("x.npy"), x)
    run_on(processor, _OUTPUTS, models[0].with_name("x.npy"), *models)
    return [np.load(f"{model}.npy") for model in models]


def _write(project: Project, tmp_path: Path, markers: str, *, variant: str = "int8", spec: str = "") -> None:
    plain, quantized = saturating(tmp_path)
    project.write({"onnx": plain, "int8": quantized}, *_samples(), markers=markers, variant=variant, spec=spec)


# -- what the emulation computes -----------------------------------------------------------------------------


def test_an_emulated_avx2_saturates_and_sse4_computes_as_vnni_does(tmp_path: Path) -> None:
    _, model = saturating(tmp_path)
    x, right = _samples()
    found = {name: _outputs(name, x, model)[0] for name in ("avx2", "sse4", "")}
    assert (found["sse4"].argmax(1) == right).all()
    wrong = found["avx2"].argmax(1) != right
    assert wrong.tolist() == [True] * 15 + [False] * 185
    # The figures of this machine, by what it is: a model of integers alone has no other rounding.
    same = {"vnni": "sse4", "avx2": "avx2", "sse4": "sse4"}.get(this_processor())
    if same is not None:
        assert np.array_equal(found[""], found[same])


def test_dynamic_models_saturate_too_and_uint8_weights_do_not(tmp_path: Path) -> None:
    source = dense(tmp_path / "dense.onnx", 2, 64)
    x = np.random.default_rng(0).uniform(0, 1, (20, 64)).astype(np.float32)
    types = (QuantType.QInt8, QuantType.QUInt8)
    models = [quantize(source, tmp_path / f"{kind.name}.onnx", weight_type=kind) for kind in types]
    pairs = zip(_outputs("avx2", x, *models), _outputs("sse4", x, *models), strict=True)
    signed, unsigned = (float(np.abs(avx2 - sse4).max() / np.abs(sse4).max()) for avx2, sse4 in pairs)
    # What is left with uint8 weights is the last digit of floating-point sums.
    assert unsigned < 1e-5
    assert signed > 1e-3


def test_a_process_knows_the_processor_that_it_is_emulated_on() -> None:
    code = (
        "from pytest_onnxlite.processors import is_emulated, this_processor, way_to, instruction_sets\n"
        "print(this_processor(), is_emulated(), way_to(this_processor()).emulated, instruction_sets())"
    )
    assert run_on("avx2", code).strip() == "avx2 True False ['avx2']"
    assert run_on("sse4", code).strip() == "sse4 True False []"


def test_what_an_emulated_process_starts_is_emulated_too(tmp_path: Path) -> None:
    _, model = saturating(tmp_path)
    arrays.save(tmp_path / "feeds.npz", {"x": _samples()[0][:1]})
    code = (
        "import sys\nfrom pytest_onnxlite.runtime.childprocess import ask\nfrom pytest_onnxlite.spec.runtimes import Runtime\n"
        "from pytest_onnxlite.variants.elsewhere import RunRequest, run\n"
        "files = dict(zip(('model', 'feeds', 'outputs'), sys.argv[1:], strict=True))\n"
        "how = dict(name='m', kind='int8', runtime=Runtime(), batched=True, batch_size=1, seconds=60)\n"
        "print(ask(run, RunRequest(**files, **how)).processor)"
    )
    files = map(str, (model, tmp_path / "feeds.npz", tmp_path / "outputs.npz"))
    assert run_on("avx2", code, *files).strip() == "avx2"
    with np.load(tmp_path / "outputs.npz") as outputs:
        assert outputs["y@"].argmax() == 1


def test_the_forecast_says_which_processor_saturates(tmp_path: Path) -> None:
    _, model = saturating(tmp_path)
    code = (
        "import sys\nfrom pathlib import Path\nfrom types import SimpleNamespace\n"
        "from pytest_onnxlite.guard.forecast import forecast\n"
        "variant = SimpleNamespace(path=Path(sys.argv[1]), kind='int8')\n"
        "builder = SimpleNamespace(recipe_of=lambda kind: None)\n"
        "print(forecast(builder, variant, 1, False, print).text)"
    )
    assert "can saturate on this processor, which is an x86 without VNNI" in run_on("avx2", code, model)
    # What does not saturate itself says the same, emulated or not.
    there = "sse4" if this_processor() == "avx2" else ""
    assert "can saturate on x86 processors without VNNI" in run_on(there, code, model)


# -- judging -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(this_processor() == "avx2", reason="this processor saturates itself: the release is wrong here too")
def test_a_release_that_is_right_here_and_wrong_on_avx2_is_red_where_avx2_is_asked_for(
    project: Project, tmp_path: Path
) -> None:
    _write(project, tmp_path, "@pytest.mark.onnxlite_accuracy")
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*can saturate on x86 processors without VNNI*"])
    _write(project, tmp_path, '@pytest.mark.onnxlite_accuracy(processors=["avx2", "sse4"])')
    result = project.run("--onnxlite-report=report.json", "--onnxlite-html=page.html", "--onnxlite-markdown=page.md")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "  On avx2, an x86 processor with AVX2 and without VNNI (emulated): 92.5 % (185 of 200 right), here 100.0 % (200), "
            "the onnx variant 100.0 % (200): 15 fewer right, at most 2 allowed (max_drop=0.01, batch size 1).",
            "  *reduce_range=True or with uint8 weights*",
            "  Why: 16.7 % of its 96 neighbouring weight pairs can saturate there:*",
            "digits * 100.0 %! (onnx 100.0 %, avx2 92.5 %!, sse4 100.0 %) *FAIL",
        ]
    )
    (record,) = json.loads((project.path / "report.json").read_text())["records"]
    verdicts = {verdict["against"]: verdict for verdict in record["verdicts"]}
    assert verdicts["avx2"]["outcome"] == "fail"
    assert record["measured"]["accuracy"]["processors"]["avx2"]["rated"]["correct"] == 185
    assert verdicts["avx2"]["evidence"]["here"] == 200
    assert verdicts["avx2"]["evidence"]["emulated"]
    assert verdicts["sse4"]["outcome"] == "pass"
    assert record["measured"]["accuracy"]["processors"]["sse4"]["rated"]["correct"] == 200
    for page in ("page.html", "page.md"):
        text = (project.path / page).read_text(encoding="utf-8")
        assert "the limit on the processor avx2 (emulated)" in text
        assert "avx2 92.5 %!" in text


def test_a_difference_within_the_limit_passes_and_is_told(project: Project, tmp_path: Path) -> None:
    _write(project, tmp_path, "@pytest.mark.onnxlite_accuracy(max_drop=0.1)")
    result = project.run(f"--onnxlite-processors={ELSEWHERE}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"digits*{ELSEWHERE} *"])
    result.stdout.no_fnmatch_line("*can saturate*")  # it was counted


def test_a_score_is_judged_as_well(project: Project, tmp_path: Path) -> None:
    markers = '@pytest.mark.onnxlite_accuracy(max_drop=0.001, processors=["avx2"])'
    _write(project, tmp_path, markers, spec='metric="cosine"')
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  On avx2, *: 0.99* cosine over 200 samples, here *, the onnx variant 1: * worse*"])


def test_without_a_float_model_the_answers_here_are_what_is_compared_with(project: Project, tmp_path: Path) -> None:
    _, quantized = saturating(tmp_path)
    markers = f'@pytest.mark.onnxlite_accuracy(processors=["{ELSEWHERE}"])'
    project.write({"int8": quantized}, *_samples(), markers=markers)
    result = project.run("--onnxlite-report=report.json")
    (record,) = json.loads((project.path / "report.json").read_text())["records"]
    assert record["measured"]["accuracy"]["processors"][ELSEWHERE]["rated"]["reference"] == "here"
    assert result.ret == (1 if ELSEWHERE == "avx2" else 0)


def test_this_processor_is_not_emulated(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = this_processor()
    if not here:
        pytest.skip("this is no x86 processor")
    monkeypatch.setenv("PATH", str(tmp_path))
    _write(project, tmp_path, "@pytest.mark.onnxlite_accuracy(max_drop=0.1)")
    result = project.run(f"--onnxlite-processors={here}", "--onnxlite-report=report.json")
    result.assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "report.json").read_text())["records"]
    found = record["measured"]["accuracy"]["processors"][here]
    assert not found["emulated"]
    assert found["rated"]["total"] == 200


def test_a_loss_elsewhere_is_saved_by_no_accept(project: Project, tmp_path: Path) -> None:
    if ELSEWHERE != "avx2":
        pytest.skip("this processor saturates itself: the release is wrong here too")
    _write(project, tmp_path, '@pytest.mark.onnxlite_accuracy(processors=["avx2"])')
    result = project.run("--onnxlite-save-baseline", "--onnxlite-accept", "--onnxlite-bundle=without")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*185 of 200 right*"])
    # Nor is it replayed from a bundle without all samples.
    said: list[str] = []
    assert replay(next((project.path / "without").iterdir()), said.append) == 1
    assert any(text.startswith("not replayed: accuracy against avx2: its samples are not in") for text in said)


def test_workers_of_xdist_judge_it_as_well(project: Project, tmp_path: Path) -> None:
    _write(project, tmp_path, "@pytest.mark.onnxlite_accuracy")
    result = project.run("-n2", f"--onnxlite-processors={ELSEWHERE}", subprocess=True)
    result.stdout.fnmatch_lines([f"digits*{ELSEWHERE} *"])
    assert result.ret == (1 if ELSEWHERE == "avx2" else 0)


def test_a_bundle_with_its_data_is_judged_elsewhere_again(project: Project, tmp_path: Path) -> None:
    if ELSEWHERE != "avx2":
        pytest.skip("this processor saturates itself: the release is wrong here too")
    _write(project, tmp_path, '@pytest.mark.onnxlite_accuracy(processors=["avx2"])')
    said: list[str] = []
    project.run("--onnxlite-bundle=with", "--onnxlite-bundle-data")
    assert replay(next((project.path / "with").iterdir()), said.append) == 1
    assert "red again: accuracy against avx2 (fail)" in said


# -- inputs and outputs of every form ------------------------------------------------------------------------


def test_batches_are_those_that_ship(project: Project, tmp_path: Path) -> None:
    # What a dynamic model answers depends on the batch: split otherwise, the answers here and there would be others.
    source = dense(tmp_path / "dense.onnx", 2, 16)
    model = quantize(source, tmp_path / "int8.onnx")
    x = np.random.default_rng(1).normal(0, 1, (70, 16)).astype(np.float32)
    x[::7] *= 50
    markers = f'@pytest.mark.onnxlite_accuracy(max_drop=1e-4, processors=["{ELSEWHERE}"])'
    project.write({"onnx": source, "int8": model}, x, spec='metric="cosine", batch_size=32', markers=markers)
    project.run("--onnxlite-report=report.json")
    (record,) = json.loads((project.path / "report.json").read_text())["records"]
    found = record["measured"]["accuracy"]["processors"][ELSEWHERE]
    assert found["rated"]["total"] == 70
    assert found["here"] == record["measured"]["accuracy"]["value"]
    assert found["rated"]["value"] == pytest.approx(found["here"], abs=5e-3)


def test_a_model_without_a_batch_dimension_and_samples_of_different_lengths(project: Project, tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)]
    floats = onnx.TensorProto.FLOAT
    for shape, spec in ((["n"], "batched=False"), (["batch", "n"], "")):
        model = save_graph(
            tmp_path / "sum.onnx",
            nodes,
            [onnx.helper.make_tensor_value_info("x", floats, shape)],
            [onnx.helper.make_tensor_value_info("y", floats, [*shape[:-1], 1])],
            {"axes": np.array([-1], np.int64)},
        )
        markers = f'@pytest.mark.onnxlite_accuracy(variant="onnx", processors=["{ELSEWHERE}"])'
        spec = ", ".join(filter(None, ['metric="mae"', spec]))
        ragged = "Dataset([np.full(n, 1, np.float32) for n in (3, 5, 2)], np.array([[3], [5], [2]], np.float32))"
        project.write({"onnx": model}, np.zeros((3, 1), np.float32), markers=markers, variant="onnx", spec=spec)
        conftest = project.path / "conftest.py"
        conftest.write_text(conftest.read_text().replace("Dataset(data['x'])", ragged))
        result = project.run("--onnxlite-report=report.json")
        result.assert_outcomes(passed=1)
        (record,) = json.loads((project.path / "report.json").read_text())["records"]
        assert record["measured"]["accuracy"]["processors"][ELSEWHERE]["rated"]["value"] == 0


@pytest.mark.skipif(this_processor() == "avx2", reason="this processor saturates itself: the release is wrong here too")
def test_outputs_that_are_nan_there_alone_are_red(project: Project, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        # Of bright samples the first output is 32 here and 16 there.
        model.graph.node[-1].output[0] = "z"
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(20, np.float32), "twenty"))
        model.graph.node.extend(
            [onnx.helper.make_node("Sub", ["z", "twenty"], ["r"]), onnx.helper.make_node("Sqrt", ["r"], ["y"])]
        )

    plain, quantized = saturating(tmp_path)
    models = [edit(path, tmp_path / f"nan-{path.name}", change) for path in (plain, quantized)]
    x = np.ones((20, 64), np.float32)
    x[:, 0] = np.linspace(0.9, 1, 20)
    markers = '@pytest.mark.onnxlite_accuracy(max_drop=9, processors=["avx2"])'
    weights = np.tile(np.array([[127, 127, 0, 0]] * 3, np.int8), 16).T.copy()
    for path in models:
        edit(path, path, lambda model: _same_columns(model, weights))
    project.write(dict(zip(("onnx", "int8"), models, strict=True)), x, spec='metric="cosine"', markers=markers)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*could not be counted on avx2, *: output 'y' holds NaN*for 20 of 20 samples, and none here*"]
    )


def _same_columns(model: onnx.ModelProto, weights: npt.NDArray[np.int8]) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == "w":
            scaled = weights if tensor.data_type == onnx.TensorProto.INT8 else weights * np.float32(1 / 127)
            tensor.CopyFrom(onnx.numpy_helper.from_array(scaled, "w"))


@pytest.mark.parametrize(("total", "batch"), [(1, 1), (7, 3), (1000, 1), (1000, 32)])
def test_any_beginning_of_the_order_is_spread_over_all_samples(total: int, batch: int) -> None:
    order = spread(total, batch)
    assert sorted(order.tolist()) == list(range(total))
    whole = order[: total // batch * batch].reshape(-1, batch)
    assert (whole == whole[:, :1] + np.arange(batch)).all()
    if total == 1000:
        begun = np.sort(order[:192])
        assert np.diff(begun[::batch]).max() <= 16 * batch
        # Nor does it meet a period of the data.
        assert np.bincount(begun % 10, minlength=10).min() >= 15


# -- what is red since nothing was seen ----------------------------------------------------------------------


def test_without_qemu_it_is_red_and_says_how_to_install_it(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(project, tmp_path, f'@pytest.mark.onnxlite_accuracy(max_drop=0.5, processors=["{ELSEWHERE}"])')
    monkeypatch.setenv("PATH", str(tmp_path))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"*could not be counted on {ELSEWHERE}, *not installed here. Install it with: apt-get install qemu-user"]
    )


@pytest.mark.skipif(ELSEWHERE != "avx2", reason="this processor is an AVX2 one, and is not emulated")
def test_a_qemu_that_does_not_know_avx2_is_red(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As before 7.2: asked for Haswell, it gives what it has and says so on stderr alone.
    old = tmp_path / "bin" / "qemu-x86_64"
    old.parent.mkdir()
    old.write_text(f'#!/bin/sh\nshift 2\nexec {shutil.which("qemu-x86_64")} -cpu Nehalem "$@"\n')
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:/usr/bin:/bin")
    _write(project, tmp_path, '@pytest.mark.onnxlite_accuracy(processors=["avx2"])')
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*was asked for * with AVX2 * and gave * without AVX2. Install version 7.2 or newer*"])


def test_too_few_samples_in_the_time_are_inconclusive_and_red(project: Project, tmp_path: Path) -> None:
    _write(project, tmp_path, "@pytest.mark.onnxlite_accuracy")
    result = project.run(f"--onnxlite-processors={ELSEWHERE}", "--onnxlite-processor-time=0")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "digits int8: accuracy inconclusive",
            f"  On {ELSEWHERE}, *: 1 of 200 samples were counted in 0 s, * too few * --onnxlite-processor-time=SECONDS*",
        ]
    )


def test_time_that_allows_some_samples_says_how_many(project: Project, tmp_path: Path) -> None:
    # Float products take an emulated processor a thousand times as long, so that not all come in time.
    source = dense(tmp_path / "dense.onnx", 4, 512)
    x = np.random.default_rng(0).normal(0, 1, (2000, 512)).astype(np.float32)
    markers = f'@pytest.mark.onnxlite_accuracy(max_drop=0, processors=["{ELSEWHERE}"])'
    project.write({"onnx": source}, x, np.zeros(2000, int), markers=markers, variant="onnx")
    result = project.run("--onnxlite-processor-time=0.5", "--onnxlite-report=report.json")
    (record,) = json.loads((project.path / "report.json").read_text())["records"]
    found = record["measured"]["accuracy"]["processors"][ELSEWHERE]
    assert found["cut"] == "time"
    counted = found["rated"]["total"]
    assert 1 <= counted < 2000
    result.stdout.fnmatch_lines([f"digits*{ELSEWHERE} * % of {counted:,} samples*"])


def test_a_child_that_is_stopped_before_it_answers_is_red(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_onnxlite.checks.accuracy.processors._GRACE", 0.2)
    _write(project, tmp_path, "@pytest.mark.onnxlite_accuracy")
    result = project.run(f"--onnxlite-processors={ELSEWHERE}", "--onnxlite-processor-time=0.1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*could not be counted on {ELSEWHERE}, *: it did not end within*"])


@pytest.mark.parametrize("name", ["SIGILL", "SIGSEGV"])
def test_a_crash_there_is_told_with_the_processor(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    script = tmp_path / "child.py"
    script.write_text(f"import os; os.kill(os.getpid(), {int(getattr(signal, name))})")
    _write(project, tmp_path, "@pytest.mark.onnxlite_accuracy")
    project.run().assert_outcomes(passed=1)  # the files are proved by a child as well
    monkeypatch.setattr("pytest_onnxlite.runtime.childprocess._SCRIPT", script)
    result = project.run(f"--onnxlite-processors={ELSEWHERE}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*could not be counted on {ELSEWHERE}, *: the process died of {name}*"])


def test_the_warnings_of_qemu_are_not_taken_for_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "child.py"
    script.write_text("import sys; sys.exit(3)")
    monkeypatch.setattr("pytest_onnxlite.runtime.childprocess._SCRIPT", script)
    with pytest.raises(ChildError, match="ended with code 3: no output"):
        ask(trial.run, trial.TrialRequest("", "", "", Runtime()), processor="avx2")


def test_an_option_that_no_limit_heard_is_red(project: Project, tmp_path: Path) -> None:
    _write(project, tmp_path, "@pytest.mark.onnxlite_size(ratio=9)")
    result = project.run(f"--onnxlite-processors={ELSEWHERE}")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR: --onnxlite-processors=* no test judged the accuracy of an ONNX variant*"])
    # Of a part of the tests it is a remark.
    (project.path / "test_other.py").write_text((project.path / "test_release.py").read_text())
    for part in (
        ["test_release.py::test_release"],
        ["test_release.py"],
        ["--deselect", "test_other.py"],
        ["-k", "other"],
    ):
        result = project.run(f"--onnxlite-processors={ELSEWHERE}", *part)
        assert result.ret == 0
        result.stdout.fnmatch_lines(["--onnxlite-processors=* no test judged the accuracy of an ONNX variant*"])


# -- what is asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["marker", "option", "ini", "declared"])
def test_an_unknown_processor_is_an_error_with_the_known_ones(project: Project, tmp_path: Path, where: str) -> None:
    marker = 'processors=["avx3"]' if where == "marker" else ""
    _write(project, tmp_path, f"@pytest.mark.onnxlite_accuracy({marker})")
    if where == "ini":
        project.pytester.makeini("[pytest]\nonnxlite_processors = avx3")
    if where == "declared":
        project.pytester.makepyprojecttoml(
            "[tool.onnxlite.models.d]\nonnx = 'onnx.onnx'\ndata = 'data.npz'\naccuracy = {processors = ['avx3']}"
        )
    result = project.run(*(["--onnxlite-processors=sse4,avx3"] if where == "option" else []))
    assert result.ret == 4
    text = result.stderr.str() + result.stdout.str()
    assert "'avx3'; did you mean avx2? There are avx2, sse4, vnni." in text


def test_a_single_name_is_no_list(project: Project, tmp_path: Path) -> None:
    _write(project, tmp_path, '@pytest.mark.onnxlite_accuracy(processors="avx2")')
    result = project.run()
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*processors='avx2'; expected a list of processors, such as*"])


@pytest.mark.parametrize("kind", ["trained", "tflite", "tflite_int8"])
def test_variants_that_onnx_runtime_does_not_run_are_refused(project: Project, tmp_path: Path, kind: str) -> None:
    _write(project, tmp_path, '@pytest.mark.onnxlite_accuracy(processors=["avx2"])', variant=kind)
    result = project.run()
    assert result.ret == 4
    assert f"processors=['avx2'] does not support {kind}" in result.stderr.str()


def test_the_option_adds_to_the_marker(project: Project, tmp_path: Path) -> None:
    here = this_processor() or "sse4"  # what is here is not emulated, and so counted at once
    _write(project, tmp_path, f'@pytest.mark.onnxlite_accuracy(max_drop=0.1, processors=["{here}"])')
    project.pytester.makeini(f"[pytest]\nonnxlite_processors = {ELSEWHERE}, {here}")
    result = project.run("--onnxlite-report=report.json")
    result.assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "report.json").read_text())["records"]
    assert list(record["measured"]["accuracy"]["processors"]) == sorted([ELSEWHERE, here])
    assert record["limits"]["accuracy"]["processors"] == sorted([ELSEWHERE, here])


def test_vnni_is_counted_on_what_does_not_saturate_either(project: Project, tmp_path: Path) -> None:
    # No QEMU emulates it; where this processor has it, it is asked itself.
    _write(project, tmp_path, '@pytest.mark.onnxlite_accuracy(max_drop=0.1, processors=["vnni"])')
    project.run("--onnxlite-report=report.json").assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "report.json").read_text())["records"]
    found = record["measured"]["accuracy"]["processors"]["vnni"]
    assert found["runs_on"] == ("vnni" if this_processor() == "vnni" else "sse4")
    assert found["rated"]["correct"] == 200


def test_the_names_are_those_that_can_be_asked_for() -> None:
    from pytest_onnxlite.processors import TEXTS

    assert set(TEXTS) == set(PROCESSORS)


def test_where_nothing_can_be_emulated_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_onnxlite.processors.platform.machine", lambda: "aarch64")
    with pytest.raises(OnnxliteError, match=r"by qemu-user, on x86-64 Linux alone, and this is .* on aarch64"):
        command("avx2")
