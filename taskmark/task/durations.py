"""Durations as people write them: `5 minutes`, `30s`, `1h 30m`, `PT5M`, and bare milliseconds."""

from __future__ import annotations

import re

_SECONDS = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_WORDS = {
    "w": ("w", "week", "weeks"),
    "d": ("d", "day", "days"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "millisecond", "milliseconds"),
}
_UNITS = {word: unit for unit, words in _WORDS.items() for word in words}
_PART = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([a-z]+)(?:\s+|(?=\d)|$)", re.IGNORECASE | re.ASCII)
_ISO = re.compile(
    r"P(?:(?P<w>\d{1,9})W|(?:(?P<d>\d{1,9})D)?(?:T(?=\d)(?:(?P<h>\d{1,9})H)?(?:(?P<m>\d{1,9})M)?"
    r"(?:(?P<s>\d{1,9}(?:\.\d{1,9})?)S)?)?)",
    re.IGNORECASE | re.ASCII,
)
_LONGEST = 100 * 366 * 86_400.0
EXAMPLES = "such as `5 minutes`, `30s`, `1h 30m`, `PT5M`, or a whole number of milliseconds"


def parse_duration(duration: str | int) -> float:
    """Returns the seconds of a duration, to the nanosecond; a bare whole number is milliseconds.

    Raises `ValueError` for anything else, for a negative duration and for one above 100 years.
    """
    if isinstance(duration, bool) or not isinstance(duration, int | str):
        raise ValueError(f"{duration!r} is not a duration {EXAMPLES}")
    seconds = duration / 1000 if isinstance(duration, int) and abs(duration) < 1e15 else _read(str(duration))
    if not 0 <= seconds <= _LONGEST:
        raise ValueError(f"{duration!r} is not between 0 and 100 years")
    return round(seconds, 9)


def duration_text(seconds: float) -> str:
    """Returns a duration as people write it, such as `5 minutes` or `1h 30m`."""
    if 0 < seconds < 1 and (seconds * 1000).is_integer():
        return f"{seconds * 1000:.0f}ms"
    if not seconds or not seconds.is_integer():
        return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
    parts, rest = [], int(seconds)
    for unit in ("d", "h", "m", "s"):
        number, rest = divmod(rest, int(_SECONDS[unit]))
        if number:
            parts.append((number, unit))
    if len(parts) > 1:
        return " ".join(f"{number}{unit}" for number, unit in parts)
    number, unit = parts[0]
    return f"{number} {_WORDS[unit][-1].removesuffix('s') if number == 1 else _WORDS[unit][-1]}"


def _read(text: str) -> float:
    text = text.strip()
    if len(text) > 100:
        raise ValueError(f"a text of {len(text)} characters is not a duration")
    if re.fullmatch(r"-?\d+", text, re.ASCII):
        return int(text) / 1000
    iso = _ISO.fullmatch(text)
    if iso is not None and any(iso.groups()):
        return sum(float(number) * _SECONDS[unit] for unit, number in iso.groupdict().items() if number)
    return _read_parts(text)


def _read_parts(text: str) -> float:
    """Adds up `1h 30m`; units go from long to short, each at most once."""
    total, position, units = 0.0, 0, list(_SECONDS)
    while part := _PART.match(text, position):
        unit = _UNITS.get(part[2].lower())
        if unit not in units:
            break
        del units[: units.index(unit) + 1]
        total += float(part[1]) * _SECONDS[unit]
        position = part.end()
    if not text or position < len(text):
        raise ValueError(f"{text!r} is not a duration {EXAMPLES}")
    return total
