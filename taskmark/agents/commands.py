"""Agents whose model is `command:…`: a program answers."""

from __future__ import annotations

import json
import shlex

from taskmark.agents.answering import answer_of
from taskmark.errors import Category, StepFailed
from taskmark.ports import Answer, Question, StepContext
from taskmark.task.model import Agent, Json
from taskmark.tools.processes import Command, ProcessLimits, run


class CommandAgents:
    """Runs a program with the question on standard input; what it prints is the answer.

    The command is split into words as a shell would, and no shell reads it. In a word `{prompt}` stands for
    the agent's prompt and the instruction, `{instruction}` for the instruction alone, for programs that take
    the question as an argument. Standard input has all of it as JSON: `instruction`, `context`, `prompt`,
    `agent`.
    """

    def __init__(self, *, limits: ProcessLimits | None = None) -> None:
        self._limits = limits

    async def ask(self, agent: Agent, question: Question, context: StepContext) -> Answer:
        """Returns what the program prints: JSON as what it says, anything else as text.

        Raises `StepFailed`: transient for a non-zero exit, configuration for a program that is not there.
        """
        words = _words(agent)
        prompt = "\n\n".join(part for part in (agent.prompt.strip(), question.instruction) if part)
        filled = (_filled(word, prompt, question.instruction) for word in words)
        asked = {
            "instruction": question.instruction,
            "context": dict(question.context),
            "prompt": prompt,
            "agent": {"id": agent.id, "name": agent.name, "tools": list(agent.tools)},
        }
        command = Command(tuple(filled), stdin=json.dumps(asked).encode())
        ended = await run(command, context, self._limits)
        if ended.exit_code:
            raise StepFailed(f"agent {agent.id}: {words[0]}: {ended.reason}", _category(ended.exit_code))
        if ended.stdout.truncated:
            raise StepFailed(f"agent {agent.id} printed {ended.stdout.total:,} bytes", Category.RESOURCE)
        return answer_of(_said(ended.stdout.text), agent)


def _words(agent: Agent) -> list[str]:
    """Returns the command's words. Raises `StepFailed` (configuration) if there are none."""
    line = (agent.model or "").partition(":")[2]
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise StepFailed(
            f"agent {agent.id}: model {line!r} is no command: {error}", Category.CONFIGURATION
        ) from error
    if not words:
        raise StepFailed(
            f"agent {agent.id}: its model names no command",
            Category.CONFIGURATION,
            hint="write `model: command:program argument`",
        )
    return words


def _filled(word: str, prompt: str, instruction: str) -> str:
    """Returns a word with its placeholders filled, each once: what is put in is never read again."""
    parts = word.split("{prompt}")
    return prompt.join(part.replace("{instruction}", instruction) for part in parts)


def _category(exit_code: int) -> Category:
    """Returns the category of a non-zero exit: 126 and 127 say that a program is missing."""
    return Category.CONFIGURATION if exit_code in (126, 127) else Category.TRANSIENT


def _said(text: str) -> Json:
    """Returns the answer."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()
