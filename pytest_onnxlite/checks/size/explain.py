"""What the bytes are, compared with the float model's, and which tensors would bring them under the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_onnxlite.checks.size.contents import copies, count_bytes
from pytest_onnxlite.checks.size.measurement import Size, SizeEvidence
from pytest_onnxlite.checks.size.parts import Bytes, Copy, Unread
from pytest_onnxlite.checks.size.reasons import Grown, SizeReasons, details
from pytest_onnxlite.checks.task import Case
from pytest_onnxlite.checks.verdict import BASELINE, FIRST, LIMIT, Explanation
from pytest_onnxlite.lint import summarize
from pytest_onnxlite.lint.float_left import FloatLeft
from pytest_onnxlite.lint.loading import load_model
from pytest_onnxlite.lint.model_index import ModelIndex
from pytest_onnxlite.text import size_text

# A quantized weight is a quarter of its float form.
_SAVED = 0.75
_MOST_TENSORS = 5
GRAPH, SCALES = "the graph itself", "scales and zero points"


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
    twice = copies(path)
    kind = case.task.builder.kind(case.task.variant.kind)
    saves = 1 - kind.size_ratio if kind.quantized and kind.size_ratio else _SAVED
    whole = [*unread, *(Unread(entry.tensor, entry.bytes) for entry in twice)]
    cure, saved = tensors_to_shrink(left, whole, excess, saves)
    grown = _grown(path, case.task.last_file) if case.verdict.against == BASELINE and case.task.last_file else []
    reasons = SizeReasons(
        bytes=found,
        reference_bytes=before,
        reference=_name(case) if before is not None else "",
        unread=tuple(unread[:_MOST_TENSORS]),
        copies=tuple(twice[:_MOST_TENSORS]),
        float_left=tuple(left),
        excess=excess,
        cure=tuple(cure),
        cure_saves=saved,
        grown=tuple(grown),
    )
    since = case.verdict.against == BASELINE
    unneeded = 0 if case.found.reach is None else case.found.bytes - case.found.reach
    why = _why(_Facts(found, before, left, unread, twice, excess, grown, since, max(0, unneeded)))
    lines = []
    if cure:
        enough = (
            "brings it under the limit" if saved >= excess else f"is not enough: {size_text(excess - saved)} remain"
        )
        lines.append(f"Quantizing or removing {', '.join(cure)} saves {size_text(saved)}, which {enough}.")
    return Explanation(why, tuple(lines), reasons, details(reasons))


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
    elif case.verdict.against in (FIRST, LIMIT):
        most = evidence.budget or 0
    else:
        most = (evidence.most or 0.0) * (found.reference_bytes or 0)
    return max(0, int(found.bytes - most))


def tensors_to_shrink(
    left: Sequence[FloatLeft], unread: Sequence[Unread], excess: int, saves: float = _SAVED
) -> tuple[list[str], int]:
    """Choose the fewest tensors that save what is too much: unread ones go whole, float ones shrink by the share `saves`.

    Returns:
        Their names, and the bytes that they save; fewer than asked for where all of them are not enough.
    """
    choices = [(entry.bytes, entry.tensor) for entry in unread]
    choices += [(int(entry.bytes * saves), entry.tensor) for entry in left if _can_shrink(entry)]
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


@dataclass(frozen=True)
class _Facts:
    """What is known of a file that is too large, or of one that is not: `excess` is 0.

    Attributes:
        since_last: whether it is compared with the last release.
        unneeded: the bytes that are more than quantization can reach.
    """

    found: Bytes
    before: Bytes | None
    left: Sequence[FloatLeft]
    unread: Sequence[Unread]
    copies: Sequence[Copy]
    excess: int
    grown: Sequence[Grown]
    since_last: bool
    unneeded: int

    @property
    def largest(self) -> FloatLeft | None:
        """The largest tensor that quantizing would shrink."""
        return next((entry for entry in self.left if _can_shrink(entry)), None)

    @property
    def enough(self) -> float:
        """The bytes from which on something is the cause: half of what is too much, and more than what quantizing would save."""
        return max(self.excess / 2, self.largest.bytes * _SAVED if self.largest else 0.0, 1.0)


def _why(facts: _Facts) -> str:
    if facts.excess <= 0:
        return f"nothing is too large: {_parts_text(facts.found)}."
    return _waste_text(facts) or _growth_text(facts) or _float_text(facts) or _kinds_text(facts)


def _waste_text(facts: _Facts) -> str:
    """Name bytes that are stored for nothing."""
    found, unread, twice = facts.found, facts.unread, facts.copies
    if unread and unread[0].bytes >= facts.enough:
        more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
        return (
            f"{unread[0].tensor} ({size_text(unread[0].bytes)}){more} is unused: a copy that was "
            "left behind. Remove it."
        )
    total = sum(entry.bytes for entry in twice)
    if twice and total >= facts.enough:
        more = f", and {len(twice) - 1} more like it" if len(twice) > 1 else ""
        return (
            f"{twice[0].tensor} ({size_text(twice[0].bytes)}) holds the values of {twice[0].of}: a weight is stored twice{more}, "
            f"{size_text(total)} in all. Let its readers share one initializer in the float model."
        )
    if found.notes >= facts.enough:
        return (
            f"notes of the exporter's take {size_text(found.notes)} of {size_text(found.total)}: source lines and stack traces "
            "next to the nodes, which no runtime reads. Remove them from the float model: for each node of model.graph.node, "
            'node.ClearField("metadata_props") and node.ClearField("doc_string").'
        )
    return ""


def _growth_text(facts: _Facts) -> str:
    """Name what grew since the last release."""
    if not facts.grown:
        return ""
    first = facts.grown[0]
    if first.change >= facts.excess / 2:
        if not first.previous:
            reason = next(
                (f": it is in float, {entry.reason}" for entry in facts.left if entry.tensor == first.tensor), ""
            )
            return f"{first.tensor} ({size_text(first.bytes)}) is new since the last release{reason}."
        return f"{first.tensor} grew from {size_text(first.previous)} in the last release to {size_text(first.bytes)}."
    total = sum(entry.change for entry in facts.grown)
    if total >= facts.excess / 2:
        named = ", ".join(f"{entry.tensor} (+{size_text(entry.change)})" for entry in facts.grown)
        return f"several tensors grew since the last release: {named}."
    return ""


def _float_text(facts: _Facts) -> str:
    largest = facts.largest
    if largest is None or largest.bytes * _SAVED < facts.excess / 4:
        return ""
    return f"{largest.tensor} ({size_text(largest.bytes)}, read by {largest.node}) is in float: {largest.reason}."


def _kinds_text(facts: _Facts) -> str:
    """Say which kind of bytes it is, where no tensor does it alone."""
    found, before = facts.found, facts.before
    parts = _parts(found)
    if before is not None and facts.largest is None:
        was = _parts(before)
        growths = {name: parts[name] - was[name] for name in (parts if facts.since_last else (GRAPH, SCALES))}
        name, growth = max(growths.items(), key=lambda entry: entry[1])
        if growth >= facts.excess / 2 and facts.since_last:
            return f"{name} take{_s(name)} {size_text(parts[name])}, {size_text(growth)} more than in the last release."
        if growth >= facts.excess / 2:
            if facts.unneeded >= facts.excess / 2:
                return (
                    f"{name} take{_s(name)} {size_text(parts[name])}, {size_text(facts.unneeded)} more than quantizing adds: look at "
                    "names, metadata and shapes that were written into the file, with netron or onnx.load(...)."
                )
            return (
                f"no weight is left to quantize, and {name} take{_s(name)} {size_text(parts[name])}, {size_text(growth)} more "
                "than before: what quantizing adds weighs much where weights are few. Take the ratio= that would pass, or "
                "leave it out: the limit then follows from the model."
            )
    return f"no single tensor does it: {_parts_text(found)}."


def _parts(found: Bytes) -> dict[str, int]:
    return {
        GRAPH: found.graph,
        SCALES: found.scales,
        "float tensors": found.floats,
        "8-bit weights": found.int8,
        "other integers": found.other,
    }


def _parts_text(found: Bytes) -> str:
    name, size = max(_parts(found).items(), key=lambda entry: entry[1])
    return f"{name} take{_s(name)} {size_text(size)} of {size_text(found.total)}"


def _s(name: str) -> str:
    return "s" if name == GRAPH else ""
