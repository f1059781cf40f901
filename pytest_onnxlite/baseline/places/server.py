"""Released files on a server, through fsspec: read into the cache, and checked there by their hashes.

A file's name has its hash in it, so that two savers write the same bytes under the same name, and nothing that a baseline
names is ever replaced by something else. Nothing is removed: what one checkout does not need, another one compares with.
"""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pytest_onnxlite.addresses import Address
from pytest_onnxlite.baseline.places.folder import inner_names
from pytest_onnxlite.baseline.places.place import Wanted
from pytest_onnxlite.baseline.places.steps import NoAnswer, Patience
from pytest_onnxlite.baseline.record import is_plain
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.text import first_line
from pytest_onnxlite.variants.cache import Cache, hash_file
from pytest_onnxlite.variants.external import hash_model

T = TypeVar("T")
_PART = 8 << 20
# What each driver is opened with: parts that bound memory; no server that is not known from before.
_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "s3": {"default_block_size": _PART, "max_concurrency": 2},
    "file": {"auto_mkdir": True},
    "ssh": {"known_hosts": ()},
}
_SAME = {"s3a": "s3", "sftp": "ssh"}
# Where an upload that is cut off leaves nothing; elsewhere a file gets its name when it is whole.
_WHOLE = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf")
_LONGEST = 300


class Server:
    """Released files below an address.

    Args:
        address: the folder that holds `<model>/<file>`.
        cache: takes the files that were read.
        seconds: how long nothing may be heard of the server.
        offline: whether it is not asked, and what is in the cache is all there is.
    """

    local = None

    def __init__(self, address: Address, cache: Cache, seconds: float, offline: bool = False) -> None:
        self._address = address
        self._cache = cache
        self._patience = Patience(str(address), seconds)
        self._offline = offline
        self._opened: tuple[Any, str] | None = None

    def advice(self, model: str, name: str) -> str:
        """Return what to do about a file that cannot be read there."""
        return "Restore it there, or save anew"

    def told(self, model: str, name: str) -> str:
        """Return the address of a file, without passwords."""
        return f"{self._address}/{model}/{name}"

    def obtain(self, model: str, wanted: Wanted) -> Path:
        """Return the copy of a file in the cache, with the right bytes. The server is asked for it each time.

        Raises:
            OnnxliteError: it is not there, or is another file; the server cannot be reached, or refuses.
        """
        sizes = {} if self._offline else self._found(model, wanted)

        def fetch(folder: Path) -> None:
            if self._offline:
                raise OnnxliteError("it is not in the cache, and ONNXLITE_OFFLINE says that no server is asked")
            self._fetch(model, wanted, sizes, folder)

        inputs = {"file": wanted.file, "sha256": wanted.sha256}
        return self._cache.entry("released", inputs, fetch) / wanted.file

    def put(self, model: str, wanted: Wanted, files: Sequence[Path], placed: list[Path]) -> bool:
        """Upload a file, unless it is there with the right bytes; what was uploaded is read back.

        Raises:
            OnnxliteError: it is not there afterwards with the right bytes.
        """
        target = self._path(model, wanted.file)
        if len(files) == 1:
            return self._upload(files[0], target, wanted.sha256)
        changed = False
        for file, name in inner_names(files):
            changed = self._upload(file, f"{target}/{name}", hash_file(file)) or changed
        return changed

    # -- reading -----------------------------------------------------------------------------------------

    def _found(self, model: str, wanted: Wanted) -> dict[str, int | None]:
        """Return the files that there are for a wanted one, with their sizes: one without a name, or those of its folder."""
        path = self._path(model, wanted.file)
        about = self._ask(lambda fs: fs.info(path))
        if about.get("type") != "directory":
            size = about.get("size")
            if size is not None and size != wanted.bytes:
                raise OnnxliteError(
                    f"it has {size:,} bytes there, and the release has {wanted.bytes:,}: it was cut off, or is another file"
                )
            return {"": size}
        listed = self._ask(lambda fs: fs.find(path, detail=True))
        sizes = {}
        for found, details in listed.items():
            name = found.lstrip("/").removeprefix(f"{path.strip('/')}/")
            if not all(is_plain(part) for part in name.split("/")):
                raise OnnxliteError(f"the server lists {name!r}, which is no name of a file in the model's folder")
            sizes[name] = details.get("size")
        if not sizes:
            raise OnnxliteError("its folder is empty")
        return sizes

    def _fetch(self, model: str, wanted: Wanted, names: Mapping[str, int | None], folder: Path) -> None:
        """Read a file, or those of a folder, into the cache, and check what came."""
        path, target = self._path(model, wanted.file), folder / wanted.file
        for name in names:
            local = target / name if name else target
            local.parent.mkdir(parents=True, exist_ok=True)
            self._read(f"{path}/{name}" if name else path, local)
        main = next(iter(sorted(target.glob("*.onnx"))), target)
        found = hash_file(target) if target.is_file() else hash_model(main) if main.is_file() else "nothing"
        if found != wanted.sha256:
            raise OnnxliteError(
                f"what came is another file: expected SHA-256 {wanted.sha256[:12]}…, found {found[:12]}…. It was replaced, or "
                "the connection cut it off"
            )

    def _read(self, path: str, local: Path) -> None:
        count = _counter()
        self._ask(lambda fs: fs.get_file(path, str(local), callback=count), lambda: int(count.value))

    # -- writing -----------------------------------------------------------------------------------------

    def _upload(self, file: Path, target: str, sha256: str) -> bool:
        """Upload a file, unless it is there; and make sure that it is there then."""
        if self._offline:
            raise OnnxliteError(
                f"{self._address} is not written to: ONNXLITE_OFFLINE says that no server is asked. Save without it"
            )
        size = file.stat().st_size
        try:
            if self._holds(target, sha256, size):
                return False
            self._send(file, target)
            if self._holds(target, sha256, size):
                return True
        except OnnxliteError as error:
            raise OnnxliteError(f"{file.name} cannot be uploaded to {self._address}: {error}.") from None
        raise OnnxliteError(
            f"{file.name} was uploaded to {self._address}, and what is read back is another file: it was cut off, or "
            "written to meanwhile. Save again."
        )

    def _holds(self, target: str, sha256: str, size: int) -> bool:
        """Tell whether the server has a file with these bytes; it is read for that."""
        try:
            about = self._ask(lambda fs: fs.info(target))
        except _NotThere:
            return False
        if about.get("type") == "directory" or about.get("size") not in (None, size):
            return False
        with tempfile.TemporaryDirectory(prefix="onnxlite-back-") as folder:
            local = Path(folder, "back")
            self._read(target, local)
            return hash_file(local) == sha256

    def _send(self, file: Path, target: str) -> None:
        count = _counter()
        if self._address.scheme in _WHOLE:
            self._ask(lambda fs: fs.put_file(str(file), target, callback=count), lambda: int(count.value))
            return
        parent = target.rpartition("/")[0]
        work = f"{parent}/.saving-{uuid.uuid4().hex}"
        try:
            self._ask(lambda fs: fs.makedirs(parent, exist_ok=True))
            self._ask(lambda fs: fs.put_file(str(file), work, callback=count), lambda: int(count.value))
            self._ask(lambda fs: fs.mv(work, target))
        except OnnxliteError:
            with contextlib.suppress(OnnxliteError):
                self._ask(lambda fs: fs.rm_file(work))
            raise

    # -- asking ------------------------------------------------------------------------------------------

    def _path(self, model: str, name: str) -> str:
        """Return the path of a file on the server, which never leaves the folder that the project names."""
        for part in (model, name):
            if not is_plain(part):
                raise OnnxliteError(f"{part!r} is no name of a file")
        return f"{self._filesystem()[1]}/{model}/{name}"

    def _filesystem(self) -> tuple[Any, str]:
        """Return fsspec's file system, and the path of the folder in it."""
        if self._opened is None:
            import fsspec

            scheme = self._address.scheme
            options = _OPTIONS.get(_SAME.get(scheme, scheme), {})
            fs, root = self._within(
                lambda: fsspec.url_to_fs(self._address.reveal(), skip_instance_cache=True, **options)
            )
            self._opened = fs, str(root).rstrip("/")
        return self._opened

    def _ask(self, step: Callable[[Any], T], moved: Callable[[], int] = lambda: 0) -> T:
        fs, _ = self._filesystem()

        def fresh() -> T:
            fs.invalidate_cache()
            return step(fs)

        return self._within(fresh, moved)

    def _within(self, step: Callable[[], T], moved: Callable[[], int] = lambda: 0) -> T:
        """Do a step, and say what is wrong with it."""
        try:
            return self._patience.within(step, moved)
        except NoAnswer:
            raise
        except FileNotFoundError as error:
            raise _NotThere(f"it is not there: it was never uploaded, or was removed{self._detail(error)}") from None
        except Exception as error:
            raise OnnxliteError(self._told(error)) from None

    def _told(self, error: Exception) -> str:
        if isinstance(error, NotImplementedError):
            return f"{self._address.scheme}:// can only be read"
        if _is_refusal(error):
            return f"access is refused{self._detail(error)}. Check who this process is to the server, and its rights"
        return f"{self._address} cannot be reached, or fails{self._detail(error)}"

    def _detail(self, error: Exception) -> str:
        """Return what a driver says, without secrets."""
        said = self._address.clean(first_line(error))[:_LONGEST].rstrip(".")
        return f" ({type(error).__name__}{': ' if said else ''}{said})"


def _is_refusal(error: Exception) -> bool:
    """Whether a driver says that the server does not let this process in: each says it in its own way."""
    status = getattr(error, "status_code", getattr(error, "code", None))
    said = f"{type(error).__name__} {error}".lower()
    return isinstance(error, PermissionError) or status in (401, 403) or "credential" in said or "denied" in said


class _NotThere(OnnxliteError):
    """The server says that there is no such file."""


def _counter() -> Any:
    """Return what counts the bytes that a driver moves."""
    from fsspec.callbacks import Callback

    return Callback()
