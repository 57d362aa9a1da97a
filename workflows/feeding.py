"""Begins what may run side by side as places get free, and not all at once.

Ten thousand coroutines that wait for a place are memory and time for nothing: a few that are next are enough.
What waits for something else, a person or its next attempt, takes nobody's place and is not counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from temporalio import workflow

from workflows.admission import Admission
from workflows.background import wind_down
from workflows.effort import Effort

AHEAD = 100
"""So many wait for a place at most, when another one is begun."""
LANES, STEPS, ITEMS = 0, 1, 2
"""What is fed, from the outside in."""

Make = Callable[[], Coroutine[Any, Any, None]]


class Feeder:
    """Feeds one phase: its lanes, the steps of a lane, the items of a step."""

    def __init__(self, admission: Admission, effort: Effort, *, at_once: bool) -> None:
        """`at_once`: everything begins at once, as older executions did it."""
        self._admission = admission
        self._effort = effort
        self._at_once = at_once
        self._waiting = [0, 0, 0]

    async def gather(self, level: int, makes: Iterable[Make]) -> None:
        """Runs all of them and awaits them in order; if it is cancelled or one breaks, cancels the rest and
        awaits them too."""
        tasks: list[asyncio.Task[None]] = []
        try:
            for make in makes:
                if not self._at_once:
                    await self._room(level)
                tasks.append(asyncio.create_task(make()))
            for task in tasks:
                await task
        except (Exception, asyncio.CancelledError):
            await wind_down(*tasks)
            raise

    async def _room(self, level: int) -> None:
        await asyncio.sleep(0)  # those begun before it come to where they wait
        if self._has_room(level):
            return
        self._waiting[level] += 1
        try:
            await workflow.wait_condition(lambda: self._has_room(level))
        finally:
            self._waiting[level] -= 1

    def _has_room(self, level: int) -> bool:
        """Those who feed what is further inside wait for places, too; not those further out: all would wait
        for each other."""
        inside = sum(self._waiting[level + 1 :])
        return self._admission.stopped or self._admission.queued + self._effort.waiting + inside < AHEAD
