"""UUIDs that are not ours: runs of workflows in Temporal have some, and are told by the word before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from taskmark.privacy.detecting import Span

HYPHENS: Final = re.compile(r"-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-")
_UUID: Final = re.compile(
    r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Fa-f])"
)
_RUN: Final = re.compile(r"run[_ -]?id\W{1,5}\Z", re.IGNORECASE)
_NIL: Final = frozenset({"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"})


def find(text: str) -> Iterator[Span]:
    """Yields UUIDs in their usual form."""
    for match in _UUID.finditer(text):
        ours = _RUN.search(text, max(0, match.start() - 12), match.start())
        if not ours and match[0].lower() not in _NIL:
            yield match.span()
