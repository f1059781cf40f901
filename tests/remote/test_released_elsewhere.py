"""Released files on an SFTP server, a web server, in a shared folder by its address, and in MLflow's registry."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pytest_onnxlite.addresses import Address
from pytest_onnxlite.baseline.places.choosing import place_at
from pytest_onnxlite.baseline.places.place import Place, Wanted
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.variants.cache import Cache
from pytest_onnxlite.variants.external import files_of, hash_model, size_of

from onnx_models import dense, external
from projects import UNEXPLAINED, Project
from servers import PASSWORD, Sftp, Web

X = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)


def file_of(path: Path) -> Wanted:
    sha256 = hash_model(path)
    name = f"onnx-{sha256[:16]}{'' if len(files_of(path)) > 1 else path.suffix}"
    return Wanted(name, sha256, size_of(path)[0], True)


def place_of(address: str, folder: Path, name: str = "cache", seconds: float = 20) -> Place:
    found = place_at(Address(address), folder / "baselines", seconds, Cache(folder / name))
    assert found is not None
    return found


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return dense(tmp_path / "small.onnx", 2, 64)


@pytest.fixture
def several(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    return external(dense(tmp_path / "big.onnx", 2, 64), tmp_path / "model" / "net.onnx")


@pytest.mark.parametrize("kind", ["sftp", "file"])
def test_a_file_and_a_model_of_several_go_there_and_back(
    kind: str, sftp: Sftp, net: Path, several: Path, tmp_path: Path
) -> None:
    address = sftp.address if kind == "sftp" else (tmp_path / "server").as_uri()
    place = place_of(address, tmp_path)
    for model in (net, several):
        wanted = file_of(model)
        with pytest.raises(OnnxliteError, match="it is not there"):
            place.obtain("digits", wanted)
        assert place.put("digits", wanted, files_of(model), [])
        assert not place.put("digits", wanted, files_of(model), [])
        copy = place_of(address, tmp_path, "cold").obtain("digits", wanted)
        assert hash_model(copy / "net.onnx" if copy.is_dir() else copy) == wanted.sha256
    assert not list((tmp_path / "server").rglob(".saving-*"))
    # Half of it is there, as after a save that was cut off by an older tool.
    there = tmp_path / "server" / "digits" / file_of(net).file
    there.write_bytes(net.read_bytes()[:1000])
    with pytest.raises(OnnxliteError, match="it has 1,000 bytes there"):
        place_of(address, tmp_path, "colder").obtain("digits", file_of(net))
    assert place.put("digits", file_of(net), [net], [])
    assert there.read_bytes() == net.read_bytes()


def test_a_full_or_closed_disk_there_leaves_nothing_under_the_name(sftp: Sftp, net: Path, tmp_path: Path) -> None:
    (sftp.folder / "digits").write_text("a file where a folder should be")
    with pytest.raises(OnnxliteError, match="cannot be uploaded to sftp://team:"):
        place_of(sftp.address, tmp_path).put("digits", file_of(net), [net], [])
    assert sorted(path.name for path in sftp.folder.rglob("*")) == ["digits"]


def test_passwords_are_in_no_message(sftp: Sftp, project: Project) -> None:
    project.write(
        {"onnx": dense(project.path / "net.onnx", 2, 64)}, X, markers="@pytest.mark.onnxlite_size", variant="onnx"
    )
    ini = f"[pytest]\nonnxlite_artefact_dir = {sftp.address}\nonnxlite_artefact_time = 10\n"
    project.pytester.makeini(ini)
    sftp.be_known(project.path)  # the home folder of what runs there
    project.save()
    reports = ("--onnxlite-report=r.json", "--onnxlite-markdown=r.md", "--junitxml=r.xml", "--onnxlite-sarif=r.sarif")
    good = project.compare("--onnxlite-cache-dir=cold", *reports, "--onnxlite-bundle=bundles", "-l", "-vv")
    good.assert_outcomes(passed=1)
    project.pytester.makeini(ini.replace(PASSWORD, PASSWORD[::-1]))
    bad = project.compare("--onnxlite-cache-dir=cold", *reports, "--onnxlite-bundle=bundles", "-l", "-vv", "--tb=long")
    bad.assert_outcomes(failed=1)
    assert "sftp://team:***@127.0.0.1" in bad.stdout.str()
    assert "access is refused (PermissionError" in bad.stdout.str()
    said = good.stdout.str() + good.stderr.str() + bad.stdout.str() + bad.stderr.str()
    written = [path for path in project.path.rglob("*") if path.is_file() and path.name != "tox.ini"]
    said += "".join(path.read_bytes().decode(errors="replace") for path in written)
    for secret in (PASSWORD, PASSWORD[::-1]):
        assert secret not in said


def test_an_ssh_server_that_is_not_the_known_one_gets_nothing(sftp: Sftp, net: Path, tmp_path: Path) -> None:
    known = tmp_path / "home" / ".ssh" / "known_hosts"
    known.write_text("")
    with pytest.raises(OnnxliteError, match="Host key is not trusted"):
        place_of(sftp.address, tmp_path).put("digits", file_of(net), [net], [])
    assert not list(sftp.folder.iterdir())


def test_a_web_server_is_read_and_never_written(web: Web, net: Path, tmp_path: Path) -> None:
    wanted = file_of(net)
    (web.folder / "digits").mkdir()
    there = web.folder / "digits" / wanted.file
    there.write_bytes(net.read_bytes())
    copy = place_of(web.address, tmp_path).obtain("digits", wanted)
    assert copy.read_bytes() == net.read_bytes()
    web.short = 100  # the connection ends before the file does
    with pytest.raises(OnnxliteError, match=r"Payload|another file"):
        place_of(web.address, tmp_path, "two").obtain("digits", wanted)
    web.short = 0
    there.write_text("<html>Please log in</html>".ljust(len(net.read_bytes())))
    with pytest.raises(OnnxliteError, match="what came is another file"):
        place_of(web.address, tmp_path, "three").obtain("digits", wanted)
    there.unlink()
    place = place_of(web.address, tmp_path, "four")
    with pytest.raises(OnnxliteError, match="it is not there"):
        place.obtain("digits", wanted)
    with pytest.raises(OnnxliteError, match="cannot be uploaded"):
        place.put("digits", wanted, [net], [])
    assert not there.exists()


# -- MLflow ------------------------------------------------------------------------------------------------------


def test_the_registry_says_what_is_released(registry: Callable[..., int], project: Project) -> None:
    net = dense(project.path / "net.onnx", 2, 64)
    project.write({"onnx": net}, X, markers="@pytest.mark.onnxlite_size", variant="onnx")
    project.pytester.makeini("[pytest]\nonnxlite_artefact_dir = mlflow://models/{model}-{variant}@champion\n")
    # Nothing is registered: nothing is saved.
    refused = project.run("--onnxlite-save-baseline", subprocess=True)
    assert refused.ret != 0
    refused.stdout.fnmatch_lines(["*was not saved: MLflow's registry fails, or has no such model or alias*"])
    assert not list(project.path.glob("baselines/*/*.json"))
    registry("digits-onnx", [net])
    assert project.run("--onnxlite-save-baseline", subprocess=True).ret == 0
    assert json.loads(project.baseline.read_text())["artefact"]["kept"]
    assert not list(project.path.glob("baselines/**/*.onnx"))
    project.run("--onnxlite-baseline", "--onnxlite-cache-dir=cold", subprocess=True).assert_outcomes(passed=1)
    # The alias moves to another version, which the baseline was not saved of.
    registry("digits-onnx", [dense(project.path / "next.onnx", 2, 64, seed=2)])
    moved = project.run("--onnxlite-baseline", "--onnxlite-cache-dir=cold", UNEXPLAINED, subprocess=True)
    moved.assert_outcomes(failed=1)
    moved.stdout.fnmatch_lines(["*version 2 of digits-onnx (@champion) holds no file with SHA-256*"])


def test_a_model_of_several_files_comes_out_of_the_registry(
    registry: Callable[..., int], several: Path, tmp_path: Path
) -> None:
    wanted = file_of(several)
    registry("net", files_of(several))
    place = place_of("mlflow://models/net@champion", tmp_path)
    copy = place.obtain("digits", wanted)
    assert hash_model(copy / "net.onnx") == wanted.sha256
    assert not place.put("digits", wanted, files_of(several), [])
    with pytest.raises(OnnxliteError, match="no such model or alias"):
        place_of("mlflow://models/net@candidate", tmp_path).obtain("digits", wanted)
    # What checks keep of a release lies next to the baselines.
    data = tmp_path / "data.npz"
    data.write_bytes(b"data")
    kept = Wanted("onnx-outputs-0123456789abcdef.npz", hash_model(data), 4, False)
    assert place.put("digits", kept, [data], [])
    assert place.obtain("digits", kept) == tmp_path / "baselines" / "digits" / kept.file


def test_a_registry_that_hangs_is_red_in_time(several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from servers import Wire

    wire = Wire(("127.0.0.1", 9), mode="hang")
    wire.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{wire.port}")
    start = time.monotonic()
    place = place_of("mlflow://models/net@champion", tmp_path, seconds=2)
    for _ in range(2):  # it is not asked twice
        with pytest.raises(OnnxliteError, match="does not answer: nothing was heard of it for 2 s"):
            place.obtain("digits", file_of(several))
    assert time.monotonic() - start < 15
    wire.stop()


def test_without_the_driver_one_command_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write(
        {"onnx": dense(project.path / "net.onnx", 2, 64)}, X, markers="@pytest.mark.onnxlite_size", variant="onnx"
    )
    project.pytester.makeini("[pytest]\nonnxlite_artefact_dir = hf://user/model/released\n")
    assert "huggingface_hub" not in sys.modules
    result = project.run("--onnxlite-baseline")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "huggingface_hub, which is not installed: pip install 'pytest-onnxlite[hf]'" in result.stderr.str()
    assert project.run().ret == 0  # where no baseline is looked at, nothing is asked for
