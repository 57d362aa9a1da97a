"""A query that waited for a worker, and a signal that came meanwhile: nothing is decided at a wrong time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from engine import PATIENCE

from starter import sandbox
from starter.gateway import TaskClient
from starter.wiring import Wiring
from starter.working import working
from taskmark.settings import Settings

WAITS = "# Waits\n\n## Phase: A\n### Steps\n- approval: go - Go?\n- validation: 1 == 1 - Yes\n"
TRIES = 8
"""Whether the query or the signal's workflow task reaches the worker first is up to the server."""

Activations = dict[str, list[tuple[int, bool, list[str]]]]


@pytest.fixture
def activations(monkeypatch: pytest.MonkeyPatch) -> Activations:
    """Every activation of each run: its time, whether it is a replay, and what it brings."""
    found: Activations = defaultdict(list)
    activate = sandbox._Instance.activate

    def noted(self: sandbox._Instance, act: Any) -> Any:
        jobs = [job.WhichOneof("variant") for job in act.jobs]
        found[act.run_id].append((act.timestamp.ToNanoseconds(), act.is_replaying, jobs))
        return activate(self, act)

    monkeypatch.setattr(sandbox._Instance, "activate", noted)
    return found


def after_running_ahead(run: list[tuple[int, bool, list[str]]]) -> list[list[str]]:
    """Returns what came after a query that followed a step ahead at an old time, if there was one."""
    for number, (now, replays, jobs) in enumerate(run[1:], 1):
        if not replays and now == run[number - 1][0] and "query_workflow" not in jobs:
            later = [jobs for _, _, jobs in run[number + 1 :]]
            while later and later[0] == ["query_workflow"]:
                later.pop(0)
            return later
    return []


@pytest.mark.semantics("Q12")
async def test_a_workflow_that_a_query_led_ahead_of_its_history_leaves_the_cache(
    tmp_path: Path, activations: Activations
) -> None:
    """Else what it decided then, at the time of the task before, would be in its history, and no replay would
    decide it so: the execution would stand still for ever once its worker dies."""
    settings = Settings(state_dir=tmp_path / "state", root=tmp_path)
    async with TaskClient.open(settings, worker=False) as client:
        for _ in range(TRIES):
            activations.clear()
            await _query_and_signal_without_a_worker(client, Wiring(settings))
            later = [after for run in activations.values() if (after := after_running_ahead(run))]
            if later:
                break
    assert later, "no query came before the signal's own workflow task"
    assert all(after[0] == ["remove_from_cache"] for after in later), later


async def _query_and_signal_without_a_worker(client: TaskClient, wiring: Wiring) -> None:
    async with working(client.client, wiring):
        name = await client.start(source=WAITS)
        async with asyncio.timeout(PATIENCE):
            while not (await client.progress(name)).waiting:
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)  # until the parent's answer to the phase has been taken, too
    phase = client.client.get_workflow_handle(f"{name}/a")
    queries = [asyncio.create_task(phase.query("state")) for _ in range(6)]
    await asyncio.sleep(0.2)
    await phase.signal("control", {"wish": {"epoch": 1, "paused": True}})
    async with working(client.client, wiring):
        await asyncio.gather(
            *queries, return_exceptions=True
        )  # on a busy machine some are not answered in time
        await client.abort(name)
        assert (await client.wait(name, timeout=PATIENCE)).status == "cancelled"
