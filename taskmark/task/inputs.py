"""The typed inputs of a task: checked, filled with defaults, and described as one JSON Schema."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from taskmark.errors import InvalidInputs
from taskmark.task.durations import EXAMPLES, parse_duration
from taskmark.task.hints import did_you_mean
from taskmark.task.model import InputType, Json, Requirement, TaskDefinition

_TRUTH = {"true": True, "false": False}
_KEYWORDS = {
    "number": ("minimum", "maximum"),
    "integer": ("minimum", "maximum"),
    "string": ("minLength", "maxLength"),
    "list": ("minItems", "maxItems"),
}
SIZED: frozenset[InputType] = frozenset({"number", "integer", "duration", "string", "list"})
"""Types that take `min` and `max`: of the value, of seconds, of the length."""


def check_inputs(
    requirements: TaskDefinition | Iterable[Requirement], given: Mapping[str, Json], *, coerce: bool = False
) -> dict[str, Json]:
    """Returns the inputs of an execution: what is given, checked, and defaults for the rest.

    An optional input that is not given is null. With `coerce`, texts (as a command line gives them)
    become the wanted type where nothing is lost. Checking the result again changes nothing.
    Raises `InvalidInputs` with one line per problem.
    """
    wanted = requirements.requirements if isinstance(requirements, TaskDefinition) else tuple(requirements)
    problems: list[str] = []
    inputs: dict[str, Json] = {}
    for requirement in wanted:
        value = given.get(requirement.name)
        if value is None and requirement.required:
            problems.append(f"`{requirement.name}` is missing; it is {_described(requirement)}")
            continue
        try:
            inputs[requirement.name] = (
                requirement.default if value is None else fit(requirement, value, coerce=coerce)
            )
        except ValueError as error:
            problems.append(f"`{requirement.name}` {error}")
    problems.extend(_unknown(given, [requirement.name for requirement in wanted]))
    if problems:
        raise InvalidInputs(problems, hint="give each input as name=value" if coerce else None)
    return inputs


def _unknown(given: Mapping[str, Json], names: list[str]) -> list[str]:
    return [
        f"`{name}` is not an input of this task"
        + (f"; {hint}" if (hint := did_you_mean(str(name), names)) else "")
        for name in given
        if name not in names
    ]


def _described(requirement: Requirement) -> str:
    about = f": {requirement.description}" if requirement.description else ""
    if requirement.type == "enum":
        return f"one of {', '.join(map(str, requirement.values))}{about}"
    return f"{'an' if requirement.type[0] in 'aeiou' else 'a'} {requirement.type}{about}"


def fit(requirement: Requirement, value: Json, *, coerce: bool = False) -> Json:
    """Returns the value as the requirement wants it. Raises `ValueError` saying what it must be."""
    if coerce and isinstance(value, str):
        value = coerced(requirement, value)
    if requirement.type == "enum":
        return _fit_enum(requirement, value)
    fitted = _FITS[requirement.type](value)
    if requirement.type in SIZED:
        _check_size(requirement, fitted)
    return fitted


def coerced(requirement: Requirement, text: str) -> Json:
    """Returns what a text from a command line stands for, or the text itself if that cannot be told."""
    if requirement.type == "boolean":
        return _TRUTH.get(text.strip().lower(), text)
    if requirement.type == "enum":
        return next((value for value in requirement.values if _as_text(value) == text), text)
    if requirement.type in ("number", "integer", "list", "object"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _fit_string(value: Json) -> Json:
    if isinstance(value, str):
        return value
    raise ValueError(_wants("a text", value))


def _fit_number(value: Json) -> Json:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise ValueError(_wants("a number", value))


def _fit_integer(value: Json) -> Json:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError(_wants("a whole number", value))


def _fit_boolean(value: Json) -> Json:
    if isinstance(value, bool):
        return value
    raise ValueError(_wants("true or false", value))


def _fit_date(value: Json) -> Json:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise ValueError(_wants("a date such as 2026-01-31", value)) from None


def _fit_duration(value: Json) -> Json:
    # The text stays as it is: seconds, checked a second time, would be read as milliseconds.
    if isinstance(value, timedelta):
        return round(value.total_seconds() * 1000)
    try:
        parse_duration(value)
    except ValueError:
        raise ValueError(_wants(f"a duration {EXAMPLES}", value)) from None
    return value


def _fit_list(value: Json) -> Json:
    if isinstance(value, list | tuple):
        return list(value)
    raise ValueError(_wants('a list such as ["a", "b"]', value))


def _fit_object(value: Json) -> Json:
    if isinstance(value, Mapping):
        return dict(value)
    raise ValueError(_wants('an object such as {"a": 1}', value))


def _fit_enum(requirement: Requirement, value: Json) -> Json:
    # Python has True == 1, JSON has not.
    for allowed in requirement.values:
        if allowed == value and isinstance(allowed, bool) == isinstance(value, bool):
            return allowed
    raise ValueError(_wants("one of " + ", ".join(map(_as_text, requirement.values)), value))


_FITS: dict[InputType, Callable[[Json], Json]] = {
    "string": _fit_string,
    "number": _fit_number,
    "integer": _fit_integer,
    "boolean": _fit_boolean,
    "date": _fit_date,
    "duration": _fit_duration,
    "list": _fit_list,
    "object": _fit_object,
}


def _wants(what: str, value: Json) -> str:
    shown = repr(value)
    return f"must be {what}, not {shown if len(shown) <= 60 else shown[:59] + '…'}"


def _check_size(requirement: Requirement, value: Json) -> None:
    size, unit = value, ""
    if requirement.type == "duration":
        size, unit = parse_duration(value), " seconds"
    elif requirement.type in ("string", "list"):
        size, unit = len(value), " characters" if requirement.type == "string" else " items"
    if requirement.min is not None and size < requirement.min:
        raise ValueError(f"must be at least {requirement.min:g}{unit}, not {size}")
    if requirement.max is not None and size > requirement.max:
        raise ValueError(f"must be at most {requirement.max:g}{unit}, not {size}")


def input_schema(definition: TaskDefinition) -> dict[str, Any]:
    """Returns the inputs of a task as one JSON Schema (draft 2020-12) of an object."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": definition.name,
        "type": "object",
        "properties": {requirement.name: _property(requirement) for requirement in definition.requirements},
        "required": [requirement.name for requirement in definition.requirements if requirement.required],
        "additionalProperties": False,
    }


_SCHEMAS: dict[InputType, dict[str, Any]] = {
    "string": {"type": "string"},
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "duration": {"type": ["string", "integer"], "examples": ["5 minutes", "PT5M"]},
    "list": {"type": "array"},
    "object": {"type": "object"},
    "enum": {},
}


def _property(requirement: Requirement) -> dict[str, Any]:
    schema = dict(_SCHEMAS[requirement.type])
    if requirement.type == "enum":
        schema["enum"] = list(requirement.values)
    if requirement.description:
        schema["description"] = requirement.description
    if requirement.default is not None:
        schema["default"] = requirement.default
    for keyword, bound in zip(
        _KEYWORDS.get(requirement.type, ()), (requirement.min, requirement.max), strict=False
    ):
        if bound is not None:
            schema[keyword] = int(bound) if bound.is_integer() else bound
    return schema
