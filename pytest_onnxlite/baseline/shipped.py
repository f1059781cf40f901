"""The runtime that a release ships with, as its baseline keeps it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pytest_onnxlite.spec.runtimes import CPU


class ShippedRuntime(msgspec.Struct, frozen=True, omit_defaults=True):
    """The runtime that a release ships with.

    Attributes:
        library: `onnxruntime` or `litert`.
        version: its version.
        provider: its execution providers, in the order of preference; empty if it has none.
        options: how the file is run, by name: the threads, and what is not the default.
        distribution: the package that the library came in, if it has another name, such as `onnxruntime-openvino`.
    """

    library: str
    version: str
    provider: str = ""
    options: Mapping[str, str] = {}
    distribution: str = ""

    @property
    def package(self) -> str:
        """The package that the library came in, with its version: `onnxruntime 1.24.4`."""
        return f"{self.distribution or self.library} {self.version}"

    @property
    def told(self) -> tuple[str, ...]:
        """What it is run with beyond threads, if that is not the default: providers, and options with their values."""
        providers = () if self.provider in ("", CPU) else (self.provider,)
        return (*providers, *(f"{name} {value}" for name, value in self.options.items() if name != "threads"))
