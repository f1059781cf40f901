"""What a process needs for a while lies in one folder, and a dead process's is removed by the next one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from pytest_onnxlite import OnnxliteError, workspace

# A process that makes its folder and waits to be killed.
HOLDS = "from pytest_onnxlite.workspace import own_folder; print(own_folder(), flush=True); input()"
ENTERS = """
import sys
from pathlib import Path
from pytest_onnxlite.workspace import enter_shared
enter_shared(Path(sys.argv[1]))
print(enter_shared(Path(sys.argv[1])), flush=True)
input()
"""


def holder(place: Path, shared: Path | None = None) -> tuple[subprocess.Popen[str], Path]:
    """A process that has its folder in that place, or that entered a shared one."""
    environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(place))}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", *((HOLDS,) if shared is None else (ENTERS, str(shared)))]
    process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def age(folder: Path) -> None:
    long_ago = time.time() - 3600
    os.utime(folder, (long_ago, long_ago))


def test_the_folder_of_a_process_that_was_killed_goes_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    dead, left = holder(tmp_path)
    living, used = holder(tmp_path)
    (left / "feeds.npz").write_bytes(b"data")
    dead.kill()
    dead.communicate()
    other = tmp_path / "onnxlite-of-somebody"
    other.mkdir()
    for folder in (used, other):
        age(folder)
    workspace.remove_left(tmp_path)
    assert left.is_dir(), "a folder may be so young that it is not locked yet"
    age(left)
    workspace.remove_left(tmp_path)
    assert not left.exists()
    assert used.is_dir()
    assert other.is_dir(), "it has no lock, and may be anybody's"
    living.communicate("\n")
    assert not used.exists(), "a process removes its own as it ends"


def test_a_shared_folder_stays_while_one_that_entered_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shared = workspace.name_of_shared()
    assert not shared.exists(), "a run that guards nothing makes no folder"
    first, _ = holder(tmp_path, shared)
    second, used = holder(tmp_path, shared)
    assert used == shared
    assert len(list(shared.glob("lock-*"))) == 2, "a process that enters twice has one lock"
    for process in (first, second):
        age(shared)
        workspace.remove_left(tmp_path)
        assert shared.is_dir()
        process.kill()
        process.communicate()
    age(shared)
    workspace.remove_left(tmp_path)
    assert not shared.exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_nothing_behind_a_link_is_removed(tmp_path: Path) -> None:
    dead, left = holder(tmp_path)
    dead.kill()
    dead.communicate()
    target = left.rename(tmp_path / "elsewhere")
    left.symlink_to(target)
    age(target)
    workspace.remove_left(tmp_path)
    assert (target / "lock").is_file()


def test_what_children_write_lies_in_the_folder_of_their_parent() -> None:
    code = (
        "import tempfile; from pytest_onnxlite.workspace import own_folder; print(own_folder(), tempfile.gettempdir())"
    )
    environment = workspace.environment_of_children()
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [str(workspace.own_folder())] * 2
    assert workspace.own_folder().is_dir()


def test_libraries_write_into_a_folder_that_is_gone_afterwards() -> None:
    before = tempfile.gettempdir()
    with workspace.libraries_folder() as folder:
        assert Path(tempfile.mkdtemp(prefix="ort.quant.")).parent == folder
    assert not folder.exists()
    assert tempfile.gettempdir() == before


def test_a_place_where_nothing_can_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace._Own, "folder", None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(
        OnnxliteError, match=r"no temporary folder can be written: No such file or directory. Make room"
    ):
        workspace.own_folder()
