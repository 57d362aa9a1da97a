"""Payment card numbers: of an issuer's range, of the right length, with the right check digit. Bank account
numbers go with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from taskmark.privacy import accounts
from taskmark.privacy.detecting import Span
from taskmark.privacy.digits import DIGITS, digits_of

_CANDIDATE: Final = re.compile(r"(?<!\w)(?<![0-9][.,])(?=([1-9](?:[ \u00a0\u2011-]?[0-9]){12,21}))")
"""From every beginning of a group of digits on, as there may be digits before the number and after it."""
_GROUPED: Final = re.compile(
    r"(?<!\w)(?<![0-9][.,])(?=([0-9]{4}(?P<gap>[ \u00a0\u2011.-]{1,3})(?:"
    r"[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{1,4}(?:(?P=gap)[0-9]{1,3})?|[0-9]{6}(?P=gap)[0-9]{4,5})))"
)
"""Dots, which fractions have, too, and wide gaps, as in tables, only between the groups that cards have."""
_LENGTHS: Final[tuple[tuple[str, str, frozenset[int]], ...]] = (
    # Prefixes from … to …, of the same length, and how many digits such a card may have.
    ("4", "4", frozenset({13, 16, 18, 19})),  # Visa
    ("51", "55", frozenset({16})),  # Mastercard
    ("2221", "2720", frozenset({16})),
    ("34", "34", frozenset({15})),  # American Express
    ("37", "37", frozenset({15})),
    ("300", "305", frozenset({14, 16, 19})),  # Diners Club
    ("3095", "3095", frozenset({14, 16, 19})),
    ("36", "36", frozenset({14, 16, 19})),
    ("38", "39", frozenset({14, 16, 19})),
    ("35", "35", frozenset({16, 17, 18, 19})),  # JCB
    ("2131", "2131", frozenset({15})),
    ("1800", "1800", frozenset({15})),
    ("6011", "6011", frozenset({16, 17, 18, 19})),  # Discover, RuPay
    ("644", "653", frozenset({16, 17, 18, 19})),
    ("654", "659", frozenset({16, 17, 18, 19})),
    ("60", "60", frozenset({16})),
    ("81", "82", frozenset({16, 17, 18, 19})),
    ("62", "62", frozenset({16, 17, 18, 19})),  # UnionPay
    ("2200", "2205", frozenset({16, 17, 18, 19})),  # Mir
    ("50", "50", frozenset(range(13, 20))),  # Maestro
    ("56", "58", frozenset(range(13, 20))),
    ("63", "63", frozenset(range(13, 20))),
    ("67", "67", frozenset(range(13, 20))),
    ("9792", "9792", frozenset({16})),  # Troy
)
_SHORTEST: Final = 13
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def find(text: str) -> Iterator[Span]:
    """Yields card numbers with or without signs between their digits, and bank accounts."""
    for run in DIGITS.finditer(text):
        yield from accounts.find(text, run.start())
        if run.end() - run.start() >= _SHORTEST:
            for pattern in (_CANDIDATE,) if run[0].isdigit() else (_CANDIDATE, _GROUPED):
                for match in pattern.finditer(text, *run.span()):
                    yield from _longest(text, match.start(), match.end(1))


def _longest(text: str, start: int, last: int) -> Iterator[Span]:
    """Yields the longest card number that begins there and ends with a group of digits."""
    digits = digits_of(text[start:last])
    lengths, count = _lengths_of(digits[:4]), len(digits)
    for end in range(last, start + _SHORTEST - 1, -1) if lengths else ():
        if text[end - 1].isdigit():
            is_whole = count in lengths and not text[end : end + 1].isalnum()
            if is_whole and _has_check_digit(digits[:count]):
                yield start, end
                return
            count -= 1


@cache
def _lengths_of(prefix: str) -> frozenset[int]:
    """Returns how many digits cards have that begin with these four."""
    issuers = (lengths for first, last, lengths in _LENGTHS if first <= prefix[: len(first)] <= last)
    return frozenset().union(*issuers)


def _has_check_digit(digits: str) -> bool:
    """Luhn's sum."""
    values = [int(digit) for digit in reversed(digits)]
    return (sum(values[::2]) + sum(_DOUBLED[value] for value in values[1::2])) % 10 == 0
