"""Semantics C13 to C16: a pause of mode `now` also ends running steps that go on from their heartbeat."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from engine import Engine
from inspecting import temporal
from observing import (
    processes,
    stored_attempts,
    stored_events,
    temporal_status,
    unique,
    until,
    until_parent,
    until_processes,
)

from taskmark.records import AttemptRecord

QUIET = 0.25
PATIENT = "  heartbeat: 4s\n"
"""What a busy server holds lost it repeats, and that is not what is counted here."""
End = Callable[[Engine, str], Awaitable[None]]


def paced(name: str, options: str = "", *, more: str = "") -> str:
    """Returns a step of three items, each of which waits to be released."""
    return f"- tool: pacing\n  id: paced\n{PATIENT}  with: {{name: {name}{options}}}\n{more}"


def paced_for_each(name: str, items: str) -> str:
    """Returns such a step for each of some letters, which its calls have in their names."""
    given = f"  with:\n    name: {name}{{{{ item }}}}\n"
    return f"- tool: pacing\n  id: paced\n{PATIENT}  forEach: [{items}]\n{given}"


def task(*steps: str, top: str = "", phase: str = "") -> str:
    """Returns a task of one phase."""
    return f"{top}\n## Phase: Work\n{phase}\n### Steps\n" + "".join(steps)


async def begun(engine: Engine, name: str, text: str, items: int = 0) -> str:
    """Starts a task and returns its id once so many items of its paced step are done."""
    execution = await engine.start(text)
    await done(engine, execution, name, items)
    return execution


async def done(engine: Engine, execution: str, name: str, items: int) -> None:
    """Releases so many items and returns when they are done."""
    await engine.until_trace(execution, "start", name)
    for number in range(items):
        engine.release(f"{name}-{number}")
        await engine.until_trace(execution, "item", f"{name}-{number}")


def release_all(engine: Engine, name: str) -> None:
    """Releases every item."""
    engine.release(*(f"{name}-{number}" for number in range(3)))


def goings(engine: Engine, execution: str, name: str) -> list[tuple[Any, int, str]]:
    """Returns from where each call of the step began, with which attempt and key."""
    calls = [t for t in engine.traces(execution) if (t["what"], t["name"]) == ("start", name)]
    return [(t["begin"], t["attempt"], t["key"]) for t in calls]


async def paused_now(engine: Engine, execution: str) -> None:
    """Pauses in the mode `now` and returns once that is reached."""
    await engine.client.pause(execution, mode="now")
    await engine.until_status(execution, "paused")


async def rows_of(engine: Engine, execution: str, status: str, count: int = 1) -> list[AttemptRecord]:
    """Returns the stored attempts of the paced step once so many calls have the status; none has failed."""
    rows = await stored_attempts(
        engine,
        execution,
        "paced",
        lambda rows: sum(r.status == status and bool(r.input) for r in rows) >= count,
    )
    assert [row.error for row in rows if row.error] == []
    return rows


# --- C13, C14: interrupted, and going on --------------------------------------------------------------


@pytest.mark.semantics("C13", "C14", "C10")
async def test_a_step_goes_on_from_its_heartbeat_in_the_same_attempt(engine: Engine) -> None:
    """Nobody waits for its end; each item is done once, and the store tells of one attempt."""
    name = unique()
    execution = await begun(engine, name, task(paced(name), "- tool: effect\n  with: {name: after}"), 2)
    await engine.client.pause(execution, mode="now", by="ann", reason="lunch")
    progress = await engine.until_status(execution, "paused")
    assert progress.paused is not None
    assert (progress.paused.by, progress.paused.reason, progress.paused.mode) == ("ann", "lunch", "now")
    assert progress.in_flight == 0
    release_all(engine, name)
    await asyncio.sleep(QUIET)
    assert engine.names(execution, "cancelled") == [name]
    assert [row.status for row in await rows_of(engine, execution, "running")] == ["running"]
    await engine.client.resume(execution)
    result = await engine.wait(execution)
    assert (result.status, result.steps["paced"].attempts) == ("completed", 1)
    (first, *_), (second, *_) = goings(engine, execution, name)
    assert (first, second) == (0, 2)
    assert len({call[1:] for call in goings(engine, execution, name)}) == 1
    assert sorted(engine.names(execution, "item")) == [f"{name}-{number}" for number in range(3)]
    assert len(await rows_of(engine, execution, "completed")) == 1
    (event,) = await stored_events(engine, execution, "execution_paused")
    assert event.payload == {"by": "ann", "reason": "lunch", "mode": "now"}
    (event,) = await stored_events(engine, execution, "step_interrupted")
    assert (event.step, event.attempt, event.payload) == ("paced", 1, {"resume": "2"})


@pytest.mark.semantics("C13")
async def test_people_pause_in_this_mode_with_nothing_but_the_temporal_cli(engine: Engine) -> None:
    name = unique()
    execution = await begun(engine, name, task(paced(name)), 1)
    on = ("--name", "pause", "--workflow-id", execution)
    await temporal(engine, "workflow", "signal", *on, "--input", '{"mode":"now"}')
    await engine.until_status(execution, "paused")
    release_all(engine, name)
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    assert [begin for begin, *_ in goings(engine, execution, name)] == [0, 1]


@pytest.mark.semantics("C13")
async def test_one_that_kept_nothing_begins_again(engine: Engine) -> None:
    name = unique()
    execution = await begun(engine, name, task(paced(name, ", keeps: false")), 1)
    await paused_now(engine, execution)
    release_all(engine, name)
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    assert [begin for begin, *_ in goings(engine, execution, name)] == [0, 0]


@pytest.mark.semantics("C13", "C1")
async def test_steps_that_do_not_go_on_from_their_heartbeat_run_to_their_end(engine: Engine) -> None:
    name = unique()
    held = f"- tool: hold\n  id: held\n  with: {{name: {name}h}}\n"
    text = task(paced(name), held, phase="parallel: true")
    execution = await begun(engine, name, text, 1)
    await engine.until_trace(execution, "start", f"{name}h")
    await engine.client.pause(execution, mode="now")
    await engine.until_trace(execution, "cancelled", name)
    await asyncio.sleep(QUIET)
    await engine.until(execution, lambda p: p.status == "pausing" and p.in_flight == 1)
    engine.release(f"{name}h")
    await engine.until_status(execution, "paused")
    release_all(engine, name)
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    assert engine.names(execution, "start").count(f"{name}h") == 1


@pytest.mark.semantics("C13")
async def test_a_tool_in_a_thread_is_not_interrupted(engine: Engine) -> None:
    """Nothing can stop it, so it would be there twice."""
    limits = engine.client.wiring.compiler().limits
    assert {"counting", "pacing"} <= set(limits.resuming)
    assert not {"counting-thread", "shell", "write-file"} & set(limits.resuming)


@pytest.mark.semantics("C13")
async def test_the_processes_of_an_interrupted_step_are_gone(engine: Engine) -> None:
    name, marker = unique(), f"8{int(unique('')[:6], 16)}"
    tree = f'[sh, -c, "(sleep {marker} & sleep {marker} & wait) & sleep {marker} & wait"]'
    execution = await begun(engine, name, task(paced(name, f", command: {tree}")))
    await until(lambda: asyncio.to_thread(processes, marker), lambda found: len(found) >= 4)
    begin = time.monotonic()
    await paused_now(engine, execution)
    assert time.monotonic() - begin < 10
    await until_processes(marker, 0, 5)
    await engine.client.abort(execution)
    assert (await engine.wait(execution)).status == "cancelled"
    await until_processes(marker, 0, 1)


@pytest.mark.semantics("C14")
async def test_one_that_ends_as_it_is_interrupted_keeps_its_end(engine: Engine) -> None:
    name = unique()
    text = task(paced(name, ", ends: true"), "- tool: effect\n  with: {name: after}\n")
    execution = await begun(engine, name, text, 1)
    await paused_now(engine, execution)
    release_all(engine, name)
    await engine.client.resume(execution)
    result = await engine.wait(execution)
    assert result.steps["paced"].output == {"from": 0, "attempt": 1}
    assert engine.names(execution) == [name, "after"]


@pytest.mark.semantics("C14")
async def test_one_that_breaks_as_it_is_interrupted_has_not_failed(engine: Engine) -> None:
    name = unique()
    text = task(paced(name, ", breaks: true", more="  retry: {maxAttempts: 1}\n"))
    execution = await begun(engine, name, text, 1)
    await paused_now(engine, execution)
    release_all(engine, name)
    await engine.client.resume(execution)
    result = await engine.wait(execution)
    assert (result.status, result.steps["paced"].attempts) == ("completed", 1)
    assert [begin for begin, *_ in goings(engine, execution, name)] == [0, 1]


@pytest.mark.semantics("C14")
async def test_its_timeout_counts_what_it_has_run(engine: Engine) -> None:
    name = unique()
    execution = await begun(engine, name, task(paced(name, more="  timeout: 20s\n")), 1)
    await asyncio.sleep(1)
    await paused_now(engine, execution)
    await asyncio.sleep(1)
    release_all(engine, name)
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    first, second = [t["timeout"] for t in engine.traces(execution) if t["what"] == "start"]
    assert first == 20
    assert 10 < second < 19.5


@pytest.mark.semantics("C13", "C14")
async def test_interruptions_between_failures_count_the_failures_only(engine: Engine) -> None:
    """Two items of each attempt are kept, whatever meets it; the fifth call completes it."""
    name = unique()
    text = task(
        f"- tool: flaky\n  id: flaky\n  with: {{name: {name}f, failures: 1}}\n"
        "  retry: {maxAttempts: 2, backoffMs: 600}\n",
        paced(name),
        phase="parallel: true",
    )
    execution = await begun(engine, name, text, 1)
    await paused_now(engine, execution)
    await engine.client.resume(execution)
    await paused_now(engine, execution)
    release_all(engine, name)
    await engine.client.resume(execution)
    result = await engine.wait(execution)
    assert (result.status, result.steps["flaky"].attempts, result.steps["paced"].attempts) == (
        "completed",
        2,
        1,
    )


@pytest.mark.semantics("C13", "C3")
async def test_items_of_a_for_each_go_on_where_they_were(engine: Engine) -> None:
    name = unique()
    execution = await engine.start(task(paced_for_each(name, "x, y, z"), phase="maxConcurrent: 2"))
    for item in "xy":
        await done(engine, execution, f"{name}{item}", 1)
    await paused_now(engine, execution)
    for item in "xyz":
        release_all(engine, f"{name}{item}")
    await asyncio.sleep(QUIET)
    assert len(engine.names(execution, "item")) == 2
    await engine.client.resume(execution)
    result = await engine.wait(execution)
    assert [output["from"] for output in result.steps["paced"].output] == [1, 1, 0]
    assert len(set(engine.names(execution, "item"))) == len(engine.names(execution, "item")) == 9
    assert len([row for row in await rows_of(engine, execution, "completed", 3) if row.input]) == 3


# --- C15: upgraded, and below -------------------------------------------------------------------------


@pytest.mark.semantics("C15", "C2")
async def test_a_pause_becomes_one_of_mode_now_while_it_is_reached(engine: Engine) -> None:
    name = unique()
    execution = await begun(engine, name, task(paced(name)), 1)
    await engine.client.pause(execution, by="ann")
    await engine.until_status(execution, "pausing")
    await engine.client.pause(execution, by="bob", mode="now")
    progress = await engine.until_status(execution, "paused")
    assert progress.paused is not None
    assert (progress.paused.by, progress.paused.mode) == ("ann", "now")
    await engine.client.pause(execution, mode="now")
    await engine.client.pause(execution)
    release_all(engine, name)
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    assert [begin for begin, *_ in goings(engine, execution, name)] == [0, 1]
    events = await stored_events(engine, execution, "execution_paused", 2)
    assert [event.payload for event in events] == [{"by": "ann"}, {"by": "bob", "mode": "now"}]


@pytest.mark.semantics("C15", "C2")
async def test_while_paused_mode_now_changes_nothing(engine: Engine) -> None:
    name = unique()
    execution = await engine.start(task("- wait: 1s\n", paced(name)))
    await engine.until_status(execution, "running")
    await engine.client.pause(execution)
    await engine.until_status(execution, "paused")
    await engine.client.pause(execution, mode="now")
    progress = await engine.client.progress(execution)
    assert progress.paused is not None
    assert (progress.status, progress.paused.mode) == ("paused", "")
    release_all(engine, name)
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    assert len(await stored_events(engine, execution, "execution_paused")) == 1


@pytest.mark.parametrize("before", [False, True], ids=["at once", "later"])
@pytest.mark.semantics("C15")
async def test_it_reaches_sub_tasks_of_sub_tasks(engine: Engine, *, before: bool) -> None:
    name, inner, middle = unique(), unique("sub-"), unique("sub-")
    engine.file(f"tasks/{inner}.md", f"# Inner\n\n{task(paced(name))}")
    engine.file(f"tasks/{middle}.md", f"# Middle\n\n{task(f'- task: {inner}{chr(10)}  id: deep{chr(10)}')}")
    execution = await engine.start(task(f"- task: {middle}\n  id: sub\n"))
    deepest = f"{execution}/work/sub/work/deep"
    await done(engine, deepest, name, 2)
    if before:
        await engine.client.pause(execution)
        await engine.until_status(deepest, "pausing")
    await paused_now(engine, execution)
    assert engine.names(deepest, "cancelled") == [name]
    release_all(engine, name)
    await asyncio.sleep(QUIET)
    assert len(engine.names(deepest)) == 1
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    assert [begin for begin, *_ in goings(engine, deepest, name)] == [0, 2]


@pytest.mark.semantics("C13", "C3", "C14")
async def test_fast_cycles_of_both_modes_do_every_item_once(engine: Engine) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    names = [unique() for _ in range(3)]
    steps = [paced(name, ", items: 12").replace("id: paced", f"id: {name}") for name in names]
    execution = await engine.start(task(*steps, phase="parallel: true"))
    for number in range(12):
        engine.release(*(f"{name}-{number}" for name in names))
        await engine.client.pause(execution, mode=chance.choice(("", "now")))
        if chance.random() < 0.6:
            engine.release(*(f"{name}-{number + 1}" for name in names))
            await engine.client.pause(execution, mode="now")
            if await until_parent(engine, execution, "paused", "completed") == "completed":
                break
            before = len(engine.names(execution))
            await asyncio.sleep(0.05)
            assert len(engine.names(execution)) == before
        await engine.client.resume(execution)
        await asyncio.sleep(chance.random() * 0.05)
    result = await engine.wait(execution)
    assert result.status == "completed"
    assert {step.attempts for step in result.steps.values()} == {1}
    items = engine.names(execution, "item")
    assert len(items) == len(set(items)) == 36


# --- C16: ended instead -------------------------------------------------------------------------------


async def cancel(engine: Engine, execution: str) -> None:
    """Cancels as the Web UI does."""
    await engine.client.client.get_workflow_handle(execution).cancel()


async def abort(engine: Engine, execution: str) -> None:
    """Aborts."""
    await engine.client.abort(execution)


@pytest.mark.parametrize("end", [cancel, abort])
@pytest.mark.semantics("C16", "C9")
async def test_what_was_interrupted_can_be_cancelled(engine: Engine, end: End) -> None:
    name = unique()
    execution = await begun(engine, name, task(paced(name)), 1)
    await paused_now(engine, execution)
    begin = time.monotonic()
    await end(engine, execution)
    result = await engine.wait(execution)
    assert time.monotonic() - begin < 10
    assert (result.status, result.steps["paced"].status) == ("cancelled", "cancelled")
    assert await temporal_status(engine, execution) == "CANCELED"
    assert engine.names(execution) == [name]
    await rows_of(engine, execution, "cancelled")


@pytest.mark.semantics("C16", "C7")
async def test_a_step_that_goes_on_from_its_heartbeat_is_cancelled_like_any_other(engine: Engine) -> None:
    """It answers a cancellation with its details, which nobody asked for; items of a forEach too."""
    name = unique()
    step = (
        "- tool: pacing\n  id: paced\n  heartbeat: 4s\n  forEach: [x, y]\n  with:\n    name: NAME{{ item }}\n"
    )
    execution = await engine.start(task(step.replace("NAME", name)))
    for item in "xy":
        await done(engine, execution, f"{name}{item}", 1)
    await engine.client.abort(execution)
    result = await engine.wait(execution)
    assert (result.status, result.steps["paced"].status) == ("cancelled", "cancelled")
    await rows_of(engine, execution, "cancelled", 2)


@pytest.mark.semantics("C16", "C14")
async def test_a_cancel_overtakes_an_interruption_that_takes_its_time(engine: Engine) -> None:
    name = unique()
    execution = await begun(engine, name, task(paced(name, ", clings: 1")), 1)
    await engine.client.pause(execution, mode="now")
    await engine.until_trace(execution, "cancelled", name)
    await engine.client.abort(execution)
    result = await engine.wait(execution)
    assert (result.status, result.steps["paced"].status) == ("cancelled", "cancelled")
    assert engine.names(execution) == [name]
    await rows_of(engine, execution, "cancelled")


@pytest.mark.semantics("C16")
async def test_a_critical_failure_while_paused_cancels_what_was_interrupted(engine: Engine) -> None:
    """It could not finish without starting again."""
    name = unique()
    text = f"""
        ## Phase: Work
        ### Steps
        - tool: pacing
          id: paced
          heartbeat: 4s
          with: {{name: {name}}}

        ## Phase: Fails
        ### Steps
        - tool: mixed
          heartbeat: 4s
          with: {{name: held{name}, value: fail}}
        """
    execution = await begun(engine, name, text, 1)
    await engine.until_trace(execution, "start", f"held{name}")
    await engine.client.pause(execution, mode="now")
    await engine.until_trace(execution, "cancelled", name)
    engine.release(f"held{name}")
    result = await engine.wait(execution)
    assert (result.status, result.steps["paced"].status) == ("failed", "cancelled")
    assert engine.names(execution).count(name) == 1


@pytest.mark.semantics("C16", "C6")
async def test_the_time_limit_ends_a_step_that_goes_on_from_its_heartbeat(engine: Engine) -> None:
    name = unique()
    execution = await begun(engine, name, task(paced(name), top="```yaml\nmaxExecutionTime: 1s\n```\n"), 1)
    result = await engine.wait(execution)
    assert (result.status, result.steps["paced"].status) == ("timed_out", "cancelled")
    await rows_of(engine, execution, "cancelled")
