"""Starts executions that go on from earlier ones, and foresees what they would reuse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from starter.resuming import restorable, too_large
from taskmark.contracts import Remembered, ResumeFrom, StartTask
from taskmark.errors import InvalidInputs, Refused, UnknownExecution, Unreachable
from taskmark.plan.reuse import Foreseen, OldPhase, over, predict
from taskmark.store.checkpoints import Checkpoint, KeptCheckpoints, as_old, listed
from taskmark.task.model import Json, TaskDefinition

if TYPE_CHECKING:
    from starter.gateway import TaskClient
    from starter.resuming import Earlier

Given = Callable[[TaskDefinition], Mapping[str, Json]]
"""Returns the inputs that are given, for a task: what a word of the command line means, it says."""


def from_where(execution: str, phase: str | None, checkpoint: str | None) -> ResumeFrom:
    """Returns where to go on from. Raises `InvalidInputs` for what makes no sense."""
    try:
        return ResumeFrom(execution=execution, phase=phase, checkpoint=checkpoint)
    except ValidationError as error:
        problems = [": ".join([*map(str, one["loc"]), one["msg"]]) for one in error.errors()]
        raise InvalidInputs([text.removeprefix("Value error, ") for text in problems]) from None


@dataclass(frozen=True)
class Again:
    """What is to run, after an earlier execution."""

    wanted: ResumeFrom
    definition: TaskDefinition
    inputs: dict[str, Json]
    earlier: Earlier
    project: str | None

    def foreseen(self) -> tuple[Foreseen, ...]:
        """Returns what will be reused, what not and why. Raises `Refused`."""
        old = as_old(self.earlier.records)
        steps = restorable(self.earlier.records, self.wanted)
        then = {
            phase: OldPhase(
                {name: Remembered.model_validate(step) for name, step in some.items()},
                old[phase].outputs,
                old[phase].definition,
            )
            for phase, some in steps.items()
        }
        return predict(
            self.definition, self.inputs, then, self.wanted, project=self.project, missing=too_large(steps)
        )


class Retries:
    """Goes on from executions that have ended."""

    def __init__(self, client: TaskClient) -> None:
        self._client = client

    async def prepare(
        self,
        wanted: ResumeFrom,
        given: Given,
        *,
        task: str | None = None,
        source: str | None = None,
        definition: TaskDefinition | None = None,
        version: str | None = None,
        project: str | None = None,
    ) -> Again:
        """Returns what is to run: the task that is given, else that of then, with the inputs of then, but for
        those that are given. Raises `UnknownExecution`, `Refused`, `InvalidTask`, `InvalidInputs`,
        `Conflict` (for a version), `Unreachable`."""
        client = self._client
        earlier = await client.wiring.earliers.find(client.client, wanted.execution)
        if version is not None:
            named = task or (earlier.definition.id if earlier.definition else "")
            definition = await asyncio.to_thread(client.wiring.versions.definition, named, version)
        elif task is not None or source is not None:
            compiler = client.wiring.compiler(confined=False)
            start = StartTask(task=task, source=source)
            definition = await asyncio.to_thread(compiler.definition, start)
        definition = definition or earlier.definition
        if definition is None:
            raise Refused(
                f"nobody has the definition of {wanted.execution} as it ran", hint="give its file: --file"
            )
        if wanted.phase is not None and wanted.phase not in (slugs := [p.slug for p in definition.phases]):
            raise Refused(f"there is no phase “{wanted.phase}”", hint=f"there are {', '.join(slugs)}")
        inputs = over(definition, earlier.beginning.inputs or {}, given(definition))
        inputs = client.check_inputs(definition, inputs)
        restorable(earlier.records, wanted)
        then = await asyncio.to_thread(self._project, wanted.execution)
        return Again(wanted, definition, inputs, earlier, project or then)

    def _project(self, execution: str) -> str | None:
        try:
            return self._client.wiring.history.execution(execution).project
        except (UnknownExecution, Unreachable):
            return None

    async def begin(self, again: Again, **options: Any) -> str:
        """Starts it and returns the new execution's id; options are those of `TaskClient.start`."""
        return await self._client.start(
            definition=again.definition,
            inputs=again.inputs,
            project=again.project,
            resume_from=again.wanted,
            **{"cause": "retry", **options},
        )

    async def checkpoints(self, execution: str) -> tuple[Checkpoint, ...]:
        """Returns what the store has of an execution's checkpoints. Raises `Unreachable`."""
        kept = KeptCheckpoints(self._client.wiring.store)
        return listed(await asyncio.to_thread(kept.of, execution))
