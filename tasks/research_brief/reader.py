"""Takes notes, writes a brief and checks facts by counting words: programs that answer for agents where no
language model does.

Asked as `python3 -m tasks.research_brief.reader notes` with the question as JSON on standard input. They only
pick sentences that are there, so they invent nothing, and understand nothing either.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tasks.research_brief.facts import problem
from tasks.research_brief.sentences import alike, scores, sentences

MOST_NOTES: Final = 5
"""Claims of one source."""
MOST_POINTS: Final = 8
"""Of a brief."""
SAME: Final = 0.6
"""Share of words in common from which on two sentences say the same."""
ENOUGH: Final = 0.35
"""Of the best score: what has less to do with the topic is left out."""


def notes(context: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the sentences of a source that have most to do with the topic, in the order of the source."""
    found = sentences(context["phases"]["read"]["outputs"]["text"])
    best = _best(context["inputs"]["topic"], found, MOST_NOTES)
    return {"claims": [{"claim": found[at], "quote": found[at]} for at in sorted(best)]}


def brief(context: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the claims that have most to do with the topic, those that say the same as one point."""
    topic = context["inputs"]["topic"]
    claims = [one for source in context["phases"]["gather"]["outputs"]["notes"] for one in source["claims"]]
    points: list[dict[str, Any]] = []
    for at in _best(topic, [one["claim"] for one in claims], len(claims)):
        one = claims[at]
        same = next((point for point in points if alike(point["text"], one["claim"]) >= SAME), None)
        if same is not None:
            same["claims"].append(one["id"])
        elif len(points) < MOST_POINTS:
            points.append({"text": one["claim"], "claims": [one["id"]]})
    return {"points": points}


def checks(context: Mapping[str, Any]) -> dict[str, Any]:
    """Returns whether each claim is quoted to the letter, and says no number that its quote does not."""
    inputs = context["inputs"]
    found = [(one["id"], problem(one, inputs["text"])) for one in inputs["claims"]]
    return {"checks": [{"id": claim, "supported": not wrong, "reason": wrong} for claim, wrong in found]}


def _best(topic: str, texts: Sequence[str], most: int) -> list[int]:
    """Returns the places of the texts with the highest scores, the best first."""
    found = scores(topic, texts)
    least = ENOUGH * max(found, default=0.0)
    ranked = sorted(range(len(texts)), key=lambda at: (-found[at], at))
    return [at for at in ranked if found[at] > 0 and found[at] >= least][:most]


ANSWERS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "notes": notes,
    "brief": brief,
    "checks": checks,
}


def main() -> None:
    """Answers the question on standard input."""
    json.dump(ANSWERS[sys.argv[1]](json.load(sys.stdin)["context"]), sys.stdout)


if __name__ == "__main__":
    main()
