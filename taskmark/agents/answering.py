"""What agents of every kind share: what becomes of their output, and what an attempt is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from taskmark.contracts import MOST_COST, MOST_TOKENS, Usage
from taskmark.ports import Answer, Question, StepContext
from taskmark.task.model import Agent, Json
from taskmark.tools.function_tool import call_either
from taskmark.tools.sizes import capped

SHORTER = "ask for a shorter answer, or for a file and its path"


def answer_of(output: Json, agent: Agent) -> Answer:
    """Returns the answer. An object with `usage` (`tokens`, `cost`) stays as it is and is counted too.

    Raises `StepFailed` if it is too large or no JSON value.
    """
    plain = capped(output, source=f"agent {agent.id}", advice=SHORTER)
    return Answer(output=plain, usage=_usage(plain))


def _usage(output: Json) -> Usage | None:
    """Returns the usage an answer reports, if it does so in our form."""
    reported = output.get("usage") if isinstance(output, dict) else None
    if not isinstance(reported, dict) or not {"tokens", "cost"} & reported.keys():
        return None
    try:
        found = Usage.model_validate(reported)
    except ValidationError:
        return None
    return found if 0 <= found.tokens <= MOST_TOKENS and 0 <= found.cost <= MOST_COST else None


class FunctionProvider:
    """A provider made of a function `f(agent, question, context)`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    async def ask(self, agent: Agent, question: Question, context: StepContext) -> Answer:
        """Returns the function's `Answer`, or the JSON value it returns as one. Raises `StepFailed`."""
        said = await call_either(self._function, agent, question, context)
        return said if isinstance(said, Answer) else answer_of(said, agent)


def attempt_of(question: Question, context: StepContext) -> str:
    """Returns what an attempt is called where use is counted: after a question to a person another begins."""
    given = question.context.get("answers")
    return f"{context.attempt}?{len(given) if isinstance(given, list | tuple) else 0}"
