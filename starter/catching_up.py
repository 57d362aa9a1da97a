"""Tells the store of executions that Temporal ended without a word.

A workflow that is terminated cannot record its end, and one whose last worker died with its spool could
not. So a worker looks now and then at what the store takes for running.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from starter.backfill import backfill
from taskmark.contracts import ExecutionStatus
from taskmark.errors import Unreachable

if TYPE_CHECKING:
    from temporalio.client import Client

    from starter.wiring import Wiring

MOST = 100
"""Executions looked at in one round, per status; the next rounds find the rest."""
AT_ONCE = 8
_LIVING = tuple(status for status in ExecutionStatus if not status.is_final)
_log = logging.getLogger("taskmark.store")


async def keep_up(client: Client, wiring: Wiring) -> None:
    """Looks every `catch_up_seconds`, until it is cancelled; what goes wrong waits for the next round.

    What has just ended may still be on its way to the store, so only what was closed in two rounds in a
    row is read again.
    """
    closed: frozenset[str] = frozenset()
    while True:
        await asyncio.sleep(wiring.settings.catch_up_seconds)
        try:
            now_closed = await closed_in_temporal(client, await asyncio.to_thread(_living, wiring))
            if missed := closed & now_closed:
                _log.info("reading again what ended without a word: %s", ", ".join(sorted(missed)))
                await backfill(client, wiring.recorder, only=sorted(missed))
            closed = now_closed - missed
        except Unreachable as error:
            _log.debug("the store cannot be compared with Temporal: %s", error)


def _living(wiring: Wiring) -> list[str]:
    """Returns what the store takes for not ended in Temporal. Raises `Unreachable`."""
    return [name for status in _LIVING for name in wiring.history.in_temporal(status, limit=MOST)]


async def closed_in_temporal(client: Client, executions: list[str]) -> frozenset[str]:
    """Returns those of the executions that have ended in Temporal; one it cannot tell of is none of them."""
    from temporalio.client import WorkflowExecutionStatus
    from temporalio.service import RPCError

    turns = asyncio.Semaphore(AT_ONCE)

    async def ended(execution: str) -> bool:
        async with turns:
            try:
                described = await client.get_workflow_handle(execution).describe()
            except RPCError:
                return False
        return described.status is not WorkflowExecutionStatus.RUNNING

    answers = await asyncio.gather(*map(ended, executions))
    return frozenset(name for name, has_ended in zip(executions, answers, strict=True) if has_ended)
