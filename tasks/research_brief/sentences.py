"""Sentences, and how much they have to do with a topic. Any Python from 3.9 on may run it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

WORD: Final = re.compile(r"[^\W\d_]{2,}")
NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
SENTENCE_END: Final = re.compile(r"(?<=[.!?])[\"'”’)]*\s+(?=[\"'“‘(]?[A-ZÄÖÜ\d])")
SHORTEST, LONGEST = 30, 400
"""Characters of a sentence that can stand alone."""
_PLAIN: Final = """
a about above after all also an and any are as at be because been before below between both but by
can could  do does down each few for from good had has have how if in into is it its just like many
may more most much  must no not of off often on once one only or other our out over own same should
so some still such than that  the their them then there these they this those through to too under
up use used very was we well were what  when where whether which while who why will with work would
you your
"""
PLAIN: Final = frozenset(_PLAIN.split())
"""Words that say nothing about a topic."""
ENDINGS: Final = ("ings", "ing", "ies", "ied", "ers", "er", "ed", "es", "s", "y", "e")


def stems(text: str) -> list[str]:
    """Returns the words that mean something, without their endings."""
    return [_stem(word) for word in (found.lower() for found in WORD.findall(text)) if word not in PLAIN]


def _stem(word: str) -> str:
    ending = next((one for one in ENDINGS if word.endswith(one) and len(word) - len(one) >= 3), "")
    return word[: len(word) - len(ending)]


def sentences(text: str) -> list[str]:
    """Returns the whole sentences of a text, as they stand but on one line; headings are none."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        line = " ".join(paragraph.split())
        found += [one.strip() for one in SENTENCE_END.split(line)]
    return [one for one in found if SHORTEST <= len(one) <= LONGEST and one[-1] in ".!?\"'”’)"]


def scores(topic: str, texts: Sequence[str]) -> list[float]:
    """Returns how much each text has to do with a topic: by its words, rare ones more, and figures."""
    wanted = set(stems(topic))
    bags = [set(stems(text)) for text in texts]
    spread = Counter(stem for bag in bags for stem in bag & wanted)
    weight = {stem: math.log(1 + len(texts) / count) for stem, count in spread.items()}
    return [
        round(_score((weight[stem] for stem in sorted(bag & wanted)), text), 4)
        for bag, text in zip(bags, texts)  # noqa: B905 - `strict` is newer than Python 3.9
    ]


def _score(weights: Iterable[float], text: str) -> float:
    total = sum(weights)
    return total * (1.15 if NUMBER.search(text) else 1.0) if total else 0.0


def alike(one: str, other: str) -> float:
    """Returns how many of the words of two texts they share, from 0 to 1."""
    first, second = set(stems(one)), set(stems(other))
    return len(first & second) / len(first | second) if first | second else 0.0
