"""Undoes what phases with `rollback` changed, unless they completed: once, at their end or at the task's."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import is_cancelled_exception

from taskmark.contracts import ROLL_BACK_ACTIVITY, RollBack, RolledBack, StepStatus, journal_of
from taskmark.task.model import Phase
from workflows.recording import event, record
from workflows.state import TaskState

_TIMEOUT = timedelta(minutes=10)
_RETRY = RetryPolicy(maximum_attempts=20, maximum_interval=timedelta(seconds=10))


class Rollbacks:
    """Those of one execution."""

    def __init__(self, execution: str) -> None:
        self._execution = execution
        self._settled: set[str] = set()

    async def settle(self, phase: Phase, status: StepStatus) -> str | None:
        """A phase has ended so. Returns what became of its changes, to tell people, if they were undone."""
        if not phase.rollback or phase.slug in self._settled:
            return None
        self._settled.add(phase.slug)
        keep = status is StepStatus.COMPLETED
        done = await self._carried_out(phase, keep=keep)
        if keep:
            return None
        payload = done.model_dump(mode="json", exclude_defaults=True)
        record(event(self._execution, "phase_rolled_back", phase=phase.slug, payload=payload))
        if done.failed:
            workflow.logger.warning("what %s changed is not all undone: %s", phase.slug, done.failed)
            return f"not all that it changed could be undone: {'; '.join(done.failed)[:500]}"
        count = len(done.restored) + len(done.removed)
        return f"what it had changed was undone ({count} file{'' if count == 1 else 's'})"

    async def settle_rest(self, state: TaskState) -> None:
        """The task has ended, and whatever of it did not."""
        for phase in state.definition.phases if state.definition else ():
            outcome = state.outcomes[phase.slug]
            if outcome.started_at is not None:
                await self.settle(phase, outcome.status)

    async def _carried_out(self, phase: Phase, *, keep: bool) -> RolledBack:
        request = RollBack(journal=journal_of(self._execution, phase.slug), keep=keep)
        what = "keep" if keep else "undo"
        try:
            done: RolledBack = await workflow.execute_activity(
                ROLL_BACK_ACTIVITY,
                request,
                result_type=RolledBack,
                start_to_close_timeout=_TIMEOUT,
                retry_policy=_RETRY,
                summary=f"{what} what {phase.name} changed"[:200],
            )
        except Exception as error:
            if is_cancelled_exception(error):
                self._settled.discard(phase.slug)
                raise
            return RolledBack(failed=(f"{error}: {error.__cause__}"[:500],))
        return done
