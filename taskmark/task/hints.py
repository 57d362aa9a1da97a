"""Did you mean …?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST_WORD = 64
_MOST_NAMES = 500
_CERTAIN = 0.76
"""How alike two words are of which one can hardly mean anything else."""


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
    return swapped[0] if swapped else closest(word, names, cutoff=_CERTAIN)


def sole(word: str, names: Iterable[str]) -> str | None:
    """Returns the one name that can be meant: another spelling of the word, else the only one so near.

    Stricter than a hint, because `lint --fix` writes it.
    """
    names = sorted(names)
    spelled = [name for name in names if _plain(name) == _plain(word)]
    if spelled or len(word) > _LONGEST_WORD:
        return spelled[0] if len(spelled) == 1 else None
    swapped = [name for name in names if sorted(_plain(name)) == sorted(_plain(word))]
    near = [name for name in names if _ratio(word, name) >= _CERTAIN]
    found = swapped or near
    return found[0] if len(found) == 1 else None


def other_spelling(word: str, names: Iterable[str]) -> str | None:
    """Returns the one name that differs from the word in case, dashes and underscores only."""
    found = [name for name in names if _plain(name) == _plain(word)]
    return found[0] if len(found) == 1 else None


def did_you_mean(word: str, names: Iterable[str]) -> str | None:
    """Returns a hint: the nearest name, else the list of names if it is short, else None."""
    names = sorted(names)
    name = closest(word, names)
    if name is not None:
        return f"did you mean `{name}`?"
    if names and len(names) <= 30:
        return "known: " + ", ".join(names)
    return None


def _ratio(word: str, name: str) -> float:
    return difflib.SequenceMatcher(None, _plain(word), _plain(name)).ratio()


def _plain(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "").replace(" ", "")
