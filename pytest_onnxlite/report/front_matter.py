"""The two places of a Markdown file that a model card's section goes to: the YAML above its text, and between two marks in it.

What stands elsewhere in the file keeps every byte. A file that cannot be understood is refused, not repaired.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_onnxlite.commands import install
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import problem_with
from pytest_onnxlite.settings import NO_YAML
from pytest_onnxlite.text import first_line

BEGIN, END = "<!-- onnxlite: begin -->", "<!-- onnxlite: end -->"
KEY = "model-index"
# As huggingface_hub reads it (`REGEX_YAML_BLOCK`), and with nothing between the two lines.
_MATTER = re.compile(r"\A(?P<open>\s*---\r?\n)(?P<yaml>.*?)(?P<close>^---(?:\r?\n|\Z))", re.DOTALL | re.MULTILINE)


class MarkdownFile:
    """A Markdown file's text: the YAML above it, if there is some, and the rest.

    Args:
        path: the file; a new one if there is none, or an empty one.

    Attributes:
        data: what the YAML holds, by key.

    Raises:
        OnnxliteError: it cannot be read, or not be understood.
    """

    def __init__(self, path: Path) -> None:
        try:
            import yaml
        except ImportError:
            raise OnnxliteError(f"{NO_YAML}: {install('card')}.") from None
        self._yaml, self._path = yaml, path
        text = self._read()
        self._line_end = "\r\n" if "\r\n" in text else "\n"
        found = _MATTER.match(text)
        if found is None and text.lstrip().startswith("---"):
            raise self._refused("it begins with '---', and no line '---' ends what stands there")
        self._matter = found["yaml"] if found else ""
        self._begin, self._end = (found["open"], found["close"]) if found else ("", "")
        self._body = text[found.end() :] if found else text
        self.data = self._load(self._matter)

    def with_section(self, section: str, entries: Sequence[Mapping[str, object]]) -> str:
        """Return the file's text with another section, and other entries of `model-index`.

        Args:
            section: Markdown, which goes between the two marks; at the end of the file if it has none.
            entries: the whole value of `model-index`; none takes the key away.

        Raises:
            OnnxliteError: it cannot be put in without changing what else the file holds.
        """
        body = self._with_section(section.replace("\n", self._line_end))
        wanted = {key: value for key, value in self.data.items() if key != KEY}
        if entries:
            wanted[KEY] = list(entries)
        if self._dump(wanted, in_order=False) == self._dump(self.data, in_order=False):
            return f"{self._begin}{self._matter}{self._end}{body}"
        matter = self._with_entries(entries)
        written = self._load(matter, f"with its {KEY} in place ")
        if self._dump(written, in_order=False) != self._dump(wanted, in_order=False):
            raise self._refused(f"its {KEY} cannot be replaced without changing what stands around it")
        begin, end = self._begin or f"---{self._line_end}", self._end or f"---{self._line_end * 2}"
        return f"{begin}{matter}{end}{body}"

    def _read(self) -> str:
        try:
            if not self._path.exists() or (self._path.is_file() and self._path.stat().st_size == 0):
                return ""
            problem = problem_with(self._path)
            if problem:
                raise OnnxliteError(f"{self._path} {problem}.")
            text = self._path.read_bytes().decode()
        except UnicodeDecodeError:
            raise self._refused("it is no UTF-8") from None
        except OSError as error:
            raise OnnxliteError(f"{self._path} cannot be read: {error.strerror or error}.") from None
        if text.startswith("\ufeff"):
            raise self._refused("it begins with a byte order mark, behind which nobody finds the YAML; save it without")
        return text

    def _refused(self, why: str) -> OnnxliteError:
        return OnnxliteError(f"{self._path} is left as it is: {why}.")

    def _load(self, matter: str, when: str = "") -> dict[str, object]:
        try:
            node = self._yaml.compose(matter, self._yaml.SafeLoader)
            data = self._yaml.safe_load(matter)
        except (self._yaml.YAMLError, ValueError, RecursionError) as error:
            raise self._refused(f"the YAML at its top {when}cannot be read: {first_line(error)}") from None
        if data is None:
            return {}
        if not isinstance(data, dict):
            raise self._refused("the YAML at its top is no mapping of keys to values")
        if sum(key.value == KEY for key, _ in (node.value if node is not None else ())) > 1:
            raise self._refused(f"the YAML at its top has {KEY} twice")
        return data

    def _dump(self, data: Mapping[str, object], in_order: bool = True) -> str:
        text: str = self._yaml.safe_dump(dict(data), sort_keys=not in_order, allow_unicode=True, width=10_000)
        return text.replace("\n", self._line_end)

    def _with_entries(self, entries: Sequence[Mapping[str, object]]) -> str:
        """Return the YAML with another `model-index`: its lines are replaced, and no other line is touched."""
        lines = self._matter.splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += self._line_end
        node = self._yaml.compose(self._matter, self._yaml.SafeLoader)
        starts = [(key.value, key.start_mark.line) for key, _ in node.value] if node is not None else []
        first = last = len(lines)
        for number, (key, line) in enumerate(starts):
            if key == KEY:
                first = line
                last = starts[number + 1][1] if number + 1 < len(starts) else len(lines)
        # Comments in front of the next key are that key's.
        while last > first + 1 and (not lines[last - 1].strip() or lines[last - 1].lstrip().startswith("#")):
            last -= 1
        written = self._dump({KEY: list(entries)}) if entries else ""
        return "".join([*lines[:first], written, *lines[last:]])

    def _with_section(self, section: str) -> str:
        """Return the text below the YAML with another section between the two marks."""
        begins, ends = self._body.count(BEGIN), self._body.count(END)
        marked = self._line_end.join([BEGIN, section.strip(), END])
        if not begins and not ends:
            between = self._line_end * 2 if self._body.strip() else ""
            return f"{self._body.rstrip()}{between}{marked}{self._line_end}"
        first, last = self._body.find(BEGIN), self._body.find(END)
        if (begins, ends) != (1, 1) or last < first:
            raise self._refused(
                f"expected one line '{BEGIN}' and one '{END}' below it, found {begins} and {ends}"
                + (", the second first" if (begins, ends) == (1, 1) else "")
            )
        return f"{self._body[:first]}{marked}{self._body[last + len(END) :]}"
