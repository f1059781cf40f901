"""What the study published: the only figures that are typed in. And the tables in which ours are put beside them.

D. Chang, J. Lee, J. Heo, "Lightweight of ONNX using Quantization-based Model Compression", JIIBC 21(1), 2021,
doi 10.7236/JIIBC.2021.21.1.93.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TITLE = "Lightweight of ONNX using Quantization-based Model Compression"
AUTHORS = "D. Chang, J. Lee, J. Heo"
WHERE = "JIIBC 21(1), 2021"
DOI = "10.7236/JIIBC.2021.21.1.93"

# Row and column of a figure within its table.
Place = tuple[str, str]


@dataclass(frozen=True)
class Column:
    """A column of a table: what is measured, and how many decimals are shown."""

    name: str
    digits: int


@dataclass(frozen=True)
class Table:
    """One of the study's tables, with more rows and columns than it had where more is worth seeing.

    Attributes:
        number: the study's.
        title: what is measured.
        unit: of the figures.
        rows: their names.
        columns: their names and decimals.
        published: the study's figures, by row and column.
        method: how ours are measured, in a sentence or two.
    """

    number: int
    title: str
    unit: str
    rows: tuple[str, ...]
    columns: tuple[Column, ...]
    published: Mapping[Place, float] = field(default_factory=dict)
    method: str = ""

    @property
    def places(self) -> list[Place]:
        """Every cell, in reading order."""
        return [(row, column.name) for row in self.rows for column in self.columns]


H5, BARE, ONNX = "h5", "h5, no optimizer", "ONNX"
INT8, STATIC = "ONNX INT8", "ONNX INT8, static"
TFLITE, TFLITE_INT8 = "TFLite", "TFLite INT8"

SIZE = "size"
REPEATS = tuple(f"repeat {number}" for number in range(1, 6))
GUARD = "median of the guard"
PREDICT, COMPILED = "h5, model.predict", "h5, compiled"
RATIO, STATIC_RATIO = "ONNX INT8 / ONNX", "static / ONNX"
# Not of the study: to see whether what it found of convolutions is so of all.
WIDE = "wide convolutions"
RATE, PARAMETERS = "dense rate, %", "parameters, M"
TRACED, LOADING, RUNNING = "tracemalloc", "peak of the process, loading", "peak of the process, running"


def _columns(digits: int, *names: str) -> tuple[Column, ...]:
    return tuple(Column(name, digits) for name in names)


def _sizes(number: int, net: str, h5: float, onnx: float, int8: float) -> Table:
    return Table(
        number,
        f"size of the {net}",
        "MB (a million bytes)",
        (SIZE,),
        _columns(2, H5, BARE, ONNX, INT8, STATIC, TFLITE, TFLITE_INT8),
        {(SIZE, H5): h5, (SIZE, ONNX): onnx, (SIZE, INT8): int8},
        "Bytes of the files, as `onnxlite_size` counts them. The `.h5` is written after training, with the optimizer's state as "
        "the study wrote it, and without.",
    )


def _by_repeat(**columns: tuple[float, ...]) -> dict[Place, float]:
    names = {"h5": H5, "int8": INT8, "tflite_int8": TFLITE_INT8}
    return {
        (repeat, names[key]): figure
        for key, figures in columns.items()
        for repeat, figure in zip(REPEATS, figures, strict=True)
    }


# Seconds for 1,000 images: Keras, ONNX, ONNX INT8, by dense rate.
_TIMES = {
    "100 %": (22.55, 0.12, 0.04),
    "89 %": (24.17, 0.49, 0.84),
    "80 %": (24.12, 0.23, 0.81),
    "70 %": (26.81, 0.40, 1.15),
}
# The rows of Table 6, by the net that is measured for them.
TIME_ROW = {"dnn": "100 %", "dense-89": "89 %", "dense-80": "80 %", "dense-70": "70 %", "wide": WIDE}


def _by_rate() -> dict[Place, float]:
    found: dict[Place, float] = {}
    for row, (keras, onnx, int8) in _TIMES.items():
        figures = {RATE: float(row.removesuffix(" %")), PREDICT: keras, ONNX: onnx, INT8: int8, RATIO: int8 / onnx}
        found |= {(row, column): figure for column, figure in figures.items()}
    return found


def _memory(number: int, net: str, h5: float, int8: float) -> Table:
    return Table(
        number,
        f"memory per inference of the {net}",
        "KB (a thousand bytes)",
        (TRACED, LOADING, RUNNING),
        _columns(2, H5, ONNX, INT8, STATIC, TFLITE_INT8),
        {(TRACED, H5): h5, (TRACED, INT8): int8},
        "As the study read it: the peak that Python's `tracemalloc` sees around one inference, the mean of five. As it is: the "
        "peak of a fresh process that holds nothing but the runtime, above what stood before the model was loaded "
        "(`onnxlite_memory`); for Keras a process of its own, read in the same way.",
    )


TABLES = {
    table.number: table
    for table in (
        _sizes(2, "DNN", 24.00, 8.01, 2.00),
        _sizes(3, "CNN", 9.34, 3.10, 0.78),
        Table(
            4,
            "accuracy of the CNN on CIFAR-10",
            "% of the test images",
            REPEATS,
            _columns(1, H5, INT8, STATIC),
            _by_repeat(h5=(65.6, 63.9, 64.5, 65.2, 66.1), int8=(65.5, 63.3, 63.9, 65.1, 66.1)),
            "Right answers, one image at a time, as `onnxlite_accuracy(max_drop=0.01)` counts them; each repeat trains anew, "
            "with a seed of its own.",
        ),
        Table(
            5,
            "time of the CNN",
            "s / 1,000 images",
            (*REPEATS, GUARD),
            _columns(3, INT8, STATIC, TFLITE_INT8),
            _by_repeat(int8=(0.125, 0.126, 0.124, 0.124, 0.136), tflite_int8=(1.904, 2.006, 1.975, 2.028, 1.935)),
            "A repeat feeds 1,000 test images one at a time through `Variant.predict`, whose Python takes its share; the "
            "variants take turns. The guard's median is the time of one inference that `onnxlite_latency` finds, times 1,000.",
        ),
        Table(
            6,
            "time by the share of parameters in dense layers",
            "s / 1,000 images",
            tuple(TIME_ROW.values()),
            (
                Column(RATE, 1),
                Column(PARAMETERS, 2),
                *_columns(3, PREDICT, COMPILED, ONNX, INT8, STATIC),
                *_columns(2, RATIO, STATIC_RATIO),
            ),
            _by_rate(),
            "The nets below 100 % have the same four convolutions, of 32 and 64 channels, under dense layers of other widths; the "
            "wide one, which the study did not have, has convolutions of 64 and 128 channels. ONNX: the time of one inference that `onnxlite_latency` finds, times 1,000; the ratios are its paired ones, in "
            "which float and INT8 took turns. Keras: calls of `model.predict` with one image, and the same model as a compiled "
            "function.",
        ),
        _memory(7, "CNN", 8.60, 1.12),
        _memory(8, "DNN", 4.07, 0.42),
    )
}

# What it concluded, in per cent: what is left of the .h5 as ONNX and as INT8, of ONNX by quantization alone, of memory at
# most; and how much accuracy moves.
ONNX_LEAVES, INT8_LEAVES, QUANTIZATION_LEAVES, MEMORY_LEAVES = 33, 8, 25, 12.5
ACCURACY_MOVES = 1

# The tables of a net's size and of its memory.
SIZE_TABLE = {"dnn": 2, "cnn-1": 3}
MEMORY_TABLE = {"dnn": 8, "cnn-1": 7}

# What the study's figures draw; ours are lists of operators.
FIGURES = {
    1: "the CNN before and after conversion to ONNX",
    2: "the CNN in TFLite, float and INT8",
    3: "the CNN after quantization by ONNX Runtime",
    4: "the DNN after quantization by ONNX Runtime",
}
