"""What the tests of the activities share: calls, a registry of small tools, and where they run."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import ActivityEnvironment

from activities.steps import StepActivities
from taskmark.contracts import StepCall
from taskmark.ports import Answer, Question, StepContext
from taskmark.registry import Registry
from taskmark.store.memory import MemoryArtifacts, MemoryRecorder
from taskmark.task.model import Agent


def call(**changes: Any) -> StepCall:
    """Returns the call of the step `s` of the phase `p`."""
    fields = {
        "execution_id": "exec-1",
        "task_id": "t",
        "trace_id": "0" * 32,
        "phase": "p",
        "step": "s",
        "kind": "tool",
        "name": "shell",
        "idempotency_key": "key",
        "timeout": 5.0,
    }
    return StepCall(**{**fields, **changes})


def environment(*, heartbeat: float | None = None, details: tuple[Any, ...] = (), **info: Any) -> Any:
    """Returns an activity's surroundings, with a heartbeat timeout and earlier heartbeat details."""
    surroundings = ActivityEnvironment()
    surroundings.payload_converter = pydantic_data_converter.payload_converter
    timeout = None if heartbeat is None else timedelta(seconds=heartbeat)
    surroundings.info = dataclasses.replace(
        surroundings.info, heartbeat_timeout=timeout, heartbeat_details=details, **info
    )
    return surroundings


async def echo(agent: Agent, question: Question, context: StepContext) -> Answer:
    """Answers with what it was asked, and tells that it wrote a file."""
    said = {"agent": agent.id, "instruction": question.instruction, "context": dict(question.context)}
    return Answer(said, files=("note.txt",))


def steps(
    registry: Registry, root: Path, **parts: Any
) -> tuple[dict[str, Any], MemoryRecorder, MemoryArtifacts]:
    """Returns the activities by name, and where they record and keep things."""
    recorder, artifacts = MemoryRecorder(), MemoryArtifacts()
    found = StepActivities(registry, echo, artifacts, recorder, root=root, **parts).all()
    named = {getattr(one, "__temporal_activity_definition").name or "*": one for one in found}
    return named, recorder, artifacts
