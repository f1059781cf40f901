"""The content of a baseline file, and its check when it is read."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import msgspec

from pytest_onnxlite import commands, jsontext
from pytest_onnxlite.baseline.accepted import Acceptance
from pytest_onnxlite.baseline.fingerprint import Machine
from pytest_onnxlite.baseline.shipped import ShippedRuntime
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.labels import ByName, labelled, unlabelled

SCHEMA = 1
# What stands in a file that is no check's section.
_ENVELOPE = ("schema", "model", "variant", "artefact", "runtime", "machines", "first", "tests", "accepted", "earlier")
_DESCRIPTION = "description"
_SUFFIX = re.compile(r"(\.[a-z0-9]{1,8})?")

# Beyond these nothing is a count of bytes or samples, a time or a ratio, and numbers of any length are read from JSON.
_MOST, _LARGEST = 2**53, 1e12
Positive = Annotated[int, msgspec.Meta(ge=1, le=_MOST)]
Count = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
Factor = Annotated[float, msgspec.Meta(gt=0, le=_LARGEST)]
S = TypeVar("S")


class BrokenBaseline(OnnxliteError):
    """A baseline that is there and cannot be used; it is never overwritten."""


class Artefact(msgspec.Struct, frozen=True):
    """The file that a baseline measured.

    Attributes:
        file: its name, in the artefact folder.
        sha256: the hash of its bytes.
        bytes: its size.
        kept: whether it was kept, so that its absence is a fault.
    """

    file: str
    sha256: str
    bytes: Count
    kept: bool


class EarlierRelease(msgspec.Struct, frozen=True):
    """A release before the last one: what ratios to the first it had, so that the same file has them if it comes back.

    Attributes:
        file: the first 16 digits of the SHA-256 of its file.
        ratios: by the checks' keys of the first release.
    """

    file: str
    ratios: Mapping[str, Factor]


class KeptFile(msgspec.Struct, frozen=True):
    """A data file that a check keeps next to the last release's file.

    Attributes:
        file: its name, which is made here: kind, check, and the beginning of the hash.
        sha256: the hash of its bytes.
        bytes: its size.
    """

    file: str
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    bytes: Count

    @staticmethod
    def name(variant: str, check: str, sha256: str, suffix: str) -> str:
        """Return the name of such a file."""
        return f"{variant}-{check}-{sha256[:16]}{suffix}"

    def is_of(self, variant: str, check: str) -> bool:
        """Tell whether the name is one that is made here: no other is ever read or removed."""
        start = self.name(variant, check, self.sha256, "")
        return self.file.startswith(start) and _SUFFIX.fullmatch(self.file[len(start) :]) is not None


class Sections(Protocol):
    """What reading a baseline needs to know of a check."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def section(self) -> Any:
        """The type of its section."""

    @property
    def first(self) -> Any:
        """The type of what it keeps of the first release."""

    @property
    def first_key(self) -> str:
        """Where that stands."""

    @property
    def per_machine(self) -> bool:
        """Whether its section depends on the machine."""

    def contradiction(self, section: Any, artefact: Artefact) -> str:
        """Say how a section contradicts the file that was measured."""

    def kept(self, section: Any) -> KeptFile | None:
        """Return the data file that a section names."""


@dataclass(frozen=True)
class OnMachine:
    """What depends on a machine: its description, and sections by check."""

    description: Machine
    sections: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """One accepted release of one variant.

    Attributes:
        model: the model's name.
        variant: the variant's kind.
        artefact: the file that was measured.
        sections: what each check keeps, by its name; of a check that nobody registered as JSON data.
        machines: by fingerprint, what depends on the machine.
        first: what checks keep of the first release, by their keys.
        tests: by id, the tests that guard it, each with its checks; none in what earlier versions saved.
        runtime: what the release was accepted with; None in a baseline of a version that did not keep it.
        accepted: what releases were accepted with although they broke limits, the oldest first.
        label: the label of the marker that looks at it, see `of_label`; in no file.
        earlier: the releases before the last one whose ratios to the first are known, the oldest first.
    """

    model: str
    variant: str
    artefact: Artefact
    sections: Mapping[str, object] = field(default_factory=dict)
    machines: Mapping[str, OnMachine] = field(default_factory=dict)
    first: Mapping[str, object] = field(default_factory=dict)
    tests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    runtime: ShippedRuntime | None = None
    accepted: tuple[Acceptance, ...] = ()
    earlier: tuple[EarlierRelease, ...] = ()
    label: str = ""

    def of_label(self, check: str, first_key: str, label: str) -> Baseline:
        """Return it as one marker of a check sees it: with what was saved under its label, and nothing of other labels."""

        def own(content: Mapping[str, S], name: str) -> dict[str, S]:
            wanted = labelled(name, label)
            others = {key: value for key, value in content.items() if unlabelled(key) != name}
            return {**others, name: content[wanted]} if wanted in content else others

        machines = {key: replace(found, sections=own(found.sections, check)) for key, found in self.machines.items()}
        first = own(self.first, first_key)
        earlier = tuple(EarlierRelease(one.file, own(one.ratios, first_key)) for one in self.earlier)
        sections = own(self.sections, check)
        return replace(self, sections=sections, machines=machines, first=first, earlier=earlier, label=label)

    def section(self, kind: type[S], machine: str = "") -> S | None:
        """Return the section of a type, on a machine where one is named; None if there is none."""
        sections = self.machines[machine].sections if machine in self.machines else {} if machine else self.sections
        return next((found for found in sections.values() if isinstance(found, kind)), None)

    def sections_alike(self, kind: type[S], machine: Machine) -> list[S]:
        """Return the sections of a type that were saved on machines of a kind.

        Those that were saved with the release's own runtime, if there are any; else all.
        """
        found = [
            (on.description.runtime_version, section)
            for on in self.machines.values()
            if machine.is_like(on.description)
            for section in on.sections.values()
            if isinstance(section, kind)
        ]
        own = [section for version, section in found if self.runtime is not None and version == self.runtime.version]
        return own or [section for _, section in found]

    def first_of(self, key: str, kind: type[S]) -> S | None:
        """Return what stands under a key about the first release, if it is of a type."""
        found = self.first.get(key)
        return found if isinstance(found, kind) else None

    def sum_of(self, key: str, file: str) -> float | None:
        """Return the ratio to the first release that a file had when it was released; None for one that never was.

        Args:
            key: the check's, of the first release.
            file: the file's SHA-256.
        """
        if file and file == self.artefact.sha256:
            return self.first_of(key, float)
        own = [one.ratios[key] for one in self.earlier if file and one.file == file[:16] and key in one.ratios]
        return own[-1] if own else None

    @property
    def checks(self) -> tuple[str, ...]:
        """The names of the checks that it holds figures of, on whatever machine."""
        here = (name for machine in self.machines.values() for name in machine.sections)
        return tuple(dict.fromkeys([*self.sections, *here]))

    def all_sections(self) -> Iterator[tuple[str, object]]:
        """Yield every section with the name of its check: those that no machine matters to, then each machine's."""
        yield from self.sections.items()
        for machine in self.machines.values():
            yield from machine.sections.items()

    def only(self, checks: Collection[str]) -> Baseline:
        """Return it without the figures of all other checks."""

        def kept(sections: Mapping[str, object]) -> dict[str, object]:
            return {name: section for name, section in sections.items() if name in checks}

        machines = {key: OnMachine(found.description, kept(found.sections)) for key, found in self.machines.items()}
        machines = {key: found for key, found in machines.items() if found.sections}
        return replace(self, sections=kept(self.sections), machines=machines)

    def as_dict(self) -> dict[str, object]:
        """Return the file's content as JSON data."""
        machines = {
            key: {_DESCRIPTION: found.description, **found.sections} for key, found in sorted(self.machines.items())
        }
        content = {
            "schema": SCHEMA,
            "model": self.model,
            "variant": self.variant,
            "artefact": self.artefact,
            **({} if self.runtime is None else {"runtime": self.runtime}),
            **self.sections,
            "machines": machines,
            "first": self.first,
            **({"tests": self.tests} if self.tests else {}),
            **({"accepted": self.accepted} if self.accepted else {}),
            **({"earlier": self.earlier} if self.earlier else {}),
        }
        plain: dict[str, object] = msgspec.to_builtins(content)
        return plain


def _restore(where: str) -> str:
    """Say how a baseline comes back; of one out of git's history nothing, which is no file."""
    is_file = Path(where).is_file()
    return f" Restore the file ({commands.restore(where)}), or delete it and save anew." if is_file else ""


def decode(text: bytes, where: str) -> object:
    """Return the JSON of a file; NaN, infinity and numbers beyond what a float holds are none.

    Raises:
        BrokenBaseline: it is none.
    """
    try:
        return jsontext.decode(text.decode("utf-8"))
    except UnicodeDecodeError:
        raise BrokenBaseline(f"{where} cannot be read: it is not UTF-8 text.{_restore(where)}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise BrokenBaseline(
            f"{where} is not JSON ({error}): it is truncated, holds merge conflict marks, or a figure that is no number."
            f"{_restore(where)}"
        ) from None


class _Reader:
    """Reads the parts of one file; what is wrong is told with the file and the field."""

    def __init__(self, where: str, checks: ByName[Sections]) -> None:
        self._where = where
        self._checks = checks

    def fail(self, text: str) -> BrokenBaseline:
        return BrokenBaseline(f"{self._where}: {text}{_restore(self._where)}")

    def part(self, value: object, kind: Any, name: str) -> Any:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$")
            raise self.fail(f"{name}{place.rstrip('`')}: {reason[:1].lower()}{reason[1:]}.") from None

    def table(self, content: Mapping[str, object], name: str) -> Mapping[str, object]:
        value = content.get(name, {})
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise self.fail(f"{name!r} should be an object.")
        return value

    def sections(self, content: Mapping[str, object], place: str, per_machine: bool) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, value in content.items():
            check = self._checks.get(name)
            if value is None:
                continue
            if check is None:
                found[name] = value
            elif check.per_machine is not per_machine:
                raise self.fail(f"{place}{name} stands in the wrong place.")
            else:
                found[name] = self.part(value, check.section, f"{place}{name}")
        return found

    def first(self, content: Mapping[str, object]) -> dict[str, object]:
        kinds = ByName({check.first_key: check.first for check in self._checks.values() if check.first is not None})
        return {
            key: value if (kind := kinds.get(key)) is None else self.part(value, kind, f"first.{key}")
            for key, value in self.table(content, "first").items()
        }

    def machines(self, content: Mapping[str, object]) -> dict[str, OnMachine]:
        found = {}
        for key, value in self.table(content, "machines").items():
            if not isinstance(value, dict):
                raise self.fail(f"'machines.{key}' should be an object, found {value!r}.")
            description = self.part(value.get(_DESCRIPTION, {}), Machine, f"machines.{key}.{_DESCRIPTION}")
            rest = {name: section for name, section in value.items() if name != _DESCRIPTION}
            found[key] = OnMachine(description, self.sections(rest, f"machines.{key}.", per_machine=True))
        return found


def parse(content: object, model: str, variant: str, where: str, checks: ByName[Sections]) -> Baseline:
    """Check the content of a baseline file.

    Args:
        content: what the file's JSON holds.
        model: the model it must be of.
        variant: the variant it must be of.
        where: the file, for messages.
        checks: the checks by name.

    Raises:
        BrokenBaseline: it is of another schema, model or variant, or a field is missing, of another type, or a figure that
            cannot be.
    """
    if not isinstance(content, dict) or "schema" not in content:
        raise BrokenBaseline(f"{where} is JSON, but no baseline: it has no 'schema'.{_restore(where)}")
    if content["schema"] != SCHEMA or isinstance(content["schema"], bool):  # to Python, True is 1
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
    read = _Reader(where, checks)
    if not isinstance(content.get("artefact"), dict):
        raise read.fail(f"'artefact' should be an object, found {content.get('artefact')!r}.")
    artefact: Artefact = read.part(content["artefact"], Artefact, "artefact")
    if not is_plain(artefact.file):
        raise read.fail(f"artefact.file {artefact.file!r} leaves the folder of the baseline, or is no file's name.")
    rest = {name: value for name, value in content.items() if name not in _ENVELOPE}
    baseline = Baseline(
        model,
        variant,
        artefact,
        read.sections(rest, "", per_machine=False),
        read.machines(content),
        read.first(content),
        read.part(content.get("tests", {}), dict[str, tuple[str, ...]], "tests"),
        read.part(content["runtime"], ShippedRuntime, "runtime") if content.get("runtime") is not None else None,
        read.part(content.get("accepted", ()), tuple[Acceptance, ...], "accepted"),
        read.part(content.get("earlier", ()), tuple[EarlierRelease, ...], "earlier"),
    )
    for name, section in baseline.sections.items():
        check = checks.get(name)
        contradiction = check.contradiction(section, artefact) if check is not None else ""
        if contradiction:
            raise read.fail(contradiction)
    for name, section in baseline.all_sections():
        check = checks.get(name)
        kept = check.kept(section) if check is not None else None
        if kept is not None and not kept.is_of(variant, unlabelled(name)):
            raise read.fail(f"{name} names the data file {kept.file!r}, which is no name of a file of this check.")
    return baseline


def is_plain(name: str) -> bool:
    """Tell whether a text is the name of a file in a folder."""
    return name not in ("", ".", "..") and len(name) < 256 and not any(c in "/\\\0" or ord(c) < 32 for c in name)
