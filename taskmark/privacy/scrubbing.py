"""Replaces what detectors find in texts and JSON values."""

from __future__ import annotations

import logging
import re
import sys
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from taskmark.errors import InvalidSettings
from taskmark.privacy.detecting import Detector, Span

LONGEST: Final = 1 << 20
"""Characters of one text that are looked at; what lies beyond is left out, because nobody looked at it."""
UNSEEN: Final = "[not scrubbed: a detector failed]"

_SHORTEST: Final = 6
_REMEMBERED: Final = 10_000
_REMEMBERED_LENGTH: Final = 64
_ROUNDS: Final = 8
"""What a replacement leaves can be found anew, as it has other neighbours; seldom more than once."""
_OURS: Final = re.compile(
    r"\bexec-(?:(?:\d{13}|key-[0-9a-f]{16})-[\w-]+|[\w-]{1,200}-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)(?:/[\w-]+)*"
)
_VALUES: Final = frozenset({"value", "Value", "VALUE", "values", "secret", "plaintext", "raw"})
"""Under these names stands what the name of the whole object, or the one beside, tells of."""
_TITLES: Final = ("name", "Name", "key", "Key", "field", "variable", "header")
_logger = logging.getLogger(__name__)
_Found = tuple[int, int, str]


class Scrubber:
    """Takes personal data out of values by its detectors. Scrubbing twice changes nothing more."""

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self.detectors = tuple(detectors)
        self._placeholder = re.compile(rf"\[(?:{'|'.join(re.escape(one.name) for one in detectors)})\]")
        self._named = tuple(one for one in detectors if one.named)
        self._failed: set[str] = set()
        self._clean: set[str] = set()
        """Short texts in which nothing was found: most are the same few names and words."""

    def text(self, text: str, ours: Set[str] = frozenset()) -> str:
        """Returns a text without what the detectors find; ids in `ours`, and execution ids, stay. Never
        raises."""
        if len(text) < _SHORTEST or not self.detectors or text in self._clean:
            return text
        if len(text) > LONGEST:
            text = f"{text[:LONGEST]}… [{len(text) - LONGEST} more characters]"
        for _ in range(_ROUNDS):
            try:
                spans = self._spans(text, ours)
            except _DetectorFailed:
                return UNSEEN
            if not spans:
                break
            text = _replaced(text, spans)
        else:
            return text
        self._note_clean(text, ours)
        return text

    def _note_clean(self, text: str, ours: Set[str]) -> None:
        """Remembers a text that needs no change, whosever it is."""
        if len(text) <= _REMEMBERED_LENGTH and not any(known in text for known in ours):
            if len(self._clean) >= _REMEMBERED:
                self._clean.clear()
            self._clean.add(text)

    def value(self, value: Any, ours: Set[str] = frozenset()) -> Any:
        """Returns a JSON value of the same shape without what the detectors find: in texts, in the keys of
        objects, in whole numbers, and under names that tell what a value is. Never raises."""
        try:
            return self._value(value, ours)
        except Exception as error:  # too deep, or of a type that breaks when it is looked at
            _logger.error("A value could not be scrubbed: %s", type(error).__name__)
            return UNSEEN

    def _value(self, value: Any, ours: Set[str]) -> Any:
        kind = type(value)  # `isinstance` goes through Python code in a process that has a sandbox
        if kind is str:
            return self.text(value, ours)
        if value is None or kind is bool or kind is float or not self.detectors:
            return value
        if kind is int:
            return self._number(value)
        if kind is dict:
            return self._object(value, ours)
        if kind is list or kind is tuple:
            return [self._value(inner, ours) for inner in value]
        return self._unusual(value, ours)

    def _unusual(self, value: Any, ours: Set[str]) -> Any:
        """Returns the same for what is no plain JSON: subclasses and models."""
        if isinstance(value, str):
            return self.text(str(value), ours)
        if isinstance(value, Mapping):
            return self._object(value, ours)
        return self._value(_plain(value), ours)

    def _number(self, value: int) -> int | str:
        """A number is one text of digits; only one long enough for a card can be anything."""
        if not 10**12 <= value < 10**19:
            return value
        scrubbed = self.text(str(value))
        return value if scrubbed == str(value) else scrubbed

    def _object(self, value: Mapping[Any, Any], ours: Set[str], above: str = "") -> dict[str, Any]:
        """`above` is the name that the object itself stands under."""
        scrubbed: dict[str, Any] = {}
        for key, inner in value.items():
            name = self.text(str(key), ours)
            fresh, number = name, 2
            while fresh in scrubbed:
                fresh, number = f"{name} {number}", number + 1
            also = _names_of(value, above) if key in _VALUES else ()
            scrubbed[fresh] = self._member(self._placeholder.sub("", name), inner, ours, also)
        return scrubbed

    def _member(self, key: str, value: Any, ours: Set[str], also: Sequence[str] = ()) -> Any:
        """Returns what stands under a key, and what else names it: each of several values counts as one of
        that name."""
        kind = type(value)
        if kind is list or kind is tuple:
            return [self._member(key, inner, ours, also) for inner in value]
        if kind is dict:
            return self._object(value, ours, key)
        if kind is str or kind is int:
            for detector in self._named:
                if self._is_named(detector, key, value) or (
                    also and any(self._is_named(detector, name, value) for name in also)
                ):
                    return f"[{detector.name}]"
        return self._value(value, ours)

    def _is_named(self, detector: Detector, key: str, value: str | int) -> bool:
        assert detector.named is not None
        if not detector.named(key, value):
            return False
        return not (isinstance(value, str) and (value in ("", UNSEEN) or self._placeholder.fullmatch(value)))

    def _spans(self, text: str, ours: Set[str]) -> list[_Found]:
        """Returns what is found, in order and without overlaps. Raises `_DetectorFailed`."""
        lower = text.lower()
        asked: dict[re.Pattern[str], bool] = {}
        found: list[_Found] = []
        for detector in self.detectors:
            if detector.hints and not any(hint in lower for hint in detector.hints):
                continue
            if (gate := detector.gate) is not None:
                if gate not in asked:
                    asked[gate] = gate.search(text) is not None
                if not asked[gate]:
                    continue
            found += self._of(detector, text)
        if not found:
            return []
        kept = sorted([*self._placeholders(text), *_protected(text, ours)])
        return _merged([one for one in found if not _inside(one, kept)])

    def _of(self, detector: Detector, text: str) -> list[_Found]:
        """Returns what one detector finds. Raises `_DetectorFailed`."""
        try:
            spans = list(detector.find(text))
            return [(start, end, detector.name) for start, end in spans if 0 <= start < end <= len(text)]
        except Exception as error:  # a plug-in's may raise anything
            if detector.name not in self._failed:
                self._failed.add(detector.name)
                # Without its message: that may hold what was to be found.
                _logger.error("The detector %s failed: %s", detector.name, type(error).__name__)
            raise _DetectorFailed from None

    def _placeholders(self, text: str) -> Iterator[Span]:
        return (match.span() for match in self._placeholder.finditer(text))


def chosen(names: Sequence[str], known: Mapping[str, Detector]) -> Scrubber:
    """Returns a scrubber for what `TASKMARK_SCRUB` says. Raises `InvalidSettings` for an unknown detector."""
    if tuple(names) == ("all",):
        return Scrubber(list(known.values()))
    if tuple(names) == ("none",):
        return Scrubber(())
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidSettings(
            f"TASKMARK_SCRUB names no detector: {', '.join(unknown)}",
            hint=f"known: all, none, {', '.join(known)}; those of plugins need TASKMARK_PLUGINS",
        )
    return Scrubber([detector for name, detector in known.items() if name in names])


class _DetectorFailed(Exception):
    """A detector could not judge a text."""


def _plain(value: Any) -> Any:
    """Returns what the JSON of a value that is not JSON would hold."""
    dumped = value.model_dump(mode="json") if isinstance(value, BaseModel) else None
    return to_jsonable_python(value, fallback=repr) if dumped is None else dumped


def _names_of(value: Mapping[Any, Any], above: str) -> tuple[str, ...]:
    """Returns what else than its key may tell what a member of an object is."""
    return (above, *(title for each in _TITLES if isinstance(title := value.get(each), str)))


def _protected(text: str, ours: Set[str]) -> Iterator[Span]:
    """Yields where our own ids stand."""
    yield from (match.span() for match in _OURS.finditer(text))
    for known in ours - {""}:
        start = text.find(known)
        while start >= 0:
            yield start, start + len(known)
            start = text.find(known, start + len(known))


def _inside(one: _Found, kept: Sequence[Span]) -> bool:
    """Whether it is part of one of the sorted spans; what goes beyond one is not."""
    before = bisect_right(kept, (one[0], sys.maxsize)) - 1
    return before >= 0 and one[1] <= kept[before][1]


def _merged(found: list[_Found]) -> list[_Found]:
    """Joins what overlaps; the longest gives the name."""
    merged: list[_Found] = []
    for start, end, name in sorted(found, key=lambda one: (one[0], -one[1])):
        if merged and start < merged[-1][1]:
            first, last, before = merged[-1]
            wins = before if last - first >= end - start else name
            merged[-1] = (first, max(last, end), wins)
        else:
            merged.append((start, end, name))
    return merged


def _replaced(text: str, spans: Sequence[_Found]) -> str:
    parts, position = [], 0
    for start, end, name in spans:
        parts += [text[position:start], f"[{name}]"]
        position = end
    return "".join([*parts, text[position:]])
