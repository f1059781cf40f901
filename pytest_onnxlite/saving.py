"""From what a run measured to the baselines that are saved."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_onnxlite import commands, gitignore
from pytest_onnxlite.accepting import accept
from pytest_onnxlite.addresses import Address
from pytest_onnxlite.baseline import writing
from pytest_onnxlite.baseline.accepted import Acceptance
from pytest_onnxlite.baseline.fingerprint import Machine, fingerprint
from pytest_onnxlite.baseline.places.choosing import place_at
from pytest_onnxlite.baseline.record import Artefact, Baseline, EarlierRelease, OnMachine
from pytest_onnxlite.baseline.runtime import machine_here, machine_key
from pytest_onnxlite.baseline.store import BaselineStore
from pytest_onnxlite.checks.verdict import BASELINE, RUNTIME, Outcome, Verdict
from pytest_onnxlite.coverage.tally import Guarded, State, Tally
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.labels import ByName, label_of, labelled
from pytest_onnxlite.records import Checks, Record
from pytest_onnxlite.settings import Settings
from pytest_onnxlite.text import listed
from pytest_onnxlite.variants.external import files_of, hash_model

# A file that comes back after as many releases is a new one.
_MOST_EARLIER = 50


@dataclass(frozen=True)
class Saved:
    """What became of one baseline: `saved`, `unchanged` or `refused`; why, or without what; and what was accepted."""

    model: str
    variant: str
    outcome: str
    path: str
    reason: str = ""
    accepted: Acceptance | None = None

    @property
    def details(self) -> str:
        """Why, without what, and what was accepted, in a line."""
        names = self.accepted.names if self.accepted is not None else ()
        parts = [self.reason, f"with {listed(names)} accepted" if names else ""]
        parts += [self.accepted.reason] if self.accepted is not None else []
        return "; ".join(filter(None, parts))


def merge(
    before: Baseline | None,
    fresh: Baseline,
    measured: Mapping[str, object],
    machine: Machine,
    checks: Checks,
    dropped: Collection[str] = (),
    accepted: Collection[str] = (),
    key: str = "",
) -> Baseline:
    """Return the baseline of a measured artefact.

    Figures of another artefact are never kept. Those of the same artefact on the same machine are: what differs
    between two runs is noise, and a save that changes nothing must change no byte. So is what the same artefact answered:
    a machine of another kind adds its figures, and changes nothing else.

    Args:
        before: the baseline there was.
        fresh: one of the file that was measured, without figures.
        measured: by check, with the marker's label if it has one, what was measured of it.
        machine: the machine it was measured on.
        checks: the checks by name.
        dropped: the checks that no test of the project asks for any more.
        accepted: the checks by which the same file is worse than when it was saved, which was accepted; `runtime` for another one.
        key: the machine's in the baseline; its fingerprint if there is none.
    """
    same = before is not None and before.artefact.sha256 == fresh.artefact.sha256
    if before is not None and same:
        runtime = before.runtime if "runtime" not in accepted and _is_elsewhere(before, machine) else fresh.runtime
        fresh = replace(before, artefact=fresh.artefact, runtime=runtime)
        if dropped:
            fresh = fresh.only([name for name in before.checks if name not in dropped])
    first = dict(before.first) if before else {}
    sections = dict(fresh.sections)
    here: dict[str, object] = {}
    for name, found in measured.items():
        check, section = checks[name], checks[name].save(found)
        if check.per_machine:
            here[name] = section
        elif not (
            same and name in sections and name not in accepted and check.is_same_elsewhere(sections[name], section)
        ):
            sections[name] = section
        if check.first is not None:
            first_key = labelled(check.first_key, label_of(name))
            had = before.sum_of(first_key, fresh.artefact.sha256) if before and check.multiplies else None
            first[first_key] = had or check.save_first(first.get(first_key), found, same)
    machines = dict(fresh.machines)
    if here:
        key = key or fingerprint(machine)
        known = dict(machines[key].sections) if key in machines else {}
        machine = machines[key].description if key in machines else machine
        known = {
            name: section
            for name, section in known.items()
            if name not in accepted and not (name in here and checks[name].is_outdated(section, measured[name]))
        }
        machines[key] = OnMachine(machine, {**here, **known})
    earlier = _earlier(before, fresh.artefact.sha256, checks) if before and not same else fresh.earlier
    return replace(fresh, sections=sections, machines=machines, first=first, earlier=earlier)


def _is_elsewhere(before: Baseline, machine: Machine) -> bool:
    """Tell whether machines of other kinds alone ran the release as it ships: who adds figures does not say how it does."""
    if before.runtime is None or not before.machines:
        return False  # nobody knows
    own = [on.description for on in before.machines.values() if machine.is_like(on.description)]
    return not any(found.runtime_version == before.runtime.version for found in own)


def _earlier(before: Baseline, sha256: str, checks: Checks) -> tuple[EarlierRelease, ...]:
    """Return the releases before one of a new file, with the ratios to the first that they had."""
    keys = ByName({check.first_key: check for check in checks.values() if check.multiplies})
    ratios = {key: ratio for key, ratio in before.first.items() if key in keys and isinstance(ratio, float)}
    last = EarlierRelease(before.artefact.sha256[:16], ratios)
    others = [one for one in before.earlier if one.file not in (sha256[:16], last.file)]
    return (*others, last)[-_MOST_EARLIER:]


def save_all(
    records: Sequence[Record], unjudged: Sequence[str], settings: Settings, checks: Checks, tally: Tally
) -> list[Saved]:
    """Save a baseline for each variant that was judged and that passes its limits.

    Args:
        records: what the guarded tests recorded.
        unjudged: guarded tests that failed without a red verdict.
        settings: where to, and whether losses are accepted.
        checks: the checks by name.
        tally: what became of each check of the baselines that there are.
    """
    place = place_at(settings.artefact_dir, settings.baseline_dir, settings.artefact_time)
    store = BaselineStore(settings.baseline_dir, checks, place)
    by_variant: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        by_variant.setdefault((record.model, record.variant), []).append(record)
    groups = [group for _, group in sorted(by_variant.items())]
    if not groups:
        return []
    try:
        with writing.saving(store) as saver:
            # Planned while nobody else saves: what is merged with is what is replaced.
            plans = [_plan(store, group, unjudged, settings, checks, tally) for group in groups]
            return _carry_out(saver, plans)
    except OnnxliteError as error:
        return [_refused(store, group[0].model, group[0].variant, str(error)) for group in groups]


def _carry_out(saver: writing.Saver, plans: Sequence[Saved | _Plan]) -> list[Saved]:
    """Save what is to be saved, all of it or nothing."""
    meant = [plan for plan in plans if isinstance(plan, _Plan)]
    baselines = saver.shared([plan.entry.baseline for plan in meant])
    try:
        changed = saver.save(
            [replace(plan.entry, baseline=baseline) for plan, baseline in zip(meant, baselines, strict=True)]
        )
    except OnnxliteError as error:
        done = [
            _refused(saver.store, plan.entry.baseline.model, plan.entry.baseline.variant, str(error)) for plan in meant
        ]
    else:
        done = [plan.saved(saver.store, wrote) for plan, wrote in zip(meant, changed, strict=True)]
    of = {(saved.model, saved.variant): saved for saved in (*done, *(p for p in plans if isinstance(p, Saved)))}
    return [of[name] for name in sorted(of)]


@dataclass(frozen=True)
class _Plan:
    """What is to be saved of a variant, and the figures that it is saved without."""

    entry: writing.Entry
    lost: Sequence[str]
    accepted: Acceptance | None

    def saved(self, store: BaselineStore, changed: bool) -> Saved:
        baseline = self.entry.baseline
        reason = f"without {listed(self.lost)}" if self.lost else ""
        path = str(store.path(baseline.model, baseline.variant))
        outcome = "saved" if changed else "unchanged"
        return Saved(baseline.model, baseline.variant, outcome, path, reason, self.accepted)


def _refused(store: BaselineStore, model: str, variant: str, reason: str) -> Saved:
    return Saved(model, variant, "refused", str(store.path(model, variant)), reason)


def _plan(
    store: BaselineStore,
    records: Sequence[Record],
    unjudged: Sequence[str],
    settings: Settings,
    checks: Checks,
    tally: Tally,
) -> Saved | _Plan:
    """Say what is to be saved of a variant, or why it is not."""
    model, variant = records[0].model, records[0].variant
    refusal = _refusal(records, unjudged, settings) or _disagreement(records, checks)
    if refusal:
        return _refused(store, model, variant, refusal)
    measured = {name: found for record in records for name, found in record.measured.items()}
    judged = records[-1].artefact
    source = Path(judged.path)
    # The trained variant is never measured again in turns with a candidate, so its file is not kept twice.
    kept = settings.keep_artefact and variant != "trained"
    states = tally.states.get((model, variant), {})
    gone = [check for check, state in states.items() if state is State.GONE and check not in measured]
    try:
        # A model of several files keeps their names, by which it knows them, in a folder of its own.
        files = files_of(source)
        if kept and hash_model(source) != judged.sha256:
            return _refused(store, model, variant, f"{source} was written to after it was judged; run again")
        suffix = "" if kept and len(files) > 1 else source.suffix
        artefact = Artefact(f"{variant}-{judged.sha256[:16]}{suffix}", judged.sha256, judged.bytes, kept)
        before = store.load(model, variant)
        on = records[-1].judged_on
        fresh = Baseline(model, variant, artefact, runtime=records[-1].runtime)
        worse = [v for record in records for v in record.verdicts if v.outcome is Outcome.FAIL]
        slower = {verdict.check for verdict in worse if verdict.against == RUNTIME}
        # What was measured under other conditions is no figure of today's.
        slower |= {v.check for record in records for v in record.verdicts if v.outcome is Outcome.NOT_COMPARABLE}
        slower |= {v.check for v in worse if v.against == BASELINE and _is_of_the_file(v.check, checks)}
        runtime = records[-1].runtime
        machine, key = (on.machine, "") if on else (machine_here(runtime), machine_key(before, runtime))
        baseline = merge(before, fresh, measured, machine, checks, gone, slower, key)
        baseline = replace(baseline, tests=_tests(before, records, baseline.checks, tally))
        lost = [check for check in (before.checks if before else ()) if check not in baseline.checks]
        shared = tally.unjudged_of((model, variant)) if before is not None else []
        is_new = before is not None and before.artefact.sha256 != judged.sha256
        refusal = _refused_loss(lost, states, settings) or _refused_tests(shared, is_new, settings)
        dropped = [guarded for guarded in shared if guarded.state is State.GONE]
        baseline = replace(baseline, accepted=accept(baseline, before, records, lost, dropped, settings, checks))
        lost += dict.fromkeys(guarded.test for guarded in dropped)
        data = [path for name, found in measured.items() for path in checks[name].keeps(found)]
    except OnnxliteError as error:
        refusal = str(error)
    if refusal:
        return _refused(store, model, variant, refusal)
    accepted = baseline.accepted[-1] if baseline.accepted != (before.accepted if before else ()) else None
    return _Plan(writing.Entry(baseline, files, data), lost, accepted)


def _is_of_the_file(name: str, checks: Checks) -> bool:
    """Tell whether what a check saves is of the file, whatever the machine; so is the runtime that it ships with."""
    check = checks.get(name)
    return check is None or not check.per_machine


def _tests(
    before: Baseline | None, records: Sequence[Record], checks: Sequence[str], tally: Tally
) -> dict[str, tuple[str, ...]]:
    """Return the tests that guard a baseline from now on: those of this run, and of those that it left out what is left."""
    found = {(record.test, check) for record in records for check in record.limits}
    if before is not None:
        name = before.model, before.variant
        known = {(test, check) for test, own in before.tests.items() for check in own}
        found |= {(test, check) for test, check in known if (name, test, check) not in tally.gone}
        # Figures are never without a name: one that is gone stays until another test has judged its check.
        named = {check for _, check in found}
        found |= {(test, check) for test, check in known if check not in named}
    kept = sorted((test, check) for test, check in found if check in checks)
    return {test: tuple(check for other, check in kept if other == test) for test, _ in kept}


def _refused_loss(lost: Sequence[str], states: Mapping[str, State], settings: Settings) -> str:
    """Say why a baseline is not saved where figures that it holds would be lost; empty if that is meant."""
    unmeasured = [check for check in lost if states.get(check) not in (State.GONE, State.LOOKED)]
    if unmeasured:
        return (
            f"its file is a new one, and this run did not measure its {listed(unmeasured)}, of which the baseline holds "
            "figures; those of the last release are not its. Save with every test that guards it: "
            f"{commands.SAVE}, without -k, -m, --lf or anything else that leaves one out"
        )
    dropped = [check for check in lost if not settings.accepts(check)]
    if dropped:
        return (
            f"it would drop {listed(dropped)}, which the baseline holds and no test measured. Bring back what asked for it; "
            "if it is meant, --onnxlite-accept saves without it"
        )
    return ""


def _refused_tests(unjudged: Sequence[Guarded], is_new: bool, settings: Settings) -> str:
    """Say why a baseline is not saved if a test that guards it did not judge, though others judged the same checks."""
    left = [guarded.test for guarded in unjudged if is_new and guarded.state is not State.GONE]
    if left:
        return (
            f"its file is a new one, and this run did not judge it by {listed(dict.fromkeys(left))}, whose limits may be "
            "other ones than those that it was judged by. Save with every test that guards it: "
            f"{commands.SAVE}, without -k, -m, --lf or anything else that leaves one out"
        )
    gone = [guarded for guarded in unjudged if guarded.state is State.GONE and not settings.accepts(guarded.check)]
    if gone:
        return (
            f"it would drop {listed(f'{guarded.test} ({guarded.check})' for guarded in gone)}, which guarded it together with other tests and does so no longer. Bring it back; "
            "if it is meant, --onnxlite-accept saves without it"
        )
    return ""


def _disagreement(records: Sequence[Record], checks: Checks) -> str:
    """Say which two tests measured what a baseline keeps once, each in its own way; empty if none did."""
    kept: dict[str, Record] = {}
    for record in records:
        for name, found in record.measured.items():
            other = kept.setdefault(name, record)
            unlike = checks[name].unlike(other.measured[name], found)
            if unlike:
                return (
                    f"{other.test} and {record.test} do not agree on its {name}, of which a baseline keeps one: they differ in "
                    f"{unlike}. Give both markers the same, or one of them a label= of its own"
                )
    return ""


def remarks_of_git(saved: Sequence[Saved], settings: Settings, checks: Checks) -> list[str]:
    """Say which of the saved files git would leave out of a commit, and which are too large for it."""
    store, jsons, files = BaselineStore(settings.baseline_dir, checks), [], []
    for entry in saved:
        baseline = None if entry.outcome == "refused" else store.load(entry.model, entry.variant)
        if baseline is None:
            continue
        jsons.append(f"{entry.model}/{entry.variant}.json")
        files += [f"{entry.model}/{name}" for name in store.kept_data(baseline)]
        files += [f"{entry.model}/{baseline.artefact.file}"] if baseline.artefact.kept else []
    if not jsons or isinstance(settings.artefact_dir, Address):
        # What is on a server is in no commit.
        return [said for said in [gitignore.remark(store.folder, jsons)] if said] if jsons else []
    folder = settings.artefact_dir or store.folder
    found = [path for name in dict.fromkeys(files) for path in [folder / name, *sorted((folder / name).rglob("*"))]]
    names = [path.relative_to(folder).as_posix() for path in found if path.is_file()]
    # Who names another folder for the models keeps them out of git on purpose.
    hidden = gitignore.remark(store.folder, [*jsons, *(names if settings.artefact_dir is None else ())])
    return [said for said in (hidden, gitignore.remark_large(folder, names)) if said]


def _elsewhere(records: Sequence[Record]) -> str:
    """Say why what workers on other machines judged is not saved here; empty where it can be."""
    hosts = list(dict.fromkeys(record.judged_on.text if record.judged_on else "this machine" for record in records))
    if len(hosts) > 1:
        return f"its tests ran on {listed(hosts)}, and a baseline is of one machine at a time. Save on one of them"
    on, file = records[0].judged_on, records[0].artefact
    if on is None or not file.path:
        return ""
    if not Path(file.path).exists():
        return f"it was judged on {on.text}, and {file.path} is not on this machine. Save there"
    if hash_model(Path(file.path)) != file.sha256:
        return f"it was judged on {on.text}, and {file.path} on this machine is another file. Save there"
    return ""


def _refusal(records: Sequence[Record], unjudged: Sequence[str], settings: Settings) -> str:
    unreadable = next((record.broken_baseline for record in records if record.broken_baseline), None)
    if unreadable:
        return f"the baseline there is cannot be read, and is left as it is: {unreadable}"
    if len({record.artefact.sha256 for record in records}) > 1:
        return "its tests judged different files; one baseline holds one artefact"
    elsewhere = _elsewhere(records)
    if elsewhere:
        return elsewhere
    # A broken limit is one, whether or not its test was expected to fail.
    broken = [v for record in records for v in record.verdicts if v.red or v.xfail is not None]
    refused = [
        v for v in broken if (v.xfail is None and v.is_red("save", accept=True)) or not settings.accepts(v.check)
    ]
    if refused:
        named = ", ".join(sorted({f"{v.check} ({v.outcome})" for v in refused}))
        return f"it fails its limits: {named}. {_way_out(refused, settings)}"
    # What is accepted is a verdict; of a test that failed otherwise nobody knows what it says of the model.
    return f"{unjudged[0]} failed" if unjudged else ""


def _way_out(refused: Sequence[Verdict], settings: Settings) -> str:
    """Say what would let a baseline be saved that is refused for these verdicts."""
    if any(v.xfail is None and v.is_red("save", accept=True) for v in refused):
        return "What is not against the last release is not accepted: mend the model, or change the limit"
    if settings.accept_only:
        return f"--onnxlite-accept-only={','.join(settings.accept_only)} does not name them"
    return "--onnxlite-accept saves it all the same"
