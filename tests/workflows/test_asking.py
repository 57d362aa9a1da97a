"""Semantics G10, G11: an agent that cannot go on asks a person."""

from __future__ import annotations

import json
from typing import Any

import pytest
from engine import Engine
from observing import stored_attempts
from test_correcting import refused

from taskmark.contracts import Progress
from taskmark.errors import Refused


def asks(*questions: dict[str, Any]) -> str:
    """Returns the `with` of an agent that asks these questions first."""
    return json.dumps({"asks": list(questions)})


COLOUR = {"question": "Which colour?", "name": "colour", "schema": {"enum": ["red", "blue"]}}
SIZE = {"question": "Which size?"}


@pytest.mark.semantics("G10")
async def test_an_agents_question_waits_and_the_agent_goes_on_with_the_answer(engine: Engine) -> None:
    """As often as it asks, in one attempt."""
    text = f"## Phase: A\n### Steps\n- agent: fay - Paint it\n  id: paint\n  with: {asks(COLOUR, SIZE)}\n"
    execution = await engine.start(text)
    progress = await engine.until_status(execution, "waiting")
    (wait,) = progress.waiting
    assert (wait.kind, wait.name, wait.prompt, wait.asker) == ("question", "colour", "Which colour?", "fay")
    assert (wait.phase, wait.step, wait.answer_schema) == ("a", "paint", {"enum": ["red", "blue"]})
    assert progress.phases[0].steps[0].status == "waiting"
    kind, _ = await refused(engine, execution, "answer", {"question": "colour", "value": "green"})
    assert kind == "InvalidAnswer"
    told = await engine.client.answer(execution, "colour", "red", by="ann", shown=wait.shown)
    assert told["duplicate"] is False
    progress = await engine.until(execution, lambda p: p.waiting and p.waiting[0].prompt == "Which size?")
    assert progress.waiting[0].name == "paint"
    assert (await engine.client.answer(execution, "colour", "red"))["duplicate"]
    with pytest.raises(Refused, match="already decided"):
        await engine.client.answer(execution, "colour", "blue")
    await engine.client.answer(execution, "paint", 7)
    result = await engine.wait(execution)
    assert result.status == "completed"
    assert result.steps["paint"].output == {
        "by": "fay",
        "answers": [
            {"question": "Which colour?", "value": "red", "by": "ann"},
            {"question": "Which size?", "value": 7, "by": ""},
        ],
    }
    assert result.steps["paint"].attempts == 1
    (attempt,) = await stored_attempts(
        engine, execution, "paint", lambda found: [one.status for one in found] == ["completed"]
    )
    assert (attempt.attempt, attempt.questions, attempt.tokens, attempt.cost) == (1, 2, 30, 1.5)


@pytest.mark.semantics("G10", "T5")
async def test_each_agent_and_each_item_has_a_question_of_its_own(engine: Engine) -> None:
    text = f"""
## Phase: All
### Steps
- Paint it
  id: plain
  with: {asks(COLOUR)}
### Agents
- fay
- gus

## Phase: Each
### Steps
- agent: fay - Paint them
  id: each
  forEach: [1, 2]
  with: {asks(SIZE)}
"""
    execution = await engine.start(text)
    progress = await engine.until(execution, lambda p: len(p.waiting) == 4)
    assert {wait.name for wait in progress.waiting} == {"colour/fay", "colour/gus", "each[0]", "each[1]"}
    await engine.client.answer(execution, "colour/gus", "blue")
    progress = await engine.until(execution, lambda p: len(p.waiting) == 3)
    assert progress.phases[0].steps[0].status == "waiting", "fay still asks"
    await engine.client.answer(execution, "colour/fay", "red")
    await engine.client.answer(execution, "each[1]", "two")
    await engine.client.answer(execution, "each[0]", "one")
    result = await engine.wait(execution)
    answers = {name: said["answers"][0]["value"] for name, said in result.steps["plain"].output.items()}
    assert answers == {"fay": "red", "gus": "blue"}
    assert [said["answers"][0]["value"] for said in result.steps["each"].output] == ["one", "two"]


@pytest.mark.semantics("G10", "R1")
async def test_what_was_answered_is_kept_when_an_attempt_fails(engine: Engine) -> None:
    given = json.dumps({"asks": [COLOUR], "fails": 1})
    retry = "retry: {backoffMs: 10}"
    text = f"## Phase: A\n### Steps\n- agent: fay - Paint\n  id: paint\n  {retry}\n  with: {given}\n"
    execution = await engine.start(text)
    await engine.until_status(execution, "waiting")
    await engine.client.answer(execution, "colour", "red")
    result = await engine.wait(execution)
    assert (result.steps["paint"].attempts, len(result.steps["paint"].output["answers"])) == (2, 1)
    assert engine.names(execution, "asked") == ["fay", "fay", "fay"]


@pytest.mark.semantics("G10")
async def test_a_question_that_does_not_block_is_an_answer(engine: Engine) -> None:
    for more in ({}, {"blocking": False}, {"blocking": "true"}, {"blocking": True, "question": " "}):
        given = json.dumps({"asks": [], "said": {"question": "Well?", **more}})
        text = f"## Phase: A\n### Steps\n- agent: eve - Say\n  id: said\n  with: {given}\n"
        result = await engine.run(text)
        assert result.status == "completed"
    assert result.steps["said"].output["context"]["with"]["said"]["question"] == " "


@pytest.mark.semantics("G10", "C8")
async def test_an_abort_reaches_an_agents_question(engine: Engine) -> None:
    text = f"## Phase: A\n### Steps\n- agent: fay - Paint\n  id: paint\n  with: {asks(COLOUR)}\n"
    execution = await engine.start(text)
    await engine.until_status(execution, "waiting")
    await engine.client.abort(execution)
    result = await engine.wait(execution)
    assert (result.status, result.steps["paint"].status) == ("cancelled", "cancelled")


@pytest.mark.semantics("G11")
async def test_a_step_that_never_stops_asking_fails(engine: Engine) -> None:
    ever = 'with: {asks: "for ever"}'
    text = f"## Phase: A\n### Steps\n- agent: fay - Paint\n  id: paint\n  critical: true\n  {ever}\n"
    execution = await engine.start(text)

    def asks_number(number: int) -> Any:
        def test(progress: Progress) -> bool:
            return any(wait.prompt == f"fay asks {number}" for wait in progress.waiting)

        return test

    for number in range(20):
        await engine.until(execution, asks_number(number))
        await engine.client.answer(execution, "paint", number)
    result = await engine.wait(execution)
    assert result.error is not None
    assert (result.status, result.error.type, result.error.category) == (
        "failed",
        "too_many_questions",
        "logic",
    )
