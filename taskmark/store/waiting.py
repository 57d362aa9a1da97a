"""Waiting until executions have ended: one reader of the store for everybody who waits.

It looks for all of them in one statement, again and again, less often the longer nothing happens, and ends
with the last who waits. Looking needs no connection that stays open and works on every database.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from sqlalchemy import Engine, Row, Select, func

from taskmark.contracts import ExecutionStatus
from taskmark.errors import Unreachable
from taskmark.store.engine import reading
from taskmark.store.keys import batches, rows_by_keys
from taskmark.store.reading import StoredExecution, unknown_execution
from taskmark.store.tables import Executions, fields, table

AT_ONCE = 1_000
"""Executions that one statement looks for."""
SHORTEST, LONGEST = 0.05, 1.0
"""Seconds between two looks, while something happens and after long quiet."""
OUTAGE = 5.0
"""Seconds between two looks at a store that does not answer."""

_GROWTH = 1.25
_SHARE = 20
"""A pause is at least so many times as long as the look before it, up to the longest pause."""
_FINAL = [status.value for status in ExecutionStatus if status.is_final]
_logger = logging.getLogger(__name__)


class Completions:
    """Tells when executions have ended. Not to be shared by several event loops at the same time."""

    def __init__(self, engine: Engine, *, shortest: float = SHORTEST, longest: float = LONGEST) -> None:
        """The pauses between two looks are in seconds."""
        self._engine = engine
        self._shortest = shortest
        self._longest = longest
        self._waiting: dict[str, dict[asyncio.Future[StoredExecution], bool]] = {}
        """Those who wait for an execution, and whether they expect that nobody has told of it yet."""
        self._new: set[str] = set()
        """What somebody has begun to wait for since the last look for it."""
        self._news = asyncio.Event()
        self._pause = shortest
        self._due = 0.0
        self._answers = True
        """Whether the store did when it was last asked."""
        self._reader: asyncio.Task[None] | None = None

    @property
    def waiters(self) -> int:
        """How many wait now."""
        return sum(map(len, self._waiting.values()))

    async def wait(
        self,
        id: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the word for it
        expected: bool = False,
    ) -> StoredExecution:
        """Returns the execution once it has ended, at once if it has already.

        While the store does not answer it goes on waiting. Raises `TimeoutError` after `timeout` seconds if
        it has not ended even then, however few they are, and `UnknownExecution` if nobody has told of the
        execution, unless that is `expected`: then it also waits for that.
        """
        if not _can_be_kept(id):
            raise unknown_execution(id)
        answer: asyncio.Future[StoredExecution] = asyncio.get_running_loop().create_future()
        self._add(id, answer, expected=expected)
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            if self._answers and (over := await asyncio.to_thread(self._over, id)):
                return over
            raise
        finally:
            self._remove(id, answer)
            del answer  # an error in it would lead back to this frame, and both stay in memory

    def _add(self, id: str, answer: asyncio.Future[StoredExecution], *, expected: bool) -> None:
        self._waiting.setdefault(id, {})[answer] = expected
        self._new.add(id)
        if self._reader is None:
            self._news = asyncio.Event()
            self._reader = asyncio.create_task(self._read(), name="taskmark-completions")
        self._news.set()

    def _remove(self, id: str, answer: asyncio.Future[StoredExecution]) -> None:
        others = self._waiting.get(id, {})
        others.pop(answer, None)
        if not others:
            self._waiting.pop(id, None)
            self._new.discard(id)
        if not self._waiting:
            self._news.set()

    # --- the reader -------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Looks until nobody waits any more; what it stumbles over is told to all who wait."""
        try:
            while self._waiting:
                self._news.clear()
                await self._look()
                await self._rest()
        except Exception as error:  # whoever waits must not do so in vain
            for name in list(self._waiting):
                self._answer(name, error)
        finally:
            self._reader = None

    async def _look(self) -> None:
        """Looks for everything if it is time to, else for what is new."""
        asked = time.monotonic()
        everything = asked >= self._due
        new, self._new = self._new, set()
        try:
            happened = await self._look_for(list(self._waiting) if everything else list(new), new)
        except Unreachable as error:
            if self._answers:
                _logger.warning("Whoever waits for executions goes on waiting: %s", error)
            self._answers = False
            self._new |= new & self._waiting.keys()
            self._due = time.monotonic() + max(OUTAGE, self._longest)
            return
        self._answers = True
        now = time.monotonic()
        longer = self._shortest if happened or new else self._pause * _GROWTH
        self._pause = min(max(longer, (now - asked) * _SHARE), self._longest)
        # who comes brings the next look nearer, and never puts it off
        self._due = now + self._pause if everything else min(self._due, now + self._pause)

    async def _look_for(self, names: list[str], new: set[str]) -> bool:
        """Answers those whose executions have ended, and refuses those that nobody has told of; returns
        whether there were any."""
        ended = await asyncio.to_thread(self._ended, names)
        for execution in ended:
            self._answer(execution.execution_id, execution)
        waiting = new & self._waiting.keys()
        doubted = [name for name in waiting if not all(self._waiting[name].values())]
        unknown = set(doubted) - await asyncio.to_thread(self._known, doubted) if doubted else set()
        # what somebody came for meanwhile is new again, and looked for again
        for name in unknown - self._new:
            self._refuse(name)
        return bool(ended)

    def _answer(self, id: str, what: StoredExecution | Exception) -> None:
        for answer in self._waiting.pop(id, {}):
            _settle(answer, what)

    def _refuse(self, id: str) -> None:
        others = self._waiting.get(id, {})
        for answer in [one for one, expected in others.items() if not expected]:
            del others[answer]
            _settle(answer, unknown_execution(id))

    async def _rest(self) -> None:
        """Waits until it is time for the next look, or somebody comes, or the last one leaves."""
        try:
            async with asyncio.timeout(max(self._due - time.monotonic(), 0)):
                await self._news.wait()
        except TimeoutError:
            return

    def _over(self, id: str) -> StoredExecution | None:
        """Returns an execution that has ended. Raises `TimeoutError` if the store does not answer now."""
        try:
            return next(iter(self._ended([id])), None)
        except Unreachable as error:
            raise TimeoutError from error

    def _ended(self, names: list[str]) -> list[StoredExecution]:
        executions = table(Executions)
        rows = self._rows(rows_ended, names)
        return [StoredExecution.model_validate(fields(executions, row)) for row in rows]

    def _known(self, names: list[str]) -> set[str]:
        return {str(row.execution_id) for row in self._rows(rows_there, names)}

    def _rows(self, statement: Callable[[str], Select[Any]], names: list[str]) -> list[Row[Any]]:
        with reading(self._engine) as connection:
            query = statement(connection.dialect.name)
            asked = (json.dumps([[name] for name in some]) for some in batches(names, AT_ONCE))
            return [row for wanted in asked for row in connection.execute(query, {"wanted": wanted})]


@cache
def rows_ended(dialect_name: str) -> Select[Any]:
    """Returns the statement that reads those executions of `wanted` that have ended."""
    executions = table(Executions)
    found = rows_by_keys(dialect_name, executions, ("execution_id",))
    # by their ids, which nearly all have not ended: an index over states would find all that ever ended
    state = func.coalesce(executions.c.status, "")
    return found.where(state.in_(_FINAL))


@cache
def rows_there(dialect_name: str) -> Select[Any]:
    """Returns the statement that reads which executions of `wanted` there are."""
    executions = table(Executions)
    found = rows_by_keys(dialect_name, executions, ("execution_id",))
    return found.with_only_columns(executions.c.execution_id)


def _settle(answer: asyncio.Future[StoredExecution], what: StoredExecution | Exception) -> None:
    if answer.done():
        return
    if isinstance(what, Exception):
        answer.set_exception(what)
    else:
        answer.set_result(what)


def _can_be_kept(id: str) -> bool:
    """Whether a database takes it: neither half characters nor NUL."""
    return "\x00" not in id and id == id.encode(errors="replace").decode()
