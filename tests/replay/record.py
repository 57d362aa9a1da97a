"""Records the histories that the tests replay, on a real server: `python tests/replay/record.py [NAME …]`.

The tests never do: a history is a promise to executions that began before a change. Record again only
what is new, or everything as long as nobody runs an older version.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "workflows", HERE.parent / "workflows" / "plugins"):
    sys.path.insert(0, str(folder))

import recorded  # noqa: E402 - found by the path above
from engine import PATIENCE, Engine  # noqa: E402 - found by the path above
from kind_scenarios import SCENARIOS, fill  # noqa: E402 - found by the path above
from replay_scenarios import begin, outcome  # noqa: E402 - found by the path above
from temporalio.client import WorkflowHistory  # noqa: E402 - after the path above

from starter.gateway import TaskClient  # noqa: E402 - after the path above
from starter.histories import next_run  # noqa: E402 - after the path above
from taskmark.settings import Settings  # noqa: E402 - after the path above


def settings_of(root: Path) -> Settings:
    """Returns settings with short times for a folder."""
    return Settings(
        state_dir=root.parent / "state",
        root=root,
        tasks_dir=root / "tasks",
        agents_dir=root / "agents",
        plugins=("probe", "stalling", "reluctant"),
        heartbeat_seconds=1,
        progress_seconds=0.2,
        grace_seconds=1,
        step_timeout_seconds=60,
        circuit_seconds=1,
    )


async def record(names: Sequence[str], folder: Path = recorded.FOLDER) -> None:
    """Runs the scenarios one after the other and keeps the history of each workflow."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "root"
        fill(root)
        async with TaskClient.open(settings_of(root), worker=True) as client:
            for name in names:
                async with asyncio.timeout(PATIENCE):
                    await _record(Engine(client, root), name, folder)


async def _record(engine: Engine, name: str, folder: Path) -> None:
    scenario = SCENARIOS[name]
    execution = await begin(engine, name, scenario)
    await scenario.drive(engine, execution)
    status = await outcome(engine, execution)
    if status != scenario.status:
        raise SystemExit(
            f"{name} ended as {status}, not as {scenario.status}: {await engine.wait(execution)}"
        )
    for workflow in dict.fromkeys(await _workflows(engine, execution)):
        for run, history in enumerate(await _runs(engine, workflow), start=1):
            path = recorded.save(history, engine.root, folder, run)
            print(f"{path.name}: {len(history.events)} events", file=sys.stderr)


async def _runs(engine: Engine, workflow: str) -> list[WorkflowHistory]:
    """Returns the histories of the runs of a workflow, in their order."""
    handle = engine.client.client.get_workflow_handle
    last = (await handle(workflow).fetch_history()).events[0].workflow_execution_started_event_attributes
    run, found = last.first_execution_run_id, []
    while run:
        found.append(await handle(workflow, run_id=run).fetch_history())
        run = next_run(found[-1])
    return found


async def _workflows(engine: Engine, workflow: str) -> list[str]:
    """Returns the workflow and everything below it, what ran twice under one id as often."""
    found = [workflow]
    async for event in engine.client.client.get_workflow_handle(workflow).fetch_history_events():
        child = event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id
        if child:
            found += await _workflows(engine, child)
    return found


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:] or list(SCENARIOS)))
    gc.collect()  # a client that outlives its loop may abort the process at its exit
