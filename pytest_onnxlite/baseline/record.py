"""The content of a baseline file, and its check when it is read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pytest_onnxlite.errors import OnnxliteError

SCHEMA = 1


class BrokenBaseline(OnnxliteError):
    """A baseline that is there and cannot be used; it is never overwritten."""


@dataclass(frozen=True)
class Artefact:
    """The file that a baseline measured.

    Attributes:
        file: its name, in the artefact folder.
        sha256: the hash of its bytes.
        bytes: its size.
        kept: whether it was kept, so that its absence is a fault.
    """

    file: str
    sha256: str
    bytes: int
    kept: bool


@dataclass(frozen=True)
class Baseline:
    """One accepted release of one variant.

    Attributes:
        model: the model's name.
        variant: the variant's kind.
        artefact: the file that was measured.
        accuracy: `correct` or `value`, `total`, `batch_size`, `metric` and the evaluation data's `data_sha256`.
        size: `bytes`.
        graph: `signature` and `operators`.
        machines: by fingerprint, what depends on the machine: `description`, `latency`, `memory`.
        first: the first accepted figures: `accuracy`, `size`; and how `latency_ratio` and `memory_ratio`
            multiplied up since then.
    """

    model: str
    variant: str
    artefact: Artefact
    accuracy: dict[str, Any] | None = None
    size: dict[str, Any] | None = None
    graph: dict[str, Any] | None = None
    machines: dict[str, dict[str, Any]] = field(default_factory=dict)
    first: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the file's content; what was not measured is left out."""
        content = {k: v for k, v in asdict(self).items() if v is not None}
        return {"schema": SCHEMA, **content}

    @property
    def checks(self) -> tuple[str, ...]:
        """What it holds figures of, on whatever machine: `accuracy`, `size`, `latency`, `memory`, `graph`."""
        here = {name for section in self.machines.values() for name in section}
        held = {"accuracy": self.accuracy, "size": self.size, "graph": self.graph}
        return tuple(
            name for name in ("accuracy", "size", "latency", "memory", "graph") if held.get(name) or name in here
        )

    def only(self, checks: Collection[str]) -> Baseline:
        """Return it without the figures of all other checks."""
        wanted = {*checks, "description"}
        machines = {
            key: {name: value for name, value in section.items() if name in wanted}
            for key, section in self.machines.items()
            if wanted & set(section) != {"description"}
        }
        others = {name: None for name in ("accuracy", "size", "graph") if name not in wanted}
        return replace(self, machines=machines, **others)  # type: ignore[arg-type]

    def figures(self, machine: str) -> dict[str, Any]:
        """Return the figures for a report: what holds on every machine, and what was measured on this one."""
        here = self.machines.get(machine, {})
        return {
            "artefact": asdict(self.artefact),
            "accuracy": self.accuracy,
            "size": self.size,
            "latency": here.get("latency"),
            "memory": here.get("memory"),
            "first": self.first,
        }


_SECTIONS: dict[str, tuple[tuple[str, type], ...]] = {
    "artefact": (("file", str), ("sha256", str), ("bytes", int), ("kept", bool)),
    "accuracy": (
        ("total", int),
        ("batch_size", int),
        ("metric", str),
        ("data_sha256", str),
    ),
    "size": (("bytes", int),),
    "graph": (("signature", dict), ("operators", dict)),
}


def parse(content: Any, model: str, variant: str, where: str) -> Baseline:
    """Check the content of a baseline file.

    Args:
        content: what the file's JSON holds.
        model: the model it must be of.
        variant: the variant it must be of.
        where: the file, for messages.

    Raises:
        BrokenBaseline: it is of another schema, model or variant, or a field is missing or of another type.
    """
    if not isinstance(content, dict) or "schema" not in content:
        raise BrokenBaseline(f"{where} is JSON, but no baseline: it has no 'schema'. {_RESTORE}")
    if content["schema"] != SCHEMA:
        raise BrokenBaseline(
            f"{where} has schema {content['schema']!r}; this version of pytest-onnxlite reads {SCHEMA}. "
            "Install the version that wrote it, or delete the file and save anew."
        )
    for name, wanted in (("model", model), ("variant", variant)):
        if content.get(name) != wanted:
            raise BrokenBaseline(
                f"{where} is the baseline of another {name}: expected {wanted!r}, found {content.get(name)!r}. "
                "Each model and variant has a file of its own; move this one back."
            )
    for section, fields in _SECTIONS.items():
        value = content.get(section)
        if value is None and section != "artefact":
            continue
        if not isinstance(value, dict):
            raise BrokenBaseline(f"{where}: {section!r} should be an object, found {value!r}. {_RESTORE}")
        for name, kind in fields:
            if not isinstance(value.get(name), kind) or (kind is int and isinstance(value[name], bool)):
                raise BrokenBaseline(
                    f"{where}: {section}.{name} should be of type {kind.__name__}, found {value.get(name)!r}. "
                    f"{_RESTORE}"
                )
    rated = content.get("accuracy")
    if rated is not None:
        name, kinds = ("value", (int, float)) if "value" in rated else ("correct", (int,))
        if not isinstance(rated.get(name), kinds) or isinstance(rated[name], bool):
            raise BrokenBaseline(f"{where}: accuracy.{name} should be a number, found {rated.get(name)!r}. {_RESTORE}")
    name = content["artefact"]["file"]
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        raise BrokenBaseline(f"{where}: artefact.file {name!r} leaves the folder of the baseline. {_RESTORE}")
    for section in ("machines", "first"):
        if not isinstance(content.get(section, {}), dict):
            raise BrokenBaseline(f"{where}: {section!r} should be an object. {_RESTORE}")
    return Baseline(
        model=model,
        variant=variant,
        artefact=Artefact(**{key: content["artefact"][key] for key, _ in _SECTIONS["artefact"]}),
        accuracy=content.get("accuracy"),
        size=content.get("size"),
        graph=content.get("graph"),
        machines=content.get("machines", {}),
        first=content.get("first", {}),
    )


_RESTORE = "Restore the file (git checkout), or delete it and save anew."
