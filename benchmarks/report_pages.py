"""Makes the pictures that the README shows, from a real guard run on the example models.

python benchmarks/report_pages.py FOLDER          the run's report.json, report.html and report.md, in FOLDER
python benchmarks/report_pages.py FOLDER --image  also docs/images: the terminal, and the page where Chromium is installed, each in
                                                  light and dark
python benchmarks/report_pages.py FOLDER --render --image    both anew, of the run that is in FOLDER

Both models are saved as baselines over three commits: quantized per
channel, per tensor, and the dense net with other weights' type in between. Then the
candidate's faults: the dense net keeps a layer in float, and the convolutional one has a layer's INT8 weights mixed up.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples")]

CONFTEST = """
import json
from pathlib import Path
import pytest
from digits import load_digits
from pytest_onnxlite import Dataset, DynamicInt8, ModelSpec

HERE = Path(__file__).parent
CHOSEN = json.loads((HERE / "chosen.json").read_text())

@pytest.fixture(scope="session", params=["cnn", "dnn"])
def onnxlite_model(request):
    _, (x, y) = load_digits()
    chosen = CHOSEN[request.param]
    return ModelSpec(
        request.param,
        trained=HERE / "models" / f"{request.param}.keras",
        evaluation=Dataset(x, y),
        recipe=DynamicInt8(**chosen.get("recipe", {})),
        int8=HERE / chosen["int8"] if "int8" in chosen else None,
    )
"""
TEST = """
import pytest

@pytest.mark.onnxlite_accuracy(max_drop=0.01)
@pytest.mark.onnxlite_size(ratio=0.25, tolerance=0.05)
@pytest.mark.onnxlite_latency(max_slowdown=0.05, max_ratio=2.0)
@pytest.mark.onnxlite_memory(max_growth=0.05)
@pytest.mark.onnxlite_graph
def test_release(onnxlite_int8):
    pass

@pytest.mark.onnxlite_accuracy
@pytest.mark.onnxlite_latency
@pytest.mark.onnxlite_memory
def test_float(onnxlite_onnx):
    pass
"""


IMAGES = ROOT / "docs" / "images"
SCHEMES = {"light": "#dfe0da", "dark": "#30312e"}
# A wide screen and a phone, side by side.
_BOTH = """<!doctype html><style>
body { margin: 0; background: BACKGROUND; height: 1300px; overflow: hidden; display: flex; gap: 28px; padding: 28px 28px 0; box-sizing: border-box }
img { display: block; border-radius: 10px 10px 0 0; box-shadow: 0 2px 14px #0003; align-self: flex-start }
</style><img src="1000-SCHEME.png"><img src="360-SCHEME.png">"""
# The terminal: how wide it is, its background and letters, and black, red, green, yellow, blue, magenta, cyan and white.
_WIDTH = 194
_COLOURS = {
    "light": (
        (255, 255, 255),
        (36, 41, 47),
        ["24292f", "cf222e", "116329", "7d4e00", "0550ae", "8250df", "1b7c83", "6e7781"],
    ),
    "dark": (
        (13, 17, 23),
        (230, 237, 243),
        ["484f58", "ff7b72", "3fb950", "d29922", "58a6ff", "bc8cff", "39c5cf", "b1bac4"],
    ),
}
# rich's own has fonts of a server in it.
_SVG = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px; line-height: {line_height}px }}
.{unique_id}-title {{ display: none }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def run(folder: Path, *arguments: str) -> int:
    """Run pytest in the project, and keep what it prints; returns its exit status."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--onnxlite-cache-dir=cache", *arguments]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "examples"), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths, "COLUMNS": str(_WIDTH)}
    done = subprocess.run([*command, "--color=yes"], cwd=folder, env=environment, stdout=subprocess.PIPE, check=False)
    (folder / "terminal.txt").write_bytes(done.stdout)
    return done.returncode


def git(folder: Path, *arguments: str) -> None:
    """Run git in the project, as nobody in particular."""
    names = {f"GIT_{who}_{what}": "release" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], cwd=folder, env={**os.environ, **names}, check=True, capture_output=True)


def save(folder: Path, text: str, chosen: dict[str, Any]) -> None:
    """Save baselines and commit them."""
    import json

    (folder / "chosen.json").write_text(json.dumps(chosen))
    if run(folder, "--onnxlite-save-baseline", "--onnxlite-accept"):
        sys.exit("the baselines could not be saved")
    git(folder, "add", "baselines")
    git(folder, "commit", "-m", text)


def mix_up(source: Path, target: Path) -> None:
    """Roll the rows of the largest INT8 weight."""
    import numpy as np
    import onnx

    from onnx_models import edit, set_weight, weights_of

    def change(model: onnx.ModelProto) -> None:
        name, weights = max(weights_of(model).items(), key=lambda entry: entry[1].size)
        set_weight(model, name, np.roll(weights, 40, axis=0))

    edit(source, target, change)


def make(folder: Path) -> None:
    """Make the project, its history, and the run that fails."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "examples" / "models", folder / "models", dirs_exist_ok=True)
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_release.py").write_text(TEST)
    git(folder, "init", "-q")
    save(folder, "first", {"cnn": {"recipe": {"per_channel": True}}, "dnn": {"recipe": {"per_channel": True}}})
    save(folder, "second", {"cnn": {}, "dnn": {"recipe": {"per_channel": True}}})
    save(folder, "third", {"cnn": {}, "dnn": {}})
    (artefact,) = folder.glob("baselines/cnn/int8-*.onnx")
    mix_up(artefact, folder / "mixed.onnx")
    chosen = {"cnn": {"int8": "mixed.onnx"}, "dnn": {"recipe": {"exclude": ["dnn*/dense_4_1/*"]}}}
    (folder / "chosen.json").write_text(json.dumps(chosen))
    run(folder, "--onnxlite-baseline", "--onnxlite-report=report.json", "--onnxlite-bundle=bundles")


def render(folder: Path) -> None:
    """Render the report anew, as `python -m pytest_onnxlite report` does."""
    from pytest_onnxlite.__main__ import main

    arguments = ["report", str(folder / "report.json"), "--history", str(folder / "baselines")]
    main([*arguments, "--html", str(folder / "report.html"), "--markdown", str(folder / "report.md")])


def terminal(folder: Path) -> None:
    """Draw what the run printed at its end: how one limit failed, and the table."""
    from rich.console import Console
    from rich.terminal_theme import TerminalTheme
    from rich.text import Text

    text = (folder / "terminal.txt").read_text(encoding="utf-8")
    bare = r"(?:\x1b\[[0-9;]*m)*"
    failure = re.search(rf"^{bare}dnn int8: latency{bare}\n.*?See docs/\S+", text, re.DOTALL | re.MULTILINE)
    table = re.search(rf"^{bare}=+ {bare}onnxlite: .*?(?=^{bare}=+ |\Z)", text, re.DOTALL | re.MULTILINE)
    if failure is None or table is None:
        sys.exit("the run printed no slower net, or no table")
    title, *rows = table[0].splitlines()
    rows = list(
        itertools.takewhile(lambda row: row.startswith("\x1b"), rows)
    )  # what is worth knowing below it is plain
    shown = "\n".join(["$ pytest --onnxlite-baseline", "...", failure[0], "...", title, *rows])
    width = max(_WIDTH, *(Text.from_ansi(row).cell_len for row in rows))
    for scheme, (background, letters, colours) in _COLOURS.items():
        ansi = [(int(c[:2], 16), int(c[2:4], 16), int(c[4:], 16)) for c in colours]
        console = Console(width=width, record=True, file=io.StringIO(), force_terminal=True)
        console.print(Text.from_ansi(shown))
        theme = TerminalTheme(background, letters, ansi)
        svg = console.export_svg(title="", theme=theme, code_format=_SVG, unique_id="terminal")
        (IMAGES / f"terminal-{scheme}.svg").write_text(svg, encoding="utf-8")


def picture(folder: Path) -> None:
    """Photograph the page, for the README and to look at."""
    from browser import browser, find

    program = find()
    if program is None:
        sys.exit("no Chromium is installed")
    with browser(program) as page:
        for scheme, background in SCHEMES.items():
            for width in (360, 1000, 1280):
                page.open(folder / "report.html", width, dark=scheme == "dark")
                page.screenshot(folder / f"{width}-{scheme}.png")
            both = _BOTH.replace("SCHEME", scheme).replace("BACKGROUND", background)
            (folder / "both.html").write_text(both)
            page.open(folder / "both.html", 1444, height=1300)
            page.screenshot(IMAGES / f"report-{scheme}.png", height=1300)


def main() -> None:
    """Make what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--image", action="store_true", help="also the images, and others to look at in FOLDER")
    parser.add_argument("--render", action="store_true", help="only render the report that is there")
    arguments = parser.parse_args()
    if not arguments.render:
        make(arguments.folder)
    render(arguments.folder)
    if arguments.image:
        IMAGES.mkdir(exist_ok=True)
        terminal(arguments.folder)
        picture(arguments.folder)


if __name__ == "__main__":
    main()
