"""Models with a state, run over sequences: an LSTM, a decoder whose cache grows, and silero-vad."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from onnx_models import lstm_step, save_graph
from projects import UNEXPLAINED, Project
from wheels import in_wheel

HIDDEN, WIDTH = 8, 4
LSTM = 'stateful=Stateful(state={"h_in": "h_out", "c_in": "c_out"})'
CACHE = 'stateful=Stateful(state={"past": "present"})'
MARKERS = "@pytest.mark.onnxlite_accuracy(max_drop=0.001)\n@pytest.mark.onnxlite_outputs"


def decoder(path: Path, heads: int = 1, forgets: bool = False, masked: bool = False) -> Path:
    """One step of attention over all steps so far, (batch, 4), which are in a cache of (batch, heads, steps, 4).

    With a mask (batch, all steps), which the scores are multiplied by.
    """
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axes"], ["row"], name="row"),
        helper.make_node("MatMul", ["row", "keys"], ["now"], name="keys"),
        helper.make_node("Concat", ["past", "now"], ["all"], name="all", axis=2),
        helper.make_node("Transpose", ["all"], ["turned"], name="turn", perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["now", "turned"], ["scores"], name="scores"),
        *(
            [
                helper.make_node("Unsqueeze", ["mask", "axes"], ["wide"], name="wide"),
                helper.make_node("Mul", ["scores", "wide"], ["masked"], name="masked"),
            ]
            if masked
            else []
        ),
        helper.make_node("Softmax", ["masked" if masked else "scores"], ["shares"], name="shares", axis=-1),
        helper.make_node("MatMul", ["shares", "all"], ["seen"], name="seen"),
        helper.make_node("ReduceMean", ["seen"], ["y"], name="mean", axes=[1, 2], keepdims=0),
        helper.make_node("Identity", ["now" if forgets else "all"], ["present"], name="keep"),
    ]
    return save_graph(
        path,
        nodes,
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH]),
            helper.make_tensor_value_info("past", TensorProto.FLOAT, ["batch", heads, "past_length", WIDTH]),
            *([helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", "all_steps"])] if masked else []),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", WIDTH]),
            helper.make_tensor_value_info("present", TensorProto.FLOAT, ["batch", heads, "length", WIDTH]),
        ],
        {"keys": rng.normal(size=(1, heads, WIDTH, WIDTH)).astype(np.float32), "axes": np.array([1, 2], np.int64)},
    )


def sequences(count: int, steps: int) -> Any:
    return np.random.default_rng(2).normal(size=(count, steps, WIDTH)).astype(np.float32)


def by_hand(path: Path, x: Any, state: dict[str, str], first: dict[str, Any]) -> Any:
    """Run sequences one by one, step by step, with ONNX Runtime alone."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = []
    for sample in x:
        kept, answers = dict(first), []
        for step in sample:
            outputs = dict(zip(names, session.run(names, {"x": step[None], **kept}), strict=True))
            kept = {name: outputs[output] for name, output in state.items()}
            answers.append(next(array[0] for name, array in outputs.items() if name not in state.values()))
        found.append(np.stack(answers))
    return np.stack(found)


STATES = {"h_in": "h_out", "c_in": "c_out"}


def write(project: Project, model: Path, x: Any, y: Any, markers: str, state: str, more: str = "") -> None:
    spec = f'metric="mae", {state}{more}'
    project.write({"onnx": model}, x, y, variant="onnx", markers=markers, spec=spec)


def test_an_lstm_that_gives_back_the_wrong_state_is_right_at_step_one_and_red_over_all(
    project: Project, tmp_path: Path
) -> None:
    good, x = lstm_step(tmp_path / "good.onnx"), sequences(12, 6)
    zeros = np.zeros((1, 1, HIDDEN), np.float32)
    y = by_hand(good, x, STATES, {"h_in": zeros, "c_in": zeros})
    for steps, outcome in ((1, {"passed": 1}), (6, {"failed": 1})):
        write(project, good, x[:, :steps], y[:, :steps], MARKERS, LSTM, ", batch_size=5")
        project.save("--onnxlite-accept", "--onnxlite-report=r.json")
        (record,) = json.loads((project.path / "r.json").read_text())["records"]
        assert record["conditions"]["state"] == STATES
        # Batches of 5 answer as one sequence at a time does.
        assert record["measured"]["accuracy"]["value"] < 1e-6
        if steps > 1:
            project.compare().assert_outcomes(passed=1)
        project.replace("onnx.onnx", lstm_step(tmp_path / "wrong.onnx", wrong=True))
        result = project.compare("--onnxlite-bundle=bundles", "--onnxlite-bundle-data")
        result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines(["*digits onnx: accuracy, outputs*"])
    assert "Error: " not in result.stdout.str()
    (bundle,) = (project.path / "bundles").iterdir()
    command = [sys.executable, "-m", "pytest_onnxlite", "replay", str(bundle)]
    again = subprocess.run(command, capture_output=True, text=True).stdout
    assert "red again: accuracy against baseline (fail)" in again
    assert "red again: outputs against baseline (fail)" in again


def test_sequences_of_different_lengths_are_run_one_by_one_and_the_longest_is_timed(
    project: Project, tmp_path: Path
) -> None:
    good = lstm_step(tmp_path / "good.onnx")
    markers = '@pytest.mark.onnxlite_outputs\n@pytest.mark.onnxlite_latency(per="sequence", max="10 s", max_time=0.5)'
    write(project, good, np.zeros((1, 1)), None, markers, LSTM)
    conftest = project.path / "conftest.py"
    samples = f"[np.ones((steps, {WIDTH}), np.float32) for steps in (2, 9, 3, 3, 3)]"
    conftest.write_text(conftest.read_text().replace("data['x']", samples))
    project.run("--onnxlite-report=r.json").assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    latency = record["measured"]["latency[sequence]"]
    assert [latency["shapes"]["x"], latency["others"][0]["shapes"]["x"]] == [[1, 9, WIDTH], [1, 3, WIDTH]]


def test_an_int8_model_with_a_state_is_made_and_compared_over_all_steps(project: Project, tmp_path: Path) -> None:
    project.write(
        {"onnx": lstm_step(tmp_path / "good.onnx")},
        sequences(12, 6),
        markers="@pytest.mark.onnxlite_accuracy(max_drop=0.1)\n@pytest.mark.onnxlite_outputs(min_sqnr=10)",
        spec=f'metric="mae", recipe=DynamicInt8(), {LSTM}',
    )
    project.run("--onnxlite-report=r.json").assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    assert 0 < record["measured"]["accuracy"]["value"] < 0.1
    conftest = project.path / "conftest.py"
    conftest.write_text(
        conftest.read_text().replace("recipe=DynamicInt8()", "recipe=StaticInt8(), calibration=data['x']")
    )
    result = project.run()
    result.assert_outcomes(errors=1)
    assert "a static recipe does not support a model with a state. Give recipe=DynamicInt8()" in result.stdout.str()


def test_a_decoder_runs_with_a_cache_that_grows_and_is_timed_at_its_longest_and_as_a_whole(
    project: Project, tmp_path: Path
) -> None:
    good, x = decoder(tmp_path / "good.onnx"), sequences(4, 20)
    y = by_hand(good, x, {"past": "present"}, {"past": np.zeros((1, 1, 0, WIDTH), np.float32)})
    budget = 'max="{}", max_time=0.5'
    timed = f"""
    @pytest.mark.onnxlite_accuracy(max_drop=0.001)
    @pytest.mark.onnxlite_memory(max="1 GiB")
    @pytest.mark.onnxlite_latency({budget.format("10 s")})
    @pytest.mark.onnxlite_latency(per="sequence", {budget.format("10 s")})
    """
    write(project, good, x, y, timed, CACHE)
    project.run("--onnxlite-report=r.json").assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    found = record["measured"]
    assert found["accuracy"]["value"] < 1e-6
    assert found["latency"]["shapes"] == found["memory"]["shapes"] == {"x": [1, 4], "past": [1, 1, 19, 4]}
    assert found["latency[sequence]"]["shapes"] == {"x": [1, 20, 4]}
    assert found["latency[sequence]"]["seconds"] > 5 * found["latency"]["seconds"]

    late = '@pytest.mark.onnxlite_latency(per="sequence", max="1 us", max_time=0.5)'
    write(project, good, x, y, late, CACHE)
    project.run(UNEXPLAINED).stdout.fnmatch_lines(["digits onnx: latency[[]sequence]"])
    write(project, good, x, y, "@pytest.mark.onnxlite_accuracy(max_drop=0.001)", CACHE)
    project.save()
    project.replace("onnx.onnx", decoder(tmp_path / "forgets.onnx", forgets=True))
    project.compare(UNEXPLAINED).assert_outcomes(failed=1)


MASK = np.array([[1, 1, 0, 1, 1, 0], [1, 0, 0, 1, 1, 1], [0, 1, 1, 1, 0, 1]], np.float32)


def write_masked(project: Project, model: Path, mask: Any, y: Any, markers: str, state: str) -> Any:
    x = sequences(3, 6)
    write(project, model, x, y, markers, state)
    np.savez(project.path / "data.npz", x=x, mask=mask, y=y)
    conftest = project.path / "conftest.py"
    text = conftest.read_text()
    conftest.write_text(text.replace("Dataset(data['x'], ", "Dataset({'x': data['x'], 'mask': data['mask']}, "))


def masked_by_hand(path: Path) -> Any:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = []
    for sample, mask in zip(sequences(3, 6), MASK, strict=True):
        past, answers = np.zeros((1, 1, 0, WIDTH), np.float32), []
        for step, row in enumerate(sample):
            given = {"x": row[None], "past": past, "mask": mask[None, : step + 1]}
            answer, past = session.run(["y", "present"], given)
            answers.append(answer[0])
        found.append(answers)
    return np.array(found)


def test_a_mask_over_all_steps_so_far_grows_with_them(project: Project, tmp_path: Path) -> None:
    model = decoder(tmp_path / "masked.onnx", masked=True)
    y, grows = masked_by_hand(model), 'stateful=Stateful(state={"past": "present"}, grows=["mask"])'
    markers = """
    @pytest.mark.onnxlite_accuracy(max_drop=0.001)
    @pytest.mark.onnxlite_outputs
    @pytest.mark.onnxlite_memory(max="1 GiB")
    @pytest.mark.onnxlite_latency(max="10 s", max_time=0.5)
    @pytest.mark.onnxlite_latency(per="sequence", max="10 s", max_time=0.5)
    """
    write_masked(project, model, MASK, y, markers, grows)
    project.run("--onnxlite-save-baseline", "--onnxlite-report=r.json").assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    assert record["measured"]["accuracy"]["value"] < 1e-6
    assert record["measured"]["latency"]["shapes"] == {"x": [1, 4], "mask": [1, 6], "past": [1, 1, 5, 4]}
    assert record["measured"]["latency[sequence]"]["shapes"] == {"x": [1, 6, 4], "mask": [1, 6]}
    assert record["conditions"]["grows"] == ["mask"]

    # Another mask is other data; a model that does not look at it is another model.
    project.replace("onnx.onnx", decoder(tmp_path / "plain.onnx", masked=True, forgets=True))
    project.compare(UNEXPLAINED).assert_outcomes(failed=1)


@pytest.mark.parametrize("mask", [MASK, np.repeat(MASK[:, :, None], 6, axis=2)], ids=["grows", "one size"])
def test_a_mask_that_is_not_said_to_grow_is_told(project: Project, tmp_path: Path, mask: Any) -> None:
    model = decoder(tmp_path / "masked.onnx", masked=True)
    write_masked(project, model, mask, masked_by_hand(model), MARKERS, CACHE)
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*If 'mask' holds all steps so far, as a mask does, name it in Stateful(grows=[[]...[]])."]
    )


@pytest.mark.alone
def test_a_sequence_is_timed_in_turns_with_the_last_release(project: Project, tmp_path: Path) -> None:
    x = sequences(2, 10)
    markers = '@pytest.mark.onnxlite_latency(per="sequence", max_slowdown=0.5)'
    write(project, lstm_step(tmp_path / "a.onnx"), x, None, markers, LSTM)
    project.save()
    project.compare().assert_outcomes(passed=1)
    project.replace("onnx.onnx", lstm_step(tmp_path / "b.onnx", slow=True))
    result = project.compare()
    result.assert_outcomes(failed=1)
    assert "(max_slowdown=0.5, x (1, 10, 4), batch size 1, 1 thread)" in result.stdout.str()


def test_silero_vad_is_judged_over_all_steps(project: Project, tmp_path: Path) -> None:
    model = in_wheel("silero_vad", "data", "silero_vad.onnx")
    if model is None:
        pytest.skip("silero-vad is not installed")
    noise = np.random.default_rng(3).normal(size=(3, 6, 1, 576)).astype(np.float32)
    x: dict[str, Any] = {"input": np.cumsum(noise, axis=3) / 30, "sr": np.full((3, 6), 16000, np.int64)}
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    y = np.zeros((3, 6, 1, 1), np.float32)
    for sample in range(3):
        state = np.zeros((2, 1, 128), np.float32)
        for step in range(6):
            fed = {"input": x["input"][sample, step], "sr": np.array(16000), "state": state}
            y[sample, step], state = session.run(["output", "stateN"], fed)
    write(project, model, np.zeros((1, 1)), y, MARKERS, 'stateful=Stateful(state={"state": "stateN"}), batched=False')
    np.savez(project.path / "data.npz", y=y, **x)
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("data['x']", "{'input': data['input'], 'sr': data['sr']}"))
    project.save()
    project.compare("--onnxlite-report=r.json").assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    assert record["measured"]["accuracy"]["value"] < 1e-6

    broken = onnx.load(model)
    for node in broken.graph.node:
        node.output[:] = ["kept" if name == "stateN" else name for name in node.output]
    broken.graph.node.append(helper.make_node("Sub", ["kept", "kept"], ["stateN"], name="forget"))
    onnx.save(broken, project.path / "onnx.onnx")
    result = project.compare(UNEXPLAINED)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*digits onnx: accuracy, outputs*"])


@pytest.mark.filterwarnings("ignore")
def test_a_keras_lstm_that_was_exported_twice_is_one_release_and_one_with_its_states_crossed_is_not(
    project: Project, tmp_path: Path
) -> None:
    keras, tf, tf2onnx = (pytest.importorskip(name) for name in ("keras", "tensorflow", "tf2onnx"))
    whole = keras.Sequential([
        keras.Input((None, WIDTH)),
        keras.layers.LSTM(HIDDEN, return_sequences=True, seed=1),
        keras.layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(seed=2)),
    ])  # fmt: skip
    lstm, dense = whole.layers

    def export(path: Path, opset: int, crossed: bool = False) -> Path:
        """Write one step of the same layers: the state goes in and comes out."""

        def step(x: Any, h_in: Any, c_in: Any) -> dict[str, Any]:
            y, h, c = tf.keras.layers.RNN(lstm.cell, return_state=True)(x[:, None], initial_state=[h_in, c_in])
            h, c = (c, h) if crossed else (h, c)
            return {
                "score": tf.identity(dense(y), "score"),
                "h_out": tf.identity(h, "h_out"),
                "c_out": tf.identity(c, "c_out"),
            }

        specs = [
            tf.TensorSpec([None, size], tf.float32, name)
            for name, size in (("x", WIDTH), ("h_in", HIDDEN), ("c_in", HIDDEN))
        ]
        tf2onnx.convert.from_function(tf.function(step, specs), specs, opset=opset, output_path=str(path))
        return path

    x = sequences(6, 7)
    # What is right is what Keras itself answers to whole sequences.
    write(project, export(tmp_path / "a.onnx", 15), x, np.asarray(whole(x)), MARKERS, LSTM)
    project.save()
    again = export(tmp_path / "b.onnx", 17)
    assert again.read_bytes() != (tmp_path / "a.onnx").read_bytes()
    project.replace("onnx.onnx", again)
    project.compare("--onnxlite-report=r.json").assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    assert record["measured"]["accuracy"]["value"] < 1e-6
    project.replace("onnx.onnx", export(tmp_path / "c.onnx", 17, crossed=True))
    result = project.compare(UNEXPLAINED)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["digits onnx: accuracy", "*mae, the last release had *"])


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ('stateful=Stateful(state={"h": "h_out"})', "the model has no input 'h' for a state; it has x, h_in, c_in"),
        (
            'stateful=Stateful(state={"h_in": "h_last", "c_in": "c_out"})',
            "the model has no output 'h_last' for a state; it has score, h_out, c_out",
        ),
        ('stateful=Stateful(state={"h_in": "c_out", "c_in": "c_out"})', "the output 'c_out' feeds two inputs"),
        (
            'stateful=Stateful(state={"h_in": "h_out", "c_in": "c_out"}, grows=["mask"])',
            "the model has no input 'mask' that could grow; it has",
        ),
        ('stateful=Stateful(state={"h_in": "h_out"}, grows="mask")', "expected the names of inputs, such as"),
        ('stateful=Stateful(state={"h_in": "h_out"}, grows=["h_in"])', "'h_in' is a state; a cache grows by itself"),
        ('stateful=Stateful(state={"h_in": "h_out"}, reset="never")', "Stateful(reset='never'): expected 'sample'."),
    ],
)
def test_a_state_that_is_none_is_told(project: Project, tmp_path: Path, state: str, said: str) -> None:
    write(project, lstm_step(tmp_path / "a.onnx"), sequences(3, 2), None, MARKERS, state)
    result = project.run()
    assert result.ret == 1
    assert said in result.stdout.str()


def test_a_model_without_a_state_has_no_sequence_and_declared_models_have_one(project: Project, tmp_path: Path) -> None:
    markers = '@pytest.mark.onnxlite_latency(per="sequence", max="10 s", max_time=0.5)'
    declared = lstm_step(project.path / "net.onnx")
    write(project, declared, sequences(3, 5), None, markers, LSTM)
    (project.path / "pyproject.toml").write_text(
        '[tool.onnxlite.models.net]\nonnx = "net.onnx"\ndata = "data.npz"\nvariants = ["onnx"]\n'
        'state = {h_in = "h_out", c_in = "c_out"}\nlatency = {per = "sequence", max = "10 s", max_time = 0.5}\n'
    )
    conftest = project.path / "conftest.py"
    assert LSTM in conftest.read_text()
    step = save_graph(
        project.path / "onnx.onnx",
        [helper.make_node("Relu", ["x"], ["y"], name="relu")],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 5, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5, WIDTH])],
        {},
    )
    assert step.exists()
    conftest.write_text(conftest.read_text().replace(LSTM, ""))
    result = project.run("-v")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["onnxlite::net::onnx::latency[[]sequence] PASSED*"])
    assert "per='sequence' times all steps of a model with a state, and the model has none" in result.stdout.str()
