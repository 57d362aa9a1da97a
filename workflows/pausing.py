"""Holds an execution and lets it go on, as people want it, its parent, or the file's `pausedTimeout`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from temporalio import workflow

from taskmark.contracts import LONG, SHORT, ControlRequest, ExecutionStatus, Limits, Paused
from taskmark.records import EventKind
from taskmark.task.durations import duration_text
from taskmark.task.model import PausedTimeout
from workflows.clock import within
from workflows.recording import event, record
from workflows.state import TaskState

BY_ITSELF = "pausedTimeout"
"""Who ends a pause that nobody ends."""


class Pauses:
    """The pauses of one execution. What they hold is told by the wish, which every phase hears."""

    def __init__(self, state: TaskState, wish: Callable[..., None]) -> None:
        self._state = state
        self._wish = wish
        self._execution = workflow.info().workflow_id
        self._told = 0
        """Tells the events of one pause from those of the next."""
        self.heard = 0
        """Of the newest pause that the phase which runs this as a sub-task has told."""
        self._is_the_parents = False

    def hold(self, request: ControlRequest, limits: Limits) -> None:
        """Begins a pause. During one it changes nothing, unless it wants what still runs interrupted."""
        is_new = limits.engine >= 2  # others go by what their histories say
        self.heard = max(self.heard, request.epoch) if is_new else request.epoch
        state, now = self._state, request.mode == "now" and is_new
        if state.final is not None:
            return
        self._is_the_parents = self._is_the_parents or request.epoch > 0
        if not state.wish.paused:
            since, why = workflow.now(), request.model_dump(include={"reason", "by", "mode"})
            state.paused = Paused(**why, since=since)
            self._wish(paused=True, now=now)
            self._tell("execution_paused", request)
        elif now and not state.wish.now and state.status is ExecutionStatus.PAUSING:
            assert state.paused is not None
            state.paused = state.paused.model_copy(update={"mode": "now"})
            self._wish(now=True)
            self._told += 1
            self._tell("execution_paused", request)

    def release(self, request: ControlRequest) -> None:
        """Ends the pause; without one it changes nothing."""
        if self._state.wish.paused:
            self._state.paused = None
            self._is_the_parents = False
            self._wish(paused=False, now=False)
            self._tell("execution_resumed", request)
            self._told += 1

    async def end_forgotten(
        self, limit: PausedTimeout, abort: Callable[[ControlRequest], None], *, leave: bool
    ) -> None:
        """Ends each pause that nobody has ended in time.

        A pause of the parent's is the parent's to end: what it holds does not begin again below it.
        """
        reason = f"nobody ended the pause within {duration_text(limit.after)}"
        request = ControlRequest(by=BY_ITSELF, reason=reason)
        while True:
            await workflow.wait_condition(lambda: self._is_ours)
            paused = self._state.paused
            assert paused is not None
            assert paused.since is not None
            until = paused.since + timedelta(seconds=limit.after)
            self._state.paused = paused.model_copy(update={"until": until, "then": limit.then})
            left = (until - workflow.now()).total_seconds()
            if await within(left, partial(self._has_ended, paused.since), BY_ITSELF, leave=leave):
                self._show_no_end()
            elif limit.then == "abort":
                abort(request)
                return
            else:
                self.release(request)

    @property
    def _is_ours(self) -> bool:
        """Whether it stands for a pause of its own."""
        standing = self._state.wish.paused and not self._state.wish.stop
        return standing and not self._is_the_parents

    def _has_ended(self, since: datetime) -> bool:
        return not self._is_ours or self._state.paused is None or self._state.paused.since != since

    def _show_no_end(self) -> None:
        if self._state.paused is not None:
            self._state.paused = self._state.paused.model_copy(update={"until": None, "then": ""})

    def _tell(self, kind: EventKind, request: ControlRequest) -> None:
        said = {"reason": request.reason, "by": request.by, "mode": request.mode}
        why = {name: word or None for name, word in said.items()}
        record(event(self._execution, kind, occurrence=self._told, payload=why))


def read(payload: Any) -> ControlRequest:
    """Returns a signal's payload. A signal cannot be refused, so what does not fit is left out or cut."""
    if not isinstance(payload, dict):
        return ControlRequest(reason=payload[:LONG] if isinstance(payload, str) else "")
    texts = {
        key: str(payload[key])[:limit]
        for key, limit in (("reason", LONG), ("by", SHORT))
        if payload.get(key) is not None
    }
    epoch, mode = payload.get("epoch"), payload.get("mode")
    return ControlRequest(
        **texts, mode="now" if mode == "now" else "", epoch=epoch if isinstance(epoch, int) else 0
    )
