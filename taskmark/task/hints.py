"""Did you mean …?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST_WORD = 64
_MOST_NAMES = 500


def closest(word: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Returns the name that was probably meant, or None. Other spellings of a name come first."""
    if len(word) > _LONGEST_WORD:
        return None
    candidates = {_plain(name): name for name in sorted(names) if len(name) <= _LONGEST_WORD}
    if _plain(word) in candidates:
        return candidates[_plain(word)]
    # The comparison is quadratic: of very many names only those of similar length are worth it.
    near = sorted(candidates, key=lambda name: abs(len(name) - len(word)))[:_MOST_NAMES]
    found = difflib.get_close_matches(_plain(word), near, n=1, cutoff=cutoff)
    return candidates[found[0]] if found else None


def nearly(word: str, names: Iterable[str]) -> str | None:
    """Returns the name that is so near that a text with this word can hardly mean anything else."""
    names = list(names)
    swapped = [name for name in names if sorted(name) == sorted(word.lower())]
    return swapped[0] if swapped else closest(word, names, cutoff=0.76)


def did_you_mean(word: str, names: Iterable[str]) -> str | None:
    """Returns a hint: the nearest name, else the list of names if it is short, else None."""
    names = sorted(names)
    name = closest(word, names)
    if name is not None:
        return f"did you mean `{name}`?"
    if names and len(names) <= 30:
        return "known: " + ", ".join(names)
    return None


def _plain(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "").replace(" ", "")
