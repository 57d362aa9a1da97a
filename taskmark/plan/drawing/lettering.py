"""Text in drawings: safe to show, and no wider than its box."""

from __future__ import annotations

import unicodedata

_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_NARROW = frozenset("iljtfrI.,:;'|!()[]{} -")
_BROAD = frozenset("mwMW@%—…")


def plain(text: str) -> str:
    """Returns the text on one line, without what no drawing can hold: controls, half characters, what
    reorders."""
    shown = "".join(c if _is_drawable(c) else "\ufffd" for c in " ".join(text.split()))
    return shown or "\ufffd"


def _is_drawable(character: str) -> bool:
    if character in _REORDERING or ord(character) in (0xFFFE, 0xFFFF):
        return False
    return unicodedata.category(character) not in ("Cc", "Cs", "Cn")


def width(text: str) -> float:
    """Returns about how wide a text is, in ems of a sans-serif face, rather too much than too little."""
    return sum(map(_em, text))


def _em(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF" or ord(character) > 0xFFFF:
        return 1.1
    if character in _NARROW:
        return 0.4
    return 0.95 if character in _BROAD else 0.75 if character.isupper() else 0.62


def shortened(text: str, ems: float) -> str:
    """Returns the text, or as much of its beginning as fits with an ellipsis."""
    if width(text) <= ems:
        return text
    room, kept = ems - width("…"), ""
    for character in text:
        room -= _em(character)
        if room < 0:
            break
        kept += character
    return f"{kept.rstrip()}…"


def wrapped(text: str, ems: float, lines: int) -> list[str]:
    """Returns the text on at most so many lines, each of which fits; words are parted where they must be."""
    found: list[str] = []
    rest = text
    while rest and len(found) < lines - 1 and width(rest) > ems:
        line = _line(rest, ems)
        found.append(line.rstrip())
        rest = rest[len(line) :].lstrip()
    return [*found, shortened(rest, ems)] if rest else found


def _line(text: str, ems: float) -> str:
    """Returns the beginning of a text that fits, up to the end of a word if there is one."""
    end, used = 0, 0.0
    while end < len(text) and used + _em(text[end]) <= ems:
        used += _em(text[end])
        end += 1
    space = text.rfind(" ", 0, end + 1)
    return text[: space if space > 0 else max(end, 1)]
