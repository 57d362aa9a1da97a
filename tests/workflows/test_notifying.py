"""Semantics N1 to N8: who is told of what, by tools, beside everything else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from engine import Engine
from observing import stored_events, unique, until

from taskmark.task import check_text
from taskmark.task.catalog import Catalog
from taskmark.tools.network import NetworkPolicy

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


# --- N7, N8: failures ---------------------------------------------------------------------------------


class Inbox:
    """A real HTTP server that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = next(int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:"))
        self.told.append(json.loads(await reader.readexactly(size)))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    async def has(self, count: int) -> list[dict[str, Any]]:
        async def look() -> list[dict[str, Any]]:
            return self.told

        return await until(look, lambda told: len(told) >= count)


@pytest.fixture
async def inbox(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inbox]:
    """The worker's `http` may call this machine while a test tells something there."""
    http = engine.client.wiring.registry.tools["http"]
    monkeypatch.setattr(http, "_policy", NetworkPolicy(allow_private=True))
    inbox = Inbox()
    server = await asyncio.start_server(inbox.handle, "127.0.0.1", 0)
    inbox.port = server.sockets[0].getsockname()[1]
    async with server:
        yield inbox


def by_http(inbox: Inbox, on: str, *parts: str) -> str:
    """Returns metadata that posts parts of an event to the server."""
    fields = "".join(f'\n        {part}: "{{{{ event.{part} }}}}"' for part in ("kind", *parts))
    return f"""
```yaml
notify:
  - on: {on}
    tool: http
    with:
      method: POST
      url: http://127.0.0.1:{inbox.port}/
      json:{fields}
```

"""


@pytest.mark.semantics("N7")
async def test_the_end_tells_what_failed_why_what_it_affects_and_what_to_do(
    engine: Engine, inbox: Inbox
) -> None:
    parts = ("message", "category", "hint", "affects", "phase", "step", "failures")
    steps = """## Phase: A
### Steps
- tool: flaky - Fail
  id: bad
  with: {category: logic, message: it is Tuesday}
- tool: effect - After it
  id: after
  with: {name: never}
"""
    result = await engine.run(by_http(inbox, "failed", *parts) + steps)
    assert result.status == "failed"
    (told,) = await inbox.has(1)
    assert (told["kind"], told["message"], told["category"]) == ("failed", "it is Tuesday", "logic")
    assert (told["phase"], told["step"], told["hint"]) == ("a", "bad", "do not fail")
    assert told["affects"] == ["after"]
    assert [(one["step"], one["message"]) for one in told["failures"]] == [("bad", "it is Tuesday")]


@pytest.mark.semantics("N7")
async def test_an_end_with_errors_tells_of_each_of_them(engine: Engine, inbox: Inbox) -> None:
    steps = "## Phase: A\n### Steps\n" + "".join(
        f"- tool: flaky\n  id: {name}\n  critical: false\n  with: {{category: logic, message: no {name}}}\n"
        for name in ("one", "two")
    )
    await engine.run(by_http(inbox, "completed_with_errors", "message", "failures") + steps)
    (told,) = await inbox.has(1)
    assert told["message"] == "no one"
    assert [(one["step"], one["category"]) for one in told["failures"]] == [
        ("one", "logic"),
        ("two", "logic"),
    ]


@pytest.mark.semantics("N7")
async def test_a_held_phase_tells_what_failed_in_it(engine: Engine, inbox: Inbox) -> None:
    steps = """## Phase: A
onFailure: pause
### Steps
- tool: flaky
  id: bad
  with: {category: permission, message: not for you}
  retry: {maxAttempts: 1}
"""
    execution = await engine.start(by_http(inbox, "waiting", "gate", "category", "hint", "failures") + steps)
    (told,) = await inbox.has(1)
    assert (told["gate"], told["category"], told["hint"]) == ("retry", "permission", "do not fail")
    assert [one["step"] for one in told["failures"]] == ["bad"]
    await engine.client.skip(execution, "a")
    await engine.wait(execution)


@pytest.mark.semantics("N8")
async def test_a_failure_is_told_with_whether_and_when_it_is_tried_again(
    engine: Engine, inbox: Inbox
) -> None:
    parts = ("message", "category", "step", "attempt", "retry_in_seconds", "hint")
    steps = """## Phase: A
### Steps
- tool: flaky
  id: bad
  critical: false
  with: {message: not now}
  retry: {maxAttempts: 2, backoffMs: 500}
- tool: hold
  id: on
  with: {name: NAME}
""".replace("NAME", name := unique())
    execution = await engine.start(by_http(inbox, "[retrying, step_failed]", *parts) + steps)
    again, last = await inbox.has(2)
    assert (again["kind"], again["step"], again["category"]) == ("retrying", "bad", "transient")
    assert again["message"] == "not now"
    assert 0.4 <= again["retry_in_seconds"] <= 0.6
    assert (last["kind"], last["attempt"], last["retry_in_seconds"]) == ("step_failed", 2, None)
    engine.release(name)
    assert (await engine.wait(execution)).status == "completed_with_errors"
    assert len(inbox.told) == 2


@pytest.mark.semantics("N8")
async def test_who_does_not_ask_for_failures_of_steps_is_not_told(engine: Engine, inbox: Inbox) -> None:
    steps = "## Phase: A\n### Steps\n- tool: flaky\n  critical: false\n  with: {category: logic}\n"
    await engine.run(by_http(inbox, "[waiting, completed_with_errors]") + steps)
    assert [told["kind"] for told in await inbox.has(1)] == ["completed_with_errors"]
