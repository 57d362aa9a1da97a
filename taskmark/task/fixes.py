"""Fixes of a text: applied back to front, never over each other, and only those that bring no new error."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taskmark.task.diagnostics import Diagnostic, Edit, Fix, Severity

Check = Callable[[str], Sequence[Diagnostic]]
"""Returns what is wrong with a text."""

_Key = tuple[int, str, str]

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
    return Fixed(attempt.text, attempt.applied, attempt.diagnostics)


class _Fixing:
    """A text on its way."""

    def __init__(self, text: str, check: Check) -> None:
        self._check = check
        self.text, self.diagnostics = text, tuple(check(text))
        self.applied = 0

    def round(self) -> bool:
        """Applies what can be applied; returns whether that was anything."""
        offered = [_key(found) for found in self.diagnostics if found.fix is not None]
        kept = self._harmless([], offered, offered)
        if not kept:
            return False
        self.text, self.diagnostics, applied = self._settled(set(offered) - set(kept))
        self.applied += applied
        return applied > 0

    def _harmless(self, base: list[_Key], keys: list[_Key], offered: list[_Key]) -> list[_Key]:
        """Returns the base and those of the keys whose fixes bring no new error, found by halving."""
        if not keys or self._is_better(set(offered) - {*base, *keys}):
            return [*base, *keys]
        if len(keys) == 1:
            return base
        middle = len(keys) // 2
        return self._harmless(self._harmless(base, keys[:middle], offered), keys[middle:], offered)

    def _is_better(self, excluded: set[_Key]) -> bool:
        """Whether fewer errors are left in the end, and none of them is new."""
        before, after = _errors(self.diagnostics), _errors(self._settled(excluded)[1])
        return after.total() < before.total() and after <= before

    def _settled(self, excluded: set[_Key]) -> tuple[str, tuple[Diagnostic, ...], int]:
        """Returns the text after all fixes but these, what is wrong with it then, and how many fixes it took.

        A fix may bring an error to light that has a fix itself.
        """
        text, diagnostics, done = self.text, self.diagnostics, 0
        for _ in range(_MOST_ROUNDS):
            offered = [found.fix for found in diagnostics if found.fix and _key(found) not in excluded]
            fixes = compatible(text, offered)
            if not fixes:
                break
            text, done = applied(text, fixes), done + len(fixes)
            diagnostics = tuple(self._check(text))
        return text, diagnostics, done


def _key(diagnostic: Diagnostic) -> _Key:
    """Returns what a diagnostic is known by while a text changes; fixes leave lines where they are."""
    return diagnostic.line, diagnostic.code, diagnostic.message


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
