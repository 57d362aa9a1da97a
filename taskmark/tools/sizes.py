"""How large an adapter's answer may be, and how it is kept so small."""

from __future__ import annotations

from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from taskmark.contracts import ADAPTER_LIMIT, is_artifact
from taskmark.errors import Category, StepFailed
from taskmark.task.model import Json

LIGHT_WORK = 4_096
"""Characters in what counts as light."""
NODE_WORK = 8
"""Characters that a value of any kind counts as."""
_SCALARS = frozenset({type(None), bool, int, float})
NARROW = "return less: a part, a summary, or the path of a file that holds the whole"


def json_size(value: Json) -> int:
    """Returns the bytes a JSON value takes on the wire. Raises `StepFailed` if it is no JSON value."""
    return len(_encoded(value, "the value"))


def capped(output: Json, *, source: str = "the step", advice: str = NARROW) -> Json:
    """Returns the output as plain JSON: tuples become lists, models and dataclasses objects, NaN null.

    Raises `StepFailed`: logic if it is no JSON value, resource if it is above `ADAPTER_LIMIT`.
    """
    encoded = _encoded(output, source)
    if len(encoded) > ADAPTER_LIMIT:
        raise StepFailed(
            f"{source} returned {len(encoded):,} bytes of JSON; at most {ADAPTER_LIMIT:,} are taken",
            Category.RESOURCE,
            hint=advice,
        )
    return from_json(encoded)


def is_light(*values: Any) -> bool:
    """Whether walking the values takes no noticeable time: plain, small, with no reference to an artifact."""
    pending, left = list(values), LIGHT_WORK
    while pending and left >= 0:
        value = pending.pop()
        left -= NODE_WORK
        kind = type(value)  # `isinstance` goes through Python code in a process that has a sandbox
        if kind is str:
            left -= len(value)
        elif kind is dict:
            if is_artifact(value):
                return False
            pending += value.keys()
            pending += value.values()
        elif kind is list or kind is tuple:
            pending += value
        elif kind not in _SCALARS:
            return False
    return left >= 0


def _encoded(value: Json, source: str) -> bytes:
    """Returns the value as JSON text."""
    try:
        return to_json(value, inf_nan_mode="null")
    except (PydanticSerializationError, ValueError) as error:
        raise StepFailed(
            f"{source} returned a {type(value).__name__} that is no JSON value: {error}",
            Category.LOGIC,
            hint="return strings, numbers, booleans, lists and objects",
        ) from error


def keep_tail(text: str, limit: int) -> str:
    """Returns the longest end of the text whose JSON form takes at most `limit` bytes."""
    if json_size(text) <= limit:
        return text
    fits, too_long = 0, min(len(text), limit)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if json_size(text[-middle:]) <= limit:
            fits = middle
        else:
            too_long = middle
    return text[-fits:] if fits else ""
