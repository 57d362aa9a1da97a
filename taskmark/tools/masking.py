"""What others say, such as a server's answer, repeated without what is secret."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "[hidden]"


def masked(text: str, hidden: Iterable[str], shown: str = HIDDEN) -> str:
    """Returns a text without what it must not repeat, and what is shown in its place. The longest goes first:
    one may be part of another."""
    for one in sorted(hidden, key=len, reverse=True):
        if one:
            text = text.replace(one, shown)
    return text
