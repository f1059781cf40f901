"""Addresses of places on servers: which can be read, what is told, and that no password is."""

from __future__ import annotations

import importlib.util
import threading
import time
from pathlib import Path

import pytest

from pytest_onnxlite.addresses import Address, Unreadable, place_of, problem_with
from pytest_onnxlite.baseline.places.steps import NoAnswer, Patience, within


def test_a_text_is_a_folder_or_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert place_of("big files", tmp_path, "@fast") == tmp_path / "big files" / "@fast"
    assert place_of("C:\\files", tmp_path) == tmp_path / "C:\\files"
    found = place_of("s3://bucket/folder/", tmp_path, "@fast")
    assert isinstance(found, Address)
    assert (found.reveal(), found.scheme) == ("s3://bucket/folder/@fast", "s3")
    # A registry has no folders.
    registry = place_of("mlflow://models/{model}-{variant}@champion", tmp_path, "@fast")
    assert isinstance(registry, Address)
    assert registry.registered() == ("{model}-{variant}", "champion")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("s3://", "names no place"),
        ("s4://bucket", "begins with s4://, and there are: s3://"),
        ("simplecache::s3://bucket", "has '::'"),
        ("https://host/models?token=abcdef", "has '::', '?' or '#' in it"),
        ("mlflow://models/net", "expected mlflow://models/NAME@ALIAS"),
        ("mlflow://models/net/3", "expected mlflow://models/NAME@ALIAS"),
    ],
)
def test_what_is_no_address_is_told(text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(Unreadable) as told:
        place_of(text, tmp_path)
    assert says in str(told.value)
    assert "abcdef" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "module", "extra"),
    [
        ("s3://bucket/folder", "s3fs", "s3"),
        ("gs://bucket/folder", "gcsfs", "gcs"),
        ("az://bucket/folder", "adlfs", "azure"),
        ("hf://datasets/team/models", "huggingface_hub", "hf"),
        ("sftp://host/folder", "sshfs", "sftp"),
        ("file:///folder", "fsspec", "remote"),
        ("mlflow://models/net@champion", "mlflow", "mlflow"),
    ],
)
def test_without_a_driver_one_command_is_told(
    text: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else object())
    assert problem_with(Address(text)).endswith(
        f"is read with {module}, which is not installed: pip install 'pytest-onnxlite[{extra}]'"
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert problem_with(Address(text)) == ""


def test_no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key-of-the-bucket")
    address = Address("sftp://team:p%40ss@host/models")
    assert str(address) == "sftp://team:***@host/models"
    assert "ss@" not in repr(address)
    said = address.clean(
        "p@ss and p%40ss were refused at https://other:secret@host/?X-Amz-Signature=0123abcd&sig=zz&part=1 with key-of-the-bucket"
    )
    assert said == "*** and *** were refused at https://other:***@host/?X-Amz-Signature=***&sig=***&part=1 with ***"


def test_a_step_ends_in_time_and_what_moves_goes_on() -> None:
    release = threading.Event()
    start = time.monotonic()
    with pytest.raises(NoAnswer, match=r"nothing was heard of it for 0\.2 s"):
        within(0.2, release.wait)
    assert time.monotonic() - start < 10
    release.set()
    moved: list[int] = []

    def slow() -> str:
        for number in range(6):
            time.sleep(0.1)
            moved.append(number)
        return "done"

    assert within(5, slow, lambda: len(moved)) == "done"
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // len(""))


def test_who_does_not_answer_is_not_asked_again() -> None:
    release, asked = threading.Event(), []
    patience = Patience("the server", 0.1)

    def ask() -> None:
        asked.append(1)
        release.wait()

    for _ in range(3):
        with pytest.raises(NoAnswer, match="the server does not answer: nothing was heard of it for"):
            patience.within(ask)
    release.set()
    assert len(asked) == 1
