"""Which executions wait for a person.

What waits now is theirs to know, so each one that runs is asked: a gate can be open beside steps that run,
and then no status tells of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from taskmark.contracts import Progress
from taskmark.errors import TaskmarkError, UnknownExecution

AT_ONCE = 40
"""Executions that are asked at the same time; more would be too late for answers of a busy worker."""


@dataclass(frozen=True)
class Waiting:
    """What was found out about the executions that run."""

    executions: tuple[Progress, ...]
    """Those that wait, the latest first: for what, `waiting` and `paused` say."""
    silent: dict[str, str]
    """Those that did not answer, and why not: nobody knows whether they wait."""


async def asked(executions: Sequence[str], ask: Callable[[str], Awaitable[Progress]]) -> Waiting:
    """Returns which of the executions wait. `ask` raises `TaskmarkError` for one that does not answer."""
    places, silent = asyncio.Semaphore(AT_ONCE), dict[str, str]()

    async def answer(execution: str) -> Progress | None:
        async with places:
            try:
                return await ask(execution)
            except UnknownExecution:
                return None  # it has ended meanwhile
            except TaskmarkError as error:
                silent[execution] = error.message
                return None

    answers = await asyncio.gather(*map(answer, executions))
    found = [_here(one) for one in answers if one is not None]
    return Waiting(tuple(one for one in found if one.waiting or one.status.value == "paused"), silent)


def _here(one: Progress) -> Progress:
    """Leaves what waits in sub-tasks to them: each of them is asked as well."""
    own = ("", one.execution_id)
    mine = (wait for wait in one.waiting if wait.kind == "budget" or wait.execution in own)
    return one.model_copy(update={"waiting": tuple(mine)})
