"""What the bytes are, beside the float model's, and which tensors would bring them under the limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from pytest_onnxlite.checks.check import Case
from pytest_onnxlite.checks.size.measurement import Size, SizeEvidence
from pytest_onnxlite.checks.verdict import BASELINE, LIMIT, Explanation
from pytest_onnxlite.lint import summarize
from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.loading import load_model
from pytest_onnxlite.lint.model_index import FLOATS, ModelIndex
from pytest_onnxlite.lint.protobuf import graphs
from pytest_onnxlite.lint.summary import FloatLeft
from pytest_onnxlite.text import size_text
from pytest_onnxlite.variants.external import size_of

# A quantized weight is a quarter of its float form.
_SAVED = 0.75
_MOST_TENSORS = 5


@dataclass(frozen=True)
class Bytes:
    """The bytes of a model by kind.

    Attributes:
        int8: tensors of 8-bit integers that are read.
        floats: float tensors that are read, scales not among them.
        scales: scales and zero points.
        other: integers of other widths: biases, shapes, indices.
        unread: tensors that the file holds and nothing reads.
        notes: what exporters write beside nodes and values, and no runtime reads: source lines, stack traces.
        graph: what is left of the files: nodes, names, the model's own metadata.
        waste: bytes of files of external data that no tensor refers to; they are not counted in the size.
    """

    int8: int
    floats: int
    scales: int
    other: int
    unread: int
    notes: int
    graph: int
    waste: int

    @property
    def total(self) -> int:
        """The size that is judged."""
        return self.int8 + self.floats + self.scales + self.other + self.unread + self.notes + self.graph


@dataclass(frozen=True)
class Unread:
    """A tensor that nothing reads."""

    tensor: str
    bytes: int


@dataclass(frozen=True)
class Grown:
    """A tensor that is larger than in the last release, or that was not there: 0 bytes."""

    tensor: str
    bytes: int
    previous: int

    @property
    def change(self) -> int:
        """How many bytes it grew by."""
        return self.bytes - self.previous


def count_bytes(path: Path) -> tuple[Bytes, list[Unread]]:
    """Return the bytes of an ONNX model by kind, and the tensors that nothing reads, the largest first."""
    loaded = load_model(path)
    size, waste = size_of(path)
    if loaded.model is None:
        return Bytes(0, 0, 0, 0, 0, 0, size, waste), []
    index = ModelIndex(loaded)
    context = Context(index, None, ())
    parameters = {q.scale for q in context.quantized_tensors.all} | {
        q.zero_point for q in context.quantized_tensors.all
    }
    kinds: dict[str, int] = defaultdict(int)
    unread: list[Unread] = []
    ranges: set[tuple[str, int, int]] = set()
    for constant in index.constants:
        tensor = constant.tensor
        if isinstance(tensor, ir.ExternalTensor):
            key = (str(tensor.path), tensor.offset or 0, tensor.nbytes)
            if key in ranges:
                continue
            ranges.add(key)
        if not constant.used:
            kinds["unread"] += tensor.nbytes
            unread.append(Unread(constant.where, tensor.nbytes))
        elif constant.value in parameters:
            kinds["scales"] += tensor.nbytes
        elif tensor.dtype in (ir.DataType.INT8, ir.DataType.UINT8):
            kinds["int8"] += tensor.nbytes
        elif tensor.dtype in FLOATS:
            kinds["floats"] += tensor.nbytes
        else:
            kinds["other"] += tensor.nbytes
    kinds["notes"] = _notes(loaded.proto)
    names = ("int8", "floats", "scales", "other", "unread", "notes")
    counted = {name: kinds[name] for name in names}
    graph = size - sum(counted.values())
    unread.sort(key=lambda entry: (-entry.bytes, entry.tensor))
    return Bytes(**counted, graph=max(graph, 0), waste=waste), unread


def _notes(proto: onnx.ModelProto) -> int:
    """Return the bytes of the text that no runtime reads: not of the model's own metadata, which its users may."""
    noted: list[Any] = []
    for graph in graphs(proto.graph):
        noted += [graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info]
    for function in proto.functions:
        noted += [function, *function.node, *function.value_info]
    # Each is a field of its own: a tag, and its length.
    texts = [entry.ByteSize() for thing in noted for entry in thing.metadata_props]
    texts += [len(thing.doc_string.encode()) for thing in noted if thing.doc_string]
    return sum(size + 2 + (size > 127) for size in texts)


def explain_size(case: Case[Size]) -> Explanation:
    """Explain a file that is too large."""
    path = case.task.variant.path
    if path.suffix != ".onnx":
        return Explanation(f"{path.name} is no ONNX file: its bytes are not told apart.")
    found, unread = count_bytes(path)
    left = summarize(path, excluded=case.task.builder.excluded(case.task.variant.kind)).float_left
    reference = _reference(case)
    before = count_bytes(reference)[0] if reference is not None else None
    excess = _excess(case)
    cure, saved = tensors_to_shrink(left, unread, excess)
    data: dict[str, Any] = {
        "bytes": asdict(found),
        "reference_bytes": asdict(before) if before else None,
        "unread": [asdict(entry) for entry in unread[:_MOST_TENSORS]],
        "float_left": [asdict(entry) for entry in left],
        "excess": excess,
        "cure": cure,
        "cure_saves": saved,
    }
    grown = _grown(path, case.task.last_file) if case.verdict.against == BASELINE and case.task.last_file else []
    data["grown"] = [asdict(entry) for entry in grown]
    why = _why(found, before, left, unread, excess, grown)
    lines = [_kinds_line(found, before, _name(case))]
    if cure:
        enough = (
            "brings it under the limit" if saved >= excess else f"is not enough: {size_text(excess - saved)} remain"
        )
        lines.append(f"Quantizing or removing {', '.join(cure)} saves {size_text(saved)}, which {enough}.")
    return Explanation(why, tuple(lines), data)


def _reference(case: Case[Size]) -> Path | None:
    if case.verdict.against == BASELINE:
        return (
            case.task.last_file if case.task.last_file is not None and case.task.last_file.suffix == ".onnx" else None
        )
    made_from = case.task.builder.made_from(case.task.variant.kind)
    return made_from.path if made_from is not None and made_from.path.suffix == ".onnx" else None


def _name(case: Case[Size]) -> str:
    return "the last release" if case.verdict.against == BASELINE else f"the {case.found.reference} variant"


def _excess(case: Case[Size]) -> int:
    """Return how many bytes are too many."""
    evidence, found = case.verdict.evidence, case.found
    assert isinstance(evidence, SizeEvidence)
    if case.verdict.against == BASELINE:
        most = (evidence.saved or 0) * (1 + case.task.limit.tolerance)
    elif case.verdict.against == LIMIT:
        most = evidence.budget or 0
    else:
        most = (evidence.most or 0.0) * (found.reference_bytes or 0)
    return max(0, int(found.bytes - most))


def tensors_to_shrink(left: Sequence[FloatLeft], unread: Sequence[Unread], excess: int) -> tuple[list[str], int]:
    """Choose the fewest tensors that save what is too much: unread ones go whole, float ones shrink to a quarter.

    Returns:
        Their names, and the bytes that they save; fewer than asked for where all of them are not enough.
    """
    choices = [(entry.bytes, entry.tensor) for entry in unread]
    choices += [(int(entry.bytes * _SAVED), entry.tensor) for entry in left if _can_shrink(entry)]
    chosen: list[str] = []
    saved = 0
    for size, name in sorted(choices, key=lambda entry: (-entry[0], entry[1])):
        if saved >= excess or len(chosen) == _MOST_TENSORS:
            break
        chosen.append(name)
        saved += size
    return chosen, saved


def _can_shrink(entry: FloatLeft) -> bool:
    return "is not a weight" not in entry.reason and "stay float" not in entry.reason


def _grown(path: Path, previous: Path) -> list[Grown]:
    """Return the tensors that are new or larger since the last release, what grew most first."""
    if previous.suffix != ".onnx":
        return []
    now, was = _tensors(path), _tensors(previous)
    growth = [Grown(name, size, was.get(name, 0)) for name, size in now.items() if size > was.get(name, 0)]
    return sorted(growth, key=lambda entry: (-entry.change, entry.tensor))[:_MOST_TENSORS]


def _tensors(path: Path) -> dict[str, int]:
    loaded = load_model(path)
    if loaded.model is None:
        return {}
    return {constant.where: constant.tensor.nbytes for constant in ModelIndex(loaded).constants}


def _why(
    found: Bytes,
    before: Bytes | None,
    left: Sequence[FloatLeft],
    unread: Sequence[Unread],
    excess: int,
    grown: Sequence[Grown],
) -> str:
    largest = next((entry for entry in left if _can_shrink(entry)), None)
    if unread and unread[0].bytes >= max(excess / 2, (largest.bytes * _SAVED if largest else 0)):
        more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
        return (
            f"{unread[0].tensor} ({size_text(unread[0].bytes)}){more} is unused: a copy that was "
            "left behind. Remove it."
        )
    if found.notes >= max(excess / 2, (largest.bytes * _SAVED if largest else 0)):
        return (
            f"notes of the exporter's take {size_text(found.notes)} of {size_text(found.total)}: source lines and stack traces "
            "beside the nodes, which no runtime reads. Remove them from the float model: for each node of model.graph.node, "
            'node.ClearField("metadata_props") and node.ClearField("doc_string").'
        )
    if grown and grown[0].change >= excess / 2:
        first = grown[0]
        if not first.previous:
            reason = next((f": it is in float, {entry.reason}" for entry in left if entry.tensor == first.tensor), "")
            return f"{first.tensor} ({size_text(first.bytes)}) is new since the last release{reason}."
        return f"{first.tensor} grew from {size_text(first.previous)} in the last release to {size_text(first.bytes)}."
    if largest is not None and largest.bytes * _SAVED >= excess / 4:
        return f"{largest.tensor} ({size_text(largest.bytes)}, read by {largest.node}) is in float: {largest.reason}."
    parts = {"the graph itself": found.graph, "scales and zero points": found.scales, "float tensors": found.floats}
    parts |= {"8-bit weights": found.int8, "other integers": found.other}
    if before is not None and largest is None:
        beside = {"the graph itself": before.graph, "scales and zero points": before.scales}
        name, growth = max(((name, parts[name] - was) for name, was in beside.items()), key=lambda entry: entry[1])
        if growth >= excess / 2:
            verb = "takes" if name == "the graph itself" else "take"
            return (
                f"no weight is left to quantize, and {name} {verb} {size_text(parts[name])}, {size_text(growth)} more than "
                "before: what quantizing adds weighs much where weights are few. Raise ratio=, or try another recipe."
            )
    name, size = max(parts.items(), key=lambda entry: entry[1])
    return f"no single tensor does it: {name} take{'s' if name == 'the graph itself' else ''} {size_text(size)} of {size_text(found.total)}."


def _kinds_line(found: Bytes, before: Bytes | None, name: str) -> str:
    labels = {
        "int8": "8-bit integers",
        "floats": "float",
        "scales": "scales",
        "other": "other integers",
        "unread": "unread",
        "notes": "exporter's notes",
        "graph": "graph",
    }
    parts = []
    for field, label in labels.items():
        now, was = getattr(found, field), getattr(before, field) if before else 0
        if now or was:
            parts.append(f"{label} {size_text(now)}" + (f" ({size_text(was)})" if before else ""))
    beside = f" (in brackets: {name})" if before else ""
    return f"Bytes by kind{beside}: {', '.join(parts)}."
