"""The checkpoints of executions: what they left for later ones to reuse, and how they began."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError
from sqlalchemy import Engine, select

from taskmark.contracts import ExecutionStatus, Remembered, StepStatus, artifact_content
from taskmark.plan.reuse import OldPhase
from taskmark.records import CheckpointRecord
from taskmark.store.engine import reading
from taskmark.store.tables import Checkpoints, Definitions, Executions, fields, table
from taskmark.task.model import FORMAT_VERSION, Json, TaskDefinition
from taskmark.task.packing import digest


@dataclass(frozen=True)
class Checkpoint:
    """What people are shown of a checkpoint."""

    phase: str
    label: str | None
    at: datetime
    status: str
    """Of the phase."""
    steps: int
    completed: int
    bytes: int
    """Of all its steps as JSON; what is in the artifact store does not count."""


class KeptCheckpoints:
    """Reads checkpoints. Every method raises `Unreachable` if the store does not answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, execution: str) -> tuple[CheckpointRecord, ...]:
        """Returns what the store has of an execution, the beginning first."""
        target = table(Checkpoints)
        query = select(target).where(target.c.execution_id == execution)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(target.c.at, target.c.phase, target.c.part)).all()
        return tuple(CheckpointRecord.model_validate(fields(target, row)) for row in rows)

    def status(self, execution: str) -> ExecutionStatus | None:
        """Returns how the execution is, as far as the store knows."""
        executions = table(Executions)
        query = select(executions.c.status).where(executions.c.execution_id == execution)
        with reading(self._engine) as connection:
            found = connection.execute(query).scalar()
        return None if found is None else ExecutionStatus(found)

    def definition(self, execution: str) -> TaskDefinition | None:
        """Returns what an execution ran, or None if the store does not have it to the letter."""
        executions, definitions = table(Executions), table(Definitions)
        query = (
            select(definitions.c.definition, definitions.c.sha256)
            .join(executions, executions.c.definition_sha256 == definitions.c.sha256)
            .where(executions.c.execution_id == execution)
        )
        with reading(self._engine) as connection:
            found = connection.execute(query).first()
        if found is None or digest(found[0]) != found[1]:
            return None
        try:
            definition = TaskDefinition.model_validate(found[0])
        except ValidationError:
            return None
        return definition if definition.format_version <= FORMAT_VERSION else None


def listed(records: Iterable[CheckpointRecord]) -> tuple[Checkpoint, ...]:
    """Returns what people are shown of checkpoints, in the order in which their phases ended."""
    ends = [record for record in records if record.phase]
    phases = dict.fromkeys(record.phase for record in sorted(ends, key=lambda one: (one.at, one.phase)))
    return tuple(_shown([record for record in ends if record.phase == phase]) for phase in phases)


def _shown(parts: list[CheckpointRecord]) -> Checkpoint:
    last = max(parts, key=lambda part: (part.part, part.at))
    steps = merged(parts)
    return Checkpoint(
        phase=last.phase,
        label=last.label,
        at=last.at,
        status=last.status.value,
        steps=len(steps),
        completed=sum(step.get("status") == StepStatus.COMPLETED for step in steps.values()),
        bytes=len(artifact_content(steps)),
    )


def merged(parts: Iterable[CheckpointRecord]) -> dict[str, dict[str, Json]]:
    """Returns the steps of a phase that told of them in several records: the latest that knows of each, with
    the items that each record knows. What was undone is as if it had never been done."""
    found: dict[str, dict[str, Json]] = {}
    ordered = sorted(parts, key=lambda one: one.part)
    if any(part.undone for part in ordered):
        return found
    for part in ordered:
        for name, step in part.steps.items():
            if name not in found:
                found[name] = step
            elif step.get("definition"):
                found[name] = _with_items(step, found[name])
    return found


def _with_items(step: dict[str, Json], before: dict[str, Json]) -> dict[str, Json]:
    """Returns a step with the items that an earlier record knows; one that completed has their outputs."""
    items, known = list(step.get("items", ())), before.get("items", ())
    if not any(known) or before.get("withheld"):
        return step
    items += [""] * (len(known) - len(items))
    old = [index for index, one in enumerate(items) if not one and index < len(known) and known[index]]
    for index in old:
        items[index] = known[index]
    found = {**step, "items": items}
    if step["status"] != StepStatus.COMPLETED:
        found["output"] = _outputs(step, before, old)
    return found


def _outputs(step: dict[str, Json], before: dict[str, Json], old: Iterable[int]) -> Json:
    mine, theirs = step.get("output"), before.get("output")
    if isinstance(theirs, dict):
        return {**theirs, **(mine or {})}
    before_it = list(theirs or ())
    outputs = list(mine or [None] * len(before_it))
    for index in old:
        outputs[index] = before_it[index]
    return outputs


def as_old(records: Iterable[CheckpointRecord]) -> dict[str, OldPhase]:
    """Returns checkpoints as predictions read them, by phase."""
    parts: dict[str, list[CheckpointRecord]] = {}
    for record in records:
        if record.phase:
            parts.setdefault(record.phase, []).append(record)
    return {
        phase: OldPhase(
            {name: Remembered.model_validate(step) for name, step in merged(some).items()},
            some[-1].outputs,
            some[-1].definition or "",
        )
        for phase, some in parts.items()
    }
