"""Semantics R26: what the settings say of a tool holds where the file says nothing."""

from __future__ import annotations

import pytest
from engine import Engine

from taskmark.settings import Settings


@pytest.mark.semantics("R26")
async def test_a_tool_is_tried_as_often_as_the_settings_say(engine: Engine) -> None:
    """Unless the task or the step say otherwise: what they say counts, also if it is less."""
    text = "## Phase: A\n### Steps\n- tool: rare\n  id: s\n  with: {failures: 4}\n"
    assert (await engine.run(text)).steps["s"].attempts == 5
    task = f"# T\n\n```yaml\nretry: {{maxAttempts: 2, backoffMs: 1}}\n```\n\n{text}"
    assert (await engine.run(task)).steps["s"].attempts == 2
    step = f"{text}  retry: {{maxAttempts: 1}}\n"
    assert (await engine.run(step)).steps["s"].attempts == 1


@pytest.mark.semantics("R26")
async def test_a_tool_has_the_time_that_the_settings_say(engine: Engine) -> None:
    text = "## Phase: A\n### Steps\n- tool: slow\n  id: s\n  retry: {maxAttempts: 1}\n"
    result = await engine.run(f"{text}  with: {{seconds: 30}}\n")
    error = result.steps["s"].error
    assert error is not None
    assert error.message == "it took longer than its timeout of 0.3 s"
    longer = await engine.run(f"{text}  timeout: 10s\n  with: {{seconds: 0.5}}\n")
    assert longer.status == "completed"


@pytest.mark.semantics("R26")
async def test_no_more_calls_of_a_tool_run_at_once_than_the_settings_say(engine: Engine) -> None:
    text = "## Phase: A\n### Steps\n- tool: one-by-one\n  forEach: [1, 2, 3, 4]\n  with: {seconds: 0.1}\n"
    result = await engine.run(text)
    assert result.status == "completed"
    times = sorted((t["at"], t["what"]) for t in engine.traces(result.execution_id))
    assert [what for _, what in times] == ["start", "end"] * 4


def test_what_no_tool_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKMARK_TOOLS", '{"http": {"timeouts": "30s"}}')
    with pytest.raises(Exception, match="TASKMARK_TOOLS"):
        Settings()
