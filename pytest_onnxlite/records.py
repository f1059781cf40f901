"""What guarded tests recorded: typed here, and JSON data in reports, in bundles and between pytest-xdist's processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import msgspec

from pytest_onnxlite.baseline.accepted import Acceptance
from pytest_onnxlite.baseline.fingerprint import Machine, host_name
from pytest_onnxlite.baseline.record import Artefact
from pytest_onnxlite.baseline.runtime import machine_here, runtime_change
from pytest_onnxlite.baseline.shipped import ShippedRuntime
from pytest_onnxlite.checks.check import Check
from pytest_onnxlite.checks.limit import Limit
from pytest_onnxlite.checks.verdict import Explanation, Verdict
from pytest_onnxlite.commands import with_options
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.labels import ByName

Checks = ByName[Check[Any, Any]]


@dataclass(frozen=True)
class JudgedFile:
    """The file that was judged: path, hash, bytes; empty for something that is called."""

    path: str = ""
    sha256: str = ""
    bytes: int = 0


@dataclass(frozen=True)
class JudgedOn:
    """A machine that a test ran on: its name in the network, and what it is for what ran the variant."""

    host: str
    machine: Machine

    @property
    def text(self) -> str:
        """The machine for a person: `gpu-box (Intel(R) Xeon(R), linux-x86_64-8cpu-…)`."""
        return f"{self.host} ({self.machine.cpu}, {self.machine.kind})"


@dataclass(frozen=True)
class Conditions:
    """What the spec says about how a variant is judged."""

    batch_size: int
    batched: bool
    threads: int
    metric: str
    samples: int | None
    output: str | None
    state: Mapping[str, str] = field(default_factory=dict)
    grows: tuple[str, ...] = ()


@dataclass(frozen=True)
class LastRelease:
    """What the baseline keeps, on a machine like this if it depends on it.

    Attributes:
        artefact: its file.
        sections: by check.
        first: by the checks' keys.
        runtime: what it shipped with; None where nobody knows.
        accepted: what releases were accepted with although they broke limits, the oldest first.
    """

    artefact: Artefact
    sections: Mapping[str, object] = field(default_factory=dict)
    first: Mapping[str, object] = field(default_factory=dict)
    runtime: ShippedRuntime | None = None
    accepted: tuple[Acceptance, ...] = ()

    @property
    def own_acceptance(self) -> Acceptance | None:
        """What the last release itself was accepted with; None where it broke no limit."""
        own = [one for one in self.accepted if one.file == self.artefact.sha256[:16]]
        return own[-1] if own else None


@dataclass(frozen=True)
class SaturationTrial:
    """What quantizing with portable weights came to: the recipe, the share of pairs left, and the metric's value."""

    recipe: str
    share: float
    accuracy: float


@dataclass(frozen=True)
class TensorShare:
    """A tensor and a share of it."""

    tensor: str
    share: float


@dataclass(frozen=True)
class Forecast:
    """What may differ on other processors.

    Attributes:
        text: for a person.
        share: of neighbouring weight pairs that can saturate; None if it could not be said.
        pairs: how many pairs there are.
        tensors: the worst.
        portable: what weights that saturate nowhere came to; None if that was not tried.
    """

    text: str
    share: float | None = None
    pairs: int = 0
    tensors: tuple[TensorShare, ...] = ()
    portable: SaturationTrial | None = None


@dataclass(frozen=True)
class Attempt:
    """A recipe that was tried.

    Attributes:
        recipe: as code.
        stopped_by: the limit that it does not keep, `build` if it cannot be built; empty if it keeps all.
        message: what that limit says.
        figures: by check, what was measured in a few words.
        accuracy: the metric's value, larger for better; None if it was not measured.
        bytes: the file's size, None if it was not built.
        least: the bytes that it has at least, if it was ruled out before it was built; else None.
    """

    recipe: str
    stopped_by: str
    message: str = ""
    figures: Mapping[str, str] = field(default_factory=dict)
    accuracy: float | None = None
    bytes: int | None = None
    least: float | None = None

    @property
    def was_ruled_out(self) -> bool:
        """Whether it was told that it cannot pass, without building it."""
        return self.least is not None


@dataclass(frozen=True)
class Suggestion:
    """A recipe that passes where the test's own fails, as code, or None; what was tried; and a text for a person."""

    text: str
    recipe: str | None = None
    tried: tuple[Attempt, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Record:
    """What was measured and decided about one variant by one test.

    Attributes:
        test: the test's id.
        model: the model's name.
        variant: the variant's kind.
        artefact: the file that was judged.
        conditions: how.
        limits: by check, with the marker's label if it has one, the marker's arguments.
        baseline: what the last release measured; None if there is none to look at.
        measured: by check, the measurement.
        verdicts: the verdicts.
        broken_baseline: why the baseline there is cannot be read; it is then not overwritten.
        recipe: how the variant was quantized here, and why so where the user did not say.
        forecast: what may differ on other processors; None if nothing may.
        suggestion: a recipe that passes, or that none was found; None if none was looked for.
        file: the test's file, relative to pytest's root folder.
        line: its line there.
        runtime: what runs the variant; None for one that its own library calls.
        judged_on: the machine that the test ran on, if it is not the one that the run was started on; else None.
    """

    test: str
    model: str
    variant: str
    artefact: JudgedFile
    conditions: Conditions
    limits: Mapping[str, Limit] = field(default_factory=dict)
    baseline: LastRelease | None = None
    measured: Mapping[str, object] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    broken_baseline: str | None = None
    recipe: str = ""
    forecast: Forecast | None = None
    suggestion: Suggestion | None = None
    file: str = ""
    line: int = 0
    runtime: ShippedRuntime | None = None
    judged_on: JudgedOn | None = None

    @property
    def runtime_change(self) -> str:
        """How the runtime differs from the last release's; empty if it does not, or nobody knows."""
        return runtime_change(self.baseline.runtime if self.baseline else None, self.runtime)

    @property
    def name(self) -> str:
        """Model and kind."""
        return f"{self.model} {self.variant}"

    @property
    def is_red(self) -> bool:
        """Whether its test fails of it."""
        return any(verdict.red for verdict in self.verdicts)


def expect(records: Sequence[Record], reason: str) -> list[Record]:
    """Note that a test's failure was expected, by pytest's `xfail`: nothing of it is red.

    Args:
        records: what the test recorded.
        reason: pytest's reason, possibly empty.
    """

    def expected(verdict: Verdict) -> Verdict:
        return replace(verdict, red=False, xfail=reason) if verdict.red else verdict

    return [replace(record, verdicts=tuple(map(expected, record.verdicts))) for record in records]


def this_machine(runtime: ShippedRuntime | None) -> JudgedOn:
    """Return what this machine is, for what a runtime runs."""
    return JudgedOn(host_name(), machine_here(runtime))


def without_this_machine(record: Record) -> Record:
    """Return a record that names a machine only if it is another one than this."""
    on = record.judged_on
    here = this_machine(record.runtime)
    is_here = on is not None and on.host == here.host and on.machine.is_like(here.machine)
    return replace(record, judged_on=None) if is_here else record


# -- to JSON data and back -----------------------------------------------------------------------------------


def to_data(record: Record) -> dict[str, Any]:
    """Return a record as JSON data."""
    data: dict[str, Any] = msgspec.to_builtins(record)
    for verdict in data["verdicts"]:
        verdict["evidence"] = verdict["evidence"] or {}
        explanation = verdict["explanation"]
        if explanation is not None:
            kept = {name: explanation[name] for name in _EXPLAINED if explanation[name] or name in ("why", "lines")}
            verdict["explanation"] = {**explanation["figures"], **kept}
    if record.baseline is not None:
        inner = data["baseline"]
        kept = {name: inner[name] for name in _NO_SECTIONS}
        data["baseline"] = {**inner["sections"], **kept}
    data["runtime_change"] = record.runtime_change
    return data


def from_data(data: object, checks: Checks) -> Record:
    """Return a record from JSON data; parts of a check that nobody registered stay data.

    Raises:
        OnnxliteError: it is no record.
    """
    try:
        return _Reader(checks).record(data)
    except (msgspec.ValidationError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise OnnxliteError(f"a record cannot be read ({type(error).__name__}: {error}).") from None


def with_commands(record: Record, options: Sequence[str]) -> Record:
    """Return a record whose verdicts suggest commands with these options."""
    verdicts = [
        replace(
            verdict,
            message=with_options(verdict.message, options),
            remarks=tuple(with_options(remark, options) for remark in verdict.remarks),
            keep=with_options(verdict.keep, options),
        )
        for verdict in record.verdicts
    ]
    return replace(record, verdicts=tuple(verdicts))


# What stands next to the checks' sections in what a report keeps of a baseline.
_NO_SECTIONS = ("artefact", "first", "runtime", "accepted")


class _Reader:
    """Reads records back, by what each check says about its parts."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks

    def record(self, data: Any) -> Record:
        texts = {name: data[name] for name in ("test", "model", "variant", "recipe", "file")}
        return Record(
            **msgspec.convert(texts, dict[str, str]),
            broken_baseline=msgspec.convert(data["broken_baseline"], str | None),
            line=msgspec.convert(data["line"], int),
            artefact=msgspec.convert(data["artefact"], JudgedFile),
            conditions=msgspec.convert(data["conditions"], Conditions),
            limits={name: self._limit(name, value) for name, value in data["limits"].items()},
            baseline=self._baseline(data["baseline"]),
            measured={name: self._found(name, value) for name, value in data["measured"].items()},
            verdicts=tuple(self._verdict(value) for value in data["verdicts"]),
            forecast=msgspec.convert(data.get("forecast"), Forecast | None),
            suggestion=msgspec.convert(data.get("suggestion"), Suggestion | None),
            runtime=msgspec.convert(data.get("runtime"), ShippedRuntime | None),
            judged_on=msgspec.convert(data.get("judged_on"), JudgedOn | None),
        )

    def _limit(self, name: str, value: Any) -> Limit:
        check = self._checks.get(name)
        if check is None:
            return Limit(value.get("variant"), value.get("label", ""))
        limit: Limit = msgspec.convert(value, check.limit)
        return limit

    def _found(self, name: str, value: Any) -> object:
        check = self._checks.get(name)
        return value if check is None else check.read_found(value)

    def _baseline(self, data: Any) -> LastRelease | None:
        if data is None:
            return None
        sections: dict[str, object] = {}
        for name, value in data.items():
            if name not in _NO_SECTIONS and value is not None:
                check = self._checks.get(name)
                sections[name] = value if check is None else msgspec.convert(value, check.section, strict=False)
        kinds = ByName({check.first_key: check.first for check in self._checks.values() if check.first is not None})
        first = {
            key: value if (kind := kinds.get(key)) is None else msgspec.convert(value, kind, strict=False)
            for key, value in data["first"].items()
        }
        runtime = msgspec.convert(data.get("runtime"), ShippedRuntime | None)
        accepted = msgspec.convert(data.get("accepted", ()), tuple[Acceptance, ...])
        return LastRelease(msgspec.convert(data["artefact"], Artefact), sections, first, runtime, accepted)

    def _verdict(self, data: Any) -> Verdict:
        check = self._checks.get(data["check"])
        evidence = data["evidence"] if check is None else check.read_evidence(data["evidence"])
        explanation = data.get("explanation")
        if explanation is not None:
            # A check of a project's may have figures of these names, of other types.
            said = {
                name: explanation[name] for name, kind in _EXPLAINED.items() if isinstance(explanation.get(name), kind)
            }
            figures = {name: value for name, value in explanation.items() if name not in said}
            typed = figures if check is None else check.read_reasons(figures)
            explanation = replace(msgspec.convert(said, Explanation), figures=typed)
        plain = {
            entry.name: data[entry.name] for entry in fields(Verdict) if entry.name in _PLAIN and entry.name in data
        }
        return replace(msgspec.convert(plain, Verdict), evidence=evidence, explanation=explanation)


# What an explanation says; the rest of it in the JSON data are its figures.
_EXPLAINED: Mapping[str, type] = {"why": str, "lines": list, "details": list, "kind": str}
_PLAIN = ("check", "against", "outcome", "figure", "message", "red", "xfail", "remarks", "keep")
