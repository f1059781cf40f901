"""What the user asked of a run: the only reader of pytest's options and ini file.

Loads where something is asked of the plugin, or with the first guarded test.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import pytest

    from pytest_onnxlite.addresses import Address
    from pytest_onnxlite.against import Against

# The kinds of processors that accuracy can be counted on; what they are is in `processors`.
PROCESSORS = ("avx2", "sse4", "vnni")

# A reason is a sentence in a diff.
_LONGEST_REASON = 500
# What a run is for.
Mode = Literal["plain", "compare", "save"]
# The files that a report is written as.
REPORTS = ("report", "html", "markdown", "sarif", "code-quality", "model-card")
NO_JINJA = "the HTML page is made with jinja2, which is not installed"
NO_YAML = "a model card is read with pyyaml, which is not installed"


class UsageMistake(Exception):
    """A mistake in options or markers; the plugin raises it as `pytest.UsageError`."""


class Settings(SimpleNamespace):  # no dataclass or named tuple: defining one costs each run of everybody's tests
    """The options of a run.

    Attributes:
        mode: whether baselines are left alone, compared with, or saved.
        accept: save a candidate that is worse than its baseline, by whatever check.
        accept_only: the checks by which it may be worse, where not by all.
        reason: why that is accepted.
        complete: fail unless the run is a full one.
        against: the git ref or folder whose baselines are compared with; empty for those of the work tree.
        against_folder: the folder, if it is one.
        target: what it was found to be; `target.settled` sets it, and the two folders below.
        baseline_dir: where baselines are.
        artefact_dir: where their artefacts are, a folder or an address; None if they lie next to them.
        artefact_time: seconds in which nothing may be heard of a server.
        keep_artefact: whether a save keeps the artefact.
        cache: whether built models are kept for the next run.
        cache_dir: where built models are kept; None for pytest's cache folder.
        cache_bytes: what the cache may take.
        inference_time: seconds that one inference may take.
        reports: the files to write, by what they are (`REPORTS`).
        explain: explain every verdict.
        explain_time: seconds that explaining one limit may take.
        suggest: search for a recipe that passes, where the INT8 variant fails.
        suggest_time: seconds that such a search may take.
        processors: the processors that accuracy is counted on besides this one, with those that a marker names.
        last_runtime: the folder with the last release's runtime; `auto` to have it installed; empty for none.
        processor_time: seconds that counting on one of them may take.
        bundle: where a folder is written for each failed test.
        bundle_data: whether it holds the whole evaluation data.
        runtime_change: whether another runtime than the last release's is red: `report` or `fail`.
        rootdir: pytest's root folder, to which the tests' files are relative.
        runtime: the name of the runtime that every model is run with; empty for each model's own.
    """

    mode: Mode
    accept: bool
    accept_only: tuple[str, ...] = ()
    reason: str = ""
    complete: bool
    against: str = ""
    against_folder: Path | None = None
    target: Against | None = None
    baseline_dir: Path
    artefact_dir: Path | Address | None
    artefact_time: float = 60.0
    keep_artefact: bool
    cache: bool = True
    cache_dir: Path | None = None
    cache_bytes: int = 4096 << 20
    inference_time: float = 600.0
    reports: Mapping[str, Path] = MappingProxyType({})
    explain: bool = False
    explain_time: float = 60.0
    suggest: bool = False
    suggest_time: float = 300.0
    processors: tuple[str, ...] = ()
    processor_time: float = 120.0
    last_runtime: Path | str = ""
    bundle: Path | None = None
    bundle_data: bool = False
    runtime_change: str = "report"
    rootdir: Path = Path()
    runtime: str = ""

    @classmethod
    def from_config(cls, config: pytest.Config) -> Settings:
        """Read command line, then ini, then default.

        Raises:
            UsageMistake: options that contradict each other.
        """
        read = _Reader(config)
        # What is typed wins over what the ini file says.
        saving = read.option("save_baseline") or (not read.option("baseline") and read.flag("save_baseline"))
        mode: Mode = "save" if saving else "compare" if read.flag("baseline") else "plain"
        cache = read.text("cache") or "on"
        _refuse_contradictions(read, mode, cache)
        runtime = read.text("runtime")
        apart = f"@{runtime}" if runtime else ""  # a store of its own
        return cls(
            mode=mode,
            accept=read.flag("accept") and not read.option("accept_only"),
            accept_only=_accept_only(read),
            reason=_reason(read.text("reason")),
            complete=read.flag("complete"),
            against=read.text("against") if mode == "compare" else "",
            against_folder=read.path("against"),
            baseline_dir=(read.path("baseline_dir") or config.rootpath / "baselines") / apart,
            artefact_dir=_artefact_dir(str(config.getini("onnxlite_artefact_dir")), mode, config.rootpath, apart),
            artefact_time=read.ini_seconds("artefact_time"),
            keep_artefact=bool(config.getini("onnxlite_keep_artefact")),
            cache=cache == "on",
            cache_dir=read.path("cache_dir") if cache == "on" else None,
            cache_bytes=_mebibytes(str(config.getini("onnxlite_cache_size"))),
            inference_time=read.ini_seconds("inference_time"),
            reports=read.reports(),
            explain=read.flag("explain"),
            explain_time=read.seconds("explain_time", cls.explain_time),
            suggest=read.flag("suggest"),
            suggest_time=read.seconds("suggest_time", cls.suggest_time),
            processors=_processors(read.text("processors")),
            last_runtime=_last_runtime(read),
            processor_time=read.seconds("processor_time", cls.processor_time),
            bundle=read.path("bundle"),
            bundle_data=read.flag("bundle_data"),
            runtime_change=_runtime_change(str(config.getini("onnxlite_runtime_change"))),
            rootdir=config.rootpath,
            runtime=runtime,
        )

    @property
    def compared_with(self) -> str:
        """What the baselines are of, in a few words; empty for the work tree's own."""
        return "" if self.target is None else self.target.text

    @property
    def has_to_speak(self) -> bool:
        """Whether even a run without a guarded test has something to say."""
        return self.mode != "plain" or bool(self.processors) or "model-card" in self.reports

    def accepts(self, check: str) -> bool:
        """Tell whether a candidate is saved although it is worse by a check; `latency` is `latency[long]` as well."""
        from pytest_onnxlite.labels import unlabelled

        return self.accept or not {check, unlabelled(check)}.isdisjoint(self.accept_only)

    def require_known(self, checks: Collection[str]) -> None:
        """Refuse names that are accepted and that no check has.

        Raises:
            UsageMistake: there is such a name.
        """
        from pytest_onnxlite.labels import ByName

        names = ByName(dict.fromkeys([*checks, "runtime"]))
        for name in self.accept_only:
            if name not in names:
                from pytest_onnxlite.text import unknown

                raise UsageMistake(
                    f"--onnxlite-accept-only={','.join(self.accept_only)}: {unknown('check', name, names, 'There are')}"
                )


class _Reader:
    """Reads single options: the command line, then the ini file."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def option(self, name: str) -> Any:
        return self._config.getoption(f"onnxlite_{name}")

    def text(self, name: str) -> str:
        return str(self.option(name) or self._config.getini(f"onnxlite_{name}") or "")

    def flag(self, name: str) -> bool:
        given = self.option(name)
        return bool(self._config.getini(f"onnxlite_{name}") if given is None else given)

    def path(self, name: str) -> Path | None:
        given = self.option(name)
        if given:
            return Path(self._config.invocation_params.dir, given)
        ini = self._config.getini(f"onnxlite_{name}")
        return self._config.rootpath / str(ini) if ini else None

    def reports(self) -> dict[str, Path]:
        found = {name: self.path(name.replace("-", "_")) for name in REPORTS}
        needs = (("html", "jinja2", NO_JINJA, "html"), ("model-card", "yaml", NO_YAML, "card"))
        for name, module, missing, extra in needs:
            if found[name] is not None and importlib.util.find_spec(module) is None:
                from pytest_onnxlite.commands import install

                raise UsageMistake(f"--onnxlite-{name}: {missing}: {install(extra)}")
        asked = {name: path for name, path in found.items() if path is not None}
        for name, path in asked.items():
            twin = next((other for other, taken in asked.items() if other != name and taken == path), None)
            if twin is not None:
                raise UsageMistake(
                    f"--onnxlite-{name} and --onnxlite-{twin} both write {path}; give each a file of its own."
                )
        return asked

    def ini_seconds(self, name: str) -> float:
        text = str(self._config.getini(f"onnxlite_{name}"))
        return _seconds(f"onnxlite_{name} = {text}", text, above_0=True)

    def seconds(self, name: str, default: float) -> float:
        given = self.text(name)
        return _seconds(f"--onnxlite-{name.replace('_', '-')}={given}", given) if given else default


def _refuse_contradictions(read: _Reader, mode: Mode, cache: str) -> None:
    if read.option("baseline") and read.option("save_baseline"):
        raise UsageMistake(
            "--onnxlite-baseline compares with the saved baselines and --onnxlite-save-baseline replaces them; "
            "give one of the two."
        )
    for name in ("accept", "accept_only"):
        if read.option(name) and mode != "save":
            option = f"--onnxlite-{name.replace('_', '-')}"
            raise UsageMistake(f"{option} goes with --onnxlite-save-baseline; alone it would accept nothing.")
    if read.option("against") and mode != "compare":
        raise UsageMistake(
            "--onnxlite-against goes with --onnxlite-baseline. What is saved is compared with the baselines that it replaces, "
            "and those are in this work tree."
            if mode == "save"
            else "--onnxlite-against goes with --onnxlite-baseline; alone nothing is compared."
        )
    if read.option("accept") and read.option("accept_only"):
        raise UsageMistake(
            "--onnxlite-accept accepts whatever is worse, and --onnxlite-accept-only names what; give one of the two."
        )
    if read.option("reason") and not (mode == "save" and (read.flag("accept") or read.text("accept_only"))):
        raise UsageMistake(
            "--onnxlite-reason says why something is accepted; give it with --onnxlite-save-baseline and --onnxlite-accept or "
            "--onnxlite-accept-only."
        )
    if read.option("complete") and mode == "plain":
        raise UsageMistake(
            "--onnxlite-complete goes with --onnxlite-baseline or --onnxlite-save-baseline; alone nothing is looked at."
        )
    if cache not in ("on", "off"):
        raise UsageMistake(f"--onnxlite-cache={cache}: expected on or off.")
    if read.option("cache") == "off" and read.option("cache_dir"):
        raise UsageMistake(
            "--onnxlite-cache=off keeps nothing, and --onnxlite-cache-dir says where; give one of the two."
        )
    if read.option("bundle_data") and read.path("bundle") is None:
        raise UsageMistake("--onnxlite-bundle-data goes with --onnxlite-bundle=DIR, which says where to.")


def _artefact_dir(text: str, mode: Mode, folder: Path, apart: str) -> Path | Address | None:
    if not text or (mode == "plain" and "://" in text):  # then no baseline is looked at
        return None
    from pytest_onnxlite.addresses import Unreadable, place_of

    try:
        return place_of(text, folder, apart)
    except Unreadable as error:
        raise UsageMistake(f"onnxlite_artefact_dir: {error}") from None


def _seconds(told: str, text: str, above_0: bool = False) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf or (above_0 and not found):
        raise UsageMistake(f"{told}: expected seconds, {'more than' if above_0 else 'from'} 0.")
    return found


def _last_runtime(read: _Reader) -> Path | str:
    text = read.text("last_runtime")
    if text in ("", "auto"):
        return text
    folder = read.path("last_runtime")
    if folder is None or not folder.is_dir():
        raise UsageMistake(f"--onnxlite-last-runtime={text}: no such folder ({folder}); expected one, or auto.")
    return folder


def _accept_only(read: _Reader) -> tuple[str, ...]:
    """Return the checks that are accepted; what is typed wins over what the ini file says."""
    text = "" if read.option("accept") else read.text("accept_only")
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if text and not names:
        raise UsageMistake(f"--onnxlite-accept-only={text}: expected names of checks, such as latency,size.")
    return names


def _reason(text: str) -> str:
    text = text.strip()
    if not text.isprintable() or len(text) > _LONGEST_REASON:
        raise UsageMistake(
            f"--onnxlite-reason: expected one line of at most {_LONGEST_REASON} letters that can be shown."
        )
    return text


def _runtime_change(text: str) -> str:
    if text.strip() not in ("report", "fail"):
        raise UsageMistake(f"onnxlite_runtime_change = {text}: expected report or fail.")
    return text.strip()


def _mebibytes(text: str) -> int:
    if not text.strip().isdecimal():
        raise UsageMistake(f"onnxlite_cache_size = {text}: expected a whole number of MiB, such as 4096.")
    return int(text) << 20


def _processors(text: str) -> tuple[str, ...]:
    names = sorted({name.strip() for name in text.split(",") if name.strip()})
    for name in names:
        if name not in PROCESSORS:
            from pytest_onnxlite.text import unknown

            raise UsageMistake(f"--onnxlite-processors={text}: {unknown('processor', name, PROCESSORS, 'There are')}")
    return tuple(names)
