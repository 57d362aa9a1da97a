"""Reviews a diff by rules: a program that answers for an agent where no language model does.

It is asked as `python3 -m tasks.code_review.reviewer correctness` with the question as JSON on its standard
input, and prints the answer. Nothing of the diff is run, and nothing else is read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from tasks.code_review.diff import Change, parse
from tasks.code_review.rules import Finding, correctness, security, upkeep

SIDES: Final[Mapping[str, Callable[[Sequence[Change]], Iterator[Finding]]]] = {
    "correctness": correctness,
    "security": security,
    "upkeep": upkeep,
}
SEVERITIES: Final = ("high", "medium", "low")
MOST: Final = 50
"""Findings that are told, the most severe first."""


def review(side: str, diff: str) -> dict[str, Any]:
    """Returns the verdict on a diff from one side, with what was found."""
    found = sorted(
        dict.fromkeys(SIDES[side](parse(diff))),
        key=lambda one: (SEVERITIES.index(one.severity), one.file, one.line),
    )
    severe = any(one.severity != "low" for one in found)
    more = f"; the first {MOST} are told" if len(found) > MOST else ""
    return {
        "verdict": "changes" if severe else "approve",
        "findings": [one._asdict() for one in found[:MOST]],
        "summary": f"{len(found)} found by rules{more}" if found else "Nothing found by rules",
    }


def main() -> None:
    """Answers the question on standard input."""
    asked = json.load(sys.stdin)
    diff = asked["context"]["phases"]["collect"]["outputs"]["diff"]
    json.dump(review(sys.argv[1], diff), sys.stdout)


if __name__ == "__main__":
    main()
