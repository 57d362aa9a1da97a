"""Headings that mean a part of a task, and those that nearly do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from taskmark.task.hints import nearly

SECTIONS = ("steps", "agents", "outputs")
HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]|$)")
PHASE = re.compile(r"phase(?:[ \t]+\d+[a-z]?[ \t]*(?::|[—–]|-(?=[ \t]))|[ \t]*:)[ \t]*(.*)", re.IGNORECASE)

_NEARLY_PHASE = re.compile(r"[*_`]*([A-Za-z]{4,8})[*_`]*(?:[ \t]+\d+[a-z]?)?[ \t]*(?::|[—–])[ \t*_`]*(\S.*)")
_NEARLY_SECTION = re.compile(r"[*_`]*([A-Za-z]{4,9})[*_`]*:?[*_`]*")
_WITHOUT_COLON = re.compile(r"phase[ \t]+(\S.*)", re.IGNORECASE)
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+\S")
_SINGULARS = {"step": "steps", "agent": "agents", "output": "outputs"}


class Meant(NamedTuple):
    """What a heading was probably to be."""

    kind: str
    """`phase`, or the name of a section."""
    name_at: int
    """Where the phase's name begins in the title."""
    instead: str
    """The heading as it should be, without the phase's name."""


def meant(title: str, lines: Sequence[str], row: int, *, in_phase: bool) -> Meant | None:
    """Returns what the heading in a row was to be, None if it is documentation.

    What follows decides: a phase is followed by its steps, a section by its list. Any other heading is the
    author's own.
    """
    name_at = _phase_name(title)
    if name_at is not None and _section_follows(lines, row):
        return Meant("phase", name_at, "## Phase: ")
    section = _NEARLY_SECTION.fullmatch(title)
    if section is None or not in_phase or not _list_follows(lines, row):
        return None
    kind = section_near(section[1])
    return None if kind is None else Meant(kind, 0, f"### {kind.capitalize()}")


def _phase_name(title: str) -> int | None:
    """Returns where the name begins in what is nearly the heading of a phase."""
    found = _NEARLY_PHASE.fullmatch(title)
    if found is not None and nearly(found[1], ("phase", "phases")):
        return found.start(2)
    bare = _WITHOUT_COLON.fullmatch(title)
    return bare.start(1) if bare else None


def section_near(word: str) -> str | None:
    """Returns the section that a word means or nearly means."""
    word = word.lower()
    if word in SECTIONS or word in _SINGULARS:
        return _SINGULARS.get(word, word)
    return nearly(word, SECTIONS) if len(word) >= 5 else None


def _section_follows(lines: Sequence[str], row: int) -> bool:
    """Whether the next heading is that of a section."""
    for index in range(row + 1, len(lines)):
        heading = HEADING.match(lines[index])
        if heading is not None:
            title = _NEARLY_SECTION.fullmatch(lines[index][heading.end() :].strip())
            return title is not None and section_near(title[1]) is not None
    return False


def _list_follows(lines: Sequence[str], row: int) -> bool:
    """Whether the next line that says something is a list item."""
    for index in range(row + 1, len(lines)):
        if lines[index].strip():
            return _LIST_ITEM.match(lines[index]) is not None
    return False
