"""Amounts of data as people write them: `512 MB`, `2 GiB`, and per second `1 MB/s`."""

from __future__ import annotations

import re

_POWERS = "kMGT"
_UNITS = {
    "B": 1,
    **{f"{letter}B": 1000 ** (power + 1) for power, letter in enumerate(_POWERS)},
    **{f"{letter.upper()}iB": 1024 ** (power + 1) for power, letter in enumerate(_POWERS)},
}
"""A thousand for `kB`, 1,024 for `KiB`, as the standards have it."""
_NAMED = {unit.lower(): size for unit, size in _UNITS.items()} | {"bytes": 1, "byte": 1}
_SIZE = re.compile(r"(\d{1,16}(?:\.\d{1,9})?)\s*([a-z]+)?", re.IGNORECASE | re.ASCII)
_PER_SECOND = re.compile(r"\s*(?:/\s*s|per second)$", re.IGNORECASE | re.ASCII)
LARGEST = 2**53 - 1
"""Bytes: a larger number is not told apart from its neighbours."""
EXAMPLES = "such as `512 MB`, `2 GiB`, or a whole number of bytes"
RATE_EXAMPLES = "such as `1 MB/s` or `64 KiB/s`"


def parse_size(size: str | int) -> int:
    """Returns the bytes of a size. `MB` is a million, `MiB` is 1,048,576; a bare whole number is bytes.

    Raises `ValueError` for anything else; so for `512M` too, which means one to some and the other to others.
    """
    if isinstance(size, bool) or not isinstance(size, int | str):
        raise ValueError(f"{size!r} is not a size {EXAMPLES}")
    found = _SIZE.fullmatch(str(size).strip())
    unit = _NAMED.get((found[2] or "B").lower()) if found else None
    if found is None or unit is None or ("." in found[1] and not found[2]):
        raise ValueError(f"{size!r} is not a size {EXAMPLES}")
    whole, _, part = found[1].partition(".")
    amount: int = int(whole) * unit + int(part or 0) * unit // 10 ** len(part)
    if amount > LARGEST:
        raise ValueError(f"{size!r} is more than any machine has")
    return amount


def size_text(amount: int) -> str:
    """Returns a size as people write it, to the byte: `512 MB`, `2 GiB`, `1537 B`."""
    units = (unit for unit, size in sorted(_UNITS.items(), key=lambda one: -one[1]) if amount % size == 0)
    unit = next(units) if amount else "B"
    return f"{amount // _UNITS[unit]} {unit}"


def parse_rate(rate: str) -> int:
    """Returns the bytes per second of a rate. Raises `ValueError` for what is none: it ends with `/s`."""
    size = _PER_SECOND.sub("", rate) if isinstance(rate, str) else rate
    if size == rate:
        raise ValueError(f"{rate!r} is not a rate {RATE_EXAMPLES}")
    try:
        return parse_size(size)
    except ValueError as error:
        raise ValueError(f"{rate!r} is not a rate {RATE_EXAMPLES}") from error


def rate_text(amount: int) -> str:
    """Returns bytes per second as people write them."""
    return f"{size_text(amount)}/s"
