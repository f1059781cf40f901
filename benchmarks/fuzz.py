"""Hostile files, many of each kind, at the entries that users call. Prints a table, and keeps what was found.

python benchmarks/fuzz.py                      all kinds, in the numbers of docs/hostile-files.md; about half an hour
python benchmarks/fuzz.py --scale 0.01         a hundredth of it
python benchmarks/fuzz.py reports --seed 7     one kind, from another seed
python benchmarks/fuzz.py --write docs/hostile-files.md    puts the rows of these kinds there too
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]

from hostile import (  # noqa: E402
    Fortress,
    Tried,
    command,
    digests,
    read_data,
    read_graph,
    red_project,
    with_figures_of_a_machine,
)
from mutations import Mutation, mutate_arrays, mutate_bytes, mutate_json, mutate_model  # noqa: E402

# Models in one run of pytest, and seconds after which one step counts as a hang.
_AT_ONCE, _HANG = 40, 60.0
HEADER = "| what | tried | refused clearly | tracebacks | changed files | false greens |"
RULER = "|---|---|---|---|---|---|"


@dataclass
class Tally:
    """What came of one kind of file."""

    what: str
    tried: int = 0
    refused: int = 0
    crashed: int = 0
    changed: int = 0
    false_green: int = 0
    slowest: float = 0.0
    finds: list[str] = field(default_factory=list)

    def find(self, fault: str, mutation: Mutation, text: str) -> None:
        """Count a fault and keep it."""
        setattr(self, fault, getattr(self, fault) + 1)
        self.finds.append(f"{self.what}: {fault}: {mutation.what} at {mutation.path}\n{text[-1500:]}\n")

    def add(self, mutation: Mutation, tried: Tried, may_be_green: bool = True) -> None:
        """Count one case that was read alone."""
        self.tried += 1
        self.refused += not tried.passed and not tried.crashed
        if tried.crashed:
            self.find("crashed", mutation, tried.text)
        elif tried.passed and not may_be_green:
            self.find("false_green", mutation, tried.text)

    @property
    def row(self) -> str:
        """The table's row."""
        figures = (self.tried, self.refused, self.crashed, self.changed, self.false_green)
        return f"| {self.what} | {' | '.join(f'{figure:,}' for figure in figures)} |"

    @contextmanager
    def timed(self, mutation: Mutation, most: float = _HANG) -> Iterator[None]:
        """Take the time of a step, which may take no more than some seconds."""
        start = time.monotonic()
        yield
        self.slowest = max(self.slowest, took := time.monotonic() - start)
        if took > most:
            self.find("crashed", mutation, f"took {took:.0f} s")


def _is_impossible(mutation: Mutation) -> bool:
    """Tell whether no baseline may say so: what it says of a graph is compared with the graph, whatever it is."""
    # A signal-to-noise ratio may well be negative.
    is_sqnr = mutation.path[:1] == ("outputs",) and mutation.path[-1] == "sqnr"
    return mutation.impossible and mutation.path[:1] != ("graph",) and not is_sqnr


def _any(content: bytes, rng: random.Random) -> Mutation:
    return mutate_json(content, rng) if rng.random() < 0.8 else mutate_bytes(content, rng)


def read_baselines(folder: Path, rng: random.Random, count: int) -> Tally:
    tally = Tally("baselines, read by `show`")
    saved = shutil.copytree(red_project(folder) / "baselines", folder / "changed")
    path = saved / "m000" / "int8.json"
    sound = path.read_bytes()
    assert command("show", saved).passed
    for _ in range(count):
        mutation = _any(sound, rng)
        path.write_bytes(mutation.content)
        before = digests(saved)
        with tally.timed(mutation):
            tally.add(mutation, command("show", saved), not _is_impossible(mutation))
        if digests(saved) != before:
            tally.find("changed", mutation, "")
    return tally


def run_baselines(folder: Path, rng: random.Random, count: int) -> Tally:
    tally = Tally("baselines, in runs of pytest")
    fortress = Fortress(folder, min(_AT_ONCE, count))
    assert fortress.run("--onnxlite-save-baseline").code == 0
    sound = {name: with_figures_of_a_machine(fortress.baseline(name).read_bytes()) for name in fortress.names}
    shutil.copytree(folder / "baselines", folder / "sound")
    for start in range(0, count, _AT_ONCE):
        mutations = {name: _any(sound[name], rng) for name in fortress.names[: count - start]}
        shutil.rmtree(folder / "baselines")
        shutil.copytree(folder / "sound", folder / "baselines")
        for name, mutation in mutations.items():
            fortress.baseline(name).write_bytes(mutation.content)
        _judge(fortress, mutations, tally, saving=start // _AT_ONCE % 3 == 2)
    return tally


def _judge(fortress: Fortress, mutations: dict[str, Mutation], tally: Tally, saving: bool) -> None:
    """Run the models at once; one by one where the whole run breaks."""
    fortress.declare(list(mutations))
    mode = "--onnxlite-save-baseline" if saving else "--onnxlite-baseline"
    before, broken = digests(fortress.folder / "baselines"), fortress.broken()
    reports = ["--onnxlite-report=report.json", "--onnxlite-html=report.html", "--junit-xml=junit.xml"]
    first = next(iter(mutations.values()))
    with tally.timed(first, _HANG + 5 * len(mutations)):
        run = fortress.run(mode, *reports)
    if run.crashed and len(mutations) > 1:
        names = list(mutations)
        for half in (names[: len(names) // 2], names[len(names) // 2 :]):
            _judge(fortress, {name: mutations[name] for name in half}, tally, saving)
        return
    if run.crashed:
        tally.find("crashed", first, run.text)
    after = digests(fortress.folder / "baselines")
    for name, mutation in mutations.items():
        tally.tried += 1
        green = run.is_green(name)
        tally.refused += not green and not run.crashed
        path = fortress.baseline(name)
        if not run.crashed and green and _is_impossible(mutation) and not saving:
            tally.find("false_green", mutation, run.text)
        if before.get(path) != after.get(path) and (not saving or path in broken):
            tally.find("changed", mutation, run.text)


def reports(folder: Path, rng: random.Random, count: int) -> Tally:
    tally = Tally("reports, rendered and merged")
    red_project(folder, "--onnxlite-explain")
    sound, path, pages = (folder / "red.json").read_bytes(), folder / "changed.json", folder / "pages"
    pages.mkdir()
    for number in range(count):
        mutation = _any(sound, rng)
        path.write_bytes(mutation.content)
        before = digests(folder)
        with tally.timed(mutation):
            tried = (
                command("report", path, "--html", pages / "x.html", "--markdown", pages / "x.md", "--annotations")
                if number % 2
                else command("merge", path, "--baseline-dir", folder / "baselines", "--html", pages / "x.html")
            )
        # Rendering judges nothing; what a merge says of a report that was red is the verdict.
        tally.add(mutation, tried, may_be_green=number % 2 == 1)
        if {p: d for p, d in digests(folder).items() if pages not in p.parents} != {
            p: d for p, d in before.items() if pages not in p.parents
        }:
            tally.find("changed", mutation, "")
    return tally


def bundles(folder: Path, rng: random.Random, count: int) -> Tally:
    tally = Tally("bundles, replayed")
    sound = sorted((red_project(folder) / "bundles").iterdir())
    changed = folder / "changed-bundle"
    for _ in range(count):
        shutil.rmtree(changed, ignore_errors=True)
        shutil.copytree(rng.choice(sound), changed)
        files = sorted(path for path in changed.rglob("*") if path.is_file() and path.name != "README.txt")
        path = changed / "bundle.json" if rng.random() < 0.6 else rng.choice(files)
        mutation = _of(path, rng)
        if mutation.content == path.read_bytes():
            continue
        path.write_bytes(mutation.content)
        before = digests(changed)
        with tally.timed(mutation):
            tried = command("replay", changed)
        # Whoever edits the manifest says himself what is to be judged; all else is hashed in it.
        said_so = path.name == "bundle.json"
        tally.add(Mutation(f"{path.name}: {mutation.what}", b"", mutation.path), tried, may_be_green=said_so)
        if digests(changed) != before:
            tally.find("changed", mutation, "")
    return tally


def _of(path: Path, rng: random.Random) -> Mutation:
    mutate = {".json": _any, ".onnx": mutate_model, ".npz": mutate_arrays if path.name == "data.npz" else mutate_bytes}
    return mutate.get(path.suffix, mutate_bytes)(path.read_bytes(), rng)


def graphs(folder: Path, rng: random.Random, count: int) -> Tally:
    tally = Tally("models, by the graph checks")
    Fortress(folder, 1)
    files = folder / "files"
    for number in range(count):
        name = rng.choice(("int8.onnx", "onnx.onnx"))
        mutation = mutate_model((files / name).read_bytes(), rng)
        path = folder / "changed.onnx"
        path.write_bytes(mutation.content)
        with tally.timed(mutation):
            pair = (path, files / "onnx.onnx") if number % 3 else (files / "int8.onnx", path)
            tally.add(mutation, read_graph(*pair), not (mutation.impossible and number % 3))
    return tally


def _runs(
    what: str, file: str, mutate: Callable[[bytes, random.Random], Mutation]
) -> Callable[[Path, random.Random, int], Tally]:
    def runs(folder: Path, rng: random.Random, count: int) -> Tally:
        tally = Tally(what)
        fortress = Fortress(folder, min(_AT_ONCE, count))
        assert fortress.run("--onnxlite-save-baseline").code == 0
        sound = (folder / "files" / file).read_bytes()
        for start in range(0, count, _AT_ONCE):
            mutations = {name: mutate(sound, rng) for name in fortress.names[: count - start]}
            for name, mutation in mutations.items():
                (folder / name / file).write_bytes(mutation.content)
            _judge(fortress, mutations, tally, saving=False)
        return tally

    return runs


def arrays(folder: Path, rng: random.Random, count: int) -> Tally:
    tally = Tally("evaluation data, read")
    Fortress(folder, 1)
    sound, path = (folder / "files" / "data.npz").read_bytes(), folder / "changed.npz"
    for _ in range(count):
        mutation = mutate_arrays(sound, rng)
        path.write_bytes(mutation.content)
        with tally.timed(mutation):
            tally.add(mutation, read_data(path), not mutation.impossible)
    return tally


KINDS: dict[str, tuple[int, Callable[[Path, random.Random, int], Tally]]] = {
    "baselines": (10_000, read_baselines),
    "reports": (2_000, reports),
    "bundles": (500, bundles),
    "graphs": (3_000, graphs),
    "data": (2_000, arrays),
    "baseline-runs": (800, run_baselines),
    "model-runs": (300, _runs("models, in runs of pytest", "int8.onnx", mutate_model)),
    "data-runs": (120, _runs("evaluation data, in runs of pytest", "data.npz", mutate_arrays)),
}


def write_row(page: Path, row: str) -> None:
    """Put a kind's row into the page's table: in the place of its older one, or at the table's end."""
    start = row[: row.index(" |", 2) + 2]
    lines = page.read_text(encoding="utf-8").splitlines()
    ruler = lines.index(RULER)
    end = next(number for number in range(ruler, len(lines)) if not lines[number].startswith("|"))
    older = [number for number in range(ruler, end) if lines[number].startswith(start)]
    lines[older[0] if older else end : older[0] + 1 if older else end] = [row]
    page.write_text("\n".join([*lines, ""]), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=[[], *KINDS], help="all if none is named")
    parser.add_argument("--scale", type=float, default=1.0, help="how many of the usual numbers")
    parser.add_argument("--seed", type=int, default=2021)
    parser.add_argument("--finds", type=Path, default=Path("fuzz-finds.txt"), help="where what was found is kept")
    parser.add_argument("--write", type=Path, help="a Markdown page whose table takes the rows")
    given = parser.parse_args()
    print(f"seed {given.seed}\n\n{HEADER}\n{RULER}", flush=True)
    finds: list[str] = []
    for name in given.kinds or KINDS:
        count, fuzz = KINDS[name]
        with tempfile.TemporaryDirectory(prefix="onnxlite-fuzz-") as folder:
            start = time.monotonic()
            tally = fuzz(
                Path(folder) / "project", random.Random(f"{given.seed} {name}"), max(1, round(count * given.scale))
            )
        print(tally.row, flush=True)
        if given.write:
            write_row(given.write, tally.row)
        print(f"{name}: {time.monotonic() - start:.0f} s, the slowest step {tally.slowest:.1f} s", file=sys.stderr)
        finds += tally.finds
        given.finds.write_text("\n".join(finds), encoding="utf-8", errors="backslashreplace")
    sys.exit(1 if finds else 0)


if __name__ == "__main__":
    main()
