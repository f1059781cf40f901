"""The last release's file out of MLflow's model registry, which says by an alias what is released."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pytest_onnxlite.addresses import Address
from pytest_onnxlite.baseline.places.folder import LocalFolder
from pytest_onnxlite.baseline.places.place import Wanted
from pytest_onnxlite.baseline.places.steps import NoAnswer, Patience
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.text import first_line
from pytest_onnxlite.variants.cache import Cache
from pytest_onnxlite.variants.external import files_of, hash_model

T = TypeVar("T")
_FILE = re.compile(r"(.+)-[0-9a-f]{16}(\.[A-Za-z0-9]{1,16})?")
_LONGEST = 300


class RegisteredModels:
    """Released files that are versions in a registry; it is only read. Data files of checks lie next to the baselines.

    Args:
        address: `mlflow://models/NAME@ALIAS`, where `{model}` and `{variant}` stand for a baseline's.
        baselines: the folder of the baselines.
        cache: takes the files that were read.
        seconds: how long nothing may be heard of the registry.
    """

    def __init__(self, address: Address, baselines: Path, cache: Cache, seconds: float) -> None:
        self._address = address
        self.local = baselines
        self._data = LocalFolder(baselines)
        self._cache = cache
        self._patience = Patience("MLflow's registry", seconds)

    def advice(self, model: str, name: str) -> str:
        """Return what to do about a file that cannot be read there."""
        return "Let the alias point to the release that the baseline is of, or save anew"

    def told(self, model: str, name: str) -> str:
        """Return the address of a file."""
        here = self._data.told(model, name)
        return here if Path(here).exists() else f"{self._address} ({model}/{name})"

    def obtain(self, model: str, wanted: Wanted) -> Path:
        """Return the copy in the cache of the file that an alias points to.

        Raises:
            OnnxliteError: there is no such model or alias, it is another file, or the registry cannot be reached.
        """
        if not wanted.is_model:
            return self._data.obtain(model, wanted)
        name, alias = self._named(model, wanted)
        version: Any = self._ask(lambda: _client().get_model_version_by_alias(name, alias))
        where = {"version": str(version.version), "source": hashlib.sha256(str(version.source).encode()).hexdigest()}

        def fetch(folder: Path) -> None:
            self._fetch(
                f"version {version.version} of {name} (@{alias})", f"models:/{name}/{version.version}", wanted, folder
            )

        inputs = {"name": name, "file": wanted.file, "sha256": wanted.sha256, **where}
        return self._cache.entry("registered", inputs, fetch) / wanted.file

    def put(self, model: str, wanted: Wanted, files: Sequence[Path], placed: list[Path]) -> bool:
        """Make sure that the alias points to the file.

        Raises:
            OnnxliteError: it does not.
        """
        if not wanted.is_model:
            return self._data.put(model, wanted, files, placed)
        try:
            self.obtain(model, wanted)
        except OnnxliteError as error:
            raise OnnxliteError(
                f"{error}. Nothing is written to a registry: register the file that was judged, let the alias point to it, "
                "and save again."
            ) from None
        return False

    def _named(self, model: str, wanted: Wanted) -> tuple[str, str]:
        """Return the name and the alias of a file."""
        variant = _FILE.fullmatch(wanted.file)
        if variant is None:
            raise OnnxliteError(f"{wanted.file!r} is no name of a released file")
        name, alias = self._address.registered()
        for key, value in (("{model}", model), ("{variant}", variant[1])):
            name, alias = name.replace(key, value), alias.replace(key, value)
        return name, alias

    def _fetch(self, what: str, uri: str, wanted: Wanted, folder: Path) -> None:
        """Read a version, and keep of it the file that is wanted."""
        from mlflow.artifacts import download_artifacts

        work = folder / "download"
        work.mkdir()
        self._ask(lambda: download_artifacts(artifact_uri=uri, dst_path=str(work)), lambda: _bytes_in(work))
        endings = {".onnx", Path(wanted.file).suffix} - {""}
        files = sorted(path for path in work.rglob("*") if path.suffix in endings and path.is_file())
        hashes = {path: hash_model(path) for path in files}
        right = next((path for path, found in hashes.items() if found == wanted.sha256), None)
        if right is None:
            there = ", ".join(f"{path.relative_to(work).as_posix()} {found[:12]}…" for path, found in hashes.items())
            raise OnnxliteError(
                f"{what} holds no file with SHA-256 {wanted.sha256[:12]}…, which the baseline was saved of; it holds "
                f"{there or 'no model'}. The alias points to another release now, or the baseline is of another one"
            )
        _keep(right, folder / wanted.file)
        shutil.rmtree(work)

    def _ask(self, step: Callable[[], T], moved: Callable[[], int] = lambda: 0) -> T:
        try:
            return self._patience.within(step, moved)
        except NoAnswer:
            raise
        except Exception as error:
            said = self._address.clean(first_line(error))[:_LONGEST].rstrip(".")
            raise OnnxliteError(
                f"MLflow's registry fails, or has no such model or alias ({type(error).__name__}: {said}). It is the one that "
                "MLFLOW_REGISTRY_URI or MLFLOW_TRACKING_URI names"
            ) from None


def _keep(model: Path, target: Path) -> None:
    """Move a model to its place; one of several files with them into a folder."""
    files = files_of(model)
    if len(files) == 1:
        model.rename(target)
        return
    for file in files:
        place = target / (model.name if file is model else file.relative_to(model.parent.resolve()))
        place.parent.mkdir(parents=True, exist_ok=True)
        file.rename(place)


def _client() -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient()


def _bytes_in(folder: Path) -> int:
    """Return the bytes of the files in a folder that somebody writes to."""
    try:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except OSError:  # a temporary file that was renamed meanwhile
        return -1
