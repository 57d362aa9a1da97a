"""Answers that have to fit a schema: how a model gives one, and what it is told of one that does not fit.

It answers by calling a tool, because every server that can call tools can do that. Arguments are always an
object, so any other value is wrapped in one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Final

from taskmark.fitting import problems
from taskmark.task.model import Json

ANSWER: Final = "final-answer"
"""The tool by whose arguments a model answers."""
WRAPPED: Final = "value"
TOLD: Final = 10
"""Problems of one answer that are told."""


def as_object(schema: Mapping[str, Json]) -> dict[str, Json]:
    """Returns the schema of the arguments."""
    if _is_object(schema):
        return {**schema, "type": "object"}
    return {"type": "object", "properties": {WRAPPED: dict(schema)}, "required": [WRAPPED]}


def unwrapped(given: Json, schema: Mapping[str, Json]) -> Json:
    """Returns the answer that arguments give."""
    return given if _is_object(schema) else given.get(WRAPPED)


def from_text(text: str, schema: Mapping[str, Json]) -> Json:
    """Returns the arguments that a model gave as text all the same, in a fence or not; None if none."""
    bare = text.strip()
    if bare.startswith("```"):
        bare = bare.partition("\n")[2].rpartition("```")[0]
    try:
        found = json.loads(bare)
    except (ValueError, RecursionError):
        return None
    return found if _is_object(schema) else {WRAPPED: found}


def misfits(given: Json, schema: Mapping[str, Json]) -> str:
    """Returns what the model is told of arguments that do not fit; nothing of those that do."""
    if not isinstance(given, dict):
        return f"This is no answer: call {ANSWER} with JSON that fits its schema."
    found = "; ".join(islice(problems(unwrapped(given, schema), schema), TOLD))
    return f"Your answer does not fit: {found}. Give it again." if found else ""


def _is_object(schema: Mapping[str, Json]) -> bool:
    return schema.get("type") == "object" or ("type" not in schema and "properties" in schema)
