"""Digits that belong together, with what people write between them."""

from __future__ import annotations

import re
from typing import Final

DIGITS: Final = re.compile(r"[0-9(][0-9 ().\-/\u00a0\u2011]{5,}[0-9]")
"""From the first digit to the last one of a run that may hold phone or card numbers."""


def digits_of(text: str) -> str:
    """Returns the digits alone."""
    return "".join(filter(str.isdigit, text))
