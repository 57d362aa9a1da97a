"""Semantics, section E: how an execution ends, and what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

import pytest
from engine import PATIENCE, Engine
from inspecting import activities, no_task_failed, start_raw
from observing import temporal_status, unique
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from starter.catching_up import closed_in_temporal
from taskmark.contracts import ARTIFACT_KEY, RECORD_ACTIVITY, RESULT_LIMIT, TaskResult, is_artifact
from taskmark.errors import UnknownExecution
from taskmark.records import ExecutionRecord

FAILS = "- tool: flaky\n  id: bad\n  with: {category: logic, message: out of luck}"


def handle(engine: Engine, execution: str) -> Any:
    """Returns Temporal's own handle."""
    return engine.client.client.get_workflow_handle(execution)


async def raw_size(engine: Engine, execution: str) -> int:
    """Returns the bytes of the last event of the history: the result, or the failure with its details."""
    return int((await engine.events(execution))[-1].ByteSize())


# --- E1: success --------------------------------------------------------------------------------------


@pytest.mark.semantics("E1")
@pytest.mark.parametrize(
    ("phases", "status"),
    [
        ("## Phase: A\n### Steps\n- A note", "completed"),
        ("## Phase: A\nif: 1 > 2\n### Steps\n- A note", "completed"),
        (
            "## Phase: A\n### Steps\n- tool: flaky\n  retry: {backoffMs: 1}\n  with: {failures: 1}",
            "completed",
        ),
        (f"## Phase: A\n### Steps\n{FAILS}\n  critical: false", "completed_with_errors"),
        (f"## Phase: A\nonFailure: continue\n### Steps\n{FAILS}", "completed_with_errors"),
        ("## Phase: A\n### Steps\n- Well?\n### Agents\n- ann\n- dud", "completed_with_errors"),
    ],
)
async def test_a_task_that_nothing_stopped_completes_in_temporal(
    engine: Engine, phases: str, status: str
) -> None:
    execution = await engine.start(phases)
    result = TaskResult.model_validate(await handle(engine, execution).result())
    assert (result.status, result.error) == (status, None)
    assert await temporal_status(engine, execution) == "COMPLETED"
    assert result.execution_id == execution
    assert result.started_at <= result.finished_at
    assert len(result.trace_id) == 32


# --- E2: failure --------------------------------------------------------------------------------------


async def failure(engine: Engine, execution: str) -> tuple[ApplicationError, TaskResult]:
    """Returns the failure of an execution in Temporal, and the result so far that it carries."""
    with pytest.raises(WorkflowFailureError) as caught:
        await handle(engine, execution).result()
    error = caught.value.cause
    assert isinstance(error, ApplicationError)
    assert await temporal_status(engine, execution) == "FAILED"
    return error, TaskResult.model_validate(error.details[0])


BEFORE = (
    "## Phase: Before\n### Steps\n- tool: effect\n  id: good\n  with: {value: 1}\n### Outputs\n- value: 7\n"
)


@pytest.mark.semantics("E2")
@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (FAILS, "step_failed"),
        ("- validation: 1 > 2 - Never true\n  id: bad", "validation_failed"),
        ("- validation: 1 // 0 > 2 - Never true\n  id: bad", "expression_failed"),
        ("- agent: dud - Well?\n  id: bad", "agents_failed"),
        ("- approval: bad\n  timeout: 50ms", "timed_out"),
    ],
)
async def test_a_failed_task_fails_in_temporal_and_carries_its_result_so_far(
    engine: Engine, step: str, kind: str
) -> None:
    execution = await engine.start(f"{BEFORE}\n## Phase: Then\ndependsOn: [Before]\n### Steps\n{step}")
    error, result = await failure(engine, execution)
    assert (error.type, result.status, result.error.type) == (kind, "failed", kind)
    assert error.message == result.error.message
    assert result.outputs == {"before": {"value": 7}}
    assert (result.steps["good"].output["value"], result.steps["bad"].status) == (1, "failed")


@pytest.mark.semantics("E2")
async def test_a_task_that_takes_too_long_fails_in_temporal_as_timed_out(engine: Engine) -> None:
    held = unique()
    then = (
        f"## Phase: Then\ndependsOn: [Before]\n### Steps\n- tool: hold\n  id: bad\n  with: {{name: {held}}}"
    )
    text = f"# Test\n\n```yaml\nmaxExecutionTime: 800ms\n```\n\n{BEFORE}\n{then}"
    error, result = await failure(engine, await engine.start(text))
    assert (error.type, result.status, result.error.type) == ("timed_out", "timed_out", "timed_out")
    assert "800" in error.message or "0.8" in error.message
    assert result.outputs == {"before": {"value": 7}}


# --- E3: outputs --------------------------------------------------------------------------------------

TWO = """
## Phase: One
### Steps
- tool: effect
  id: one
  with: {value: 1}
### Outputs
- value: steps.one.output.value
- name: 'one'

## Phase: Two
### Steps
- tool: effect
  id: two
  if: 1 > 2
### Outputs
- value: steps.two.output.value

## Phase: Off
if: 1 > 2
### Steps
- A note
### Outputs
- value: 1
"""


@pytest.mark.semantics("E3")
async def test_without_outputs_of_its_own_a_task_has_those_of_each_phase(engine: Engine) -> None:
    result = await engine.run(TWO)
    assert result.outputs == {"one": {"value": 1, "name": "one"}}
    assert (result.phases["one"].outputs, result.phases["two"].outputs) == ({"value": 1, "name": "one"}, {})


@pytest.mark.semantics("E3")
async def test_outputs_that_cannot_be_computed_are_left_out(engine: Engine) -> None:
    result = await engine.run(
        f"""{TWO}
## Outputs
- sum: phases.one.outputs.value + steps.one.output.value
- missing: phases.two.outputs.value
- off: phases.off.outputs.value + 1
- odd: 1 // 0
- step: steps.two.output
- either: phases.off.outputs.value | default('none')
- how: phases.off.status
- nothing: none
"""
    )
    assert result.status == "completed"
    assert result.outputs == {"sum": 2, "either": "none", "how": "skipped", "nothing": None}


@pytest.mark.semantics("E3")
async def test_a_failed_task_has_the_outputs_it_could_compute(engine: Engine) -> None:
    result = await engine.run(
        f"{TWO}\n## Phase: Bad\ndependsOn: [One]\n### Steps\n{FAILS}\n\n"
        "## Outputs\n- good: phases.one.outputs.value\n- bad: steps.bad.output"
    )
    assert (result.status, result.outputs) == ("failed", {"good": 1})


# --- E4: sizes ----------------------------------------------------------------------------------------


def _big(phases: int, steps: int, size: int) -> str:
    """Returns a task whose steps put out texts of so many bytes, all of them outputs of their phases too."""
    parts = []
    for p in range(phases):
        tools = [f"- tool: big\n  id: s{p}_{n}\n  with: {{bytes: {size}}}" for n in range(steps)]
        outputs = [f"- o{n}: steps.s{p}_{n}.output" for n in range(steps)]
        body = "\n".join([*tools, "", "### Outputs", *outputs])
        parts.append(f"## Phase: P{p}\nparallel: true\n### Steps\n{body}")
    return "\n\n".join(parts)


async def _whole(engine: Engine, value: Any) -> Any:
    """Returns what a value refers to."""
    if not is_artifact(value):
        return value
    return json.loads(engine.client.wiring.artifacts.load(value[ARTIFACT_KEY]))


@pytest.mark.semantics("E4", "T13")
async def test_a_large_result_refers_to_its_largest_outputs(engine: Engine) -> None:
    """Nothing is lost: every output is there, or refers to where it is; small ones stay."""
    small = (
        "## Phase: Small\n### Steps\n- tool: effect\n  id: small\n  with: {value: 1}\n### Outputs\n- value: 1"
    )
    result = await engine.run(f"{_big(4, 8, 25_000)}\n\n{small}")
    assert result.status == "completed", result.error
    assert await raw_size(engine, result.execution_id) <= RESULT_LIMIT
    assert result.steps["small"].output["value"] == 1
    assert result.outputs["small"] == {"value": 1}
    for p in range(4):
        for n in range(8):
            for value in (result.steps[f"s{p}_{n}"].output, result.outputs[f"p{p}"][f"o{n}"]):
                assert (await _whole(engine, value))["length"] == 25_000
            assert result.phases[f"p{p}"].outputs[f"o{n}"] == result.outputs[f"p{p}"][f"o{n}"]


@pytest.mark.semantics("E4", "E2")
async def test_the_large_result_of_a_failed_task_fits_its_failure_too(engine: Engine) -> None:
    text = f"{_big(4, 8, 25_000)}\n\n## Phase: Bad\ndependsOn: [P0, P1, P2, P3]\n### Steps\n{FAILS}"
    error, result = await failure(engine, await engine.start(text))
    assert error.type == "step_failed"
    assert await raw_size(engine, result.execution_id) <= RESULT_LIMIT
    assert (await _whole(engine, result.steps["s3_7"].output))["length"] == 25_000


WITH_TEXT = """\
# Test

```yaml
requirements:
  text: string
```

## Phase: A
### Steps
- A note

"""


@pytest.mark.semantics("E4")
async def test_many_declared_outputs_of_one_phase_stay_within_the_limit(engine: Engine) -> None:
    """A hundred outputs of 30 KiB each, made from one text, are more than a phase can return inline."""
    outputs = "\n".join(f"- o{n}: inputs.text ~ '{n}'" for n in range(100))
    result = await engine.run(f"{WITH_TEXT}### Outputs\n{outputs}", {"text": "x" * 30_000})
    assert result.status == "completed", result.error
    assert await raw_size(engine, result.execution_id) <= RESULT_LIMIT
    for n in (0, 99):
        assert len(await _whole(engine, result.outputs["a"][f"o{n}"])) == 30_000 + len(str(n))


@pytest.mark.semantics("E4")
async def test_a_large_output_of_the_task_itself_is_referred_to(engine: Engine) -> None:
    outputs = "- all: [inputs.text, inputs.text, inputs.text]\n- small: 1"
    result = await engine.run(f"{WITH_TEXT}\n## Outputs\n{outputs}", {"text": "x" * 240_000})
    assert result.outputs["small"] == 1
    assert is_artifact(result.outputs["all"])
    assert [len(part) for part in await _whole(engine, result.outputs["all"])] == [240_000] * 3


@pytest.mark.semantics("E4", "Q3")
@pytest.mark.parametrize("steps", [1_500, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_a_task_of_thousands_of_steps_has_a_result_that_fits(engine: Engine, steps: int) -> None:
    """The format allows 10,000 steps; each is in the result, whose size Temporal limits."""
    notes = "\n".join(f"- Remember thing number {n}, which has a name of some length" for n in range(steps))
    result = await engine.run(f"## Phase: A\nparallel: true\n### Steps\n{notes}")
    assert (result.status, len(result.steps)) == ("completed", steps)
    assert {step.status.value for step in result.steps.values()} == {"completed"}
    for phase in (None, "a"):
        workflow = result.execution_id if phase is None else f"{result.execution_id}/{phase}"
        await no_task_failed(handle(engine, workflow))


# --- E5: the final record -----------------------------------------------------------------------------


@pytest.mark.semantics("E5", "Q6")
async def test_the_final_state_is_told_to_the_store_by_an_activity(engine: Engine) -> None:
    result = await engine.run("## Phase: A\n### Steps\n- A note")
    assert (await activities(engine, result.execution_id))[-1] == RECORD_ACTIVITY


@pytest.mark.semantics("E5")
async def test_an_execution_ends_also_if_the_store_cannot_be_told(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = engine.client.wiring.recorder
    record = recorder.record
    name = f"exec-{unique()}"

    def refuse(*records: Any) -> None:
        if any(isinstance(r, ExecutionRecord) and r.execution_id == name and r.outputs for r in records):
            raise ApplicationError("the store is gone", non_retryable=True)
        record(*records)

    monkeypatch.setattr(recorder, "record", refuse)
    result = await engine.run("## Phase: A\n### Steps\n- A note\n### Outputs\n- one: 1", id=name)
    assert (result.status, result.outputs) == ("completed", {"a": {"one": 1}})
    assert await temporal_status(engine, name) == "COMPLETED"


# --- E6: afterwards -----------------------------------------------------------------------------------


@pytest.mark.semantics("E6")
@pytest.mark.parametrize("text", ["- A note", FAILS], ids=["completed", "failed"])
async def test_an_ended_execution_takes_nothing_more_but_answers(engine: Engine, text: str) -> None:
    ended = handle(
        engine, (await engine.run(f"## Phase: A\n### Steps\n{text}\n### Outputs\n- one: 1")).execution_id
    )
    for signal in ("pause", "resume", "abort"):
        with pytest.raises(RPCError, match="completed"):
            await ended.signal(signal, {})
    for update, payload in (("approve", {"gate": "x"}), ("retry", {"phase": "a"})):
        with pytest.raises((RPCError, WorkflowUpdateFailedError)):
            await ended.execute_update(update, payload)
    progress = await ended.query("progress", {})
    assert (progress["status"], progress["eta"]) in (("completed", None), ("failed", None))
    assert (await ended.query("plan"))["waves"] == [["a"]]
    assert set(await ended.query("checkpoint")) >= {"phases"}


@pytest.mark.semantics("E6")
async def test_a_refused_execution_answers_too(engine: Engine) -> None:
    refused = await start_raw(engine, {"task": "no-such-task"})
    with pytest.raises(WorkflowFailureError):
        await refused.result()
    progress = await refused.query("progress", {})
    assert progress["status"] == "failed"
    assert progress["error"]["type"] == "invalid_task"


@pytest.mark.semantics("Q8")
async def test_the_store_learns_of_an_execution_that_was_terminated(engine: Engine) -> None:
    """Nobody in it could say so, and no `backfill` was asked for; its phases end with it."""
    held = unique()
    execution = await engine.start(f"## Phase: A\n### Steps\n- tool: hold - Hold\n  with: {{name: {held}}}")
    await engine.until(execution, lambda progress: progress.in_flight == 1)
    await handle(engine, execution).terminate("by hand")
    history = engine.client.wiring.history
    row: ExecutionRecord | None = None
    end = time.monotonic() + PATIENCE
    while row is None or not row.status.is_final:
        assert time.monotonic() < end, row
        await asyncio.sleep(0.1)
        with contextlib.suppress(UnknownExecution):  # its first record is still on its way
            row = await asyncio.to_thread(history.execution, execution)
    assert (row.status, row.provenance) == ("failed", "backfilled")
    assert row.error is not None
    assert "terminated" in row.error.message.lower()
    assert row.finished_at is not None
    events = await asyncio.to_thread(history.events, execution)
    assert [event.kind for event in events][-1] == "execution_failed"


async def test_what_has_ended_is_told_apart_by_any_id_that_people_choose(engine: Engine) -> None:
    """Ids go into a list filter; one that runs again after it ended is not told to have ended."""
    odd = """it's "odd" \\\\ or ') OR WorkflowId IN ('"""
    handle = await engine.client.client.start_workflow("Nobody", id=odd, task_queue="nobody")
    again = await engine.client.client.start_workflow("Nobody", id="again", task_queue="nobody")
    for one in (handle, again):
        await one.terminate()
    await engine.client.client.start_workflow("Nobody", id="again", task_queue="nobody")
    async with asyncio.timeout(PATIENCE):
        while await closed_in_temporal(engine.client.client, [odd, "again", "unknown"]) != {odd}:
            await asyncio.sleep(0.05)
    await engine.client.client.get_workflow_handle("again").terminate()
