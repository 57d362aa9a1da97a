"""Calls one Python function and reports what came of it.

A script of its own, started by `functions.py`: the request is JSON on standard input, the answer JSON in the
file whose descriptor is the first argument. So what the function prints disturbs nothing. Modules of the
standard library only, because every call pays for its start.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import inspect
import io
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

CATEGORIES = ("transient", "configuration", "permission", "resource", "logic")
LONGEST_TRACEBACK = 4000


class Unusable(Exception):
    """The function cannot be called as asked: the name or the arguments are wrong."""

    category = "configuration"


class NotJson(Exception):
    """What the function returned is no JSON value."""

    category = "logic"


def main(descriptor: int) -> None:
    """Reads the request, calls the function and writes the answer."""
    os.set_inheritable(descriptor, False)
    request = json.loads(sys.stdin.buffer.read())
    # The function's own reading of standard input finds the end, not a closed descriptor.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    sys.path[:0] = request["paths"]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # who watches sees what it prints as it does
    answer = perform(request["function"], request["args"], request["kwargs"])
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(answer)


def perform(name: str, args: list[Any], kwargs: dict[str, Any]) -> str:
    """Returns the answer as JSON: `{"value": …}`, or `{"error": {…}}` for whatever went wrong."""
    try:
        value = call(find(name), args, kwargs)
        return encode(value)
    except (Exception, SystemExit) as error:
        return json.dumps({"error": describe(error)})


def find(name: str) -> Callable[..., Any]:
    """Returns the function `module:name`. Raises `Unusable`, with the import's own error as its cause."""
    module_name, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise Unusable(str(error)) from error
    if not callable(found):
        raise Unusable(f"it is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]  # callable, as just checked


def call(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Returns what the function returns; awaits what it returns if that is to be awaited."""
    try:
        # a decorator is called as it is, whatever it wraps
        inspect.signature(function, follow_wrapped=False).bind(*args, **kwargs)
    except TypeError as error:
        raise Unusable(str(error)) from error
    except ValueError:
        pass  # some built-in functions do not tell their parameters
    value = function(*args, **kwargs)
    return asyncio.run(awaited(value)) if inspect.isawaitable(value) else value


async def awaited(value: Any) -> Any:
    """Returns the result of anything that can be awaited."""
    return await value


def encode(value: Any) -> str:
    """Returns the value as JSON. Raises `NotJson`."""
    try:
        return json.dumps({"value": value}, default=plain, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(f"it returned a {type(value).__name__} that is no JSON value: {error}") from error


def plain(value: Any) -> Any:
    """Returns JSON for pydantic models and dataclasses."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def describe(error: BaseException) -> dict[str, Any]:
    """Returns what is reported of an exception."""
    category = getattr(error, "category", None)
    if isinstance(error, MemoryError):
        category = "resource"
    if isinstance(error, SystemExit):
        message = f"it ended the process with exit code {error.code}"
    else:
        message = str(getattr(error, "message", None) or error)
    hint = getattr(error, "hint", None)
    return {
        # Errors raised on purpose say all of it in their message.
        "type": "" if type(error).__name__ in ("Unusable", "NotJson", "StepFailed") else type(error).__name__,
        "message": message,
        "category": str(category) if category in CATEGORIES else "transient",
        "hint": hint if isinstance(hint, str) else None,
        "traceback": "".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:],
    }


if __name__ == "__main__":
    main(int(sys.argv[1]))
