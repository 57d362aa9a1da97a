"""The workflow runner, the same in workers and replays.

Workflow code runs in Temporal's sandbox, which imports its modules anew for each instance. What is
passed through is imported once per process, which is fast and keeps one identity for each type, but
loses the guard; so only data and pure functions of data are. The modules that decide, `workflows` and
`taskmark.plan`, are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from starter.imports import remember_code

if TYPE_CHECKING:
    from temporalio.bridge.proto.workflow_activation import WorkflowActivation
    from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
    from temporalio.workflow import Info

PASSED_THROUGH = (
    "jinja2",  # imports lazily at run time; a second copy of it loses strict undefined without a word
    "markupsafe",  # of jinja2
    "taskmark.contracts",  # data; one identity for every message
    "taskmark.errors",  # data; raised on one side and caught on the other
    "taskmark.records",  # data, handed to the recorder outside
    "taskmark.task.model",  # data; thirty models would cost every instance 15 ms
    "taskmark.task.diagnostics",  # data
    "taskmark.task.expressions",  # one environment and one compile cache per process
    "taskmark.task.packing",  # a pure function of text
    "taskmark.task.durations",  # a pure function of text
    "taskmark.task.inputs",  # a pure function of data
    "taskmark.task.hints",  # of inputs
    "taskmark.task.values",  # of inputs
)


def workflow_runner() -> SandboxedWorkflowRunner:
    """Returns the runner."""
    remember_code()
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    return _Runner(restrictions=restrictions)


class _Runner(SandboxedWorkflowRunner):
    """The SDK's, without its questions to the sandbox about every payload."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _Instance(super().create_instance(det))


class _Instance(WorkflowInstance):
    """A workflow in the sandbox.

    Six times per payload the SDK asks an instance what its codec or external storage ought to know of the
    command at hand, and each time compiles and enters the sandbox: 2 ms of CPU for every step. We have
    neither storage nor a codec that asks for a context, so the answer is always the same.
    """

    def __init__(self, sandboxed: WorkflowInstance) -> None:
        self._sandboxed = sandboxed

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        return self._sandboxed.activate(act)

    def get_info(self) -> Info:
        return self._sandboxed.get_info()

    def get_thread_id(self) -> int | None:
        return self._sandboxed.get_thread_id()

    def get_serialization_context(self, command_info: object) -> None:
        """Tells nothing."""

    def get_external_store_context(self, command_info: object) -> StorageDriverStoreContext:
        return _NOWHERE


_NOWHERE = StorageDriverStoreContext(target=None)
