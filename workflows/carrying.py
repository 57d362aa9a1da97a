"""A phase continues as new by itself: when, at which point, and with what.

History grows with everything that happens, and Temporal terminates a workflow whose history is too long. So
before that a phase lets nothing start for a moment. What runs comes to its end; what waits for a person, for
a time or for its next attempt is taken along. Then the next run of its workflow goes on where this one stops.

The danger is in what is lost on the way. A signal that comes meanwhile makes Temporal refuse, and do the last
workflow task again; one that is being sent would be dropped, so nothing may be on its way. And what runs can
last for hours, during which the others must not wait: then the phase gives up, goes on and tries it later.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from temporalio import workflow

from taskmark.carried import UNPACKED_LIMIT, Bulk, Carried
from taskmark.contracts import RESULT_LIMIT, PhaseStart
from taskmark.errors import StepFailed
from taskmark.task.model import Json
from taskmark.task.packing import pack, unpack
from workflows import travelling
from workflows.admission import Admission
from workflows.artifacts import Shelf
from workflows.board import Board
from workflows.clock import within
from workflows.effort import PORTION
from workflows.purses import Purses
from workflows.reporting import Reporter

HARD = 40_000
"""Events at which it waits for what runs, however long that lasts; Temporal ends the workflow at 51,200."""
BYTES = 1_000
"""Of history, that count like one event: Temporal ends a workflow at 50 MB, too."""
SHARE = 0.1
"""Of the time that a run lasted it waits for what runs, in vain at worst."""
LEAST, MOST = 2.0, 60.0
"""Seconds that it waits at least and at most."""
PART = 1_000_000
"""Characters that travel to the artifact store at once."""


class Carrier:
    """Watches the length of a phase's history and takes the phase over to its next run."""

    def __init__(  # noqa: PLR0917 - what has to be still before a phase can go
        self,
        start: PhaseStart,
        admission: Admission,
        board: Board,
        shelf: Shelf,
        reporter: Reporter,
        purses: Purses,
    ) -> None:
        self._start = start
        self._admission = admission
        self._board = board
        self._shelf = shelf
        self._reporter = reporter
        self._purses = purses
        self._mark = start.limits.history_events
        self.is_ready = False
        """Whether nothing runs any more, so that it can go."""

    def watches(self) -> list[Coroutine[Any, Any, None]]:
        """Returns what has to run beside the phase; nothing for one that began before there was this."""
        return [self._watch()] if self._start.limits.engine >= 2 else []

    async def _watch(self) -> None:
        while True:
            await workflow.wait_condition(lambda: self._is_due)
            self._admission.close()
            await self._empty()
            if self._is_safe:
                self.is_ready = True
                await workflow.wait_condition(lambda: not self.is_ready)
            self._admission.open()
            self._mark = self._extent + self._start.limits.history_events // 2

    @property
    def _is_due(self) -> bool:
        extent = self._extent
        if extent < self._mark or self._admission.stopped:
            return False
        # a run that got nowhere would be one of many
        return bool(self._board.moves) or extent >= 4 * self._start.limits.history_events

    @property
    def _extent(self) -> int:
        """How long history is, in events; large ones count as several."""
        info = workflow.info()
        return max(info.get_current_history_length(), info.get_current_history_size() // BYTES)

    async def _empty(self) -> None:
        """Returns once nothing runs, or if that lasts too long."""
        if self._extent >= HARD:
            await workflow.wait_condition(lambda: self._is_settled)
        else:
            await within(self._patience, lambda: self._is_settled, "for what runs, to continue as new")

    @property
    def _patience(self) -> float:
        lasted = (workflow.now() - workflow.info().start_time).total_seconds()
        return min(max(LEAST, SHARE * lasted), MOST)

    @property
    def _is_settled(self) -> bool:
        return self._is_safe or self._admission.stopped

    @property
    def _is_safe(self) -> bool:
        """Whether everything that goes on is in what is carried."""
        return (
            self._admission.is_empty
            and self._shelf.is_idle
            and self._reporter.is_silent
            and self._purses.is_silent
            and workflow.all_handlers_finished()
            and not self._admission.stopped
        )

    async def go(self, pack_up: Callable[[], Carried]) -> None:
        """Continues as new, which ends the run; returns if that is not possible now.

        Between the last look and the end there is no moment in which anything could happen.
        """
        await workflow.wait_condition(lambda: self._is_settled)
        if self._admission.stopped:
            self.is_ready = False
            return
        carried = pack_up()
        text = pack(carried)
        parts: tuple[Json, ...] = ()
        if len(text) > min(RESULT_LIMIT, PORTION - len(self._board.start.model_dump_json())):
            try:
                parts = await self._kept(carried.bulk)
            except StepFailed as error:
                workflow.logger.warning("the phase cannot continue as new for now: %s", error.message)
                self.is_ready = False
                return
            now = pack_up()
            if now.bulk != carried.bulk or not self._is_safe:
                return  # something happened meanwhile: once more
            text = pack(now.model_copy(update={"bulk": None}))
        fields = {"wish": self._admission.wish, "carried": text, "carried_parts": parts}
        workflow.continue_as_new(travelling.with_limits(self._board.start.model_copy(update=fields)))

    async def _kept(self, bulk: Bulk | None) -> tuple[Json, ...]:
        """Returns references to the parts of what is too large for a message. Raises `StepFailed`."""
        text = pack(bulk or Bulk())
        texts = [text[at : at + PART] for at in range(0, len(text), PART)]
        return tuple([await self._shelf.keep(part, 0) for part in texts])

    async def fetched(self) -> Bulk:
        """Returns what an earlier run kept apart. Raises `StepFailed` if it is gone."""
        texts = [str(await self._shelf.load(part)) for part in self._start.carried_parts]
        return unpack("".join(texts), Bulk, UNPACKED_LIMIT)


def given(start: PhaseStart) -> Carried | None:
    """Returns what an earlier run of the workflow left, if there was one."""
    return None if start.carried is None else unpack(start.carried, Carried, UNPACKED_LIMIT)
