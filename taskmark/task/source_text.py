"""Text that knows where in the file it stands, and the list of what is wrong with it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple, Protocol

from taskmark.task.codes import WARNINGS, Code
from taskmark.task.diagnostics import Diagnostic, Edit, Fix, Severity
from taskmark.task.hints import did_you_mean, sole

_MOST_HINTS = 200


class Place(NamedTuple):
    """A place in a file. Lines and columns count from 1."""

    line: int
    column: int


class Located(Protocol):
    """Anything whose characters have places."""

    def place(self, offset: int = 0) -> Place:
        """Returns where the character at that offset stands in the file."""
        ...


class _Mark(NamedTuple):
    offset: int
    place: Place


_offset = attrgetter("offset")


class Text(NamedTuple):
    """A piece of prose, perhaps joined from several lines."""

    value: str
    marks: tuple[_Mark, ...]

    @classmethod
    def at(cls, value: str, line: int, column: int) -> Text:
        """Returns text that stands on one line, its first character at that column."""
        return cls(value, (_Mark(0, Place(line, column)),))

    def place(self, offset: int = 0) -> Place:
        """Returns where the character at that offset stands in the file."""
        index = bisect_right(self.marks, offset, key=_offset) - 1 if len(self.marks) > 1 else 0
        mark = self.marks[max(index, 0)]
        return Place(mark.place.line, mark.place.column + offset - mark.offset)

    def part(self, start: int, stop: int | None = None) -> Text:
        """Returns the characters between two offsets, without blanks around them."""
        stop = len(self.value) if stop is None else stop
        piece = self.value[start:stop]
        start += len(piece) - len(piece.lstrip())
        first = _Mark(0, self.place(start))
        if len(self.marks) == 1:
            return Text(piece.strip(), (first,))
        later = tuple(_Mark(m.offset - start, m.place) for m in self.marks if start < m.offset < stop)
        return Text(piece.strip(), (first, *later))

    def joined(self, glue: str, other: Text) -> Text:
        """Returns this text, the glue and the other text as one."""
        return concat([("", self), (glue, other)])


def concat(pieces: Iterable[tuple[str, Text]]) -> Text:
    """Returns pieces of text as one, each after its glue."""
    values: list[str] = []
    marks: list[_Mark] = []
    length = 0
    for glue, piece in pieces:
        length += len(glue)
        marks.extend(_Mark(mark.offset + length, mark.place) for mark in piece.marks)
        values += (glue, piece.value)
        length += len(piece.value)
    return Text("".join(values), tuple(marks))


@dataclass
class Findings:
    """Collects the problems of one file."""

    file: str
    diagnostics: list[Diagnostic] = field(default_factory=list)
    hints_left: int = _MOST_HINTS
    gave_up: bool = False
    """Whether a limit was passed, so that nothing more of the file is to be read."""

    def add(
        self, code: Code, place: Place, message: str, hint: str | None = None, fix: Fix | None = None
    ) -> None:
        """Notes a problem, and what would mend it if that is certain."""
        severity = Severity.WARNING if code in WARNINGS else Severity.ERROR
        self.diagnostics.append(
            Diagnostic(
                file=self.file,
                line=place.line,
                column=place.column,
                code=code.value,
                severity=severity,
                message=message,
                hint=hint,
                fix=fix,
            )
        )

    def guess(self, word: str, names: Iterable[str]) -> str | None:
        """Returns a hint to the name that was meant. Only the first 200 problems get one: it costs time."""
        self.hints_left -= 1
        return did_you_mean(word, names) if self.hints_left >= 0 else None

    def respelled(self, place: Place, word: str, names: Iterable[str]) -> Fix | None:
        """Returns the fix that writes the one name that can be meant. It follows a guess, in its bounds."""
        return replacing(place, word, sole(word, names)) if self.hints_left >= 0 else None

    @property
    def has_errors(self) -> bool:
        """Whether anything noted so far prevents a start."""
        return any(diagnostic.severity is Severity.ERROR for diagnostic in self.diagnostics)


def replacing(place: Place, old: str, new: str | None) -> Fix | None:
    """Returns the fix that writes one text in place of another on one line; none without a new text."""
    if new is None or new == old or "\n" in old + new:
        return None
    return Fix(edits=(Edit(line=place.line, column=place.column, old=old, new=new),))


def without_tabs(lines: Sequence[str], first: int) -> Fix | None:
    """Returns the fix that indents lines with two spaces for each tab; `first` is the number of the first."""
    edits = []
    for number, line in enumerate(lines, first):
        indent = line[: len(line) - len(line.lstrip(" \t"))]
        if "\t" in indent:
            edits.append(Edit(line=number, column=1, old=indent, new=indent.replace("\t", "  ")))
    return Fix(edits=tuple(edits)) if edits else None


def shown(text: str) -> str:
    """Returns a text short enough for a message."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"
