"""Answers that are used again: only of the same call, only for their time, and never of a failure."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from activity_calls import call, environment, steps
from pydantic import BaseModel

from activities.answers import Answers
from activities.sharing import Sharing
from taskmark.contracts import StepDone
from taskmark.errors import Unreachable
from taskmark.ports import StepContext
from taskmark.registry import Registry
from taskmark.shared import MemoryShared
from taskmark.task.model import Agent
from taskmark.tools.function_tool import FunctionDetails, function_tool


@pytest.fixture
def answers() -> Answers:
    return Answers(Sharing(MemoryShared()))


def ask(**changes: Any) -> Any:
    return call(**{"cache": 60.0, "arguments": {"a": 1}, **changes})


async def test_the_same_call_of_another_execution_gets_the_same_answer(answers: Answers) -> None:
    await answers.keep(ask(), "1", StepDone(output={"n": 1}, files=("a",), worker="w"))
    found = await answers.find(ask(execution_id="exec-2", step="other", attempt=3), "1")
    assert found == StepDone(output={"n": 1}, cached_from="exec-1")


ANN = Agent(id="ann", name="ann", prompt="Be kind.", model="command:x")


@pytest.mark.parametrize(
    "other",
    [
        {"arguments": {"a": 2}},
        {"arguments": {"a": "1"}},
        {"name": "http"},
        {"agent": ANN},
        {"cache": None},
    ],
)
async def test_another_call_does_not(answers: Answers, other: dict[str, Any]) -> None:
    await answers.keep(ask(), "1", StepDone(output=1))
    assert await answers.find(ask(**other), "1") is None


async def test_another_version_of_the_tool_begins_anew(answers: Answers) -> None:
    await answers.keep(ask(), "1", StepDone(output=1))
    assert await answers.find(ask(), "2") is None


async def test_an_agent_is_asked_the_same_only_if_it_knows_the_same(answers: Answers) -> None:
    question = ask(agent=ANN, kind="agent", description="Why?", context={"inputs": {"x": 1}})
    await answers.keep(question, "", StepDone(output="because"))
    for other in ({"description": "How?"}, {"context": {"inputs": {"x": 2}}}, {"answers": ({"value": 1},)}):
        assert await answers.find(question.model_copy(update=other), "") is None
    kinder = ANN.model_copy(update={"prompt": "Be kinder."})
    assert await answers.find(question.model_copy(update={"agent": kinder}), "") is None
    assert await answers.find(question, "") is not None


async def test_an_answer_whose_time_is_over_is_forgotten(answers: Answers) -> None:
    await answers.keep(ask(cache=0.05), "1", StepDone(output=1))
    time.sleep(0.1)
    assert await answers.find(ask(), "1") is None


async def test_what_somebody_else_put_there_is_no_answer() -> None:
    class Odd(MemoryShared):
        def get(self, kind: str, key: str) -> Any:
            return {"output": 1, "usage": "much"}

    assert await Answers(Sharing(Odd())).find(ask(), "1") is None


async def test_without_the_store_every_call_is_made() -> None:
    class Down(MemoryShared):
        def get(self, kind: str, key: str) -> Any:
            raise Unreachable("down")

    answers = Answers(Sharing(Down()))
    await answers.keep(ask(), "1", StepDone(output=1))
    assert await answers.find(ask(), "1") is None


class Nothing(BaseModel):
    """No arguments."""


async def test_a_step_calls_once_and_a_failure_is_not_kept(tmp_path: Path) -> None:
    calls: list[int] = []

    async def count(parameters: Nothing, context: StepContext) -> int:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("the first one fails")
        return len(calls)

    registry = Registry()
    registry.tools["count"] = function_tool(count, FunctionDetails("count"))
    run, recorder, _ = steps(registry, tmp_path)
    made = call(name="count", cache=60.0)
    with pytest.raises(Exception, match="the first one fails"):
        await environment().run(run["tool.count"], made)
    first = await environment().run(run["tool.count"], made)
    second = await environment().run(run["tool.count"], made.model_copy(update={"execution_id": "exec-2"}))
    assert (first.output, first.cached_from) == (2, None)
    assert (second.output, second.cached_from) == (2, "exec-1")
    assert len(calls) == 2
    assert [one.reused_from for one in recorder.attempts("exec-2")] == ["exec-1"]
    assert [one.reused_from for one in recorder.attempts("exec-1")] == [None]
