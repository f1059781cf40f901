"""Real servers on the loopback: S3's protocol, SFTP, HTTP, and MLflow's registry. For .ci/remote alone, which installs them."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import importlib
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from servers import PASSWORD, S3, SECRET, Sftp, Web, Wire

# They need packages that no other test needs.
collect_ignore_glob = ["test_*.py"]
if os.environ.get("ONNXLITE_TESTS_REMOTE") == "1":
    collect_ignore_glob = []
    # Or gcsfs asks a service for the kind of a bucket that no emulator has.
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    # Imported here, so that runs of pytest within this process find them imported: some can be imported once only.
    for name in (
        "adlfs",
        "gcsfs",
        "google.cloud.storage",
        "mlflow.artifacts",
        "mlflow.store.tracking.sqlalchemy_store",
        "mlflow.tracking",
        "moto.server",
        "s3fs",
        "sqlalchemy",
        "sshfs",
    ):
        importlib.import_module(name)


@pytest.fixture(scope="session")
def moto() -> Iterator[tuple[str, int]]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def s3(moto: tuple[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3]:
    import s3fs

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    wire = Wire(moto)
    wire.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{wire.port}")
    files = s3fs.S3FileSystem(
        endpoint_url=f"http://{moto[0]}:{moto[1]}", skip_instance_cache=True, use_listings_cache=False
    )
    name = f"models-{wire.port}"
    files.mkdir(name)
    yield S3(wire, files, name)
    wire.stop()


@pytest.fixture
def sftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sftp]:
    import asyncssh

    class Server(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("team", PASSWORD)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def start() -> Any:
        return await asyncssh.listen("127.0.0.1", 0, server_host_keys=[key], server_factory=Server, sftp_factory=True)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(20)
    port = server.sockets[0].getsockname()[1]
    folder = tmp_path / "server"
    folder.mkdir()
    found = Sftp(port, folder, key.export_public_key().decode().strip())
    found.be_known(tmp_path / "home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    yield found
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    folder = tmp_path / "web"
    folder.mkdir()
    found = Web(0, folder)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def copyfile(self, source: Any, outputfile: Any) -> None:
            content = source.read()
            outputfile.write(content[: len(content) - found.short])

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    found.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """MLflow's registry in SQLite: registers files as a new version of a model, and lets an alias point to it."""
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path.as_posix()}/registry.db")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")

    def register(name: str, files: list[Path], alias: str = "champion") -> int:
        from mlflow.exceptions import MlflowException

        client = MlflowClient()
        versions = len(list(tmp_path.glob("registered-*")))
        source = tmp_path / f"registered-{versions}"
        source.mkdir()
        for file in files:
            (source / file.name).write_bytes(file.read_bytes())
        (source / "MLmodel").write_text("flavors: {}\n")
        with contextlib.suppress(MlflowException):
            client.create_registered_model(name)
        version = client.create_model_version(name, source.as_uri())
        client.set_registered_model_alias(name, alias, version.version)
        return int(version.version)

    return register
