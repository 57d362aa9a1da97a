"""Answers that are used again: what a step with `cache` returned, for whoever asks the same within its time.

The same is the same tool in the same version, or the same agent, with the same arguments; whoever's execution
it was. What failed is never kept.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from activities.sharing import Sharing
from taskmark.contracts import StepCall, StepDone
from taskmark.task.packing import digest

KIND = "answer"


class Answers:
    """The answers that workers keep for each other."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing

    async def find(self, call: StepCall, version: str) -> StepDone | None:
        """Returns what the same call returned before, or None."""
        if not call.cache:
            return None
        key = _key(call, version)
        kept = await self._sharing.ask(lambda shared: shared.get(KIND, key), otherwise=None)
        try:
            return None if kept is None else StepDone.model_validate(kept)
        except ValidationError:  # of another version of ours
            return None

    async def keep(self, call: StepCall, version: str, done: StepDone) -> None:
        """Keeps what a call returned, for as long as its step says."""
        if call.cache:
            answer = StepDone(output=done.output, cached_from=call.execution_id).model_dump(mode="json")
            key, ttl = _key(call, version), call.cache
            await self._sharing.ask(lambda shared: shared.put(KIND, key, answer, ttl), otherwise=None)


def _key(call: StepCall, version: str) -> str:
    same: dict[str, Any] = {
        "kind": call.kind,
        "name": call.name,
        "version": version,
        "arguments": call.arguments,
        "agent": call.agent.model_dump(mode="json") if call.agent else None,
        "instruction": call.description if call.agent else "",
        "context": call.context if call.agent else {},
        "answers": list(call.answers),
        **({"schema": call.answer_schema} if call.answer_schema else {}),
    }
    if call.secret_places:  # else a text that looks like a placeholder would be taken for one
        same["secrets"] = call.secret_places
    return digest(same)
