"""What has been said so far, kept outside of the worker after each thing that was paid for or done.

Who takes over a call of a worker that died goes on from there: no answer is paid for twice, no tool that has
answered is called again. It is kept under what the call is about, so that an attempt which is asked something
else begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from taskmark.agents.answering import attempt_of
from taskmark.contracts import INLINE_LIMIT, Usage
from taskmark.errors import Unreachable
from taskmark.ports import Question, StepContext
from taskmark.shared import Shared
from taskmark.task.model import Agent, Json
from taskmark.task.packing import digest
from taskmark.tools.sharing import Sharing

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage

KIND: Final = "conversation"
KEPT: Final = 7 * 86_400.0
"""Seconds; a person may take days to approve a call."""
Found = TypeVar("Found")


class Conversation(BaseModel):
    """What is kept."""

    model_config = ConfigDict(extra="ignore")

    messages: list[Json] = Field(default_factory=list)
    """As pydantic-ai has them."""
    turns: int = 0
    """How often the model has spoken."""
    calls: int = 0
    """How many tools it has called."""
    corrections: int = 0
    """How often it was told that its answer does not fit."""
    used: dict[str, Usage] = Field(default_factory=dict)
    """By attempt: what one has used is charged with that one."""
    answer: Json = None
    """`{"output": …}` once it has answered."""

    def charge(self, attempt: str, usage: Usage) -> None:
        """Counts what an attempt has used."""
        self.used[attempt] = usage.plus(self.used.get(attempt))

    def charged(self, attempt: str) -> Usage:
        """Returns what an attempt has used so far."""
        return self.used.get(attempt, Usage())


class Notebook:
    """Where the conversation of one call is kept."""

    def __init__(self, sharing: Sharing, agent: Agent, question: Question, context: StepContext) -> None:
        self._sharing = sharing
        self._context = context
        self._key = _key(agent, question, context)
        self.attempt = attempt_of(question, context)

    async def load(self) -> Conversation:
        """Returns the conversation as far as it has come."""
        kept = await self._ask(lambda shared: shared.get(KIND, self._key))
        found = [_read(one) for one in (kept, self._context.resume)]
        return max(found, key=lambda one: (one.answer is not None, one.turns, one.calls, len(one.messages)))

    async def save(self, conversation: Conversation) -> None:
        """Keeps it before anything else is done. Without the store a heartbeat takes it, if it is small."""
        value = conversation.model_dump(mode="json")

        def put(shared: Shared) -> bool:
            shared.put(KIND, self._key, value, KEPT)
            return True

        if not await self._ask(put) and len(json.dumps(value)) <= INLINE_LIMIT:
            self._context.heartbeat(value)

    async def forget(self) -> None:
        """Whoever asks again begins anew."""
        await self._ask(lambda shared: shared.change(KIND, self._key, lambda _: None, KEPT))

    async def _ask(self, question: Callable[[Shared], Found]) -> Found | None:
        try:
            return await self._sharing.ask(self._context.shared, question)
        except Unreachable as error:
            self._context.logger.debug("what was said is not kept: %s", error)
            return None


def _read(value: Json) -> Conversation:
    try:
        return Conversation.model_validate(value or {})
    except ValidationError:  # of another version of ours, or another provider's heartbeat
        return Conversation()


def _key(agent: Agent, question: Question, context: StepContext) -> str:
    about: list[Json] = [
        context.execution_id,
        context.phase,
        context.step,
        context.item,
        context.idempotency_key,
        list(context.parents),
        agent.model_dump(mode="json"),
        question.instruction,
        {name: question.context.get(name) for name in ("inputs", "with")},
        None if question.schema is None else dict(question.schema),
    ]
    return digest(about)


def packed(messages: list[ModelMessage]) -> list[Json]:
    """Returns messages as JSON."""
    from pydantic_ai.messages import ModelMessagesTypeAdapter

    dumped: list[Json] = ModelMessagesTypeAdapter.dump_python(messages, mode="json")
    return dumped


def unpacked(messages: list[Json]) -> list[ModelMessage]:
    """Returns what `packed` packed. Of what another version of the library packed, which this one does not
    understand, nothing: the conversation begins anew."""
    from pydantic_ai.messages import ModelMessagesTypeAdapter

    try:
        return ModelMessagesTypeAdapter.validate_python(messages)
    except ValidationError:
        return []
