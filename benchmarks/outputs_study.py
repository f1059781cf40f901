"""What `onnxlite_outputs` measures of sound INT8 models, and of the same files with a fault: the figures behind its default.

python benchmarks/outputs_study.py                    four minutes on two cores
python benchmarks/outputs_study.py --write docs/outputs.md

Nets that end in a Softmax are trained on the digits of examples/digits.py; others come from the wheels of rapidocr-onnxruntime and
silero-vad, where these are installed. Each is quantized with the default recipes, and compared with its float model. A file is sound
where it keeps the answers: at most one point of accuracy is lost, or, of what is no classifier, outputs point where the float model's do
(cosine of at least 0.99).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from processors import NETS

from pytest_onnxlite import Dataset, DynamicInt8, ModelSpec, OnnxliteError, StaticInt8
from pytest_onnxlite.checks.outputs.compare import WHOLE, compare_numbers
from pytest_onnxlite.spec.recipes import Recipe
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache
from pytest_onnxlite.variants.variant import OnnxVariant, Outputs

from digits import load_digits
from wheels import in_wheel, pages

RECIPES: tuple[Recipe, ...] = (DynamicInt8(), StaticInt8())
FIRST, LAST = "<!-- figures: benchmarks/outputs_study.py -->", "<!-- end of figures -->"
MOST_LOST, LEAST_COSINE = 0.01, 0.99
_ENDS = ("Softmax", "Sigmoid")


@dataclass(frozen=True)
class Row:
    """A quantized model's outputs next to the float model's."""

    model: str
    recipe: str
    answers: str
    is_sound: bool
    whole: float
    worst: float
    faults: dict[str, float]


def with_softmax(net: str) -> Any:
    """Return a net of `benchmarks/processors.py`, trained, with a Softmax at its end."""
    import keras

    keras.utils.set_random_seed(2021)
    logits = NETS[net][0]()
    model = keras.Sequential([keras.Input((28, 28, 1)), logits, keras.layers.Softmax()])
    (x, y), _ = load_digits()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=4, batch_size=64, verbose=0)
    return model


def specs() -> Iterator[Callable[[], ModelSpec]]:
    """Yield what makes the spec of each model."""
    (x, _), (evaluation, labels) = load_digits()
    data = Dataset(evaluation[:500], labels[:500])
    examples = Path(__file__).parents[1] / "examples" / "models"
    for name in ("dnn", "cnn"):
        yield partial(ModelSpec, name, trained=examples / f"{name}.keras", evaluation=data, calibration=x[:200])
    for net in ("convolutional", "recurrent", "attention"):
        yield partial(_of_net, net, data, x[:200])
    for file, size in {
        "ch_PP-OCRv4_rec_infer": (48, 160), "ch_ppocr_mobile_v2.0_cls_infer": (48, 192), "ch_PP-OCRv4_det_infer": (160, 160),
    }.items():  # fmt: skip
        path = in_wheel("rapidocr_onnxruntime", "models", f"{file}.onnx")
        if path is not None:
            made = pages(*size, count=16)
            data = Dataset(made[8:])
            yield partial(
                ModelSpec, file, onnx=path, evaluation=data, calibration=made[:8], metric="cosine", output=None
            )


def _of_net(net: str, data: Dataset, calibration: Any) -> ModelSpec:
    return ModelSpec(net, trained=with_softmax(net), evaluation=data, calibration=calibration)


def rows_of(spec: ModelSpec, folder: Path) -> Iterator[Row]:
    """Quantize a model in each way and compare."""
    builder = Builder(spec, Cache(folder), lambda _: None)
    reference = builder.onnx.run(builder.evaluation.x, 1)
    for recipe in RECIPES:
        name = type(recipe).__name__
        try:
            path = builder.quantized(recipe) / "model.onnx"
        except OnnxliteError as error:
            print(f"{spec.name} {name}: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        found = OnnxVariant(spec.name, "int8", path, spec.runtime).run(builder.evaluation.x, 1)
        answers, is_sound = _answers(reference, found, builder.evaluation.y)
        whole, worst = _figures(reference, found)
        print(f"{spec.name} {name}: {answers}, {whole:.1f} dB, worst column {worst:.1f} dB", file=sys.stderr)
        faults = {text: _figures(reference, broken)[1] for text, broken in _faults(path, builder, found)}
        yield Row(spec.name, name, answers, is_sound, whole, worst, faults)


def _answers(reference: Outputs, found: Outputs, labels: Any) -> tuple[str, bool]:
    before, after = (next(iter(outputs.values())) for outputs in (reference, found))
    if labels is None and before.min() >= 0 and bool(np.allclose(before.sum(axis=-1), 1, atol=0.01)):
        same = float((before.argmax(axis=-1) == after.argmax(axis=-1)).mean())
        return f"{100 * same:.1f} % the same", same >= 1 - MOST_LOST
    if labels is not None:
        was, now = (float((array.argmax(axis=1) == labels).mean()) for array in (before, after))
        return f"{100 * now:.1f} % ({100 * (now - was):+.1f})", was - now <= MOST_LOST
    a, b = before.ravel().astype(float), after.ravel().astype(float)
    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    return f"cosine {cosine:.4f}", cosine >= LEAST_COSINE


def _figures(reference: Outputs, found: Outputs) -> tuple[float, float]:
    compared = [compare_numbers(reference[name], found[name], 0.0, 1e-3) for name in reference]
    worst = min(value for one in compared for key, value in one.sqnr.items() if key not in one.tolerated)
    return min(one.sqnr[WHOLE] for one in compared), worst


def _faults(path: Path, builder: Builder, found: Outputs) -> Iterator[tuple[str, Outputs]]:
    """Yield the outputs of a quantized model with a fault each."""
    model = onnx.load(path)
    name = model.graph.output[0].name
    end = next((node for node in model.graph.node if name in node.output), None)
    if end is not None and end.op_type in _ENDS:
        model.graph.node.remove(end)
        for node in model.graph.node:
            node.output[:] = [name if output == end.input[0] else output for output in node.output]
        cut = path.with_name("cut.onnx")
        onnx.save(model, cut)
        yield f"no {end.op_type}", OnnxVariant("cut", "int8", cut, builder.spec.runtime).run(builder.evaluation.x, 1)
    array = found[name]
    # Of a picture the last axis holds no columns.
    if array.ndim in (2, 3) and 1 < array.shape[-1] <= 1000:
        swapped, constant = array.copy(), array.copy()
        swapped[..., [0, 1]] = array[..., [1, 0]]
        constant[..., 0] = array[..., 0].mean()
        yield "columns swapped", {name: swapped}
        yield "column constant", {name: constant}


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row.faults))
    lines = [
        f"| model | recipe | answers | whole output | worst column | {' | '.join(names)} |",
        f"|---|---|---|---|---|{'---|' * len(names)}",
    ]
    for row in rows:
        broken = " | ".join(f"{row.faults[name]:.1f}" if name in row.faults else "" for name in names)
        sound = "" if row.is_sound else ", not sound"
        lines.append(
            f"| {row.model} | {row.recipe} | {row.answers}{sound} | {row.whole:.1f} | {row.worst:.1f} | {broken} |"
        )
    sane = [row for row in rows if row.is_sound]
    faults = [value for row in sane for value in row.faults.values()]
    lines += [
        "",
        f"Worst column of a sound model: {min(row.worst for row in sane):.1f} dB. Of a fault at best: {max(faults):.1f} dB.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and write it into a page where one is named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--write", type=Path, help="a page with the marks of the figures")
    arguments = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, make in enumerate(specs()):
            rows += rows_of(make(), Path(folder, str(number)))
    text = table(rows)
    print(text)
    if arguments.write is not None:
        page = arguments.write.read_text(encoding="utf-8")
        before, rest = page.split(FIRST)
        arguments.write.write_text(f"{before}{FIRST}\n\n{text}\n\n{LAST}{rest.split(LAST)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
