"""A runtime of another version, in a folder of packages that a child process puts before its own."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import msgspec

from pytest_onnxlite import commands
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.kinds import LITERT, ONNX_RUNTIME
from pytest_onnxlite.runtime.childprocess import Child, ChildError

# By library: the distribution that pip installs, and the module that it holds.
_PACKAGES = {ONNX_RUNTIME: ("onnxruntime", "onnxruntime"), LITERT: ("ai-edge-litert", "ai_edge_litert")}
_PIP_SECONDS = 900.0
_MOST_LINES = 6


class Loaded(msgspec.Struct, frozen=True):
    """A module that a process loaded: its version, and its file."""

    version: str
    file: str


def load(module: str) -> Loaded:
    """Load a module, and say which one it is."""
    found = importlib.import_module(module)
    version = getattr(found, "__version__", "")
    return Loaded(str(version), str(found.__file__))


def packages_of(folder: Path, library: str) -> Path:
    """Return the folder of packages in a virtual environment; any other folder is one itself.

    Raises:
        OnnxliteError: it has no packages for this Python, or they lack the library.
    """
    if not folder.is_dir():
        raise OnnxliteError(f"{folder} is no folder.")
    packages = folder
    if (folder / "pyvenv.cfg").is_file():
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        packages = folder / ("Lib" if sys.platform == "win32" else f"lib/{name}") / "site-packages"
        if not packages.is_dir():
            raise OnnxliteError(
                f"{folder} is a virtual environment of another Python: it has no {packages.relative_to(folder)}. The last "
                f"release runs in this Python ({name}) with that environment's packages; make it with: {commands.make_environment(sys.executable, folder)}"
            )
    distribution, module = _PACKAGES[library]
    if not (packages / module).is_dir():
        raise OnnxliteError(
            f"{packages} holds no {module}. Install it there: {commands.install_into(folder, distribution)}"
        )
    return packages


def require(packages: Path, library: str, version: str) -> None:
    """See that a process that puts these packages first gets the library from there, in this version.

    Raises:
        OnnxliteError: it does not.
    """
    module = _PACKAGES[library][1]
    try:
        with Child(packages=packages) as child:
            found = child.ask(load, module)
            child.end()
    except ChildError as error:
        raise OnnxliteError(f"{module} of {packages} cannot be loaded in this Python: {error}.") from None
    if not Path(found.file).absolute().is_relative_to(packages.absolute()):
        raise OnnxliteError(f"a process that puts {packages} first loads {module} from {found.file} all the same.")
    there = found.version or _recorded(packages, library)
    if there != version:
        raise OnnxliteError(
            f"{packages} holds {module} {there}, and the last release was saved with {version}. Install that one there."
        )


def _recorded(packages: Path, library: str) -> str:
    distribution = _PACKAGES[library][0]
    return next((found.version for found in metadata.distributions(name=distribution, path=[str(packages)])), "unknown")


def install(library: str, version: str, folder: Path, distribution: str = "") -> None:
    """Install a version of a library with pip, and what it needs, into an empty folder; of a distribution if one is named.

    Raises:
        OnnxliteError: pip cannot; the text has its words.
    """
    wanted = f"{distribution or _PACKAGES[library][0]}=={version}"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    try:
        done = subprocess.run(
            [*command, "--target", str(folder), wanted],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PIP_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OnnxliteError(f"pip did not install {wanted} within {_PIP_SECONDS:.0f} s.") from None
    if done.returncode:
        words = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-_MOST_LINES:]
        raise OnnxliteError(
            f"pip could not install {wanted} for Python {sys.version_info.major}.{sys.version_info.minor}. It said: "
            f"{' / '.join(words) or 'nothing'}"
        )
