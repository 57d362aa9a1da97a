"""Semantics S17 and R8: what cannot be used is told before a start, and a fallback stands in for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from engine import Engine
from inspecting import start_raw
from observing import stored_attempts, stored_events

from starter.gateway import TaskClient
from starter.wiring import Wiring
from taskmark.plan.usability import Unusable

MAIL = """
# Tell

## Phase: A
### Steps
- tool: mail - Tell them
  id: tell
  retry: {maxAttempts: 1}
  with: {to: ann@example.org, subject: Hello, body: Hello}
  fallback: {value: untold}
"""


@asynccontextmanager
async def dead_host() -> AsyncIterator[int]:
    """A port of this machine where somebody takes calls and never says a word."""
    released = asyncio.Event()

    async def wait(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        released.set()
        server.close()


def client(engine: Engine, **settings: Any) -> TaskClient:
    """Returns a client of the same Temporal that is set otherwise."""
    wiring = Wiring(engine.client.wiring.settings.model_copy(update=settings))
    return TaskClient(engine.client.client, wiring, engine.client.server)


@pytest.mark.semantics("S17")
async def test_a_start_warns_of_what_cannot_be_used_and_goes_on(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Unusable] = []
    with caplog.at_level(logging.WARNING, "taskmark.start"):
        execution = await engine.start(MAIL, warn=told.append)
        quiet = await engine.start(MAIL)
    (one,) = told
    assert (one.name, one.uses[0].step, one.uses[0].fallback) == ("mail", "tell", "a value")
    assert one.reason
    assert "TASKMARK_SMTP_URL" in (one.hint or "")
    assert [str(one)] == [r.getMessage() for r in caplog.records if r.name == "taskmark.start"]
    assert (await engine.wait(execution)).status == (await engine.wait(quiet)).status == "completed"
    (event,) = await stored_events(engine, execution, "unusable")
    assert (event.payload["name"], event.payload["reason"]) == ("mail", one.reason)


@pytest.mark.semantics("S17")
async def test_a_dead_host_delays_a_start_by_no_more_than_the_setting_says(engine: Engine) -> None:
    async with dead_host() as port:
        url = {"smtp_url": f"smtp://127.0.0.1:{port}", "mail_from": "tm@example.org"}
        told: list[Unusable] = []
        begun = time.monotonic()
        slow = client(engine, health_seconds=0.3, **url)
        execution = await slow.start(source=MAIL.strip(), warn=told.append)
        assert time.monotonic() - begun < 5, "alone, the tool would wait longer for an answer"
        assert [one.reason for one in told] == ["its health check took longer than 0.3 s"]
        await engine.wait(execution)


@pytest.mark.semantics("S17")
async def test_with_no_time_for_it_nobody_is_asked(engine: Engine) -> None:
    told: list[Unusable] = []
    execution = await client(engine, health_seconds=0.0).start(source=MAIL.strip(), warn=told.append)
    assert told == []
    await engine.wait(execution)


@pytest.mark.semantics("S17")
async def test_of_a_start_by_anybody_else_the_log_of_the_worker_and_the_events_tell(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "taskmark.start"):
        handle = await start_raw(engine, {"source": MAIL})
        (event,) = await stored_events(engine, handle.id, "unusable")
    assert (event.payload["kind"], event.payload["name"]) == ("tool", "mail")
    assert event.payload["uses"] == ["step tell of A, which falls back on a value"]
    (line,) = [r.getMessage() for r in caplog.records if r.name == "taskmark.start"]
    assert line.startswith(f"{handle.id}: tool mail cannot be used")
    assert (await handle.result())["status"] == "completed"


@pytest.mark.semantics("R8", "T11")
@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("tool: broken", "broken"),
        ("tool: web-search\n  with: {query: x}", "no search provider is configured"),
        ("tool: sql\n  with: {query: SELECT 1}", "no database is configured"),
        ("tool: shell\n  with: {command: [no-such-program-here]}", "no-such-program-here"),
        ("tool: mcp\n  with: {tool: x}", "no MCP server is configured"),
    ],
)
async def test_a_step_whose_tool_cannot_be_used_uses_its_fallback_at_once(
    engine: Engine, step: str, why: str
) -> None:
    """And the result, the progress and the store say for which failure."""
    text = f"## Phase: A\n### Steps\n- {step}\n  id: s\n  fallback: {{value: instead}}\n"
    execution = await engine.start(text, warn=lambda _: None)
    result = await engine.wait(execution)
    found = result.steps["s"]
    assert (found.status, found.output, found.fallback, found.error) == ("completed", "instead", True, None)
    assert found.fallback_for is not None
    assert found.fallback_for.category == "configuration"
    assert why in found.fallback_for.message
    assert found.attempts == 1, "what is not configured is not tried again"
    (view,) = (await engine.client.progress(execution)).phases[0].steps
    assert (view.fallback, view.fallback_for) == (True, found.fallback_for.message)
    (event,) = await stored_events(engine, execution, "step_completed")
    assert (event.payload["fallback"], event.payload["fallback_for"]) == (True, found.fallback_for.message)
    (attempt,) = await stored_attempts(engine, execution, "s", lambda some: some and some[0].error)
    assert attempt.error.message == found.fallback_for.message


@pytest.mark.semantics("R8")
async def test_a_step_without_a_failure_names_none(engine: Engine) -> None:
    result = await engine.run("## Phase: A\n### Steps\n- tool: effect\n  id: s\n  fallback: {value: 1}\n")
    assert (result.steps["s"].fallback, result.steps["s"].fallback_for) == (False, None)
    assert "fallback_for" not in result.steps["s"].model_dump()


@pytest.mark.semantics("R8", "T3")
async def test_of_several_items_the_first_failure_is_kept(engine: Engine) -> None:
    text = """
        ## Phase: A
        maxConcurrent: 1
        ### Steps
        - tool: flaky
          id: s
          forEach: [first, second]
          with: {name: "{{ item }}", category: logic, message: "{{ item }} failed"}
          fallback: {value: instead}
        """
    result = await engine.run(text)
    assert result.steps["s"].output == ["instead", "instead"]
    assert result.steps["s"].fallback_for.message == "first failed"
