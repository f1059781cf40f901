"""What the tests know of the servers that they start on the loopback."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECRET = "wJalrXUtnFEMI-bPxRfiCYEXAMPLEKEY"
PASSWORD = "pass-word-of-the-server"


@dataclass
class Wire:
    """A line to a server that can be bad: what goes through it, and what it does to that.

    Attributes:
        port: where it listens.
        to: where the server is.
        mode: `sound`; `hang` answers nothing; `cut` ends each connection that has sent more than `after` bytes.
        after: bytes that a client may send.
        sent: the most bytes that one client has sent.
    """

    to: tuple[str, int]
    mode: str = "sound"
    after: int = 0
    sent: int = 0
    port: int = 0
    _listener: socket.socket = field(default_factory=socket.socket)

    def start(self) -> None:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.mode == "hang":
            select.select([], [], [], 30)
            client.close()
            return
        with contextlib.suppress(OSError), client, socket.create_connection(self.to) as server:
            sent = 0
            while True:
                ready, _, _ = select.select([client, server], [], [], 30)
                for one in ready:
                    data = one.recv(1 << 16)
                    if not data:
                        return
                    sent += len(data) if one is client else 0
                    self.sent = max(self.sent, sent)
                    if self.mode == "cut" and one is client and sent > self.after:
                        return
                    (server if one is client else client).sendall(data)


@dataclass
class S3:
    """A server that speaks S3's protocol, with one bucket, behind a line that can be bad."""

    wire: Wire
    files: Any
    bucket: str = "models"

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/released"

    def names(self) -> list[str]:
        self.files.invalidate_cache()
        return sorted(str(name) for name in self.files.find(f"{self.bucket}"))


@dataclass
class Sftp:
    """An SSH server that gives out a folder."""

    port: int
    folder: Path
    key: str

    def be_known(self, home: Path) -> None:
        """Let a user, whose home folder this is, know the server's key."""
        (home / ".ssh").mkdir(parents=True, exist_ok=True)
        (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {self.key}\n")

    @property
    def address(self) -> str:
        return f"sftp://team:{PASSWORD}@127.0.0.1:{self.port}{self.folder.as_posix()}"


@dataclass
class Web:
    """A web server that gives out a folder; `short` bytes are left out at the end of each answer."""

    port: int
    folder: Path
    short: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"
