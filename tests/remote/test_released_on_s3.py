"""Released files in a bucket, on a server that speaks S3's protocol: what is not there, or is another file, is red."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pytest_onnxlite.addresses import Address
from pytest_onnxlite.baseline.places.place import Wanted
from pytest_onnxlite.baseline.places.server import Server
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.variants.cache import Cache
from pytest_onnxlite.variants.external import files_of, hash_model, size_of

from onnx_models import dense, external
from projects import UNEXPLAINED, Project
from servers import S3, SECRET

X = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
MARKERS = "@pytest.mark.onnxlite_size"


@pytest.fixture
def guarded(project: Project, s3: S3) -> Project:
    """A project whose released files are in the bucket."""
    project.write({"onnx": dense(project.path / "net.onnx", 2, 64)}, X, markers=MARKERS, variant="onnx")
    project.pytester.makeini(f"[pytest]\nonnxlite_artefact_dir = {s3.address}\nonnxlite_artefact_time = 20\n")
    return project


def compare(project: Project, cache: str, **outcomes: int) -> str:
    """Compare on a machine whose cache is a folder, and return what was said."""
    result = project.pytester.runpytest(
        "--onnxlite-baseline", f"--onnxlite-cache-dir={cache}", UNEXPLAINED, "--onnxlite-report=r.json"
    )
    result.assert_outcomes(**outcomes)
    said = result.stdout.str() + (project.path / "r.json").read_text()
    assert SECRET not in said
    return said


def file_of(path: Path) -> Wanted:
    sha256 = hash_model(path)
    name = f"onnx-{sha256[:16]}{'' if len(files_of(path)) > 1 else path.suffix}"
    return Wanted(name, sha256, size_of(path)[0], True)


def server_at(s3: S3, cache: Path, seconds: float = 20) -> Server:
    return Server(Address(s3.address), Cache(cache), seconds)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return dense(tmp_path / "small.onnx", 2, 64)


def test_a_release_is_saved_there_and_compared_with_from_there(guarded: Project, s3: S3) -> None:
    guarded.save()
    content = json.loads(guarded.baseline.read_text())
    name = content["artefact"]["file"]
    assert f"{s3.bucket}/released/digits/{name}" in s3.names()
    assert not list(guarded.path.glob("baselines/**/*.onnx"))
    text = guarded.baseline.read_bytes()
    guarded.save()  # nothing changed: nothing is uploaded again, no byte of the JSON changes
    assert guarded.baseline.read_bytes() == text
    compare(guarded, "one", passed=1)
    compare(guarded, "one", passed=1)  # out of the cache
    # A model that takes more memory: found by what came from the bucket.
    heavy = dense(guarded.path / "heavy.onnx", 8, 700)
    memory = "@pytest.mark.onnxlite_memory(max_growth=0.2)"
    guarded.write({"onnx": heavy}, np.zeros((64, 700), np.float32), markers=memory, variant="onnx")
    compare(guarded, "two", failed=1)
    # It is accepted: what other checkouts compare with stays there.
    guarded.save("--onnxlite-accept")
    assert sum(f"{s3.bucket}/released/digits/onnx-" in found for found in s3.names()) == 2
    compare(guarded, "three", passed=1)


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_a_file_that_is_not_there_any_more_is_red(guarded: Project, s3: S3, cache: str) -> None:
    guarded.save()
    compare(guarded, "warm", passed=1)
    (name,) = (name for name in s3.names() if name.endswith(".onnx"))
    s3.files.rm_file(name)
    assert "it is not there: it was never uploaded, or was removed" in compare(guarded, cache, failed=1)
    guarded.save("--onnxlite-accept")  # the same model again: it is uploaded
    compare(guarded, "other", passed=1)


@pytest.mark.parametrize("fault", ["other bytes", "cut off", "empty"])
def test_other_bytes_are_red_and_a_save_mends_them(guarded: Project, s3: S3, fault: str) -> None:
    guarded.save()
    (name,) = (name for name in s3.names() if name.endswith(".onnx"))
    good = s3.files.cat_file(name)
    bad = {"other bytes": good[:-4] + b"\0\0\0\1", "cut off": good[: len(good) // 2], "empty": b""}[fault]
    assert bad != good
    s3.files.pipe_file(name, bad)
    said = compare(guarded, "cold", failed=1)
    assert (
        "another file: expected SHA-256" in said
        if fault == "other bytes"
        else "bytes there, and the release has" in said
    )
    guarded.save("--onnxlite-accept")
    assert s3.files.cat_file(name) == good
    compare(guarded, "cold", passed=1)


def test_a_copy_in_the_cache_that_somebody_changed_is_read_anew(guarded: Project) -> None:
    guarded.save()
    compare(guarded, "warm", passed=1)
    (copy,) = guarded.path.glob("warm/released-*/onnx-*.onnx")
    good = copy.read_bytes()
    copy.write_bytes(dense(guarded.path / "other.onnx", 2, 64, seed=5).read_bytes())
    compare(guarded, "warm", passed=1)
    assert copy.read_bytes() == good


@pytest.mark.parametrize("fault", ["no network", "hangs", "no credentials", "no bucket"])
def test_a_server_that_cannot_be_asked_is_red_also_with_a_copy_in_the_cache(
    guarded: Project, s3: S3, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.save()
    compare(guarded, "warm", passed=1)
    guarded.pytester.makeini(f"[pytest]\nonnxlite_artefact_dir = {s3.address}\nonnxlite_artefact_time = 4\n")
    start = time.monotonic()
    if fault == "no network":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    elif fault == "hangs":
        s3.wire.mode = "hang"
    elif fault == "no bucket":
        s3.files.rm(s3.bucket, recursive=True)
    else:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
    said = compare(guarded, "warm", failed=1)
    assert "the last release's file s3://" in said
    words = {
        "hangs": "does not answer: nothing was heard of it for 4 s",
        "no credentials": "access is refused (NoCredentials",
    }
    assert words.get(fault, "") in said
    assert time.monotonic() - start < 25
    # Said so, a copy with the right hash is enough; without one nothing is.
    monkeypatch.setenv("ONNXLITE_OFFLINE", "1")
    compare(guarded, "warm", passed=1)
    assert "ONNXLITE_OFFLINE says that no server is asked" in compare(guarded, "cold", failed=1)


@pytest.mark.parametrize("fault", ["no network", "hangs", "cut"])
def test_an_upload_that_fails_leaves_the_baseline_as_it_was(
    guarded: Project, s3: S3, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.save()
    text, there = guarded.baseline.read_bytes(), s3.names()
    big = dense(guarded.path / "big.onnx", 4, 700)
    guarded.write({"onnx": big}, np.zeros((64, 700), np.float32), markers=MARKERS, variant="onnx")
    guarded.pytester.makeini(f"[pytest]\nonnxlite_artefact_dir = {s3.address}\nonnxlite_artefact_time = 4\n")
    if fault == "no network":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    else:
        s3.wire.mode, s3.wire.after = ("hang", 0) if fault == "hangs" else ("cut", 1 << 20)
    result = guarded.run("--onnxlite-save-baseline", "--onnxlite-accept", UNEXPLAINED)
    assert result.ret != 0
    said = result.stdout.str()
    assert "was not saved" in said, said
    assert "cannot be uploaded to s3://" in said, said
    assert SECRET not in said
    assert guarded.baseline.read_bytes() == text
    assert s3.names() == there
    s3.wire.mode = "sound"
    if fault == "cut":
        assert s3.wire.sent > 1 << 20
        guarded.save("--onnxlite-accept")
        compare(guarded, "cold", passed=1)


def test_what_was_uploaded_is_read_back(s3: S3, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver, or a server, that says that all is well and keeps half of it."""
    place = server_at(s3, tmp_path / "cache")
    files = place._filesystem()[0]

    def half(source: str, target: str, **_: object) -> None:
        content = Path(source).read_bytes()
        files.pipe_file(target, content[: len(content) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(files, "put_file", half)
        with pytest.raises(OnnxliteError, match="what is read back is another file"):
            place.put("digits", file_of(net), [net], [])
    assert place.put("digits", file_of(net), [net], [])
    assert not place.put("digits", file_of(net), [net], [])
    assert place.obtain("digits", file_of(net)).read_bytes() == net.read_bytes()


def test_a_model_of_several_files_is_kept_and_read_whole(s3: S3, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    main = external(dense(tmp_path / "big.onnx", 2, 64), tmp_path / "model" / "net.onnx")
    place, wanted = server_at(s3, tmp_path / "one"), file_of(main)
    assert place.put("digits", wanted, files_of(main), [])
    assert not place.put("digits", wanted, files_of(main), [])
    copy = place.obtain("digits", wanted)
    assert sorted(file.name for file in copy.iterdir()) == ["net.data", "net.onnx"]
    assert hash_model(copy / "net.onnx") == wanted.sha256
    # Its weights are other ones, or gone: no copy.
    data = f"{s3.bucket}/released/digits/{wanted.file}/net.data"
    good = s3.files.cat_file(data)
    s3.files.pipe_file(data, bytes(len(good)))
    with pytest.raises(OnnxliteError, match="what came is another file"):
        server_at(s3, tmp_path / "two").obtain("digits", wanted)
    s3.files.rm_file(data)
    with pytest.raises(OnnxliteError, match="there is no such file"):
        server_at(s3, tmp_path / "two").obtain("digits", wanted)
    s3.files.rm_file(data.replace("net.data", "net.onnx"))
    with pytest.raises(OnnxliteError, match="it is not there"):
        server_at(s3, tmp_path / "two").obtain("digits", wanted)


def test_no_name_leads_out_of_the_folder(s3: S3, net: Path, tmp_path: Path) -> None:
    sha256 = hash_model(net)
    s3.files.put_file(str(net), f"{s3.bucket}/secret/x")
    place = server_at(s3, tmp_path / "cache")
    for model, name in (("digits", "../../secret/x"), ("..", "x"), ("a/../../secret", "x"), ("digits", "..")):
        with pytest.raises(OnnxliteError, match="is no name of a file"):
            place.obtain(model, Wanted(name, sha256, net.stat().st_size, True))
    # What a server lists leads nowhere either.
    for key in ("../../../escaped.onnx", "sub/../../escaped.onnx"):
        s3.files.call_s3("put_object", Bucket=s3.bucket, Key=f"released/digits/onnx-{sha256[:16]}/{key}", Body=b"x")
        with pytest.raises(OnnxliteError, match="is no name of a file in the model's folder"):
            place.obtain("digits", Wanted(f"onnx-{sha256[:16]}", sha256, 1, True))
    assert not list(tmp_path.rglob("escaped.onnx"))


def test_two_savers_at_once_leave_one_good_file(s3: S3, tmp_path: Path) -> None:
    net = dense(tmp_path / "net.onnx", 4, 700)
    wanted, errors = file_of(net), []

    def save(number: int) -> None:
        try:
            server_at(s3, tmp_path / f"cache{number}").put("digits", wanted, [net], [])
        except OnnxliteError as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert server_at(s3, tmp_path / "cold").obtain("digits", wanted).read_bytes() == net.read_bytes()
    assert len(s3.names()) == 1


LARGE = """
import resource
import sys
from pathlib import Path
from pytest_onnxlite.addresses import Address
from pytest_onnxlite.baseline.places.place import Wanted
from pytest_onnxlite.baseline.places.server import Server
from pytest_onnxlite.variants.cache import Cache
import s3fs
address, file, sha256, cache = sys.argv[1:]
place = Server(Address(address), Cache(Path(cache)), 30)
wanted = Wanted(f"onnx-{sha256[:16]}.onnx", sha256, Path(file).stat().st_size, True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
place.put("digits", wanted, [Path(file)], [])
print(place.obtain("digits", wanted))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_200_mb_take_little_memory(s3: S3, tmp_path: Path) -> None:
    file = tmp_path / "large.onnx"
    with file.open("wb") as out:
        for number in range(200):
            out.write(hashlib.sha256(str(number).encode()).digest() * (1 << 15))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    done = subprocess.run(
        [sys.executable, "-c", LARGE, s3.address, str(file), sha256, str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    copy, mebibytes = done.stdout.split()
    assert hashlib.sha256(Path(copy).read_bytes()).hexdigest() == sha256
    assert int(mebibytes) < 120, mebibytes
