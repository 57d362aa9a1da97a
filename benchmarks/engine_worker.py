"""A worker process of one of the two engines, for `engine.py`: it works until its standard input ends.
The name of a file there begins to sample the stacks, and they are written to it at the end.

    python benchmarks/engine_worker.py taskmark|unrecorded|handwritten METRICS_PORT

Settings come from `TASKMARK_*` variables. All have the same server, the same options and the same metrics.
`unrecorded` is Taskmark without its history store, for `recording_cost.py`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from benchmarks import handwritten
from benchmarks.sampling import Sampler
from starter import wiring
from starter.connection import connected
from starter.gateway import TaskClient
from starter.working import working
from taskmark.records import Record
from taskmark.settings import Settings


def plain_worker(client: Client, settings: Settings) -> Worker:
    """Returns the hand-written engine's worker, with the options that Taskmark's has."""
    pollers = PollerBehaviorSimpleMaximum(maximum=wiring.POLLERS)
    return Worker(
        client,
        task_queue=handwritten.QUEUE,
        workflows=[handwritten.HandwrittenTask, handwritten.HandwrittenPhase],
        activities=[handwritten.trivial],
        workflow_runner=SandboxedWorkflowRunner(),
        workflow_task_poller_behavior=pollers,
        activity_task_poller_behavior=pollers,
        sticky_queue_schedule_to_start_timeout=wiring.STICKY,
        max_heartbeat_throttle_interval=wiring.HEARTBEATS,
        default_heartbeat_throttle_interval=wiring.HEARTBEATS,
        max_eager_activity_reservations_per_workflow_task=wiring.EAGER,
        max_concurrent_activities=settings.max_concurrent_activities,
        max_concurrent_workflow_tasks=settings.max_concurrent_workflow_tasks,
    )


class Forgetful:
    """A recorder that keeps nothing."""

    def record(self, *_records: Record) -> None:
        """Forgets them."""


async def unrecorded(settings: Settings) -> None:
    """Works as Taskmark does, for nobody's records."""
    unrecording = wiring.Wiring(settings)
    unrecording.__dict__["recorder"] = Forgetful()
    async with connected(settings) as (client, _), working(client, unrecording):
        await _until_told()


async def work(kind: str) -> None:
    """Works until standard input ends, and says when it has begun."""
    settings = Settings()
    if kind == "unrecorded":
        await unrecorded(settings)
        return
    async with TaskClient.open(settings, worker=kind == "taskmark") as client:
        if kind == "taskmark":
            await _until_told()
            return
        async with plain_worker(client.client, settings):
            await _until_told()


async def _until_told() -> None:
    print("ready", flush=True)
    # The SDK's core writes its warnings to standard output, which nobody reads any more: once that pipe is
    # full, core stands still, and with it the worker.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    target = await asyncio.to_thread(sys.stdin.readline)
    if target:
        sampler = Sampler()
        sampler.start()
        await asyncio.to_thread(sys.stdin.read)
        sampler.stop(Path(target.strip()))


def main() -> None:
    kind, port = sys.argv[1:]
    metrics = PrometheusConfig(bind_address=f"127.0.0.1:{port}")
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(metrics=metrics)))
    asyncio.run(work(kind))


if __name__ == "__main__":
    main()
