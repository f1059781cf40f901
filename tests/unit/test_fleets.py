"""Many models in one run: what passes is counted, what fails is shown in full, and what is said of many is said once."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_onnxlite.records import Record
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.report import document, html, terminal

from pages import structure_faults
from projects import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "benchmarks"))

from fleet_study import SAMPLE, fleet

CHECKS = Registry.load().checks


@pytest.fixture(scope="module")
def sample() -> document.Document:
    return document.load(Path(SAMPLE), CHECKS)


@pytest.fixture(scope="module")
def records(sample: document.Document) -> tuple[Record, ...]:
    return fleet(sample.records, 60, red=20)  # three are red


def test_a_long_table_counts_what_passes_and_lists_what_does_not(records: tuple[Record, ...]) -> None:
    lines = terminal.table(records, CHECKS, everything=False)
    assert [text.split()[0] for text, _ in lines] == ["model", "m000", "m020", "m040", "57"]
    assert [colour for _, colour in lines] == ["", "red", "red", "red", "green"]
    assert lines[-1][0] == "57 variants pass; -v lists them"
    assert len(terminal.table(records, CHECKS)) == 61
    assert len(terminal.table(records[:40], CHECKS, everything=False)) == 41
    sound = [record for record in records if not record.is_red]
    assert terminal.table(sound, CHECKS, everything=False) == [("57 variants pass; -v lists them", "green")]


def test_what_is_said_of_many_is_said_once(records: tuple[Record, ...]) -> None:
    lines = terminal.notes(records, CHECKS, 0)
    assert len(lines) == len(set(lines))
    for text in ("is quantized with", "can saturate", "OLX611", "are quantized with"):
        assert sum(text in line for line in lines) <= 2, text
    (line,) = [line for line in lines if "OLX611" in line]
    assert line.startswith("m001 int8, m003 int8, ")
    assert "and 20 more: warning: OLX611" in line
    alone = terminal.notes(records[1:2], CHECKS, 0)
    assert next(line for line in alone if "OLX611" in line).startswith("m001 int8: warning: OLX611")


def test_a_page_of_many_has_all_of_what_fails_and_a_filter(
    sample: document.Document, records: tuple[Record, ...]
) -> None:
    page = html.render(replace(sample, records=records, verdict="fail"), CHECKS)
    assert structure_faults(page) == []
    assert re.findall(r'<h2 id="model-(m\d+)"', page) == ["m000", "m020", "m040"]
    assert page.count("3.0 MiB, 2.0 MiB is allowed") >= 3
    assert len(re.findall(r'<tr role="row" class="is-', page)) == 60
    assert 'id="rows-noted"' in page
    assert "57 variants of this run have a row in the summary alone" in page
    assert "<script" not in page
    small = html.render(replace(sample, records=records[:4]), CHECKS)
    assert len(re.findall(r'<h2 id="model-', small)) == 4
    assert 'id="rows-noted"' not in small
