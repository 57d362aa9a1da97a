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

from starter.replaying import replay_each


async def replay(histories: Sequence[WorkflowHistory]) -> dict[str, str]:
    """Returns why histories do not replay, by workflow id; nothing if all of them do."""

    async def each() -> AsyncIterator[WorkflowHistory]:
        for history in histories:
            yield history

    return {history.workflow_id: problem async for history, problem in replay_each(each()) if problem}


if __name__ == "__main__":
    sys.path[:0] = sys.argv[2:]
    from recorded import load

    print(json.dumps(asyncio.run(replay(load(sys.argv[1])))))
    gc.collect()  # a client runtime that outlives the loop may abort the process at its exit
