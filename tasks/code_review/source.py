"""Source code line by line: what is program, and what is comment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tasks.code_review.diff import Change, Line

HASH: Final = (".py", ".rb", ".sh", ".bash", ".yml", ".yaml", ".toml", ".pl", ".r")
"""Endings of languages whose comments begin with `#`; those of all others with `//`."""
TRIPLE: Final = ('"""', "'''")


class Source(NamedTuple):
    """A new or unchanged line."""

    line: Line
    code: str
    """Without comment, and with nothing in its quotes."""
    comment: str


def sources(change: Change) -> Iterator[list[Source]]:
    """Yields the lines of each hunk that stand in the new file."""
    marker = "#" if suffix(change) in HASH else "//"
    for hunk in change.hunks:
        yield list(_parted((line for line in hunk if line.kind != "-"), marker))


def suffix(change: Change) -> str:
    """Returns `.py` and the like, in lower case."""
    return os.path.splitext(change.path)[1].lower()


def _parted(lines: Iterable[Line], marker: str) -> Iterator[Source]:
    """Yields lines with their parts. A hunk that begins within a long text is read as code until its end."""
    inside = ""
    for line in lines:
        code, comment, inside = _scan(line.text, marker, inside)
        yield Source(line, code, comment)


def _scan(text: str, marker: str, inside: str) -> tuple[str, str, str]:
    """Returns code, comment, and the quotes or comment that the line ends in."""
    code: list[str] = []
    comment: list[str] = []
    at = 0
    while at < len(text):
        if inside == "*/" or inside in TRIPLE:
            end = text.find(inside, at)
            if inside == "*/":
                comment.append(text[at : end if end >= 0 else None])
            if end < 0:
                break
            at, inside = end + len(inside), ""
        elif text.startswith(marker, at):
            comment.append(text[at + len(marker) :])
            break
        elif marker == "//" and text.startswith("/*", at):
            at, inside = at + 2, "*/"
        elif marker == "#" and text[at : at + 3] in TRIPLE:
            code.append('""')
            at, inside = at + 3, text[at : at + 3]
        elif text[at] in "\"'`":
            code.append(text[at] * 2)
            at = _after_quotes(text, at)
        else:
            code.append(text[at])
            at += 1
    return "".join(code), " ".join(comment).strip(), inside


def _after_quotes(text: str, at: int) -> int:
    """Returns where the text in quotes that begins here is over, at the end of the line at the latest."""
    quote, at = text[at], at + 1
    while at < len(text) and text[at] != quote:
        at += 2 if text[at] == "\\" else 1
    return at + 1
