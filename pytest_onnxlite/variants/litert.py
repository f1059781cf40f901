"""Variants that the LiteRT interpreter runs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from pytest_onnxlite import commands
from pytest_onnxlite.errors import OnnxliteError, hide_mistakes
from pytest_onnxlite.runtime.sessions import TensorInfo
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.variants.variant import Outputs, RuntimeVariant

__tracebackhide__ = hide_mistakes


class TfliteVariant(RuntimeVariant):
    """A variant that the LiteRT interpreter runs, real numbers in and out."""

    @cached_property
    def _session(self) -> Any:
        from pytest_onnxlite.runtime.interpreter import open_interpreter

        try:
            return open_interpreter(self.path, self.runtime)
        except ImportError as error:
            raise OnnxliteError(
                f"{self.model} {self.kind} is run by LiteRT, which cannot be imported here: {error}. "
                f"Install it with: {commands.install('litert')}"
            ) from None
        except Exception as error:
            raise self._cannot_load("LiteRT", error) from None

    @property
    def inputs_info(self) -> tuple[TensorInfo, ...]:
        """What the model is fed: names, dtypes, shapes."""
        return tuple(self._session.inputs)

    @property
    def outputs_info(self) -> tuple[TensorInfo, ...]:
        """What the model gives back: names, dtypes, shapes."""
        return tuple(self._session.outputs)

    def _run_once(self, feeds: dict[str, Array]) -> Outputs:
        found: Outputs = self._session.run(feeds)
        return found
