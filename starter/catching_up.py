"""Tells the store of executions that Temporal ended without a word.

A workflow that is terminated cannot record its end, and one whose last worker died with its spool could
not. So a worker looks now and then at what the store takes for running.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING

from starter.backfill import backfill
from taskmark.contracts import ExecutionStatus
from taskmark.errors import Unreachable

if TYPE_CHECKING:
    from temporalio.client import Client

    from starter.wiring import Wiring

MOST = 100
"""Executions looked at in one round, per status; the next rounds find the rest."""
AT_ONCE = 50
"""Asked for in one call."""
_PLAIN = re.compile(r"[\w.:/@+-]+", re.ASCII)
"""People choose ids, and not every text can be written in a list filter: server 1.29.1 finds nothing that has
double quotes or a backslash, however they are escaped."""
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
    plain = [name for name in executions if _PLAIN.fullmatch(name)]
    found = [await _closed_of(client, plain[n : n + AT_ONCE]) for n in range(0, len(plain), AT_ONCE)]
    odd = [name for name in executions if name not in plain and await _is_closed(client, name)]
    return frozenset(odd).union(*found)


async def _closed_of(client: Client, executions: list[str]) -> set[str]:
    """Asks for many in one call. One that was reset, or begun again, has runs of both kinds."""
    from temporalio.client import WorkflowExecutionStatus
    from temporalio.service import RPCError

    names = ", ".join(f"'{name}'" for name in executions)
    running: dict[str, bool] = {}
    try:
        async for run in client.list_workflows(f"WorkflowId IN ({names})"):
            running[run.id] = running.get(run.id, False) or run.status is WorkflowExecutionStatus.RUNNING
    except RPCError:
        return set()
    return {name for name, runs in running.items() if not runs}


async def _is_closed(client: Client, execution: str) -> bool:
    from temporalio.client import WorkflowExecutionStatus
    from temporalio.service import RPCError

    try:
        described = await client.get_workflow_handle(execution).describe()
    except RPCError:
        return False
    return described.status is not WorkflowExecutionStatus.RUNNING
