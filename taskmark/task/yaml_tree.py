"""What YAML says, as nodes that know their places."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from taskmark.task.model import Json
from taskmark.task.source_text import Place

_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,300}|[0-9]{1,300}(?:\.[0-9]{0,300})?)(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}


@dataclass(frozen=True)
class YamlSource:
    """Whole lines of the file that hold YAML."""

    lines: Sequence[str]
    first_line: int

    def place(self, row: int, column: int) -> Place:
        """Returns the place in the file of a zero-based row and column of these lines; what would stand
        after them is at their end."""
        if row >= len(self.lines):
            row = max(len(self.lines) - 1, 0)
            column = len(self.lines[row]) if self.lines else 0
        return Place(self.first_line + row, column + 1)


class Scalar(NamedTuple):
    """A text, number, boolean or nothing."""

    text: str
    plain: bool
    source: YamlSource
    start: tuple[int, int]
    end: tuple[int, int]

    def place(self, offset: int = 0) -> Place:
        """Returns where a character of the text stands, as exactly as quoting and folding let it be told."""
        if offset == 0 and self.text[:1] != "\n":
            return self._first()
        line_start = self.text.rfind("\n", 0, offset) + 1
        line = self.text[line_start:].split("\n", 1)[0]
        earlier = self.text[:line_start].split("\n").count(line)
        found = self._find(line, earlier, offset - line_start) or self._find(self._word(offset), 0, 0)
        return found or self._first()

    def _first(self) -> Place:
        row, column = self.start
        line = self.source.lines[row] if row < len(self.source.lines) else ""
        quoted = not self.plain and line[column : column + 1] in ("'", '"')
        return self.source.place(row, column + quoted)

    def _word(self, offset: int) -> str:
        match = re.compile(r"\w+|\S").match(self.text, offset)
        return match[0] if match else ""

    def _find(self, piece: str, skip: int, shift: int) -> Place | None:
        """Returns the place `shift` characters into the occurrence of a piece after `skip` others."""
        if not piece.strip():
            return None
        for row in range(self.start[0], min(self.end[0] + 1, len(self.source.lines))):
            begin = self.start[1] if row == self.start[0] else 0
            column = self.source.lines[row].find(piece, begin)
            if column >= 0:
                if skip == 0:
                    return self.source.place(row, column + shift)
                skip -= 1
        return None

    @property
    def value(self) -> Json:
        """The JSON value. Numbers too large for JSON stay text."""
        if not self.plain:
            return self.text
        if self.text in _WORDS:
            return _WORDS[self.text]
        if _INTEGER.fullmatch(self.text):
            return int(self.text)
        if _FLOAT.fullmatch(self.text) and abs(float(self.text)) != float("inf"):
            return float(self.text)
        return self.text


@dataclass(frozen=True)
class Items:
    """A list."""

    nodes: tuple[Node, ...]
    at: Place

    def place(self, offset: int = 0) -> Place:
        """Returns where the list begins."""
        return self.at

    @property
    def value(self) -> Json:
        """The JSON value."""
        return [node.value for node in self.nodes]


class Entry(NamedTuple):
    """One `key: value`."""

    key: Scalar
    node: Node


@dataclass(frozen=True)
class Mapping:
    """Keys and values, in order; no key twice."""

    entries: tuple[Entry, ...]
    at: Place

    def place(self, offset: int = 0) -> Place:
        """Returns where the mapping begins."""
        return self.at

    @property
    def value(self) -> dict[str, Json]:
        """The JSON value."""
        return {entry.key.text: entry.node.value for entry in self.entries}

    def get(self, key: str) -> Entry | None:
        """Returns the entry of that key, or None."""
        return next((entry for entry in self.entries if entry.key.text == key), None)


Node = Scalar | Items | Mapping


def scalars(node: Node) -> Iterator[Scalar]:
    """Yields every scalar value under a node, in order of appearance; keys are not values."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, Scalar):
            yield current
        elif isinstance(current, Items):
            waiting.extend(reversed(current.nodes))
        else:
            waiting.extend(entry.node for entry in reversed(current.entries))
