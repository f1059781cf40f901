"""One report of several: what the shards of a run found, and the verdict of the whole."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_onnxlite.baseline.store import Held
from pytest_onnxlite.coverage import wording
from pytest_onnxlite.coverage.tally import Name
from pytest_onnxlite.coverage.wording import Coverage, file_of
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.report.document import Document
from pytest_onnxlite.text import counted, listed, shortened

# By the file's name, what a shard reported.
Shards = Mapping[str, Document]
# By model and variant and check, the tests that judged it in any shard.
Looked = dict[Name, dict[str, set[str]]]


def merge(shards: Shards, held: Mapping[Name, Held], expected: int | None, folder: str) -> Document:
    """Return the report of the whole.

    Args:
        shards: the reports.
        held: the baselines there are.
        expected: how many shards there are; None where nobody says.
        folder: the folder of the baselines, for messages.

    Raises:
        OnnxliteError: there is no report.
    """
    if not shards:
        raise OnnxliteError("no report was named. Name what --onnxlite-report wrote in each shard.")
    documents = list(shards.values())
    looked = _looked(documents)
    findings = [
        *_missing_shards(shards, expected),
        *_of_other_runs(shards),
        *_disagreements(shards, held, folder),
        *_not_looked_at(held, looked, folder),
        *_left_out_by_all(documents),
        *(f"{name}: {text}" for name, shard in shards.items() for text in shard.session),
    ]
    records = tuple(record for shard in documents for record in shard.records)
    unjudged = tuple(entry for shard in documents for entry in shard.unjudged)
    red = findings or unjudged or any(shard.verdict != "pass" for shard in documents)
    return replace(
        documents[0],
        verdict="fail" if red else "pass",
        records=records,
        unjudged=unjudged,
        session=tuple(findings),
        remarks=tuple(_remarks(shards)),
        saved=(),
        coverage=_coverage(held, looked, len(shards)),
    )


def folder_of(shards: Shards, folder: Path) -> Path:
    """Return the folder of the baselines that shards were compared with: each named runtime has one of its own.

    Args:
        shards: the reports.
        folder: the folder of the baselines, or that of the runtime in it.

    Raises:
        OnnxliteError: the shards were run with several runtimes, which make no whole.
    """
    runtimes = {name: shard.runtime for name, shard in shards.items()}
    if len(set(runtimes.values())) > 1:
        own = "the models' own"
        each = [f"{runtime or own} in {name}" for name, runtime in runtimes.items()]
        raise OnnxliteError(
            f"the shards were run with several runtimes: {shortened(each)}. Each runtime has baselines of its own, and is a run by "
            "itself: merge the reports of each by themselves."
        )
    apart = f"@{next(iter(runtimes.values()), '')}"
    return folder if apart in ("@", folder.name) else folder / apart


def _looked(documents: Iterable[Document]) -> Looked:
    looked: Looked = {}
    for shard in documents:
        for record in shard.records:
            own = looked.setdefault((record.model, record.variant), {})
            for check in record.limits:
                own.setdefault(check, set()).add(record.test)
    return looked


def _unseen(held: Mapping[Name, Held], looked: Looked) -> Iterator[tuple[Name, list[str]]]:
    """Return what no shard looked at: baselines, each with what is missing of it in words, or nothing where all of it is."""
    for name, own in sorted(held.items()):
        if name not in looked:
            yield name, []
            continue
        missing = [check for check in own.checks if check not in looked[name]]
        parts = [f"{', '.join(missing)} of {file_of(name)}"] if missing else []
        for check in own.checks:
            parts += [
                f"{check} of {file_of(name)} by {test}" for test in _left(own, check, looked[name].get(check, ()))
            ]
        if parts:
            yield name, parts


def _left(own: Held, check: str, judged: Collection[str]) -> list[str]:
    """Return the tests of a check that judged it in no shard; one that the baseline does not name stands in for one of them."""
    named = [test for test, checks in own.tests.items() if check in checks]
    newcomers = sum(test not in named for test in judged)
    return [test for test in named if test not in judged][newcomers:] if judged else []


def _coverage(held: Mapping[Name, Held], looked: Looked, shards: int) -> Coverage:
    unseen = list(_unseen(held, looked))
    return Coverage(
        "missing" if unseen else "full",
        f"{len(held) - len(unseen)} of {counted(len(held), 'baseline')} looked at, in {counted(shards, 'shard')}",
        {"/".join(name): own.digest for name, own in held.items()},
        tuple(part for name, parts in unseen for part in parts or [file_of(name)]),
    )


# -- what is wrong -------------------------------------------------------------------------------------------


def _missing_shards(shards: Shards, expected: int | None) -> Iterator[str]:
    if expected is not None and len(shards) != expected:
        yield (
            f"{counted(expected, 'shard')} {'was' if expected == 1 else 'were'} to report, and there are reports of "
            f"{len(shards)}: {', '.join(shards)}. A shard that ended early wrote none; look at its job, and run it again."
        )


def _of_other_runs(shards: Shards) -> Iterator[str]:
    """Name reports that are not of one run: of another mode, commit, or of other versions."""
    for name, shard in shards.items():
        if shard.mode != "compare":
            yield f"{name} was not compared with baselines. Run every shard with --onnxlite-baseline."
        if shard.coverage is None:
            yield (
                f"{name} does not say which baselines there were: a version before this one wrote it. Run every shard "
                "with the version that merges."
            )
    told = {
        "commits": {name: shard.commit for name, shard in shards.items() if shard.commit},
        "baselines": {
            name: shard.against.text if shard.against else "the work tree's" for name, shard in shards.items()
        },
        "versions of pytest-onnxlite": {name: shard.version for name, shard in shards.items()},
    }
    tools = sorted({tool for shard in shards.values() for tool in shard.environment})
    for tool in tools:
        told[f"versions of {tool}"] = {name: shard.environment.get(tool, "none") for name, shard in shards.items()}
    for what, values in told.items():
        if len(set(values.values())) > 1:
            each = [f"{value} in {name}" for name, value in values.items()]
            yield f"the shards are of different {what}: {shortened(each)}. Run all of them anew, with the same."


def _disagreements(shards: Shards, held: Mapping[Name, Held], folder: str) -> Iterator[str]:
    """Name baselines that were not the same in every shard and in the folder."""
    if not held:
        yield f"{folder} holds no baseline: nothing is guarded. Name the folder with --baseline-dir."
    seen = {name: shard.coverage.baselines for name, shard in shards.items() if shard.coverage is not None}
    kept = {"/".join(name): own.digest for name, own in held.items()}
    for baseline in sorted({*kept, *(name for own in seen.values() for name in own)}):
        here = kept.get(baseline)
        others = [shard for shard, own in seen.items() if own.get(baseline) != here]
        if others:
            state = "does not hold it" if here is None else "holds another content of it than was read there"
            yield (
                f"the shards do not agree about the baseline {baseline}.json: {folder} {state} ({listed(others)}). Run every "
                "shard, and this, on one commit."
            )


def _not_looked_at(held: Mapping[Name, Held], looked: Looked, folder: str) -> Iterator[str]:
    unseen = list(_unseen(held, looked))
    whole = [file_of(name) for name, parts in unseen if not parts]
    parts = [part for _, parts in unseen for part in parts]
    if whole:
        yield (
            f"no shard looked at {shortened(whole)} in {folder}. Let its test run in one of them; delete the file if the "
            "model is retired."
        )
    if parts:
        yield f"no shard looked at {shortened(parts, '; ')}. Let the tests that ask for it run in one of them."


def _left_out_by_all(documents: Sequence[Document]) -> Iterator[str]:
    judged = {record.test for shard in documents for record in shard.records}
    judged |= {entry.test for shard in documents for entry in shard.unjudged}
    left_out = dict.fromkeys(test for shard in documents if shard.coverage for test in shard.coverage.left_out)
    missing = [test for test in left_out if test not in judged]
    if missing:
        yield f"no shard judged these guarded tests: {shortened(missing)}."


def _remarks(shards: Shards) -> Iterator[str]:
    documents = list(shards.values())
    machines: dict[str, list[str]] = {}
    for name, shard in shards.items():
        machines.setdefault(shard.fingerprint, []).append(name)
    if len(machines) > 1:
        each = "; ".join(f"{machine} in {listed(names)}" for machine, names in machines.items())
        yield (
            f"the shards ran on machines of {len(machines)} kinds, and times and memory are of the one that measured them: {each}. "
            "The first one is named below."
        )
    # That a shard is a part goes without saying.
    parts = {text for shard in documents if shard.coverage for text in wording.remarks(shard.coverage)}
    yield from dict.fromkeys(text for shard in documents for text in shard.remarks if text not in parts)
