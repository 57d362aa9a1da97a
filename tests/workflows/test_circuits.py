"""Semantics R23 to R25: what is known to be down is not called, and what was answered is not asked again."""

from __future__ import annotations

import asyncio

import pytest
from engine import Engine
from observing import stored_attempts, unique

from starter.backfill import backfill
from taskmark.contracts import Progress

FAILURES = 5
"""In a row, and a circuit opens."""


def remote(name: str, options: str = "", value: object = 1) -> str:
    """Returns a task of one step, `s`, that calls a service."""
    given = f"{{name: {name}, value: {value}}}"
    return f"## Phase: A\n### Steps\n- tool: remote\n  id: s\n  with: {given}\n{options}"


def said(progress: Progress) -> str:
    """Returns what the step shows of its last failure."""
    return next((step.error or "" for phase in progress.phases for step in phase.steps), "")


def calls(engine: Engine, *executions: str) -> int:
    """Returns how often the executions called anything."""
    return sum(t["what"] == "call" for execution in executions for t in engine.traces(execution))


async def goes_down(engine: Engine, name: str) -> None:
    """Takes the service down and lets its circuit open."""
    (engine.root / f"down-{name}").touch()
    result = await engine.run(remote(name, f"  retry: {{maxAttempts: {FAILURES}, backoffMs: 10}}\n"))
    assert result.status == "failed"
    assert calls(engine, result.execution_id) == FAILURES


@pytest.mark.semantics("R23")
async def test_what_is_down_is_not_called_and_a_fallback_is_used_at_once(engine: Engine) -> None:
    name = unique("service")
    await goes_down(engine, name)
    result = await engine.run(remote(name, "  retry: {maxAttempts: 1}\n  fallback: {value: none}\n"))
    assert result.status == "completed"
    assert (result.steps["s"].output, result.steps["s"].fallback) == ("none", True)
    assert calls(engine, result.execution_id) == 0
    [attempt] = await stored_attempts(engine, result.execution_id, "s", len)
    assert attempt.error is not None
    assert (attempt.error.type, attempt.error.category) == ("circuit_open", "transient")


@pytest.mark.semantics("R23")
async def test_the_next_attempt_comes_no_sooner_than_it_may_be_let_through(engine: Engine) -> None:
    name = unique("service")
    await goes_down(engine, name)
    execution = await engine.start(remote(name, "  retry: {maxAttempts: 2, backoffMs: 10}\n"))
    await engine.until(execution, said)
    (engine.root / f"down-{name}").unlink()
    result = await engine.wait(execution)
    assert (result.status, result.steps["s"].attempts) == ("completed", 2)
    assert calls(engine, execution) == 1


@pytest.mark.semantics("R23")
async def test_a_step_that_waits_uses_up_no_attempt(engine: Engine) -> None:
    """Meanwhile progress says why, and calls stay within one per time that the circuit is open."""
    name = unique("service")
    await goes_down(engine, name)
    waiting = "  circuit: wait\n  retry: {maxAttempts: 1}\n"
    several = [await engine.start(remote(name, waiting, number)) for number in range(4)]
    shown = await engine.until(several[0], said)
    assert f"{name} failed again and again, so remote does not call it for another" in said(shown)
    (engine.root / f"down-{name}").unlink()
    results = [await engine.wait(execution) for execution in several]
    assert [(r.status, r.steps["s"].output, r.steps["s"].attempts) for r in results] == [
        ("completed", number, 1) for number in range(4)
    ]
    probes = calls(engine, *several) - 4
    assert 0 <= probes <= 4, "while it was down, one call at a time asked whether it still is"
    [attempt] = await stored_attempts(
        engine, several[0], "s", lambda told: told and told[0].status == "completed"
    )
    assert (attempt.attempt, attempt.error) == (1, None)
    recorder = engine.client.wiring.recorder
    await backfill(engine.client.client, recorder, only=several)
    assert await asyncio.to_thread(engine.client.wiring.spool.flush, 20)
    [attempt] = await stored_attempts(engine, several[0], "s", len)
    assert (attempt.status, attempt.error) == ("completed", None), "also as Temporal's history tells it"


@pytest.mark.semantics("R23")
async def test_calls_of_what_stays_down_are_the_threshold_and_the_probes(engine: Engine) -> None:
    """However many steps want it: it is down for three times as long as its circuit is open at first."""
    name = unique("service")
    (engine.root / f"down-{name}").touch()
    options = "  circuit: wait\n  retry: {maxAttempts: 6, backoffMs: 10}\n"
    several = [await engine.start(remote(name, options)) for _ in range(6)]
    await asyncio.sleep(3)
    (engine.root / f"down-{name}").unlink()
    results = [await engine.wait(execution) for execution in several]
    assert [result.status for result in results] == ["completed"] * 6
    in_flight, probes = len(several), 3
    assert calls(engine, *several) <= FAILURES + in_flight + probes + len(several)


@pytest.mark.semantics("R25")
async def test_what_was_answered_is_not_asked_again(engine: Engine) -> None:
    name = unique("service")
    first = await engine.run(remote(name, "  cache: 1h\n", value=7))
    (engine.root / f"down-{name}").touch()
    second = await engine.run(remote(name, "  cache: 1h\n", value=7))
    assert (second.status, second.steps["s"].output) == ("completed", 7)
    assert calls(engine, second.execution_id) == 0
    [attempt] = await stored_attempts(engine, second.execution_id, "s", len)
    assert attempt.reused_from == first.execution_id
    other = await engine.run(remote(name, "  cache: 1h\n  retry: {maxAttempts: 1}\n", value=8))
    assert other.status == "failed"


@pytest.mark.semantics("R24")
async def test_a_failure_that_says_how_long_to_leave_it_alone_is_heeded(engine: Engine) -> None:
    result = await engine.run(
        """
        ## Phase: A
        ### Steps
        - tool: flaky
          id: s
          with: {failures: 1, name: x, after: 0.7}
          retry: {maxAttempts: 2, backoffMs: 10}
        """
    )
    first, second = (t["at"] for t in engine.traces(result.execution_id) if t["what"] == "start")
    assert second - first >= 0.7
    assert result.status == "completed"
