"""Makes text from elsewhere safe to show: a terminal obeys what an agent, a tool or a file name says."""

from __future__ import annotations

import math
import unicodedata

_KEPT = frozenset("\n\t")
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They reorder what is shown, so that it reads differently from what it is."""


def printable(text: str) -> str:
    """Returns the text with control characters, escape sequences among them, made visible as `�`."""
    if text.isprintable():
        return text
    return "".join(
        "\ufffd" if (unicodedata.category(c) == "Cc" and c not in _KEPT) or c in _BIDIRECTIONAL else c
        for c in text.replace("\r\n", "\n")
    )


def one_line(text: str) -> str:
    """Returns the text on one line, safe to show."""
    return printable(" ".join(text.split()))


def duration(seconds: float) -> str:
    """Returns a time as people say it: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`, `4 d 3 h`."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


def rough(seconds: float) -> str:
    """Returns an estimated time, no more exact than an estimate is."""
    if seconds < 1:
        return "1 s"
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def size(count: int) -> str:
    """Returns a number of bytes as people say it."""
    if count < 1024:
        return f"{count} bytes"
    return f"{count / 1024:.0f} KiB" if count < 1024 * 1024 else f"{count / 1024 / 1024:.1f} MiB"
