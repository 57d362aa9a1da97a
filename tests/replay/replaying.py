"""Replays recorded histories as a worker would, without a server.

As a program it can replay with another copy of the workflows, and prints what went wrong as JSON:

    python replaying.py PATTERN [FOLDER-THAT-HOLDS-WORKFLOWS]
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator, Sequence

from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer


async def replay(histories: Sequence[WorkflowHistory]) -> dict[str, str]:
    """Returns why histories do not replay, by workflow id; nothing if all of them do."""
    from starter.sandbox import workflow_runner
    from workflows.phase import PhaseWorkflow
    from workflows.task import TaskWorkflow

    replayer = Replayer(
        workflows=[TaskWorkflow, PhaseWorkflow],
        workflow_runner=workflow_runner(),
        data_converter=pydantic_data_converter,
        debug_mode=True,  # slow machines are not taken for deadlocks
    )

    async def all_of_them() -> AsyncIterator[WorkflowHistory]:
        for history in histories:
            yield history

    results = await replayer.replay_workflows(all_of_them(), raise_on_replay_failure=False)
    ids = {history.run_id: history.workflow_id for history in histories}
    return {
        ids[run]: f"{type(error).__name__}: {error}" for run, error in sorted(results.replay_failures.items())
    }


if __name__ == "__main__":
    sys.path[:0] = sys.argv[2:]
    from recorded import load

    print(json.dumps(asyncio.run(replay(load(sys.argv[1])))))
    gc.collect()  # a client runtime that outlives the loop may abort the process at its exit
