"""One workflow: the SDK's own instance of it, what it is given, and what it asks for."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.workflow_activation import (
    InitializeWorkflow,
    RemoveFromCache,
    WorkflowActivation,
    WorkflowActivationJob,
)
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.common import Priority, TypedSearchAttributes
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowInstance, WorkflowInstanceDetails

from starter.converting import data_converter
from starter.simulation import wire
from starter.simulation.clock import START, Clock
from taskmark.contracts import PHASE_WORKFLOW, RECORDER_EXTERN, TASK_QUEUE, TASK_WORKFLOW
from workflows.phase import PhaseWorkflow
from workflows.task import TaskWorkflow

CLASSES: dict[str, type] = {TASK_WORKFLOW: TaskWorkflow, PHASE_WORKFLOW: PhaseWorkflow}
NAMESPACE = "simulated"


class Broken(Exception):
    """A workflow did what no server would accept, or what is not simulated: a fault of ours, not a task's."""


@dataclass(frozen=True)
class Ended:
    """How a workflow ended: with a result, or with a failure (none for a cancellation)."""

    result: Payload | None = None
    failure: Failure | None = None


class Process:
    """A workflow that runs here."""

    def __init__(self, clock: Clock, kind: str, id: str, parent: Process | None) -> None:
        self.kind = kind
        self.id = id
        self.ended: Ended | None = None
        self._clock = clock
        self._run_id = f"run of {id}"
        self.activations = 0
        """How often it was told something."""
        self._instance = self._create(parent)

    def begin(self, arguments: Sequence[Payload]) -> Sequence[WorkflowCommand]:
        """Starts it and returns its first commands."""
        given = InitializeWorkflow(workflow_type=self.kind, workflow_id=self.id, arguments=arguments)
        return self.activate(WorkflowActivationJob(initialize_workflow=given))

    def activate(self, job: WorkflowActivationJob) -> Sequence[WorkflowCommand]:
        """Tells it one thing and returns what it asks for. Raises `Broken`."""
        self.activations += 1
        activation = WorkflowActivation(run_id=self._run_id, history_length=self.activations, jobs=[job])
        activation.timestamp.FromNanoseconds(round(START.timestamp()) * 1_000_000_000 + self._clock.elapsed)
        done = self._instance.activate(activation)
        if done.HasField("failed"):
            raise Broken(f"the workflow {self.id} broke: {wire.error(done.failed.failure)}")
        return done.successful.commands

    def leave(self) -> None:
        """Takes it out of memory, as a worker does: what still waits in it is cancelled."""
        self.activate(WorkflowActivationJob(remove_from_cache=RemoveFromCache()))

    def _create(self, parent: Process | None) -> WorkflowInstance:
        details = WorkflowInstanceDetails(
            payload_converter_factory=data_converter.payload_converter_class,
            failure_converter_class=data_converter.failure_converter_class,
            interceptor_classes=[],
            defn=_definition(self.kind),
            info=self._info(parent),
            randomness_seed=int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:7]),
            extern_functions={RECORDER_EXTERN: _forget},
            disable_eager_activity_execution=True,
            worker_level_failure_exception_types=[],
            patch_activation_callback=None,
            last_completion_result=Payloads(),
            last_failure=None,
        )
        return _inside_a_loop(details)

    def _info(self, parent: Process | None) -> workflow.Info:
        above = None
        if parent is not None:
            above = workflow.ParentInfo(namespace=NAMESPACE, run_id=parent._run_id, workflow_id=parent.id)
        return workflow.Info(
            attempt=1,
            continued_run_id=None,
            cron_schedule=None,
            execution_timeout=None,
            first_execution_run_id=self._run_id,
            headers={},
            namespace=NAMESPACE,
            original_execution_run_id=self._run_id,
            parent=above,
            root=None,
            priority=Priority.default,
            raw_memo={},
            retry_policy=None,
            run_id=self._run_id,
            run_timeout=None,
            search_attributes={},
            start_time=self._clock.now,
            task_queue=TASK_QUEUE,
            task_timeout=timedelta(seconds=10),
            typed_search_attributes=TypedSearchAttributes([]),
            workflow_id=self.id,
            workflow_start_time=self._clock.now,
            workflow_type=self.kind,
        )


@cache
def _definition(kind: str) -> Any:
    return workflow._Definition.must_from_class(CLASSES[kind])


def _inside_a_loop(details: WorkflowInstanceDetails) -> WorkflowInstance:
    """An instance is made where a loop runs, though it never uses it: it brings a loop of its own."""

    async def create() -> WorkflowInstance:
        return UnsandboxedWorkflowRunner().create_instance(details)

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(create())
    finally:
        loop.close()


def _forget(*_records: object) -> None:
    """Nothing of a simulation is kept."""
