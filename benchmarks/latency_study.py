"""Does the latency rule raise false alarms, and does it find slowdowns? Prints a table.

python benchmarks/latency_study.py            the whole study, an hour on two cores
python benchmarks/latency_study.py --long     inferences of 10 to 90 ms, one thread, and twins that are 8 % slower
python benchmarks/latency_study.py --twins 0.05   twins alone that are slower by so much, at a limit of 5 %
python benchmarks/latency_study.py --short    a minute or two; fails on any false alarm or missed 25 % slowdown

Each round is a process of its own. In it every case is one full check: the same file as candidate and
reference (any red is a false alarm, *inconclusive* too), or, in every eighth round, a twin that is slower by real extra work.
Every fourth round has a busy neighbour, of long inferences every second one. In the first rounds, in the same process, bare loops take the twins' true
ratios, and pytest-benchmark times the same models alone; its own rule, `--benchmark-compare-fail=median:10%`,
compares each of these rounds with the one before.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from pytest_benchmark.utils import PercentageRegressionCheck
from study_models import Model, make_models, slower_twin

from pytest_onnxlite.baseline.fingerprint import describe_machine

HERE = Path(__file__).parent
RED = ("fail", "inconclusive", "not measured", "not comparable")
THEIRS: Any = PercentageRegressionCheck("median", 10.0)  # type: ignore[no-untyped-call]
# In how many of the first rounds our checks are not alone.
BESIDE_ROUNDS = 4
# Every so many rounds twins are checked, and the largest batch, which take longest; in the first rounds too.
TWINS_EVERY = 8
TWINS = (0.10, 0.15)
# Samples in a batch, for inferences of about 10, 22, 45 and 90 ms, and how much slower their twins are.
LONG_BATCHES, LONG_TWIN = (160, 360, 720, 1400), 0.08
LONG_TWINS_EVERY = 16


@contextlib.contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """Keep one core busy beside the study."""
    if not busy:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: sum(i * i for i in range(10**5))"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def run_round(cases: list[dict[str, Any]], number: int, busy: bool, plain: bool, out: Path) -> None:
    """Run every case once in a fresh process."""
    with tempfile.TemporaryDirectory() as folder, neighbour(busy):
        config = Path(folder) / "round.json"
        config.write_text(
            json.dumps({"cases": cases, "round": number, "neighbour": busy, "true": plain, "out": str(out)})
        )
        command = [sys.executable, "-m", "pytest", str(HERE / "study_checks.py"), "-q", "-p", "no:cacheprovider"]
        command += ["--rootdir", folder, "-c", os.devnull, "--benchmark-max-time=0.25", "--benchmark-disable-gc"]
        command += [] if plain else ["-k", "guard"]
        done = subprocess.run(
            command, env={**os.environ, "ONNXLITE_STUDY": str(config)}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"a round failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def make_cases(
    models: list[Model], twins: dict[tuple[str, float, int], Model], threads: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Return each model beside itself, and each twin beside its model."""
    cases = []
    for count in threads:
        for model in models:
            for twin in (0.0, *sorted(s for n, s, t in twins if (n, t) == (model.name, count))):
                candidate = twins[model.name, twin, count] if twin else model
                cases.append(
                    {
                        "model": model.name,
                        "threads": count,
                        "twin": twin,
                        "batch_size": model.batch_size,
                        "reference": str(model.path),
                        "candidate": str(candidate.path),
                    }
                )
    return cases


class _Medians:
    """What pytest-benchmark's rule looks at."""

    def __init__(self, name: str, value: float) -> None:
        self._values = {"name": name, "median": value}

    def __getitem__(self, key: str) -> Any:
        return self._values[key]


def compare_plain(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], list[bool]]:
    """Judge each round's medians against the model's own of the round before, by pytest-benchmark's rule."""
    alarms = defaultdict(list)
    series = defaultdict(list)
    for row in rows:
        if row["kind"] == "plain":
            series[row["model"], row["threads"], row["neighbour"], row["twin"]].append(row["median"])
    for (name, threads, busy, twin), values in series.items():
        saved = series[name, threads, busy, 0.0]
        for number, value in enumerate(values[1:], 1):
            before = saved[number - 1]
            fails = THEIRS.fails(_Medians(name, value), _Medians(name, before))
            alarms[name, threads, busy, twin].append(bool(fails))
    return alarms


def share(red: int, count: int) -> str:
    """Return a count of a count."""
    return f"{red}/{count}" if count else "-"


def table(rows: list[dict[str, Any]]) -> str:
    """Return the study's table as Markdown."""
    guards = defaultdict(list)
    for row in rows:
        if row["kind"] == "guard":
            guards[row["twin"], row["model"], row["threads"], row["neighbour"]].append(row)
    plain = compare_plain(rows)
    lines = [
        "| candidate | model | per run | threads | neighbour | true ratio | ours: red | of it inconclusive | seconds a check "
        "| median:10%: red |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    totals: dict[float, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    for (twin, name, threads, busy), group in sorted(guards.items()):
        red = sum(row["outcome"] in RED for row in group)
        unsure = sum(row["outcome"] == "inconclusive" for row in group)
        theirs = plain.get((name, threads, busy, twin), [])
        inference = median(row["inference"] for row in group)
        true = sorted(row["true"] for row in group if row["true"])
        ratio = "-" if twin else "1"
        if twin and true:
            ratio = f"{median(true):.2f} ({true[0]:.2f} to {true[-1]:.2f})"
        lines.append(
            f"| {f'+{twin:.0%}' if twin else 'same file'} | {name} | {inference * 1e6:,.0f} µs | {threads} | "
            f"{'busy' if busy else 'quiet'} | {ratio} | {share(red, len(group))} | {unsure} | "
            f"{median(row['seconds'] for row in group):.1f} | {share(sum(theirs), len(theirs))} |"
        )
        for i, value in enumerate((red, len(group), unsure, sum(theirs), len(theirs))):
            totals[twin][i] += value
    for twin, (red, count, unsure, their_red, their_count) in sorted(totals.items()):
        lines.append(
            f"| **{f'+{twin:.0%}' if twin else 'same file'}** | all | | | | | **{share(red, count)}** | {unsure} | | "
            f"**{share(their_red, their_count)}** |"
        )
    return "\n".join(lines)


def conditions() -> str:
    """Return the machine and the versions."""
    machine = describe_machine()
    tools = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "pytest-benchmark", "numpy"))
    return (
        f"{machine.cpu} ({', '.join(machine.isa)}), {machine.cpus:g} CPUs, {machine.os}, "
        f"Python {platform.python_version()}, {tools}; limit 5 %."
    )


def short(models: list[Model], folder: Path, out: Path) -> int:
    """Run the version for CI: any false alarm, or a missed slowdown of 25 %, fails it."""
    models = detectable(models)
    twins = {(m.name, 0.25, 1): slower_twin(m, folder, 0.25, 1, pairs=10) for m in models}
    cases = make_cases(models, twins, (1,))
    for number in range(2):
        run_round(cases, number, busy=False, plain=False, out=out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    print(table(rows))
    wrong = [row for row in rows if (row["outcome"] in RED) != bool(row["twin"]) or row["outcome"] == "inconclusive"]
    for row in wrong:
        print(f"WRONG: {row['model']} +{row['twin']:.0%}: {row['outcome']} {row['comparison']}")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a minute or two, for CI")
    parser.add_argument("--long", action="store_true", help="long inferences alone")
    parser.add_argument("--twins", type=float, nargs="+", default=[], help="twins alone, slower by these shares")
    parser.add_argument("--rounds", type=int, default=84, help="checks of each case (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where models and raw figures are kept (default: a temporary one)")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        models = make_models(folder)
        if options.short:
            out = folder / "short.jsonl"
            out.unlink(missing_ok=True)
            return short(models, folder, out)
        if options.twins:
            return twins_alone(models, folder, options.rounds, tuple(options.twins))
        return long(models, folder, options.rounds) if options.long else whole(models, folder, options.rounds)


def made_twins(
    models: list[Model], folder: Path, slowdowns: tuple[float, ...], threads: tuple[int, ...], pairs: int = 30
) -> dict[tuple[str, float, int], Model]:
    """Return a slower twin of each model, as so many session pairs show; those that lie in the folder are taken as they are."""
    twins = {}
    for model, slowdown, count in itertools.product(models, slowdowns, threads):
        name = f"{model.name.replace(' ', '-')}-{slowdown:g}-{count}.onnx"
        twin = Model(model.name, folder / name, model.batch_size)
        if not twin.path.exists():
            work = folder / "twin"
            work.mkdir(exist_ok=True)
            slower_twin(model, work, slowdown, count, pairs).path.replace(twin.path)
            print(f"made {name}", flush=True)
        twins[model.name, slowdown, count] = twin
    return twins


def detectable(models: list[Model]) -> list[Model]:
    """Return the models that have twins."""
    return [model for model in models if model.batch_size < 100 and "tiny" not in model.name]


def twins_alone(models: list[Model], folder: Path, rounds: int, slowdowns: tuple[float, ...]) -> int:
    """Run the study of twins that are slower by other shares."""
    models = detectable(models)
    cases = make_cases(models, made_twins(models, folder, slowdowns, (1, 2)), (1, 2))
    twins = [case for case in cases if case["twin"]]
    return study(folder / "twins.jsonl", rounds, lambda _: twins, busy_every=4)


def whole(models: list[Model], folder: Path, rounds: int) -> int:
    """Run the whole study."""
    cases = make_cases(models, made_twins(detectable(models), folder, TWINS, (1, 2)), (1, 2))

    def chosen(number: int) -> list[dict[str, Any]]:
        slow = number < BESIDE_ROUNDS or number % TWINS_EVERY == 0
        return [case for case in cases if slow or (not case["twin"] and case["batch_size"] < 100)]

    return study(folder / "rows.jsonl", rounds, chosen, busy_every=4)


def long(models: list[Model], folder: Path, rounds: int) -> int:
    """Run the study of long inferences."""
    path = models[-1].path
    models = [Model(f"float CNN, {size} at once", path, size) for size in LONG_BATCHES]
    # To make one of the longest takes longer than to check it.
    cases = make_cases(models, made_twins(models[:-1], folder, (LONG_TWIN,), (1,), pairs=10), (1,))

    def chosen(number: int) -> list[dict[str, Any]]:
        # Of each two such rounds one has a neighbour.
        return [case for case in cases if not case["twin"] or number % LONG_TWINS_EVERY < 2]

    return study(folder / "long.jsonl", rounds, chosen, busy_every=2)


def study(out: Path, rounds: int, chosen: Callable[[int], list[dict[str, Any]]], busy_every: int) -> int:
    """Run so many rounds, going on where raw figures of an interrupted study lie in the file, and print the table."""
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = len({row["round"] for row in rows})
    for number in range(done, rounds):
        plain = number < BESIDE_ROUNDS and busy_every > 2
        run_round(chosen(number), number, number % busy_every == 1, plain=plain, out=out)
        print(f"round {number + 1} of {rounds}", flush=True)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    print(conditions(), "\n")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
