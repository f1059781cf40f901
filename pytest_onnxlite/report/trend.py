"""The figures of the saved baselines over time, from the git history of their folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_onnxlite import commands
from pytest_onnxlite.baseline.accepted import Acceptance
from pytest_onnxlite.baseline.record import Baseline, BrokenBaseline, decode, parse
from pytest_onnxlite.checks.figures import Trend
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.labels import ByName, label_of, labelled
from pytest_onnxlite.records import Checks
from pytest_onnxlite.report.acceptances import limit_text
from pytest_onnxlite.report.commits import release_names, versions


@dataclass(frozen=True)
class Release:
    """A saved baseline.

    Attributes:
        commit: where it was committed; empty for this run.
        date: when.
        figures: its figures by key.
        data_id: the hash of its evaluation data.
        tag: the first tag that has it; empty for none.
        accepted: by a figure's key, the loss that was accepted with it, and why.
    """

    commit: str
    date: str
    figures: Mapping[str, Trend]
    data_id: str = ""
    tag: str = ""
    accepted: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called: its tag, else its commit, else its date."""
        return self.tag or self.commit[:10] or self.date


@dataclass(frozen=True)
class Series:
    """The releases of one variant, oldest first, and a text for each commit whose file cannot be read."""

    model: str
    variant: str
    releases: tuple[Release, ...] = ()
    broken: tuple[str, ...] = ()


def history(folder: Path, checks: Checks) -> list[Series]:
    """Return for each model and variant what every commit of its baseline saved.

    Args:
        folder: the folder of the baselines, in a git repository.
        checks: the checks by name.

    Returns:
        A series for each. Latency and memory are factors since the first release, as each save multiplied them up:
        unlike seconds they can be compared from machine to machine.

    Raises:
        OnnxliteError: no git, no repository, or no commit that has baselines.
    """
    if not folder.is_dir():
        raise OnnxliteError(f"--history: there is no folder {folder}. Name the folder of the baselines.")
    releases: dict[tuple[str, str], list[Release]] = {}
    broken: dict[tuple[str, str], list[str]] = {}
    # What the baseline before says that was accepted: only what is new was accepted with this one.
    noted: dict[tuple[str, str], Sequence[Acceptance]] = {}
    try:
        found = list(versions(folder))
    except OnnxliteError as error:
        raise OnnxliteError(f"--history: {error}") from None
    for one in found:
        key = one.model, one.variant
        releases.setdefault(key, [])
        if one.text is None:
            continue  # deleted there
        where = f"{one.name} at {one.commit[:10]}"
        try:
            baseline = parse(decode(one.text.encode(), where), *key, where, checks)
        except BrokenBaseline as error:
            broken.setdefault(key, []).append(str(error))
            continue
        release = _release(baseline, one.commit, one.date, checks, noted.get(key, ()))
        noted[key] = baseline.accepted
        releases[key].append(release)
    if not releases:
        raise OnnxliteError(
            f"--history: no commit of the repository has a baseline in {folder}. Save one with: "
            f"{commands.SAVE}, and commit it. A shallow clone has no history: fetch it (fetch-depth: 0)."
        )
    tags = release_names(folder, [one.commit for one in found])
    named = {key: tuple(replace(r, tag=tags.get(r.commit, "")) for r in own) for key, own in releases.items()}
    return [Series(*key, named[key], tuple(broken.get(key, ()))) for key in sorted(named)]


def _release(baseline: Baseline, commit: str, date: str, checks: Checks, noted: Sequence[Acceptance] = ()) -> Release:
    accepted: dict[str, str] = {}
    news = [(limit, one) for one in baseline.accepted if one not in noted for limit in one.limits]
    figures: dict[str, Trend] = {}
    data_id = ""
    per_machine = ByName({check.first_key: check.name for check in checks.values() if check.per_machine})
    firsts = {labelled(per_machine[key], label_of(key)) for key in baseline.first if key in per_machine}
    for name, check in checks.known({*baseline.sections, *firsts}):
        section: Any = baseline.sections.get(name)
        first = baseline.first.get(labelled(check.first_key, label_of(name)))
        if section is not None or (check.per_machine and first is not None):
            found = check.trend(section, first)
            if found is not None:
                found = found.with_label(label_of(name))
                figures[found.key] = found
                texts = [
                    f"{limit_text(limit)}: {one.reason or 'no reason given'}"
                    for limit, one in news
                    if limit.check == name
                ]
                accepted |= {found.key: "; ".join(texts)} if texts else {}
            data_id = data_id or (check.data_id(section) if section is not None else "")
    return Release(commit, date, figures, data_id, accepted=accepted)
