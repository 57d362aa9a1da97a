"""Semantics R1 to R8 and R16: attempts of one step, what lies between them, and what is told of a failure."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from engine import Engine
from observing import stored_attempts, temporal_status, unique, until, until_processes

from taskmark.contracts import TaskResult
from taskmark.tools.webhook import Webhook


def flaky(options: str = "", **arguments: Any) -> str:
    """Returns a task of one step, `s`, that fails as told."""
    given = json.dumps({"name": "f", **arguments})
    return f"## Phase: A\n### Steps\n- tool: flaky\n  id: s\n  with: {given}\n{options}"


async def backoffs(engine: Engine, execution: str, phase: str = "a") -> list[float]:
    """Returns the seconds of every wait before another attempt."""
    found = []
    if await temporal_status(engine, f"{execution}/{phase}") == "NONE":
        return []
    for event in await engine.events(execution, phase=phase):
        summary = json.loads(event.user_metadata.summary.data or b'""')
        if event.HasField("timer_started_event_attributes") and summary.startswith("before the"):
            timer = event.timer_started_event_attributes.start_to_fire_timeout
            found.append(timer.ToMilliseconds() / 1000)
    return found


def failed(result: TaskResult, step: str = "s") -> Any:
    """Returns the failure of a step that must have failed."""
    assert result.steps[step].status == "failed"
    assert result.steps[step].error is not None
    return result.steps[step].error


# --- R1: transient ------------------------------------------------------------------------------------


@pytest.mark.semantics("R1")
async def test_a_transient_failure_is_retried_until_it_succeeds(engine: Engine) -> None:
    result = await engine.run(flaky("  retry: {maxAttempts: 4, backoffMs: 10}\n", failures=3))
    assert (result.status, result.steps["s"].attempts) == ("completed", 4)
    assert result.steps["s"].error is None
    assert [t["attempt"] for t in engine.traces(result.execution_id) if t["what"] == "start"] == [1, 2, 3, 4]


@pytest.mark.semantics("R1")
async def test_a_transient_failure_is_retried_no_more_than_told(engine: Engine) -> None:
    result = await engine.run(flaky("  retry: {maxAttempts: 4, backoffMs: 10}\n"))
    assert (result.status, result.steps["s"].attempts) == ("failed", 4)
    assert len(engine.names(result.execution_id)) == 4
    assert failed(result).message == "it fails on purpose"


@pytest.mark.semantics("R1")
async def test_the_backoff_doubles_within_ten_percent(engine: Engine) -> None:
    """And it is spread: steps that failed together do not come back together."""
    text = flaky(
        "  forEach: [1, 2, 3, 4, 5, 6]\n  critical: false\n  retry: {maxAttempts: 4, backoffMs: 100}\n"
    )
    result = await engine.run(text)
    waits = sorted(await backoffs(engine, result.execution_id))
    assert len(waits) == 18
    for waited, expected in ((waits[:6], 0.1), (waits[6:12], 0.2), (waits[12:], 0.4)):
        assert all(0.9 * expected - 0.001 <= wait <= 1.1 * expected + 0.001 for wait in waited), waits
    assert len(set(waits)) > 6


@pytest.mark.semantics("R1")
async def test_the_backoff_is_one_minute_at_most(engine: Engine) -> None:
    """Also with the ten percent."""
    items = list(range(12))
    text = flaky(f"  forEach: {items}\n  retry: {{maxAttempts: 9, backoffMs: 3600000}}\n")
    execution = await engine.start(text)
    waits = await until(lambda: backoffs(engine, execution), lambda found: len(found) == 12)
    assert all(54 <= wait <= 60 for wait in waits), waits
    await engine.client.abort(execution)


@pytest.mark.semantics("R1")
async def test_what_a_tool_cannot_classify_is_transient(engine: Engine) -> None:
    result = await engine.run(flaky("  retry: {maxAttempts: 2, backoffMs: 10}\n", plain=True))
    assert result.steps["s"].attempts == 2
    assert failed(result).category == "transient"
    assert failed(result).message == "ValueError: it fails on purpose"


@pytest.mark.semantics("R1")
async def test_a_non_zero_exit_is_transient(engine: Engine) -> None:
    step = "- tool: shell\n  id: s\n  with: {command: [sh, -c, 'echo x >> tries-EXIT; exit 3']}\n"
    text = f"## Phase: A\n### Steps\n{step}  retry: {{maxAttempts: 2, backoffMs: 10}}\n"
    marker = unique()
    result = await engine.run(text.replace("EXIT", marker))
    assert failed(result).category == "transient"
    assert (engine.root / f"tries-{marker}").read_text() == "x\nx\n"


@pytest.mark.semantics("R1", "R5")
async def test_without_a_backoff_the_next_attempt_comes_at_once(engine: Engine) -> None:
    result = await engine.run(flaky("  retry: {maxAttempts: 3, backoffMs: 0}\n", failures=2))
    assert result.status == "completed"
    assert await backoffs(engine, result.execution_id) == []


# --- R2 to R4: the other categories -------------------------------------------------------------------


@pytest.mark.semantics("R2")
async def test_a_resource_failure_is_retried_asking_for_less(engine: Engine) -> None:
    result = await engine.run(
        flaky("  retry: {maxAttempts: 3, backoffMs: 100}\n", category="resource", failures=2)
    )
    assert (result.status, result.steps["s"].attempts) == ("completed", 3)
    starts = [t for t in engine.traces(result.execution_id) if t["what"] == "start"]
    assert [t["reduced"] for t in starts] == [False, True, True]
    first, second = await backoffs(engine, result.execution_id)
    assert 0.09 <= first <= 0.11
    assert 0.18 <= second <= 0.22


@pytest.mark.semantics("R3")
async def test_a_permission_failure_is_retried_once_at_once_with_fresh_credentials(engine: Engine) -> None:
    result = await engine.run(
        flaky("  retry: {maxAttempts: 5, backoffMs: 60000}\n", category="permission", failures=1)
    )
    assert (result.status, result.steps["s"].attempts) == ("completed", 2)
    starts = [t for t in engine.traces(result.execution_id) if t["what"] == "start"]
    assert [t["refresh"] for t in starts] == [False, True]
    assert [t["reduced"] for t in starts] == [False, False]
    assert await backoffs(engine, result.execution_id) == []


@pytest.mark.semantics("R3")
async def test_a_second_permission_failure_is_final(engine: Engine) -> None:
    result = await engine.run(flaky("  retry: {maxAttempts: 5, backoffMs: 10}\n", category="permission"))
    assert result.steps["s"].attempts == 2
    assert failed(result).category == "permission"


@pytest.mark.semantics("R4")
@pytest.mark.parametrize("category", ["configuration", "logic"])
async def test_a_failure_that_would_come_again_is_not_retried(engine: Engine, category: str) -> None:
    result = await engine.run(flaky("  retry: {maxAttempts: 5, backoffMs: 10}\n", category=category))
    assert result.steps["s"].attempts == 1
    assert failed(result).category == category
    assert len(engine.names(result.execution_id)) == 1


@pytest.mark.semantics("R4")
async def test_parameters_that_do_not_fit_are_not_retried(engine: Engine) -> None:
    text = """
        ## Phase: A
        ### Steps
        - tool: effect
          id: s
          with: {name: x, seconds: "{{ 'soon' }}"}
        """
    result = await engine.run(text)
    assert (failed(result).category, result.steps["s"].attempts) == ("configuration", 1)
    assert engine.names(result.execution_id) == []


# --- R5: whose retry counts ---------------------------------------------------------------------------


@pytest.mark.semantics("R5")
async def test_three_attempts_are_made_unless_the_file_says_otherwise(engine: Engine) -> None:
    """With a first backoff of one second, seen in the history without waiting for it."""
    execution = await engine.start(flaky())
    (first,) = await until(lambda: backoffs(engine, execution), lambda found: len(found) == 1)
    assert 0.9 <= first <= 1.1
    result = await engine.wait(execution)
    assert result.steps["s"].attempts == 3


@pytest.mark.semantics("R5")
async def test_the_tasks_retry_is_the_default_of_its_steps(engine: Engine) -> None:
    head = "# T\n\n```yaml\nretry: {maxAttempts: 2, backoffMs: 10}\n```\n\n"
    result = await engine.run(head + flaky())
    assert result.steps["s"].attempts == 2


@pytest.mark.semantics("R5")
async def test_a_steps_own_retry_wins_over_the_tasks(engine: Engine) -> None:
    head = "# T\n\n```yaml\nretry: {maxAttempts: 5, backoffMs: 10}\n```\n\n"
    result = await engine.run(head + flaky("  retry: {maxAttempts: 1}\n"))
    assert result.steps["s"].attempts == 1


@pytest.mark.semantics("R5")
async def test_every_item_of_a_for_each_has_attempts_of_its_own(engine: Engine) -> None:
    text = flaky("  forEach: [1, 2, 3]\n  retry: {maxAttempts: 2, backoffMs: 10}\n", failures=1)
    result = await engine.run(text)
    assert result.status == "completed"
    starts = [t for t in engine.traces(result.execution_id) if t["what"] == "start"]
    assert sorted((t["item"], t["attempt"]) for t in starts) == [(n, a) for n in range(3) for a in (1, 2)]
    assert result.steps["s"].output == [{"calls": 2}] * 3


# --- R7: timeouts -------------------------------------------------------------------------------------


@pytest.mark.semantics("R7")
async def test_a_step_over_its_timeout_is_ended_and_retried(engine: Engine) -> None:
    name = unique()
    text = f"""
        ## Phase: A
        ### Steps
        - tool: hold
          id: s
          timeout: 200ms
          with: {{name: {name}}}
          retry: {{maxAttempts: 2, backoffMs: 10}}
        """
    result = await engine.run(text)
    error = failed(result)
    assert (error.type, error.category, result.steps["s"].attempts) == ("timed_out", "transient", 2)
    assert "0.2 s" in error.message
    assert error.hint
    assert engine.names(result.execution_id, "cancelled") == [name, name]


@pytest.mark.semantics("R7")
async def test_a_timeout_ends_processes_and_their_children(engine: Engine) -> None:
    marker = f"5{int(unique('')[:6], 16)}"
    text = f"""
        ## Phase: A
        ### Steps
        - tool: shell
          id: s
          timeout: 500ms
          with: {{command: "sleep {marker} & sleep {marker}; true", shell: true}}
          retry: {{maxAttempts: 1}}
        """
    result = await engine.run(text)
    assert failed(result).type == "timed_out"
    await until_processes(marker, 0, 3)


NARROW = """
import os

class Full(Exception):
    category = "resource"

def fit():
    if "TASKMARK_REDUCED" not in os.environ:
        raise Full("too much at once")
    return os.environ["TASKMARK_ATTEMPT"]
"""


@pytest.mark.semantics("R2")
async def test_a_program_is_told_to_use_less_by_its_environment(engine: Engine) -> None:
    engine.file("narrow.py", NARROW)
    step = (
        "- tool: python\n  id: s\n  with: {function: narrow:fit}\n  retry: {maxAttempts: 2, backoffMs: 10}\n"
    )
    result = await engine.run(f"## Phase: A\n### Steps\n{step}")
    assert (result.status, result.steps["s"].output) == ("completed", "2"), result.error


@pytest.mark.semantics("R3")
async def test_credentials_are_refreshed_from_the_settings_of_now(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone has put a new token into them since the worker began."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1])
        status = "204 No Content" if asked[-1] == "/token-new" else "401 Unauthorized"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        place = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        wiring, registry = engine.client.wiring, engine.client.wiring.registry
        old = Webhook({"billing": {"url": f"{place}/token-old"}})
        monkeypatch.setattr(registry, "tools", {**registry.tools, "webhook": old})
        monkeypatch.setattr(wiring, "_told", wiring._told)
        monkeypatch.setenv("TASKMARK_WEBHOOKS", json.dumps({"billing": {"url": f"{place}/token-new"}}))
        step = "- tool: webhook\n  id: s\n  with: {endpoint: billing, payload: {a: 1}}\n"
        result = await engine.run(f"## Phase: A\n### Steps\n{step}")
    assert (result.status, result.steps["s"].attempts) == ("completed", 2), result.error
    assert asked == ["/token-old", "/token-new"]


# --- R8: fallbacks ------------------------------------------------------------------------------------

ONCE = "  retry: {maxAttempts: 2, backoffMs: 10}\n"


@pytest.mark.semantics("R8")
@pytest.mark.parametrize(
    ("fallback", "output"),
    [
        ("fallback: {value: 7}", 7),
        ("fallback: {value: [a, {b: '{{ 1 + 1 }}'}]}", ["a", {"b": 2}]),
        ("fallback: effect", {"name": "f", "value": None, "attempt": 3}),
        ("fallback: {tool: effect}", {"name": "f", "value": None, "attempt": 3}),
        (
            "fallback: {tool: effect, with: {name: other, value: '{{ 2 * 3 }}'}}",
            {"name": "other", "value": 6, "attempt": 3},
        ),
        ("fallback: {agent: ann}", {"vote": "yes", "agent": "ann"}),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_after_the_last_attempt_the_fallback_is_used(
    engine: Engine, fallback: str, output: Any
) -> None:
    """The step completes, and the result says that it was the fallback."""
    result = await engine.run(flaky(f"{ONCE}  {fallback}\n"))
    assert result.status == "completed", result.error
    step = result.steps["s"]
    assert (step.status, step.output, step.fallback, step.error) == ("completed", output, True, None)
    assert engine.names(result.execution_id)[:2] == ["f", "f"]


@pytest.mark.semantics("R8")
@pytest.mark.parametrize(
    ("fallback", "answer"), [("{value: nothing}", "nothing"), ("bob", {"vote": "yes", "agent": "bob"})]
)
async def test_an_instruction_falls_back_for_each_agent_that_fails(
    engine: Engine, fallback: str, answer: Any
) -> None:
    """The answer stands under the name of the agent that was asked first; the others keep theirs."""
    step = f"- Say something\n  id: s\n  retry: {{maxAttempts: 1}}\n  fallback: {fallback}\n"
    result = await engine.run(f"## Phase: A\n### Steps\n{step}\n### Agents\n- ann\n- dud\n")
    assert result.status == "completed"
    found = result.steps["s"]
    assert (found.status, found.fallback, found.error) == ("completed", True, None)
    assert found.output == {"ann": {"vote": "yes", "agent": "ann"}, "dud": answer}


@pytest.mark.semantics("R8")
async def test_a_step_that_succeeds_does_not_use_its_fallback(engine: Engine) -> None:
    result = await engine.run(flaky(f"{ONCE}  fallback: {{value: 1}}\n", failures=1))
    assert (result.steps["s"].output, result.steps["s"].fallback) == ({"calls": 2}, False)
    assert len(engine.names(result.execution_id)) == 2


@pytest.mark.semantics("R8")
async def test_a_fallback_has_retries_of_its_own_and_is_used_once(engine: Engine) -> None:
    """Another tool is another effect: its key is its own, and the same for each of its attempts."""
    other = "  fallback: {tool: flaky, with: {name: other}}\n"
    result = await engine.run(flaky(f"{ONCE}{other}"))
    assert (result.status, result.steps["s"].attempts) == ("failed", 4)
    starts = [t for t in engine.traces(result.execution_id) if t["what"] == "start"]
    assert [t["name"] for t in starts] == ["f", "f", "other", "other"]
    assert [t["attempt"] for t in starts] == [1, 2, 3, 4]
    keys = [t["key"] for t in starts]
    assert keys[0] == keys[1] != keys[2] == keys[3]


@pytest.mark.semantics("R8")
async def test_an_agent_falls_back_on_another_agent(engine: Engine) -> None:
    text = "## Phase: A\n### Steps\n- agent: dud - Say\n  id: s\n  fallback: bob\n"
    result = await engine.run(text)
    assert (result.status, result.steps["s"].fallback) == ("completed", True)
    assert result.steps["s"].output["agent"] == "bob"
    assert engine.names(result.execution_id, "asked") == ["dud", "bob"]


@pytest.mark.semantics("R8", "T3")
async def test_each_item_falls_back_by_itself(engine: Engine) -> None:
    text = """
        ## Phase: A
        ### Steps
        - tool: flaky
          id: s
          forEach: [0, 1, 0]
          with: {name: f, failures: "{{ item }}"}
          retry: {maxAttempts: 1}
          fallback: {value: "instead of {{ index }}"}
        """
    result = await engine.run(text)
    assert result.steps["s"].output == [{"calls": 1}, "instead of 1", {"calls": 1}]
    assert (result.status, result.steps["s"].fallback) == ("completed", True)


@pytest.mark.semantics("R8", "R7")
async def test_a_failure_without_retries_falls_back_at_once(engine: Engine) -> None:
    result = await engine.run(flaky("  fallback: {value: 1}\n", category="logic"))
    assert (result.steps["s"].attempts, result.steps["s"].output) == (1, 1)


@pytest.mark.semantics("R8")
async def test_a_broken_fallback_value_fails_the_step(engine: Engine) -> None:
    result = await engine.run(flaky(f"{ONCE}  fallback: {{value: '{{{{ 1 // 0 }}}}'}}\n"))
    assert failed(result).category == "logic"


# --- R16: what is told --------------------------------------------------------------------------------


@pytest.mark.semantics("R16")
async def test_between_attempts_it_is_told_when_the_next_one_comes(engine: Engine) -> None:
    execution = await engine.start(flaky("  retry: {maxAttempts: 2, backoffMs: 30000}\n"))
    handle = engine.client.client.get_workflow_handle(f"{execution}/a")

    async def look() -> Any:
        try:
            return (await handle.query("state"))["steps"][0]
        except Exception:
            return {}  # it has not started yet

    step = await until(look, lambda step: step.get("error"))
    assert (step["status"], step["attempt"]) == ("running", 1)
    error = step["error"]
    assert (error["message"], error["category"]) == ("it fails on purpose", "transient")
    assert (error["will_retry"], 27 <= error["retry_in_seconds"] <= 33) == (True, True)
    assert (error["phase"], error["step"]) == ("a", "s")
    progress = await engine.client.progress(execution)
    assert progress.phases[0].steps[0].error == "it fails on purpose"
    await engine.client.abort(execution)


@pytest.mark.semantics("R16")
async def test_a_failure_says_what_where_what_else_and_what_to_do(engine: Engine) -> None:
    """Steps that read it or come after it, outputs that need it, and phases that depend on its phase."""
    text = """
        ## Phase: A
        onFailure: continue
        ### Steps
        - tool: effect
          id: before
        - tool: flaky
          id: s
          retry: {maxAttempts: 1}
        - tool: effect
          id: after
        ### Outputs
        - needs: steps.s.output.calls
        - other: steps.before.output

        ## Phase: B
        dependsOn: [A]
        ### Steps
        - tool: effect
          id: far

        ## Phase: C
        dependsOn: [B]
        ### Steps
        - tool: effect
          id: farther
        """
    result = await engine.run(text)
    error = failed(result)
    assert (error.type, error.message, error.category) == ("step_failed", "it fails on purpose", "transient")
    assert (error.step, error.phase) == ("s", "a")
    assert (error.will_retry, error.retry_in_seconds) == (False, None)
    assert error.hint == "do not fail"
    assert set(error.affects) >= {"after", "needs"}
    assert "before" not in error.affects
    assert "other" not in error.affects
    assert result.phases["a"].error is not None
    assert set(result.phases["a"].error.affects) >= {"after", "needs", "b", "c"}


@pytest.mark.semantics("R16")
async def test_a_step_that_was_skipped_before_is_not_affected(engine: Engine) -> None:
    text = """
        ## Phase: A
        ### Steps
        - tool: effect
          id: off
          if: 1 > 2
        - tool: flaky
          id: s
          with: {category: logic}
        - tool: effect
          id: after
        """
    assert failed(await engine.run(text)).affects == ("after",)


@pytest.mark.semantics("R16")
async def test_a_failure_that_is_not_critical_affects_only_what_reads_it(engine: Engine) -> None:
    text = """
        ## Phase: A
        ### Steps
        - tool: flaky
          id: s
          critical: false
          retry: {maxAttempts: 1}
        - tool: effect
          id: reader
          with: {name: "{{ steps.s.output.calls }}"}
        - tool: effect
          id: other
        """
    result = await engine.run(text)
    assert failed(result).affects == ("reader",)
    assert result.status == "completed_with_errors"


@pytest.mark.semantics("R16", "T7")
async def test_a_failed_validation_says_its_condition(engine: Engine) -> None:
    result = await engine.run("## Phase: A\n### Steps\n- validation: 1 > 2 - Too small\n  id: s\n")
    error = failed(result)
    assert (error.type, error.message, error.category) == ("validation_failed", "Too small", "logic")
    assert "1 > 2" in error.hint


@pytest.mark.semantics("R16", "R1", "R8")
async def test_every_attempt_is_in_the_store_with_its_failure(engine: Engine) -> None:
    result = await engine.run(flaky("  retry: {maxAttempts: 3, backoffMs: 10}\n", failures=2))
    attempts = await stored_attempts(
        engine, result.execution_id, "s", lambda found: sum(a.status.is_final for a in found) == 3
    )
    assert [(a.attempt, a.status) for a in attempts] == [(1, "failed"), (2, "failed"), (3, "completed")]
    assert all(a.error and a.error.message == "it fails on purpose" and a.error.stack for a in attempts[:2])
    assert attempts[2].output == {"calls": 3}
    assert len({a.idempotency_key for a in attempts}) == 1


@pytest.mark.semantics("R16")
async def test_a_message_of_any_length_ends_the_step_and_not_more(engine: Engine) -> None:
    result = await engine.run(flaky(message="ü" * 20_000, category="logic"))
    assert result.status == "failed"
    assert 1000 < len(failed(result).message) <= 2000


# --- keys ---------------------------------------------------------------------------------------------


@pytest.mark.semantics("R1", "T14")
async def test_keys_are_the_same_for_each_attempt_and_differ_for_each_item_and_step(engine: Engine) -> None:
    text = """
        ## Phase: A
        ### Steps
        - tool: flaky
          id: one
          forEach: [1, 2]
          with: {name: one, failures: 1}
          retry: {maxAttempts: 2, backoffMs: 10}
        - tool: flaky
          id: two
          with: {name: two, failures: 1}
          retry: {maxAttempts: 2, backoffMs: 10}

        ## Phase: B
        forEach: [1, 2]
        ### Steps
        - tool: flaky
          id: three
          with: {name: three, failures: 1}
          retry: {maxAttempts: 2, backoffMs: 10}
        """
    first, second = await asyncio.gather(engine.run(text), engine.run(text))
    assert first.status == second.status == "completed"
    seen: dict[tuple[Any, ...], set[str]] = {}
    for execution in (first.execution_id, second.execution_id):
        for trace in engine.traces(execution):
            seen.setdefault((execution, trace["step"], trace["item"]), set()).add(trace["key"])
    assert len(seen) == 10
    assert all(len(keys) == 1 for keys in seen.values())
    assert len({key for keys in seen.values() for key in keys}) == 10


@pytest.mark.semantics("T14", "R1")
async def test_a_key_of_the_files_own_is_used_for_every_attempt(engine: Engine) -> None:
    options = "  idempotencyKey: 'order-{{ 40 + 2 }}'\n  retry: {maxAttempts: 2, backoffMs: 10}\n"
    result = await engine.run(flaky(options, failures=1))
    # other executions use the same key, so what it returns counts their calls too
    assert {t["key"] for t in engine.traces(result.execution_id)} == {"order-42"}


@pytest.mark.semantics("R1")
@pytest.mark.parametrize("name", ["counting", "counting-thread"])
async def test_the_next_attempt_goes_on_from_the_last_heartbeat(engine: Engine, name: str) -> None:
    text = f"## Phase: A\n### Steps\n- tool: {name}\n  id: s\n  retry: {{maxAttempts: 3, backoffMs: 10}}\n"
    result = await engine.run(text)
    assert (result.status, result.steps["s"].output) == ("completed", 4), result.error


@pytest.mark.semantics("R4", "T11")
async def test_a_step_whose_tool_exits_python_fails_and_the_worker_lives(engine: Engine) -> None:
    text = """
        ## Phase: A
        onFailure: continue
        ### Steps
        - tool: exiting
          id: s
          retry: {maxAttempts: 1}

        ## Phase: B
        dependsOn: [A]
        if: "true"
        ### Steps
        - tool: effect
          id: t
        """
    result = await engine.run(text)
    assert "SystemExit" in failed(result).message
    assert result.steps["t"].status == "completed"
