"""Which tools an agent may call, decided here and nowhere else: whatever a model was talked into.

It may call what its file lists. What has side effects needs besides that the step or the task allows it, or a
person who agrees to that very call. Programs that are agents get no tool that would have to be asked for
(`taskmark.task.agent_tools.held_back`): nobody can be asked while they run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from taskmark.ports import Tool, ToolCall
from taskmark.task.agent_tools import is_allowed
from taskmark.task.model import Agent, Json
from taskmark.task.packing import digest

ALLOW: Final = "allow"
REFUSE: Final = "refuse"
SHOWN: Final = 300
"""Characters that are shown of the beginning and of the end of a text."""
SHOWN_IN_ALL: Final = 1_400


@dataclass(frozen=True)
class Yes:
    """The call may be made."""


@dataclass(frozen=True)
class No:
    """It may not; the reason is told to the model."""

    reason: str


@dataclass(frozen=True)
class Ask:
    """A person has to be asked: `output` is an answer of the agent's that asks (`taskmark.inquiries`)."""

    output: Json


Verdict = Yes | No | Ask


def verdict(
    call: ToolCall, tool: Tool[Any], agent: Agent, allow: Iterable[str], answers: Sequence[Mapping[str, Json]]
) -> Verdict:
    """Returns whether a call of a tool that the agent's file lists may be made."""
    if not tool.effects or is_allowed(call.name, allow):
        return Yes()
    asked = question(call, agent)
    for answer in answers:
        if answer.get("question") == asked:
            if answer.get("value") == ALLOW:
                return Yes()
            return No(f"{answer.get('by') or 'somebody'} refused this call")
    named = f"{agent.id}-{call.name}-{_digest(call)[:8]}"
    schema = {"enum": [ALLOW, REFUSE]}
    return Ask({"blocking": True, "question": asked, "name": named, "schema": schema})


def question(call: ToolCall, agent: Agent) -> str:
    """Returns what a person is asked. It names the one call exactly: what was agreed to once is not agreed to
    with other arguments, or a second time."""
    shown = json.dumps({key: _shown(value) for key, value in call.arguments.items()}, ensure_ascii=False)
    return (
        f"Agent {agent.id} wants to call {call.name} with {_shown(shown, SHOWN_IN_ALL // 2)} "
        f"(call {call.number}, SHA-256 {_digest(call)}). Allow it?"
    )


def _digest(call: ToolCall) -> str:
    return digest([call.number, call.name, dict(call.arguments)])


def _shown(value: Json, around: int = SHOWN) -> Json:
    """Returns a long text by its beginning and its end, and says so."""
    if not isinstance(value, str) or len(value) <= 2 * around:
        return value
    return f"{value[:around]} […{len(value) - 2 * around:,} characters not shown…] {value[-around:]}"
