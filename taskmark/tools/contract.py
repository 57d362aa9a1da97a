"""What the engine relies on in a tool, as checks that call it: `taskmark.tools.testing` is the door."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import psutil  # type: ignore[import-untyped] # it ships no types

from taskmark.errors import Category, StepFailed
from taskmark.ports import Health, Tool
from taskmark.shared import MemoryShared
from taskmark.tools.health import PATIENCE_SECONDS
from taskmark.tools.testing import Called, call_tool

if TYPE_CHECKING:
    from taskmark.task.model import Json

Prepare: TypeAlias = Callable[[Path], Any]
"""Fills a new root."""
UNKNOWN = "no_such_argument"
"""What no tool takes."""
_STATE = ".taskmark"
"""A directory in the root that is ours."""


class _Wrong(Exception):
    """The tool is not as the engine relies on it."""


class _LeftOut(Exception):
    """It cannot be checked, or need not be."""


@dataclass
class Examination:
    """What was found, by the name of the check."""

    tool: str
    passed: list[str] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def require(self) -> None:
        """Raises `AssertionError` with everything that is wrong."""
        if self.wrong:
            lines = (f"  {check}: {reason}" for check, reason in self.wrong.items())
            raise AssertionError("\n".join([f"tool {self.tool} is not as a step needs it:", *lines]))


class Contract:
    """The checks of one tool."""

    def __init__(
        self,
        tool: Tool[Any],
        arguments: Mapping[str, Json],
        slow: Mapping[str, Json] | None,
        prepare: Prepare | None,
        observe: Callable[[Path], Any] | None,
        *,
        cancel_after: float,
        grace: float,
        **context: Any,
    ) -> None:
        self._tool = tool
        self._arguments = arguments
        self._slow = arguments if slow is None else slow
        self._prepare = prepare or (lambda _root: None)
        self._observe = observe or (lambda _root: None)
        self._cancel_after = cancel_after
        self._grace = grace
        self._context = {"shared": MemoryShared(), **context}
        self._first = Called()
        self._found = Examination(getattr(tool, "name", type(tool).__name__))

    async def examine(self) -> Examination:
        """Returns what was found. A check that is wrong hides no other."""
        await self._check("schema", self._schema)
        await self._check("arguments", self._refuses)
        await self._check("foresight", self._foresees)
        await self._check("health", self._answers)
        with self._root() as root:
            await self._check("output", lambda: self._returns(root))
            await self._check("repetition", lambda: self._repeats(root))
        await self._check("resumption", self._resumes)
        await self._check("cancellation", self._ends)
        return self._found

    async def _check(self, name: str, check: Callable[[], Awaitable[None]]) -> None:
        try:
            await check()
        except _LeftOut as reason:
            self._found.left_out[name] = str(reason)
        except _Wrong as reason:
            self._found.wrong[name] = str(reason)
        except Exception as error:
            self._found.wrong[name] = f"it raises {type(error).__name__}: {error}"
        else:
            self._found.passed.append(name)

    # --- what it says of itself -------------------------------------------------------------------

    async def _schema(self) -> None:
        """The command line, the linter and agents are told of its arguments by their JSON Schema."""
        json.dumps(self._tool.parameters.model_json_schema())

    async def _refuses(self) -> None:
        """A mistyped argument must never be ignored."""
        self._tool.validate(dict(self._arguments))
        if self._tool.parameters.model_config.get("extra") == "allow":
            raise _LeftOut("it takes any argument")
        try:
            self._tool.validate({**self._arguments, UNKNOWN: 1})
        except StepFailed as error:
            if error.category is not Category.CONFIGURATION:
                raise _Wrong(f"wrong arguments are {error.category}, and not configuration") from error
        else:
            raise _Wrong("it takes an argument that it does not know")

    async def _foresees(self) -> None:
        """Plans and circuit breakers ask before the call."""
        parameters = self._tool.validate(dict(self._arguments))
        target, seconds = self._tool.target(parameters), self._tool.estimate_duration(parameters)
        if not (target is None or isinstance(target, str)):
            raise _Wrong(f"target returns a {type(target).__name__}, and not a name or nothing")
        if seconds is not None and not (isinstance(seconds, int | float) and 0 <= seconds < math.inf):
            raise _Wrong(f"estimate_duration returns {seconds!r}, and not seconds or nothing")

    async def _answers(self) -> None:
        """Starts wait for it. It is asked in another thread, with a loop of its own."""
        asked = asyncio.to_thread(lambda: asyncio.run(self._tool.health_check()))
        try:
            said = await asyncio.wait_for(asked, PATIENCE_SECONDS)
        except TimeoutError:
            raise _Wrong(f"health_check says nothing for {PATIENCE_SECONDS:g} s") from None
        if not isinstance(said, Health):
            raise _Wrong(f"health_check returns a {type(said).__name__}, and not a Health")
        if not said.healthy and not said.message:
            raise _Wrong("health_check gives no reason why it cannot be used")

    # --- what it does -----------------------------------------------------------------------------

    async def _returns(self, root: Path) -> None:
        before = _files(root)
        self._first = await self._call(self._arguments, root)
        if self._first.failure is not None:
            raise _Wrong(_failed("a call", self._first))
        if not self._tool.effects and _files(root) != before:
            raise _Wrong("it says that it changes nothing (`effects = False`), and changed files")

    async def _repeats(self, root: Path) -> None:
        """A worker can die after the effect and before the answer. The next attempt gets the last details,
        and finds what workers share."""
        if not self._tool.effects:
            raise _LeftOut("it changes nothing")
        if not self._tool.repeatable:
            raise _LeftOut("it does not declare that it is `repeatable`")
        if "output" in self._found.wrong:
            raise _LeftOut("a first call fails already")
        before = (_files(root), self._observe(root))
        called = await self._call(self._arguments, root, attempt=2, resume=self._first.resume)
        if called.failure is not None:
            raise _Wrong(_failed("a second call with the same key", called))
        if (_files(root), self._observe(root)) != before:
            raise _Wrong("a second call with the same key changes something more")

    async def _resumes(self) -> None:
        """`pause --now` may end it at any heartbeat, and it goes on from the details of that."""
        if not self._tool.resumable:
            raise _LeftOut("it does not declare that it is `resumable`")
        with self._root() as root:
            first = await self._call(self._slow, root, cancel_at_beat=1)
            if not first.beats:
                raise _Wrong(
                    "it declares that it is `resumable`, and keeps no details by `context.heartbeat`"
                )
            again = await self._call(self._slow, root, resume=first.resume)
            if again.failure is not None:
                raise _Wrong(_failed(f"a call that goes on from {first.resume!r}", again))

    async def _ends(self) -> None:
        """A cancelled task ends its calls, and what is left of one is in everybody's way."""
        if not self._tool.stoppable:
            raise _LeftOut("nothing can stop it: a function that is not `async` runs in a thread")
        key = f"cancelled-{id(self):x}"
        with self._root() as root:
            tasks, processes = asyncio.all_tasks(), _processes(key)
            begun = asyncio.ensure_future(
                self._call(self._slow, root, cancel_after=self._cancel_after, **{"idempotency_key": key})
            )
            done, _ = await asyncio.wait({begun}, timeout=self._cancel_after + self._grace)
            if not done:
                begun.cancel()
                raise _Wrong(f"it goes on for {self._grace:g} s after it was cancelled")
            called = begun.result()
            await _until(lambda: not _left(tasks, processes, key), self._grace)
            if left := _left(tasks, processes, key):
                raise _Wrong(f"it leaves something running: {', '.join(left)}")
        if not called.cancelled and called.seconds < self._cancel_after:
            raise _LeftOut("it ended before it could be cancelled: give arguments with which it is `slow`")

    async def _call(self, arguments: Mapping[str, Json], root: Path, **options: Any) -> Called:
        return await call_tool(self._tool, arguments, root=root, **{**self._context, **options})

    @contextmanager
    def _root(self) -> Iterator[Path]:
        """A new root, filled."""
        root = Path(tempfile.mkdtemp(prefix="taskmark-")).resolve()
        try:
            self._prepare(root)
            yield root
        finally:
            shutil.rmtree(root, ignore_errors=True)


def _failed(what: str, called: Called) -> str:
    assert called.failure is not None
    hint = f" ({called.failure.hint})" if called.failure.hint else ""
    return f"{what} fails, {called.failure.category}: {called.failure.message}{hint}"


def _files(root: Path) -> dict[str, str]:
    """Returns what is in a root, without what is ours."""
    found = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())
    return {
        str(name): hashlib.sha256((root / name).read_bytes()).hexdigest()
        for name in (path.relative_to(root) for path in found)
        if name.parts[0] != _STATE
    }


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Returns once it holds, or after so many seconds."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - nobody tells it
        await asyncio.sleep(0.02)


def _left(tasks: set[asyncio.Task[Any]], processes: set[psutil.Process], key: str) -> list[str]:
    """Returns what was not there before: tasks, and processes below this one or with the call's key."""
    new = asyncio.all_tasks() - tasks
    names = [f"task {task.get_name()}" for task in new if not task.done()]
    return names + [f"process {process.pid}" for process in _processes(key) - processes]


def _processes(key: str) -> set[psutil.Process]:
    """Returns the processes below this one, and those elsewhere that were given the key."""
    found = set(psutil.Process().children(recursive=True))
    found |= {process for process in psutil.process_iter() if _has(process, key)}
    return {process for process in found if _lives(process)}


def _has(process: psutil.Process, key: str) -> bool:
    try:
        return bool(process.environ().get("TASKMARK_IDEMPOTENCY_KEY") == key)
    except (psutil.Error, OSError):
        return False


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
