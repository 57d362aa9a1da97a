"""Semantics R17 to R21, G7 to G9: what is held is corrected, and decisions are about what was shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from engine import Engine
from observing import stored_events, unique, until
from temporalio.client import WorkflowUpdateFailedError

from taskmark.contracts import Progress, TaskResult
from taskmark.errors import Refused
from taskmark.records import ExecutionRecord

META = """
```yaml
requirements:
  word: {type: string, default: old}
  other: {type: integer, default: 1}
```
"""

HELD = f"""
{META}
## Phase: A
onFailure: pause
### Steps
- tool: effect
  id: plain
  with: {{name: plain}}
- tool: effect
  id: reader
  with: {{name: "{{{{ inputs.word }}}}", value: 1}}
- tool: effect
  id: far
  with: {{name: "far {{{{ steps.reader.output.name }}}}"}}
- validation: inputs.word == "new" - Not yet
  id: check
- tool: effect
  id: last
  with: {{name: last}}
### Outputs
- word: steps.far.output.name

## Phase: B
dependsOn: [A]
### Steps
- tool: effect
  id: later
  with: {{name: "later {{{{ inputs.word }}}}"}}
"""


async def held(engine: Engine, text: str, **options: Any) -> str:
    """Starts a task and returns its id once a phase is held."""
    execution = await engine.start(text, **options)
    await engine.until(execution, is_held)
    return execution


def is_held(progress: Progress) -> bool:
    """Whether a phase waits for `retry` or `skip`."""
    return any(wait.kind == "retry" for wait in progress.waiting)


async def update(engine: Engine, execution: str, name: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Sends an update as any client does, and returns its answer."""
    handle = engine.client.client.get_workflow_handle(execution)
    answer: dict[str, Any] = await handle.execute_update(name, payload)
    return answer


async def refused(engine: Engine, execution: str, name: str, payload: dict[str, Any]) -> tuple[str, str]:
    """Returns type and reason of a refusal, having checked that it left no event."""
    before = len(await engine.events(execution))
    with pytest.raises(WorkflowUpdateFailedError) as raised:
        await update(engine, execution, name, payload)
    assert len(await engine.events(execution)) == before
    cause: Any = raised.value.cause
    return cause.type, cause.message


def statuses(result: TaskResult) -> dict[str, str]:
    """Returns the status of each step."""
    return {name: step.status.value for name, step in result.steps.items()}


def asks(prompt: str) -> Callable[[Progress], bool]:
    """Returns a test for a progress in which something waits with the prompt."""
    return lambda progress: any(wait.prompt == prompt for wait in progress.waiting)


# --- R17: a step ----------------------------------------------------------------------------------


@pytest.mark.semantics("R17")
async def test_a_named_step_runs_again_with_what_reads_it_though_they_completed(engine: Engine) -> None:
    """Another call is another effect: each has a key of its own."""
    execution = await held(engine, HELD)
    await update(engine, execution, "retry", {"step": "reader", "by": "ann"})
    await engine.until(execution, lambda p: p.phases[0].attempt == 2 and is_held(p))
    assert engine.names(execution) == ["plain", "old", "far old", "old", "far old"]
    keys = [trace["key"] for trace in engine.traces(execution) if trace["what"] == "start"]
    assert len(set(keys)) == 5
    await engine.client.skip(execution, "a")
    assert (await engine.wait(execution)).steps["reader"].attempts == 2


@pytest.mark.semantics("R17", "T9")
async def test_a_sub_task_that_had_completed_runs_again_as_another_one(engine: Engine) -> None:
    engine.file("tasks/below.md", "# Below\n\n## Phase: Only\n### Steps\n- tool: effect\n  with: {name: x}\n")
    text = """
        ## Phase: A
        onFailure: pause
        ### Steps
        - task: below - Run it
          id: sub
        - validation: 1 > 2 - No
        """
    execution = await held(engine, text)
    await engine.client.retry(execution, step="sub")
    await engine.until(execution, lambda p: p.phases[0].attempt == 2 and is_held(p))
    first, second = f"{execution}/a/sub", f"{execution}/a/sub#again1"
    assert (engine.names(first), engine.names(second)) == (["x"], ["x"])
    await engine.client.skip(execution, "a")
    await engine.wait(execution)


# --- R18: inputs ----------------------------------------------------------------------------------


@pytest.mark.semantics("R18")
async def test_changed_inputs_run_again_what_read_them_and_keep_the_rest(engine: Engine) -> None:
    execution = await held(engine, HELD)
    answer = await engine.client.retry(execution, "a", inputs={"word": "new"}, by="ann", comment="typo")
    assert (answer["by"], answer["comment"], answer["duplicate"]) == ("ann", "typo", False)
    result = await engine.wait(execution)
    assert result.status == "completed"
    assert engine.names(execution) == ["plain", "old", "far old", "new", "far new", "last", "later new"]
    assert result.phases["a"].outputs == {"word": "far new"}
    (event,) = await stored_events(engine, execution, "decided")
    assert event.payload["value"]["inputs"] == {"word": "new"}

    async def look() -> ExecutionRecord:
        return engine.client.wiring.history.execution(execution)

    await until(look, lambda row: row.inputs == {"word": "new", "other": 1})


@pytest.mark.semantics("R18")
async def test_an_input_that_stays_the_same_or_that_nobody_read_runs_nothing_again(engine: Engine) -> None:
    execution = await held(engine, HELD)
    await engine.client.retry(execution, "a", inputs={"word": "old", "other": 7})
    await engine.until(execution, lambda p: p.phases[0].attempt == 2 and is_held(p))
    assert engine.names(execution) == ["plain", "old", "far old"]
    await engine.client.retry(execution, "a", inputs={"word": "new"})
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("R18")
async def test_an_agent_is_asked_again_because_it_is_given_every_input(engine: Engine) -> None:
    text = f"""
{META}
## Phase: A
onFailure: pause
### Steps
- agent: eve - Say it
  id: said
- tool: effect
  id: kept
  with: {{name: kept}}
- validation: inputs.other == 2 - Not yet
"""
    execution = await held(engine, text)
    await engine.client.retry(execution, "a", inputs={"other": 2})
    result = await engine.wait(execution)
    assert (result.steps["said"].attempts, result.steps["kept"].attempts) == (2, 1)


@pytest.mark.semantics("R18")
async def test_items_that_come_from_a_changed_input_begin_anew(engine: Engine) -> None:
    text = """
```yaml
requirements:
  names: {type: list, default: [a, b]}
```

## Phase: Each
forEach: inputs.names
onFailure: pause
### Steps
- tool: mixed
  id: did
  with: {name: "{{ item }}"}
- validation: item != "b" - Not b
  id: check
"""
    execution = await held(engine, text)
    await engine.client.retry(execution, "each", inputs={"names": ["c", "d", "e"]})
    result = await engine.wait(execution)
    assert result.status == "completed"
    assert sorted(engine.names(execution)) == ["a", "b", "c", "d", "e"]
    assert result.steps["did"].output[2]["name"] == "e"
    assert result.steps["did[0]"].attempts == 2


@pytest.mark.semantics("R18", "R15")
async def test_a_phase_that_was_lost_runs_again_with_changed_inputs(engine: Engine) -> None:
    name = unique()
    text = f"""
{META}
## Phase: A
onFailure: pause
### Steps
- tool: mixed
  with: {{name: "{{{{ 'held' ~ inputs.word if inputs.word != 'new' else 'done' }}}}"}}
"""
    execution = await engine.start(text, {"word": name})
    await engine.until_trace(execution, "start", f"held{name}")
    await engine.client.client.get_workflow_handle(f"{execution}/a").terminate("by hand")
    await engine.until(execution, is_held)
    kind, reason = await refused(engine, execution, "skip", {"step": "a_tool_1"})
    assert (kind, "retry or skip the phase" in reason) == ("NotFailed", True)
    await engine.client.retry(execution, "a", inputs={"word": "new"})
    assert (await engine.wait(execution)).status == "completed"
    assert engine.names(execution) == [f"held{name}", "done"]


# --- R19: without a step --------------------------------------------------------------------------


@pytest.mark.semantics("R19", "T2")
async def test_a_failed_step_is_skipped_with_who_and_why_and_the_phase_goes_on(engine: Engine) -> None:
    text = """
        ## Phase: A
        onFailure: pause
        ### Steps
        - tool: effect
          id: first
          with: {name: first}
        - tool: mixed
          id: bad
          with: {name: fail}
        - tool: effect
          id: reads
          with: {name: "{{ steps.bad.output.name }}"}
        - tool: effect
          id: last
          with: {name: last}
        """
    execution = await held(engine, text)
    (wait,) = (await engine.client.progress(execution)).waiting
    assert wait.failed == ("bad",)
    await engine.client.skip(execution, step="bad", by="ann", comment="not today")
    result = await engine.wait(execution)
    assert result.status == "completed"
    assert list(statuses(result).values()) == ["completed", "skipped", "skipped", "completed"]
    assert result.steps["bad"].reason == "skipped by ann: not today"
    assert engine.names(execution) == ["first", "fail", "last"]


@pytest.mark.semantics("R19")
async def test_other_failed_steps_hold_the_phase_again_and_are_not_run_again(engine: Engine) -> None:
    text = """
        ## Phase: Each
        forEach: [fail, fine, fail]
        onFailure: pause
        maxConcurrent: 1
        ### Steps
        - tool: mixed
          id: did
          with: {name: "{{ item }}"}
        - tool: effect
          id: after
          with: {name: "after {{ index }}"}
        """
    execution = await held(engine, text)
    await engine.client.skip(execution, step="did[0]")
    await engine.until(execution, lambda p: p.phases[0].attempt == 2 and is_held(p))
    (wait,) = (await engine.client.progress(execution)).waiting
    assert wait.failed == ("did[2]",)
    assert engine.names(execution).count("fail") == 2
    await engine.client.skip(execution, step="did[2]")
    result = await engine.wait(execution)
    assert result.status == "completed"
    assert sorted(n for n in engine.names(execution) if n != "fail") == [
        "after 0",
        "after 1",
        "after 2",
        "fine",
    ]


# --- R20: refused ---------------------------------------------------------------------------------


@pytest.mark.semantics("R20")
async def test_what_does_not_fit_is_refused_with_all_reasons(engine: Engine) -> None:
    execution = await held(engine, HELD)
    kind, reason = await refused(
        engine, execution, "retry", {"phase": "a", "inputs": {"other": "x", "word": 7, "nope": 1}}
    )
    assert kind == "InvalidInputs"
    assert all(f"`{name}`" in reason for name in ("other", "word", "nope"))
    for name, payload, expected in [
        ("retry", {"phase": "a", "inputs": [1]}, "InvalidPayload"),
        ("skip", {"phase": "a", "inputs": {"other": 2}}, "InvalidPayload"),
        ("retry", {"step": "nowhere"}, "UnknownStep"),
        ("retry", {"phase": "a", "step": "later"}, "UnknownStep"),
        ("retry", {"phase": "b"}, "NotWaiting"),
        ("retry", {"phase": "nowhere"}, "UnknownGate"),
        ("skip", {"step": "plain"}, "NotFailed"),
        ("skip", {"phase": "a", "step": "last"}, "NotFailed"),
    ]:
        kind, reason = await refused(engine, execution, name, payload)
        assert kind == expected, (payload, reason)
        assert reason
    await engine.client.skip(execution, step="check")
    assert (await engine.wait(execution)).status == "completed"


# --- R21: failed without a failed step ------------------------------------------------------------


@pytest.mark.semantics("R21")
async def test_a_phase_whose_outputs_or_items_are_wrong_is_held_too(engine: Engine) -> None:
    text = """
```yaml
requirements:
  size: {type: integer, default: 0}
  names: {type: string, default: one}
```

## Phase: Out
onFailure: pause
### Steps
- tool: effect
  id: did
  with: {name: did}
### Outputs
- share: 10 / inputs.size

## Phase: Each
onFailure: pause
forEach: inputs.names if inputs.size == 0 else ["x", "y"]
### Steps
- tool: effect
  id: each
  with: {name: "{{ item }}"}
"""
    execution = await engine.start(text)
    progress = await engine.until(execution, lambda p: len(p.waiting) == 2)
    assert {wait.name for wait in progress.waiting} == {"out", "each"}
    await engine.client.retry(execution, "out", inputs={"size": 5})
    await engine.client.retry(execution, "each")
    result = await engine.wait(execution)
    assert result.status == "completed"
    assert result.phases["out"].outputs == {"share": 2.0}
    assert sorted(engine.names(execution)) == ["did", "x", "y"]


# --- G7: bound to what was shown ------------------------------------------------------------------


@pytest.mark.semantics("G7")
async def test_a_decision_about_something_else_than_is_shown_is_refused(engine: Engine) -> None:
    text = (
        "## Phase: Ask\nparallel: true\n### Steps\n- approval: go - Shall it?\n- question: where - Where?\n"
    )
    execution = await engine.start(text)
    progress = await engine.until(execution, lambda p: len(p.waiting) == 2)
    shown = {wait.name: wait.shown for wait in progress.waiting}
    assert all(len(value) == 16 for value in shown.values())
    assert shown["go"] != shown["where"]
    kind, reason = await refused(engine, execution, "approve", {"gate": "go", "shown": shown["where"]})
    assert (kind, "Shall it?" in reason) == ("Changed", True)
    kind, _ = await refused(engine, execution, "answer", {"question": "where", "value": 1, "shown": "no"})
    assert kind == "Changed"
    await engine.client.approve(execution, "go", shown=shown["go"])
    await engine.client.answer(execution, "where", 1, shown=shown["where"])
    assert (await engine.wait(execution)).status == "completed"


# --- G8: kept, or asked again ---------------------------------------------------------------------


GATED = f"""
{META}
## Phase: A
onFailure: pause
### Steps
- approval: same - Shall it?
- approval: words - Shall it be {{{{ inputs.word }}}}?
- tool: effect
  id: by
  with: {{name: "by {{{{ steps.words.output.by }}}}"}}
- validation: inputs.word == "new" - Not yet
- tool: effect
  id: last
  with: {{name: last}}
"""


@pytest.mark.semantics("G8", "R18")
async def test_a_decided_gate_is_kept_if_it_would_show_the_same_and_else_asks_again(engine: Engine) -> None:
    execution = await engine.start(GATED)
    await engine.until(execution, asks("Shall it?"))
    await engine.client.approve(execution, "same", by="ann")
    progress = await engine.until(execution, asks("Shall it be old?"))
    old = progress.waiting[0].shown
    await engine.client.approve(execution, "words", by="ann")
    await engine.until(execution, is_held)
    await engine.client.retry(execution, "a", inputs={"word": "new"})
    await engine.until(execution, asks("Shall it be new?"))
    kind, reason = await refused(engine, execution, "approve", {"gate": "words", "shown": old})
    assert (kind, "Shall it be new?" in reason) == ("Changed", True)
    await engine.client.approve(execution, "words", by="bob")
    result = await engine.wait(execution)
    assert result.status == "completed"
    assert engine.names(execution) == ["by ann", "by bob", "last"]
    assert (result.steps["same"].output["by"], result.steps["same"].attempts) == ("ann", 1)
    assert (result.steps["words"].output["by"], result.steps["words"].attempts) == ("bob", 2)


@pytest.mark.semantics("G8", "R11")
async def test_until_a_gate_opens_again_its_old_decision_is_refused(engine: Engine) -> None:
    name = unique("held")
    text = f"""
{META}
## Phase: A
onFailure: pause
### Steps
- approval: go - Shall it?
- tool: mixed
  id: busy
  with: {{name: "{{{{ '{name}' if inputs.other == 2 else 'quick' }}}}"}}
- validation: inputs.other == 2 - Not yet
- approval: late - Rejected?
"""
    execution = await engine.start(text)
    await engine.until(execution, asks("Shall it?"))
    await engine.client.approve(execution, "go")
    await engine.until(execution, is_held)
    await engine.client.retry(execution, "a", inputs={"other": 2})
    await engine.until_trace(execution, "start", name)
    assert (await engine.client.approve(execution, "go"))["duplicate"]
    engine.release(name)
    await engine.until(execution, asks("Rejected?"))
    await engine.client.approve(execution, "late", decision="rejected")
    await engine.until(execution, lambda p: p.phases[0].attempt == 2 and is_held(p))
    await engine.client.retry(execution, step="busy")
    await engine.until(execution, asks("Rejected?"))
    with pytest.raises(Refused, match="no approval"):
        await engine.client.approve(execution, "nothing")
    await engine.client.approve(execution, "late")
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("G8")
async def test_a_gate_whose_turn_is_yet_to_come_takes_no_decision_of_before(engine: Engine) -> None:
    """Its phase runs again, and nobody knows yet what it will ask."""
    name = unique("held")
    text = f"""
{META}
## Phase: A
onFailure: pause
### Steps
- tool: mixed
  id: busy
  with: {{name: "{{{{ '{name}' if inputs.other == 2 else 'quick' }}}}"}}
- approval: go - Shall it?
"""
    execution = await engine.start(text)
    await engine.until(execution, asks("Shall it?"))
    await engine.client.approve(execution, "go", decision="rejected")
    await engine.until(execution, is_held)
    await engine.client.retry(execution, "a", inputs={"other": 2})
    await engine.until_trace(execution, "start", name)
    await engine.until(execution, lambda p: p.phases[0].steps[1].status == "pending")
    kind, _ = await refused(engine, execution, "approve", {"gate": "go", "decision": "rejected"})
    assert kind == "NotWaiting"
    engine.release(name)
    await engine.until(execution, asks("Shall it?"))
    await engine.client.approve(execution, "go")
    assert (await engine.wait(execution)).status == "completed"


# --- G9: opens anew -------------------------------------------------------------------------------


@pytest.mark.semantics("G9", "R18")
async def test_a_gate_that_waits_opens_anew_if_changed_inputs_change_what_it_shows(engine: Engine) -> None:
    text = f"""
{META}
## Phase: A
onFailure: pause
### Steps
- validation: inputs.word == "new" - Not yet

## Phase: B
parallel: true
### Steps
- approval: words - Shall it be {{{{ inputs.word }}}}?
- approval: same - Shall it?
"""
    execution = await engine.start(text)
    progress = await engine.until(execution, lambda p: len(p.waiting) == 3)
    before = {wait.name: wait for wait in progress.waiting}
    await engine.client.retry(execution, "a", inputs={"word": "new"})
    progress = await engine.until(execution, asks("Shall it be new?"))
    after = {wait.name: wait for wait in progress.waiting}
    assert after["words"].since > before["words"].since
    assert after["words"].replaces == before["words"].since
    assert after["same"] == before["same"]
    with pytest.raises(Refused, match="Shall it be new"):
        await engine.client.approve(execution, "words", shown=before["words"].shown)
    await engine.client.approve(execution, "words", shown=after["words"].shown)
    await engine.client.approve(execution, "same")
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("G9")
async def test_a_decision_that_crosses_with_a_change_of_what_is_shown_is_refused_or_taken(
    engine: Engine,
) -> None:
    """Whoever was told that it was approved finds that approved which was shown."""
    text = f"""
{META}
## Phase: A
onFailure: pause
### Steps
- validation: inputs.word == "new" - Not yet

## Phase: B
### Steps
- approval: words - Shall it be {{{{ inputs.word }}}}?
"""

    async def run(delay: float) -> str:
        execution = await engine.start(text)
        progress = await engine.until(execution, lambda p: len(p.waiting) == 2)
        shown = next(wait.shown for wait in progress.waiting if wait.kind == "approval")
        change = asyncio.create_task(engine.client.retry(execution, "a", inputs={"word": "new"}))
        await asyncio.sleep(delay)
        try:
            await engine.client.approve(execution, "words", by="early", shown=shown)
            told = "taken"
        except Refused:
            await engine.until(execution, asks("Shall it be new?"))
            await engine.client.approve(execution, "words", by="late")
            told = "refused"
        await change
        result = await engine.wait(execution)
        assert result.steps["words"].output["by"] == ("early" if told == "taken" else "late")
        return told

    await asyncio.gather(*(run(delay / 1000) for delay in range(0, 40, 8)))
