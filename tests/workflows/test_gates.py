"""Semantics G: approvals and questions, their timeouts and those who may decide them."""

from __future__ import annotations

import asyncio
import shlex
from typing import Any

import pytest
from engine import UNCACHED, Engine
from inspecting import no_task_failed
from observing import pause, stored_events, unique
from temporalio.client import WorkflowUpdateFailedError

from starter.cli.picture import decisions
from taskmark.errors import Refused

APPROVAL = "## Phase: Ask\n### Steps\n- approval: go - Shall it go on?\n"
QUESTION = "## Phase: Ask\n### Steps\n- question: where - Where to?\n"


async def waiting(engine: Engine, text: str, **options: Any) -> str:
    """Starts a task and returns its id once it waits."""
    execution = await engine.start(text, **options)
    await engine.until_status(execution, "waiting")
    return execution


async def refused(engine: Engine, execution: str, update: str, *payload: Any) -> str:
    """Returns the reason of a refused update, having checked that it left no event."""
    handle = engine.client.client.get_workflow_handle(execution)
    before = len(await engine.events(execution))
    with pytest.raises(WorkflowUpdateFailedError) as raised:
        await handle.execute_update(update, args=list(payload))
    assert len(await engine.events(execution)) == before
    reason = str(raised.value.cause)
    assert reason
    return reason


# --- G1: waiting --------------------------------------------------------------------------------------


@pytest.mark.semantics("G1")
@pytest.mark.parametrize(
    ("gate", "kind", "name"),
    [
        ("- approval: go - Shall {{ inputs.what }} go on?", "approval", "go"),
        ("- question: where - Where is {{ inputs.what }}?", "question", "where"),
    ],
)
async def test_an_open_gate_shows_its_prompt_since_when_and_until_when(
    engine: Engine, gate: str, kind: str, name: str
) -> None:
    text = (
        f"```yaml\nrequirements:\n  what: string\n```\n\n## Phase: Ask\n### Steps\n{gate}\n  timeout: 1 hour"
    )
    execution = await waiting(engine, text, inputs={"what": "it"})
    progress = await engine.client.progress(execution)
    (wait,) = progress.waiting
    assert (wait.kind, wait.name, wait.phase, wait.step) == (kind, name, "ask", name)
    assert wait.prompt in ("Shall it go on?", "Where is it?")
    assert progress.phases[0].steps[0].name == wait.prompt, "the step is called by what is asked"
    assert wait.deadline is not None
    assert (wait.deadline - wait.since).total_seconds() == 3600
    assert (progress.phases[0].status, progress.phases[0].steps[0].status) == ("waiting", "waiting")
    await engine.client.abort(execution)


@pytest.mark.semantics("G1")
async def test_other_branches_go_on_beside_an_open_gate(engine: Engine) -> None:
    """While they do, the execution is `running`; it is `waiting` once nothing else can run."""
    name = unique()
    text = f"""
        {APPROVAL.strip()}

        ## Phase: Work
        ### Steps
        - tool: hold
          with: {{name: {name}}}
        - tool: effect
          with: {{name: more}}
        """
    execution = await engine.start(text.replace("\n        ", "\n"))
    progress = await engine.until(execution, lambda p: p.waiting)
    assert progress.status == "running"
    await engine.until_trace(execution, "start", name)
    engine.release(name)
    await engine.until_status(execution, "waiting")
    assert engine.names(execution) == [name, "more"]
    await engine.client.approve(execution, "go")
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("G1", "G4")
async def test_gates_in_parallel_branches_are_independent(engine: Engine) -> None:
    text = """
        ## Phase: A
        ### Steps
        - approval: first - First?
        - tool: effect
          with: {name: a}

        ## Phase: B
        ### Steps
        - question: second - Second?
        - tool: effect
          with: {name: b}

        ## Phase: C
        parallel: true
        ### Steps
        - approval: third - Third?
        - approval: fourth - Fourth?
        """
    execution = await engine.start(text)
    await engine.until(execution, lambda p: len(p.waiting) == 4)
    await engine.client.answer(execution, "second", 2)
    await engine.until_trace(execution, "end", "b")
    progress = await engine.until(execution, lambda p: p.status == "waiting")
    assert {wait.name for wait in progress.waiting} == {"first", "third", "fourth"}
    assert engine.names(execution) == ["b"]
    await engine.client.approve(execution, "fourth")
    assert {w.name for w in (await engine.client.progress(execution)).waiting} == {"first", "third"}
    await engine.client.approve(execution, "first")
    await engine.client.approve(execution, "third")
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("G1", "P7")
async def test_each_item_of_a_phase_has_a_gate_of_its_own(engine: Engine) -> None:
    """They are told apart by their steps; the name they share is refused, with the steps to choose from."""
    text = """
        ## Phase: Each
        forEach: [10, 20]
        ### Steps
        - approval: go - Shall {{ item }} go on?
        - tool: effect
          id: did
          with: {name: "did {{ item }}"}
        """
    execution = await engine.start(text)
    progress = await engine.until(execution, lambda p: len(p.waiting) == 2)
    assert {(w.step, w.prompt) for w in progress.waiting} == {
        ("go[0]", "Shall 10 go on?"),
        ("go[1]", "Shall 20 go on?"),
    }
    assert "go[0], go[1]" in await refused(engine, execution, "approve", {"gate": "go"})
    shown = [shlex.split(decisions(execution, one, progress.waiting)[0]) for one in progress.waiting]
    assert sorted(words[3] for words in shown) == ["go[0]", "go[1]"], "what commands people are told"
    await engine.client.approve(execution, "go[1]")
    await engine.until_trace(execution, "end", "did 20")
    assert engine.names(execution) == ["did 20"]
    await engine.client.approve(execution, "go[0]")
    assert (await engine.wait(execution)).status == "completed"


# --- G2: what is refused ------------------------------------------------------------------------------


@pytest.mark.semantics("G2")
async def test_a_decision_before_its_gate_waits_is_refused(engine: Engine) -> None:
    name = unique()
    text = f"## Phase: A\n### Steps\n- tool: hold\n  with: {{name: {name}}}\n- approval: go - Go?\n"
    execution = await engine.start(text)
    await engine.until_trace(execution, "start", name)
    await engine.until(execution, lambda p: p.phases[0].counts.get("running"))
    await asyncio.sleep(0.3)  # its reports are in the history
    assert "does not wait" in await refused(engine, execution, "approve", {"gate": "go"})
    assert "does not wait" in await refused(engine, execution, "retry", {"phase": "a"})
    engine.release(name)
    await engine.until_status(execution, "waiting")
    await engine.client.approve(execution, "go")
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("G2", "G3")
async def test_another_decision_after_the_first_is_refused(engine: Engine) -> None:
    name = unique()
    text = f"{APPROVAL}- tool: hold\n  with: {{name: {name}}}\n"
    execution = await waiting(engine, text)
    await engine.client.approve(execution, "go", by="ann")
    await engine.until_trace(execution, "start", name)
    await asyncio.sleep(0.3)
    reason = await refused(engine, execution, "approve", {"gate": "go", "decision": "rejected"})
    assert "already decided by ann" in reason
    engine.release(name)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("G2")
async def test_a_decision_for_an_unknown_gate_names_those_that_wait(engine: Engine) -> None:
    execution = await waiting(engine, APPROVAL)
    reason = await refused(engine, execution, "approve", {"gate": "nowhere"})
    assert "nowhere" in reason
    assert "waiting now: go" in reason
    assert "go" in await refused(engine, execution, "approve", {"gate": "go2"})
    assert "question" in await refused(engine, execution, "answer", {"question": "go", "value": 1})
    await engine.client.abort(execution)


@pytest.mark.semantics("G2")
async def test_only_approvers_decide(engine: Engine) -> None:
    execution = await waiting(engine, f"{APPROVAL}  approvers: [ann, bob]\n")
    for by in ("", "cid", "ANN", "ann,bob"):
        reason = await refused(engine, execution, "approve", {"gate": "go", "by": by})
        assert "allowed: ann, bob" in reason
    answer = await engine.client.approve(execution, "go", by="bob")
    assert answer["by"] == "bob"
    result = await engine.wait(execution)
    assert result.steps["go"].output["by"] == "bob"


SCHEMAS: list[tuple[str, list[Any], Any]] = [
    ("{type: integer}", ["3", 3.5, True, None, [3]], 3),
    ("{type: number}", ["3", False, None], 2.5),
    ("{type: string}", [3, None, ["a"], {}], "a"),
    ("{type: boolean}", [0, 1, "true"], False),
    ("{type: [string, 'null']}", [3, []], None),
    ("{enum: [red, green]}", ["blue", "Red", 0, ["red"]], "green"),
    ("{enum: [1, 2]}", [True, "1", 3], 1),
    ("{const: yes-please}", ["yes", None], "yes-please"),
    ("{type: integer, minimum: 1, maximum: 9}", [0, 10, -1], 9),
    ("{type: number, exclusiveMinimum: 0, exclusiveMaximum: 1}", [0, 1], 0.5),
    ("{type: string, minLength: 2, maxLength: 3}", ["a", "abcd"], "abc"),
    ("{type: array, items: {type: integer}, minItems: 1, maxItems: 2}", [[], [1, 2, 3], ["a"]], [1]),
    (
        "{type: object, required: [a], properties: {a: {type: string}}, additionalProperties: false}",
        [{}, {"a": 1}, {"a": "x", "b": 1}, []],
        {"a": "x"},
    ),
    (
        "{type: object, properties: {a: {type: object, required: [b]}}}",
        [{"a": {}}, {"a": 1}],
        {"a": {"b": 1}},
    ),
]


@pytest.mark.semantics("G2")
async def test_an_answer_that_does_not_fit_its_schema_is_refused(engine: Engine) -> None:
    steps = [f"- question: q{n} - Well?\n  schema: {schema}" for n, (schema, _, _) in enumerate(SCHEMAS)]
    execution = await engine.start("## Phase: Ask\nparallel: true\n### Steps\n" + "\n".join(steps))
    await engine.until(execution, lambda p: len(p.waiting) == len(SCHEMAS))
    await engine.until_status(execution, "waiting")
    for n, (_, wrong, _) in enumerate(SCHEMAS):
        for value in wrong:
            reason = await refused(engine, execution, "answer", {"question": f"q{n}", "value": value})
            assert "the answer" in reason
    for n, (_, _, right) in enumerate(SCHEMAS):
        answered = await engine.client.answer(execution, f"q{n}", right)
        assert answered["value"] == right
    result = await engine.wait(execution)
    assert [step.output for step in result.steps.values()] == [right for _, _, right in SCHEMAS]


NONSENSE: list[list[Any]] = [
    [],
    [None],
    ["go"],
    [17],
    [[]],
    [{}],
    [{"gate": None, "question": "", "phase": [], "step": {}}],
    [{"gate": {"a": 1}, "question": ["x"], "phase": {"b": 2}, "value": 1}],
    [{"gate": "else", "question": "else", "phase": "else", "value": 1}, {"gate": "go"}],
    [b"\x00\xff"],
    [{"gate": "x" * 100_000, "question": "x" * 100_000, "value": 1, "phase": "x" * 100_000}],
    [{"gate": "go", "question": "where", "phase": "ask", "by": "x" * 100_000, "value": 1}],
    [{"gate": "go", "comment": "x" * 100_000}],
    [{"gate": "go", "decision": "perhaps"}],
    [{"gate": "go", "decision": None}],
    [{"gate": "go", "decision": ["approved"]}],
    [{"question": "where"}],
    [{"question": "where", "value": "x" * 40_000}],
    [{"phase": "ask", "inputs": {}}],
]


@pytest.mark.semantics("G2")
@pytest.mark.parametrize("update", ["approve", "answer", "retry", "skip"])
async def test_a_decision_that_makes_no_sense_is_refused_with_a_reason(engine: Engine, update: str) -> None:
    more = "\n## Phase: Ask More\n### Steps\n- question: where - Where?\n"
    execution = await waiting(engine, f"{APPROVAL}{more}")
    await engine.until(execution, lambda p: len(p.waiting) == 2)
    for payload in NONSENSE:
        reason = await refused(engine, execution, update, *payload)
        assert len(reason) < 3000, payload
        assert "argument" not in reason, payload
    assert len((await engine.client.progress(execution)).waiting) == 2
    await engine.client.abort(execution)
    await engine.wait(execution)
    await no_task_failed(engine.client.client.get_workflow_handle(execution))


@pytest.mark.semantics("G2")
async def test_an_ended_execution_takes_no_decision(engine: Engine) -> None:
    execution = await waiting(engine, APPROVAL)
    await engine.client.approve(execution, "go")
    await engine.wait(execution)
    before = len(await engine.events(execution))
    with pytest.raises(Refused, match="ended"):
        await engine.client.approve(execution, "go")
    assert len(await engine.events(execution)) == before


@pytest.mark.semantics("G2", "G6")
async def test_a_decision_that_crosses_with_the_timeout_is_taken_or_refused_but_never_both(
    engine: Engine,
) -> None:
    """Whoever was told that it was approved finds it approved."""

    async def run(delay: float) -> None:
        execution = await engine.start(f"{APPROVAL}  timeout: 600ms\n")
        await engine.until(execution, lambda progress: progress.waiting or progress.status.is_final)
        await asyncio.sleep(delay)
        try:
            await engine.client.approve(execution, "go")
            taken = True
        except Refused:
            taken = False
        result = await engine.wait(execution)
        assert result.steps["go"].status == ("completed" if taken else "failed"), (delay, result.error)

    await asyncio.gather(*(run(delay / 1000) for delay in range(440, 620, 20)))


# --- G3: duplicates -----------------------------------------------------------------------------------


@pytest.mark.semantics("G3")
async def test_the_same_decision_five_times_at_once_is_taken_once(engine: Engine) -> None:
    execution = await waiting(engine, APPROVAL)
    answers = await asyncio.gather(
        *(engine.client.approve(execution, "go", by=f"p{n}", comment="fine") for n in range(5))
    )
    assert sorted(answer["duplicate"] for answer in answers) == [False, True, True, True, True]
    assert len({answer["by"] for answer in answers}) == 1
    result = await engine.wait(execution)
    assert result.steps["go"].output["by"] == answers[0]["by"]
    assert len(await stored_events(engine, execution, "decided")) == 1


@pytest.mark.semantics("G3")
async def test_of_different_decisions_at_once_one_is_taken(engine: Engine) -> None:
    execution = await waiting(engine, APPROVAL)
    decisions = ["approved", "rejected"] * 3
    answers = await asyncio.gather(
        *(engine.client.approve(execution, "go", decision=decision) for decision in decisions),
        return_exceptions=True,
    )
    taken = [answer for answer in answers if isinstance(answer, dict)]
    others = [answer for answer in answers if isinstance(answer, Refused)]
    assert len(taken) == len(others) == 3
    assert len({answer["decision"] for answer in taken}) == 1
    result = await engine.wait(execution)
    assert result.status == ("completed" if taken[0]["decision"] == "approved" else "failed")


@pytest.mark.semantics("G3")
async def test_the_same_decision_again_after_its_gate_has_closed_is_a_duplicate(engine: Engine) -> None:
    """Who clicks twice is told what was decided; it starts nothing."""
    name = unique()
    text = f"{APPROVAL}- question: where - Where?\n- tool: hold\n  with: {{name: {name}}}\n"
    execution = await waiting(engine, text)
    await engine.client.approve(execution, "go", by="ann", comment="fine")
    await engine.until(execution, lambda p: [w.name for w in p.waiting] == ["where"])
    await engine.client.answer(execution, "where", {"x": 1})
    await engine.until_trace(execution, "start", name)
    again = await engine.client.approve(execution, "go", by="bob")
    assert (again["duplicate"], again["by"], again["comment"]) == (True, "ann", "fine")
    assert (await engine.client.answer(execution, "where", {"x": 1}))["duplicate"] is True
    with pytest.raises(Refused, match="already decided"):
        await engine.client.answer(execution, "where", {"x": 2})
    with pytest.raises(Refused, match="already decided"):
        await engine.client.answer(execution, "where", {"x": True})
    engine.release(name)
    result = await engine.wait(execution)
    assert result.steps["go"].output == {"approved": True, "by": "ann", "comment": "fine"}
    assert result.steps["where"].output == {"x": 1}


@pytest.mark.semantics("G2", "G3")
async def test_a_duplicate_is_for_approvers_only_too(engine: Engine) -> None:
    name = unique()
    execution = await waiting(
        engine, f"{APPROVAL}  approvers: [ann]\n- tool: hold\n  with: {{name: {name}}}\n"
    )
    await engine.client.approve(execution, "go", by="ann")
    await engine.until_trace(execution, "start", name)
    with pytest.raises(Refused, match="allowed: ann"):
        await engine.client.approve(execution, "go", by="bob")
    engine.release(name)
    await engine.wait(execution)


# --- G4, G5: what a decision does ---------------------------------------------------------------------


@pytest.mark.semantics("G4")
async def test_an_approved_gate_completes_with_who_and_comment(engine: Engine) -> None:
    execution = await waiting(
        engine, f"{APPROVAL}- tool: effect\n  with: {{name: 'by {{{{ steps.go.output.by }}}}'}}\n"
    )
    answer = await engine.client.approve(execution, "go", by="ann", comment="fine")
    assert answer == {
        "gate": "go",
        "decision": "approved",
        "by": "ann",
        "comment": "fine",
        "duplicate": False,
    }
    result = await engine.wait(execution)
    assert result.steps["go"].output == {"approved": True, "by": "ann", "comment": "fine"}
    assert engine.names(execution) == ["by ann"]
    (event,) = await stored_events(engine, execution, "decided")
    assert (event.phase, event.step, event.payload["by"]) == ("ask", "go", "ann")


@pytest.mark.semantics("G4")
@pytest.mark.parametrize("value", ["Rome", 0, False, None, [], {"a": [1, {"b": "ü"}]}], ids=str)
async def test_an_answered_question_completes_with_the_value(engine: Engine, value: Any) -> None:
    execution = await waiting(engine, f"{QUESTION}### Outputs\n- answer: steps.where.output\n")
    answer = await engine.client.answer(execution, "where", value, by="ann")
    assert (answer["name"], answer["value"], answer["by"]) == ("where", value, "ann")
    result = await engine.wait(execution)
    assert result.status == "completed"
    assert result.steps["where"].output == value


@pytest.mark.semantics("G4")
async def test_a_payload_with_only_the_gate_approves(engine: Engine) -> None:
    execution = await waiting(engine, APPROVAL)
    handle = engine.client.client.get_workflow_handle(execution)
    assert (await handle.execute_update("approve", {"gate": "go"}))["decision"] == "approved"
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("G2")
@pytest.mark.parametrize(
    ("update", "payload"),
    [
        ("approve", {"gate": "go", "approved": False}),
        ("approve", {"gate": "go", "decison": "rejected"}),
        ("retry", {"phase": "ask", "input": {"a": 1}}),
        ("raise", {"budget": "tokens", "limit": 1, "to": 2}),
    ],
    ids=str,
)
async def test_a_decision_with_a_field_that_nobody_knows_is_refused(
    engine: Engine, update: str, payload: dict[str, Any]
) -> None:
    """A slip of the pen must not approve."""
    execution = await waiting(engine, APPROVAL)
    handle = engine.client.client.get_workflow_handle(execution)
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await handle.execute_update(update, payload)
    assert list(payload)[-1] in str(caught.value.cause)
    assert (await engine.client.progress(execution)).status == "waiting"
    await engine.client.abort(execution)


@pytest.mark.semantics("G5")
async def test_a_rejected_approval_fails_its_phase_with_the_comment(engine: Engine) -> None:
    execution = await waiting(engine, f"{APPROVAL}- tool: effect\n  with: {{name: after}}\n")
    await engine.client.approve(execution, "go", decision="rejected", by="ann", comment="too dear")
    result = await engine.wait(execution)
    assert result.status == "failed"
    assert result.error is not None
    assert (result.error.type, result.error.message) == ("rejected", "too dear")
    assert result.phases["ask"].error is not None
    assert (result.phases["ask"].status, result.phases["ask"].error.message) == ("failed", "too dear")
    assert engine.names(execution) == []


@pytest.mark.semantics("G5")
async def test_a_rejection_without_a_comment_still_has_a_reason(engine: Engine) -> None:
    execution = await waiting(engine, APPROVAL)
    await engine.client.approve(execution, "go", decision="rejected")
    result = await engine.wait(execution)
    assert result.error is not None
    assert "“go” was rejected" in result.error.message


@pytest.mark.semantics("G5", "T2")
async def test_a_rejection_that_skips_also_skips_what_reads_the_gate(engine: Engine) -> None:
    """Everything else goes on, and the task completes."""
    text = """
        ## Phase: Ask
        ### Steps
        - approval: go - Go?
          onReject: skip
        - tool: effect
          id: reader
          with: {name: "by {{ steps.go.output.by }}"}
        - tool: effect
          id: other
          with: {name: other}

        ## Phase: Later
        dependsOn: [Ask]
        ### Steps
        - tool: effect
          id: far
          with: {name: "far {{ steps.go.output.by }}"}
        - tool: effect
          id: last
          with: {name: last}
        """
    execution = await waiting(engine, text)
    await engine.client.approve(execution, "go", decision="rejected", comment="no need")
    result = await engine.wait(execution)
    assert result.status == "completed"
    statuses = {name: step.status for name, step in result.steps.items()}
    assert statuses == {
        "go": "skipped",
        "reader": "skipped",
        "other": "completed",
        "far": "skipped",
        "last": "completed",
    }
    assert result.steps["go"].reason == "no need"
    assert engine.names(execution) == ["other", "last"]


# --- G6: timeouts -------------------------------------------------------------------------------------


@pytest.mark.semantics("G6")
@pytest.mark.parametrize("text", [APPROVAL, QUESTION])
async def test_a_gates_timeout_fails_its_step_and_never_approves(engine: Engine, text: str) -> None:
    result = await engine.run(f"{text}  timeout: 300ms\n- tool: effect\n  with: {{name: after}}\n")
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.type == "timed_out"
    gate = next(iter(result.steps.values()))
    assert (gate.status, gate.output) == ("failed", None)
    assert engine.names(result.execution_id) == []


@pytest.mark.semantics("G6")
async def test_with_on_timeout_pause_a_gate_goes_on_waiting(engine: Engine) -> None:
    execution = await waiting(engine, f"{APPROVAL}  timeout: 300ms\n  onTimeout: pause\n")
    await engine.until(execution, lambda p: p.waiting and p.waiting[0].deadline is None)
    await asyncio.sleep(0.3)
    progress = await engine.client.progress(execution)
    assert (progress.status, [w.name for w in progress.waiting]) == ("waiting", ["go"])
    await engine.client.approve(execution, "go", by="ann")
    result = await engine.wait(execution)
    assert (result.status, result.steps["go"].output["by"]) == ("completed", "ann")


@pytest.mark.semantics("G6")
async def test_a_decision_in_time_wins_over_the_timeout(engine: Engine) -> None:
    execution = await waiting(engine, f"{APPROVAL}  timeout: 5s\n")
    await engine.client.approve(execution, "go")
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.skipif(UNCACHED, reason="the SDK's own fault, temporalio/sdk-rust#1146: see docs/operations.md")
@pytest.mark.semantics("G6")
async def test_after_its_timeout_a_gate_takes_no_decision(engine: Engine) -> None:
    name = unique()
    text = f"""
        ## Phase: Ask
        onFailure: continue
        ### Steps
        - approval: go - Go?
          timeout: 200ms

        ## Phase: Work
        ### Steps
        - tool: hold
          with: {{name: {name}}}
        """
    execution = await engine.start(text)
    await engine.until(execution, lambda p: p.phases and p.phases[0].status == "failed")
    with pytest.raises(Refused, match="does not wait"):
        await engine.client.approve(execution, "go")
    engine.release(name)
    assert (await engine.wait(execution)).status == "completed_with_errors"


@pytest.mark.semantics("G6", "C5")
async def test_a_gate_that_waits_on_while_paused_still_takes_its_decision(engine: Engine) -> None:
    execution = await waiting(engine, f"{APPROVAL}  timeout: 200ms\n  onTimeout: pause\n")
    await engine.until(execution, lambda p: p.waiting and p.waiting[0].deadline is None)
    await pause(engine, execution, "ask")
    await engine.until_status(execution, "paused")
    await engine.client.approve(execution, "go")
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
