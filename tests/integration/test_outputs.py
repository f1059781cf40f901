"""`onnxlite_outputs`, and what random numbers are to it and to accuracy: every fault red, every sound twin green."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from onnx_models import save_graph
from projects import Project

FLOAT = TensorProto.FLOAT
X = np.random.default_rng(0).normal(size=(128, 8)).astype(np.float32)


def random_scores(path: Path, scale: float, *, branch: bool = False) -> Path:
    """A classifier whose scores are disturbed by a random node, of so much, in a branch or not."""
    noise = helper.make_node("RandomNormalLike", ["scores"], ["noise"], "noise", scale=scale)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["scores"], "matmul")]
    if branch:
        outs = [[helper.make_tensor_value_info(name, FLOAT, ["batch", 4])] for name in ("noise", "same")]
        calm = helper.make_node("Identity", ["scores"], ["same"], "same")
        graphs = {
            "then_branch": helper.make_graph([noise], "then", [], outs[0]),
            "else_branch": helper.make_graph([calm], "else", [], outs[1]),
        }
        nodes += [helper.make_node("If", ["yes"], ["chosen"], "choose", **graphs)]
    nodes += [
        *([] if branch else [noise]),
        helper.make_node("Add", ["scores", "chosen" if branch else "noise"], ["y"], "add"),
    ]
    return save_graph(
        path,
        nodes,
        [helper.make_tensor_value_info("x", FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", FLOAT, ["batch", 4])],
        {"w": np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32), "yes": np.array(True)},
    )


def answers_of(path: Path) -> Any:
    model = onnx.load(path)
    (weight,) = (onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "w")
    return (X @ weight).argmax(axis=1)


@pytest.mark.parametrize(("scale", "branch", "node"), [(1e-2, False, "noise"), (1.0, True, "choose/then_branch/noise")])
def test_accuracy_of_a_random_model_is_red_and_names_its_random_node(
    project: Project, tmp_path: Path, scale: float, branch: bool, node: str
) -> None:
    model = random_scores(tmp_path / "m.onnx", scale, branch=branch)
    project.write(
        {"onnx": model}, X, answers_of(model), variant="onnx", markers="@pytest.mark.onnxlite_accuracy(max_drop=1.0)"
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*digits onnx is nondeterministic: output 'y' differs between two runs*",
            f"*{node} (RandomNormalLike, no seed)*",
        ]
    )


def test_a_random_node_that_changes_no_output_is_no_fault(project: Project, tmp_path: Path) -> None:
    model = random_scores(tmp_path / "m.onnx", 1e-9)
    project.write({"onnx": model}, X, answers_of(model), variant="onnx")
    result = project.run()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["digits  onnx     100.0 %   not compared*"])


def test_a_reference_that_is_in_training_is_told(project: Project, tmp_path: Path) -> None:
    model = random_scores(tmp_path / "m.onnx", 1e-9)
    project.write({"onnx": model}, X, answers_of(model), variant="onnx", spec="trained=shaken")
    conftest = project.path / "conftest.py"
    shaken = "rng = np.random.default_rng()\ndef shaken(x): return np.tile(rng.normal(size=(len(x), 1)), 4)\n"
    conftest.write_text(
        conftest.read_text().replace('data = np.load("data.npz")', f'data = np.load("data.npz")\n{shaken}')
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*digits trained is nondeterministic*", "*switch its training mode off*"])


# -- the marker ----------------------------------------------------------------------------------------------


def net(
    path: Path, fault: Callable[[onnx.ModelProto], None] | None = None, *, int8: bool = True, seed: int = 0
) -> Path:
    """A net with three outputs: probabilities of a Softmax, an embedding, and boxes with scores in one Concat."""
    rng = np.random.default_rng(seed)
    sizes = {"hidden": (8, 32), "logits": (32, 4), "embedding": (32, 6), "boxes": (32, 4), "scores": (32, 2)}
    weights: dict[str, Any] = {f"w_{n}": rng.normal(0, 0.6, size).astype(np.float32) for n, size in sizes.items()}
    make = helper.make_node
    nodes = [
        make("MatMul", ["x", "w_hidden"], ["h"], "hidden"),
        make("Tanh", ["h"], ["t"], "tanh"),
        *(make("MatMul", ["t", f"w_{n}"], [n], n) for n in ("logits", "embedding", "boxes", "scores")),
        make("Softmax", ["logits"], ["probabilities"], "softmax", axis=-1),
        make("Mul", ["boxes", "pixels"], ["places"], "pixels"),
        make("Sigmoid", ["scores"], ["sure"], "sigmoid"),
        make("Concat", ["places", "sure"], ["found"], "concat", axis=-1),
    ]
    outputs = {"probabilities": 4, "embedding": 6, "found": 6}
    source = path.with_suffix(".float.onnx")
    save_graph(
        source,
        nodes,
        [helper.make_tensor_value_info("x", FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info(name, FLOAT, ["batch", count]) for name, count in outputs.items()],
        {**weights, "pixels": np.float32(100)},
    )
    if not int8:
        source.replace(path)
        return path
    quantize_dynamic(source, path, weight_type=QuantType.QUInt8)
    source.unlink()
    if fault is not None:
        model = onnx.load(path)
        fault(model)
        onnx.save(model, path)
    return path


def rewire(model: onnx.ModelProto, output: str, operator: str, inputs: list[str], **attributes: Any) -> None:
    """Let an output be computed by another node."""
    (old,) = (node for node in model.graph.node if output in node.output)
    old.output[list(old.output).index(output)] = f"{output}_before"
    model.graph.node.append(helper.make_node(operator, inputs, [output], f"new_{output}", **attributes))


def store(model: onnx.ModelProto, name: str, value: Any) -> str:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    return name


def no_softmax(model: onnx.ModelProto) -> None:
    rewire(model, "probabilities", "Identity", ["logits"])


def wired_to_another(model: onnx.ModelProto) -> None:
    rewire(model, "embedding", "Identity", ["found"])


def drowned(model: onnx.ModelProto) -> None:
    """Boxes and scores quantized with one scale, which rounds each score to 0."""
    scale, zero = store(model, "scale", np.float32(5)), store(model, "zero", np.int8(0))
    rewire(model, "found", "DequantizeLinear", ["small", scale, zero])
    model.graph.node.insert(
        -1, helper.make_node("QuantizeLinear", ["found_before", scale, zero], ["small"], "quantize")
    )


def swapped(model: onnx.ModelProto) -> None:
    rewire(model, "found", "Gather", ["found_before", store(model, "order", np.array([0, 2, 1, 3, 4, 5]))], axis=1)


def constant(model: onnx.ModelProto) -> None:
    """Of the right mean, so that only what it varies by is gone."""
    rewire(model, "embedding", "Mul", ["embedding_before", store(model, "nothing", np.float32(0))])


def reordered(model: onnx.ModelProto) -> None:
    model.graph.output.append(model.graph.output.pop(0))


def nan(model: onnx.ModelProto) -> None:
    rewire(model, "embedding", "Sqrt", ["embedding_before"])


# Declared, so that one run judges several models.
DECLARED = """
[tool.onnxlite.models.{name}]
{files}
data = "data.npz"
batch_size = 32
variants = ["{kind}"]
outputs = {{{arguments}}}
"""
FAULTS = {
    no_softmax: "output 'probabilities': * dB*at least 3 dB expected*Softmax over axis 1 of it is what is expected*",
    wired_to_another: "output 'embedding': *at least 3 dB expected*t holds what the output 'found' should*",
    drowned: "output 'found': column * of axis 1 *is constant*the whole has *",
    swapped: "output 'found': column ? of axis 1 has -* dB, and holds what column ? should*",
    constant: "output 'embedding': *is constant*",
    reordered: "expected the outputs in the order 'probabilities', 'embedding' and 'found', found 'embedding',*",
    nan: "output 'embedding': * elements are NaN or infinite in one of the two alone*",
}


@pytest.fixture
def folder(pytester: pytest.Pytester) -> Path:
    net(pytester.path / "float.onnx", int8=False)
    np.savez(pytester.path / "data.npz", x=np.random.default_rng(5).normal(size=(200, 8)).astype(np.float32))
    return pytester.path


def write(folder: Path, *names: str, arguments: str = "", alone: str = "") -> None:
    """Declare models, each next to the float one, or by themselves as a kind."""
    kind = alone or "int8"
    texts = []
    for name in names:
        files = f'{kind} = "{name}.onnx"' + ("" if alone else '\nonnx = "float.onnx"')
        texts.append(DECLARED.format(name=name, files=files, kind=kind, arguments=arguments))
    (folder / "pyproject.toml").write_text("".join(texts))


def test_every_fault_is_red_and_named_and_the_sound_twin_is_green(pytester: pytest.Pytester, folder: Path) -> None:
    net(folder / "sound.onnx")
    for fault in FAULTS:
        net(folder / f"{fault.__name__}.onnx", fault)
    write(folder, "sound", *(fault.__name__ for fault in FAULTS))
    result = pytester.runpytest("--onnxlite-html=r.html", "--onnxlite-report=r.json", "--onnxlite-markdown=r.md", "-rA")
    text = result.stdout.str()
    result.assert_outcomes(failed=len(FAULTS), passed=1)
    for fault, said in FAULTS.items():
        block = text.split(f"\n{fault.__name__} int8: outputs\n")[1].split("Why:")[0].replace("\n", " ")
        assert fnmatch(block, f"*{said}"), block
    assert "of onnx" in (folder / "r.md").read_text()
    assert "Outputs, next to those of onnx" in (folder / "r.html").read_text()


def test_an_output_may_be_asked_less_or_left_out(pytester: pytest.Pytester, folder: Path) -> None:
    net(folder / "m.onnx", shifted)
    for arguments, outcome in {
        "outputs = {embedding = {skip = true}}": {"passed": 1},
        "outputs = {embedding = {min_sqnr = -2}}, bad_share = 0.5, atol = 2.0": {"passed": 1},
        "outputs = {found = {min_sqnr = -2}}": {"failed": 1},
        "outputs = {embedding = {min_sqnr = -2, bad_share = 0.0001}}": {"failed": 1},
    }.items():
        write(folder, "m", arguments=arguments)
        result = pytester.runpytest()
        result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines(["*of its elements differ by more than*at most 0.0 % allowed (bad_share=0.0001)*"])
    for wrong, said in {
        "outputs = {a = {min_snr = 3}}": "did you mean min_sqnr",
        "outputs = {a = 3}": "expected a mapping such as",
        "outputs = {a = {bad_share = 5}}": "expected a number from 0 to 1",
        "min_sqnr = '3'": "expected a number of dB",
    }.items():
        write(folder, "m", arguments=wrong)
        result = pytester.runpytest()
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*{said}*"])


def shifted(model: onnx.ModelProto) -> None:
    rewire(model, "embedding", "Add", ["embedding_before", store(model, "shift", np.float32(1.6))])


def test_what_the_last_release_answered_is_kept_and_compared(pytester: pytest.Pytester, folder: Path) -> None:
    net(folder / "m.onnx")
    write(folder, "m")
    pytester.runpytest("--onnxlite-save-baseline").assert_outcomes(passed=1)
    before = {path.name: path.read_bytes() for path in (folder / "baselines/m").iterdir()}
    assert sorted(name.split("-")[0] for name in before) == ["int8", "int8", "int8.json"]
    section = json.loads(before["int8.json"])["outputs"]
    assert section["samples"] == 200
    assert section["recorded"]["file"] in before
    # A save that changes nothing changes no byte.
    pytester.runpytest("--onnxlite-save-baseline").assert_outcomes(passed=1)
    assert {path.name: path.read_bytes() for path in (folder / "baselines/m").iterdir()} == before
    result = pytester.runpytest("--onnxlite-baseline")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*m*int8*dB (of onnx, last equal)*pass*"])
    # What both models of the next release lost, the last release alone can tell.
    net(folder / "m.onnx", no_softmax)
    source = onnx.load(folder / "float.onnx")
    no_softmax(source)
    onnx.save(source, folder / "float.onnx")
    result = pytester.runpytest("--onnxlite-baseline")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*the outputs are not like those that the last release recorded*",
            "*at least 0 dB expected (min_last_sqnr=0)*",
        ]
    )
    pytester.runpytest("--onnxlite-save-baseline", "--onnxlite-accept").assert_outcomes(passed=1)
    assert len(list((folder / "baselines/m").iterdir())) == 3, "what was recorded before is gone"
    pytester.runpytest("--onnxlite-baseline").assert_outcomes(passed=1)
    np.savez(folder / "data.npz", x=np.load(folder / "data.npz")["x"][:150])
    result = pytester.runpytest("--onnxlite-baseline")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the evaluation data changed since the last release*"])


def test_a_runtime_that_answers_otherwise_is_told_and_where_it_did(pytester: pytest.Pytester, folder: Path) -> None:
    net(folder / "m.onnx")
    write(folder, "m")
    pytester.runpytest("--onnxlite-save-baseline").assert_outcomes(passed=1)
    # The recording of a place that gives other answers: by so little that it is told, then by much.
    for noise, outcome in ((0.01, {"passed": 1}), (5.0, {"failed": 1})):
        disturb(folder / "baselines/m", noise)
        result = pytester.runpytest("--onnxlite-baseline")
        result.assert_outcomes(**outcome)
        result.stdout.fnmatch_lines(["*the last release's own file gives other outputs here than when it was saved*"])
        result.stdout.fnmatch_lines(["*Then: ONNX Runtime 1.0.0 on *. Now: ONNX Runtime *"])
    # Another candidate is not to blame for it.
    net(folder / "m.onnx", seed=0, fault=lambda model: setattr(model, "producer_version", "2"))
    result = pytester.runpytest("--onnxlite-baseline")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the last release's own file gives other outputs here*"])


def disturb(folder: Path, noise: float) -> None:
    from pytest_onnxlite.checks.outputs import recording

    path = folder / "int8.json"
    content = json.loads(path.read_text())
    section = content["outputs"]
    (old,) = folder.glob("*.npz")
    rows, outputs = recording.decode(old, tuple(section["outputs"]))
    outputs["embedding"] = outputs["embedding"] + np.float32(noise) * (
        np.arange(outputs["embedding"].size).reshape(-1, 6) % 7 - 3
    )
    data = recording.encode(rows, outputs)
    old.unlink()
    sha256 = hashlib.sha256(data).hexdigest()
    section["recorded"] = {"file": f"int8-outputs-{sha256[:16]}.npz", "sha256": sha256, "bytes": len(data)}
    section["machine"]["onnxruntime"] = "1.0.0"
    (folder / section["recorded"]["file"]).write_bytes(data)
    path.write_text(json.dumps(content))


def test_a_random_model_is_told_here_too_and_a_file_that_stands_alone_is_compared_with_its_last_release(
    pytester: pytest.Pytester, folder: Path
) -> None:
    random_scores(folder / "noisy.onnx", 0.5)
    write(folder, "noisy", alone="onnx")
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*noisy onnx is nondeterministic*", "*noise (RandomNormalLike, no seed)*"])
    net(folder / "alone.onnx")
    write(folder, "alone", alone="int8")
    pytester.runpytest("--onnxlite-save-baseline").assert_outcomes(passed=1)
    pytester.runpytest("--onnxlite-baseline").assert_outcomes(passed=1)
    net(folder / "alone.onnx", no_softmax)
    result = pytester.runpytest("--onnxlite-baseline")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Softmax over axis 1 of it is what is expected*"])
