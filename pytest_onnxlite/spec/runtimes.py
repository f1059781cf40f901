"""How a model's file is run: threads, execution providers, options, custom operators. Everything that opens a session reads it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from pytest_onnxlite import commands
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.text import unknown

CPU = "CPUExecutionProvider"
OPTIMIZATIONS = ("all", "extended", "basic", "none")
# What ONNX Runtime's SessionOptions have by attribute; every other option has a dot in its key and is a configuration entry.
_FLAGS = ("enable_cpu_mem_arena", "enable_mem_pattern", "enable_mem_reuse", "use_deterministic_compute")
_MODE, _MODES = "execution_mode", ("sequential", "parallel")
_NUMBERS = ("threads", "inter_op_threads")


NO_ONNX_RUNTIME = (
    "no ONNX Runtime is installed here, which runs the models. Install the one that you ship with: "
    f"{commands.install('cpu')}, or [gpu], [openvino] or [directml] in place of [cpu]. One of them alone: each installs over the others."
)


def has_onnx_runtime() -> bool:
    """Tell whether any of the packages that hold ONNX Runtime is installed, without importing it."""
    try:
        return importlib.util.find_spec("onnxruntime") is not None
    except ValueError:  # somebody put another module in its place
        return True


def require_onnx_runtime() -> None:
    """Check that one is installed.

    Raises:
        OnnxliteError: there is none.
    """
    if not has_onnx_runtime():
        raise OnnxliteError(f"{NO_ONNX_RUNTIME[0].upper()}{NO_ONNX_RUNTIME[1:]}")


class Runtime(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a model's file is run, in production and wherever it is judged.

    LiteRT reads the threads alone; the rest is ONNX Runtime's.

    Args:
        threads: intra-op threads: how many share the work of one operator.
        inter_op_threads: how many operators run at the same time; more than 1 needs
            `session_options={"execution_mode": "parallel"}`.
        providers: execution providers in the order of preference, such as `["OpenVINOExecutionProvider"]`. Each of them must be
            there. The CPU's runs what no other takes.
        provider_options: by provider, its options by name: `{"OpenVINOExecutionProvider": {"device_type": "CPU"}}`.
        optimization: how far ONNX Runtime rewrites the graph: `all`, `extended`, `basic` or `none`.
        session_options: attributes of `SessionOptions` (`enable_cpu_mem_arena`, `enable_mem_pattern`, `enable_mem_reuse`,
            `use_deterministic_compute`: True or False; `execution_mode`: "sequential" or "parallel"), and configuration
            entries, whose keys have a dot, such as `session.intra_op.allow_spinning`.
        custom_ops: libraries of custom operators: files, or modules that have `get_library_path()`, such as
            `onnxruntime_extensions`.

    Raises:
        OnnxliteError: a value of another type, out of range, or that contradicts another.
    """

    threads: int = 1
    inter_op_threads: int = 1
    providers: Sequence[str] = (CPU,)
    provider_options: Mapping[str, Mapping[str, Any]] = {}
    optimization: str = "all"
    session_options: Mapping[str, Any] = {}
    custom_ops: Sequence[Any] = ()

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise OnnxliteError(f"Runtime({name}={value!r}): expected a whole number from 1.")
        if self.optimization not in OPTIMIZATIONS:
            raise OnnxliteError(
                f"Runtime(optimization={self.optimization!r}): expected one of {', '.join(OPTIMIZATIONS)}."
            )
        providers = _texts("providers", self.providers)
        if providers[1:] and providers[-1] == CPU:
            providers = providers[:-1]  # which takes what is left in any case
        if not providers or len(set(providers)) < len(providers):
            raise OnnxliteError(f"Runtime(providers={list(providers)}): expected at least one, and each once.")
        put = msgspec.structs.force_setattr
        put(self, "providers", providers)
        put(self, "custom_ops", tuple(map(_library, _texts("custom_ops", self.custom_ops))))
        put(self, "provider_options", _provider_options(self.provider_options, providers))
        put(self, "session_options", _session_options(self.session_options))
        if self.inter_op_threads > 1 and self.session_options.get(_MODE) != "parallel":
            raise OnnxliteError(
                f"Runtime(inter_op_threads={self.inter_op_threads}): ONNX Runtime uses them only if operators run in parallel. "
                'Add session_options={"execution_mode": "parallel"}, or leave inter_op_threads out.'
            )

    @property
    def wanted(self) -> tuple[str, ...]:
        """The providers that are to run the graph: those that are asked for, the CPU's only if there is no other."""
        return tuple(name for name in self.providers if name != CPU) or (CPU,)

    @property
    def is_on_cpu(self) -> bool:
        """Whether ONNX Runtime's own kernels for the CPU run everything."""
        return self.wanted == (CPU,)

    @property
    def is_plain(self) -> bool:
        """Whether it is the default but for its threads."""
        return self == Runtime(threads=self.threads)

    @property
    def has_one_thread(self) -> bool:
        """Whether a session needs no thread but the one that calls it, as far as can be told: a provider may start its own."""
        return self.is_on_cpu and self.threads == 1 and self.inter_op_threads == 1

    def with_threads(self, threads: int) -> Runtime:
        """Return it with other intra-op threads."""
        return msgspec.structs.replace(self, threads=threads)

    def with_fields(self, fields: Mapping[str, object], folder: Path = Path()) -> Runtime:
        """Return it with some fields replaced, as a table of pyproject.toml says.

        Args:
            fields: the table. Options of providers go with the providers: where other ones are named, so are their options.
            folder: of that file, to which libraries are relative.

        Raises:
            OnnxliteError: an unknown field, or see `Runtime`.
        """
        names = self.__struct_fields__
        for name in fields:
            if name not in names:
                raise OnnxliteError(unknown("key", name, names))
        given: dict[str, Any] = dict(fields)
        if "providers" in given:
            given.setdefault("provider_options", {})
        if isinstance(given.get("custom_ops"), list):
            given["custom_ops"] = [_in_folder(entry, folder) for entry in given["custom_ops"]]
        return Runtime(**{**{name: getattr(self, name) for name in names}, **given})

    def options(self) -> dict[str, str]:
        """Return how it is run as texts by name: the threads, and what is not the default; a library with its hash.

        The providers are not among them.
        """
        found = {"threads": str(self.threads)}
        for name, usual in _USUAL.items():
            if str(getattr(self, name)) != usual:
                found[name] = str(getattr(self, name))
        for provider, options in self.provider_options.items():
            found |= {f"{provider}.{key}": value for key, value in options.items()}
        found |= self.session_options
        if self.custom_ops:
            found["custom_ops"] = ", ".join(map(_library_text, self.custom_ops))
        return dict(sorted(found.items()))

    def describe(self) -> str:
        """Say how it is run, in a line: `2 threads, OpenVINOExecutionProvider, optimization basic`."""
        options = self.options()
        count = int(options.pop("threads"))
        parts = [f"{count} thread{'s' if count > 1 else ''}"]
        if not self.is_on_cpu:
            parts.append(", ".join(self.providers))
        return ", ".join([*parts, *(f"{name} {value}" for name, value in options.items())])

    def restored(self, providers: str, options: Mapping[str, str]) -> Runtime:
        """Return what `options` were the texts of, with this one's libraries: those of then were not kept.

        Raises:
            OnnxliteError, msgspec.ValidationError: they are no such texts.
        """
        names = tuple(providers.split(", ")) if providers else (CPU,)
        fields: dict[str, object] = {"providers": names, "custom_ops": self.custom_ops}
        of_providers: dict[str, dict[str, str]] = {}
        of_session: dict[str, str] = {}
        for key, value in options.items():
            provider = next((name for name in names if key.startswith(f"{name}.")), "")
            if key in (*_NUMBERS, "optimization"):
                fields[key] = value
            elif provider:
                of_providers.setdefault(provider, {})[key[len(provider) + 1 :]] = value
            elif key != "custom_ops":
                of_session[key] = value
        fields |= {"provider_options": of_providers, "session_options": of_session}
        return msgspec.convert(fields, Runtime, strict=False)


# By name, the text of a default: what a version ran with that did not know the option.
_USUAL = {"inter_op_threads": "1", "optimization": "all"}


def option_change(name: str, was: str | None, now: str | None) -> tuple[str, str]:
    """Return two texts of an option, None where one has none: the default then, as far as it has a text."""
    usual = _USUAL.get(name, "not set")
    return was or usual, now or usual


def _in_folder(entry: Any, folder: Path) -> Any:
    return str(folder / entry) if isinstance(entry, str) and (folder / entry).is_file() else entry


def _library(entry: str) -> str:
    """Return the file of a library of custom operators, from its path or the name of a module that knows where its own is.

    Raises:
        OnnxliteError: there is no such file, and no such module.
    """
    path = Path(os.path.abspath(entry))  # noqa: PTH100  (a link to a library stays one)
    if path.is_file():
        return str(path)
    reason = ""
    if all(part.isidentifier() for part in entry.split(".")):
        try:
            return str(importlib.import_module(entry).get_library_path())
        except (ImportError, AttributeError) as error:
            reason = f" ({error})"
    raise OnnxliteError(
        f"Runtime(custom_ops=[{entry!r}]): there is no such file (looked in {Path.cwd()}), and no module of that name that says "
        f"where its library is{reason}. Give a path that exists, best one built from Path(__file__).parent, or install the "
        "module."
    )


def _library_text(entry: str) -> str:
    """Return a library's name with the beginning of its hash, by which another one is told."""
    path = Path(entry)
    found = path.stat()
    return f"{path.name} {_hash(path, found.st_mtime_ns, found.st_size)[:12]}"


@lru_cache
def _hash(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _texts(name: str, values: Any) -> tuple[str, ...]:
    if isinstance(values, (str, os.PathLike)) or not isinstance(values, Iterable):
        raise OnnxliteError(f"Runtime({name}={values!r}): expected a list of texts.")
    found = tuple(os.fspath(value) if isinstance(value, os.PathLike) else value for value in values)
    for value in found:
        if not isinstance(value, str) or not value.strip():
            raise OnnxliteError(f"Runtime({name}={list(found)!r}): expected a list of texts, found {value!r}.")
    return found


def _table(name: str, value: Any) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):
        raise OnnxliteError(f"Runtime({name}={value!r}): expected values by name.")
    return value


def _provider_options(value: Any, providers: tuple[str, ...]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for provider, options in sorted(_table("provider_options", value).items()):
        if provider not in providers:
            raise OnnxliteError(
                f"Runtime(provider_options=...): {unknown('provider', provider, providers, 'There are')}"
            )
        given = _table(f"provider_options[{provider!r}]", options)
        for key, entry in given.items():
            if isinstance(entry, bool) or not isinstance(entry, (str, int, float)):
                raise OnnxliteError(
                    f"Runtime(provider_options=...): {provider} {key}={entry!r}; expected a text or a number, as the provider's "
                    "documentation writes it."
                )
        if given:
            found[provider] = {key: str(entry) for key, entry in sorted(given.items())}
    return found


def _session_options(value: Any) -> dict[str, str]:
    """Return session options as texts: flags are True or False, other truth values 1 or 0, as ONNX Runtime wants them."""
    found = {}
    for key, entry in sorted(_table("session_options", value).items()):
        where = f"Runtime(session_options=...): {key}={entry!r}"
        if key in _FLAGS:
            if str(entry) not in ("True", "False"):
                raise OnnxliteError(f"{where}; expected True or False.")
            found[key] = str(entry)
        elif key == _MODE:
            if entry not in _MODES:
                raise OnnxliteError(f"{where}; expected {' or '.join(_MODES)}.")
            found[key] = entry
        elif "." not in key:
            raise OnnxliteError(
                f"Runtime(session_options=...): {unknown('option', key, (*_FLAGS, _MODE), 'There are')}"
            )
        elif isinstance(entry, bool):
            found[key] = str(int(entry))
        elif isinstance(entry, (str, int, float)):
            found[key] = str(entry)
        else:
            raise OnnxliteError(f"{where}; expected a text, a number, True or False.")
    return found
