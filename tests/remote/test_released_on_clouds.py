"""Released files in Google's and Azure's storage, through their own drivers, on emulators of those services."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_models import dense
from projects import UNEXPLAINED, Project

X = np.zeros((8, 64), np.float32)
# Azurite's own, which everybody knows.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass
class Cloud:
    """A bucket or a container on the loopback: its address, and the driver's files in it."""

    address: str
    files: Any

    @property
    def release(self) -> str:
        """The one released model that is there."""
        self.files.invalidate_cache()
        (name,) = (name for name in self.files.find("models") if name.endswith(".onnx"))
        return str(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def connection(port: int, key: str = KEY) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};"
        f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
    )


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    import gcsfs
    from gcp_storage_emulator.server import create_server

    port = free_port()
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="models")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    yield Cloud("gs://models/released", gcsfs.GCSFileSystem(token="anon", skip_instance_cache=True))
    server.stop()


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cloud]:
    import adlfs

    program = shutil.which("azurite-blob")
    assert program, "azurite-blob is missing: npm install azurite"
    port = free_port()
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection(port))
    command = [program, "--silent", "--location", str(tmp_path / "azurite"), "--blobPort", str(port)]
    with subprocess.Popen([*command, "--skipApiVersionCheck"], stdout=subprocess.DEVNULL) as server:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        files = adlfs.AzureBlobFileSystem(connection_string=connection(port), skip_instance_cache=True)
        files.mkdir("models")
        yield Cloud("az://models/released", files)
        server.terminate()


@pytest.fixture(params=["google", "azure"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    found: Cloud = request.getfixturevalue(request.param)
    return found


def saved(project: Project, cloud: Cloud) -> bytes:
    """Save a release there; returns its bytes."""
    model = dense(project.path / "net.onnx", 2, 64)
    project.write({"onnx": model}, X, markers="@pytest.mark.onnxlite_size", variant="onnx")
    project.pytester.makeini(f"[pytest]\nonnxlite_artefact_dir = {cloud.address}\nonnxlite_artefact_time = 10\n")
    project.save()
    assert not list(project.path.glob("baselines/**/*.onnx"))
    return model.read_bytes()


def compare(project: Project, cache: str, **outcomes: int) -> str:
    result = project.pytester.runpytest("--onnxlite-baseline", f"--onnxlite-cache-dir={cache}", UNEXPLAINED)
    result.assert_outcomes(**outcomes)
    return result.stdout.str()


def test_a_release_goes_there_and_is_compared_with_from_there(project: Project, cloud: Cloud) -> None:
    content = saved(project, cloud)
    assert cloud.files.cat_file(cloud.release) == content
    text = project.baseline.read_bytes()
    project.save()
    assert project.baseline.read_bytes() == text
    compare(project, "one", passed=1)
    compare(project, "one", passed=1)  # out of the cache


@pytest.mark.parametrize("fault", ["gone", "other bytes", "cut off"])
def test_what_is_not_the_release_is_red(project: Project, cloud: Cloud, fault: str) -> None:
    content = saved(project, cloud)
    if fault == "gone":
        cloud.files.rm_file(cloud.release)
    else:
        cloud.files.pipe_file(cloud.release, content[:-4] + b"\0\0\0\1" if fault == "other bytes" else content[:99])
    told = {"gone": "it is not there", "other bytes": "another file", "cut off": "bytes there, and the release has"}
    assert told[fault] in compare(project, "cold", failed=1)
    project.save("--onnxlite-accept")
    assert cloud.files.cat_file(cloud.release) == content


@pytest.mark.parametrize(
    ("of", "told"),
    [
        ("google", "gs://models/released cannot be reached, or fails"),
        ("azure", "az://models/released cannot be reached, or fails"),
        ("key", "access is refused"),
        ("no key", "access is refused"),
    ],
)
def test_a_service_that_cannot_be_asked_is_red(
    project: Project, request: pytest.FixtureRequest, of: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = request.getfixturevalue("google" if of == "google" else "azure")
    saved(project, cloud)
    compare(project, "warm", passed=1)
    if of == "google":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    elif of == "azure":
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection(9))
    elif of == "key":
        port = int(os.environ["AZURE_STORAGE_CONNECTION_STRING"].split("127.0.0.1:")[1].split("/")[0])
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection(port, "AAAA" + KEY[4:]))
    else:
        monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    said = compare(project, "warm", failed=1)
    assert told in said or (of in ("google", "azure") and "does not answer" in said)
    assert KEY not in said
