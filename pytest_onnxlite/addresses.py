"""Addresses of places on servers: which kinds there are, what each needs installed, and how one is shown without passwords."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pytest_onnxlite import commands
from pytest_onnxlite.errors import OnnxliteError

# By scheme: the extra that installs what reads it, and the module by which that is found.
_DRIVERS = {
    "s3": ("s3", "s3fs"),
    "s3a": ("s3", "s3fs"),
    "gs": ("gcs", "gcsfs"),
    "gcs": ("gcs", "gcsfs"),
    "az": ("azure", "adlfs"),
    "abfs": ("azure", "adlfs"),
    "abfss": ("azure", "adlfs"),
    "hf": ("hf", "huggingface_hub"),
    "ssh": ("sftp", "sshfs"),
    "sftp": ("sftp", "sshfs"),
    "http": ("http", "aiohttp"),
    "https": ("http", "aiohttp"),
    "file": ("remote", "fsspec"),
    "memory": ("remote", "fsspec"),
    "mlflow": ("mlflow", "mlflow"),
}
REGISTRY = "mlflow"
HIDDEN = "***"
_REGISTERED = re.compile(r"mlflow://models/([^/:@]+)@([^/:@]+)")
# `scheme://user:password@`, and what a signed address ends with.
_LOGIN = re.compile(r"(?<=://)([^/@\s:'\"]*):[^/@\s'\"]+@")
_SIGNED = re.compile(r"(?i)([?&](?:[a-z0-9_-]*(?:signature|credential|token|secret|key|password|sig))=)[^&\s'\"]+")
_SECRET = re.compile(r"(?i)secret|token|passw|credential|_key$|_sas")
# Shorter ones are found in any text.
_SHORTEST = 6


class Unreadable(OnnxliteError):
    """An address that cannot be read here, with what to do."""


class Address:
    """The address of a place: shown without its password, wherever it is printed.

    Args:
        text: as it was written.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        scheme, mark, place = text.strip().partition("://")
        self._text = f"{scheme}{mark}{place.rstrip('/')}"

    def reveal(self) -> str:
        """Return the address as it was written, for what opens it."""
        return self._text

    @property
    def scheme(self) -> str:
        """What stands before `://`."""
        return self._text.partition("://")[0].lower()

    def under(self, name: str) -> Address:
        """Return the address of a folder in it; its own for an empty name, and for a registry, which has none."""
        return Address(f"{self._text}/{name}") if name and self.scheme != REGISTRY else self

    def registered(self) -> tuple[str, str]:
        """Return the name and the alias of `mlflow://models/NAME@ALIAS`."""
        match = _REGISTERED.fullmatch(self._text)
        return (match[1], match[2]) if match else ("", "")

    def clean(self, text: str) -> str:
        """Return a text, such as an error's, without this address's password and without what the environment keeps secret."""
        secrets = {value for name, value in os.environ.items() if _SECRET.search(name) and len(value) >= _SHORTEST}
        password = _password(self._text)
        secrets |= {password, unquote(password)} - {""}
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return _SIGNED.sub(rf"\1{HIDDEN}", _LOGIN.sub(rf"\1:{HIDDEN}@", text))

    def __str__(self) -> str:
        return _SIGNED.sub(rf"\1{HIDDEN}", _LOGIN.sub(rf"\1:{HIDDEN}@", self._text))

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def is_address(text: str) -> bool:
    """Tell whether a text is an address, and not the name of a folder."""
    return "://" in text


def problem_with(address: Address) -> str:
    """Say what is wrong with an address, as far as can be told without asking there; empty for nothing."""
    text, known = address.reveal(), _DRIVERS.get(address.scheme)
    if "::" in text or "?" in text or "#" in text:
        return f"{address} has '::', '?' or '#' in it; expected an address such as s3://bucket/folder. Options and passwords are read from the environment"
    if known is None:
        return (
            f"{address} begins with {address.scheme}://, and there are: {', '.join(f'{name}://' for name in _DRIVERS)}"
        )
    if not text.partition("://")[2].strip("/"):
        return f"{address} names no place; expected an address such as s3://bucket/folder"
    if address.scheme == REGISTRY and not _REGISTERED.fullmatch(text):
        return f"{address} names no model and alias; expected mlflow://models/NAME@ALIAS, where NAME may hold {{model}} and {{variant}}"
    extra, module = known
    modules = (module,) if address.scheme == REGISTRY else ("fsspec", module)
    missing = next((name for name in modules if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        return f"{address} is read with {missing}, which is not installed: {commands.install(extra)}"
    return ""


def place_of(text: str, folder: Path, apart: str = "") -> Path | Address:
    """Return the place that a text names: an address, or a folder, relative to another one.

    Args:
        text: as a project wrote it.
        folder: what a folder is relative to.
        apart: the name of a folder in it that is meant; empty for the place itself.

    Raises:
        Unreadable: it is an address that cannot be read here.
    """
    if not is_address(text):
        return folder / text / apart
    address = Address(text)
    if problem := problem_with(address):
        raise Unreadable(f"{problem}.")
    return address.under(apart)


def _password(text: str) -> str:
    try:
        return urlsplit(text).password or ""
    except ValueError:
        return ""
