"""Functions of the user's, each call in a process of its own, and the tool `python` that calls them."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.ports import Health, StepContext, Tool
from taskmark.task.model import Json
from taskmark.tools.processes import Command, Ended, ProcessLimits, launcher_health, run
from taskmark.tools.sizes import NARROW, capped
from taskmark.tools.validation import Arguments

# Isolated, so that nothing but the paths asked for is added; with site-packages, which functions import.
CALLER: Final = (sys.executable, "-I", str(Path(__file__).with_name("call.py")))


@dataclass(frozen=True)
class FunctionCall:
    """Which function to call, with what."""

    function: str
    """`module:name`; the name may have dots."""
    args: Sequence[Json] = ()
    kwargs: Mapping[str, Json] | None = None
    paths: Sequence[Path] = ()
    """Searched for modules after the root."""


async def call_function(
    call: FunctionCall, context: StepContext, limits: ProcessLimits | None = None
) -> Json:
    """Returns what the function returns. Raises `StepFailed`.

    Configuration if there is no such function or it does not take these arguments; what the function raises
    is transient unless it says otherwise by an attribute `category`, as `StepFailed` does.
    """
    _check_name(call.function)
    # A file and not a pipe: it never fills, and nobody has to read it meanwhile.
    with tempfile.TemporaryFile() as answer:
        command = Command(
            (*CALLER, str(answer.fileno())), stdin=_request(call, context), descriptors=(answer.fileno(),)
        )
        ended = await run(command, context, limits)
        answer.seek(0)
        size = os.fstat(answer.fileno()).st_size
        # Twice the limit: the file's JSON is spelled more widely than what is sent.
        text = answer.read(2 * ADAPTER_LIMIT + 1)
    _log(ended, context)
    if size > 2 * ADAPTER_LIMIT:
        raise StepFailed(f"{call.function} returned {size:,} bytes of JSON", Category.RESOURCE, hint=NARROW)
    return _value(call.function, text, ended)


def _check_name(function: str) -> None:
    """Raises `StepFailed` (configuration) for what is no `module:name`."""
    module, colon, name = function.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise StepFailed(
            f"{function!r} names no function",
            Category.CONFIGURATION,
            hint="write `module:name`, as in `json:dumps`",
        )


def _request(call: FunctionCall, context: StepContext) -> bytes:
    """Returns what the process is told."""
    return json.dumps(
        {
            "function": call.function,
            "args": list(call.args),
            "kwargs": dict(call.kwargs or {}),
            "paths": [str(path) for path in (context.root, *call.paths)],
        }
    ).encode()


def _log(ended: Ended, context: StepContext) -> None:
    """Passes on what the function printed."""
    for name, capture in (("stdout", ended.stdout), ("stderr", ended.stderr)):
        if capture.total:
            context.logger.info("%s: %s", name, context.hide(capture.text)[-2000:].rstrip())


def _value(function: str, text: bytes, ended: Ended) -> Json:
    """Returns the value that the answer holds. Raises `StepFailed` for an error in it, or for no answer."""
    if not text:
        raise StepFailed(f"{function} ended without a result, {ended.reason}")
    answer = json.loads(text)
    if "error" not in answer:
        return capped(answer["value"], source=function)
    error = answer["error"]
    kind = f"{error['type']}: " if error["type"] else ""
    failure = StepFailed(
        f"{function}: {kind}{error['message']}", Category(error["category"]), hint=error["hint"]
    )
    failure.add_note(error["traceback"])
    raise failure


class PythonParameters(Arguments):  # type: ignore[no-redef]  # the plugin's own **kwargs, and our key
    """Which function to call, with what."""

    function: str = Field(description="`module:name`, from the root or an installed package")
    args: list[Json] = Field(default_factory=list)
    keywords: dict[str, Json] = Field(default_factory=dict, alias="kwargs")


class Python(Tool[PythonParameters]):
    """Calls a Python function in a process of its own; it may be `async`."""

    name = "python"
    repeatable = True
    parameters = PythonParameters

    def __init__(self, *, paths: Sequence[Path] = (), limits: ProcessLimits | None = None) -> None:
        self._paths = tuple(paths)
        self._limits = limits

    async def execute(self, parameters: PythonParameters, context: StepContext) -> Json:
        """Returns the function's return value. Raises `StepFailed`."""
        call = FunctionCall(parameters.function, parameters.args, parameters.keywords, self._paths)
        return await call_function(call, context, self._limits)

    async def health_check(self) -> Health:
        """Whether processes can be started."""
        return await launcher_health()
