"""Semantics, S10 to S15: tasks that start by themselves, on the real server's schedules."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from engine import Engine
from inspecting import temporal
from observing import unique, until

from starter.connection import connected
from starter.gateway import TaskClient
from starter.schedules import ScheduleView
from starter.wiring import Wiring
from taskmark.contracts import STATUS_ATTRIBUTE, TASK_ATTRIBUTE, ExecutionStatus
from taskmark.errors import InvalidInputs, InvalidTask, Refused
from taskmark.settings import Settings
from taskmark.store.filtering import ExecutionFilter

EVERY_SECOND = "* * * * * * *"
NEVER = "0 0 1 1 * 2099"
"""The first of January of a year that no test sees."""

QUICK = """
# Quick
```yaml
description: Does little.
requirements:
  word: {type: string, default: now}
schedule: {cron: 0 6 * * 1-5, timezone: Europe/Berlin, catchUp: 10 minutes}
```
## Phase: Only
### Steps
- validation: inputs.word != "never" - It must not be never
### Outputs
- word: inputs.word
"""
HOLDING = """
# Holding
## Phase: Only
### Steps
- tool: hold
  with: {name: NAME}
"""


def task(engine: Engine, text: str = QUICK) -> str:
    """Writes a task of its own and returns its id."""
    name = unique("scheduled-")
    engine.file(f"tasks/{name}.md", text.strip().replace("NAME", name))
    return name


@pytest.fixture
async def schedules(engine: Engine) -> AsyncIterator[Any]:
    """What makes schedules; those of the test are gone at its end, and what they run is let go."""
    found = engine.client.schedules
    before = {one.name for one in await found.list()}
    yield found
    for view in await found.list():
        if view.name not in before:
            await found.delete(view.name)
            engine.release(view.task)


async def started(schedules: Any, name: str, count: int = 1) -> ScheduleView:
    """Returns a schedule once it has started so many."""

    async def look() -> ScheduleView:
        view: ScheduleView = await schedules.show(name)
        return view

    return await until(look, lambda view: view.started >= count)


# --- S10: when, what and as what ----------------------------------------------------------------------


@pytest.mark.semantics("S10")
async def test_a_schedule_starts_its_task_with_its_inputs_and_everything_shows_it(
    engine: Engine, schedules: Any
) -> None:
    name = task(engine)
    view = await schedules.set(name, cron=EVERY_SECOND, timezone="UTC", inputs={"word": "soon"})
    assert (view.name, view.task, view.inputs) == (f"taskmark-{name}", name, {"word": "soon"})
    await started(schedules, name)
    await schedules.pause(name)
    run = (await schedules.show(name)).recent[-1]
    assert re.fullmatch(rf"exec-{name}-\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ", run.execution_id)

    result = await engine.wait(run.execution_id)
    assert result.outputs == {"only": {"word": "soon"}}
    stored = await until(
        lambda: engine.client.history(10, ExecutionFilter(task=name, status=(ExecutionStatus.COMPLETED,))),
        lambda found: run.execution_id in [one.execution_id for one in found],
    )
    assert {(one.cause, one.task_id) for one in stored} == {("schedule", name)}
    by_prefix = await asyncio.to_thread(engine.client.wiring.history.execution, run.execution_id[:-1])
    assert by_prefix.execution_id == run.execution_id
    described = await engine.client.client.get_workflow_handle(run.execution_id).describe()
    attributes = {pair.key.name: pair.value for pair in described.typed_search_attributes}
    assert (attributes[TASK_ATTRIBUTE], attributes[STATUS_ATTRIBUTE]) == (name, "completed")
    assert await described.static_summary() == "Quick"


@pytest.mark.semantics("S10")
async def test_each_execution_compiles_the_file_as_it_is_then(engine: Engine, schedules: Any) -> None:
    name = task(engine)
    await schedules.set(name, cron=NEVER)
    first = await schedules.trigger(name)
    assert (await engine.wait(first)).outputs == {"only": {"word": "now"}}
    await asyncio.sleep(1)  # ids of triggered executions have seconds
    engine.file(f"tasks/{name}.md", QUICK.strip().replace("default: now", "default: later"))
    second = await schedules.trigger(name)
    assert (await engine.wait(second)).outputs == {"only": {"word": "later"}}
    await asyncio.sleep(1)
    engine.file(f"tasks/{name}.md", QUICK.strip().replace("validation:", "validaton:"))
    third = await engine.wait(await schedules.trigger(name))
    assert (third.status, third.error.type) == ("failed", "invalid_task")
    assert "validaton" in third.error.message


@pytest.mark.semantics("S10")
async def test_times_are_those_of_the_time_zone(engine: Engine, schedules: Any) -> None:
    name = task(engine)
    berlin = await schedules.set(name)
    assert (berlin.cron, berlin.timezone, berlin.catch_up_seconds) == ("0 6 * * 1-5", "Europe/Berlin", 600)
    local = [moment.astimezone(ZoneInfo("Europe/Berlin")) for moment in berlin.next]
    assert len(local) == 10
    assert {(moment.hour, moment.minute) for moment in local} == {(6, 0)}
    assert all(moment.weekday() < 5 for moment in local)
    tokyo = await schedules.set(name, timezone="Asia/Tokyo")
    assert {moment.astimezone(UTC).hour for moment in tokyo.next} == {21}


@pytest.mark.semantics("S10")
async def test_a_start_by_hand_of_a_file_with_a_schedule_runs_once(engine: Engine) -> None:
    name = task(engine)
    result = await engine.client.execute(name)
    assert result.status == "completed"
    assert f"taskmark-{name}" not in {view.name for view in await engine.client.schedules.list()}


@pytest.mark.semantics("S10", "S12")
async def test_the_temporal_cli_sees_and_steers_the_same_schedules(engine: Engine, schedules: Any) -> None:
    name = task(engine)
    await schedules.set(name)
    on = ("--schedule-id", f"taskmark-{name}")

    async def listed() -> list[str]:
        return [one["scheduleId"] for one in await temporal(engine, "schedule", "list") or []]

    await until(listed, lambda found: f"taskmark-{name}" in found)
    described = await temporal(engine, "schedule", "describe", *on)
    assert described["schedule"]["spec"]["timezoneName"] == "Europe/Berlin"
    assert described["schedule"]["action"]["startWorkflow"]["workflowType"]["name"] == "TaskWorkflow"
    await temporal(engine, "schedule", "toggle", "--pause", "--reason", "by hand", *on)
    view = await schedules.show(name)
    assert (view.paused, view.note) == (True, "by hand")
    await temporal(engine, "schedule", "trigger", *on)
    assert (await engine.wait((await started(schedules, name)).recent[0].execution_id)).status == "completed"


@pytest.mark.semantics("S10")
async def test_schedules_that_others_made_are_shown_as_far_as_they_can_be_read(
    engine: Engine, schedules: Any
) -> None:
    """One that is odd hides no other."""
    name, gone = task(engine), task(engine)
    start = ("--type", "TaskWorkflow", "--task-queue", "elsewhere")

    async def make(id: str, brings: object, *when: str) -> None:
        to_start = ("--schedule-id", id, "--workflow-id", f"exec-{id}", "--input", json.dumps(brings))
        await temporal(engine, "schedule", "create", *to_start, *start, *when)

    await make(f"{name}-cron", {"task": name}, "--cron", "*/15 6 * * 1-5", "--time-zone", "Europe/Berlin")
    await make(f"{name}-often", {"task": name}, "--interval", "1h/5m")
    await make(f"{name}-odd", {"task": name, "inputs": "all", "project": 7}, "--calendar", '{"hour": "3"}')
    await make(f"{name}-none", [1], "--cron", "@daily")
    await schedules.set(gone)
    (engine.root / "tasks" / f"{gone}.md").unlink()

    async def listed() -> dict[str, ScheduleView]:
        found = [one for one in await schedules.list() if one.name.startswith((name, f"taskmark-{gone}"))]
        return {one.name.removeprefix(f"{name}-"): one for one in found}

    found = await until(listed, lambda found: len(found) == 5)
    cron, often, odd, none, lost = (
        found[key] for key in ("cron", "often", "odd", "none", f"taskmark-{gone}")
    )
    assert (cron.cron, cron.timezone, cron.problems) == ("*/15 6 * * 1-5", "Europe/Berlin", ())
    assert (often.cron, often.other_times) == ("", ("every 1 hour, offset 5 minutes",))
    assert (odd.cron, odd.inputs, odd.project) == ("0 3 * * *", {}, None)
    assert [problem.split(":")[1].strip() for problem in odd.problems] == ["inputs", "project"]
    assert (none.task, none.problems) == ("", ("what it brings cannot be read: it is no JSON object",))
    assert lost.problems == (f"there is no file of the task {gone} here",)
    for view in found.values():
        await schedules.delete(view.name)


# --- S11: while the one before still runs ---------------------------------------------------------------


@pytest.mark.semantics("S11")
async def test_skip_leaves_times_out_while_one_runs(engine: Engine, schedules: Any) -> None:
    name = task(engine, HOLDING)
    await schedules.set(name, cron=EVERY_SECOND)

    async def look() -> ScheduleView:
        view: ScheduleView = await schedules.show(name)
        return view

    view = await until(look, lambda view: view.skipped >= 2)
    assert (view.started, len(view.running)) == (1, 1)
    assert await schedules.trigger(name) is None


@pytest.mark.semantics("S11")
async def test_buffer_one_starts_one_more_after_it(engine: Engine, schedules: Any) -> None:
    name = task(engine, HOLDING)
    await schedules.set(name, cron=NEVER, overlap="bufferOne")
    first = await schedules.trigger(name)
    await engine.until_trace(first, "start", name)
    handle = engine.client.client.get_schedule_handle(f"taskmark-{name}")
    for _ in range(3):
        await handle.trigger()
        await asyncio.sleep(1.1)
    assert (await schedules.show(name)).started == 1
    engine.release(name)
    view = await started(schedules, name, 2)
    await engine.wait(view.recent[0].execution_id)
    await asyncio.sleep(1)
    assert (await schedules.show(name)).started == 2


@pytest.mark.semantics("S11")
@pytest.mark.parametrize(("overlap", "end"), [("cancelOther", "cancelled"), ("terminateOther", "failed")])
async def test_the_one_before_is_ended_for_the_next(
    engine: Engine, schedules: Any, overlap: str, end: str
) -> None:
    name = task(engine, HOLDING)
    await schedules.set(name, cron=NEVER, overlap=overlap)
    first = await schedules.trigger(name)
    await engine.until_trace(first, "start", name)
    await asyncio.sleep(1)  # ids of triggered executions have seconds
    second = await schedules.trigger(name)
    assert (await engine.wait(first)).status == end
    assert second is not None
    await engine.until_trace(second, "start", name)


@pytest.mark.semantics("S11")
async def test_allow_all_starts_another_beside_it(engine: Engine, schedules: Any) -> None:
    name = task(engine, HOLDING)
    await schedules.set(name, cron=EVERY_SECOND, overlap="allowAll")
    view = await started(schedules, name, 2)
    for run in view.recent[:2]:
        await engine.until_trace(run.execution_id, "start", name)
    assert "end" not in {trace["what"] for run in view.recent for trace in engine.traces(run.execution_id)}


# --- S12 and S14: pause, trigger, backfill ---------------------------------------------------------------


@pytest.mark.semantics("S12", "S14")
async def test_a_paused_schedule_starts_only_what_is_triggered(engine: Engine, schedules: Any) -> None:
    name = task(engine)
    await schedules.set(name, cron=EVERY_SECOND)
    await started(schedules, name)
    await schedules.pause(name, note="maintenance")
    await asyncio.sleep(0.5)
    before = await schedules.show(name)
    assert (before.paused, before.note, before.next) == (True, "maintenance", ())
    await asyncio.sleep(2.5)
    assert (await schedules.show(name)).started == before.started
    assert await schedules.trigger(name)
    paused_until = datetime.now(UTC)
    await schedules.resume(name, note="done")
    after = await started(schedules, name, before.started + 2)
    assert all(run.scheduled_at > paused_until - timedelta(seconds=1) for run in after.recent[:1])
    missed = [run for run in after.recent if before.recent[0].scheduled_at < run.scheduled_at < paused_until]
    assert len(missed) == 1, "only the one that was triggered"
    assert (after.paused, after.note) == (False, "done")


@pytest.mark.semantics("S14")
async def test_a_backfill_starts_each_time_of_the_past_both_ends_included(
    engine: Engine, schedules: Any
) -> None:
    name = task(engine)
    await schedules.set(name, cron="0 6 * * *", timezone="Europe/Berlin", inputs={"word": "back"})
    start = datetime(2026, 1, 5, 6, tzinfo=ZoneInfo("Europe/Berlin"))
    await schedules.backfill(name, start, start + timedelta(days=2))
    view = await started(schedules, name, 3)
    wanted = [f"exec-{name}-2026-01-0{day}T05:00:00Z" for day in (5, 6, 7)]
    assert sorted(run.execution_id for run in view.recent) == wanted
    for execution in wanted:
        assert (await engine.wait(execution)).outputs == {"only": {"word": "back"}}
    with pytest.raises(InvalidInputs, match="zone"):
        await schedules.backfill(name, datetime(2026, 1, 1), datetime(2026, 1, 2))
    with pytest.raises(InvalidInputs, match="before it begins"):
        await schedules.backfill(name, start, start - timedelta(days=1))


# --- S15: set, and wrong words ---------------------------------------------------------------------------


@pytest.mark.semantics("S15")
async def test_set_again_makes_it_as_it_is_said_and_a_pause_stays(engine: Engine, schedules: Any) -> None:
    name = task(engine)
    await schedules.set(name, cron=NEVER, overlap="bufferAll", inputs={"word": "a"})
    await schedules.pause(name, note="wait")
    view = await schedules.set(f"tasks/{name}.md", catch_up=0)
    assert (view.cron, view.overlap, view.inputs) == ("0 6 * * 1-5", "skip", {})
    assert (view.paused, view.note, view.catch_up_seconds) == (True, "wait", 10)
    assert [one.name for one in await schedules.list() if one.task == name] == [f"taskmark-{name}"]
    await schedules.delete(name)
    with pytest.raises(Refused, match="no schedule"):
        await schedules.show(name)


@pytest.mark.semantics("S15")
async def test_what_is_wrong_is_refused_with_the_reason_and_changes_nothing(
    engine: Engine, schedules: Any
) -> None:
    name, bare = task(engine), task(engine, HOLDING)
    before = await schedules.set(name)
    for told, reason in (
        ({"cron": "every day"}, "no cron expression"),
        ({"cron": "0 6 * * 1#2"}, "no cron expression"),
        ({"timezone": "Mars/Base"}, "no time zone `Mars/Base`"),
        ({"overlap": "never"}, "no overlap; known: skip, bufferOne"),
        ({"inputs": {"wort": "x"}}, "wort"),
    ):
        with pytest.raises(InvalidInputs, match=reason):
            await schedules.set(name, **told)
    with pytest.raises(Refused, match="Minute is not in range"):
        await schedules.set(name, cron="61 6 * * *")
    assert await schedules.show(name) == before
    with pytest.raises(InvalidInputs, match="nothing says when") as caught:
        await schedules.set(bare)
    assert "schedule: {cron: 0 6 * * 1-5" in str(caught.value.hint)
    with pytest.raises(InvalidTask):
        await schedules.set("no-such-task", cron=NEVER)
    for call in (schedules.pause, schedules.trigger, schedules.delete):
        with pytest.raises(Refused, match="there is no schedule nothing"):
            await call("nothing")


@pytest.mark.semantics("S15")
async def test_a_file_where_no_worker_reads_cannot_be_scheduled(
    engine: Engine, tmp_path: Path, schedules: Any
) -> None:
    (tmp_path / "far.md").write_text(QUICK.strip())
    with pytest.raises(InvalidInputs, match="outside of"):
        await schedules.set(str(tmp_path / "far.md"))


@pytest.mark.semantics("S15")
async def test_a_task_can_have_several_schedules_by_names_of_their_own(
    engine: Engine, schedules: Any
) -> None:
    name = task(engine)
    for own in ("eu", "us"):
        await schedules.set(name, name=f"{name}-{own}", cron=NEVER, inputs={"word": own})
    runs = [await schedules.trigger(f"{name}-{own}") for own in ("eu", "us")]
    assert [(await engine.wait(run)).outputs["only"]["word"] for run in runs] == ["eu", "us"]


# --- S13: a server that was down -------------------------------------------------------------------------


@pytest.mark.semantics("S13")
async def test_what_was_due_while_no_server_ran_is_caught_up(tmp_path: Path) -> None:
    """An embedded server of its own ends with its last user, and comes back."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "quick.md").write_text(QUICK.strip())
    settings = Settings(state_dir=tmp_path / "state", root=tmp_path, tasks_dir=tmp_path / "tasks")
    async with connected(settings) as (client, server):
        schedules = TaskClient(client, Wiring(settings), server).schedules
        await schedules.set("quick", cron=EVERY_SECOND, overlap="allowAll", catch_up=60)
        await started(schedules, "quick")
    down = datetime.now(UTC) + timedelta(seconds=1)
    await asyncio.sleep(4)
    up = datetime.now(UTC)
    async with connected(settings) as (client, server):
        schedules = TaskClient(client, Wiring(settings), server).schedules

        async def caught_up() -> list[str]:
            found = [one.id async for one in client.list_workflows("WorkflowType = 'TaskWorkflow'")]
            moments = [datetime.fromisoformat(name.removeprefix("exec-quick-")) for name in found]
            return [moment.isoformat() for moment in moments if down < moment < up]

        assert len(await until(caught_up, lambda found: len(found) >= 3)) >= 3
        view = await schedules.show("quick")
        assert view.missed == 0
        assert json.loads(view.model_dump_json())["catch_up_seconds"] == 60
