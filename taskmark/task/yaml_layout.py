"""YAML laid out evenly: two spaces per level, one behind a colon or comma, none inside of brackets.

Changes blanks and the kind of quotes and nothing else, and goes by the events of the YAML library, so that
what it takes for a key is one. Comments, the lines of long texts and blank lines within them stay.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    CollectionEndEvent,
    CollectionStartEvent,
    ScalarEvent,
)

_DASH = re.compile(r"-(?: +|$)")
_EXPLICIT = re.compile(r" *(?:- +)*\?(?: |$)")
_BLOCK_HEADER = re.compile(r"[|>][-+0-9]*")
_SIMPLE_QUOTED = re.compile(r"'[^'\"\\]*'")


@dataclass
class LaidOut:
    """The lines, as many as there were."""

    lines: list[str]
    held: frozenset[int] = frozenset()
    """Rows that are inside of a text, so that even blank ones mean something."""


def lay_out(lines: Sequence[str], margin: int) -> LaidOut:
    """Returns the YAML of whole lines evenly laid out, its outermost keys at that margin."""
    try:
        marks = _Marks(lines)
    except YAMLError:  # whoever reads it says so
        return LaidOut(list(lines))
    spaced = [
        line if row in marks.untrimmed else line.rstrip() for row, line in enumerate(_respaced(lines, marks))
    ]
    if marks.is_intricate or any(_EXPLICIT.match(line) for line in lines):
        return LaidOut(spaced, frozenset(marks.held))
    return LaidOut(_Indenting(spaced, marks.held | marks.continued, margin).lines(), frozenset(marks.held))


@dataclass
class _Piece:
    """A scalar, or a bracket."""

    event: Any
    start: tuple[int, int]
    end: tuple[int, int]

    @property
    def opens(self) -> bool:
        return isinstance(self.event, CollectionStartEvent)

    @property
    def closes(self) -> bool:
        return isinstance(self.event, CollectionEndEvent)

    @property
    def is_empty(self) -> bool:
        return self.start == self.end


class _Marks:
    """Where the pieces of some YAML are, and which rows are no lines of its structure."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.pieces: list[_Piece] = []
        self.held: set[int] = set()
        """Rows that continue a text."""
        self.continued: set[int] = set()
        """Rows that continue a list or mapping in brackets."""
        self.untrimmed: set[int] = set()
        self.is_intricate = False
        """Whether a text says itself how far it is indented."""
        self._lines = lines
        text = "\n".join(lines) + "\n"
        self._starts = [0, *(index + 1 for index, char in enumerate(text) if char == "\n")]
        opened: list[tuple[bool, int]] = []
        for event in YAML(typ="safe", pure=True, plug_ins=[]).parse(text):
            self._take(event, opened)

    def _at(self, mark: Any) -> tuple[int, int]:
        row = bisect_right(self._starts, mark.index) - 1
        return row, mark.index - self._starts[row]

    def _take(self, event: Any, opened: list[tuple[bool, int]]) -> None:
        start, end = self._at(event.start_mark), self._at(event.end_mark)
        if isinstance(event, ScalarEvent):
            self.pieces.append(_Piece(event, start, end))
            if start[0] < end[0]:
                self._hold(event, start, end)
        elif isinstance(event, CollectionStartEvent):
            opened.append((bool(event.flow_style), start[0]))
            if event.flow_style:
                self.pieces.append(_Piece(event, start, end))
        elif isinstance(event, CollectionEndEvent):
            in_brackets, first = opened.pop()
            if in_brackets:
                self.pieces.append(_Piece(event, start, end))
                self.continued.update(range(first + 1, end[0] + 1))

    def _hold(self, event: ScalarEvent, start: tuple[int, int], end: tuple[int, int]) -> None:
        last = end[0] if end[1] else end[0] - 1
        if event.style in ("|", ">"):
            header = _BLOCK_HEADER.match(self._lines[start[0]], start[1])
            written = header[0] if header else ""
            self.is_intricate |= any(char.isdigit() for char in written)
            while "+" not in written and last > start[0] and not self._lines[last].strip():
                last -= 1
        self.held.update(range(start[0] + 1, last + 1))
        self.untrimmed.update(range(start[0], last + 1))


# --- blanks within lines --------------------------------------------------------------------------


def _respaced(lines: Sequence[str], marks: _Marks) -> list[str]:
    respaced = list(lines)
    for (row, start, stop), text in sorted(_edits(lines, marks), reverse=True):
        respaced[row] = respaced[row][:start] + text + respaced[row][stop:]
    return respaced


def _edits(lines: Sequence[str], marks: _Marks) -> Iterator[tuple[tuple[int, int, int], str]]:
    """Yields what is to stand at which row from which column to which."""
    whole = [piece for piece in marks.pieces if not piece.is_empty]
    for piece in whole:
        (row, start), (last, stop) = piece.start, piece.end
        if row == last and _SIMPLE_QUOTED.fullmatch(lines[row][start:stop]) and _is_single(piece.event):
            yield (row, start, start + 1), '"'
            yield (row, stop - 1, stop), '"'
    for one, other in pairwise(marks.pieces):
        row, start = one.end
        if row == other.start[0] < len(lines) and start <= other.start[1]:
            gap = lines[row][start : other.start[1]]
            wanted = _gap(one, gap.strip(" \t"), other)
            if wanted is not None and wanted != gap:
                yield (row, start, other.start[1]), wanted


def _is_single(event: Any) -> bool:
    return isinstance(event, ScalarEvent) and event.style == "'"


def _gap(one: _Piece, between: str, other: _Piece) -> str | None:
    """Returns what belongs between two pieces on a line; None leaves what is there."""
    if one.is_empty or other.is_empty:
        return None
    if not between and (one.opens or other.closes):
        return ""
    return f"{between} " if between in (":", ",") and not other.closes else None


# --- indentation ----------------------------------------------------------------------------------


@dataclass
class _Indenting:
    """Moves each line of structure to the column of its level, and what continues it along."""

    rows: list[str]
    continued: set[int]
    margin: int
    _levels: list[tuple[int, int]] = field(default_factory=list)
    """Old and new column of each level that is open."""

    def lines(self) -> list[str]:
        moved: list[str] = []
        shift = 0
        waiting: list[str] = []
        for row, line in enumerate(self.rows):
            if row in self.continued:
                moved.append(shifted(line, shift, self._levels[-1][1]))
            elif not line.strip() or line.lstrip().startswith("#"):
                waiting.append(line)
            else:
                before = dict(self._levels)
                placed, shift = self._placed(line)
                moved += [self._comment(one, {**before, **dict(self._levels)}, shift) for one in waiting]
                moved.append(placed)
                waiting = []
        return moved + [self._comment(one, dict(self._levels), shift) for one in waiting]

    def _placed(self, line: str) -> tuple[str, int]:
        """Returns the line in its place, and how far what continues it is to be moved."""
        column = len(line) - len(line.lstrip(" "))
        new = self._column(column)
        written = " " * new
        while dash := _DASH.match(line, column):
            if dash.end() == len(line):
                return f"{written}-", new - column
            written += "- "
            column, new = dash.end(), new + 2
            self._levels.append((column, new))
        return written + line[column:], new - column

    def _column(self, column: int) -> int:
        while self._levels and self._levels[-1][0] > column:
            self._levels.pop()
        if not self._levels:
            self._levels.append((column, self.margin))
        elif self._levels[-1][0] < column:
            self._levels.append((column, self._levels[-1][1] + 2))
        return self._levels[-1][1]

    def _comment(self, line: str, levels: dict[int, int], shift: int) -> str:
        """A comment stands at the level of a line around it, else where it stood beside them."""
        column = len(line) - len(line.lstrip(" "))
        if not line.strip():
            return line
        new = levels.get(column, max(self.margin, column + shift))
        return " " * new + line[column:]


def shifted(line: str, columns: int, least: int = 0) -> str:
    """Returns a line so many columns further to the right or left; not left of a margin, unless it was."""
    indent = len(line) - len(line.lstrip(" "))
    return " " * max(min(indent, least), indent + columns) + line[indent:] if indent else line
