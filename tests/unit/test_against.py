"""What `--onnxlite-against` finds in a git repository or in another checkout, and what it refuses."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from pytest_onnxlite.against import Found, Place, find
from pytest_onnxlite.errors import OnnxliteError

CONTENT = b"the model that main released"
NAME = f"onnx-{hashlib.sha256(CONTENT).hexdigest()[:16]}.onnx"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(CONTENT).hexdigest()}\nsize 28\n"


class Clone:
    """A repository whose branch main has a baseline, and whose branch change has another commit, checked out."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def git(self, *arguments: str) -> str:
        name = ["-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "init.defaultBranch=main"]
        allowed = ["-c", "protocol.file.allow=always"]
        done = subprocess.run(
            ["git", *name, *allowed, *arguments], cwd=self.path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def put(self, name: str, content: bytes | str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, *names: str) -> str:
        self.git("add", "-A", *names)
        self.git("commit", "-q", "--allow-empty", "-m", "c")
        return self.git("rev-parse", "HEAD")

    def find(self, asked: str, place: Place | None = None) -> Found:
        folder = Path(tempfile.mkdtemp(dir=self.path.parent))
        return find(asked, self.path / asked, place or Place(self.path, self.path / "baselines"), lambda: folder)

    def refusal(self, asked: str, place: Place | None = None) -> str:
        with pytest.raises(OnnxliteError) as caught:
            self.find(asked, place)
        return str(caught.value)


def files(found: Found) -> dict[str, bytes]:
    folder = Path(found.baseline_dir)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    clone = Clone(tmp_path / "clone")
    clone.path.mkdir()
    clone.git("init", "-q")
    clone.put("baselines/digits/onnx.json", f'{{"file": "{NAME}"}}')
    clone.put(f"baselines/digits/{NAME}", CONTENT)
    clone.put("baselines/digits/onnx-0000000000000000.onnx", "named by no baseline")
    clone.put("README", "1")
    clone.commit()
    clone.git("checkout", "-q", "-b", "change")
    clone.put("README", "2")
    clone.commit()
    return clone


def test_a_commit_is_read_and_neither_work_tree_nor_index_changes(clone: Clone) -> None:
    # Uncommitted: what is in the work tree does not matter.
    clone.put("baselines/digits/onnx.json", '{"file": "another"}')
    (clone.path / "baselines" / "digits" / NAME).unlink()
    index, before = clone.path / ".git" / "index", clone.git("status", "--porcelain")
    os.utime(clone.path / "README", (1, 1))  # git would write the index anew, with this time
    content = index.read_bytes()
    found = clone.find("main")
    assert files(found) == {"digits/onnx.json": f'{{"file": "{NAME}"}}'.encode(), f"digits/{NAME}": CONTENT}
    commit = clone.git("rev-parse", "main")
    assert (found.against.name, found.against.commit) == ("main", commit)
    assert found.against.text == f"main (commit {commit[:12]})"
    assert index.read_bytes() == content
    assert clone.git("status", "--porcelain") == before
    assert not list(clone.path.rglob("*.lock"))


def test_what_a_hook_of_git_sets_does_not_lead_elsewhere(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere/.git")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert clone.find("main").against.commit


def test_a_ref_that_is_not_there_is_told_with_the_command_that_fetches_it(clone: Clone) -> None:
    assert "no commit gone in" in clone.refusal("gone")
    assert "-c in" in clone.refusal("-c")
    shallow = Clone(clone.path.parent / "shallow")
    clone.git("clone", "-q", "--depth=1", "--branch=change", f"file://{clone.path}", str(shallow.path))
    command, _, name = shallow.refusal("main").rpartition("Fetch it with: git ")[2].partition(", and compare with ")
    shallow.git(*command.split())
    assert f"digits/{NAME}" in files(shallow.find(name))
    said = shallow.refusal("origin/main")
    assert "which is a shallow clone. Fetch it with: git fetch --depth=1 origin main:refs/remotes/origin/main" in said
    shallow.git(*said.rpartition("Fetch it with: git ")[2].split())
    assert f"digits/{NAME}" in files(shallow.find("origin/main"))


def test_nothing_is_compared_with_itself(clone: Clone) -> None:
    for ref in ("HEAD", "change", clone.git("rev-parse", "HEAD")):
        assert "it would be compared with itself" in clone.refusal(ref)
    # A commit of another message with the same files, such as the tip of the pull request that CI merged.
    clone.commit()
    assert "has the same files as" in clone.refusal("HEAD~1")
    # The branch was merged: main has it, and more.
    clone.git("checkout", "-q", "main")
    clone.git("merge", "-q", "change")
    clone.put("README", "3")
    clone.commit()
    clone.git("checkout", "-q", "change")
    assert "what is judged here is merged there already" in clone.refusal("main")
    clone.put("README", "4")  # something of one's own is there again
    assert clone.find("main").against.commit == clone.git("rev-parse", "main")


def test_a_name_of_two_things_is_refused(clone: Clone) -> None:
    clone.git("tag", "main", "change")
    assert "is a branch and a tag" in clone.refusal("main")
    assert clone.find("refs/heads/main").against.commit
    clone.put("v1/baselines/digits/onnx.json", "{}")
    clone.git("tag", "v1", "refs/heads/main")
    assert "v1 is a folder and a git ref" in clone.refusal("v1")
    assert clone.find("./v1").against.is_folder
    assert not clone.find("refs/tags/v1").against.is_folder


def test_a_commit_without_baselines_is_refused_and_where_it_has_some_is_said(clone: Clone) -> None:
    clone.git("mv", "baselines", "released")
    clone.commit()
    moved = Place(clone.path, clone.path / "released")
    said = clone.refusal("main", moved)
    assert (
        "has no baselines in released: there is nothing to compare with. It has some of the same names in baselines"
        in said
    )
    found = clone.find(said.rpartition("=")[2], moved)
    assert f"digits/{NAME}" in files(found)
    assert not found.against.new
    clone.git("rm", "-r", "-q", "released")
    clone.commit()
    assert "has none of its baselines in released: nothing would be compared" in clone.refusal("main:baselines", moved)
    empty = clone.commit()
    clone.put("README", "5")
    clone.commit()
    assert "Save and commit some there" in clone.refusal(empty)


def test_what_the_commit_adds_and_deletes_is_in_its_diff_and_said(clone: Clone) -> None:
    clone.put("baselines/words/onnx.json", f'{{"file": "{NAME}"}}')
    clone.put(f"baselines/words/{NAME}", CONTENT)
    clone.put("baselines/letters/onnx.json", "{}")
    clone.commit("baselines/words")
    found = clone.find("main")
    # What is saved and not committed has been seen by no review.
    assert {name for name in files(found) if "digits" not in name} == {"words/onnx.json", f"words/{NAME}"}
    assert found.against.new == ("words/onnx.json",)
    assert "main has no baseline words/onnx.json, which the commit judged here adds" in found.against.remarks[0]
    clone.git("rm", "-q", "-r", "baselines/words")
    (clone.path / "baselines" / "letters" / "onnx.json").unlink()
    last = clone.commit()
    found = clone.find(f"{last}~1")
    assert "words/onnx.json" not in files(found)
    assert found.against.deleted == ("words/onnx.json",)
    assert "not looked at. It was deleted here, or is new there" in found.against.remarks[0]


def test_released_files_that_git_does_not_have_come_from_their_folder_here(clone: Clone) -> None:
    clone.git("rm", "-q", "--cached", f"baselines/digits/{NAME}")
    clone.put(".gitignore", "*.onnx\n")
    kept = clone.commit(".gitignore")
    clone.put("README", "3")
    clone.commit("README")
    assert files(clone.find(kept))[f"digits/{NAME}"] == CONTENT
    # In a folder of their own, as CI's cache brings it; other files of it are left alone.
    (clone.path / "baselines" / "digits" / NAME).unlink()
    cache = clone.path.parent / "cache"
    (cache / "digits").mkdir(parents=True)
    (cache / "digits" / NAME).write_bytes(CONTENT)
    (cache / "digits" / "onnx-0123456789abcdef.onnx").write_bytes(b"x")
    found = clone.find(kept, Place(clone.path, clone.path / "baselines", cache))
    assert set(files(found)) == {"digits/onnx.json", f"digits/{NAME}"}
    assert set(files(clone.find(kept))) == {"digits/onnx.json"}  # whoever reads it misses the file


def test_an_lfs_pointer_is_what_it_stands_for_or_is_told(clone: Clone) -> None:
    clone.put(f"baselines/digits/{NAME}", POINTER)
    pointers = clone.commit()
    clone.put("README", "3")
    clone.commit()
    said = clone.refusal(pointers)
    assert f"Git LFS pointers in place of digits/{NAME}" in said
    assert f"git lfs fetch origin {pointers}" in said
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    clone.put(f".git/lfs/objects/{sha256[:2]}/{sha256[2:4]}/{sha256}", CONTENT)
    assert files(clone.find(pointers))[f"digits/{NAME}"] == CONTENT


def test_a_root_folder_below_the_repositorys_and_a_runtimes_part(clone: Clone) -> None:
    clone.put("python/baselines/words/onnx.json", "{}")
    clone.put("python/baselines/@two/words/onnx.json", '{"two": 2}')
    last = clone.commit()
    clone.put("README", "3")
    clone.commit()
    inner = clone.path / "python"
    assert set(files(clone.find(last, Place(inner, inner / "baselines")))) == {"words/onnx.json"}
    part = Place(inner, inner / "baselines" / "@two", apart="@two")
    assert files(clone.find(last, part)) == {"words/onnx.json": b'{"two": 2}'}
    assert files(clone.find(f"{last}:python/baselines", part)) == {"words/onnx.json": b'{"two": 2}'}
    assert "is not in the repository" in clone.refusal(last, Place(inner, clone.path.parent / "b"))
    # A checkout is named by its top.
    clone.git("worktree", "add", "-q", "../other", last)
    found = clone.find("../other", Place(inner, inner / "baselines"))
    assert Path(found.baseline_dir) == clone.path.parent / "other" / "python" / "baselines"


def test_links_and_submodules_are_told(clone: Clone) -> None:
    (clone.path / "baselines" / "digits" / "int8.json").symlink_to("onnx.json")
    clone.commit()
    clone.put("README", "3")
    clone.commit()
    assert "baselines/digits/int8.json is a symbolic link there" in clone.refusal("HEAD~1")
    clone.git("rm", "-q", "-r", "baselines")
    clone.git("submodule", "--quiet", "add", f"file://{clone.path}", "baselines")
    module = clone.commit()
    clone.put("README", "4")
    clone.commit()
    assert "baselines is a submodule" in clone.refusal(module)


def test_another_checkout_is_read_where_it_is(clone: Clone) -> None:
    assert "is this checkout itself" in clone.refusal(".")
    clone.git("worktree", "add", "-q", "../other", "main")
    other = clone.path.parent / "other"
    found = clone.find("../other")
    assert (Path(found.baseline_dir), found.artefact_dir) == (other / "baselines", None)
    assert found.against.text == f"the folder ../other (commit {clone.git('rev-parse', 'main')[:12]})"
    (other / "README").write_text("changed")
    assert "with changes that are not committed" in clone.find("../other").against.text
    released = clone.find("../other", Place(clone.path, clone.path / "baselines", clone.path / "released"))
    assert released.artefact_dir == str(other / "released")
    subprocess.run(["rm", "-r", str(other / "baselines")], check=True)
    assert "there are no baselines in" in clone.refusal("../other")
    clone.git("-C", str(other), "checkout", "-q", "-f", "--detach", "change")
    assert "it would be compared with itself" in clone.refusal("../other")
    # What CI's cache brings is no checkout: its commit is not that of the repository around it.
    clone.put("target/baselines/digits/onnx.json", "{}")
    assert clone.find("target").against.text == "the folder target (git knows no commit of it)"
    (clone.path / "link").symlink_to(".")
    assert "is this checkout itself" in clone.refusal("link")
