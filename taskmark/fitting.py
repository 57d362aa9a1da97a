"""Whether an answer, a person's or an agent's, fits the JSON Schema that it was asked for with.

The keywords that say what may be answered: types, choices, bounds, the parts of lists and objects.
Others (`pattern`, `format`, `oneOf`, …) are not looked at: what they cost or mean is not ours to decide in
workflow code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from taskmark.task.model import Json

_TYPES: Mapping[str, Callable[[Json], bool]] = {
    "null": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    ),
    "array": lambda value: isinstance(value, list | tuple),
    "object": lambda value: isinstance(value, dict),
}

_BOUNDS: Mapping[str, tuple[str, Callable[[Any, Any], bool], str]] = {
    "minimum": ("number", lambda value, bound: value >= bound, "at least"),
    "maximum": ("number", lambda value, bound: value <= bound, "at most"),
    "exclusiveMinimum": ("number", lambda value, bound: value > bound, "more than"),
    "exclusiveMaximum": ("number", lambda value, bound: value < bound, "less than"),
    "minLength": ("string", lambda value, bound: len(value) >= bound, "of a length of at least"),
    "maxLength": ("string", lambda value, bound: len(value) <= bound, "of a length of at most"),
    "minItems": ("array", lambda value, bound: len(value) >= bound, "of a length of at least"),
    "maxItems": ("array", lambda value, bound: len(value) <= bound, "of a length of at most"),
}


def problems(value: Json, schema: Json, place: str = "the answer") -> Iterator[str]:
    """Yields what does not fit, in words for whoever answered."""
    if not isinstance(schema, Mapping):
        return
    wanted = schema.get("type")
    types = [str(name) for name in (wanted if isinstance(wanted, list | tuple) else [wanted]) if name]
    if types and not any(_TYPES.get(name, lambda _: True)(value) for name in types):
        yield f"{place} has to be of type {' or '.join(types)}"
        return
    choices = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(choices, list | tuple) and not any(same(value, choice) for choice in choices):
        yield f"{place} has to be one of {json.dumps(choices, ensure_ascii=False, default=str)}"
    yield from _out_of_bounds(value, schema, place)
    yield from _wrong_parts(value, schema, place)


def same(one: Json, other: Json) -> bool:
    """Whether two values are the same JSON: `true` is not 1."""
    return json.dumps(one, sort_keys=True, default=str) == json.dumps(other, sort_keys=True, default=str)


def _out_of_bounds(value: Json, schema: Mapping[str, Json], place: str) -> Iterator[str]:
    for keyword, (kind, fits, words) in _BOUNDS.items():
        bound = schema.get(keyword)
        if _TYPES["number"](bound) and _TYPES[kind](value) and not fits(value, bound):
            yield f"{place} has to be {words} {bound}"


def _wrong_parts(value: Json, schema: Mapping[str, Json], place: str) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from problems(item, schema.get("items"), f"{place}[{index}]")
    if not isinstance(value, dict):
        return
    known = schema.get("properties")
    known = known if isinstance(known, Mapping) else {}
    required = schema.get("required")
    for name in required if isinstance(required, list | tuple) else ():
        if name not in value:
            yield f"{place} needs `{name}`"
    for name, part in value.items():
        if name in known:
            yield from problems(part, known[name], f"{place}.{name}")
        elif schema.get("additionalProperties") is False:
            yield f"{place} may not have `{name}`"
