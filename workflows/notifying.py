"""Tells people what happens, by tools, beside everything else.

The danger is to be in the way: what tells nobody in time is cancelled with the task, what fails is told to
the store and the log, and only the end is awaited, because after it nothing can be told any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from itertools import count, islice
from typing import Any, NamedTuple

from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception

from taskmark.contracts import (
    NOTIFY_KIND,
    TOOL_ACTIVITY,
    ExecutionStatus,
    Limits,
    StartTask,
    StepCall,
    Wait,
    Wish,
    idempotency_key,
)
from taskmark.errors import Failure, InvalidExpression, StepFailed
from taskmark.plan.budget import Warned
from taskmark.task.model import Json, Notification, TaskDefinition
from workflows.admission import Admission
from workflows.background import wind_down
from workflows.calls import GaveUp, call
from workflows.clock import within
from workflows.effort import Effort
from workflows.interrupting import Interrupted
from workflows.recording import event, record
from workflows.state import TaskState

FAILURES = 20
"""Failures that one notification tells of."""
FAILURES_TOLD = 200
"""Failures of steps that are told one by one; the end tells of others."""
OF_FAILURES = ("retrying", "step_failed")
AT_ONCE = 20
"""Notifications under way at once."""


class Told(NamedTuple):
    """Something that happened."""

    key: str
    """What tells it from everything else that happens in the execution."""
    kinds: tuple[str, ...]
    fields: dict[str, Json]


class _Observer:
    """Attempts of notifications are nobody's."""

    def attempt_started(self, attempt: int) -> None:
        """An attempt begins."""

    def attempt_used(self, resources: Any) -> None:
        """What it used is counted for nobody."""

    def attempt_failed(self, failure: Failure) -> None:
        """It failed."""

    def attempt_lost(self, request: StepCall, failure: Failure, *, deliveries: int) -> None:
        """No worker told of it."""

    def attempt_interrupted(self, interrupted: Interrupted) -> None:
        """It was interrupted; no pause reaches a notification."""


class Notifier:
    """The notifications of one execution."""

    def __init__(
        self, definition: TaskDefinition, state: TaskState, request: StartTask, limits: Limits, trace_id: str
    ) -> None:
        self._definition = definition
        self._notifications = definition.notify or ()
        self._state = state
        self._request = request
        self._limits = limits
        self._trace_id = trace_id
        self._execution = workflow.info().workflow_id
        self._effort = Effort()
        self._door = Admission(AT_ONCE, Wish())
        self._known: dict[str, None] = {}
        self._count = 0
        self._failed = 0
        """How many failures of steps it has told of."""
        if any(kind in one.on for one in self._notifications for kind in OF_FAILURES):
            state.failures = []

    async def run(self) -> None:
        """Tells whatever happens until it is cancelled."""
        tasks: list[asyncio.Task[None]] = []
        try:
            while True:
                await workflow.wait_condition(lambda: bool(self._state.failures) or any(self._news()))
                tasks = [task for task in tasks if not task.done()]
                for told in [*self._news(), *self._failures()]:
                    self._known[told.key] = None
                    tasks += [asyncio.create_task(one) for one in self._calls(told)]
        except (Exception, asyncio.CancelledError):
            await wind_down(*tasks)
            raise

    async def end(self, status: ExecutionStatus) -> None:
        """Tells how the execution ended, and returns once that is told or takes too long."""
        failures = self._all_failures()
        error = self._state.error or next(iter(failures), None)
        told = Told(
            status.value,
            (status.value,),
            {**self._about(), **_of(error), "kind": status.value, "failures": [*map(_listed, failures)]},
        )
        calls = [asyncio.create_task(one) for one in self._calls(told)]
        if calls:
            patience = max(self._timeout(one) for one in self._notifications if status.value in one.on)
            await within(patience, lambda: all(one.done() for one in calls), "to tell how it ended")
            await wind_down(*calls)

    def _news(self) -> Iterator[Told]:
        return (told for told in self._happening() if told.key not in self._known)

    def _happening(self) -> Iterator[Told]:
        for wait in self._state.waiting:
            yield self._waits(wait)
        if self._limits.tells_waits and self._state.spendings is not None:
            yield from map(self._warns, self._state.spendings.warned, count())
        paused = self._state.paused
        if paused is not None and paused.since is not None:
            by = f" by {paused.by}" if paused.by else ""
            message = f"paused{by}: {paused.reason}" if paused.reason else f"paused{by}"
            fields = {"kind": "paused", "message": message}
            yield Told(f"paused {_text(paused.since)}", ("paused",), {**self._about(), **fields})

    def _failures(self) -> Iterator[Told]:
        """Yields the failures of steps that nobody was told of. Each notification is an activity, of which a
        history has room for so many."""
        failed = self._state.failures or []
        taken = failed[: FAILURES_TOLD - self._failed]
        failed.clear()
        for slug, step in taken:
            assert step.error is not None, "only what has one is noted"
            kind = "retrying" if step.error.will_retry and not step.status.is_final else "step_failed"
            error = step.error.model_copy(update={"phase": slug, "step": step.id})
            about = {"kind": kind, "name": step.name, "attempt": step.attempt, "failures": [_listed(error)]}
            self._failed += 1
            yield Told(f"failure {self._failed}", (kind,), {**self._about(), **_of(error), **about})

    def _all_failures(self) -> list[Failure]:
        """Returns how steps have failed for good, the first of them."""
        failed = (
            step.error.model_copy(update={"phase": slug, "step": step.id})
            for slug, steps in self._state.steps.items()
            for step in steps.values()
            if step.error is not None
        )
        return list(islice(failed, FAILURES))

    def _held(self, wait: Wait) -> list[Failure]:
        """Returns how the steps failed for which a phase is held."""
        steps = self._state.steps.get(wait.phase, {})
        known = ((name, steps[name].error) for name in wait.failed[:FAILURES] if name in steps)
        place = {"phase": wait.phase}
        return [
            error.model_copy(update={**place, "step": name}) for name, error in known if error is not None
        ]

    def _waits(self, wait: Wait) -> Told:
        failures = self._held(wait) if wait.kind == "retry" else []
        kinds = ("waiting", "budget") if wait.kind == "budget" else ("waiting",)
        fields = {
            "kind": kinds[-1],
            "gate": wait.kind,
            "name": wait.name,
            "prompt": wait.prompt,
            "phase": wait.phase,
            "step": wait.step,
            "message": f"{wait.kind} “{wait.name}”: {wait.prompt}",
            "deadline": None if wait.deadline is None else _text(wait.deadline),
            "execution": wait.execution or self._execution,
            "failures": [*map(_listed, failures)],
        }
        key = f"{wait.execution} {wait.phase} {wait.key} {_text(wait.since)}"
        return Told(key, kinds, {**self._about(), **_of(next(iter(failures), None)), **fields})

    def _warns(self, warned: Warned, number: int) -> Told:
        message = f"{warned.percent} % of {warned.budget} are used: {warned.used:.9g} of {warned.limit:.9g}"
        fields = {"kind": "budget", "name": warned.budget, "message": message}
        return Told(f"warning {number}", ("budget",), {**self._about(), **fields})

    def _about(self) -> dict[str, Json]:
        empty = dict.fromkeys(("gate", "name", "prompt", "phase", "step", "message"), "")
        known = {"status": self._state.status.value, "execution": self._execution}
        nothing: dict[str, Json] = {"deadline": None, "retry_in_seconds": None, "attempt": 0, "failures": []}
        return {**empty, **_of(None), **known, **nothing}

    def _calls(self, told: Told) -> Iterator[Any]:
        for index, notification in enumerate(self._notifications):
            if any(kind in notification.on for kind in told.kinds):
                self._count += 1
                yield self._tell(told, notification, index, self._count)

    async def _tell(self, told: Told, notification: Notification, index: int, number: int) -> None:
        payload: dict[str, Json] = {"kind": told.fields["kind"], "name": notification.tool}
        try:
            await self._call(told, notification, index, number)
            record(event(self._execution, "notified", occurrence=number, payload=payload))
        except (GaveUp, InvalidExpression, StepFailed) as error:
            message = error.failure.message if isinstance(error, GaveUp) else error.message
            workflow.logger.warning("nobody was told that it is %s: %s", told.fields["kind"], message)
            payload["error"] = message
            record(event(self._execution, "notification_failed", occurrence=number, payload=payload))
        except (Exception, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("a notification broke", exc_info=error)

    async def _call(self, told: Told, notification: Notification, index: int, number: int) -> None:
        definition, tool = self._definition, notification.tool
        names = {
            "event": told.fields,
            "inputs": self._state.inputs,
            "execution": {"id": self._execution},
            "task": {"id": definition.id, "name": definition.name, "version": definition.version},
            "project": self._request.project or definition.project,
        }
        await self._effort.turn()
        arguments, places = self._effort.render_call(notification.arguments, names, definition.secrets)
        request = StepCall(
            execution_id=self._execution,
            task_id=definition.id,
            trace_id=self._trace_id,
            project=names["project"],
            phase="",
            step=f"{NOTIFY_KIND}-{number}",
            kind=NOTIFY_KIND,
            name=tool,
            description=f"{tool}: {told.fields['kind']} {told.fields['name']}".strip(),
            arguments=arguments,
            secrets=definition.secrets,
            secret_places=places,
            idempotency_key=idempotency_key(self._execution, NOTIFY_KIND, told.key, index),
            timeout=self._timeout(notification),
        )
        await call(
            TOOL_ACTIVITY + tool,
            partial(_the, request),
            retry=definition.retry,
            heartbeat=self._limits.heartbeat,
            limits=self._limits,
            admission=self._door,
            effort=self._effort,
            observer=_Observer(),
        )

    def _timeout(self, notification: Notification) -> float:
        return self._limits.tool_timeouts.get(notification.tool) or self._limits.step_timeout


def _of(error: Failure | None) -> dict[str, Json]:
    """Returns what is told of a failure: what happened and where, what else it affects, whether and when it
    is tried again, and what to do."""
    if error is None:
        return {"category": "", "hint": "", "affects": []}
    told = _listed(error)
    seconds = error.retry_in_seconds if error.will_retry else None
    return {**told, "retry_in_seconds": seconds if seconds is None else round(seconds, 3)}


def _listed(error: Failure) -> dict[str, Json]:
    return {
        "phase": error.phase or "",
        "step": error.step or "",
        "message": error.message,
        "category": error.category.value,
        "hint": error.hint or "",
        "affects": list(error.affects),
    }


def _the(request: StepCall) -> StepCall:
    return request


def _text(moment: datetime) -> str:
    return moment.isoformat()
