"""Pauses over the death of worker and server: nothing begins before the resume, nothing happens twice."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import Iterator

import pytest
from acceptance_place import PATIENCE, Place, eventually, kill
from acceptance_tasks import MANY, assert_complete, expected_effects

from starter.gateway import TaskClient
from taskmark.contracts import PauseMode, Progress, idempotency_key
from taskmark.errors import Refused

QUIET = 0.5
"""Seconds in which nothing may begin."""
COUNTING = """\
# Counting

## Phase: Work
### Steps
- tool: counting - Twelve items, each kept
  id: count
  with: {items: 12, seconds: 0.15}
- tool: effect - After
  id: after
"""


@pytest.fixture
def workers(place: Place) -> Iterator[list[subprocess.Popen[bytes]]]:
    """One worker, that the test may kill and replace; the last one is ended with the test."""
    running = [place.worker()]
    yield running
    kill(running[-1])


async def until_paused(client: TaskClient, execution: str) -> Progress:
    """Returns the first progress that is paused, or has ended; nobody may answer while processes are down."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            progress = await client.progress(execution)
        except Exception:
            if time.monotonic() > end:
                raise
        else:
            if progress.status == "paused" or progress.status.is_final:
                return progress
            assert time.monotonic() < end, progress
        await asyncio.sleep(0.05)


def kill_all(place: Place, workers: list[subprocess.Popen[bytes]]) -> None:
    """Kills server and worker, and starts another worker; the server comes back by itself."""
    kill(place.server())
    kill(workers[-1])
    workers.append(place.worker())


async def hold_over_deaths(
    place: Place,
    client: TaskClient,
    workers: list[subprocess.Popen[bytes]],
    chance: random.Random,
    execution: str,
    mode: PauseMode,
) -> bool:
    """Pauses at some time, kills everything before or after the pause is reached, and resumes; nothing may
    begin in between. Returns whether it was paused, and had not ended."""
    await asyncio.to_thread(eventually, lambda: place.traces(execution))
    await asyncio.sleep(chance.uniform(0, 0.8))
    try:
        await client.pause(execution, reason="lunch", by="ann", mode=mode)
    except Refused:
        return False
    if chance.random() < 0.5:
        await until_paused(client, execution)
    await asyncio.to_thread(kill_all, place, workers)
    progress = await until_paused(client, execution)
    if progress.status.is_final:
        return False
    assert progress.paused is not None
    assert (progress.paused.reason, progress.paused.by) == ("lunch", "ann")
    before = place.traces(execution)
    await asyncio.sleep(QUIET)
    assert place.traces(execution) == before
    assert (await until_paused(client, execution)).status == "paused"
    await client.resume(execution)
    return True


async def loops(
    place: Place,
    client: TaskClient,
    workers: list[subprocess.Popen[bytes]],
    chance: random.Random,
    count: int,
) -> None:
    """Runs a task so often, holds it once over the death of everything, and checks all of it."""
    paused = 0
    for _ in range(count):
        execution = await client.start(source=MANY)
        paused += await hold_over_deaths(
            place, client, workers, chance, execution, chance.choice(("", "now"))
        )
        assert_complete(await client.wait(execution, timeout=PATIENCE))
        assert place.effects(execution) == expected_effects(execution)
    print(f"{paused} of {count} were paused over the death of worker and server")
    assert paused > count // 2


async def interrupted_loops(
    place: Place,
    client: TaskClient,
    workers: list[subprocess.Popen[bytes]],
    chance: random.Random,
    count: int,
) -> None:
    """The same with a step that is interrupted, or loses its worker while it is: it goes on, and none of its
    items is done twice but the few that a killed worker had not told of."""
    repeated = 0
    for _ in range(count):
        execution = await client.start(source=COUNTING)
        await hold_over_deaths(place, client, workers, chance, execution, "now")
        result = await client.wait(execution, timeout=PATIENCE)
        assert (result.status, result.steps["count"].attempts) == ("completed", 1)
        assert result.steps["count"].output == 12
        keys = {idempotency_key(execution, "work", "count", None): "count"}
        keys |= {idempotency_key(execution, "work", "after", None): "after"}
        assert place.effects(execution) == keys
        items = [trace["what"] for trace in place.traces(execution) if trace["what"].startswith("item")]
        assert set(items) == {f"item {number}" for number in range(12)}
        repeated += len(items) - 12
    print(f"{repeated} of {12 * count} items were done again")


@pytest.mark.semantics("C11", "C3", "C1")
async def test_a_pause_survives_the_death_of_worker_and_server(
    place: Place, client: TaskClient, workers: list[subprocess.Popen[bytes]], chance: random.Random
) -> None:
    """Five times, at any moment and of both modes: every effect happens once."""
    await loops(place, client, workers, chance, 5)


@pytest.mark.soak
async def test_a_hundred_pauses_survive_the_death_of_worker_and_server(
    place: Place, client: TaskClient, workers: list[subprocess.Popen[bytes]], chance: random.Random
) -> None:
    """The same, a hundred times."""
    await loops(place, client, workers, chance, 100)


@pytest.mark.semantics("C11", "C13", "C14")
async def test_an_interrupted_step_goes_on_over_the_death_of_worker_and_server(
    place: Place, client: TaskClient, workers: list[subprocess.Popen[bytes]], chance: random.Random
) -> None:
    """Its attempt does not count, also if its worker was killed while it was interrupted."""
    await interrupted_loops(place, client, workers, chance, 2)


@pytest.mark.soak
async def test_twenty_interrupted_steps_go_on_over_the_death_of_worker_and_server(
    place: Place, client: TaskClient, workers: list[subprocess.Popen[bytes]], chance: random.Random
) -> None:
    """The same, twenty times."""
    await interrupted_loops(place, client, workers, chance, 20)
