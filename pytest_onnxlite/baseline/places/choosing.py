"""Which place a project's released files are kept in."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path

from pytest_onnxlite.addresses import REGISTRY, Address
from pytest_onnxlite.baseline.places.folder import LocalFolder
from pytest_onnxlite.baseline.places.place import Place
from pytest_onnxlite.baseline.places.registered import RegisteredModels
from pytest_onnxlite.baseline.places.server import Server
from pytest_onnxlite.variants.cache import Cache


def place_at(where: Path | Address | None, baselines: Path, seconds: float, cache: Cache | None = None) -> Place | None:
    """Return the place of released files; None for the folder of the baselines.

    Args:
        where: a folder, or an address.
        baselines: the folder of the baselines.
        seconds: how long nothing may be heard of a server.
        cache: takes what is read from a server; None for a folder that goes with the place.
    """
    if not isinstance(where, Address):
        return None if where is None else LocalFolder(where)
    own = "" if cache is not None else tempfile.mkdtemp(prefix="onnxlite-released-")
    cache = cache or Cache(Path(own))
    place: Server | RegisteredModels
    if where.scheme == REGISTRY:
        place = RegisteredModels(where, baselines, cache, seconds)
    else:
        place = Server(where, cache, seconds, offline=os.environ.get("ONNXLITE_OFFLINE", "") not in ("", "0"))
    if own:
        weakref.finalize(place, shutil.rmtree, own, True)
    return place
