"""The workflow runner, the same in workers and replays.

Workflow code runs in Temporal's sandbox, which has its modules imported by a guard of its own. What is
passed through is the same as outside, with one identity for each type, but loses the guard; so only data and
pure functions of data are. The modules that decide, `workflows` and `taskmark.plan`, are not.

Parts of the SDK that this builds on are no public interface (1.35); tests/workflows/test_sandbox.py says what
has to hold.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

from temporalio.converter import StorageDriverStoreContext
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.worker.workflow_sandbox._importer import Importer
from temporalio.worker.workflow_sandbox._restrictions import RestrictionContext
from temporalio.worker.workflow_sandbox._runner import _Instance as SdkInstance

if TYPE_CHECKING:
    from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

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
    return _Runner(SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))


class _Runner(SandboxedWorkflowRunner):
    """The SDK's, but what it imports is imported once, not for each workflow."""

    @cached_property
    def _importers(self) -> dict[str, Importer]:
        return {}

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        module = det.defn.cls.__module__
        if module not in self._importers:
            self._importers[module] = Importer(self.restrictions, _ContextOfThread(), module)
        return _Instance(det, self.runner_class, self._importers[module])


class _Instance(SdkInstance):
    """A workflow in the sandbox, which it shares with all others of its type.

    To run the modules anew for each would keep apart what they keep in globals, which is nothing, and would
    be half of what workflow code costs.
    """

    def __init__(  # not the SDK's own, which makes an importer
        self, details: WorkflowInstanceDetails, runner_class: type[WorkflowRunner], importer: Importer
    ) -> None:
        self.instance_details = details
        self.runner_class = runner_class
        self.importer = importer
        self._current_thread_id = None
        self.globals_and_locals = {"__file__": "workflow_sandbox.py"}
        self._create_instance()

    def get_serialization_context(self, command_info: object) -> None:
        """Tells a codec or a converter nothing of the command at hand, and so does the next for a storage.

        Six times per payload the SDK asks an instance, and each time compiles and enters the sandbox: 2 ms
        of CPU for every step. We have neither a storage nor a codec that wants to know.
        """

    def get_external_store_context(self, command_info: object) -> StorageDriverStoreContext:
        return StorageDriverStoreContext(target=None)


class _ContextOfThread(threading.local, RestrictionContext):
    """Whether workflow code runs now: in each thread for itself, because workflows share a sandbox."""
