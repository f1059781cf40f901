"""Runtimes of other versions for tests: the installed ONNX Runtime under another version, in a folder or a wheel."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

# Takes twice as long, and holds on to 40 MiB for each session.
SLOW = """
from time import perf_counter as _now

_opened, _ran = InferenceSession.__init__, InferenceSession.run


def _init(self, *arguments, **options):
    _opened(self, *arguments, **options)
    self.held = b"x" * (40 << 20)


def _run(self, *arguments, **options):
    start = _now()
    found = _ran(self, *arguments, **options)
    end = _now()
    while _now() - end < end - start:
        pass
    return found


InferenceSession.__init__, InferenceSession.run = _init, _run
"""


def source(version: str = "", more: str = "") -> str:
    """Return the text of an `onnxruntime/__init__.py` that is the installed one, under another version."""
    found = importlib.util.find_spec("onnxruntime")
    assert found is not None
    assert found.origin is not None
    real = Path(found.origin)
    first = f"\n__path__.append({str(real.parent)!r})\n"
    last = f"\n__version__ = {version!r}\n" if version else ""
    return real.read_text().replace("\n__version__", f"{first}__version__", 1) + last + more


def folder(path: Path, version: str = "", more: str = "") -> Path:
    """Write a folder of packages, as `pip install --target` does."""
    (path / "onnxruntime").mkdir(parents=True)
    (path / "onnxruntime" / "__init__.py").write_text(source(version, more))
    return path


def wheel(path: Path, version: str) -> Path:
    """Write a folder with a wheel that pip can install."""
    path.mkdir()
    info = f"onnxruntime-{version}.dist-info"
    with zipfile.ZipFile(path / f"onnxruntime-{version}-py3-none-any.whl", "w") as file:
        file.writestr("onnxruntime/__init__.py", source(version))
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: onnxruntime\nVersion: {version}\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return path
