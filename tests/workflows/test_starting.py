"""Semantics, section S: how an execution begins, whoever starts it and with whatever."""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from typing import Any
from uuid import uuid4

import pytest
from engine import Engine
from inspecting import activities, children, no_task_failed, refusal, start_raw, temporal
from observing import until

from taskmark.contracts import COMPILE_ACTIVITY, PHASE_WORKFLOW, RESULT_LIMIT
from taskmark.errors import Conflict
from taskmark.task import parse_text

TASK = """\
# Small

```yaml
requirements:
  amount: {type: number, default: 2}
```

## Phase: Only
### Steps
- validation: inputs.amount > 1 - Too small
### Outputs
- double: inputs.amount * 2
"""


def definition(text: str = TASK, **changes: Any) -> dict[str, Any]:
    """Returns a checked definition as the JSON that a start carries."""
    return {**parse_text(text, file="given.md").model_dump(mode="json", exclude_defaults=True), **changes}


# --- S1: by name, by text, checked already ------------------------------------------------------------


@pytest.mark.semantics("S1")
@pytest.mark.parametrize("task", ["small", "tasks/small.md"])
async def test_a_start_by_id_or_path_compiles_the_file_in_one_activity(engine: Engine, task: str) -> None:
    engine.file("tasks/small.md", TASK)
    handle = await start_raw(engine, {"task": task, "inputs": {"amount": 4}})
    result = await handle.result()
    assert result["outputs"] == {"only": {"double": 8}}
    assert (await activities(engine, handle.id)).count(COMPILE_ACTIVITY) == 1


@pytest.mark.semantics("S1")
async def test_a_start_by_text_compiles_it_in_one_activity(engine: Engine) -> None:
    handle = await start_raw(engine, {"source": TASK})
    assert (await handle.result())["status"] == "completed"
    assert (await activities(engine, handle.id)).count(COMPILE_ACTIVITY) == 1


@pytest.mark.semantics("S1")
async def test_a_start_with_a_checked_definition_compiles_nothing(engine: Engine) -> None:
    handle = await start_raw(engine, {"definition": definition()})
    assert (await handle.result())["outputs"] == {"only": {"double": 4}}
    assert COMPILE_ACTIVITY not in await activities(engine, handle.id)


@pytest.mark.semantics("S1")
async def test_a_definition_that_is_started_by_hand_gets_what_everybody_gets(engine: Engine) -> None:
    """Nobody writes limits by hand; what needs the engine of today, as a budget does, is there."""
    text = "# T\n\n```yaml\nbudget: {agentCalls: 1}\n```\n\n## Phase: A\n### Steps\n"
    text += "- agent: ann - Ask\n  forEach: [1, 2]\n"
    handle = await start_raw(engine, {"definition": definition(text)})
    progress = await engine.until_status(handle.id, "waiting")
    assert [wait.kind for wait in progress.waiting] == ["budget"]
    await engine.client.abort(handle.id)
    assert (await engine.wait(handle.id)).status == "cancelled"


@pytest.mark.semantics("S1")
async def test_a_definition_of_more_than_32_kib_arrives_whole(engine: Engine) -> None:
    steps = "\n".join(f"- validation: {n} < 1000 - {'x' * 200} {n}" for n in range(300))
    result = await engine.run(f"## Phase: Many\n### Steps\n{steps}")
    assert (result.status, len(result.steps)) == ("completed", 300)


# --- S2: whatever else ------------------------------------------------------------------------------


@pytest.mark.semantics("S2")
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="no input"),
        pytest.param([None], id="null"),
        pytest.param([[]], id="a list"),
        pytest.param(["small"], id="a text"),
        pytest.param([7], id="a number"),
        pytest.param([{}], id="nothing to run"),
        pytest.param([{"inputs": {}}], id="only inputs"),
        pytest.param([{"task": "small"}, {"task": "small"}], id="two inputs"),
        pytest.param([{"task": "small", "source": "# A"}], id="two tasks"),
        pytest.param([{"task": None}], id="task is null"),
        pytest.param([{"task": 7}], id="task is a number"),
        pytest.param([{"source": ["# A"]}], id="source is a list"),
        pytest.param([{"task": "small", "inputs": "all"}], id="inputs are a text"),
        pytest.param([{"task": "small", "limits": {"lost_attempts": -1}}], id="impossible limits"),
        pytest.param([{"task": "small", "limits": {"heartbeat": 0}}], id="no heartbeat"),
        pytest.param([{"task": "small", "limits": {"window": 0}}], id="room for no step"),
        pytest.param([{"task": "small", "limits": {"step_timeout": 1e300}}], id="endless limits"),
        pytest.param([{"task": "small", "project": "x" * 5000}], id="endless project"),
        pytest.param([{"task": "small", "build_id": "x" * 5000}], id="endless build"),
        pytest.param([{"task": "small", "report_to": "x" * 5000}], id="endless listener"),
        pytest.param([{"definition": "garbage"}], id="definition is a text"),
        pytest.param([{"definition": {}}], id="empty definition"),
        pytest.param([{"definition": {"id": "a", "name": "A", "phases": [{"slug": 3}]}}], id="bad phase"),
        pytest.param([{"packed": "garbage"}], id="packed garbage"),
        pytest.param([{"packed": "é"}], id="packed text"),
        pytest.param([{"packed": base64.b64encode(zlib.compress(b"{}")).decode()}], id="packed nothing"),
        pytest.param([{"packed": "", "task": "small"}], id="packed beside a task"),
        pytest.param([{"task": "small", "resume_from": "exec-1"}], id="resume"),
    ],
)
async def test_a_start_that_names_no_single_task_fails_at_once(engine: Engine, arguments: list[Any]) -> None:
    error = await refusal(await start_raw(engine, *arguments))
    assert error.type == "invalid_start", error
    assert error.message


@pytest.mark.semantics("S2")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"\0" * 200 * 1024 * 1024, id="gigabytes of nothing"),
        pytest.param(b'{"id":"a","name":"' + b"x" * 60 * 1024 * 1024 + b'"}', id="an endless name"),
        pytest.param(b'{"id":"a","name":"A","notify":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="depth"),
    ],
)
async def test_a_packed_bomb_fails_at_once(engine: Engine, text: bytes) -> None:
    packed = base64.b64encode(zlib.compress(text, 9)).decode()
    error = await refusal(await start_raw(engine, {"packed": packed}))
    assert error.type == "invalid_start", error


def _phase(slug: str, **more: Any) -> dict[str, Any]:
    return {"name": slug, "slug": slug, **more}


@pytest.mark.semantics("S2")
@pytest.mark.parametrize(
    ("phases", "reason"),
    [
        pytest.param([_phase("a", depends_on=["b"])], "b", id="unknown dependency"),
        pytest.param([_phase("a", depends_on=["b"]), _phase("b", depends_on=["a"])], "circle", id="cycle"),
        pytest.param([_phase("a"), _phase("a")], "a", id="one slug twice"),
        pytest.param([_phase("")], "slug", id="no slug"),
        pytest.param([_phase("a" * 900)], "long", id="endless slug"),
        pytest.param([_phase("a", reads_phases=["b"])], "b", id="reads what is not there"),
        pytest.param([_phase("a", steps=[{"id": "s", "kind": "task", "value": "x"}])], "x", id="no sub-task"),
        pytest.param([_phase("a", steps=[{"id": "s", "kind": "wait", "value": "soon"}])], "soon", id="wait"),
        pytest.param(
            [_phase("a", steps=[{"id": "s", "kind": "plain"}, {"id": "s", "kind": "plain"}])],
            "s",
            id="one id",
        ),
        pytest.param(
            [
                _phase(
                    "a",
                    parallel=True,
                    steps=[
                        {"id": "s", "kind": "plain", "reads_steps": ["t"]},
                        {"id": "t", "kind": "plain", "reads_steps": ["s"]},
                    ],
                )
            ],
            "wait for each other",
            id="steps wait for each other",
        ),
        pytest.param([_phase("a", timeout=1e300)], "timeout", id="endless timeout"),
        pytest.param(
            [_phase("a", steps=[{"id": "s", "kind": "tool", "timeout": 1e12}])], "timeout", id="time"
        ),
    ],
)
async def test_a_definition_that_no_parser_makes_fails_at_once(
    engine: Engine, phases: list[dict[str, Any]], reason: str
) -> None:
    error = await refusal(await start_raw(engine, {"definition": {"id": "a", "name": "A", "phases": phases}}))
    assert error.type == "invalid_start", error
    assert reason in error.message


@pytest.mark.semantics("S2")
@pytest.mark.parametrize(
    "arguments",
    [[], [None], ["garbage"], [{}], [{}, {}], [{"execution_id": "a", "phase": {"slug": 1}}]],
    ids=str,
)
async def test_a_phase_started_by_a_stranger_with_garbage_fails_at_once(
    engine: Engine, arguments: list[Any]
) -> None:
    error = await refusal(await start_raw(engine, *arguments, workflow=PHASE_WORKFLOW))
    assert error.type == "invalid_start", error


@pytest.mark.semantics("S2")
async def test_a_phase_runs_only_as_a_part_of_its_task(engine: Engine) -> None:
    """However well made its input is, a stranger cannot start a phase by itself."""
    start = {"execution_id": "x", "task_id": "t", "trace_id": "", "phase": _phase("a")}
    error = await refusal(await start_raw(engine, start, workflow=PHASE_WORKFLOW))
    assert error.type == "invalid_start", error


@pytest.mark.semantics("S2", "S7")
async def test_an_id_too_long_for_its_phases_fails_at_once(engine: Engine) -> None:
    """A child's id has to fit Temporal's limit too; otherwise the server would refuse the workflow task."""
    error = await refusal(await start_raw(engine, {"source": TASK}, id="x" * 998))
    assert error.type == "invalid_start", error


@pytest.mark.semantics("S2")
async def test_signals_with_garbage_change_nothing(engine: Engine) -> None:
    """A signal cannot be refused; one that makes no sense is dropped or read as one without payload."""
    text = "## Phase: A\n### Steps\n- tool: hold\n  with: {name: garbage}"
    execution = await engine.start(text)
    await engine.until_trace(execution, "start", "garbage")
    handle = engine.client.client.get_workflow_handle(execution)
    for name in ("report", "subtask", "nothing"):
        await handle.signal(name, {"phase": ["?"]})
    await handle.signal("report", {"phase": "unknown", "steps": []})
    phase = engine.client.client.get_workflow_handle(f"{execution}/a")
    for name in ("control", "subtask"):
        await phase.signal(name, "garbage")
    engine.release("garbage")
    assert (await engine.wait(execution)).status == "completed"
    await no_task_failed(handle)
    await no_task_failed(phase)


# --- S3: a task with errors -------------------------------------------------------------------------


@pytest.mark.semantics("S3")
async def test_a_task_with_errors_fails_with_every_diagnostic(engine: Engine) -> None:
    text = (
        "# Bad\n\n## Phase: A\ndependsOn: [B]\n### Steps\n- tool: nothing\n- validation: inputs.x > 0 - No\n"
    )
    error = await refusal(await start_raw(engine, {"source": text}))
    assert error.type == "invalid_task"
    found = error.details[0]["diagnostics"]
    assert len(found) == 3, found
    assert all(d["code"] and d["line"] and d["message"] for d in found)


@pytest.mark.semantics("S3")
@pytest.mark.parametrize(
    "request_",
    [
        {"task": "no-such-task"},
        {"task": "../../etc/passwd"},
        {"task": "/etc/passwd"},
        {"task": "\0"},
        {"task": ""},
        {"task": "x" * 10_000},
        {"source": ""},
        {"source": "no task at all"},
        {
            "source": "# Ünïcode \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")
            + "\n\n## Phase:"
        },
        {"source": "# " + "x" * 5_000},
        {"source": "# A\n\n## Phase: A\n### Steps\n- tool: effect\n  id: " + "x" * 5_000},
        {"source": "# A\n\n## Phase: " + "x" * 5_000 + "\n### Steps\n- A note\n"},
    ],
    ids=lambda request: str(request)[:40],
)
async def test_a_task_that_cannot_be_read_fails_at_once(engine: Engine, request_: dict[str, Any]) -> None:
    error = await refusal(await start_raw(engine, request_))
    assert error.type == "invalid_task", error
    assert error.message


@pytest.mark.semantics("S3")
async def test_a_task_without_phases_completes_with_nothing(engine: Engine) -> None:
    handle = await start_raw(engine, {"source": "# Nothing to do\n"})
    result = await handle.result()
    assert (result["status"], result["phases"], result["outputs"]) == ("completed", {}, {})
    await no_task_failed(handle)


# --- S4: inputs -------------------------------------------------------------------------------------

NEEDS = """\
# Needs

```yaml
requirements:
  name: string
  amount: {type: number, min: 1}
  level: {type: enum, values: [low, high], default: low}
```

## Phase: Only
### Steps
- validation: inputs.level == "low" - It is not low
### Outputs
- all: inputs
"""


@pytest.mark.semantics("S4")
@pytest.mark.parametrize("form", ["source", "definition"])
async def test_inputs_that_do_not_fit_fail_with_every_problem(engine: Engine, form: str) -> None:
    task = NEEDS if form == "source" else definition(NEEDS)
    inputs = {"amount": 0, "level": "middle", "more": 1}
    error = await refusal(await start_raw(engine, {form: task, "inputs": inputs}))
    assert error.type == "invalid_inputs", error
    problems = " ".join(error.details[0]["problems"])
    assert all(f"`{name}`" in problems for name in ("name", "amount", "level", "more")), problems


@pytest.mark.semantics("S4")
@pytest.mark.parametrize("form", ["source", "definition"])
async def test_inputs_that_are_not_given_get_their_defaults(engine: Engine, form: str) -> None:
    task = NEEDS if form == "source" else definition(NEEDS)
    handle = await start_raw(engine, {form: task, "inputs": {"name": "Zoë 😀", "amount": 1.5}})
    outputs = (await handle.result())["outputs"]
    assert outputs == {"only": {"all": {"name": "Zoë 😀", "amount": 1.5, "level": "low"}}}


@pytest.mark.semantics("S4")
async def test_inputs_above_half_a_mebibyte_are_refused_with_what_to_do(engine: Engine) -> None:
    """Each phase carries the inputs: the server would end a workflow that grew too large on the way."""
    text = "# Large\n\n```yaml\nrequirements:\n  text: string\n```\n\n## Phase: A\n### Steps\n- A note\n"
    handle = await start_raw(engine, {"source": text, "inputs": {"text": "x" * RESULT_LIMIT}})
    error = await refusal(handle)
    assert error.type == "invalid_inputs"
    assert "file" in error.message


@pytest.mark.semantics("S4", "T13")
async def test_large_inputs_reach_many_phases_side_by_side(engine: Engine) -> None:
    """Eleven phases with 400 KiB of inputs each are started in one go, and each sees them."""
    phases = "\n".join(
        f"## Phase: P{n}\n### Steps\n- validation: (inputs.text | length) == 400000 - It is cut off\n"
        for n in range(11)
    )
    text = f"# Large\n\n```yaml\nrequirements:\n  text: string\n```\n\n{phases}"
    handle = await start_raw(engine, {"source": text, "inputs": {"text": "x" * 400_000}})
    assert (await handle.result())["status"] == "completed"
    await no_task_failed(handle)


# --- S5: edits --------------------------------------------------------------------------------------


@pytest.mark.semantics("S5")
async def test_editing_the_files_after_the_start_does_not_touch_the_execution(engine: Engine) -> None:
    """Neither the task's text nor an agent's is read again once the execution has begun."""
    task = """\
        # Edited

        ## Phase: First
        ### Steps
        - tool: hold
          with: {name: edited}

        ## Phase: Second
        dependsOn: [First]
        ### Steps
        - agent: editable - Say who you are
          id: ask
        ### Outputs
        - prompt: steps.ask.output.prompt
    """
    engine.file("agents/editable.md", "---\nname: editable\nmodel: probe:echo\n---\nBefore.\n")
    path = engine.file("tasks/edited.md", task)
    handle = await start_raw(engine, {"task": "edited"})
    await engine.until_trace(handle.id, "start", "edited")
    engine.file("agents/editable.md", "---\nname: editable\nmodel: probe:echo\n---\nAfter.\n")
    path.write_text("# Edited\n")
    engine.release("edited")
    assert (await handle.result())["outputs"]["second"]["prompt"].strip() == "Before."


# --- S6 and S7: ids ---------------------------------------------------------------------------------


@pytest.mark.semantics("S6")
async def test_starting_again_with_the_same_id_starts_nothing(engine: Engine) -> None:
    text = "## Phase: A\n### Steps\n- tool: hold\n  with: {name: twice}"
    name = f"mine-{uuid4().hex[:8]}"
    first = await engine.start(text, id=name)
    await engine.until_trace(first, "start", "twice")
    run = (await engine.client.client.get_workflow_handle(first).describe()).run_id
    assert await engine.start(text, id=name) == first
    engine.release("twice")
    assert (await engine.wait(first)).status == "completed"
    assert (await engine.client.client.get_workflow_handle(first).describe()).run_id == run
    assert engine.names(first) == ["twice"]


@pytest.mark.semantics("S7")
async def test_the_execution_id_is_the_workflow_id_and_phases_are_its_children(engine: Engine) -> None:
    text = "## Phase 1: First Look\n### Steps\n- A note\n\n## Phase: Zweiter Überblick\n### Steps\n- A note"
    name = f"mine-{uuid4().hex[:8]}"
    result = await engine.run(text, id=name)
    assert result.execution_id == name
    assert await children(engine, name) == [f"{name}/first_look", f"{name}/zweiter_überblick"]


# --- the Temporal CLI ---------------------------------------------------------------------------------


@pytest.mark.semantics("S1", "S7")
async def test_people_run_a_task_with_nothing_but_the_temporal_cli(engine: Engine) -> None:
    """Start, pause, query, resume, approve: with the names that the documentation promises."""
    task = """\
        # By hand

        ## Phase: Work
        ### Steps
        - tool: hold
          with: {name: byhand}
        - approval: go - Shall it go on?
    """
    engine.file("tasks/by-hand.md", task)
    name = f"cli-{uuid4().hex[:8]}"
    on = ("--workflow-id", name)
    start = '{"task":"by-hand","inputs":{}}'
    await temporal(
        engine,
        "workflow",
        "start",
        "--type",
        "TaskWorkflow",
        "--task-queue",
        "taskmark",
        "--input",
        start,
        *on,
    )
    await engine.until_trace(name, "start", "byhand")
    await temporal(engine, "workflow", "signal", "--name", "pause", *on)
    assert (await engine.until(name, lambda p: p.paused)).status == "pausing"
    told = await temporal(engine, "workflow", "query", "--type", "progress", *on)
    assert told["queryResult"][0]["status"] in ("pausing", "paused"), told
    await temporal(engine, "workflow", "signal", "--name", "resume", "--input", '{"by":"ann"}', *on)
    engine.release("byhand")
    await engine.until_status(name, "waiting")
    decision = ("--input", '{"gate":"go","by":"ann","comment":"fine"}')
    await temporal(engine, "workflow", "update", "execute", "--name", "approve", *decision, *on)
    result = await engine.wait(name)
    assert (result.status, result.steps["go"].output["by"]) == ("completed", "ann")


@pytest.mark.semantics("G4", "G7", "R18", "R19")
async def test_people_decide_and_correct_with_nothing_but_the_temporal_cli(engine: Engine) -> None:
    """Approve what was shown, answer, retry with other inputs, skip a step."""
    task = """\
        # Corrected

        ```yaml
        requirements:
          size: {type: integer, default: 0}
        ```

        ## Phase: Ask
        ### Steps
        - approval: go - Shall it go on?
        - question: where - Where to?

        ## Phase: Look
        onFailure: pause
        dependsOn: [Ask]
        ### Steps
        - validation: inputs.size == 1 - Not one
        - validation: 1 > 2 - Never
          id: never
        - tool: effect
          with: {name: "to {{ inputs.size }}"}
    """
    engine.file("tasks/corrected.md", task)
    name = f"cli-{uuid4().hex[:8]}"
    await engine.client.start("corrected", id=name)

    async def update(what: str, payload: str, prompt: str) -> dict[str, Any]:
        progress = await engine.until(name, lambda p: any(prompt in wait.prompt for wait in p.waiting))
        payload = payload.replace("SHOWN", progress.waiting[0].shown)
        words = ("update", "execute", "--name", what, "--input", payload, "--workflow-id", name)
        told: dict[str, Any] = await temporal(engine, "workflow", *words)
        return told

    await update("approve", '{"gate": "go", "by": "ann", "shown": "SHOWN"}', "Shall it")
    await update("answer", '{"question": "where", "value": "Rome"}', "Where")
    await update("retry", '{"phase": "look", "inputs": {"size": 1}, "by": "ann"}', "Not one")
    await update("skip", '{"step": "never", "by": "ann", "comment": "it never is"}', "Never")
    result = await engine.wait(name)
    assert (result.status, result.steps["where"].output) == ("completed", "Rome")
    assert result.steps["never"].reason == "skipped by ann: it never is"
    assert engine.names(name) == ["to 1"]


@pytest.mark.semantics("S1")
async def test_people_cancel_a_task_with_nothing_but_the_temporal_cli(engine: Engine) -> None:
    name = f"cli-{uuid4().hex[:8]}"
    source = json.dumps(
        {"source": "# A\n\n## Phase: A\n### Steps\n- tool: hold\n  with: {name: clicancel}\n"}
    )
    start = ("--type", "TaskWorkflow", "--task-queue", "taskmark", "--input", source)
    await temporal(engine, "workflow", "start", *start, "--workflow-id", name)
    await engine.until_trace(name, "start", "clicancel")
    await temporal(engine, "workflow", "cancel", "--workflow-id", name)
    assert (await engine.wait(name)).status == "cancelled"
    await engine.until_trace(name, "cancelled", "clicancel")


# --- S8: a version of before --------------------------------------------------------------------------


@pytest.mark.semantics("S8")
async def test_a_version_of_before_runs_as_it_was_while_the_new_one_runs_as_it_is(engine: Engine) -> None:
    """The file has another number since, and its agent another text; each start gets what it names."""
    name = f"versioned-{uuid4().hex[:8]}"
    body = "## Phase: Only\n### Steps\n- agent: {name} - Say it\n  id: said\n## Outputs\n- said: {number}\n"
    for number, prompt in ((1, "First."), (2, "Second.")):
        engine.file(f"agents/{name}.md", f"---\nname: {name}\nmodel: probe:echo\n---\n{prompt}\n")
        text = f"```yaml\nname: Versioned\nversion: {number}.0.0\n```\n" + body.format(
            name=name, number=number
        )
        engine.file(f"tasks/{name}.md", f"# Versioned\n{text}")
        result = await engine.client.execute(name)
        assert result.outputs == {"said": number}
    versions = engine.client.wiring.versions
    listed = await until(lambda: asyncio.to_thread(versions.of, name), lambda found: len(found) == 2)

    again = await engine.client.execute(name, version="1.0.0")
    by_hash = await engine.client.execute(name, version=listed[0].sha256[:8])
    assert (again.outputs, by_hash.outputs) == ({"said": 1}, {"said": 2})
    stored = await asyncio.to_thread(versions.definition, name, "1.0.0")
    assert stored.agents[name].prompt.strip() == "First."
    with pytest.raises(Conflict, match="No version"):
        await engine.client.start(name, version="3.0.0")
