"""Agents whose model is `python:module:function`: a function of the user's answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from taskmark.agents.answering import answer_of
from taskmark.ports import Answer, Question, StepContext
from taskmark.task.model import Agent
from taskmark.tools.functions import FunctionCall, call_function
from taskmark.tools.processes import ProcessLimits


class FunctionAgents:
    """Calls `function(instruction, context)` in a process of its own, as the tool `python` does.

    `context` has what the step may read, and under `agent` the agent's id, name and prompt.
    """

    def __init__(self, *, paths: Sequence[Path] = (), limits: ProcessLimits | None = None) -> None:
        self._paths = tuple(paths)
        self._limits = limits

    async def ask(self, agent: Agent, question: Question, context: StepContext) -> Answer:
        """Returns what the function returns. Raises `StepFailed`."""
        function = (agent.model or "").partition(":")[2]
        described = {"id": agent.id, "name": agent.name, "prompt": agent.prompt}
        args = (question.instruction, {"agent": described, **question.context})
        call = FunctionCall(function, args, paths=self._paths)
        return answer_of(await call_function(call, context, self._limits), agent)
