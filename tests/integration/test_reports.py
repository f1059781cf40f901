"""The reports of a run and the bundle of a failure: made by a real run, read back, and opened in a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import numpy.typing as npt
import onnx
import pytest

from pytest_onnxlite import bundle
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.report import html, markdown
from pytest_onnxlite.report.annotations import annotate
from pytest_onnxlite.report.document import Document, parse

import browser
from onnx_models import dense, quantize, ruin
from pages import Outline, missing_figures, network_faults, structure_faults
from projects import REPOSITORY, UNEXPLAINED, Digits, Project, once

Make = Callable[..., Project]

CONFTEST = """
import numpy as np
import pytest
from pytest_onnxlite import Dataset, ModelSpec

data = np.load("data.npz")

@pytest.fixture(scope="session")
def onnxlite_model():
    return ModelSpec("digits", onnx="onnx.onnx", int8="int8.onnx", evaluation=Dataset(data["x"], data["y"]))
"""
TEST = """
import pytest

@pytest.mark.onnxlite_accuracy
@pytest.mark.onnxlite_size
@pytest.mark.onnxlite_latency(max_slowdown=0.5, max_ratio=20, max_time=5)
@pytest.mark.onnxlite_memory
@pytest.mark.onnxlite_graph
def test_release(onnxlite_int8): pass

@pytest.mark.onnxlite_accuracy
@pytest.mark.onnxlite_size
def test_float(onnxlite_onnx): pass
"""


CHECKS = Registry.load().checks


def read(document: dict[str, Any]) -> Document:
    """Return the document that a report's JSON holds."""
    return parse(document, CHECKS, "it")


@dataclass(frozen=True)
class Reported:
    """A run that failed, and what it left."""

    path: Path
    document: dict[str, Any]
    output: str
    summary: str


@pytest.fixture(scope="module")
def reported(digits: Digits, shared_folder: Path, shared_cache: Path) -> Reported:
    """The example CNN, saved twice under git, then ruined and compared, under GitHub's variables; once for all workers."""
    path = shared_folder / "reported"
    once(path, lambda: report(path, digits, shared_cache))
    document, output, summary = (path / name for name in ("report.json", "output.txt", "summary.md"))
    return Reported(path, json.loads(document.read_text()), output.read_text(), summary.read_text())


def report(path: Path, digits: Digits, shared_cache: Path) -> None:
    path.mkdir()
    (path / "conftest.py").write_text(CONFTEST)
    (path / "test_release.py").write_text(TEST)
    np.savez(path / "data.npz", x=digits.x, y=digits.y)
    shutil.copyfile(digits.onnx, path / "onnx.onnx")
    shutil.copyfile(digits.int8, path / "int8.onnx")
    environment = {**os.environ, "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(path / "summary.md")}
    environment.pop("GITHUB_WORKSPACE", None)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "pytest", f"--onnxlite-cache-dir={shared_cache}", "-pno:randomly", *arguments]
        done = subprocess.run(command, cwd=path, env=environment, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    saved = run("--onnxlite-save-baseline")
    assert "saved: " in saved, saved
    commit(path, "first")
    ruin(digits.int8, path / "int8.onnx")
    (path / "summary.md").write_text("what another step wrote\n")
    files = ("--onnxlite-report=report.json", "--onnxlite-html=report.html", "--onnxlite-markdown=report.md")
    output = run("--onnxlite-baseline", "--onnxlite-bundle=bundles", *files)
    (path / "output.txt").write_text(output)


def commit(path: Path, text: str) -> None:
    names = {f"GIT_{who}_{what}": "tests" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for arguments in (["init", "-q"], ["add", "baselines"], ["commit", "-qm", text]):
        subprocess.run(["git", *arguments], cwd=path, env={**os.environ, **names}, check=True, capture_output=True)


def command(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m pytest_onnxlite`."""
    words = [sys.executable, "-m", "pytest_onnxlite", *map(str, arguments)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


# -- the JSON has all that the reports need ------------------------------------------------------------------


def test_the_document_says_where_how_and_beside_what(reported: Reported) -> None:
    document = reported.document
    assert document["verdict"] == "fail"
    assert document["environment"]["onnxruntime"]
    record = next(r for r in document["records"] if r["variant"] == "int8")
    assert (record["file"], record["line"]) == ("test_release.py", 4)
    assert record["conditions"]["samples"] == 1000
    assert record["limits"]["latency"]["max_ratio"] == 20
    assert record["baseline"]["accuracy"]["correct"] > 950
    assert len(record["measured"]["latency"]["comparisons"]["baseline"]["first"]) >= 8
    assert record["measured"]["graph"]["quantization"]["removed"]["Conv"] == 2


def test_a_guarded_test_that_was_never_judged_is_no_pass(digits_project: Make, tmp_path: Path) -> None:
    project = digits_project(markers="@pytest.mark.onnxlite_size", body="assert onnxlite_int8.size < 10, 'too large'")
    project.run("--onnxlite-report=r.json", "--onnxlite-html=r.html", "--onnxlite-markdown=r.md").assert_outcomes(
        failed=1
    )
    document = json.loads((project.path / "r.json").read_text())
    assert document["verdict"] == "fail"
    (entry,) = document["unjudged"]
    assert (entry["file"], entry["line"]) == ("test_release.py", 3)
    for name in ("r.html", "r.md"):
        text = (project.path / name).read_text()
        assert "too large" in text
        assert "failed before its limits were judged" in text


# -- Markdown and annotations --------------------------------------------------------------------------------


def test_markdown_says_what_failed_and_why(reported: Reported) -> None:
    text = (reported.path / "report.md").read_text()
    assert text.startswith("## ✗ Release guard: ")
    assert "| digits | int8 | ✗ fail |" in text
    assert "#### ✗ fail: digits int8: accuracy" in text
    assert "fewer right, at most 10 allowed" in text
    assert re.search(r"\| accuracy \| 97\.\d % \| 97\.\d % \| \*\*", text), text
    assert "| Conv | 2 | 0 | −2 |" in text


def test_the_job_summary_is_added_to(reported: Reported) -> None:
    assert reported.summary.startswith("what another step wrote\n## ✗ Release guard")


def test_annotations_stand_at_the_tests_place(reported: Reported) -> None:
    notes = [line for line in reported.output.splitlines() if line.startswith("::error ")]
    accuracy = [note for note in notes if "title=digits int8%3A accuracy::" in note]
    assert accuracy, reported.output
    assert accuracy[0].startswith("::error file=test_release.py,line=4,")
    assert " %25 (" in accuracy[0]
    assert "%0A" in accuracy[0]
    assert not any("digits onnx" in note for note in notes)  # what passes has none


def test_a_pass_has_neither_a_cross_nor_an_annotation(digits_project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    project = digits_project(markers="@pytest.mark.onnxlite_size")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    result = project.run("--onnxlite-markdown=r.md", "--onnxlite-html=r.html")
    result.assert_outcomes(passed=1)
    assert "::error" not in result.stdout.str()
    assert "✗" not in (project.path / "r.md").read_text()
    assert "✗" not in (project.path / "r.html").read_text()


def test_outside_of_ci_nothing_is_written_that_was_not_asked_for(
    digits_project: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    project = digits_project(markers="@pytest.mark.onnxlite_size(ratio=0.01)")
    project.run("-p", "no:cacheprovider")  # ONNX Runtime writes a folder of its own below HOME, once
    before = {path.name for path in project.path.iterdir()}
    result = project.run("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    assert "::error" not in result.stdout.str()
    assert {path.name for path in project.path.iterdir()} - before <= {"__pycache__", ".benchmarks"}


def test_a_job_summary_that_cannot_be_written_is_told_and_judges_nothing(
    digits_project: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = digits_project(markers="@pytest.mark.onnxlite_size")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "no" / "folder.md"))
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["the job summary *folder.md cannot be written*"])


@pytest.mark.parametrize("option", ["html", "markdown", "bundle"])
def test_a_report_that_cannot_be_written_is_red(digits_project: Make, option: str) -> None:
    project = digits_project(markers="@pytest.mark.onnxlite_size(ratio=0.01)")
    (project.path / "taken").write_text("a file, where a folder should be")
    result = project.run(f"--onnxlite-{option}=taken/x")
    assert result.ret == 1
    assert re.search(rf"--onnxlite-{option}: \S*taken\S* cannot be written", result.stdout.str()), result.stdout.str()
    assert "bytes are 0." in result.stdout.str()  # what failed is said all the same


def test_the_new_options_have_ini_twins(digits_project: Make) -> None:
    project = digits_project(markers="@pytest.mark.onnxlite_size(ratio=0.01)")
    lines = ["html = out/r.html", "markdown = out/r.md", "bundle = out/bundles", "bundle_data = true"]
    project.pytester.makeini("[pytest]\n" + "\n".join(f"onnxlite_{line}" for line in lines))
    project.run().assert_outcomes(failed=1)
    assert (project.path / "out" / "r.html").is_file()
    assert (project.path / "out" / "r.md").is_file()
    assert len(list(project.path.glob(f"out/bundles/*/{bundle.DATA}"))) == 1


def test_html_without_jinja2_is_a_mistake_told_at_once(digits_project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "jinja2" else find(name, *rest)
    )
    result = digits_project(markers="@pytest.mark.onnxlite_size").run("--onnxlite-html=r.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "pip install 'pytest-onnxlite[html]'" in result.stderr.str()


def test_data_without_a_bundle_is_a_mistake(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--onnxlite-bundle-data")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "goes with --onnxlite-bundle=DIR" in result.stderr.str()


def test_the_controller_writes_the_reports_of_workers(digits_project: Make) -> None:
    project = digits_project(markers="@pytest.mark.onnxlite_size(ratio=0.01)")
    project.run("-n2", "--onnxlite-html=r.html", "--onnxlite-bundle=bundles").assert_outcomes(failed=1)
    assert "What failed and why" in (project.path / "r.html").read_text()
    assert len(list(project.path.glob("bundles/*/bundle.json"))) == 1


# -- the page ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(reported: Reported) -> Path:
    """The page as it is rendered later, with the trend."""
    path = reported.path / "later.html"

    def render() -> None:
        files = ("--html", path.name, "--markdown", "later.md", "--history", "baselines")
        done = command("report", "report.json", *files, cwd=reported.path)
        assert done.returncode == 0, done.stderr

    once(path, render)
    return path


def test_the_page_needs_nothing_else(page: Path) -> None:
    text = page.read_text()
    assert network_faults(text) == []
    for fault in ('<img src="x.png">', "<script>", '<link href="https://x">', "background: url(x)", '@import "x"'):
        assert network_faults(text.replace("</main>", f"{fault}</main>")), fault


def test_the_page_is_well_made(page: Path) -> None:
    text = page.read_text()
    assert structure_faults(text) == []
    faults = {
        "</main>": "",
        "<h1>": "<h3>",
        '<th role="rowheader" scope="row">': '<th role="rowheader">',
        '<td role="cell"': "<td",
        'id="problems"': 'id="summary"',
        '<svg role="img"': "<svg",
        ' tabindex="0"': "",
        "<html lang": "<html data-lang",
    }
    for there, instead in faults.items():
        assert structure_faults(text.replace(there, instead)), there


def test_every_figure_of_the_report_is_on_the_page(reported: Reported, page: Path) -> None:
    shown = Outline(page.read_text()).text
    assert missing_figures(reported.document, shown) == []
    assert missing_figures({**reported.document, "further": 123.4567}, shown) == ["123.4567"]
    # And every red verdict with its whole text.
    red = [v["message"] for r in reported.document["records"] for v in r["verdicts"] if v["red"]]
    assert red
    assert [m for m in red if " ".join(m.split()) not in shown] == []


def test_what_a_report_says_is_text_and_no_markup(reported: Reported) -> None:
    evil = "<script>alert(1)</script> & `code` | *x* [a](b)"
    document = json.loads(json.dumps(reported.document))
    record = document["records"][0]
    record["test"] = evil
    record["verdicts"][0].update(red=True, outcome="fail", message=evil, explanation={"why": evil, "lines": [evil]})
    document["session"] = [evil]
    text = html.render(read(document), CHECKS)
    assert "<script>" not in text
    assert Outline(text).text.count(evil) >= 4
    shown = markdown.render(read(document), CHECKS)
    assert "<script>" not in re.sub(r"^```text\n.*?^```", "", shown, flags=re.DOTALL | re.MULTILINE)


def test_it_keeps_to_the_published_schema(reported: Reported) -> None:
    schema = json.loads((REPOSITORY / "docs" / "schemas" / "report.schema.json").read_text())
    assert [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(reported.document)] == []


def test_explanations_are_shown_everywhere(reported: Reported) -> None:
    document = json.loads(json.dumps(reported.document))
    verdict = next(v for r in document["records"] for v in r["verdicts"] if v["red"])
    verdict["explanation"] = {
        "why": "a layer",
        "lines": ["the layer dense_7 loses most: 3.25 dB"],
        "sqnr": {"dense_7": 3.25},
    }
    verdict["message"] = "short"
    text = html.render(read(document), CHECKS)
    assert "the layer dense_7 loses most: 3.25 dB" in text
    assert missing_figures({"sqnr": verdict["explanation"]["sqnr"]}, Outline(text).text) == []
    assert "the layer dense_7 loses most: 3.25 dB" in markdown.render(read(document), CHECKS)
    assert any(
        "the layer dense_7 loses most%3A 3.25 dB" in n or "loses most: 3.25 dB" in n
        for n in annotate(read(document), CHECKS)
    )


@pytest.fixture(scope="module")
def chromium() -> Any:
    program = browser.find()
    if program is None:
        pytest.skip("no Chromium is installed (Debian's package: chromium)")
    with browser.browser(program) as opened:
        yield opened


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_in_a_browser(
    chromium: browser.Browser, reported: Reported, page: Path, width: int, dark: bool
) -> None:
    chromium.open(page, width, dark=dark)
    assert chromium.complaints() == []
    assert chromium.requests() == [page.as_uri()]
    for step in ("", "document.querySelectorAll('details').forEach(d => { d.open = true })"):
        chromium.evaluate(step or "0")
        assert chromium.overlaps() == []
        assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert missing_figures(reported.document, chromium.evaluate("document.body.innerText")) == []
    assert contrast_faults(chromium) == []


@pytest.mark.parametrize("width", [360, 1280])
def test_long_names_and_words_stay_in_their_place(
    chromium: browser.Browser, reported: Reported, tmp_path: Path, width: int
) -> None:
    name, word = "Model" * 12 + "2026", "wholly_unbroken/" * 20
    document = json.loads(json.dumps(reported.document).replace("digits", name))
    for entry in document["records"]:
        entry["test"] = entry["file"] = word
        for verdict in entry["verdicts"]:
            verdict.update(message=f"  {word}\n{word}", explanation={"why": word, "lines": [f"    {word}"], word: 1.5})
    document["session"], document["remarks"] = [word], [word]
    path = tmp_path / "long.html"
    path.write_text(html.render(read(document), CHECKS))
    chromium.open(path, width)
    chromium.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.overlaps() == []


# WCAG 2.2, 1.4.3: relative luminance and contrast ratio.
_CONTRAST = """
(() => {
  const luminance = c => {
    const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  // What was mixed comes as color(srgb 0.1 0.2 0.3).
  const parse = text => text.match(/[\\d.]+/g).map(Number)
    .map((v, i) => text.startsWith('color(srgb') && i < 3 ? v * 255 : v);
  const background = element => {
    for (let e = element; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] === 1) return c.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || !element.checkVisibility() || ['TITLE', 'title', 'desc', 'STYLE'].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const colour = parse(element.closest('svg') ? style.fill : style.color).slice(0, 3);
    const [high, low] = [luminance(colour), luminance(background(element))].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)}: ${element.textContent.trim().slice(0, 40)}`);
  }
  return found;
})()
"""


def contrast_faults(chromium: browser.Browser) -> list[str]:
    """Return texts that are too faint to read."""
    found: list[str] = chromium.evaluate(_CONTRAST)
    return found


def test_the_browser_sees_what_is_wrong(chromium: browser.Browser, page: Path, tmp_path: Path) -> None:
    faulty = tmp_path / "faulty.html"
    script = '<script>console.error("lost")</script><style>.said, .note { line-height: 0.4; color: #bbb }</style>'
    style = "<div style='width: 3000px'>wide</div><img src='https://example.invalid/x.png'>"
    text = page.read_text().replace("default-src 'none'", "default-src * 'unsafe-inline'")
    faulty.write_text(text.replace("</main>", f"{script}{style}</main>"))
    chromium.open(faulty, 360)
    assert any("lost" in complaint for complaint in chromium.complaints())
    assert chromium.overlaps()
    assert chromium.evaluate("document.documentElement.scrollWidth") > 360
    assert len(chromium.requests()) > 1
    assert contrast_faults(chromium)


# -- later, elsewhere ----------------------------------------------------------------------------------------


def test_the_trend_shows_each_saved_baseline(reported: Reported, page: Path) -> None:
    text = Outline(page.read_text()).text
    assert "Trend over the saved baselines" in text
    assert text.count("this run") >= 2
    assert "Trend over the saved baselines" in (reported.path / "later.md").read_text()
    # Without being asked, nobody looks into git.
    assert "Trend" not in (reported.path / "report.html").read_text()


def test_rendering_later_prints_markdown_where_nothing_is_said(reported: Reported) -> None:
    done = command("report", "report.json", cwd=reported.path)
    assert done.returncode == 0
    assert done.stdout == (reported.path / "report.md").read_text()
    notes = command("report", "report.json", "--annotations", cwd=reported.path).stdout
    assert notes.startswith("::error file=test_release.py,line=")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ("[]", "no report of a guard"),
        ('{"schema": 99, "records": []}', "has schema 99"),
        ('{"schema": 1, "records": []}', "lacks what a report holds"),
    ],
)
def test_a_file_that_is_no_report_is_told(tmp_path: Path, content: str | None, text: str) -> None:
    if content is not None:
        (tmp_path / "r.json").write_text(content)
    done = command("report", "r.json", "--html", "r.html", cwd=tmp_path)
    assert done.returncode == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "r.html").exists()


def test_history_without_a_repository_is_told(reported: Reported, tmp_path: Path) -> None:
    shutil.copytree(reported.path / "baselines", tmp_path / "baselines")
    done = command("report", reported.path / "report.json", "--history", "baselines", cwd=tmp_path)
    assert done.returncode == 2
    assert "git cannot read the history" in done.stderr


def test_show_prints_what_is_guarded(reported: Reported, tmp_path: Path) -> None:
    done = command("show", cwd=reported.path)
    assert done.returncode == 0, done.stdout
    assert re.search(
        r"^digits +int8 +97\.\d % +- +4\d\d\.\d+ KiB +\S+ [µm]s +- +\S+ MiB +\d+ nodes +- +4\d\d",
        done.stdout,
        re.MULTILINE,
    )
    assert re.search(r"^digits +onnx +97\.\d % +- +1\.\d+ MiB +- +- +- +- +- +1\.", done.stdout, re.MULTILINE)
    assert "1 model, 2 variants" in done.stdout
    broken = tmp_path / "baselines"
    shutil.copytree(reported.path / "baselines", broken)
    (broken / "digits" / "onnx.json").write_text("{")
    next(broken.glob("digits/int8-*.onnx")).unlink()
    done = command("show", broken, cwd=tmp_path)
    assert done.returncode == 1
    assert "onnx.json is not JSON" in done.stdout
    assert "artefact" in done.stdout
    assert "cannot be read" in done.stdout
    none = command("show", "nowhere", cwd=tmp_path)
    assert (none.returncode, "there is no folder nowhere" in none.stderr) == (2, True)


# -- bundles -------------------------------------------------------------------------------------------------


@pytest.fixture
def bundled(reported: Reported, tmp_path: Path) -> Path:
    """The bundle of the failed INT8 release, in another place, without the project."""
    (source,) = reported.path.glob("bundles/*int8*")
    return Path(shutil.copytree(source, tmp_path / "elsewhere"))


def test_a_failure_names_its_bundle_which_says_how_to_replay_it(reported: Reported, bundled: Path) -> None:
    assert "Replay it elsewhere: python -m pytest_onnxlite replay " in reported.output
    text = (bundled / "README.txt").read_text()
    assert "python -m pytest_onnxlite replay ." in text
    assert "fewer right" in text
    manifest = json.loads((bundled / "bundle.json").read_text())
    assert manifest["environment"]["onnxruntime"]
    assert manifest["seed"]
    assert {name: bool(found["file"]) for name, found in manifest["files"].items()} == {
        "candidate": True,
        "float": True,
        "last": True,
    }
    assert str(reported.path) not in json.dumps(manifest)


def test_a_bundle_holds_the_failing_samples_and_no_others(digits: Digits, bundled: Path) -> None:
    assert not (bundled / bundle.DATA).exists()
    with np.load(bundled / bundle.INPUTS) as arrays:
        rows, x, y = arrays["rows@"], arrays["x.@"], arrays["y@"]
    assert 10 < len(rows) <= 200
    np.testing.assert_array_equal(x, digits.x[rows])
    np.testing.assert_array_equal(y, digits.y[rows])


def test_a_replay_is_red_again_elsewhere(bundled: Path) -> None:
    done = command("replay", ".", cwd=bundled)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"(\d+) of the \1 failing samples are answered wrong again", done.stdout)
    assert "red again: accuracy against onnx (fail)" in done.stdout
    assert "red again: accuracy against baseline (fail)" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_replay_of_what_is_well_passes(bundled: Path, digits: Digits) -> None:
    """The same samples, answered by the model that was not ruined."""
    path = bundled / "bundle.json"
    manifest = json.loads(path.read_text())
    (previous,) = bundled.glob("baselines/digits/int8-*.onnx")
    manifest["files"]["candidate"]["file"] = str(previous.relative_to(bundled))
    manifest["files"]["candidate"]["sha256"] = manifest["files"]["last"]["sha256"]
    # Next to a busy worker the time may have been inconclusive, which is red too.
    manifest["red"] = [entry for entry in manifest["red"] if entry[0] == "accuracy"]
    path.write_text(json.dumps(manifest))
    done = command("replay", bundled, cwd=bundled)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passes here: accuracy against onnx (pass)" in done.stdout


def test_a_bundle_that_was_changed_is_told(bundled: Path, tmp_path: Path) -> None:
    candidate = bundled / "candidate" / "int8.onnx"
    candidate.write_bytes(candidate.read_bytes()[:-1])
    done = command("replay", bundled, cwd=tmp_path)
    assert done.returncode == 2
    assert "is not the file that was judged" in done.stderr
    none = command("replay", tmp_path, cwd=tmp_path)
    assert (none.returncode, "is no bundle" in none.stderr) == (2, True)


@pytest.mark.alone
def test_every_other_check_is_replayed_on_made_up_inputs(project: Project, tmp_path: Path) -> None:
    """Twice the layers: size, latency, memory and graph, without a sample of the user's."""
    x = np.random.default_rng(0).normal(size=(8, 256)).astype(np.float32)
    checks = (
        "onnxlite_size",
        "onnxlite_latency(max_slowdown=0.2, max_time=20)",
        "onnxlite_memory",
        "onnxlite_graph(structure='frozen')",
    )
    markers = "\n".join(f"@pytest.mark.{check}" for check in checks)
    project.write({"onnx": dense(tmp_path / "a.onnx", 4)}, x, variant="onnx", markers=markers)
    project.save()
    project.replace("onnx.onnx", dense(tmp_path / "b.onnx", 12))
    result = project.compare("--onnxlite-bundle=bundles", UNEXPLAINED)
    result.assert_outcomes(failed=1)
    (folder,) = project.path.glob("bundles/*")
    assert not list(folder.glob("*.npz"))
    elsewhere = Path(shutil.move(folder, tmp_path / "elsewhere"))
    done = command("replay", elsewhere, cwd=tmp_path)
    assert done.returncode == 1
    for check in ("size", "latency", "memory", "graph"):
        assert f"red again: {check} against baseline" in done.stdout, done.stdout + done.stderr


def test_what_is_too_large_goes_in_by_its_hash(
    digits_project: Make, digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "MOST_BYTES", 1000)
    project = digits_project(files={"onnx": digits.onnx, "int8": ruin(digits.int8, tmp_path / "ruined.onnx")})
    project.run("--onnxlite-bundle=bundles").assert_outcomes(failed=1)
    (folder,) = project.path.glob("bundles/*")
    assert not list(folder.rglob("*.onnx"))
    manifest = json.loads((folder / "bundle.json").read_text())
    assert len(manifest["files"]["candidate"]["sha256"]) == 64
    assert "bytes are too many" in (folder / "README.txt").read_text()
    done = command("replay", folder, cwd=tmp_path)
    assert done.returncode == 1
    assert "not replayed: accuracy against onnx: the candidate is not here: it was too large" in done.stdout


def rated_by(project: Project, folder: Path, metric: str) -> npt.NDArray[np.float32]:
    """Write a project whose INT8 model loses a little by a metric that is no count; returns its evaluation data."""
    x = np.random.default_rng(0).normal(size=(60, 64)).astype(np.float32)
    source = dense(folder / "a.onnx", 2, width=64)
    project.write(
        {"onnx": source, "int8": quantize(source, folder / "b.onnx")},
        x,
        spec=metric,
        markers="@pytest.mark.onnxlite_accuracy(max_drop=0)",
    )
    return x


def test_a_metric_that_is_no_count_is_reported_and_replayed(project: Project, tmp_path: Path) -> None:
    x = rated_by(project, tmp_path, "metric='mae'")
    options = ("--onnxlite-html=r.html", "--onnxlite-markdown=r.md", "--onnxlite-report=r.json")
    project.run("--onnxlite-bundle=bundles", *options).assert_outcomes(failed=1)
    document = json.loads((project.path / "r.json").read_text())
    assert missing_figures(document, Outline((project.path / "r.html").read_text()).text) == []
    assert re.search(r"\| accuracy \| – \| – \| \*\*0\.\d+ mae\*\* ", (project.path / "r.md").read_text())
    (folder,) = project.path.glob("bundles/*")
    with np.load(folder / bundle.INPUTS) as arrays:
        np.testing.assert_array_equal(arrays["x.@"], x[arrays["rows@"]])
    done = command("replay", folder, cwd=tmp_path)
    assert done.returncode == 1
    assert "of the 60 failing samples are worse than the float model's again" in done.stdout, done.stdout + done.stderr


def test_a_metric_of_the_projects_own_is_not_replayed(project: Project, tmp_path: Path) -> None:
    rated_by(project, tmp_path, "metric=lambda outputs, labels: -float(abs(outputs - labels).mean())")
    project.run("--onnxlite-bundle=bundles").assert_outcomes(failed=1)
    (folder,) = project.path.glob("bundles/*")
    assert not list(folder.glob("*.npz"))  # one figure for all samples: none of them is to blame
    done = command("replay", folder, cwd=tmp_path)
    assert done.returncode == 1
    assert "is code of the project's" in done.stdout


@pytest.mark.parametrize("kind", ["trained", "tflite", "tflite_int8"])
def test_a_variant_that_needs_more_than_onnx_runtime_is_not_replayed(bundled: Path, kind: str) -> None:
    path = bundled / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "variant": kind}))
    done = command("replay", bundled, cwd=bundled)
    assert done.returncode == 1
    assert f"not replayed: accuracy against onnx: the {kind} variant cannot be run from a bundle." in done.stdout
    assert "fewer right" in done.stdout  # what it said then
    assert "Traceback" not in done.stderr


def test_the_whole_data_goes_in_where_it_is_asked_for(digits_project: Make, digits: Digits, tmp_path: Path) -> None:
    files = {"onnx": digits.onnx, "int8": ruin(digits.int8, tmp_path / "ruined.onnx")}
    project = digits_project(files=files)
    project.run("--onnxlite-bundle=bundles", "--onnxlite-bundle-data").assert_outcomes(failed=1)
    (folder,) = project.path.glob("bundles/*")
    with np.load(folder / bundle.DATA) as arrays:
        assert len(arrays["x.@"]) == len(digits.x)
    done = command("replay", folder, cwd=tmp_path)
    assert done.returncode == 1
    assert "of 1000 right" in done.stdout


def test_external_data_goes_in_beside_its_model(project: Project, tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    model = onnx.load(dense(tmp_path / "plain.onnx", 2, width=64))
    path = tmp_path / "big" / "onnx.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    work = tmp_path / "work"
    work.mkdir()
    found = bundle.place(path, work, "candidate")
    assert found.file == "candidate/onnx.onnx"
    assert (work / "candidate" / "weights.bin").read_bytes() == (tmp_path / "big" / "weights.bin").read_bytes()


def test_no_bundle_of_what_passes(digits_project: Make) -> None:
    project = digits_project(markers="@pytest.mark.onnxlite_size")
    project.run("--onnxlite-bundle=bundles").assert_outcomes(passed=1)
    assert not (project.path / "bundles").exists()


@pytest.mark.parametrize("name", ["report-light.png", "report-dark.png", "terminal-light.svg", "terminal-dark.svg"])
def test_the_readmes_pictures_are_small_and_there(name: str) -> None:
    image = REPOSITORY / "docs" / "images" / name
    assert image.read_bytes().startswith(b"\x89PNG" if name.endswith("png") else b"<svg")
    assert image.stat().st_size < 400_000
    assert f"docs/images/{name}" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
