"""Finds where words fit best.

A script of its own, started by `search.py`: it computes for as long as there is text, which no thread of the
worker could be stopped in. Standard input is as for `scan.py`, but for its first line, `{"words", "most"}`,
with the words in lower case. The matches are printed as `{"file", "line", "text", "score"}`, the best first.

What is ranked are passages, because words that belong together seldom stand in one line; of each the line
that says most is shown. The score is BM25, with lengths in characters. It needs to know how rare a word is
before it can judge any passage, so the text is gone through twice; only the best matches are kept meanwhile.
"""

from __future__ import annotations

import heapq
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

LONGEST_TEXT = 500
"""Characters shown of a line."""
MOST_LINES = 10
"""Of a passage, which else is what stands between two blank lines."""
SHORTEST_STEM = 4
"""Letters of a word that is also found as the beginning of a longer one."""
STEM = 0.5
"""What such a find counts, beside 1 of the word itself."""
SATURATION, BY_LENGTH = 1.2, 0.75
"""BM25's `k1`, how soon more of the same word says nothing more, and `b`, how much a long passage has to."""
_TOKEN = re.compile(r"[^\W_]+")
_UNSPACED = 0x2E80
"""From here on, roughly, are the characters of scripts that put no spaces between words."""

File = tuple[str, bytes]
Passage = tuple[int, list[str]]
"""The number of its first line, and its lines."""


def main(source: BinaryIO) -> None:
    """Prints the best matches, `most` of them."""
    request = json.loads(source.readline())
    files = list(read(source))
    words = Words(request["words"])
    survey = Survey()
    for _, content in files:
        survey.add(content, words)
    found = heapq.nlargest(request["most"], ranked(files, words, survey), key=lambda one: one.score)
    for match in found:
        print(json.dumps(match.told(words, survey)))


def read(source: BinaryIO) -> Iterator[File]:
    """Yields name and content of each file."""
    while heading := source.readline():
        file = json.loads(heading)
        yield file["file"], source.read(file["bytes"])


def passages(text: str) -> Iterator[Passage]:
    """Yields what stands between blank lines, in parts of a few lines."""
    first = 1
    lines: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        is_blank = not line or line.isspace()
        if lines and (is_blank or len(lines) == MOST_LINES):
            yield first, lines
            lines = []
        if not is_blank:
            first = first if lines else number
            lines.append(line)
    if lines:
        yield first, lines


class Words:
    """What is looked for. An underscore or a hyphen ends a word of a text, as a space does."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(words)
        self._unspaced = tuple(word for word in words if max(map(ord, word)) >= _UNSPACED)
        self._starting: dict[str, list[str]] = {}
        # The longest first: of two that begin alike, the one that fits further counts.
        for word in sorted(set(words) - set(self._unspaced), key=len, reverse=True):
            self._starting.setdefault(word[:SHORTEST_STEM], []).append(word)

    def within(self, lower: str) -> bool:
        """Whether any may be in a text, which can be told much faster than how often."""
        return any(word in lower for word in self._words)

    def count(self, lower: str) -> dict[str, float]:
        """Returns how much there is of each word in a text in lower case."""
        counted = {word: float(lower.count(word)) for word in self._unspaced if word in lower}
        for token in _TOKEN.findall(lower):
            if token[:SHORTEST_STEM] in self._starting and (word := self._meant(token)):
                counted[word] = counted.get(word, 0.0) + (1.0 if word == token else STEM)
        return counted

    def first(self, lower: str) -> int:
        """Returns where the first of them is."""
        places = [place for word in self._unspaced if (place := lower.find(word)) >= 0]
        places += [found.start() for found in _TOKEN.finditer(lower) if self._meant(found[0])][:1]
        return min(places, default=0)

    def _meant(self, token: str) -> str | None:
        """Returns which of the words a word of a text is, or begins with. One that is shorter than a stem has
        to be all of it, which its beginning says."""
        candidates = self._starting.get(token[:SHORTEST_STEM], ())
        return next((word for word in candidates if token.startswith(word)), None)


@dataclass
class Survey:
    """What has to be known of all passages before one can be judged."""

    passages: int = 0
    characters: int = 0
    having: Counter[str] = field(default_factory=Counter)
    """In how many passages each word is."""

    def add(self, content: bytes, words: Words) -> None:
        """Takes in a file."""
        lower = content.decode(errors="replace").lower()
        may_have = words.within(lower)
        for _, lines in passages(lower):
            self.passages += 1
            self.characters += sum(map(len, lines))
            if may_have and words.within(passage := "\n".join(lines)):
                self.having.update(words.count(passage).keys())

    def weight(self, word: str) -> float:
        """Returns how much a word says: more if it is rare."""
        having = self.having[word]
        return math.log(1 + (self.passages - having + 0.5) / (having + 0.5))

    def score(self, counted: Mapping[str, float], characters: int) -> float:
        """Returns how well a passage fits."""
        average = self.characters / self.passages
        damping = SATURATION * (1 - BY_LENGTH + BY_LENGTH * characters / average)
        return sum(
            self.weight(word) * count * (SATURATION + 1) / (count + damping)
            for word, count in counted.items()
        )


@dataclass(frozen=True)
class Match:
    """A passage that has any of the words."""

    score: float
    file: str
    first: int
    lines: Sequence[str]

    def told(self, words: Words, survey: Survey) -> dict[str, Any]:
        """Returns it as it is printed."""
        number = best(self.lines, words, survey)
        text = excerpt(self.lines[number], words)
        return {"file": self.file, "line": self.first + number, "text": text, "score": round(self.score, 3)}


def ranked(files: Sequence[File], words: Words, survey: Survey) -> Iterator[Match]:
    """Yields every match, in the order of the files."""
    for file, content in files:
        text = content.decode(errors="replace")
        if not words.within(text.lower()):
            continue
        for first, lines in passages(text):
            lower = "\n".join(lines).lower()
            if words.within(lower) and (counted := words.count(lower)):
                yield Match(survey.score(counted, sum(map(len, lines))), file, first, lines)


def best(lines: Sequence[str], words: Words, survey: Survey) -> int:
    """Returns the place of the line that says most of what is looked for; of equals the first one's."""
    said = [sum(survey.weight(word) for word in words.count(line.lower())) for line in lines]
    return said.index(max(said))


def excerpt(line: str, words: Words) -> str:
    """Returns a line, or of one that is long the part around the first of the words."""
    line = line.rstrip("\r")
    start = max(0, min(words.first(line.lower()) - LONGEST_TEXT // 4, len(line) - LONGEST_TEXT))
    return line[start : start + LONGEST_TEXT]


if __name__ == "__main__":
    main(sys.stdin.buffer)
