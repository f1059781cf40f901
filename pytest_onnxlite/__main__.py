"""`python -m pytest_onnxlite`, or `onnxlite`: reports rendered and merged later, what is guarded, a failure replayed
elsewhere, and the graph checks as a linter.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pytest_onnxlite.commands import PROGRAM
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.text import shown_lines

if TYPE_CHECKING:
    from pytest_onnxlite.records import Checks
    from pytest_onnxlite.report.document import Document


class _Version(argparse.Action):
    """Prints the version, which is looked up only if somebody asks."""

    def __call__(self, *_: object) -> NoReturn:
        from pytest_onnxlite.variants.cache import version_of

        _say(f"pytest-onnxlite {version_of('pytest-onnxlite')}")
        sys.exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version, and end")
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser("report", help="render a JSON report; Markdown on the terminal if nothing is said")
    report.add_argument("file", type=Path, metavar="FILE.json", help="what --onnxlite-report wrote")
    _add_formats(report)
    report.add_argument("--annotations", action="store_true", help="print the notes that GitHub Actions reads")
    report.add_argument(
        "--history", type=Path, metavar="DIR", help="add the trend over the baselines in DIR, from its git history"
    )
    merge = commands.add_parser(
        "merge", help="make one report of those of several shards, and give the verdict of the whole"
    )
    merge.add_argument(
        "files", type=Path, nargs="+", metavar="FILE.json", help="what --onnxlite-report wrote in a shard"
    )
    merge.add_argument(
        "--baseline-dir", type=Path, default=Path("baselines"), metavar="DIR", help="the folder of the baselines"
    )
    merge.add_argument("--against", metavar="REF|DIR", help="what the shards were compared with, by --onnxlite-against")
    merge.add_argument("--shards", type=int, metavar="N", help="how many there are, so that one that is lost is red")
    merge.add_argument("--report", type=Path, metavar="FILE.json", help="write the merged report")
    _add_formats(merge)
    show = commands.add_parser("show", help="print what is guarded by the baselines in a folder")
    show.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("baselines"),
        metavar="DIR",
        help="their folder; baselines if left out",
    )
    show.add_argument("--artefact-dir", metavar="DIR|URL", help="where the saved artefacts are, if elsewhere")
    show.add_argument("--prune", action="store_true", help="remove released files that no baseline names")
    show.add_argument(
        "--log", action="store_true", help="list what was accepted when, from the files and git's history"
    )
    schema = commands.add_parser("schema", help="print the JSON Schema of a baseline, or of the JSON report")
    schema.add_argument("of", choices=["baseline", "report"], help="which of the two")
    replay = commands.add_parser("replay", help="judge a failure again, from the folder that --onnxlite-bundle wrote")
    replay.add_argument("folder", type=Path, metavar="DIR", help="one of the folders that it wrote")
    replay.add_argument(
        "--custom-ops",
        action="append",
        default=[],
        metavar="FILE",
        help="a library of custom operators, or a module that has get_library_path(); can be given several times",
    )
    replay.add_argument(
        "--trust-options",
        action="store_true",
        help="take the runtime's options from the bundle, which may name files to load",
    )
    _add_linter(commands)
    return parser


def _add_formats(command: argparse.ArgumentParser) -> None:
    command.add_argument("--html", type=Path, metavar="FILE.html", help="write the HTML page")
    command.add_argument("--markdown", type=Path, metavar="FILE.md", help="write Markdown")
    command.add_argument("--sarif", type=Path, metavar="FILE.sarif", help="write what is wrong as SARIF")
    command.add_argument(
        "--code-quality", type=Path, metavar="FILE.json", help="write what is wrong as GitLab's code quality report"
    )
    command.add_argument(
        "--model-card", type=Path, metavar="FILE.md", help="write what was judged into a model card, such as README.md"
    )


def _add_linter(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lint = commands.add_parser(
        "lint", help="check the graphs of ONNX files; exits 1 for an error, 2 if one cannot be read"
    )
    lint.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="ONNX files, and folders that hold some")
    lint.add_argument(
        "--source", type=Path, metavar="FILE.onnx", help="the float model that the one file was made from"
    )
    lint.add_argument(
        "--select",
        type=_codes,
        default=[],
        metavar="CODES",
        help="only these codes, or all that begin so, such as OLX3,OLX601",
    )
    lint.add_argument("--ignore", type=_codes, default=[], metavar="CODES", help="all but these codes")
    lint.add_argument(
        "--exclude", type=_codes, default=[], metavar="NAMES", help="nodes, globs or operators left in float on purpose"
    )
    lint.add_argument("--strict", action="store_true", help="a warning fails the run too")
    lint.add_argument(
        "--format",
        choices=["text", "json", "sarif", "github"],
        default="text",
        help="text; json; sarif: SARIF 2.1.0, for code scanning; github: notes of GitHub Actions",
    )
    lint.add_argument("--output", type=Path, metavar="FILE", help="write it there instead of to the terminal")
    explain = commands.add_parser("explain", help="print a rule of the graph checks, with an example and what to do")
    explain.add_argument("code", metavar="CODE", help="such as OLX309")


def _codes(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _report(arguments: argparse.Namespace) -> int:
    from pytest_onnxlite.registry import Registry
    from pytest_onnxlite.report import document, markdown
    from pytest_onnxlite.report.annotations import annotate

    checks = Registry.load().checks
    content = document.load(arguments.file, checks)
    if arguments.history is not None:
        from pytest_onnxlite.report import trend

        content = replace(content, trend=tuple(trend.history(arguments.history, checks)))
    written = _write_pages(arguments, content, checks)
    if arguments.annotations:
        _say("\n".join(annotate(content, checks)))
    if not written and not arguments.annotations:
        _say(markdown.render(content, checks).rstrip())
    return 0


def _merge(arguments: argparse.Namespace) -> int:
    from pytest_onnxlite.baseline.store import BaselineStore
    from pytest_onnxlite.registry import Registry
    from pytest_onnxlite.report import document, markdown
    from pytest_onnxlite.report.merging import folder_of, merge

    files, folder = arguments.files, arguments.baseline_dir
    twice = next((file for file in files if [other.resolve() for other in files].count(file.resolve()) > 1), None)
    if twice is not None:
        raise OnnxliteError(f"{twice} is named twice. Name the report of each shard once.")
    if arguments.against:
        folder = Path(_found(arguments.against, folder))
    elif not folder.is_dir():
        raise OnnxliteError(f"there is no folder {folder}. Name the folder of the baselines with --baseline-dir.")
    checks = Registry.load().checks
    shards = {str(file): document.load(file, checks) for file in files}
    folder = folder_of(shards, folder)
    content = merge(shards, BaselineStore(folder, checks).held(), arguments.shards, arguments.against or str(folder))
    _write_pages(arguments, content, checks)
    if arguments.markdown is None:
        _say(markdown.render(content, checks).rstrip())
    return 0 if content.verdict == "pass" else 1


def _found(asked: str, baselines: Path) -> str:
    """Return the folder of the baselines that shards were compared with."""
    from pytest_onnxlite.against import Place, find
    from pytest_onnxlite.workspace import own_folder

    folder = Path(tempfile.mkdtemp(dir=own_folder()))
    return find(asked, Path(asked), Place(Path.cwd(), baselines.absolute()), lambda: folder).baseline_dir


def _write_pages(arguments: argparse.Namespace, content: Document, checks: Checks) -> bool:
    """Write each file that was asked for; returns whether one was."""
    from pytest_onnxlite.report.delivery import write
    from pytest_onnxlite.report.formats import FORMATS

    asked = {name: getattr(arguments, name.replace("-", "_"), None) for name in FORMATS}
    for name, path in asked.items():
        if path is not None:
            write(path, FORMATS[name](content, checks, "", path), f"--{name}")
    return any(path is not None for path in asked.values())


def _show(arguments: argparse.Namespace) -> int:
    from pytest_onnxlite.addresses import place_of
    from pytest_onnxlite.registry import Registry
    from pytest_onnxlite.report.listing import describe

    if arguments.log:
        from pytest_onnxlite.report.acceptances import log

        _say(shown_lines("\n".join(log(arguments.folder, Registry.load().checks))))
        return 0
    given = arguments.artefact_dir
    elsewhere = place_of(given, Path()) if given else None
    lines, sound = describe(arguments.folder, Registry.load().checks, elsewhere, prune=arguments.prune)
    _say(shown_lines("\n".join(lines)))
    return 0 if sound else 1


def _schema(arguments: argparse.Namespace) -> int:
    from pytest_onnxlite.registry import Registry
    from pytest_onnxlite.schemas import SCHEMAS

    _say(json.dumps(SCHEMAS[arguments.of](Registry.load().checks), indent=1, sort_keys=True))
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    from pytest_onnxlite.replay import replay

    say = lambda text: _say(shown_lines(text))  # noqa: E731
    return replay(arguments.folder, say, arguments.custom_ops, arguments.trust_options)


def _lint(arguments: argparse.Namespace) -> int:
    from pytest_onnxlite.linter import lint
    from pytest_onnxlite.linter.output import FORMATS

    found = lint(
        arguments.paths,
        source=arguments.source,
        select=arguments.select,
        ignore=arguments.ignore,
        exclude=arguments.exclude,
        strict=arguments.strict,
    )
    text = FORMATS[arguments.format](found)
    if arguments.output is None:
        _say(text)
    else:
        from pytest_onnxlite.report.delivery import write

        write(arguments.output, f"{text}\n", "--output")
    return found.exit_code


def _explain(arguments: argparse.Namespace) -> int:
    from pytest_onnxlite.linter import rule
    from pytest_onnxlite.linter.output import explained

    _say(explained(rule(arguments.code.upper())))
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        0; 1 where something is red or broken; 2 where it could not be done, with the reason on standard error.
    """
    if hasattr(sys.stdout, "reconfigure"):
        # Windows' consoles know neither × nor ✗ by themselves.
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    parsed = _parser().parse_args(arguments)
    commands = {
        "report": _report,
        "merge": _merge,
        "show": _show,
        "replay": _replay,
        "schema": _schema,
        "lint": _lint,
        "explain": _explain,
    }
    try:
        return commands[parsed.command](parsed)
    except OnnxliteError as error:
        sys.stderr.write(f"{shown_lines(str(error))}\n")
        return 2
    except BrokenPipeError:
        # The reader, such as head, has seen enough.
        sys.stderr.close()
        return 0


def command() -> NoReturn:
    """Run a command as a program of its own."""
    sys.exit(main())


if __name__ == "__main__":
    command()
