"""The reviewers: functions that answer in place of a language model.

Each is called with the instruction of its step and with what the step may read; `with` is the step's own.
"""

import re
from typing import Any


def clarity(instruction: str, context: dict[str, Any]) -> dict[str, str]:
    """Counts the words of the longest sentence."""
    sentences = re.split(r"[.!?]", context["with"]["text"])
    longest = max(len(sentence.split()) for sentence in sentences)
    return _answer(longest <= 25, f"the longest sentence has {longest} words")


def completeness(instruction: str, context: dict[str, Any]) -> dict[str, str]:
    """Looks for marks of unfinished work."""
    found = re.findall(r"\b(?:TODO|TBD|FIXME)\b", context["with"]["text"])
    return _answer(not found, f"{len(found)} places are marked as unfinished")


def brevity(instruction: str, context: dict[str, Any]) -> dict[str, str]:
    """Counts the words."""
    words = len(context["with"]["text"].split())
    return _answer(words <= 200, f"it has {words} words")


def _answer(good: bool, reason: str) -> dict[str, str]:
    return {"vote": "publish" if good else "revise", "reason": reason}
