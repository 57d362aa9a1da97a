"""Starts with a key of the caller's own: wherever and however often they are made, they are one execution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from taskmark.contracts import keyed_execution_id
from taskmark.errors import Conflict, InvalidInputs
from taskmark.store.tries import key_of
from taskmark.task.model import Json, TaskDefinition
from taskmark.task.packing import digest, unpacked

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from taskmark.store.reading import StoredExecution

KEY_MEMO = "taskmark_key"
START_MEMO = "taskmark_start"
SHOWN = 12
"""Digits of a hash: enough to tell two starts apart, and no more than a memo has room for."""
MOST_NAMES = 100
"""Of inputs that are compared one by one."""


class KeyedStart:
    """What a key starts. Its id follows from task and key, so that Temporal itself sees to it that there is
    only one; its memo says what was started, so that another start is not taken for it."""

    def __init__(self, definition: TaskDefinition, inputs: Mapping[str, Json], key: str) -> None:
        """Raises `InvalidInputs` for a key that cannot be typed."""
        self.key = key
        self.id = keyed_execution_id(key_of(definition.id, key), definition.id)
        self._definition = digest(unpacked(definition))[:SHOWN]
        self._inputs = dict(inputs)

    @property
    def memo(self) -> dict[str, Json]:
        """What the execution remembers of its start: the key, and hashes of definition and inputs."""
        names = {name: _hash(value) for name, value in self._inputs.items()}
        each = names if len(names) <= MOST_NAMES else {}
        told = {"definition": self._definition, "inputs": _hash(self._inputs), "each": each}
        return {KEY_MEMO: self.key, START_MEMO: told}

    async def check(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Raises `Conflict` if the execution was started with anything else."""
        memo = await (await handle.describe()).memo()
        told = memo.get(START_MEMO)
        if not isinstance(told, dict):
            raise Conflict(
                f"{self.id} was not started with a key, but by that name", hint="use another key for this"
            )
        if others := self._differences(told):
            raise Conflict(
                f"the key “{self.key}” has started {self.id}, with {' and '.join(others)}",
                hint="use another key for this, or start it as it was: `taskmark show` tells how",
            )

    def check_stored(self, stored: StoredExecution, inputs: Any) -> None:
        """Raises `Conflict` if what the history store has, and Temporal no longer, began with anything else;
        `inputs` are this start's, as the store would have them."""
        others = (
            ["another definition"] if (stored.definition_sha256 or "")[:SHOWN] != self._definition else []
        )
        others += ["other inputs"] if (stored.inputs or {}) != (inputs or {}) else []
        if others:
            raise Conflict(f"the key “{self.key}” has started {self.id}, with {' and '.join(others)}")

    def _differences(self, told: Mapping[str, Any]) -> list[str]:
        found = []
        if told.get("definition") != self._definition:
            found.append("another definition of the task (its file or an agent's has changed since)")
        if told.get("inputs") != _hash(self._inputs):
            then, now = told.get("each") or {}, self.memo[START_MEMO]["each"]
            names = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
            found.append(f"other inputs ({', '.join(names[:10])})" if names else "other inputs")
        return found


def keyed(
    definition: TaskDefinition, inputs: Mapping[str, Json], key: str | None, id: str | None
) -> KeyedStart | None:
    """Returns what a key starts, or None without one. Raises `InvalidInputs`."""
    if key is None:
        return None
    if id is not None:
        raise InvalidInputs(["a start has a key or an id of its own, not both"])
    return KeyedStart(definition, inputs, key)


def _hash(value: Json) -> str:
    return digest(value)[:SHOWN]
