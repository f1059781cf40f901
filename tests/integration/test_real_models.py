"""Real models, by their users' road: the ONNX files in two packages' wheels, guarded as a team would guard them."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from projects import UNEXPLAINED, Project
from wheels import in_wheel, pages


def wheel(package: str, *parts: str) -> Path:
    found = in_wheel(package, *parts)
    if found is None:
        pytest.skip(f"the package {package} is not installed (pip install --no-deps {package.replace('_', '-')})")
    return found


RELEASE = """
    import pytest

    @pytest.mark.onnxlite_accuracy(max_drop=0.1)
    @pytest.mark.onnxlite_size(ratio={ratio})
    @pytest.mark.onnxlite_memory
    @pytest.mark.onnxlite_graph
    def test_release(onnxlite_int8):
        assert onnxlite_int8.graph.operators
"""


def write(project: Project, path: Path, x: Any, test: str, spec: str) -> None:
    """Write the project of a model whose inputs are one array, or several by name."""
    project.write({"onnx": path}, 0, test=textwrap.dedent(test), spec=spec)
    np.savez(project.path / "data.npz", **(x if isinstance(x, dict) else {"x": x}))
    if isinstance(x, dict):
        conftest = project.path / "conftest.py"
        conftest.write_text(conftest.read_text().replace("Dataset(data['x'])", "Dataset(dict(data))"))


def guard(project: Project, path: Path, x: Any, ratio: float, spec: str, explain: int = 10) -> tuple[list[str], str]:
    """Guard a model's INT8 variant; return the limits it breaks, and what the user reads."""
    write(project, path, x, RELEASE.format(ratio=ratio), spec)
    result = project.run("--onnxlite-save-baseline", f"--onnxlite-explain-time={explain}")
    text = result.stdout.str()
    red = re.findall(r"^digits int8: (\w+)$", text, re.MULTILINE)
    result.assert_outcomes(passed=int(not red), failed=int(bool(red)))
    return red, text


# -- text in pictures ----------------------------------------------------------------------------------------


DETECTION = "ch_PP-OCRv4_det_infer.onnx", pages, (160, 160, 3)
RECOGNITION = "ch_PP-OCRv4_rec_infer.onnx", pages, (48, 160, 8)
DIRECTION = "ch_ppocr_mobile_v2.0_cls_infer.onnx", pages, (48, 192, 8)
NOT_PREPARED = "prepared without symbolic shape inference: "
GRAPH_GREW = (
    "Why: no weight is left to quantize, and the graph itself takes .* more than before.*ratio= that would pass"
)
BROUGHT_IN = r"p2o\.\w+\.\d+ \(\w+\) adds the largest error( of the layers that no trial cleared)? \(own SQNR [-\d.]+ dB; the other quantized layers"


@pytest.mark.parametrize(
    ("model", "recipe", "ratio", "red", "said"),
    [
        (RECOGNITION, "DynamicInt8()", 0.3, [], [NOT_PREPARED]),
        pytest.param(
            RECOGNITION,
            "StaticInt8()",
            0.3,
            [],
            [NOT_PREPARED, "converted from opset 12 to 13"],
            marks=pytest.mark.thorough,
        ),
        # So small that what quantizing adds to the graph outweighs what it takes from the weights.
        (DIRECTION, "DynamicInt8()", 0.3, ["size"], [GRAPH_GREW]),
        (DIRECTION, "StaticInt8(format='qoperator')", 0.4, [], ["converted from opset 11 to 13"]),
        # Its weights are in Constant nodes; in INT8 nothing is left of what it finds.
        pytest.param(
            DETECTION,
            "DynamicInt8()",
            0.3,
            ["accuracy"],
            [
                BROUGHT_IN,
                r"Output channel \d+ has weights \d+ times as large as the median channel's",
                "quantize it statically, per channel, or leave it in float",
            ],
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            DETECTION,
            "StaticInt8()",
            0.33,
            ["accuracy"],
            [BROUGHT_IN, r"Leave the layers .* \(recipe exclude="],
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_text_in_pictures(
    project: Project, model: tuple[str, Any, Any], recipe: str, ratio: float, red: list[str], said: list[str]
) -> None:
    file, make, shape = model
    path = wheel("rapidocr_onnxruntime", "models", file)
    spec = f"metric='cosine', recipe={recipe}, calibration=data['x'][:4]"
    # Which layers are tried first depends on the time there is: as much as all of them take, on a busy machine too.
    found, text = guard(project, path, make(*shape), ratio, spec, explain=60)
    assert found == red, text
    assert [pattern for pattern in said if not re.search(pattern, text)] == [], text


# -- voices in sound -----------------------------------------------------------------------------------------


def sound(windows: int) -> Any:
    """Voices whose loudness and pitch come and go, 16 kHz: windows of 512 samples with 64 before each."""
    rng = np.random.default_rng(0)
    t = np.arange(512 * windows) / 16000
    pitch = np.cumsum(120 + 60 * np.sin(2 * np.pi * 2 * t)) / 16000
    voice = np.sum([np.sin(2 * np.pi * k * pitch) / k for k in range(1, 12)], axis=0)
    heard = voice * np.maximum(0, np.sin(2 * np.pi * 2 * t)) * 0.2 + rng.normal(0, 0.005, t.size)
    padded = np.concatenate([np.zeros(64), heard]).astype(np.float32)
    return np.stack([padded[i : i + 576] for i in range(0, heard.size, 512)])


def steps(path: Path, windows: int = 24) -> dict[str, Any]:
    """What the float model is fed with on its way through the sound: each window with the state before it."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    state, fed = np.zeros((2, 1, 128), np.float32), []
    for window in sound(windows):
        given = {"input": window[None], "state": state, "sr": np.array(16000, np.int64)}
        fed.append({name: given[name] for name in names})
        _, state = session.run(None, fed[-1])
    return {name: np.stack([step[name] for step in fed]) for name in names}


LEFT_IN_FLOAT = r"LSTM \(QDQ quantization leaves LSTM in float\)"
LAST_CONVOLUTION = (
    r"Why: \S+ \(Conv\) adds the largest error( of the layers that no trial cleared)? \(own SQNR [\d.]+ dB"
)


@pytest.mark.parametrize(
    ("file", "recipe", "red", "said"),
    [
        ("silero_vad.onnx", "DynamicInt8()", ["accuracy"], [LAST_CONVOLUTION]),
        # A branch reads what a Relu gives, which the quantizer would drop.
        ("silero_vad_16k_op15.onnx", "StaticInt8()", ["size"], [LEFT_IN_FLOAT]),
        ("silero_vad_half.onnx", "DynamicInt8()", [], []),
        # Its branches read weights of the outer graph.
        pytest.param(
            "silero_vad_op18_ifless.onnx",
            "DynamicInt8()",
            ["accuracy"],
            [LAST_CONVOLUTION],
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            "silero_vad_openvino_16k.onnx", "StaticInt8()", ["size"], [LEFT_IN_FLOAT], marks=pytest.mark.thorough
        ),
    ],
)
def test_voices_in_sound(project: Project, file: str, recipe: str, red: list[str], said: list[str]) -> None:
    path = wheel("silero_vad", "data", file)
    found, text = guard(project, path, steps(path), 0.45, f"{STEP}, recipe={recipe}, calibration=dict(data)")
    assert found == red, text
    assert [pattern for pattern in said if not re.search(pattern, text)] == [], text


STEP = "metric='mae', output='output', batched=False"


def test_where_all_layers_are_in_branches_static_quantization_is_refused(project: Project) -> None:
    path = wheel("silero_vad", "data", "silero_vad_op18_ifless.onnx")
    x = steps(path, 4)
    with pytest.raises(AssertionError, match="'errors': 1"):
        guard(project, path, x, 0.45, f"{STEP}, recipe=StaticInt8(), calibration=dict(data)")
    project.run().stdout.fnmatch_lines(
        ["*quantization changed nothing: the * layers of onnx.onnx that have weights lie in branches or loop bodies*"]
    )
    # Where no recipe is named, none is chosen that cannot do it.
    guard(project, path, x, 0.45, f"{STEP}, calibration=dict(data)", explain=0)
    project.run("--onnxlite-explain-time=0").stdout.fnmatch_lines(
        ["*DynamicInt8(), uint8 weights: the model computes in branches or loop bodies*"]
    )


def test_the_way_out_that_a_failure_shows_is_one(project: Project) -> None:
    path = wheel("silero_vad", "data", "silero_vad_16k_sequence.onnx")
    x = {
        "input": np.stack([sound(24), sound(24)[::-1]]),
        **{name: np.zeros((2, 1, 1, 128), np.float32) for name in "hc"},
    }
    spec = "metric='cosine', output='speech_probs', batched=False, recipe=DynamicInt8({})"
    found, text = guard(project, path, x, 0.35, spec.format(""))
    assert found == ["accuracy"]
    blamed = re.search(r"Why: (\S+) \(Conv\) adds the largest error", text)
    gain = re.search(r"Left in float, on all evaluation data.*?\n\s+(\S+): \+", text, re.DOTALL)
    assert blamed, text
    assert gain, text
    assert blamed[1] == gain[1]
    found, text = guard(project, path, x, 0.35, spec.format(f"exclude=[{gain[1]!r}]"))
    assert found == [], text


# -- one model in three formats, and half precision and blocks of real files -----------------------------------


FORMATS = """
    import pytest

    @pytest.mark.onnxlite_accuracy(max_drop=0.001)
    @pytest.mark.onnxlite_outputs(min_sqnr=60)
    @pytest.mark.parametrize("onnxlite_variant", ["onnx", "lite", "wired"], indirect=True)
    def test_formats(onnxlite_variant):
        pass
"""


def test_three_formats_of_one_model_agree_and_an_output_that_is_wired_to_another_ones_tensor_does_not(
    project: Project,
) -> None:
    folder = wheel("basic_pitch", "saved_models", "icassp_2022", "nmp")
    wires = onnx.load(folder.parent / "nmp.onnx")
    onset, note, _ = wires.graph.output  # both (172, 88); the third is (172, 264)
    for node in wires.graph.node:
        if onset.name in node.output:
            node.output[list(node.output).index(onset.name)] = "elsewhere"
    wires.graph.node.append(onnx.helper.make_node("Identity", [note.name], [onset.name]))
    onnx.save(wires, project.path / "wired.onnx")
    rng = np.random.default_rng(0)
    time = np.arange(43844) / 22050
    x = np.stack([np.sin(2 * np.pi * tone * time) * 0.5 + rng.normal(0, 0.01, time.size) for tone in (220, 440, 660)])
    variants = (
        f"trained={str(folder)!r}, variants={{'lite': {str(folder.parent / 'nmp.tflite')!r}, 'wired': 'wired.onnx'}}"
    )
    spec = f"{variants}, metric='cosine', output='note'"
    project.write(
        {"onnx": folder.parent / "nmp.onnx"}, x[..., None].astype(np.float32), spec=spec, test=textwrap.dedent(FORMATS)
    )
    result = project.run(UNEXPLAINED)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines([
        "digits wired: outputs",
        f"*output '{onset.name}': *It holds what the output '{note.name}' should: two outputs are wired to one tensor*",
    ])  # fmt: skip
    result.stdout.re_match_lines([
        r"digits +onnx .* \(of trained, paired by the converter's numbers\)",
        r"digits +lite .* \(of onnx, paired by the converter's numbers\)",
    ])  # fmt: skip


FORMS = """
    import pytest

    @pytest.mark.onnxlite_accuracy(max_drop=0.1)
    @pytest.mark.onnxlite_size
    @pytest.mark.onnxlite_graph
    @pytest.mark.parametrize("onnxlite_variant", ["fp16", "int4"], indirect=True)
    def test_forms(onnxlite_variant):
        pass
"""


def files() -> Any:
    """The first and last 1,024 bytes of Python's own modules, as magika reads files: `(16, 2048) int32`."""
    sources = sorted(path for path in Path(os.__file__).parent.glob("*.py") if path.stat().st_size >= 2048)[:16]
    parts = [np.frombuffer(path.read_bytes(), np.uint8) for path in sources]
    return np.stack([np.concatenate([part[:1024], part[-1024:]]) for part in parts]).astype(np.int32)


def pictures() -> Any:
    return np.ascontiguousarray((pages(320, 320, 4) + 1) / 2)


def voices() -> dict[str, Any]:
    nothing = np.zeros((16, 1, 1, 128), np.float32)
    return {"input": sound(16)[:, None], "h": nothing, "c": nothing}


FORMED = "{'fp16': Float16(), 'int4': WeightOnly()}"
NO_BLOCKS = r"WeightOnly\(\) changed nothing: \S+ has no MatMul or Gemm with a constant weight of two dims"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("package", "pattern", "made", "spec", "said"),
    [
        (
            "magika",
            "models/*/model.onnx",
            files,
            "metric='agreement'",
            [r"digits +int4 +100\.0 %.* sound, 1 warning +pass", r"weights of 4 bits in blocks of 32"],
        ),
        ("nudenet", "320n.onnx", pictures, "metric='cosine'", [NO_BLOCKS]),
        (
            "faster_whisper",
            "assets/silero_vad_v6.onnx",
            voices,
            "metric='mae', output='speech_probs', batched=False",
            [NO_BLOCKS],
        ),
    ],
)
def test_half_precision_is_within_its_limits_and_4_bits_are_where_there_are_layers_for_them(
    project: Project, package: str, pattern: str, made: Callable[[], Any], spec: str, said: list[str]
) -> None:
    path = next(wheel(package).glob(pattern))
    write(project, path, made(), FORMS, f"variants={FORMED}, {spec}")
    result = project.run(UNEXPLAINED)
    result.assert_outcomes(passed=2 if NO_BLOCKS not in said else 1, errors=int(NO_BLOCKS in said))
    text = result.stdout.str()
    assert re.search(r"^digits +fp16 .* \(0\.50\d of onnx\) +sound +pass", text, re.MULTILINE), text
    assert [pattern for pattern in said if not re.search(pattern, text)] == [], text
