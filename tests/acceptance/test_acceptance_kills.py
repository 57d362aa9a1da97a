"""Processes killed at random in the middle of a task: nothing is lost, nothing happens twice."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import Iterator
from statistics import median, quantiles

import pytest
from acceptance_place import PATIENCE, Place, bound, eventually, kill
from acceptance_tasks import BUDGET, LONG, MANY, WAITING, assert_complete, expected_effects

from starter.gateway import TaskClient
from taskmark.contracts import (
    ENGINE,
    TASK_QUEUE,
    TASK_WORKFLOW,
    Limits,
    Progress,
    StartTask,
    idempotency_key,
)

QUICK = {"worker": 2, "server": 1, "both": 2}
FULL = {"worker": 34, "server": 33, "both": 33}
"""Loops per victim: five together in the suite, a hundred in `make soak`."""
GOES_ON_WITHIN = 5.0
"""Seconds from the kill of a worker to the next step, its restart included."""


@pytest.fixture
def workers(place: Place) -> Iterator[list[subprocess.Popen[bytes]]]:
    """One worker, that the test may kill and replace; the last one is ended with the test."""
    running = [place.worker()]
    yield running
    kill(running[-1])


async def loops(
    place: Place,
    client: TaskClient,
    workers: list[subprocess.Popen[bytes]],
    chance: random.Random,
    victim: str,
    count: int,
) -> None:
    """Runs the task so often, kills once in the middle of each run, and checks all of it."""
    repeated, recoveries = 0, []
    for _ in range(count):
        execution = await client.start(source=MANY)
        await asyncio.to_thread(eventually, lambda e=execution: place.traces(e))
        await asyncio.sleep(chance.uniform(0, 0.9))
        await asyncio.to_thread(eventually, lambda e=execution: place.in_flight(e) or done(place, e))
        at = await asyncio.to_thread(strike, place, workers, victim)
        result = await client.wait(execution, timeout=PATIENCE)
        assert_complete(result)
        assert place.effects(execution) == expected_effects(execution)
        begun = [t for t in place.traces(execution) if t["what"] == "begin"]
        repeated += len(begun) - len(expected_effects(execution))
        recoveries += sorted(t["at"] - at for t in begun if t["at"] > at)[:1]
    print(f"{victim}: {repeated} attempts repeated, next step after {sorted(recoveries)}")
    if victim != "server":
        # Who is never in the middle of a step proves nothing.
        assert repeated > 0
        assert median(recoveries) < bound(GOES_ON_WITHIN)
        assert count < 10 or quantiles(recoveries, n=20)[-1] < bound(GOES_ON_WITHIN)


def done(place: Place, execution: str) -> bool:
    """Whether everything has happened already: then the kill comes too late, which is no fault."""
    return place.effects(execution) == expected_effects(execution)


def strike(place: Place, workers: list[subprocess.Popen[bytes]], victim: str) -> float:
    """Kills worker, server or both, starts another worker, and returns when it was."""
    at = time.time()
    if victim in ("server", "both"):
        at = kill(place.server())
    if victim in ("worker", "both"):
        at = kill(workers[-1])
        workers.append(place.worker())
    return at


@pytest.mark.semantics("C11", "T14")
@pytest.mark.parametrize("victim", QUICK)
async def test_a_task_completes_whoever_is_killed_in_the_middle(
    place: Place,
    client: TaskClient,
    workers: list[subprocess.Popen[bytes]],
    chance: random.Random,
    victim: str,
) -> None:
    """Every effect happens once by its key, the result is right, and lost attempts do not count."""
    await loops(place, client, workers, chance, victim, QUICK[victim])


@pytest.mark.soak
@pytest.mark.parametrize("victim", FULL)
async def test_a_hundred_tasks_complete_whoever_is_killed(
    place: Place,
    client: TaskClient,
    workers: list[subprocess.Popen[bytes]],
    chance: random.Random,
    victim: str,
) -> None:
    """The same, a hundred times."""
    await loops(place, client, workers, chance, victim, FULL[victim])


async def until(client: TaskClient, execution: str, status: str) -> Progress:
    """Returns the first progress with the status; nobody may answer while processes are down."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            progress = await client.progress(execution)
        except Exception:
            if time.monotonic() > end:
                raise
        else:
            if progress.status == status:
                return progress
            assert time.monotonic() < end, progress
        await asyncio.sleep(0.05)


@pytest.mark.semantics("C11", "C3")
async def test_a_paused_execution_stays_paused_over_the_death_of_both(
    place: Place, client: TaskClient, workers: list[subprocess.Popen[bytes]]
) -> None:
    """No step begins before the resume, and none happens twice after it."""
    execution = await client.start(source=LONG)
    await asyncio.to_thread(eventually, lambda: place.begun(execution, "long"))
    await client.pause(execution, reason="lunch", by="ann")
    await until(client, execution, "paused")
    await asyncio.to_thread(strike, place, workers, "both")
    progress = await until(client, execution, "paused")
    await asyncio.sleep(1)
    assert progress.paused is not None
    assert (progress.paused.reason, progress.paused.by) == ("lunch", "ann")
    assert not place.begun(execution, "after")
    await client.resume(execution)
    assert (await client.wait(execution, timeout=PATIENCE)).status == "completed"
    assert len(place.begun(execution, "long")) == len(place.begun(execution, "after")) == 1


@pytest.mark.semantics("C11", "G1")
async def test_a_waiting_execution_keeps_waiting_over_the_death_of_both(
    place: Place, client: TaskClient, workers: list[subprocess.Popen[bytes]]
) -> None:
    """Its gate is open as before, and takes the decision."""
    execution = await client.start(source=WAITING)
    before = await until(client, execution, "waiting")
    await asyncio.to_thread(strike, place, workers, "both")
    after = await until(client, execution, "waiting")
    assert after.waiting == before.waiting
    await client.approve(execution, "go", by="ann")
    assert (await client.wait(execution, timeout=PATIENCE)).status == "completed"
    assert [len(place.begun(execution, step)) for step in ("before", "after")] == [1, 1]


@pytest.mark.semantics("B10", "C11")
async def test_a_budget_that_is_waited_for_survives_worker_and_server(
    place: Place, client: TaskClient, workers: list[subprocess.Popen[bytes]]
) -> None:
    """What was used is known as before, and what remains goes on once the limit is raised."""
    (place.root / "agents" / "yes.md").write_text("---\nname: yes\nmodel: command:echo yes\n---\nSay yes.\n")
    execution = await client.start(source=BUDGET)
    before = await until(client, execution, "waiting")
    await asyncio.to_thread(strike, place, workers, "both")
    after = await until(client, execution, "waiting")
    assert (after.waiting, after.budget) == (before.waiting, before.budget)
    await client.raise_limit(execution, "agentCalls", 4)
    await asyncio.to_thread(strike, place, workers, "worker")
    result = await client.wait(execution, timeout=PATIENCE)
    assert (result.status, len(result.steps["asked"].output)) == ("completed", 4)
    assert result.usage is not None
    assert result.usage.agent_calls == 4


TOLD = "# Told\n\n## Phase: A\n### Steps\n- tool: told\n  retry: {maxAttempts: 2, backoffMs: 10}\n"


async def lose_workers(place: Place, client: TaskClient, times: int) -> tuple[int, int, str]:
    """Runs a step whose attempts kill their workers, each of which is replaced; returns how often it was
    begun, its attempts as they count, and how the task ended."""
    source = f"# Deadly\n\n## Phase: A\n### Steps\n- tool: deadly\n  id: deadly\n  with: {{times: {times}}}\n"
    compiler = client.wiring.compiler()
    definition = compiler.definition(StartTask(source=source))
    start = StartTask(definition=definition, limits=Limits(heartbeat=0.5, lost_attempts=10, backoff_cap=0.1))
    execution = f"exec-deadly-{times}"
    await client.client.start_workflow(TASK_WORKFLOW, start, id=execution, task_queue=TASK_QUEUE)
    waiting = asyncio.create_task(client.wait(execution, timeout=4 * PATIENCE))
    workers = [place.worker(), place.worker()]
    while not waiting.done():
        workers = [place.worker() if worker.poll() is not None else worker for worker in workers]
        await asyncio.sleep(0.05)
    for worker in workers:
        kill(worker)
    result = await waiting
    step = result.steps["deadly"]
    return len(place.begun(execution, "deadly")), step.attempts, str(result.status)


@pytest.mark.semantics("R6")
async def test_an_attempt_lost_with_its_worker_does_not_count(place: Place, client: TaskClient) -> None:
    """Two workers die of a step; the third one completes it, in its first attempt."""
    assert await lose_workers(place, client, 2) == (3, 1, "completed")


@pytest.mark.semantics("Q7")
@pytest.mark.parametrize(
    ("deliveries", "ends"),
    [(10, [("completed", 2)]), (1, [("failed", None), ("completed", 1)])],
    ids=["delivered again", "given up"],
)
async def test_the_store_believes_no_end_that_temporal_never_heard_of(
    place: Place, client: TaskClient, deliveries: int, ends: list[tuple[str, object]]
) -> None:
    """A worker dies between telling the store and telling the server. The call is delivered again, and its
    second end counts; or it is given up, and then it failed."""
    definition = client.wiring.compiler().definition(StartTask(source=TOLD))
    limits = Limits(heartbeat=0.5, lost_attempts=deliveries, backoff_cap=0.1)
    start = StartTask(definition=definition, limits=limits)
    execution = f"exec-told-{deliveries}"
    await client.client.start_workflow(TASK_WORKFLOW, start, id=execution, task_queue=TASK_QUEUE)
    dying = place.worker()
    await asyncio.to_thread(eventually, lambda: dying.poll() is not None)
    living = place.worker()
    assert (await client.wait(execution, timeout=PATIENCE)).status == "completed"
    kill(living)
    for _ in range(2):
        again = place.command("backfill")
        assert await asyncio.to_thread(again.wait, PATIENCE) == 0, place.said(again)
        told = client.wiring.history.attempts(execution)
        assert [(str(one.status), one.output) for one in told] == ends
        assert str(dying.pid) not in str([one.worker for one in told if one.status == "completed"])


@pytest.mark.soak
@pytest.mark.semantics("R6")
async def test_ten_attempts_lost_in_a_row_count_as_one(place: Place, client: TaskClient) -> None:
    """Ten workers die of it, which counts as one failed attempt; the second attempt completes it."""
    assert await lose_workers(place, client, 10) == (11, 2, "completed")


CONTINUING = """\
# Continuing

## Phase: Work
maxConcurrent: 5
### Steps
- tool: effect
  id: all
  forEach: [NUMBERS]
"""


@pytest.mark.semantics("C11", "L1")
async def test_a_phase_that_continues_as_new_survives_the_death_of_its_worker(
    place: Place, client: TaskClient, workers: list[subprocess.Popen[bytes]]
) -> None:
    """Killed in the middle, in whichever run of the phase it then is: each item takes effect once."""
    count = 150
    source = CONTINUING.replace("NUMBERS", ", ".join(map(str, range(count))))
    definition = client.wiring.compiler().definition(StartTask(source=source))
    start = StartTask(definition=definition, limits=Limits(history_events=200, window=5, engine=ENGINE))
    execution = f"exec-{time.time_ns()}-continuing"
    await client.client.start_workflow(TASK_WORKFLOW, start, id=execution, task_queue=TASK_QUEUE)
    for done in (20, 80):
        await asyncio.to_thread(eventually, lambda n=done: len(place.effects(execution)) >= n)
        await asyncio.to_thread(strike, place, workers, "worker")
    result = await client.wait(execution, timeout=PATIENCE)
    assert result.status == "completed", result.error
    keys = {idempotency_key(execution, "work", "all", n) for n in range(count)}
    assert set(place.effects(execution)) == keys
    phase = await client.client.get_workflow_handle(f"{execution}/work").fetch_history()
    first = phase.events[0].workflow_execution_started_event_attributes
    assert first.first_execution_run_id != first.original_execution_run_id  # it did continue as new
