"""How much of what is personal is found, and how much else is left alone, on a generated corpus."""

from __future__ import annotations

import os
from random import Random

import pytest
from privacy_corpus import KINDS, NEGATIVES, WRITTEN_KINDS, negatives, positives

from taskmark.privacy.detectors import BUILT_IN
from taskmark.privacy.scrubbing import Scrubber

SEED = int(os.environ.get("SCRUB_SEED", "20260304"))
EACH = 5_000
NEGATIVES_EACH = 1_000
RECALL = 0.99
UNTOUCHED = 0.99
"""Of the texts that hold nothing personal, so many stay exactly as they are."""

EVERY = Scrubber(list(BUILT_IN.values()))


def is_left(value: str, text: str) -> bool:
    """Whether half of a value, or more of it, can still be read."""
    half = max(4, (len(value) + 1) // 2)
    return any(value[start : start + half] in text for start in range(len(value) - half + 1))


@pytest.mark.parametrize("kind", [*KINDS, *WRITTEN_KINDS])
def test_at_least_99_of_100_are_found(kind: str) -> None:
    """Nothing of them can be read any more, whatever surrounds them."""
    corpus = list(positives(kind, Random(f"{SEED} {kind}"), EACH))
    missed = [(value, text) for text, value in corpus if is_left(value, EVERY.text(text))]
    recall = 1 - len(missed) / len(corpus)
    print(f"seed {SEED}: recall of {kind} {recall:.4%}; missed {missed[:20]}")
    assert recall >= RECALL


@pytest.mark.parametrize("kind", NEGATIVES)
def test_what_is_not_personal_stays(kind: str) -> None:
    """Versions, times, hashes, money, places, code and our own ids are what the history is read for."""
    corpus = list(negatives(kind, Random(f"{SEED} {kind}"), NEGATIVES_EACH))
    touched = [(text, scrubbed) for text in corpus if (scrubbed := EVERY.text(text)) != text]
    print(f"seed {SEED}: {kind} untouched {1 - len(touched) / len(corpus):.4%}; touched {touched[:10]}")
    assert 1 - len(touched) / len(corpus) >= (1 if kind == "our ids" else UNTOUCHED)
