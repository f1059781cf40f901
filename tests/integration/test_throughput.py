"""Inferences per second with several callers of one session: red where they get less, whatever one caller gets."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_onnxlite.checks.throughput import callers
from pytest_onnxlite.checks.throughput.callers import Callers, Crew
from pytest_onnxlite.checks.throughput.judge import why_slower
from pytest_onnxlite.checks.throughput.limit import ThroughputLimit
from pytest_onnxlite.checks.throughput.measure import measure
from pytest_onnxlite.checks.throughput.measurement import Throughput
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime.interruption import limit_inferences
from pytest_onnxlite.spec.runtimes import Runtime

from onnx_models import dense, in_other_bytes
from projects import UNEXPLAINED, Project

ONE = np.ones((4, 256), np.float32)
FEEDS = {"x": ONE[:1]}


@pytest.mark.alone
def test_callers_that_get_less_are_red_and_the_same_model_is_green(project: Project, tmp_path: Path) -> None:
    markers = "@pytest.mark.onnxlite_throughput(clients=2, max_slowdown=1.0)"
    project.write({"onnx": dense(tmp_path / "a.onnx", 4)}, ONE, variant="onnx", markers=markers)
    project.save()
    saved = json.loads(project.baseline.read_text())
    (machine,) = saved["machines"].values()
    section = machine["throughput"]
    assert section["per_second"] > 0
    assert (section["clients"], section["batch_size"], section["threads"]) == (2, 1, 1)
    assert section["shapes"] == {"x": [1, 256]}
    assert saved["first"] == {"throughput_ratio": 1.0}
    project.replace("onnx.onnx", in_other_bytes(tmp_path / "a.onnx", tmp_path / "same.onnx"))
    result = project.compare("--onnxlite-report=report.json", "--onnxlite-html=report.html")
    result.assert_outcomes(passed=1)
    assert "/s with 2 clients (" in result.stdout.str()
    report = json.loads((project.path / "report.json").read_text())
    (verdict,) = report["records"][0]["verdicts"]
    assert (verdict["check"], verdict["against"], verdict["outcome"]) == ("throughput", "baseline", "pass")
    assert verdict["evidence"]["clients"] == 2
    assert "throughput" in (project.path / "report.html").read_text()

    project.replace("onnx.onnx", dense(tmp_path / "b.onnx", 40))
    result = project.compare()
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "/s with 2 clients: an inference takes " in text
    assert "at most 2.00x allowed (max_slowdown=1, x (1, 256), batch size 1, 1 thread)" in text
    assert "one caller by itself takes " in text
    assert "the model does more work, and onnxlite_latency names its operators." in text
    # Accepted by name, it is the one that is held from then on.
    result = project.run("--onnxlite-save-baseline", "--onnxlite-accept-only=throughput", UNEXPLAINED)
    assert result.ret == 0
    assert json.loads(project.baseline.read_text())["first"]["throughput_ratio"] > 2


def with_a_pause(monkeypatch: pytest.MonkeyPatch, locked: Path | None) -> None:
    """Let each inference of real sessions be followed by a pause, as of a slow device; of one file under a lock."""
    opened = Callers._open

    def open_with_pause(self: Callers, path: Path) -> Sequence[callers.Runner]:
        lock = threading.Lock()

        def pausing(run: callers.Runner) -> callers.Runner:
            def paused() -> Any:
                answers = run()
                time.sleep(0.004)
                return answers

            def one_at_a_time() -> Any:
                with lock:
                    return paused()

            return one_at_a_time if path == locked else paused

        return [pausing(run) for run in opened(self, path)]

    monkeypatch.setattr(Callers, "_open", open_with_pause)


def of_callers(candidate: Path, last: Path | None, clients: int = 2, **limit: Any) -> Throughput:
    given = ThroughputLimit(**{"max_slowdown": 0.5, "max_time": 2.0, **limit})
    return measure(candidate, last, FEEDS, limit=given, clients=clients, batch_size=1, runtime=Runtime())


def test_callers_that_wait_for_each_other_are_seen_only_where_there_are_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, locked = dense(tmp_path / "free.onnx", 1), dense(tmp_path / "locked.onnx", 1)
    with_a_pause(monkeypatch, locked)
    ratios = {}
    for clients in (1, 2):
        comparison = of_callers(locked, free, clients).comparison
        assert comparison is not None
        ratios[clients] = float(np.median(comparison.first))
    assert ratios[1] == pytest.approx(1, abs=0.25)
    assert ratios[2] > 1.5


def test_a_caller_that_never_gets_an_answer_ends_in_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two callers, each of which waits for what the other holds: no session of one caller would show it.
    model = dense(tmp_path / "a.onnx", 1)
    ending = threading.Event()
    monkeypatch.setattr(Callers, "_open", lambda self, path: [lambda: ending.wait() and []] * 2)
    limit_inferences(0.5)
    try:
        with pytest.raises(OnnxliteError, match=r"2 callers of one session did not get an answer each within 0\.5 s"):
            of_callers(model, None)
    finally:
        limit_inferences(600)
        ending.set()


def test_a_model_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    model = dense(tmp_path / "a.onnx", 1, width=8)
    with pytest.raises(OnnxliteError, match=r"ONNX Runtime cannot run a\.onnx for 2 callers at the same time: "):
        of_callers(model, None)


class TimeIsUp(BaseException):
    """What a plugin that limits a test's time raises in the main thread."""


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_signal_ends_the_callers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = dense(tmp_path / "a.onnx", 1)
    with_a_pause(monkeypatch, None)

    def alarm(*_: object) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGUSR1, alarm)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    began = time.monotonic()
    try:
        with pytest.raises(TimeIsUp):
            of_callers(model, model, max_slowdown=0.005, max_time=60.0)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - began < 10
    time.sleep(0.2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("onnxlite-caller")]


def test_answers_that_callers_spoil_for_each_other_are_no_throughput(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As of an operator that keeps its result in one place for all callers.
    opened, model = Callers._open, dense(tmp_path / "a.onnx", 1)
    kept: list[Any] = []

    def open_unsafe(self: Callers, path: Path) -> Sequence[callers.Runner]:
        def unsafe(number: int, run: callers.Runner) -> Any:
            kept[:] = [[output + number for output in run()]]
            time.sleep(0.004)
            return kept[0]

        return [partial(unsafe, number, run) for number, run in enumerate(opened(self, path))]

    monkeypatch.setattr(Callers, "_open", open_unsafe)
    with pytest.raises(
        OnnxliteError, match=r"a\.onnx gives \d+ of 16 times other answers when 2 callers ask one session"
    ):
        of_callers(model, None)


def test_random_answers_that_are_alike_twice_by_chance_are_not_the_callers_doing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, model = Callers._open, dense(tmp_path / "a.onnx", 1)
    asked = itertools.count()

    def open_random(self: Callers, path: Path) -> Sequence[callers.Runner]:
        def random(run: callers.Runner) -> Any:
            number = next(asked)
            return [output + max(0, number - 1) for output in run()]

        return [partial(random, run) for run in opened(self, path)]

    monkeypatch.setattr(Callers, "_open", open_random)
    assert of_callers(model, None).per_second > 0


def test_a_failure_while_it_is_timed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, model, calls = Callers._open, dense(tmp_path / "a.onnx", 1), []

    def open_failing(self: Callers, path: Path) -> Sequence[callers.Runner]:
        def failing(run: callers.Runner) -> Any:
            calls.append(1)
            if len(calls) > 200:
                raise RuntimeError("out of memory\nat line 7")
            return run()

        return [partial(failing, run) for run in opened(self, path)]

    monkeypatch.setattr(Callers, "_open", open_failing)
    with pytest.raises(OnnxliteError, match=r"cannot run a\.onnx for 2 callers at the same time: out of memory$"):
        of_callers(model, None)


def test_no_caller_is_traced_and_all_take_part() -> None:
    seen: dict[str, object] = {}

    def run() -> None:
        seen[threading.current_thread().name] = sys.gettrace()
        time.sleep(0.002)

    threading.settrace(lambda *_: None)
    try:
        crew = Crew(3)
    finally:
        threading.settrace(None)
    try:
        seconds = crew.run([run] * 3, 60)
    finally:
        crew.close()
    assert seen == {f"onnxlite-caller-{number}": None for number in range(3)}
    assert 0.04 <= seconds < 0.12 + 5


@pytest.mark.parametrize(
    ("alone", "together", "text"),
    [
        (1.02, 1.9, "one caller by itself takes 1.02x the time: 2 callers get into each other's way, by a lock"),
        (1.05, 1.12, "1.05x the time: 2 callers get"),
        (1.09, 1.15, "1.09x the time: the most of it is more work"),
        (1.25, 1.26, "1.25x the time too: the model does more work, and onnxlite_latency names its operators."),
        (1.25, 2.5, "names its operators. The rest is callers that get into each other's way."),
    ],
)
def test_the_cause_is_the_model_or_its_callers(alone: float, together: float, text: str) -> None:
    assert text in why_slower(alone, together, 1.1, 2)


@pytest.mark.parametrize(("cores", "text"), [(1.5, "this machine has one core"), (2.0, "2 of 8 clients, as many as")])
def test_more_clients_than_cores(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: float, text: str
) -> None:
    monkeypatch.setattr("pytest_onnxlite.checks.throughput.usable_cpus", lambda: cores)
    markers = "@pytest.mark.onnxlite_throughput(clients=8)"
    project.write({"onnx": dense(tmp_path / "a.onnx", 1)}, ONE, variant="onnx", markers=markers)
    result = project.run("--onnxlite-save-baseline", "-v")
    assert text in result.stdout.str()
    # What was not looked at is not saved, and is no pass of a run that compares.
    if cores < 2:
        project.compare().assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("clients=1", "clients=1; expected a whole number from 2"),
        ("clients=2.0", "clients=2.0; expected a whole number from 2"),
        ("max_slowdown=10", "max_slowdown=10; expected a number from 0.005 to 1 (0.1 is 10 %)"),
        ("runtime='last'", "unknown argument 'runtime'"),
        ("variant='tflite'", "onnxlite_throughput does not support tflite"),
    ],
)
def test_mistakes_in_a_marker(pytester: pytest.Pytester, arguments: str, text: str) -> None:
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.onnxlite_throughput({arguments})\ndef test_it(onnxlite_onnx, onnxlite_tflite): pass\n"
    )
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert text in result.stderr.str()


def test_a_test_with_a_benchmark_of_its_own_is_refused_by_the_checks_name(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n@pytest.mark.onnxlite_throughput\ndef test_it(onnxlite_onnx, benchmark): pass\n"
    )
    result = pytester.runpytest()
    assert "@pytest.mark.onnxlite_throughput times with the fixture `benchmark`" in result.stderr.str()
