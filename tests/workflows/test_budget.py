"""Semantics B: what agents may use, and what happens at the limit."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from engine import UNCACHED, Engine
from inspecting import activities, no_task_failed, signals, temporal
from observing import stored_events, unique
from temporalio.client import WorkflowUpdateFailedError

from taskmark.contracts import BudgetView, Progress, TaskResult, Used

SOON = 0 if UNCACHED else 5


def fan_out(count: int, agent: str = "ann", *more: str) -> str:
    """Returns a step that asks an agent so many times."""
    lines = [f"- agent: {agent} - Ask {agent}", f"  id: {agent}", f"  forEach: {list(range(count))}"]
    return "\n".join([*lines, *(f"  {line}" for line in more)]) + "\n"


def task(budget: str, *phases: str, more: str = "") -> str:
    """Returns a task with a budget; each phase is given by its steps, before which options may stand."""
    found = f"```yaml\nbudget: {budget}\n{more}```\n"
    for number, steps in enumerate(phases):
        options, _, listed = steps.rpartition("### Steps\n")
        found += f"\n## Phase: P{number}\n{options}### Steps\n{listed}"
    return found


def asked(engine: Engine, execution: str) -> int:
    """Returns how often an agent was asked, in sub-tasks too."""
    return sum(trace["what"] == "asked" for trace in all_traces(engine, execution))


def all_traces(engine: Engine, execution: str) -> list[dict[str, Any]]:
    """Returns the traces of an execution and its sub-tasks."""
    import probe

    return [trace for trace in probe.traces(engine.root) if trace["execution"].startswith(execution)]


async def at_limit(engine: Engine, text: str, budget: str = "agentCalls") -> str:
    """Starts a task and returns its id once it waits for that budget and nothing else runs."""
    execution = await engine.start(text)
    progress = await engine.until_status(execution, "waiting")
    assert [(wait.kind, wait.name) for wait in progress.waiting] == [("budget", budget)]
    return execution


def done(progress: Progress) -> int:
    """Returns how many items of all steps have ended."""
    return sum(step.items_done for phase in progress.phases for step in phase.steps)


async def ended(engine: Engine, execution: str, status: str = "completed") -> TaskResult:
    """Returns the result, having checked that no workflow task was repeated."""
    result = await engine.wait(execution)
    assert result.status == status
    await no_task_failed(engine.client.client.get_workflow_handle(execution))
    return result


# --- B1: calls ----------------------------------------------------------------------------------------


@pytest.mark.semantics("B1", "B4", "B5", "B9")
async def test_a_fan_out_stops_exactly_at_the_limit_and_goes_on_with_what_remains(engine: Engine) -> None:
    execution = await at_limit(engine, task("{agentCalls: 3}", fan_out(8)))
    assert asked(engine, execution) == 3
    progress = await engine.client.progress(execution)
    (wait,) = progress.waiting
    assert wait.prompt == f"3 of 3 agentCalls of {execution} are used, and 5 calls wait"
    assert wait.execution == execution
    assert progress.budget == {"agentCalls": BudgetView(used=3, limit=3)}
    (step,) = progress.phases[0].steps
    assert (step.status, step.items_done, step.items_total) == ("waiting", 3, 8)
    answer = await engine.client.raise_limit(execution, "agentCalls", 6, by="ann")
    limits = {"agentCalls": {"used": 6, "limit": 6}}
    told = {"budget": "agentCalls", "limit": 6, "by": "ann", "duplicate": False, "limits": limits}
    assert answer == told
    await engine.until(execution, lambda p: p.status == "waiting" and done(p) == 6)
    assert asked(engine, execution) == 6
    await engine.client.raise_limit(execution, "agentCalls", 100)
    result = await ended(engine, execution)
    assert len(result.steps["ann"].output) == 8
    assert asked(engine, execution) == 8, "nothing that was paid for ran again"
    assert {trace["item"] for trace in engine.traces(execution)} == set(range(8))
    assert result.usage == Used(agent_calls=8)
    (raised, _) = await stored_events(engine, execution, "budget_raised", 2)
    assert raised.payload == {"budget": "agentCalls", "limit": 6, "from": 3, "by": "ann"}


@pytest.mark.semantics("B1")
async def test_phases_side_by_side_never_have_more_than_the_limit_together(engine: Engine) -> None:
    text = task("{agentCalls: 7}", fan_out(4), fan_out(4, "bob"), fan_out(4, "cid", "critical: false"))
    execution = await engine.start(text)
    progress = await engine.until(execution, lambda p: p.status == "waiting" and done(p) == 7)
    assert asked(engine, execution) == 7
    assert progress.budget["agentCalls"] == BudgetView(used=7, limit=7)
    (wait,) = progress.waiting
    assert "5 calls wait" in wait.prompt
    await engine.client.raise_limit(execution, "agentCalls", 12)
    assert (await ended(engine, execution)).usage == Used(agent_calls=12)


@pytest.mark.semantics("B1")
async def test_each_attempt_that_calls_is_a_call(engine: Engine) -> None:
    retry = "retry: {maxAttempts: 3, backoffMs: 10}"
    execution = await at_limit(engine, task("{agentCalls: 3}", fan_out(2, "fla", retry)))
    assert asked(engine, execution) == 3
    await engine.client.raise_limit(execution, "agentCalls", 4)
    result = await ended(engine, execution)
    assert (asked(engine, execution), result.usage) == (4, Used(agent_calls=4))


@pytest.mark.semantics("B1", "B9")
async def test_a_task_that_keeps_to_its_budget_waits_for_nothing(engine: Engine) -> None:
    plain = "### Agents\n- ann\n- bob\n"
    result = await engine.run(task("{agentCalls: 4}", "- Say it\n" + plain, "- agent: tok - Ask\n"))
    assert (result.status, result.usage) == ("completed", Used(tokens=10, cost=0.5, agent_calls=3))


# --- B2: tokens and cost ------------------------------------------------------------------------------


@pytest.mark.semantics("B2", "B4")
@pytest.mark.parametrize(("budget", "limit"), [("tokens", 35), ("cost", 1.75)])
async def test_no_call_begins_that_is_expected_to_pass_the_limit(
    engine: Engine, budget: str, limit: float
) -> None:
    execution = await at_limit(engine, task(f"{{{budget}: {limit}}}", fan_out(6, "tok")), budget)
    assert asked(engine, execution) == 3, "a fourth would come to 40 tokens, and 2.0"
    progress = await engine.client.progress(execution)
    assert progress.budget[budget].used == {"tokens": 30, "cost": 1.5}[budget]
    await engine.client.raise_limit(execution, budget, limit * 10)
    result = await ended(engine, execution)
    assert result.usage == Used(tokens=60, cost=3.0, agent_calls=6)


@pytest.mark.semantics("B2")
async def test_a_limit_may_be_used_up_to_its_last_token(engine: Engine) -> None:
    execution = await at_limit(engine, task("{tokens: 30}", fan_out(4, "tok")), "tokens")
    assert asked(engine, execution) == 3
    await engine.client.abort(execution)


@pytest.mark.semantics("B2")
async def test_while_nothing_is_known_one_call_runs_at_a_time_over_all_phases(engine: Engine) -> None:
    name = unique()
    engine.file(f"agents/{name}.md", f"---\nname: {name}\nmodel: probe:hold-{name}\n---\nHold.\n")
    later = f"- tool: hold\n  with: {{name: {name}-later}}\n{fan_out(3, 'tok')}"
    execution = await engine.start(task("{tokens: 1000}", fan_out(3, name), later))
    await engine.until_trace(execution, "asked", name)
    engine.release(f"{name}-later")
    await engine.until_trace(execution, "end", f"{name}-later")
    await asyncio.sleep(0.5)
    assert asked(engine, execution) == 1
    progress = await engine.client.progress(execution)
    assert (progress.status, progress.waiting) == ("running", ()), "held back, and not refused"
    engine.release(name)
    assert (await ended(engine, execution)).usage == Used(tokens=30, cost=1.5, agent_calls=6)


@pytest.mark.semantics("B2")
async def test_each_agent_is_expected_to_use_what_it_used(engine: Engine) -> None:
    """A dear one waits though there is room for a cheap one."""
    steps = "- agent: tok - A\n- agent: big - B\n- agent: tok - C\n- agent: big - D\n- agent: tok - E\n"
    execution = await at_limit(engine, task("{tokens: 95}", steps), "tokens")
    assert [trace["name"] for trace in engine.traces(execution)] == ["tok", "big", "tok"]
    await engine.client.raise_limit(execution, "tokens", 111)
    assert (await ended(engine, execution)).usage == Used(tokens=110, cost=5.5, agent_calls=5)


# --- B3: warnings -------------------------------------------------------------------------------------


@pytest.mark.semantics("B3")
async def test_somebody_is_warned_once_at_each_level_of_each_limit(engine: Engine) -> None:
    execution = await at_limit(engine, task("{agentCalls: 8, tokens: 1000}", fan_out(20, "tok")))
    await engine.client.raise_limit(execution, "agentCalls", 20)
    await ended(engine, execution)
    events = await stored_events(engine, execution, "budget_warning", 4)
    told = [(e.payload["budget"], e.payload["percent"], e.payload["limit"]) for e in events]
    assert told == [
        ("agentCalls", 75, 8),
        ("agentCalls", 90, 8),
        ("agentCalls", 75, 20),
        ("agentCalls", 90, 20),
    ]
    assert all(e.payload["used"] >= e.payload["limit"] * e.payload["percent"] / 100 for e in events)


# --- B4: what goes on, and what does not --------------------------------------------------------------


@pytest.mark.semantics("B4")
async def test_what_needs_no_agent_goes_on_beside_it(engine: Engine) -> None:
    name = unique()
    tool = f"- tool: hold\n  with: {{name: {name}}}\n- tool: effect\n  with: {{name: more}}\n"
    execution = await engine.start(task("{agentCalls: 1}", fan_out(2), tool))
    progress = await engine.until(execution, lambda p: p.waiting)
    assert progress.status == "running"
    engine.release(name)
    await engine.until_status(execution, "waiting")
    assert "more" in engine.names(execution)
    await engine.client.raise_limit(execution, "agentCalls", 2)
    await ended(engine, execution)


# --- B5: raising --------------------------------------------------------------------------------------


@pytest.mark.semantics("B5")
@pytest.mark.parametrize(
    ("payload", "kind", "words"),
    [
        ({"budget": "tokens", "limit": 5}, "UnknownBudget", "limited here: agentCalls, cost"),
        ({"limit": 5}, "UnknownBudget", "name the budget"),
        ("agentCalls", "UnknownBudget", "name the budget"),
        (None, "UnknownBudget", "name the budget"),
        ({"budget": ["agentCalls"], "limit": 5}, "UnknownBudget", "name the budget"),
        ({"budget": "agentCalls", "limit": 1}, "InvalidLimit", "is 2 already"),
        ({"budget": "agentCalls", "limit": "9"}, "InvalidLimit", "has to be a number above zero"),
        ({"budget": "agentCalls", "limit": True}, "InvalidLimit", "has to be a number above zero"),
        ({"budget": "agentCalls", "limit": 2.5}, "InvalidLimit", "whole number"),
        ({"budget": "agentCalls", "limit": -3}, "InvalidLimit", "above zero"),
        ({"budget": "agentCalls", "limit": 1e300}, "InvalidLimit", "above zero"),
        ({"budget": "agentCalls"}, "InvalidLimit", "above zero"),
        ({"budget": "agentCalls", "limit": 9, "by": "x" * 201}, "InvalidPayload", "201 characters"),
    ],
)
async def test_a_raise_that_does_not_fit_is_refused_and_leaves_no_event(
    engine: Engine, payload: Any, kind: str, words: str
) -> None:
    execution = await at_limit(engine, task("{agentCalls: 2, cost: 5}", fan_out(3)))
    handle = engine.client.client.get_workflow_handle(execution)
    before = len(await engine.events(execution))
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update("raise", payload)
    assert len(await engine.events(execution)) == before
    assert refused.value.cause.type == kind  # type: ignore[union-attr]
    assert words in str(refused.value.cause)
    await engine.client.abort(execution)
    await ended(engine, execution, "cancelled")


@pytest.mark.semantics("B5")
async def test_a_limit_of_what_was_used_already_is_refused(engine: Engine) -> None:
    """A call may use more than was expected of it."""
    steps = "- agent: tok - A\n- agent: big - B\n- agent: tok - C\n"
    execution = await at_limit(engine, task("{tokens: 30}", steps), "tokens")
    handle = engine.client.client.get_workflow_handle(execution)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update("raise", {"budget": "tokens", "limit": 50})
    assert "50 tokens are used already" in str(refused.value.cause)
    await handle.execute_update("raise", {"budget": "tokens", "limit": 60})
    await ended(engine, execution)


@pytest.mark.semantics("B5")
async def test_a_limit_can_be_raised_before_anything_waits_and_the_same_again_is_a_duplicate(
    engine: Engine,
) -> None:
    name = unique()
    steps = f"- tool: hold\n  with: {{name: {name}}}\n{fan_out(3)}"
    execution = await engine.start(task("{agentCalls: 2}", steps))
    await engine.until_trace(execution, "start", name)
    assert (await engine.client.raise_limit(execution, "agentCalls", 3))["duplicate"] is False
    assert (await engine.client.raise_limit(execution, "agentCalls", 3))["duplicate"] is True
    engine.release(name)
    await ended(engine, execution)
    assert len(await stored_events(engine, execution, "budget_raised")) == 1
    with pytest.raises(Exception, match="ended already"):
        await engine.client.raise_limit(execution, "agentCalls", 9)


@pytest.mark.semantics("B5")
async def test_an_execution_without_a_budget_has_nothing_to_raise(engine: Engine) -> None:
    execution = await engine.start("## Phase: A\n### Steps\n- approval: go - Go?\n")
    await engine.until_status(execution, "waiting")
    with pytest.raises(Exception, match="no budget of its own"):
        await engine.client.raise_limit(execution, "tokens", 9)
    await engine.client.abort(execution)


@pytest.mark.semantics("B5")
async def test_a_limit_is_raised_with_nothing_but_the_temporal_cli(engine: Engine) -> None:
    execution = await at_limit(engine, task("{agentCalls: 1}", fan_out(2)))
    payload = '{"budget": "agentCalls", "limit": 2, "by": "ann"}'
    on = ("--workflow-id", execution, "--input", payload)
    told = await temporal(engine, "workflow", "update", "execute", "--name", "raise", *on)
    assert told["result"]["limit"] == 2
    await ended(engine, execution)


# --- B6: control while it waits -----------------------------------------------------------------------


@pytest.mark.semantics("B6")
async def test_a_pause_holds_what_a_raise_lets_go(engine: Engine) -> None:
    execution = await at_limit(engine, task("{agentCalls: 1}", fan_out(3)))
    await engine.client.pause(execution)
    await engine.until_status(execution, "paused")
    await engine.client.raise_limit(execution, "agentCalls", 3)
    await asyncio.sleep(0.3)
    assert asked(engine, execution) == 1
    assert (await engine.client.progress(execution)).status == "paused"
    await engine.client.resume(execution)
    assert (await ended(engine, execution)).usage == Used(agent_calls=3)


@pytest.mark.semantics("B6")
@pytest.mark.parametrize("how", ["abort", "cancel"])
async def test_abort_and_cancel_reach_what_waits_for_a_budget(engine: Engine, how: str) -> None:
    execution = await at_limit(engine, task("{agentCalls: 2}", fan_out(3)))
    begin = time.monotonic()
    if how == "abort":
        await engine.client.abort(execution)
    else:
        await engine.client.client.get_workflow_handle(execution).cancel()
    result = await ended(engine, execution, "cancelled")
    assert time.monotonic() - begin < 20
    assert result.usage == Used(agent_calls=2)
    assert result.steps["ann"].status == "cancelled"


@pytest.mark.semantics("B6")
@pytest.mark.parametrize("how", ["abort", "cancel"])
async def test_a_step_that_runs_is_ended_where_a_budget_is_kept(engine: Engine, how: str) -> None:
    """It takes a moment to end, in which the phase does nothing but wait for it."""
    name = unique()
    execution = await engine.start(task("{agentCalls: 2}", f"- tool: hold\n  with: {{name: {name}}}\n"))
    await engine.until_trace(execution, "start", name)
    if how == "abort":
        await engine.client.abort(execution)
    else:
        await engine.client.client.get_workflow_handle(execution).cancel()
    await ended(engine, execution, "cancelled")
    for workflow in (execution, f"{execution}/p0"):
        await no_task_failed(engine.client.client.get_workflow_handle(workflow))


@pytest.mark.semantics("B6")
async def test_the_time_limit_stands_while_only_the_budget_is_waited_for(engine: Engine) -> None:
    limit = "maxExecutionTime: 4 seconds\n"
    execution = await at_limit(engine, task("{agentCalls: 1}", fan_out(2), more=limit))
    await asyncio.sleep(4.5)
    assert (await engine.client.progress(execution)).status == "waiting"
    await engine.client.raise_limit(execution, "agentCalls", 2)
    await ended(engine, execution)


@pytest.mark.semantics("B6")
async def test_a_phase_that_runs_out_of_time_no_longer_waits(engine: Engine) -> None:
    phase = f"timeout: 1 second\nonFailure: continue\n### Steps\n{fan_out(2)}"
    result = await engine.run(task("{agentCalls: 1}", phase))
    assert result.status == "completed_with_errors"
    assert result.phases["p0"].error is not None
    assert result.phases["p0"].error.type == "timed_out"


@pytest.mark.semantics("B6")
async def test_items_that_nobody_needs_any_more_do_not_wait(engine: Engine) -> None:
    """A critical step fails with its first item; the others need no higher limit for that."""
    name = unique()
    engine.file(f"agents/{name}.md", f"---\nname: {name}\nmodel: probe:fail\n---\nFail.\n")
    result = await engine.run(task("{agentCalls: 1}", fan_out(5, name, "critical: true")))
    assert (result.status, asked(engine, result.execution_id)) == ("failed", 1)


@pytest.mark.semantics("B6")
async def test_a_failure_elsewhere_ends_the_wait(engine: Engine) -> None:
    name = unique()
    fails = f"- tool: hold\n  with: {{name: {name}}}\n- validation: 1 > 2 - No\n"
    execution = await engine.start(task("{agentCalls: 1}", fan_out(2), fails))
    await engine.until(execution, lambda p: p.waiting)
    engine.release(name)
    await ended(engine, execution, "failed")


# --- B7: sub-tasks ------------------------------------------------------------------------------------


def subtask(engine: Engine, count: int, budget: str = "") -> str:
    """Writes a task that asks so often, and returns its name."""
    name = unique("below")
    head = f"```yaml\nbudget: {budget}\n```\n" if budget else ""
    engine.file(f"tasks/{name}.md", f"# {name}\n\n{head}\n## Phase: Inner\n### Steps\n{fan_out(count)}")
    return name


@pytest.mark.semantics("B7", "B9")
async def test_calls_of_a_sub_task_are_charged_before_they_begin(engine: Engine) -> None:
    name = subtask(engine, 3)
    execution = await engine.start(task("{agentCalls: 4}", f"- task: {name}\n", fan_out(3)))
    progress = await engine.until(execution, lambda p: p.waiting and p.budget["agentCalls"].used == 4)
    assert progress.waiting[0].execution == execution
    await asyncio.sleep(0.3)
    assert asked(engine, execution) == 4
    await engine.client.raise_limit(execution, "agentCalls", 6)
    assert (await ended(engine, execution)).usage == Used(agent_calls=6)


@pytest.mark.semantics("B7")
async def test_a_sub_task_that_waits_says_whose_budget_it_is(engine: Engine) -> None:
    name = subtask(engine, 3)
    execution = await engine.start(task("{agentCalls: 2}", f"- task: {name}\n  id: sub\n"))
    below = f"{execution}/p0/sub"
    await engine.until(execution, lambda p: p.waiting)
    progress = await engine.until_status(below, "waiting")
    (wait,) = progress.waiting
    assert (wait.kind, wait.name, wait.execution) == ("budget", "agentCalls", execution)
    with pytest.raises(Exception, match=f"that of {execution} pays for it"):
        await engine.client.raise_limit(below, "agentCalls", 9)
    await engine.client.raise_limit(execution, "agentCalls", 3)
    assert (await ended(engine, execution)).usage == Used(agent_calls=3)


@pytest.mark.semantics("B7")
async def test_a_sub_task_with_a_budget_of_its_own_needs_both(engine: Engine) -> None:
    name = subtask(engine, 5, "{agentCalls: 2}")
    execution = await engine.start(task("{agentCalls: 4}", f"- task: {name}\n  id: sub\n"))
    below = f"{execution}/p0/sub"
    await engine.until(execution, lambda _: asked(engine, execution) == 2)
    progress = await engine.until_status(below, "waiting")
    assert progress.waiting[0].execution == below
    above = await engine.until(execution, lambda p: p.waiting)
    assert above.waiting[0].execution == below
    await engine.client.raise_limit(below, "agentCalls", 9)
    await engine.until(execution, lambda p: any(wait.execution == execution for wait in p.waiting))
    await engine.until_status(execution, "waiting")
    assert asked(engine, execution) == 4
    await engine.client.raise_limit(execution, "agentCalls", 5)
    assert (await ended(engine, execution)).usage == Used(agent_calls=5)


# --- B8: consent --------------------------------------------------------------------------------------

CRITICAL = "critical: true"


@pytest.mark.semantics("B8")
async def test_a_fan_out_above_the_threshold_is_asked_for_before_its_first_call(engine: Engine) -> None:
    text = task("{askAbove: {agentCalls: 3}}", fan_out(3, "bob"), fan_out(4))
    execution = await engine.start(text)
    progress = await engine.until_status(execution, "waiting")
    (wait,) = progress.waiting
    assert (wait.kind, wait.name, wait.step) == ("approval", "ann-fan-out", "ann")
    assert wait.prompt.startswith("Ask ann: 4 calls of agents; above agentCalls 3")
    assert asked(engine, execution) == 3
    assert progress.phases[1].steps[0].status == "waiting"
    await engine.client.approve(execution, "ann-fan-out")
    assert (await ended(engine, execution)).usage == Used(agent_calls=7)


@pytest.mark.semantics("B8")
async def test_a_rejected_fan_out_fails_and_nothing_of_it_was_called(engine: Engine) -> None:
    execution = await engine.start(task("{askAbove: {agentCalls: 3}}", fan_out(4, "ann", CRITICAL)))
    await engine.until_status(execution, "waiting")
    await engine.client.approve(execution, "ann-fan-out", decision="rejected", comment="too dear")
    result = await ended(engine, execution, "failed")
    error = result.steps["ann"].error
    assert error is not None
    assert (error.type, error.message, error.category) == ("rejected", "too dear", "logic")
    assert asked(engine, execution) == 0


@pytest.mark.semantics("B8")
async def test_what_it_will_cost_is_taken_from_the_calls_before(engine: Engine) -> None:
    """Unknown, it is not asked for."""
    text = task("{askAbove: {cost: 2}}", fan_out(4, "tok"), f"dependsOn: [P0]\n### Steps\n{fan_out(5)}")
    execution = await engine.start(text)
    progress = await engine.until_status(execution, "waiting")
    assert "5 calls of agents, expected to cost 2.5; above cost 2" in progress.waiting[0].prompt
    await engine.client.approve(execution, "ann-fan-out")
    await ended(engine, execution)


@pytest.mark.semantics("B8")
@pytest.mark.parametrize("decision", ["approved", "rejected"])
async def test_a_phase_with_items_is_asked_for_as_a_whole(engine: Engine, decision: str) -> None:
    phase = "forEach: [1, 2]\n### Steps\n- agent: ann - A\n- Both\n### Agents\n- ann\n- bob\n"
    execution = await engine.start(task("{askAbove: {agentCalls: 5}}", phase))
    progress = await engine.until_status(execution, "waiting")
    assert (progress.waiting[0].name, asked(engine, execution)) == ("p0-fan-out", 0)
    await engine.client.approve(execution, "p0-fan-out", decision=decision)
    result = await ended(engine, execution, "completed" if decision == "approved" else "failed")
    assert asked(engine, execution) == (6 if decision == "approved" else 0)
    assert result.status == "completed" or result.error.type == "rejected"  # type: ignore[union-attr]


@pytest.mark.semantics("B8")
async def test_an_instruction_to_many_agents_is_a_fan_out_too(engine: Engine) -> None:
    phase = "- Say it\n  id: say\n### Agents\n- ann\n- bob\n"
    execution = await engine.start(task("{askAbove: {agentCalls: 1}}", phase))
    progress = await engine.until_status(execution, "waiting")
    assert progress.waiting[0].name == "say-fan-out"
    await engine.client.abort(execution)


# --- B9, B10 ------------------------------------------------------------------------------------------


@pytest.mark.semantics("B9")
@pytest.mark.parametrize("step", ["tool: effect", "agent: tok - Ask"])
async def test_without_a_budget_history_has_the_events_it_would_have(engine: Engine, step: str) -> None:
    """And so it has under one, where no agent is asked. Reports, which depend on time, are not compared."""
    text = f"## Phase: P0\n### Steps\n- {step}\n- {step}\n"
    result = await engine.run(text)
    assert await signals(engine, result.execution_id, "spending") == []
    sent = [event for event in await engine.events(result.execution_id, phase="p0") if _signals(event)]
    names = {e.signal_external_workflow_execution_initiated_event_attributes.signal_name for e in sent}
    assert names <= {"report"}
    assert (
        await activities(engine, result.execution_id, phase="p0")
        == ["tool.effect" if step.startswith("tool") else "agent.ask"] * 2
    )
    if step.startswith("tool"):
        under = await engine.run(task("{agentCalls: 1}", f"- {step}\n- {step}\n"))
        assert await signals(engine, under.execution_id, "spending") == []
        assert under.usage is None


def _signals(event: Any) -> bool:
    return bool(event.HasField("signal_external_workflow_execution_initiated_event_attributes"))


@pytest.mark.semantics("B1")
async def test_calls_that_begin_in_one_moment_cost_one_question(engine: Engine) -> None:
    result = await engine.run(task("{agentCalls: 50}", fan_out(50)))
    assert result.status == "completed"
    told = await signals(engine, result.execution_id, "spending")
    assert len(told) == 2, "one that asks, and one that tells what was used"


@pytest.mark.semantics("B10")
async def test_what_a_lost_phase_was_given_counts_as_used(engine: Engine) -> None:
    name = unique()
    engine.file(f"agents/{name}.md", f"---\nname: {name}\nmodel: probe:hold-{name}\n---\nHold.\n")
    phase = f"onFailure: pause\n### Steps\n{fan_out(2, name)}"
    execution = await engine.start(task("{agentCalls: 3}", phase))
    await engine.until(execution, lambda _: asked(engine, execution) == 2)
    await engine.client.client.get_workflow_handle(f"{execution}/p0").terminate()
    await engine.until(execution, lambda p: [wait.kind for wait in p.waiting] == ["retry"])
    engine.release(name)
    await engine.client.retry(execution, "p0")
    progress = await engine.until(execution, lambda p: [wait.kind for wait in p.waiting] == ["budget"])
    assert progress.budget["agentCalls"].used == 3
    await engine.client.raise_limit(execution, "agentCalls", 4)
    assert (await ended(engine, execution)).usage == Used(agent_calls=4)
