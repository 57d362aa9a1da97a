"""Semantics N1 to N6: who is told of what, by tools, beside everything else."""

from __future__ import annotations

import time
from typing import Any

import pytest
from engine import Engine
from observing import stored_events, unique, until

from taskmark.task import check_text
from taskmark.task.catalog import Catalog

WAITS = "## Phase: Ask\n### Steps\n- approval: go - Shall {{ inputs.what }} go on?\n  timeout: 1 hour\n"


def told(
    on: str, tool: str = "effect", name: str = "{{ event.kind }}: {{ event.message }}", **more: str
) -> str:
    """Returns metadata that tells of events by a tool that leaves a trace."""
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    return f"""
```yaml
requirements:
  what: {{type: string, default: it}}
notify:
  - on: {on}
    tool: {tool}
    with: {{name: "{name}"{extra}}}
```

"""


async def notices(engine: Engine, execution: str, count: int) -> list[str]:
    """Returns the names of the calls that told something once there are so many."""

    async def look() -> list[str]:
        return [t["name"] for t in engine.traces(execution) if t["what"] == "end" and "notify" in t["step"]]

    return await until(look, lambda found: len(found) >= count)


@pytest.mark.semantics("N1", "N2")
async def test_a_gate_that_opens_is_told_by_a_tool_and_is_no_step(engine: Engine) -> None:
    name = "{{ event.gate }} {{ event.name }} {{ event.step }} {{ task.name }} {{ inputs.what }}"
    execution = await engine.start(told("[waiting]", name=name) + WAITS)
    assert await notices(engine, execution, 1) == ["approval go go Test it"]
    progress = await engine.until_status(execution, "waiting")
    assert [step.id for phase in progress.phases for step in phase.steps] == ["go"]
    await engine.client.approve(execution, "go")
    result = await engine.wait(execution)
    assert (result.status, list(result.steps)) == ("completed", ["go"])
    (event,) = await stored_events(engine, execution, "notified")
    assert event.payload == {"kind": "waiting", "name": "effect"}
    attempts = engine.client.wiring.history.attempts(execution)
    assert {one.step for one in attempts} == {"go"}
    types = [event.activity_task_scheduled_event_attributes for event in await engine.events(execution)]
    assert "tool.effect" in {one.activity_type.name for one in types}


@pytest.mark.semantics("N2", "B3")
async def test_a_budget_that_is_nearly_used_up_is_told_and_so_is_its_gate(engine: Engine) -> None:
    options = told("[budget]").replace("notify:", "budget: {agentCalls: 4}\nnotify:")
    asks = "- agent: ann - Ask\n  forEach: [1, 2, 3, 4, 5]\n"
    execution = await engine.start(f"{options}## Phase: A\n### Steps\n{asks}")
    await engine.until_status(execution, "waiting")
    warned, gates = set(), set()
    for notice in await notices(engine, execution, 3):
        (warned if "%" in notice else gates).add(notice)
    assert warned == {f"budget: {part} % of agentCalls are used: 4 of 4" for part in (75, 90)}
    assert len(gates) == 1
    await engine.client.abort(execution)


@pytest.mark.semantics("N2", "G13")
async def test_what_waits_in_a_sub_task_is_told_above_with_where_it_is_decided(engine: Engine) -> None:
    sub = unique("sub-")
    engine.file(f"tasks/{sub}.md", f"# Sub\n\n{WAITS.replace('{{ inputs.what }}', 'it')}")
    execution = await engine.start(
        told("[waiting]", name="{{ event.name }} {{ event.execution }}")
        + f"## Phase: A\n### Steps\n- task: {sub}\n  id: sub\n"
    )
    child = f"{execution}/a/sub"
    assert await notices(engine, execution, 1) == [f"go {child}"]
    await engine.client.approve(child, "go")
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("N2", "N5")
async def test_a_pause_and_a_held_phase_are_told_each_with_a_key_of_its_own(engine: Engine) -> None:
    text = told("[waiting, paused]") + (
        "## Phase: A\nonFailure: pause\n### Steps\n- validation: 1 > 2 - No\n"
    )
    execution = await engine.start(text)
    await engine.until_status(execution, "waiting")
    await engine.client.pause(execution, reason="lunch", by="ann")
    assert await notices(engine, execution, 2) == [
        "waiting: retry “a”: the phase A failed: No",
        "paused: paused by ann: lunch",
    ]
    await engine.client.resume(execution)
    await engine.client.retry(execution, "a")
    assert len(await notices(engine, execution, 3)) == 3
    keys = {trace["key"] for trace in engine.traces(execution)}
    assert len(keys) == 3
    await engine.client.skip(execution, "a")
    await engine.wait(execution)


@pytest.mark.semantics("N4")
@pytest.mark.parametrize(
    ("step", "end"),
    [
        ("- tool: effect\n  with: {name: did}", "completed"),
        ("- validation: 1 > 2 - No", "failed"),
        ("- validation: 1 > 2 - No\n  critical: false", "completed_with_errors"),
        ("- wait: 1h", "timed_out"),
        ("- wait: 1h", "cancelled"),
    ],
)
async def test_the_end_is_told_before_the_workflow_ends(engine: Engine, step: str, end: str) -> None:
    every = "[completed, failed, completed_with_errors, timed_out, cancelled]"
    text = told(every, name="{{ event.kind }} {{ event.status }}") + f"## Phase: A\n### Steps\n{step}\n"
    if end == "timed_out":
        text = text.replace("notify:", "maxExecutionTime: 300ms\nnotify:")
    execution = await engine.start(text)
    if end == "cancelled":
        await engine.until(execution, lambda progress: progress.in_flight or progress.phases)
        await engine.client.abort(execution)
    result = await engine.wait(execution)
    assert result.status == end
    assert await notices(engine, execution, 1) == [f"{end} {end}"]


@pytest.mark.semantics("N3")
async def test_what_fails_or_hangs_neither_fails_nor_delays_the_task(engine: Engine) -> None:
    name = unique()
    text = f"""
```yaml
requirements:
  what: {{type: string, default: it}}
retry: {{maxAttempts: 2, backoffMs: 10}}
notify:
  - on: waiting
    tool: hold
    with: {{name: {name}}}
  - on: [waiting]
    tool: flaky
    with: {{name: "{{{{ event.name }}}}"}}
  - on: waiting
    tool: effect
    with: {{name: "{{{{ 1 / (inputs.what | length - 2) }}}}"}}
```

{WAITS}"""
    execution = await engine.start(text)
    await engine.until_trace(execution, "start", name)
    failed = await stored_events(engine, execution, "notification_failed", 2)
    assert {event.payload["name"] for event in failed} == {"flaky", "effect"}
    assert len([t for t in engine.traces(execution) if t["name"] == "go"]) == 2, "it is tried again"
    await engine.client.approve(execution, "go")
    begun = time.monotonic()
    assert (await engine.wait(execution)).status == "completed"
    assert time.monotonic() - begun < 20, "the one that hangs is left"
    await engine.until_trace(execution, "cancelled", name)


@pytest.mark.semantics("N2", "T9")
async def test_what_waits_in_a_sub_task_is_told_by_it_and_above_if_both_want_it(engine: Engine) -> None:
    engine.file("tasks/asking.md", f"# Asking\n{told('waiting', name='below')}{WAITS}")
    text = told("waiting", name="above") + "## Phase: A\n### Steps\n- task: asking - Ask\n  id: sub\n"
    execution = await engine.start(text)
    below = f"{execution}/a/sub"
    assert await notices(engine, below, 1) == ["below"]
    await engine.client.approve(below, "go")
    await engine.wait(execution)
    assert await notices(engine, execution, 1) == ["above"]


@pytest.mark.semantics("N6")
def test_a_notification_is_checked_like_a_step() -> None:
    shell = {"properties": {"command": {}}, "required": ["command"]}
    catalog = Catalog(tools={"shell": shell})

    def codes(notify: str) -> list[str]:
        text = f"# T\n\n```yaml\nnotify: {notify}\n```\n\n## Phase: A\n### Steps\n- wait: 1s\n"
        return [str(found.code) for found in check_text(text, catalog=catalog).diagnostics]

    good: dict[str, Any] = {"{on: failed, tool: shell, with: {command: [a, '{{ event.status }}']}}": []}
    bad = {
        "{on: fialed, tool: shell, with: {command: [a]}}": ["invalid-value"],
        "{on: failed}": ["missing-value"],
        "{tool: shell, with: {command: [a]}}": ["missing-value"],
        "{on: failed, tool: shel}": ["unknown-tool"],
        "{on: failed, tool: shell, by: me, with: {command: [a]}}": ["unknown-key"],
        "{on: failed, tool: shell, with: {command: [a], speed: 1}}": ["unknown-argument"],
        "{on: failed, tool: shell}": ["missing-argument"],
        "{on: failed, tool: shell, with: {command: [a, '{{ event.mesage }}']}}": ["unknown-name"],
        "{on: failed, tool: shell, with: {command: [a, '{{ steps.a.output }}']}}": ["unknown-name"],
        "{on: failed, tool: shell, with: {command: [a, '{{ inputs.x }}']}}": ["unknown-input"],
        "everybody": ["wrong-type"],
    }
    for notify, expected in (good | bad).items():
        assert codes(notify) == expected, notify
