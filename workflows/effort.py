"""How much a workflow does in one go, and how much it sends.

The server gives a workflow task up after some seconds (`Limits.workflow_task`), and takes at most 4 MiB of
commands at once and 2 MiB in one of them. What exceeds that fails the workflow task, which
is repeated for ever, so it must not happen: much work is done in turns and large messages leave in
portions, a workflow task each, and what is too large for any is refused here, where somebody learns why.
All is counted in units that depend on the data alone, never in time, so a replay counts the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from temporalio import workflow

from taskmark.errors import Category, StepFailed
from taskmark.task import expressions, secret_references
from taskmark.task.expressions import Work
from taskmark.task.model import Json
from taskmark.task.secret_references import Place

PORTION = 1_500_000
"""Bytes sent in one workflow task, and in one message, at most."""
TURN = 300_000
"""Units of work after which the next workflow task is awaited; some 0.1 s on an idle machine, and so
far below that limit on a busy one."""
STEP = 1_000
"""Units of what surrounds one evaluation."""
SOURCE = 40
"""Units per character of a source: it may have to be compiled."""
_NEXT_TASK = timedelta(milliseconds=1)


class Effort:
    """Counts what one workflow does; who comes when a turn is used up waits for the next workflow task."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._task = -1
        self._sent = 0
        self._done = 0
        self.waiting = 0
        """How many wait for their turn."""

    async def turn(self) -> None:
        """Returns once there is time for one evaluation more, or several small ones."""
        await self._room(0)
        self._done += STEP

    async def send(self, size: int, what: str) -> None:
        """Returns once there is room for so many bytes. Raises `StepFailed` if there never will be."""
        if size > PORTION:
            raise StepFailed(
                f"{what} has {size // 1024} KiB, and {PORTION // 1024} are possible",
                Category.CONFIGURATION,
                hint="keep large data in files and pass their paths, or pass a whole output on",
                type="too_large",
            )
        await self._room(size)
        self._sent += size

    def charge(self, units: int) -> None:
        """Counts work done in this workflow task."""
        self._done += units

    def evaluate(self, source: str, names: Mapping[str, Json]) -> Json:
        """Returns the value of an expression. Raises `InvalidExpression`."""
        with _Metered(self, source) as work:
            return expressions.evaluate(source, names, work)

    def test(self, source: str, names: Mapping[str, Json]) -> bool:
        """Returns whether an expression holds. Raises `InvalidExpression`."""
        return bool(self.evaluate(source, names))

    def text(self, template: str, names: Mapping[str, Json]) -> str:
        """Returns a template filled in as text; a lone value in it as JSON. Raises `InvalidExpression`."""
        with _Metered(self, template) as work:
            return expressions.render_text(template, names, work)

    def render(self, value: Json, names: Mapping[str, Json]) -> Any:
        """Returns a value with every text in it filled in. Raises `InvalidExpression`."""
        with _Metered(self, value) as work:
            return expressions.render_value(value, names, work)

    def render_call(
        self, value: Json, names: Mapping[str, Json], secrets: Collection[str]
    ) -> tuple[Any, tuple[Place, ...]]:
        """Returns a value with every text in it filled in, and where which of the secrets go in it. Raises
        `InvalidExpression`."""
        if not secrets:
            return self.render(value, names), ()
        with _Metered(self, value) as work:
            return secret_references.render(
                value,
                secrets,
                lambda inner: expressions.render_value(inner, names, work),
                lambda text: expressions.render_text(text, names, work),
            )

    async def _room(self, size: int) -> None:
        if not self._lock.locked() and self._has_room(size):
            return  # the usual case; those who wait go first
        self.waiting += 1
        try:
            async with self._lock:
                while not self._has_room(size):
                    await workflow.sleep(_NEXT_TASK, summary="much to do, in turns")
        finally:
            self.waiting -= 1

    def _has_room(self, size: int) -> bool:
        task = workflow.info().get_current_history_length()
        if task != self._task:
            self._task, self._sent, self._done = task, 0, 0
        return self._done < TURN and (not self._sent or self._sent + size <= PORTION)


class _Metered:
    """Charges what an evaluation has cost, whatever way it ends."""

    def __init__(self, effort: Effort, source: Json) -> None:
        self._effort = effort
        self._source = source
        self._work = Work()

    def __enter__(self) -> Work:
        return self._work

    def __exit__(self, *_error: object) -> None:
        length = len(self._source) if isinstance(self._source, str) else len(str(self._source))
        self._effort.charge(self._work.spent + SOURCE * length)
