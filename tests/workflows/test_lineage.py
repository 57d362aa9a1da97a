"""What started an execution, what it repeats, and what people were asked, as the store tells it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from engine import Engine
from inspecting import start_raw
from observing import stored_attempts, stored_events, unique, until
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleSpec,
)

from taskmark.contracts import TASK_WORKFLOW, span_id
from taskmark.store.reading import StoredExecution

SMALL = "## Phase: A\n### Steps\n- validation: 1 < 2 - Sure\n  id: sure\n"


async def stored(engine: Engine, execution: str) -> StoredExecution:
    """Returns the execution once the store knows that it has ended."""
    await stored_events(engine, execution, "execution_completed")
    return await asyncio.to_thread(engine.client.wiring.history.execution, execution)


@pytest.mark.semantics("Q9")
async def test_what_a_user_starts_says_so_and_a_repetition_shares_its_trace(engine: Engine) -> None:
    text = {"source": f"# Small\n\n{SMALL}"}
    first = await start_raw(engine, text)
    again = await start_raw(engine, {**text, "retry_of": first.id})
    one, other = await stored(engine, first.id), await stored(engine, again.id)

    assert (one.cause, one.retry_of) == ("user", None)
    assert (other.cause, other.retry_of, other.trace_id) == ("retry", first.id, one.trace_id)
    [attempt] = await stored_attempts(engine, again.id, "sure", len)
    assert attempt.cause == "retry"


@pytest.mark.semantics("Q9")
async def test_a_phase_tells_what_it_reads_and_what_started_it(engine: Engine) -> None:
    """As attempts do: the spans of the phases it depends on, and the cause of the whole."""
    again = SMALL.replace("Phase: A\n", "Phase: B\ndependsOn: [A]\n").replace("sure", "surely")
    handle = await start_raw(engine, {"source": f"# Small\n\n{SMALL}\n{again}", "cause": "webhook"})
    await stored(engine, handle.id)
    first, second = await asyncio.to_thread(engine.client.wiring.history.phases, handle.id)

    assert (first.parents, first.causes) == (None, ("webhook",))
    assert second.parents == (span_id(handle.id, "a"),)


@pytest.mark.semantics("Q9")
async def test_a_caller_may_say_what_started_it(engine: Engine) -> None:
    handle = await start_raw(engine, {"source": f"# Small\n\n{SMALL}", "cause": "webhook"})
    assert (await stored(engine, handle.id)).cause == "webhook"


@pytest.mark.semantics("Q9")
async def test_what_a_schedule_of_temporal_starts_is_known_as_such(engine: Engine) -> None:
    client, name = engine.client.client, unique("exec-scheduled")
    action: Any = ScheduleActionStartWorkflow(
        TASK_WORKFLOW,
        {"source": f"# Small\n\n{SMALL}"},
        id=name,
        task_queue=engine.client.wiring.settings.task_queue,
    )
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(days=9))])
    schedule = await client.create_schedule(name, Schedule(action=action, spec=spec))
    try:
        await schedule.trigger()

        async def look() -> list[str]:
            actions = (await schedule.describe()).info.recent_actions
            return [one.action.workflow_id for one in actions]  # type: ignore[union-attr]  # it starts one

        [execution] = await until(look, len)
        assert (await stored(engine, execution)).cause == "schedule"
    finally:
        await schedule.delete()


@pytest.mark.semantics("Q9")
async def test_questions_are_counted_and_told_when_they_are_asked(engine: Engine) -> None:
    name = unique("q")
    execution = await engine.start(f"## Phase: A\n### Steps\n- question: {name} - How many?\n")
    await engine.until_status(execution, "waiting")
    [asked] = await stored_events(engine, execution, "waiting")
    assert asked.payload == {"kind": "question", "name": name, "prompt": "How many?"}
    await engine.client.answer(execution, name, 3, by="ann")
    await engine.wait(execution)
    assert (await stored(engine, execution)).questions_asked == 1


@pytest.mark.semantics("Q11")
async def test_each_phase_that_ends_or_is_skipped_is_told_as_progress(engine: Engine) -> None:
    last = "## Phase: B\ndependsOn: [A]\nif: 1 > 2\n### Steps\n- validation: 1 < 2 - Sure\n"
    execution = await engine.start(f"{SMALL}\n{last}")
    await engine.wait(execution)
    told = await stored_events(engine, execution, "progress", 2)

    assert [one.payload["stage"] for one in told] == ["A", "B"]
    assert [one.payload["message"] for one in told] == ["1 of 2 phases ended", "2 of 2 phases ended"]
