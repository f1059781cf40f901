"""Writes docs/reference: every public name, marker, argument, fixture, option and command, out of the code that has it.

    python benchmarks/reference_pages.py

A test compares the pages with what this script would write. What a page says stands in the code: a marker's arguments in the docstring
of its limit, an option's words in `settings`, a command's in `__main__`, a fixture's in its docstring.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterable
from pathlib import Path

from pytest_onnxlite.__main__ import _parser
from pytest_onnxlite.checks.limit import Argument, Limit
from pytest_onnxlite.fixtures import VARIANT_FIXTURES, onnxlite_model
from pytest_onnxlite.options import INI_ONLY, METAVARS, OPTIONS
from pytest_onnxlite.registry import Registry, marker_of

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
MODULES = ("pytest_onnxlite", "pytest_onnxlite.lint", "pytest_onnxlite.strategies")
_BY_SCRIPT = "\n<!-- Written by benchmarks/reference_pages.py out of the code. -->\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    return "\n".join([_row(*heads), "|" + "---|" * len(heads), *(_row(*row) for row in rows)])


def _linked(text: str) -> str:
    """Turn the addresses of pages in a docstring into links."""

    def link(found: re.Match[str]) -> str:
        page, anchor = found[1], found[2] or ""
        name = (anchor.lstrip("#") or page).replace("-", " ")
        return f"[{name}](../{page}.md{anchor})"

    return re.sub(r"\bdocs/([\w-]+)\.md(#[\w-]+)?", link, text)


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n") if part.strip())


def attributes(documented: type) -> dict[str, str]:
    """Return what a class's docstring says of each attribute, by name, in one line each."""
    _, _, section = inspect.getdoc(documented).partition("\nAttributes:\n")  # type: ignore[union-attr]
    found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _default(value: object) -> str:
    empty = value is None or value in ("", ())
    return "" if empty else f"`{value!r}`"


def _says(limit: type[Limit], name: str) -> str:
    found = limit.arguments.get(name)
    return found.says if isinstance(found, Argument) else ""


def _arguments(limit: type[Limit], names: Iterable[str]) -> str:
    said = {**attributes(Limit), **attributes(limit)}
    defaults = {field.name: field.default for field in dataclasses.fields(limit)}
    rows = [(f"`{n}`", said[n].rstrip("."), _says(limit, n), _default(defaults[n])) for n in names]
    return _linked(_table(("argument", "what", "takes", "default"), rows))


def markers() -> str:
    """Return the page of the markers."""
    common = ("variant", "label")
    parts = [
        "# Markers",
        _BY_SCRIPT,
        "Each marker judges the variant that its test takes, after the test's body passed. Of several markers of one name, the one "
        "closest to the test counts; markers of one name with different labels are all judged, and each has its own section in the "
        "baseline, its own figure in every report and its own name, `latency[four]`. A `scenario` is a label by itself, and so are "
        "`phase`, `percentile`, `metric` and `output`.\n\n"
        "A misspelt marker or argument is an error at collection. Shares are of 1, so that 0.05 is 5 %; above 1 they are an error. A "
        "`conftest.py` may add markers in `pytest_collection_modifyitems`; one that is added later, while a test is set up, fails it.",
        "\n## Each marker takes\n",
        _table(
            ("argument", "what"), [(f"`{n}`", text.rstrip(".")) for n, text in attributes(Limit).items() if n in common]
        ),
    ]
    for name, check in Registry.load().checks.items():
        text, _, _ = inspect.getdoc(check.limit).partition("\nAttributes:\n")  # type: ignore[union-attr]
        summary = _linked(_paragraphs(text)).partition(": ")[2]
        parts += [f"\n## `{marker_of(name)}`\n", summary[:1].upper() + summary[1:], ""]
        parts.append(_arguments(check.limit, [n for n in check.limit.names() if n not in common]))
    return "\n".join(parts) + "\n"


def options() -> str:
    """Return the page of the options and ini settings."""
    parts = [
        "# Options",
        _BY_SCRIPT,
        "What is typed wins over what the ini file says. Paths that are typed start from the current folder, those of the ini file "
        "from pytest's root folder. `pytest --help` prints the same.\n",
    ]
    rows = []
    for name, is_flag, text in OPTIONS:
        value = "" if is_flag else f"={METAVARS.get(name, 'DIR')}"
        rows.append((f"`--onnxlite-{name}{value}`", f"`onnxlite_{name.replace('-', '_')}`", text))
    parts += [_table(("option", "ini", "what"), rows), "\n## Ini settings without an option\n"]
    parts.append(_table(("ini", "what"), [(f"`onnxlite_{name}`", text) for name, text, _ in INI_ONLY]))
    return "\n".join(parts) + "\n"


def fixtures() -> str:
    """Return the page of the fixtures."""
    found = {"onnxlite_model": onnxlite_model, **VARIANT_FIXTURES}
    rows = []
    for name, fixture in found.items():
        function = getattr(fixture, "__wrapped__", None) or fixture._get_wrapped_function()
        rows.append((f"`{name}`", " ".join(str(inspect.getdoc(function)).split())))
    return (
        "\n".join(
            [
                "# Fixtures",
                _BY_SCRIPT,
                "All are of session scope. Those of the variants give a [`Variant`](python.md#variant).\n",
                _table(("fixture", "what"), rows),
                "\nA [kind of your own](../checks.md#a-kind-of-variant-of-your-own) has the fixture `onnxlite_<name>`.",
            ]
        )
        + "\n"
    )


def _usage(action: argparse.Action) -> str:
    value = str(action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper()))
    if not action.option_strings:
        return f"{value} ..." if action.nargs == "+" else value
    return action.option_strings[-1] + ("" if action.nargs == 0 else f" {value}")


def commands() -> str:
    """Return the page of the commands."""
    parser = _parser()
    (subparsers,) = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    says = {action.dest: str(action.help) for action in subparsers._choices_actions}
    parts = [
        "# Commands",
        _BY_SCRIPT,
        "`onnxlite COMMAND` and `python -m pytest_onnxlite COMMAND` are the same. A command ends with 0; with 1 where something is red "
        "or broken; with 2 where it could not be done, with the reason on standard error. `onnxlite --version` prints the version.",
    ]
    for name, command in subparsers.choices.items():
        rows = [
            (f"`{_usage(a)}`", str(a.help or "")) for a in command._actions if not isinstance(a, argparse._HelpAction)
        ]
        says_it = says[name][:1].upper() + says[name][1:]
        parts += [f"\n## `onnxlite {name}`\n", f"{says_it}.\n", _table(("argument", "what"), rows)]
    return "\n".join(parts) + "\n"


def _value(found: object) -> str:
    """Return what a constant is, and its names where it has some; numbers may depend on what is installed."""
    if isinstance(found, str):
        return f"`{found}`."
    names = list(found) if isinstance(found, (dict, tuple)) else []
    told = 0 < len(names) <= 30 and all(isinstance(name, str) for name in names)
    return f"`{type(found).__name__}`" + (f": {', '.join(f'`{name}`' for name in names)}." if told else ".")


def _object(module: str, name: str) -> list[str]:
    """Return how a name is documented: its docstring's first line, and what Sphinx puts the whole of it in by."""
    found = getattr(importlib.import_module(module), name)
    if not (inspect.isclass(found) or inspect.isfunction(found)):  # a constant has no docstring
        return [_value(found), "", "```{eval-rst}", f".. py:data:: {module}.{name}", "```"]
    kind = "class" if inspect.isclass(found) else "function"
    if inspect.isclass(found) and issubclass(found, BaseException):
        kind = "exception"
    first = (inspect.getdoc(found) or "").split("\n")[0]
    return [first, "", "```{eval-rst}", f".. auto{kind}:: {module}.{name}", "```"]


def python() -> str:
    """Return the page of the public names; Sphinx puts their docstrings in."""
    parts = [
        "# Python",
        _BY_SCRIPT,
        "Every public name. Its arguments, with shapes, units and what it raises, are in its docstring: built as a site this page has "
        "them; `help(pytest_onnxlite.ModelSpec)` prints them.",
    ]
    seen: set[str] = set()
    for module in MODULES:
        names = [name for name in importlib.import_module(module).__all__ if name not in seen]
        seen |= set(names)
        parts.append(f"\n## From `{module}`")
        for name in names:
            parts += [f"\n### {name}\n", *_object(module, name)]
    return "\n".join(parts) + "\n"


PAGES = {"markers": markers, "options": options, "fixtures": fixtures, "commands": commands, "python": python}


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / f"{name}.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
