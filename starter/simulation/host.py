"""What a Temporal server does for workflows, in this process: children, timers, signals, calls.

Everything is told to a workflow one thing at a time and in the order in which it happened, so that two runs
of one simulation are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Protocol

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto import activity_result
from temporalio.bridge.proto import workflow_activation as told
from temporalio.bridge.proto.child_workflow import StartChildWorkflowExecutionFailedCause
from temporalio.bridge.proto.workflow_activation import WorkflowActivationJob as Job
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.exceptions import ApplicationError

from starter.simulation import wire
from starter.simulation.clock import SECOND, Clock, Event
from starter.simulation.process import Broken, Ended, Process

_EXISTS = StartChildWorkflowExecutionFailedCause.Value(
    "START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS"
)
MOST_EVENTS = 5_000_000
"""Of one simulation: a task that goes on for ever has to end some time."""


@dataclass(frozen=True)
class Answer:
    """What comes back for a call: a value or an error, and after how many seconds."""

    value: Any = None
    error: Exception | None = None
    after: float = 0.0


class Answers(Protocol):
    """Who carries out what workflows call."""

    def activity(self, name: str, argument: Payload, host: Host) -> Answer:
        """Returns what comes of an activity."""
        ...

    def child(self, kind: str, id: str, argument: Payload) -> Answer | None:
        """Returns what comes of a child workflow that is not to be run, or None to run it."""
        ...


@dataclass
class _Call:
    """An activity or a stand-in for a sub-task that is in flight."""

    event: Event
    cancel: Callable[[], None]


@dataclass
class _Child:
    """Whom the end of a child workflow is told to."""

    parent: Process
    seq: int


class Host:
    """Runs workflows that start each other, against answers."""

    def __init__(self, answers: Answers) -> None:
        self.clock = Clock()
        self.processes: dict[str, Process] = {}
        """Those that run, by workflow id, in the order of their start."""
        self._answers = answers
        self._timers: dict[tuple[str, int], Event] = {}
        self._activities: dict[tuple[str, int], _Call] = {}
        self._children: dict[tuple[str, int], str] = {}
        self._parents: dict[str, _Child] = {}
        self._stand_ins: dict[str, _Call] = {}
        self._above: dict[str, Process | None] = {}
        self._updates: dict[str, Callable[[BaseException], None]] = {}
        self._numbers = count(1)

    # --- from outside -----------------------------------------------------------------------------

    def start(self, kind: str, id: str, argument: Any) -> Process:
        """Starts a workflow; it does nothing until `step` is called."""
        return self._start(kind, id, [wire.written(argument)], None)

    def step(self, *, now: bool) -> bool:
        """Lets the next thing happen, with `now` only if no time has to pass; returns whether one did."""
        event = self.clock.next(now=now)
        if event is None:
            return False
        if event.order > MOST_EVENTS:
            raise Broken(f"more than {MOST_EVENTS:,} things happened and the task has not ended")
        event.happens()
        return True

    def query(self, id: str, name: str, argument: Any) -> Any:
        """Returns a workflow's answer as plain JSON."""
        asked = told.QueryWorkflow(query_id="q", query_type=name, arguments=[wire.written(argument)])
        answer = self.processes[id].activate(Job(query_workflow=asked))[0].respond_to_query
        if answer.HasField("failed"):
            raise Broken(f"the query {name} failed: {wire.error(answer.failed)}")
        return wire.first([answer.succeeded.response])

    def update(self, id: str, name: str, argument: Any, refused: Callable[[BaseException], None]) -> None:
        """Sends an update; `refused` is told why if the workflow does not take it."""
        number = f"update-{next(self._numbers)}"
        self._updates[number] = refused
        update = told.DoUpdate(id=number, protocol_instance_id=number, name=name, run_validator=True)
        update.input.append(wire.written(argument))
        self._tell(self.processes[id], Job(do_update=update))

    def signal(self, id: str, name: str, arguments: Sequence[Payload]) -> bool:
        """Sends a signal and returns whether there is somebody to hear it."""
        process = self.processes.get(id)
        if process is None:
            return False
        number = next(self._numbers)
        signal = told.SignalWorkflow(signal_name=name, input=arguments, originating_event_id=number)
        self._tell(process, Job(signal_workflow=signal))
        return True

    def cancel(self, id: str) -> None:
        """Requests the cancellation of a workflow, or of what stands in for one."""
        if id in self._stand_ins:
            self._stand_ins.pop(id).cancel()
        elif id in self.processes:
            self._tell(self.processes[id], Job(cancel_workflow=told.CancelWorkflow(reason="requested")))

    def close(self) -> None:
        """Takes every workflow that still runs out of memory."""
        for process in reversed(self.processes.values()):
            process.leave()
        self.processes.clear()

    # --- workflows --------------------------------------------------------------------------------

    def _start(self, kind: str, id: str, arguments: Sequence[Payload], parent: Process | None) -> Process:
        process = self.processes[id] = Process(self.clock, kind, id, parent)
        self._above[id] = parent
        self.clock.plan(lambda: self._obey(process, process.begin(arguments)))
        return process

    def _tell(self, process: Process, job: Job, after: int = 0) -> Event:
        return self.clock.plan(lambda: self._hear(process, job), after)

    def _hear(self, process: Process, job: Job) -> None:
        if process.ended is None:
            self._obey(process, process.activate(job))

    def _obey(self, process: Process, commands: Sequence[WorkflowCommand]) -> None:
        for command in commands:
            kind = command.WhichOneof("variant")
            handle = _HANDLERS.get(str(kind))
            if handle is None:
                raise Broken(f"{process.id} asked for {kind}, which is not simulated")
            handle(self, process, getattr(command, str(kind)))

    def _ended(self, process: Process, ended: Ended) -> None:
        process.ended = ended
        del self.processes[process.id]
        process.leave()
        for (owner, _), child in list(self._children.items()):
            if owner == process.id:
                self.cancel(child)  # the parent close policy of every child of ours
        above = self._parents.pop(process.id, None)
        if above is not None:
            self._resolve_child(above.parent, above.seq, process.kind, process.id, ended)

    # --- what workflows ask for -------------------------------------------------------------------

    def _start_timer(self, process: Process, asked: Any) -> None:
        job = Job(fire_timer=told.FireTimer(seq=asked.seq))
        after = asked.start_to_fire_timeout.ToNanoseconds()
        self._timers[process.id, asked.seq] = self._tell(process, job, after)

    def _cancel_timer(self, process: Process, asked: Any) -> None:
        self._timers.pop((process.id, asked.seq)).cancelled = True

    def _schedule_activity(self, process: Process, asked: Any) -> None:
        answer = self._answers.activity(asked.activity_type, asked.arguments[0], self)
        name, number = asked.activity_type, asked.activity_id

        def resolve(**result: Any) -> None:
            self._activities.pop((process.id, asked.seq), None)
            resolution = activity_result.ActivityResolution(**result)
            self._hear(process, Job(resolve_activity=told.ResolveActivity(seq=asked.seq, result=resolution)))

        def cancel() -> None:
            event.cancelled = True
            found = wire.of_activity(wire.cancelled("Activity cancelled"), name, number)
            cancelled = activity_result.Cancellation(failure=found)
            self.clock.plan(lambda: resolve(cancelled=cancelled))

        if answer.error is None:
            done = partial(resolve, completed=activity_result.Success(result=wire.written(answer.value)))
        else:
            found = wire.of_activity(wire.failure(answer.error), name, number)
            done = partial(resolve, failed=activity_result.Failure(failure=found))
        event = self.clock.plan(done, round(answer.after * SECOND))
        self._activities[process.id, asked.seq] = _Call(event, cancel)

    def _cancel_activity(self, process: Process, asked: Any) -> None:
        call = self._activities.get((process.id, asked.seq))
        if call is not None and not call.event.cancelled:
            call.cancel()

    def _start_child(self, process: Process, asked: Any) -> None:
        kind, arguments = asked.workflow_type, list(asked.input)
        child = asked.workflow_id
        started = told.ResolveChildWorkflowExecutionStart(seq=asked.seq)
        if child in self.processes or child in self._stand_ins:
            started.failed.workflow_id, started.failed.workflow_type = child, kind
            started.failed.cause = _EXISTS
            self._tell(process, Job(resolve_child_workflow_execution_start=started))
            return
        started.succeeded.run_id = f"run of {child}"
        self._children[process.id, asked.seq] = child
        self._tell(process, Job(resolve_child_workflow_execution_start=started))
        answer = self._answers.child(kind, child, arguments[0])
        if answer is None:
            self._parents[child] = _Child(process, asked.seq)
            self._start(kind, child, arguments, process)
        else:
            self._stand_in(process, asked.seq, kind, child, answer)

    def _stand_in(self, process: Process, seq: int, kind: str, id: str, answer: Answer) -> None:
        def end(ended: Ended) -> None:
            self._stand_ins.pop(id, None)
            self._resolve_child(process, seq, kind, id, ended)

        def cancel() -> None:
            event.cancelled = True
            self.clock.plan(lambda: end(Ended()))

        if answer.error is None:
            ended = Ended(result=wire.written(answer.value))
        else:
            ended = Ended(failure=wire.failure(answer.error))
        event = self.clock.plan(lambda: end(ended), round(answer.after * SECOND))
        self._stand_ins[id] = _Call(event, cancel)

    def _resolve_child(self, parent: Process, seq: int, kind: str, id: str, ended: Ended) -> None:
        self._children.pop((parent.id, seq), None)
        job = told.ResolveChildWorkflowExecution(seq=seq)
        if ended.result is not None:
            job.result.completed.result.CopyFrom(ended.result)
        elif ended.failure is not None:
            job.result.failed.failure.CopyFrom(wire.of_child(ended.failure, kind, id))
        else:
            cause = wire.cancelled("Workflow cancelled")
            job.result.cancelled.failure.CopyFrom(wire.of_child(cause, kind, id))
        self._tell(parent, Job(resolve_child_workflow_execution=job))

    def _cancel_child(self, process: Process, asked: Any) -> None:
        child = self._children.get((process.id, asked.child_workflow_seq))
        if child is not None:
            self.cancel(child)

    def _signal_other(self, process: Process, asked: Any) -> None:
        heard = self.signal(asked.workflow_execution.workflow_id, asked.signal_name, asked.args)
        resolved = told.ResolveSignalExternalWorkflow(seq=asked.seq)
        if not heard:
            resolved.failure.CopyFrom(_nobody())
        self._tell(process, Job(resolve_signal_external_workflow=resolved))

    def _answer_update(self, _process: Process, asked: Any) -> None:
        if asked.HasField("accepted"):
            return  # it may still be refused, by its handler
        refused = self._updates.pop(asked.protocol_instance_id)
        if asked.HasField("rejected"):
            refused(wire.error(asked.rejected))

    def _complete(self, process: Process, asked: Any) -> None:
        self._ended(process, Ended(result=asked.result))

    def _continue(self, process: Process, asked: Any) -> None:
        """The next run has the same id, and whoever waits for its end waits on."""
        process.ended = Ended()
        process.leave()
        for owner, seq in [key for key in self._timers if key[0] == process.id]:
            self._timers.pop((owner, seq)).cancelled = True
        self._start(process.kind, process.id, list(asked.arguments), self._above[process.id])

    def _fail(self, process: Process, asked: Any) -> None:
        self._ended(process, Ended(failure=asked.failure))

    def _cancelled(self, process: Process, _asked: Any) -> None:
        self._ended(process, Ended())

    def _show(self, _process: Process, _asked: Any) -> None:
        """What a web page would show is shown nowhere."""


def _nobody() -> Failure:
    return wire.failure(ApplicationError("there is no workflow with this id"))


_HANDLERS: dict[str, Callable[[Host, Process, Any], None]] = {
    "start_timer": Host._start_timer,
    "cancel_timer": Host._cancel_timer,
    "schedule_activity": Host._schedule_activity,
    "request_cancel_activity": Host._cancel_activity,
    "start_child_workflow_execution": Host._start_child,
    "cancel_child_workflow_execution": Host._cancel_child,
    "signal_external_workflow_execution": Host._signal_other,
    "update_response": Host._answer_update,
    "complete_workflow_execution": Host._complete,
    "continue_as_new_workflow_execution": Host._continue,
    "fail_workflow_execution": Host._fail,
    "cancel_workflow_execution": Host._cancelled,
    "upsert_workflow_search_attributes": Host._show,
    "modify_workflow_properties": Host._show,
}
