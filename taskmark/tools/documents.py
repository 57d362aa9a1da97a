"""`json`: a part of a JSON document, by a pointer (RFC 6901), from a file or a text."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Final, Self

from pydantic import Field, model_validator

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.task.model import Json
from taskmark.tools.files import FileTool, decoded, read_bytes
from taskmark.tools.sizes import capped
from taskmark.tools.validation import Arguments, did_you_mean

LARGEST: Final = 16 * 1024**2
_TOO_LARGE: Final = "point at a part of it"
_INDEX: Final = re.compile(r"0|[1-9][0-9]*", re.ASCII)


class JsonParameters(Arguments):
    """What to read, and which part of it."""

    path: str | None = Field(default=None, description="A file under the root")
    text: str | None = Field(default=None, description="The document itself, such as a program's output")
    pointer: str = Field(default="", description="Which part: `/orders/0/id`; `~1` is a slash, `~0` a tilde")
    lines: bool = Field(default=False, description="Read JSON Lines: one value a line, as a list")
    default: Json = Field(default=None, description="What it is if that part is not there; else it fails")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        """Of two documents one would be lost."""
        if (self.path is None) == (self.text is None):
            raise ValueError('give "path" or "text"')
        if self.pointer and not self.pointer.startswith("/"):
            raise ValueError("a pointer begins with a slash")
        return self


class ReadJson(FileTool[JsonParameters]):
    """Reads a part of a JSON document."""

    name = "json"
    parameters = JsonParameters
    effects = False

    async def execute(self, parameters: JsonParameters, context: StepContext) -> Json:
        """Returns the `value`, and whether it was `found`. Raises `StepFailed`."""
        return await asyncio.to_thread(_part, parameters, context)


def _part(parameters: JsonParameters, context: StepContext) -> Json:
    source = parameters.path or "the text"
    found: Json = _document(_text(parameters, context), source, lines=parameters.lines)
    way = [step.replace("~1", "/").replace("~0", "~") for step in parameters.pointer.split("/")[1:]]
    for place, step in enumerate(way):
        inner = _within(found, step)
        if inner is None:
            if "default" in parameters.model_fields_set:
                return capped({"value": parameters.default, "found": False}, source=source, advice=_TOO_LARGE)
            raise _missing(source, way[: place + 1], found)
        (found,) = inner
    return capped({"value": found, "found": True}, source=source, advice=_TOO_LARGE)


def _text(parameters: JsonParameters, context: StepContext) -> str:
    if parameters.path is None:
        return parameters.text or ""
    return decoded(read_bytes(context, parameters.path, LARGEST), parameters.path)


def _document(text: str, source: str, *, lines: bool) -> Json:
    """Returns what the text says. Raises `StepFailed` (logic)."""
    if lines:
        return [_read(line, f"{source}:{number}") for number, line in _filled(text)]
    return _read(text, source)


def _filled(text: str) -> Iterator[tuple[int, str]]:
    # Not `splitlines`: a JSON text may have characters in it that count as ends of lines there.
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _read(text: str, source: str) -> Json:
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise StepFailed(f"{source}: no JSON: {error.msg} ({place})", Category.LOGIC) from error
    except (ValueError, RecursionError) as error:
        raise StepFailed(f"{source}: no JSON that can be read: {error}", Category.LOGIC) from error


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _within(value: Json, step: str) -> tuple[Json] | None:
    """Returns what is at one place within a value, or None if nothing is: null is something."""
    if isinstance(value, dict):
        return (value[step],) if step in value else None
    if isinstance(value, list) and _INDEX.fullmatch(step) and len(step) < 10 and int(step) < len(value):
        return (value[int(step)],)
    return None


def _missing(source: str, way: list[str], found: Json) -> StepFailed:
    pointer = "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in way)
    if isinstance(found, dict):
        there = f"there is {', '.join(sorted(found)[:10]) or 'nothing'}{did_you_mean(way[-1], found)}"
    elif isinstance(found, list):
        there = f"there are {len(found)} values, the first is 0"
    else:
        there = f"what is there has no parts: it is a {type(found).__name__}"
    return StepFailed(f"{source}: nothing is at {pointer[:200]}", Category.LOGIC, hint=there)
