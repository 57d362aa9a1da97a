"""The same work as plain Temporal code: what somebody would write who has never heard of Taskmark.

One child workflow per phase, one activity per step, results passed up. It keeps no history store, shows no
progress, cannot be paused and knows nothing of failures but what the SDK does by itself.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pydantic import BaseModel
from temporalio import activity, workflow

QUEUE = "handwritten"


class Number(BaseModel):
    """What an activity is given."""

    n: int


class Shape(BaseModel):
    """Phases that follow each other, and how many activities each has."""

    phases: int
    steps: int
    parallel: bool
    window: int | None = None
    """How many activities of a parallel phase are in flight; None: all at once, as `gather` does it."""


@activity.defn
async def trivial(number: Number) -> dict[str, int]:
    """Returns what it was given."""
    return {"n": number.n}


@workflow.defn
class HandwrittenPhase:
    """Runs the activities of one phase."""

    @workflow.run
    async def run(self, shape: Shape) -> list[dict[str, int]]:
        if not shape.parallel:
            return [await _call(n) for n in range(shape.steps)]
        places = asyncio.Semaphore(shape.window or shape.steps)

        async def one(n: int) -> dict[str, int]:
            async with places:
                return await _call(n)

        return await asyncio.gather(*(one(n) for n in range(shape.steps)))


@workflow.defn
class HandwrittenTask:
    """Runs the phases one after the other."""

    @workflow.run
    async def run(self, shape: Shape) -> dict[str, list[dict[str, int]]]:
        own = workflow.info().workflow_id
        return {
            f"part_{number}": await workflow.execute_child_workflow(
                HandwrittenPhase.run, shape, id=f"{own}/part_{number}"
            )
            for number in range(shape.phases)
        }


async def _call(n: int) -> dict[str, int]:
    return await workflow.execute_activity(
        trivial, Number(n=n), start_to_close_timeout=timedelta(seconds=600)
    )
