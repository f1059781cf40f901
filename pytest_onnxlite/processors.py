"""Which processor this is, which others can be emulated here, and how a program is run on one of them.

x86 processors without VNNI add two products of uint8 and int8 in 16 bits, which saturates (onnxruntime#6004): an INT8
model may answer differently on them. `qemu-x86_64` computes as they do, bit for bit. Imports nothing heavy.
"""

from __future__ import annotations

import platform
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from pytest_onnxlite import commands
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.settings import PROCESSORS

# The instruction sets by which ONNX Runtime picks its kernels, as Linux names them and as numpy does.
_LINUX_FLAGS = {
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx_vnni": "avx-vnni",
    "avx512_vnni": "avx512-vnni",
    "amx_int8": "amx-int8",
    "asimddp": "neon-dotprod",
    "i8mm": "neon-i8mm",
    "sve": "sve",
}
_NUMPY_FLAGS = {"AVX2": "avx2", "AVX512F": "avx512", "AVX512VNNI": "avx512-vnni", "ASIMDDP": "neon-dotprod"}
# Where numpy says it, in its versions 2 and 1.
_NUMPY_MODULES = ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath")
# The processor models of QEMU. It emulates no VNNI and no AVX-512, whatever model is asked for (7.2 to 10): for one that
# has them it leaves them out and says so on stderr alone, and what remains is a processor that saturates.
_MODELS = {"avx2": "Haswell", "sse4": "Nehalem"}
_QEMU = ("qemu-x86_64", "qemu-x86_64-static")

TEXTS = {
    "avx2": "an x86 processor with AVX2 and without VNNI",
    "sse4": "an x86 processor without AVX2",
    "vnni": "an x86 processor with VNNI",
}


@dataclass(frozen=True)
class Way:
    """How the answers of a processor are got here.

    Attributes:
        processor: the one that was asked for.
        runs_on: the one that the model runs on for it.
        emulated: whether that one is emulated, or is this machine's.
    """

    processor: str
    runs_on: str
    emulated: bool

    @property
    def text(self) -> str:
        """What was counted on, in words: `an x86 processor with AVX2 and without VNNI (emulated)`."""
        if not self.emulated:
            return f"{TEXTS[self.processor]} (this machine's)"
        if self.runs_on == self.processor:
            return f"{TEXTS[self.processor]} (emulated)"
        # Both add INT8 products in 32 bits.
        return (
            f"{TEXTS[self.processor]} (cannot be emulated; {self.runs_on} is instead, which does not saturate either)"
        )


def cpuinfo() -> dict[str, str]:
    """Return what Linux says about the first processor; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def instruction_sets() -> list[str]:
    """Return the instruction sets that ONNX Runtime's kernels may use here, by our names, sorted."""
    info = cpuinfo()
    flags = (info.get("flags") or info.get("Features") or "").split()
    # An emulated program reads the /proc/cpuinfo of the machine around it; numpy asks the processor itself.
    if flags and not is_emulated():
        return sorted(name for flag, name in _LINUX_FLAGS.items() if flag in flags)
    for module in _NUMPY_MODULES:
        with suppress(ImportError, AttributeError):
            features = import_module(module).__cpu_features__
            return sorted(name for flag, name in _NUMPY_FLAGS.items() if features.get(flag))
    return []


@lru_cache(maxsize=1)
def is_emulated() -> bool:
    """Tell whether this process is one that QEMU runs."""
    try:
        return Path("/proc/self/comm").read_text().startswith("qemu-")
    except OSError:
        return False


@lru_cache(maxsize=1)
def this_processor() -> str:
    """Return the name of the kind of processor that this process runs on; empty if it is another or cannot be told."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ""
    sets = instruction_sets()
    if "avx512-vnni" in sets or "avx-vnni" in sets:
        return "vnni"
    if "avx2" not in sets:
        return "sse4"
    # AVX-512 without VNNI adds in 16 bits as AVX2 does. Of AVX-VNNI Linux alone tells, and QEMU has none.
    return "avx2" if "flags" in cpuinfo() or is_emulated() else ""


def find_qemu() -> str | None:
    """Return the path of QEMU's user mode for x86-64 programs, or None if it is not installed."""
    return next((path for name in _QEMU if (path := shutil.which(name))), None)


def way_to(processor: str) -> Way:
    """Return how the answers of a processor are got here.

    Args:
        processor: one of `settings.PROCESSORS`.

    Raises:
        OnnxliteError: they cannot be got here; the text says what to do.
    """
    assert processor in PROCESSORS
    if processor == this_processor():
        return Way(processor, processor, emulated=False)
    runs_on = processor if processor in _MODELS else "sse4"
    _ = command(runs_on)  # which raises
    return Way(processor, runs_on, emulated=True)


def command(processor: str) -> list[str]:
    """Return what is put before a command line, so that its program runs on another processor.

    Args:
        processor: one that QEMU emulates: `avx2` or `sse4`.

    Raises:
        OnnxliteError: nothing is emulated here; the text says what to do.
    """
    if not (sys.platform.startswith("linux") and platform.machine() == "x86_64"):
        raise OnnxliteError(
            f"it is emulated by qemu-user, on x86-64 Linux alone, and this is {sys.platform} on {platform.machine()}. Ask for "
            "other processors in a CI job on x86-64 Linux."
        )
    qemu = find_qemu()
    if qemu is None:
        raise OnnxliteError(
            f"it is emulated by qemu-user (qemu-x86_64), which is not installed here. Install it with: {commands.INSTALL_QEMU}"
        )
    return [qemu, "-cpu", _MODELS[processor]]


def command_here() -> list[str]:
    """Return what is put before a command line, so that its program runs on the processor of this process.

    A program that an emulated one starts is not emulated by itself.

    Raises:
        OnnxliteError: this process is emulated, and QEMU cannot be found.
    """
    return command(this_processor()) if is_emulated() else []
