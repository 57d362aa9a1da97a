"""Fixes of a text: applied back to front, never over each other, and only those that bring no new error."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taskmark.task.diagnostics import Diagnostic, Edit, Fix, Severity

Check = Callable[[str], Sequence[Diagnostic]]
"""Returns what is wrong with a text."""

_LINE_END = re.compile(r"\r\n|\r|\n")
_LINE_NUMBER = re.compile(r"\bline \d+")
_MOST_ROUNDS = 10
"""One fix may make place for the next; ten in a row is more than any honest file needs."""


@dataclass(frozen=True)
class Fixed:
    """A text after its fixes."""

    text: str
    applied: int
    """How many problems were fixed."""
    diagnostics: tuple[Diagnostic, ...]
    """What is wrong with it now."""


def fixed(text: str, check: Check) -> Fixed:
    """Returns the text with every fix that its diagnostics carry and that brings no new error.

    The text is the file's own, with its line ends and byte order mark, which stay as they are. Doing it
    again changes nothing.
    """
    attempt = _Fixing(text, check)
    for _ in range(_MOST_ROUNDS):
        if not attempt.round():
            break
    return Fixed(attempt.text, attempt.applied, tuple(attempt.diagnostics))


class _Fixing:
    """A text on its way."""

    def __init__(self, text: str, check: Check) -> None:
        self.text = text
        self.applied = 0
        self._check = check
        self.diagnostics = check(text)

    def round(self) -> bool:
        """Applies what can be applied at once; returns whether that was anything."""
        offered = [found.fix for found in self.diagnostics if found.fix is not None]
        kept = self._harmless([], compatible(self.text, offered))
        if not kept:
            return False
        self.text = applied(self.text, kept)
        self.applied += len(kept)
        self.diagnostics = self._check(self.text)
        return True

    def _harmless(self, base: list[Fix], fixes: list[Fix]) -> list[Fix]:
        """Returns the base and those fixes that bring no new error, found by halving."""
        if not fixes or self._is_better([*base, *fixes]):
            return [*base, *fixes]
        if len(fixes) == 1:
            return base
        middle = len(fixes) // 2
        return self._harmless(self._harmless(base, fixes[:middle]), fixes[middle:])

    def _is_better(self, fixes: list[Fix]) -> bool:
        """Whether fewer errors are left after these fixes, and none of them is new."""
        before, after = _errors(self.diagnostics), _errors(self._check(applied(self.text, fixes)))
        return after.total() < before.total() and after <= before


def _errors(diagnostics: Sequence[Diagnostic]) -> Counter[tuple[str, str]]:
    """Counts errors by what they say, without the places, which fixes move."""
    return Counter(
        (found.code, _LINE_NUMBER.sub("line", found.message))
        for found in diagnostics
        if found.severity is Severity.ERROR
    )


# --- edits ----------------------------------------------------------------------------------------


def applied(text: str, fixes: Sequence[Fix]) -> str:
    """Returns the text with the edits of these fixes, which do not touch each other."""
    starts = _line_starts(text)
    for start, edit in sorted(
        ((_offset(starts, edit), edit) for fix in fixes for edit in fix.edits),
        key=lambda found: found[0],
        reverse=True,
    ):
        text = text[:start] + edit.new + text[start + len(edit.old) :]
    return text


def compatible(text: str, fixes: Sequence[Fix]) -> list[Fix]:
    """Returns the fixes that fit: their old text stands where they say, and none touches one before."""
    starts, taken, fitting = _line_starts(text), set[int](), []
    for fix in fixes:
        spans = [_span(text, starts, edit) for edit in fix.edits]
        places = {place for span in spans for place in span}
        if places and all(spans) and taken.isdisjoint(places):
            taken |= places
            fitting.append(fix)
    return fitting


def _span(text: str, starts: Sequence[int], edit: Edit) -> range:
    """Returns the places that an edit takes, empty if its old text does not stand there."""
    if edit.line > len(starts):
        return range(0)
    start = _offset(starts, edit)
    if not text.startswith(edit.old, start):
        return range(0)
    return range(start, start + max(1, len(edit.old)))


def _offset(starts: Sequence[int], edit: Edit) -> int:
    return starts[edit.line - 1] + edit.column - 1


def _line_starts(text: str) -> list[int]:
    """Returns where each line begins; a byte order mark is no part of the first."""
    first = 1 if text.startswith("\ufeff") else 0
    return [first, *(match.end() for match in _LINE_END.finditer(text))]
