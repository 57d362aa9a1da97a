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
    from collections.abc import Callable

    from temporalio.bridge.proto.workflow_activation import WorkflowActivation
    from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
    from temporalio.worker import Worker, WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

PASSED_THROUGH = (
    "jinja2",  # imports lazily at run time; a second copy of it loses strict undefined without a word
    "markupsafe",  # of jinja2
    "taskmark.contracts",  # data; one identity for every message
    "taskmark.carried",  # data
    "taskmark.inquiries",  # data, and a pure function of it
    "taskmark.errors",  # data; raised on one side and caught on the other
    "taskmark.records",  # data, handed to the recorder outside
    "taskmark.task.model",  # data; thirty models would cost every instance 15 ms
    "taskmark.task.diagnostics",  # data
    "taskmark.task.expressions",  # one environment and one compile cache per process
    "taskmark.task.secret_references",  # pure functions of data, and a message's part
    "taskmark.task.packing",  # a pure function of text
    "taskmark.task.durations",  # a pure function of text
    "taskmark.task.inputs",  # a pure function of data
    "taskmark.task.hints",  # of inputs
    "taskmark.task.values",  # of inputs
)


def workflow_runner() -> Runner:
    """Returns the runner."""
    return Runner(SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))


def evicting(worker: Worker) -> Callable[[str], None]:
    """Returns what drops a run from the worker's cache once it has nothing to do.

    The SDK offers it to nobody (1.35), but its core does.
    """

    def evict(run_id: str) -> None:
        bridge = worker._bridge_worker
        assert bridge is not None, "it runs"
        assert bridge._ref is not None, "it has not ended"
        bridge._ref.request_workflow_eviction(run_id)

    return evict


class Runner(SandboxedWorkflowRunner):
    """The SDK's, but what it imports is imported once, not for each workflow; and it knows when a workflow
    ran ahead of its history."""

    evict: Callable[[str], None] | None = None
    """Drops a run from the worker's cache; a replayer has none."""

    @cached_property
    def _importers(self) -> dict[str, Importer]:
        return {}

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Makes a workflow, in the sandbox that all of its type share."""
        module = det.defn.cls.__module__
        if module not in self._importers:
            self._importers[module] = Importer(self.restrictions, _ContextOfThread(), module)
        return _Instance(det, self.runner_class, self._importers[module], self.evict)


class _Instance(SdkInstance):
    """A workflow in the sandbox, which it shares with all others of its type.

    To run the modules anew for each would keep apart what they keep in globals, which is nothing, and would
    be half of what workflow code costs.
    """

    def __init__(  # not the SDK's own, which makes an importer
        self,
        details: WorkflowInstanceDetails,
        runner_class: type[WorkflowRunner],
        importer: Importer,
        evict: Callable[[str], None] | None,
    ) -> None:
        self._evict = evict
        self._time = 0
        self._is_ahead = False
        self.instance_details = details
        self.runner_class = runner_class
        self.importer = importer
        self._current_thread_id = None
        self.globals_and_locals = {"__file__": "workflow_sandbox.py"}
        self._create_instance()

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Activates the workflow; one that ran ahead of its history leaves the cache.

        The danger: a query that waited for a worker may bring along a signal that no workflow task has begun
        with yet. Core (SDK 1.35) hands the signal on, at the time of the workflow task before, and keeps what
        came of it. What a workflow decides by the time is then in its history as no replay decides it, and
        it stands still for ever. The time that does not move on gives it away.
        """
        queries = all(job.HasField("query_workflow") for job in act.jobs)
        now = act.timestamp.ToNanoseconds()
        self._is_ahead |= not queries and not act.is_replaying and now == self._time
        self._time = now
        done = super().activate(act)
        if self._is_ahead and queries and self._evict is not None:
            self._evict(act.run_id)
        return done

    def get_serialization_context(self, command_info: object) -> None:
        """Tells a codec or a converter nothing of the command at hand, and so does the next for a storage.

        Six times per payload the SDK asks an instance, and each time compiles and enters the sandbox: 2 ms
        of CPU for every step. We have neither a storage nor a codec that wants to know.
        """

    def get_external_store_context(self, command_info: object) -> StorageDriverStoreContext:
        return StorageDriverStoreContext(target=None)


class _ContextOfThread(threading.local, RestrictionContext):
    """Whether workflow code runs now: in each thread for itself, because workflows share a sandbox."""
