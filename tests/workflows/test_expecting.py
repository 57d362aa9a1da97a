"""Semantics, Q14 to Q16: the remaining time, from what earlier executions took."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from engine import Engine
from observing import unique, until
from test_web_ui import details

from taskmark.contracts import RECORD_ACTIVITY, Eta, Progress
from taskmark.records import EstimateRecord


def text(name: str, seconds: float = 0.3) -> str:
    """A task of three steps, of which the second one can be held."""
    return f"""# {name}

## Phase: A
### Steps
- tool: effect
  id: first
  with: {{seconds: {seconds}}}
- tool: hold
  id: second
  with: {{name: "{name}"}}
- tool: effect
  id: third
  with: {{seconds: {seconds}}}
"""


async def ran(engine: Engine, task: str, name: str) -> str:
    """Runs it to its end, and returns once the store knows."""
    engine.release(name)
    result = await engine.run(task)
    assert result.status == "completed"
    history = engine.client.wiring.history
    await until(lambda: asyncio.to_thread(history.estimates, result.execution_id), bool)
    (engine.root / f"release-{name}").unlink()
    return result.execution_id


async def paused(engine: Engine, execution: str, name: str) -> None:
    """Pauses it before the step that is held ends, and returns once it stands still."""
    await engine.client.pause(execution)
    phase = engine.client.client.get_workflow_handle(f"{execution}/a")
    await until(lambda: phase.query("state"), lambda report: report["epoch"] > 0)
    engine.release(name)
    await engine.until_status(execution, "paused")


async def learned(engine: Engine, execution: str) -> Progress:
    """Returns the first progress whose estimate rests on earlier runs."""
    return await engine.until(execution, lambda p: p.eta is not None and p.eta.basis == "steps")


@pytest.mark.semantics("Q14")
async def test_the_first_run_is_estimated_without_a_past_of_its_own_and_the_next_ones_from_it(
    engine: Engine,
) -> None:
    name = unique()
    task = text(name)
    first = await engine.start(task)
    progress = await engine.until(first, lambda p: p.in_flight and p.eta)
    assert progress.eta is not None
    assert progress.eta.basis in ("declared", "tools")  # other tests use the same tools
    engine.release(name)
    await engine.wait(first)
    for _ in range(2):
        await ran(engine, task, name)
    fourth = await engine.start(task)
    eta = (await learned(engine, fourth)).eta
    assert eta is not None
    assert (eta.confidence, eta.samples >= 2, eta.low <= eta.remaining_seconds <= eta.high) == (
        0.8,
        True,
        True,
    )
    engine.release(name)
    await engine.wait(fourth)


@pytest.mark.semantics("Q14")
async def test_while_a_task_is_paused_what_is_left_stays_as_it_is(engine: Engine) -> None:
    name = unique()
    task = text(name)
    await ran(engine, task, name)
    execution = await engine.start(task)
    await engine.until_trace(execution, "start", name)
    await paused(engine, execution, name)
    first = (await learned(engine, execution)).eta
    await asyncio.sleep(0.5)
    again = (await engine.client.progress(execution)).eta
    assert first is not None
    assert again is not None
    assert again.remaining_seconds == pytest.approx(first.remaining_seconds, abs=0.2)
    await engine.client.resume(execution)
    await engine.wait(execution)


@pytest.mark.semantics("Q14")
async def test_the_time_that_people_took_before_is_told_apart(engine: Engine) -> None:
    name = unique()
    steps = "- tool: effect\n  with: {seconds: 0.1}\n- approval: ok - Go on?\n"
    task = f"# {name}\n\n## Phase: A\n### Steps\n{steps}"

    async def decide() -> Progress:
        execution = await engine.start(task)
        progress = await engine.until(execution, lambda p: p.waiting)
        await asyncio.sleep(0.5)
        await engine.client.approve(execution, "ok", by="ann")
        await engine.wait(execution)
        await until(lambda: asyncio.to_thread(engine.client.wiring.history.estimates, execution), bool)
        return progress

    assert (await decide()).eta.people is None  # type: ignore[union-attr] # it runs, so there is one
    execution = await engine.start(task)
    progress = await engine.until(execution, lambda p: p.waiting and p.eta and p.eta.people)
    people = progress.eta.people  # type: ignore[union-attr] # as above
    assert people is not None
    assert (people.samples, people.low <= people.seconds <= people.high) == (1, True)
    await engine.client.approve(execution, "ok", by="ann")
    await engine.wait(execution)


@pytest.mark.semantics("Q15")
async def test_learning_leaves_no_event_in_history(engine: Engine) -> None:
    name = unique()
    task = text(name, seconds=0.0)
    first = await ran(engine, task, name)
    second = await ran(engine, task, name)
    assert await activities(engine, first) == await activities(engine, second) == [RECORD_ACTIVITY]


async def activities(engine: Engine, execution: str) -> list[str]:
    """Returns the types of the activities of an execution's own workflow."""
    scheduled = [event.activity_task_scheduled_event_attributes for event in await engine.events(execution)]
    return [one.activity_type.name for one in scheduled if one.activity_type.name]


@pytest.mark.semantics("Q15")
async def test_an_estimate_that_breaks_breaks_nothing_else(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        teaches = True

    monkeypatch.setattr(engine.client.wiring.learning, "_known", {})
    monkeypatch.setattr(type(engine.client.wiring.learning), "__call__", lambda *_: Broken())
    name = unique()
    execution = await engine.start(text(name))
    await engine.until_trace(execution, "start", name)
    progress = await engine.client.progress(execution)
    assert (progress.eta, progress.status) == (None, "running")
    engine.release(name)
    assert (await engine.wait(execution)).status == "completed"
    assert "cannot be estimated" in caplog.text


@pytest.mark.semantics("Q16")
async def test_the_store_keeps_what_was_expected_and_how_long_it_worked_without_pauses(
    engine: Engine,
) -> None:
    name = unique()
    task = text(name)
    await ran(engine, task, name)
    execution = await engine.start(task)
    await engine.until_trace(execution, "start", name)
    await paused(engine, execution, name)
    await asyncio.sleep(1.0)
    await engine.client.resume(execution)
    result = await engine.wait(execution)
    kept = await estimates(engine, execution)
    whole, took = kept[-1], (result.finished_at - result.started_at).total_seconds()  # type: ignore[operator] # it ended
    assert whole.percent == 100
    assert 0.3 < whole.worked < took - 0.9
    assert [one.percent for one in kept] == sorted({one.percent for one in kept})
    assert all(one.worked <= whole.worked and one.percent % 10 == 0 for one in kept)
    assert any(one.basis == "steps" for one in kept[:-1])


@pytest.mark.semantics("Q16")
async def test_of_a_task_of_one_step_it_keeps_what_was_expected_at_its_beginning(engine: Engine) -> None:
    name = unique()
    task = f"# {name}\n\n## Phase: A\n### Steps\n- tool: effect\n  id: only\n  with: {{seconds: 0.3}}\n"
    for _ in range(2):
        result = await engine.run(task)
        kept = await estimates(engine, result.execution_id)
    assert [one.percent for one in kept] == [0, 100]
    assert (kept[0].worked, kept[0].at) == (0.0, result.started_at)
    assert kept[0].low <= kept[0].remaining <= kept[0].high  # of whatever the tests before it have taught


async def estimates(engine: Engine, execution: str) -> tuple[EstimateRecord, ...]:
    """Returns what the store keeps of an execution that has completed."""
    found: Any = await until(
        lambda: asyncio.to_thread(engine.client.wiring.history.estimates, execution),
        lambda rows: rows and rows[-1].percent == 100,
    )
    return tuple(found)


@pytest.mark.semantics("Q5")
async def test_the_web_ui_shows_when_it_is_expected_to_end(engine: Engine) -> None:
    name = unique()
    task = text(name)
    await ran(engine, task, name)
    execution = await engine.start(task)
    await learned(engine, execution)
    shown = await until(lambda: details(engine, execution), lambda found: "in 80 % of such cases" in found)
    assert re.search(r"ends about \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(\d\d:\d\d:\d\d to ", shown)
    engine.release(name)
    await engine.wait(execution)
    assert "ends about" not in await details(engine, execution)


def test_an_estimate_travels_as_json() -> None:
    eta = Eta(remaining_seconds=1, low=0.5, high=2, confidence=0.8, basis="tools", samples=3)
    assert Eta.model_validate_json(eta.model_dump_json()) == eta
