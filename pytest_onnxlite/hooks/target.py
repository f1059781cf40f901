"""What a run compares with, where that is not its own baselines: found once, for all workers of pytest-xdist."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pytest_onnxlite.addresses import Address
from pytest_onnxlite.against import OPTION, Found, Place, find
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.settings import Settings, UsageMistake
from pytest_onnxlite.workspace import own_folder

# In what pytest-xdist hands to a worker.
_KEY = "onnxlite_against"


def settled(settings: Settings, config: pytest.Config) -> Settings:
    """Return the settings with the folders of what `--onnxlite-against` names, which is found first.

    Raises:
        UsageMistake: it cannot be compared with.
    """
    worker: Any = config
    try:
        found = (
            msgspec.convert(worker.workerinput[_KEY], Found)
            if hasattr(config, "workerinput")
            else find(settings.against, settings.against_folder, _place(settings), lambda: _folder(config))
        )
    except OnnxliteError as error:
        raise UsageMistake(str(error)) from None
    if not Path(found.baseline_dir).is_dir():
        raise UsageMistake(
            f"{OPTION}={settings.against}: this worker runs on a machine that does not have {found.baseline_dir}, where the "
            "baselines are. Run without workers on other machines."
        )
    settings.target = found.against
    settings.baseline_dir = Path(found.baseline_dir)
    if not isinstance(settings.artefact_dir, Address):  # a server has the files of all commits
        settings.artefact_dir = None if found.artefact_dir is None else Path(found.artefact_dir)
    return settings


def hand_over(settings: Settings, workerinput: dict[str, object]) -> None:
    """Tell a worker what the controller found."""
    if settings.target is not None:
        artefacts = str(settings.artefact_dir) if isinstance(settings.artefact_dir, Path) else None
        found = Found(settings.target, str(settings.baseline_dir), artefacts)
        workerinput[_KEY] = msgspec.to_builtins(found)


def _place(settings: Settings) -> Place:
    apart = f"@{settings.runtime}" if settings.runtime else ""
    artefacts = settings.artefact_dir if isinstance(settings.artefact_dir, Path) else None
    return Place(settings.rootdir, settings.baseline_dir, artefacts, apart)


def _folder(config: pytest.Config) -> Path:
    folder = Path(tempfile.mkdtemp(dir=own_folder()))
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    return folder
