"""What expressions of a whole task may read: conditions of phases, and the task's own outputs."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

from taskmark.contracts import StartTask, StepState, StepStatus
from workflows.state import TaskState


def task_names(state: TaskState, request: StartTask) -> dict[str, Any]:
    """Returns the names as they stand: only what has completed has outputs."""
    assert state.definition is not None
    return {
        "inputs": state.inputs,
        "phases": {
            slug: {"status": outcome.status.value, "outputs": outcome.outputs}
            for slug, outcome in state.outcomes.items()
        },
        "steps": {name: _visible(step) for steps in state.steps.values() for name, step in steps.items()},
        "execution": {"id": workflow.info().workflow_id},
        "project": request.project or state.definition.project,
    }


def _visible(step: StepState) -> dict[str, Any]:
    view: dict[str, Any] = {"status": step.status.value}
    if step.status is StepStatus.COMPLETED:
        view["output"] = step.output
    return view
