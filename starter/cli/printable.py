"""Makes text from elsewhere safe to show: a terminal obeys what an agent, a tool or a file name says."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping

_KEPT = frozenset("\n\t")
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They reorder what is shown, so that it reads differently from what it is."""
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_ASCII = str.maketrans("–…·“”→", '-.|""-')
"""Each by one other, so that a line stays as long as it is."""


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


def in_ascii(text: str) -> str:
    """Returns the text with our own signs replaced, for a terminal that has only those of ASCII."""
    return text.translate(_ASCII)


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
    unit = _unit(seconds)
    return f"{_figure(seconds, unit)} {unit}"


def interval(low: float, high: float) -> str:
    """Returns two estimated times as people say them, `2–6 min` or `40 s – 3 min`; nothing if both are said
    the same."""
    unit, last = _unit(high), rough(high)
    own = unit if low >= _UNITS[unit] else _unit(low)
    first = f"{_figure(low, own)} {own}"
    if own != unit:
        return f"{first} – {last}"
    return "" if first == last else f"{first.split(maxsplit=1)[0]}–{last}"


def _unit(seconds: float) -> str:
    if seconds <= 59:
        return "s"
    return "min" if seconds < 5400 else "h" if seconds < 172_800 else "d"


def _figure(seconds: float, unit: str) -> str:
    number = seconds / _UNITS[unit]
    if unit == "s":
        return str(max(math.ceil(number), 1))
    return f"{number:.0f}" if unit == "min" or number >= 10 else f"{number:.1f}".removesuffix(".0")


def size(count: int) -> str:
    """Returns a number of bytes as people say it."""
    if count < 1024:
        return f"{count} bytes"
    return f"{count / 1024:.0f} KiB" if count < 1024 * 1024 else f"{count / 1024 / 1024:.1f} MiB"


_MUCH = 1024 * 1024
"""Bytes below which what was written, sent or received is nothing that people look for."""


def used(resources: Mapping[str, float] | None) -> str:
    """Returns what an attempt used of the machine (`taskmark.ports.StepContext.resources`), in short."""
    found = resources or {}
    parts = [f"{found['cpu_seconds']:.1f} s CPU"] if "cpu_seconds" in found else []
    if "max_rss_bytes" in found:
        parts.append(size(int(found["max_rss_bytes"])))
    for word in ("written", "printed", "received", "sent"):
        count = int(found.get(f"{word}_bytes", 0))
        parts += [f"{word} {size(count)}"] if count >= _MUCH else []
    return ", ".join(parts)
