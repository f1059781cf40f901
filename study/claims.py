"""What the study concluded, each claim beside what today's figures say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import mean

from study.figures import Figures, NotMeasured
from study.published import (
    ACCURACY_MOVES,
    BARE,
    COMPILED,
    H5,
    INT8,
    INT8_LEAVES,
    MEMORY_LEAVES,
    MEMORY_TABLE,
    ONNX,
    ONNX_LEAVES,
    PREDICT,
    QUANTIZATION_LEAVES,
    RATE,
    RATIO,
    REPEATS,
    RUNNING,
    SIZE,
    SIZE_TABLE,
    STATIC,
    STATIC_RATIO,
    TABLES,
    TFLITE_INT8,
    TRACED,
    WIDE,
)

NETS = {"DNN": (SIZE_TABLE["dnn"], MEMORY_TABLE["dnn"]), "CNN": (SIZE_TABLE["cnn-1"], MEMORY_TABLE["cnn-1"])}
DENSE, *CONVOLVED = (row for row in TABLES[6].rows if row != WIDE)


class Judgement(StrEnum):
    """What became of a claim."""

    HOLDS = "holds"
    NO_LONGER = "no longer holds"
    OTHER = "measured something else"
    UNKNOWN = "not measured"


@dataclass(frozen=True)
class Claim:
    """A claim of the study.

    Attributes:
        text: what it says.
        source: the tables or figures that it rests on.
        judge: what the figures say; raises NotMeasured where one is missing.
    """

    text: str
    source: str
    judge: Callable[[Figures], tuple[Judgement, str]]

    def judged(self, figures: Figures) -> tuple[Judgement, str]:
        """Return what became of it, and the figures that say so."""
        try:
            return self.judge(figures)
        except NotMeasured as missing:
            return Judgement.UNKNOWN, str(missing)


def _if(holds: bool) -> Judgement:
    return Judgement.HOLDS if holds else Judgement.NO_LONGER


def _shares(figures: Figures) -> tuple[Judgement, str]:
    texts, holds = [], True
    for net, (table, _) in NETS.items():
        h5, onnx, int8 = (figures[table, SIZE, column] for column in (H5, ONNX, INT8))
        texts.append(f"{net} 100 : {100 * onnx / h5:.1f} : {100 * int8 / h5:.1f}")
        # Within a point of what was said.
        holds = holds and abs(100 * onnx / h5 - ONNX_LEAVES) <= 1 and abs(100 * int8 / h5 - INT8_LEAVES) <= 1
    return _if(holds), "; ".join(texts)


def _conversion(figures: Figures) -> tuple[Judgement, str]:
    texts, all_optimizer = [], True
    for net, (table, _) in NETS.items():
        h5, bare, onnx = (figures[table, SIZE, column] for column in (H5, BARE, ONNX))
        texts.append(
            f"{net}: the .h5 is {h5 / onnx:.2f} times the ONNX file, without the optimizer's state {bare / onnx:.2f} times"
        )
        all_optimizer = all_optimizer and bare / onnx < 1.05
    if all_optimizer:
        return (
            Judgement.OTHER,
            f"{'; '.join(texts)}. Leaving the optimizer's state behind makes it smaller, not the conversion.",
        )
    return Judgement.HOLDS, "; ".join(texts)


def _quarter(figures: Figures) -> tuple[Judgement, str]:
    shares = {net: 100 * figures[table, SIZE, INT8] / figures[table, SIZE, ONNX] for net, (table, _) in NETS.items()}
    text = ", ".join(f"{net} {share:.1f} %" for net, share in shares.items())
    return _if(all(abs(share - QUANTIZATION_LEAVES) <= 1 for share in shares.values())), text


def _accuracy(figures: Figures) -> tuple[Judgement, str]:
    # Rounded, so that a drop of exactly one point is one.
    drops = [round(figures[4, repeat, H5] - figures[4, repeat, INT8], 3) for repeat in REPEATS]
    static = [round(figures[4, repeat, H5] - figures[4, repeat, STATIC], 3) for repeat in REPEATS]
    return _if(all(abs(drop) <= ACCURACY_MOVES for drop in drops)), (
        f"points lost by dynamic INT8: {_signed(drops)}; by static INT8: {_signed(static)}"
    )


def _signed(figures: list[float]) -> str:
    return ", ".join(f"{figure:+.2f}" for figure in figures)


def _tflite(figures: Figures) -> tuple[Judgement, str]:
    means = {column: mean(figures[5, repeat, column] for repeat in REPEATS) for column in (INT8, STATIC, TFLITE_INT8)}
    published = {
        column: mean(TABLES[5].published[repeat, column] for repeat in REPEATS) for column in (INT8, TFLITE_INT8)
    }
    ratio = means[TFLITE_INT8] / means[INT8]
    text = (
        f"TFLite INT8 takes {ratio:.2f} times as long as dynamic ONNX INT8 ({means[TFLITE_INT8]:.3f} s, {means[INT8]:.3f} s), and "
        f"{means[TFLITE_INT8] / means[STATIC]:.2f} times as long as static ({means[STATIC]:.3f} s); "
        f"{published[TFLITE_INT8] / published[INT8]:.1f} times were published"
    )
    return _if(ratio > 1), text


def _keras(figures: Figures) -> tuple[Judgement, str]:
    called = [figures[6, row, PREDICT] / figures[6, row, ONNX] for row in TABLES[6].rows]
    compiled = [figures[6, row, COMPILED] / figures[6, row, ONNX] for row in TABLES[6].rows]
    text = (
        f"model.predict takes {min(called):.0f} to {max(called):.0f} times as long as ONNX, and the same model as a compiled "
        f"function {min(compiled):.1f} to {max(compiled):.1f} times"
    )
    if max(compiled) < min(called) / 2:
        return Judgement.OTHER, f"{text}: what is timed is mostly the call of model.predict, not the net"
    return _if(min(called) > 10), text


def _ratios(figures: Figures, rows: list[str], column: str) -> tuple[list[float], str]:
    ratios = [figures[6, row, column] for row in rows]
    return ratios, ", ".join(f"{ratio:.2f} at {row}" for row, ratio in zip(rows, ratios, strict=True))


def _dense(figures: Figures) -> tuple[Judgement, str]:
    ratios, text = _ratios(figures, [DENSE], RATIO)
    return _if(max(ratios) < 1), f"dynamic INT8 takes this share of float ONNX's time: {text}"


def _convolved(figures: Figures) -> tuple[Judgement, str]:
    ratios, text = _ratios(figures, CONVOLVED, RATIO)
    found = crossover(figures)
    where = "" if found is None else f"; between the nets it would break even at a dense rate of {found:.0f} %"
    return _if(min(ratios) > 1), (
        f"dynamic INT8 takes this share of float ONNX's time: {text}{where}. How much slower depends on the net: "
        f"{figures[6, WIDE, RATIO]:.2f} with wide convolutions"
    )


def _open_problem(figures: Figures) -> tuple[Judgement, str]:
    ratios, text = _ratios(figures, list(TABLES[6].rows), STATIC_RATIO)
    return Judgement.NO_LONGER if max(ratios) < 1 else Judgement.HOLDS, (
        f"static INT8, calibrated, takes this share of float ONNX's time: {text}"
    )


def crossover(figures: Figures) -> float | None:
    """Return the dense rate, in per cent, at which dynamic INT8 takes as long as float, between two of the nets.

    Raises:
        NotMeasured: a figure is missing.
    """
    points = [(figures[6, row, RATE], figures[6, row, RATIO]) for row in (DENSE, *CONVOLVED)]
    for (rate, ratio), (other_rate, other_ratio) in pairwise(points):
        if (ratio - 1) * (other_ratio - 1) < 0:
            return rate + (other_rate - rate) * (1 - ratio) / (other_ratio - ratio)
    return None


def _memory(figures: Figures) -> tuple[Judgement, str]:
    texts, seen, kept = [], [], []
    for net, (_, table) in NETS.items():
        traced, real = (
            {column: figures[table, row, column] for column in (H5, ONNX, INT8)} for row in (TRACED, RUNNING)
        )
        texts.append(
            f"{net}: INT8 keeps {100 * traced[INT8] / traced[H5]:.0f} % of the .h5's by tracemalloc; of the process's peak "
            f"{100 * real[INT8] / real[H5]:.0f} %, and {100 * real[INT8] / real[ONNX]:.0f} % of float ONNX's"
        )
        seen += [traced[column] / real[column] for column in (H5, INT8)]
        kept.append(real[INT8] / real[H5])
    text = f"{'; '.join(texts)}. tracemalloc sees at most {100 * max(seen):.2f} % of the peak: Python's objects, not the inference"
    if max(seen) < 0.1:
        return Judgement.OTHER, text
    return _if(all(100 * share <= MEMORY_LEAVES for share in kept)), text


def _quantize_layer(figures: Figures) -> tuple[Judgement, str]:
    first = figures.operators_of("cnn-1", TFLITE_INT8)[0]
    return _if(
        first == "QUANTIZE"
    ), f"the INT8 graph starts with {first}: where inputs are INT8 themselves, none is needed"


def _integer_operators(figures: Figures) -> tuple[Judgement, str]:
    texts, holds = [], True
    wanted = {
        "cnn-1": ("DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "Cast", "Mul"),
        "dnn": ("DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul"),
    }
    for model, names in wanted.items():
        operators = list(figures.operators_of(model, INT8))
        texts.append(f"{model}: " + ", ".join(f"{operators.count(name)} {name}" for name in names))
        holds = holds and all(name in operators for name in names)
    return _if(holds), "; ".join(texts)


CLAIMS = (
    Claim("Sizes of h5, ONNX and INT8 are as 100 : 33 : 8.", "Tables 2 and 3", _shares),
    Claim("Conversion to ONNX makes a model smaller.", "Tables 2 and 3", _conversion),
    Claim("Quantization alone leaves about 25 %.", "Tables 2 and 3", _quarter),
    Claim("Accuracy moves by about 1 % or less.", "Table 4", _accuracy),
    Claim("ONNX INT8 is faster than TFLite INT8.", "Table 5", _tflite),
    Claim("ONNX is many times faster than Keras.", "Table 6", _keras),
    Claim("INT8 dense nets run faster.", "Table 6", _dense),
    Claim("Nets with convolutions run slower after dynamic quantization.", "Table 6", _convolved),
    Claim("That is an open problem: INT8 does not make nets with convolutions faster.", "Table 6", _open_problem),
    Claim("Memory per inference falls to 10-12.5 %.", "Tables 7 and 8", _memory),
    Claim("The quantized TFLite graph has a Quantize layer at its input.", "Figure 2", _quantize_layer),
    Claim(
        "After quantization there are DynamicQuantizeLinear, MatMulInteger and ConvInteger, whose result passes a Cast and a Mul.",
        "Figures 3 and 4",
        _integer_operators,
    ),
)
