"""Slugs and ids: lower case with `_`, letters of every script kept."""

from __future__ import annotations

import re
import unicodedata

_AGENT_ID = re.compile(r"\w[\w-]*(?:\.[\w-]+)*")
_SLUG = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")
LONGEST_ID = 128


def slug(name: str) -> str:
    """Returns the slug of a name: `First Look` becomes `first_look`. Empty if nothing in it can be kept."""
    if _SLUG.fullmatch(name):
        return name
    text = unicodedata.normalize("NFKC", name).lower()
    kept = "".join(char if _continues_identifier(char) else " " for char in text)
    return re.sub(r"_+", "_", "_".join(kept.split())).strip("_")


def _continues_identifier(char: str) -> bool:
    # Combining marks are part of letters in many scripts, and `str.isalnum` does not know them.
    return ("a" + char).isidentifier()


def is_agent_id(text: str) -> bool:
    """Whether a text can be the stem of an agent's file: words, `-` and single dots, no path."""
    return len(text) <= LONGEST_ID and _AGENT_ID.fullmatch(text) is not None
