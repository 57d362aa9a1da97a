"""For tests of tools: calls one as a step does, in milliseconds, without Temporal, for any test runner.

    from taskmark.tools.testing import check_tool, run_tool

    called = run_tool(plant, {"plants": 12})
    assert called.output == {"planted": 12}
    check_tool(plant, {"plants": 12})

`run_tool` and `check_tool` are for ordinary tests, `call_tool` and `examine_tool` the same for `async` ones.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pydantic_core import from_json, to_json

from taskmark.errors import Category, Failure
from taskmark.failures import failure_from, overdue
from taskmark.ports import SAID_LENGTH, StepContext, Tool
from taskmark.tools.sizes import capped

if TYPE_CHECKING:
    from taskmark.task.model import Json
    from taskmark.tools.contract import Examination, Prepare

Result = TypeVar("Result")
AnyTool: TypeAlias = Tool[Any] | type[Tool[Any]] | Callable[..., Any] | str
"""A tool, a function or class with `@tool`, or the name of one that is built in or in a plugin."""

GRACE_SECONDS = 10.0
"""So long a cancelled call may take to end, as with a worker that stops."""


@dataclass(frozen=True)
class Called:
    """What came of a call."""

    output: Json = None
    failure: Failure | None = None
    """Absent: it succeeded, or was cancelled."""
    cancelled: bool = False
    """Whether it ended as cancelled."""
    beats: tuple[Json, ...] = ()
    """The details of each heartbeat."""
    said: tuple[str, ...] = ()
    """What it told those who watch."""
    target: str | None = None
    """What it depends on, by which its circuit breaker is known."""
    resources: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def category(self) -> Category | None:
        """The category of its failure, which decides whether it is tried again."""
        return self.failure.category if self.failure else None

    @property
    def resume(self) -> Json:
        """What the next attempt would get as `context.resume`."""
        return self.beats[-1] if self.beats else None


def run_tool(
    tool: AnyTool,
    arguments: Mapping[str, Json] | None = None,
    **options: Any,
) -> Called:
    """Calls a tool and returns what came of it; options are those of `call_tool`. It never raises what the
    tool does."""
    return _beside(call_tool(tool, arguments, **options))


async def call_tool(
    tool: AnyTool,
    arguments: Mapping[str, Json] | None = None,
    *,
    root: Path | None = None,
    cancel_after: float | None = None,
    cancel_at_beat: int | None = None,
    plugins: Sequence[str] = (),
    **context: Any,
) -> Called:
    """Calls a tool as a step does: arguments are checked, time is limited, the output is taken as JSON, and
    what goes wrong is a `Failure` with a category.

    A tool that is named is one that is built in, or in the `plugins`. `root` is a directory of its own unless
    given, gone afterwards. A call can be cancelled after so many seconds, or when it has kept details by
    `context.heartbeat` so many times. Further keywords are fields of `StepContext`: `attempt`, `resume`,
    `reduced`, `refresh_credentials`, `timeout` (seconds), `idempotency_key`, `project` and so on. Raises
    `ValueError` if there is no such tool.
    """
    chosen = resolved(tool, plugins)
    with ExitStack() as stack:
        place = root or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskmark-")))
        return await _Call(chosen, place.resolve(), cancel_at_beat, context).run(
            arguments or {}, cancel_after
        )


def check_tool(
    tool: AnyTool,
    arguments: Mapping[str, Json] | None = None,
    **options: Any,
) -> Examination:
    """Checks that a tool does what the engine relies on; options are those of `examine_tool`.

    Raises `AssertionError` with everything that is wrong; returns what was checked, and what was not and why.
    """
    found = _beside(examine_tool(tool, arguments, **options))
    found.require()
    return found


async def examine_tool(
    tool: AnyTool,
    arguments: Mapping[str, Json] | None = None,
    *,
    slow: Mapping[str, Json] | None = None,
    prepare: Prepare | None = None,
    observe: Callable[[Path], Any] | None = None,
    cancel_after: float = 0.1,
    grace: float = GRACE_SECONDS,
    plugins: Sequence[str] = (),
    **context: Any,
) -> Examination:
    """Returns what of a tool is as the engine relies on it, called with arguments with which it succeeds.

    `slow` are arguments with which a call takes a second or more, so that it can be cancelled and resumed;
    without them the others are used for that too. `prepare(root)` fills each new root, and `observe(root)`
    returns what a call changed elsewhere, to see that a repetition changes nothing more. A call is cancelled
    after `cancel_after` seconds, and has `grace` seconds to end and to leave nothing. Other keywords are as
    for `call_tool`.
    """
    from taskmark.tools.contract import Contract

    contract = Contract(
        resolved(tool, plugins),
        arguments or {},
        slow,
        prepare,
        observe,
        cancel_after=cancel_after,
        grace=grace,
        **context,
    )
    return await contract.examine()


def resolved(tool: AnyTool, plugins: Sequence[str] = ()) -> Tool[Any]:
    """Returns the tool that is meant. Raises `ValueError`."""
    from taskmark.errors import StepFailed
    from taskmark.registry import load, tool_of

    if isinstance(tool, Tool):
        return tool
    if not isinstance(tool, str):
        return tool_of(tool)
    try:
        return load(plugins).tool(tool)
    except StepFailed as error:
        raise ValueError(error.message) from error


class _Call:
    """One call, and what is heard of it."""

    def __init__(
        self, tool: Tool[Any], root: Path, cancel_at_beat: int | None, context: Mapping[str, Any]
    ) -> None:
        self._tool = tool
        self._cancel_at_beat = cancel_at_beat
        self._loop = asyncio.get_running_loop()
        self._beats: list[Json] = []
        self._said: list[str] = []
        self._target: str | None = None
        self._work: asyncio.Task[dict[str, Any]] | None = None
        self._is_cancelled = False
        told = {"heartbeat": self._beat, "say": self._say, "root": root}
        place = {"execution_id": "exec-test", "phase": "test", "step": "test"}
        usual = {**place, "idempotency_key": "key-of-test"}
        limit = {"timeout": tool.timeout} if tool.timeout else {}
        self._context = StepContext(**{**usual, **limit, **context, **told})

    async def run(self, arguments: Mapping[str, Json], cancel_after: float | None) -> Called:
        began = time.monotonic()
        self._work = asyncio.ensure_future(self._perform(arguments))
        if cancel_after is not None:
            self._loop.call_later(cancel_after, self._cancel)
        try:
            came = await self._work
        except asyncio.CancelledError:
            if not self._is_cancelled:  # it is the test that was, and the call with it
                raise
            came = {"cancelled": True}
        return Called(
            **came,
            beats=tuple(self._beats),
            said=tuple(self._said),
            target=self._target,
            resources=dict(self._context.resources),
            seconds=time.monotonic() - began,
        )

    async def _perform(self, arguments: Mapping[str, Json]) -> dict[str, Any]:
        """Returns how the call ended, unless it was cancelled."""
        seconds, step, phase = self._context.timeout, self._context.step, self._context.phase
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                parameters = self._tool.validate(from_json(to_json(dict(arguments))))
                self._target = self._tool.target(parameters)
                return {"output": capped(await self._tool.execute(parameters, self._context))}
        except (Exception, SystemExit) as error:  # as around a step
            late = limit.expired()
            if late:
                return {"failure": overdue(seconds, step=step, phase=phase)}
            return {"failure": failure_from(error, step=step, phase=phase)}

    def _cancel(self) -> None:
        if self._work is not None:
            self._is_cancelled = self._work.cancel()

    def _beat(self, *details: Any) -> None:
        """Keeps the details as they would travel; what is no JSON raises here, where it can be seen."""
        self._beats.append(from_json(to_json(details[0])) if details else None)
        if len(self._beats) == self._cancel_at_beat:
            self._loop.call_soon_threadsafe(self._cancel)

    def _say(self, text: str) -> None:
        self._said.append(text[:SAID_LENGTH])


def _beside(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs it in a thread with a loop of its own, so that it does not matter whether one runs here."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="taskmark-testing") as executor:
        return executor.submit(asyncio.run, work).result()
