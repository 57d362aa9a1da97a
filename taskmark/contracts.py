"""What the parts say to each other: public names, states and messages.

Data only: this module is passed through Temporal's sandbox. The names in the first section are
public, people type them into the Temporal CLI; the rest is between our own parts. One model per
message; fields may be added, never renamed.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from taskmark.errors import Failure
from taskmark.task.model import LONGEST, Agent, Json, Phase, TaskDefinition

# --- public names ---------------------------------------------------------------------------------

TASK_QUEUE = "taskmark"
TASK_WORKFLOW = "TaskWorkflow"
PHASE_WORKFLOW = "PhaseWorkflow"

TOOL_ACTIVITY = "tool."
"""Prefix: one activity type per tool, so that the Web UI reads like the task."""
AGENT_ACTIVITY = "agent.ask"
AGGREGATE_ACTIVITY = "aggregate."
"""Prefix, for aggregates registered by users; built-in ones cost no activity."""
KIND_ACTIVITY = "step."
"""Prefix, for step kinds registered by users."""
COMPILE_ACTIVITY = "task.compile"
RECORD_ACTIVITY = "execution.record"
CANCEL_ACTIVITY = "execution.cancel"
LOAD_ARTIFACT_ACTIVITY = "artifact.load"
SAVE_ARTIFACT_ACTIVITY = "artifact.save"

TASK_ATTRIBUTE = "TaskmarkTask"
STATUS_ATTRIBUTE = "TaskmarkStatus"
PROJECT_ATTRIBUTE = "TaskmarkProject"
BUILD_ATTRIBUTE = "TaskmarkBuild"
SEARCH_ATTRIBUTES = (TASK_ATTRIBUTE, STATUS_ATTRIBUTE, PROJECT_ATTRIBUTE, BUILD_ATTRIBUTE)

CONTROL_SIGNAL = "control"
"""Parent to child: the newest wish."""
REPORT_SIGNAL = "report"
"""Child to parent: what changed."""
SUBTASK_SIGNAL = "subtask"
"""Sub-task to the phase that runs it: whether it stands still."""

RECORDER_EXTERN = "taskmark_record"
"""The function that a worker lends to its workflows to write records as things happen."""
REBUILD_EXTERN = "taskmark_rebuild"
"""The function that takes the same records again while a history is replayed, to rebuild the store."""

ARTIFACT_KEY = "$artifact"
INLINE_LIMIT = 32 * 1024
"""Bytes of JSON above which an output travels by reference."""
ADAPTER_LIMIT = 256 * 1024
"""Bytes of JSON that an adapter may return at most."""
RESULT_LIMIT = 512 * 1024
"""Bytes of JSON that a whole result may have; above it outputs move to the artifact store."""
MEMO_LIMIT = 1024
SHORT = 200
LONG = 2_000
"""Characters that a person's name, and a reason or comment, may have."""
ID_LIMIT = 1000
"""Bytes of a workflow's id that Temporal takes."""


def execution_id(timestamp_ms: int, task_id: str) -> str:
    """Returns the id of a new execution, which is also its workflow id."""
    return f"exec-{timestamp_ms}-{task_id}"


def phase_workflow_id(execution: str, phase: str) -> str:
    """Returns the workflow id of a phase's child workflow."""
    return f"{execution}/{phase}"


def idempotency_key(execution: str, phase: str, step: str, item: int | None) -> str:
    """Returns the key of one side effect, the same for every attempt of it."""
    parts = (execution, phase, step, "" if item is None else str(item))
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def span_id(execution: str, phase: str, step: str = "", item: int | None = None, attempt: int = 1) -> str:
    """Returns the span of one try of a step, or of a phase if no step is named: 16 hex digits.

    Those of one execution begin alike: what is written together lies together in an index.
    """
    parts = (execution, phase, step, "" if item is None else str(item), str(attempt))
    texts = (execution, "\x1f".join(parts))
    whole, own = (hashlib.sha256(text.encode(errors="replace")).hexdigest() for text in texts)
    return whole[:4] + own[:12]


# --- states ---------------------------------------------------------------------------------------


class ExecutionStatus(StrEnum):
    """State of an execution."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    WAITING = "waiting"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing can change any more."""
        return self in _FINAL_EXECUTION

    @property
    def is_success(self) -> bool:
        """Whether Temporal shows it as completed."""
        return self in (ExecutionStatus.COMPLETED, ExecutionStatus.COMPLETED_WITH_ERRORS)


_FINAL_EXECUTION = frozenset(
    {
        ExecutionStatus.COMPLETED,
        ExecutionStatus.COMPLETED_WITH_ERRORS,
        ExecutionStatus.FAILED,
        ExecutionStatus.TIMED_OUT,
        ExecutionStatus.CANCELLED,
    }
)


class StepStatus(StrEnum):
    """State of a phase or a step."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether it has ended, one way or another."""
        return self in _FINAL_STEP


_FINAL_STEP = frozenset({StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED})


class Message(BaseModel):
    """Base of every message: unknown fields are ignored, so that newer senders can talk to older readers."""

    model_config = ConfigDict(frozen=True, extra="ignore")


# --- starting -------------------------------------------------------------------------------------


Positive = Annotated[float, Field(gt=0, le=LONGEST, allow_inf_nan=False)]
Word = Annotated[str, Field(max_length=200)]
"""A name that becomes part of ids and search attributes, where Temporal's limits are bytes."""


Id = Annotated[str, Field(max_length=ID_LIMIT)]


ENGINE = 1
"""What `Limits.engine` is for executions that begin now."""


class Limits(Message):
    """Times and sizes the engine goes by, frozen into the execution at its start. Seconds throughout."""

    heartbeat: Positive = 3.0
    """A worker silent for so long counts as lost."""
    step_timeout: Positive = 600.0
    """For steps that name none and whose tool names none."""
    workflow_task: Positive = 4.0
    progress_interval: Positive = 2.0
    backoff_cap: Positive = 60.0
    lost_attempts: int = Field(default=10, ge=1, le=1000)
    """So many attempts lost in a row with their workers end the step."""
    window: int = Field(default=80, ge=1, le=500)
    """Steps in flight per phase when nothing else limits them."""
    phases: int = Field(default=50, ge=1, le=500)
    """Phases side by side when nothing else limits them."""
    tool_timeouts: dict[str, Positive] = Field(default_factory=dict)
    """Per tool that declares one."""
    engine: int = Field(default=0, ge=0)
    """Which of its ways that show in history the engine goes by, so that what began under older ones replays.

    From 1 on, timers that end with their workflow are left to it instead of being cancelled.
    """

    @property
    def leaves_timers(self) -> bool:
        """Whether a timer that ends with its workflow is left to it: one event less."""
        return self.engine >= 1


class StartTask(Message):
    """The one argument of `TaskWorkflow`: what to run, by id or path, by text, or already checked."""

    task: str | None = None
    source: str | None = None
    definition: TaskDefinition | None = None
    packed: str | None = None
    """A definition above 32 KiB, packed by `taskmark.task.packing`."""
    inputs: dict[str, Json] = Field(default_factory=dict)
    project: Word | None = None
    build_id: Word | None = None
    resume_from: Json = None
    limits: Limits | None = None
    trace_id: Word | None = None
    parent_id: Id | None = None
    """The execution that runs this one as a sub-task."""
    report_to: Id | None = None
    """Workflow id of the phase that runs this one as a sub-task, and is told when it stands still."""
    cause: Word = "user"
    """What starts it: `user`, `schedule`, `webhook`, `parent` or `retry`."""
    retry_of: Id | None = None
    """The execution that this one repeats; they share a trace."""


class Compiled(Message):
    """What `task.compile` returns."""

    definition: TaskDefinition | None = None
    packed: str | None = None
    inputs: dict[str, Json] = Field(default_factory=dict)
    limits: Limits = Limits()


# --- phases ---------------------------------------------------------------------------------------


class Wish(Message):
    """The newest wish of the parent. A child applies it only if `epoch` is newer than what it knows,
    so that signals may be late, doubled or merged."""

    epoch: int = 0
    paused: bool = False
    stop: Literal["", "failed", "timed_out", "cancelled"] = ""
    """`failed`: start nothing new; the others also cancel what runs."""


class PhaseStart(Message):
    """The one argument of `PhaseWorkflow`."""

    execution_id: str
    task_id: str
    trace_id: str
    project: str | None = None
    build_id: str | None = None
    phase: Phase | None = None
    packed: str | None = None
    retry: Json = None
    """The task's retry, as data."""
    window: int = 80
    inputs: dict[str, Json] = Field(default_factory=dict)
    phases: dict[str, Json] = Field(default_factory=dict)
    """Outputs of the phases this one reads, by slug."""
    steps: dict[str, Json] = Field(default_factory=dict)
    """Outputs of the steps of other phases this one reads, by id."""
    answers: tuple[Json, ...] = ()
    """What an aggregate of this phase reads from the phases before it."""
    agents: dict[str, Agent] = Field(default_factory=dict)
    tasks: dict[str, TaskDefinition] = Field(default_factory=dict)
    packed_tasks: dict[str, str] = Field(default_factory=dict)
    """Those of the sub-tasks that are above 32 KiB."""
    default_agents: tuple[str, ...] = ()
    limits: Limits = Limits()
    wish: Wish = Wish()
    report_budget: int = 300
    """Progress reports it may send in its life; what always goes through is not counted."""
    spans: dict[str, str] = Field(default_factory=dict)
    """Of what it reads of other phases: `phases.<slug>` and `steps.<id>`."""
    cause: str | None = None
    """What started the execution."""

    @property
    def parents(self) -> tuple[str, ...]:
        """The spans of the phases it depends on or reads."""
        return tuple(span for name, span in self.spans.items() if name.startswith("phases."))


class StepState(Message):
    """One step as it stands: for progress, results and the store."""

    id: str
    kind: str
    name: str = ""
    status: StepStatus = StepStatus.PENDING
    critical: bool = True
    attempt: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: Failure | None = None
    output: Json = None
    items_total: int | None = None
    """How many items or agents it has; absent for a step that is one call."""
    items_done: int = 0
    fallback: bool = False
    """Its output is the fallback's."""
    reason: str | None = None
    """Why it was skipped."""


class Wait(Message):
    """Something that waits for a person."""

    kind: Literal["approval", "question", "budget", "retry"]
    name: str
    prompt: str = ""
    since: datetime
    deadline: datetime | None = None
    phase: str = ""
    step: str = ""
    answer_schema: dict[str, Json] | None = None
    approvers: tuple[str, ...] = ()


class Decision(Message):
    """What came back for a gate."""

    name: str
    step: str = ""
    """The step that waits; a name alone can be that of several."""
    approved: bool = True
    value: Json = None
    by: str = ""
    comment: str = ""


class ControlPhase(Message):
    """Parent to child: the wish, and decisions for its gates."""

    wish: Wish
    decisions: tuple[Decision, ...] = ()


class PhaseReport(Message):
    """Child to parent: steps that changed since the last report (without their outputs)."""

    phase: str
    epoch: int = 0
    """Of the newest wish it has applied."""
    in_flight: int = 0
    steps: tuple[StepState, ...] = ()
    expanded: bool = False
    """The steps are those of a phase with `forEach`, once per item, in place of the file's."""
    waiting: tuple[Wait, ...] = ()
    failing: bool = False
    """A critical failure happened that stops the whole task: start nothing new anywhere."""
    attempt: int = 1


class PhaseCounts(Message):
    """A phase in short, for those who ask often about many steps."""

    attempt: int
    counts: dict[str, int]
    """How many steps have each status."""


class SubtaskReport(Message):
    """Sub-task to the phase that runs it: whether it stands still now."""

    execution_id: str
    still: bool
    epoch: int = 0
    """Of the pause it was told last."""


class PhaseResult(Message):
    """What a phase returns, also when it failed: then `error` says why."""

    status: StepStatus
    outputs: dict[str, Json] = Field(default_factory=dict)
    steps: tuple[StepState, ...] = ()
    error: Failure | None = None
    attempts: int = 1
    started_at: datetime | None = None
    finished_at: datetime | None = None
    packed: str | None = None
    """All of it once more, in place of the rest, if it is large: packed by `taskmark.task.packing`."""


# --- steps ----------------------------------------------------------------------------------------


class StepCall(Message):
    """The one argument of every activity that runs a step."""

    execution_id: str
    task_id: str
    trace_id: str
    project: str | None = None
    phase: str
    step: str
    item: int | None = None
    attempt: int = 1
    """Counts the attempts that the file's `maxAttempts` counts; lost ones are not among them."""
    kind: str
    name: str
    description: str = ""
    arguments: dict[str, Json] = Field(default_factory=dict)
    idempotency_key: str
    timeout: float
    agent: Agent | None = None
    context: dict[str, Json] = Field(default_factory=dict)
    """What an agent, a registered kind or a registered aggregate may read."""
    values: tuple[Json, ...] = ()
    """What a registered aggregate combines."""
    resume: Json = None
    """The last heartbeat of an earlier attempt."""
    reduced: bool = False
    """The attempt before failed for want of a resource: ask for less."""
    refresh_credentials: bool = False
    inline_limit: int = INLINE_LIMIT
    """Bytes of JSON above which the output goes to the artifact store: its share of the phase's budget."""
    parents: tuple[str, ...] = ()
    """Spans of what it reads."""
    cause: str | None = None
    """What started the execution."""
    together: bool = False
    """Whether others of its phase may run beside it; ends that come together cost less."""


class Usage(Message):
    """What a call used."""

    tokens: int = 0
    cost: float = 0.0


class StepDone(Message):
    """What every such activity returns."""

    output: Json = None
    usage: Usage | None = None
    files: tuple[str, ...] = ()
    """Files it wrote, relative to the root."""
    worker: str = ""
    resources: dict[str, float] | None = None
    """What the processes it ran used, if it ran any: `cpu_seconds`, `max_rss_bytes`."""


# --- results, control and progress ----------------------------------------------------------------


class StepOutcome(Message):
    """A step in a result. In a result of thousands of steps it has no kind, and is written without gaps."""

    status: StepStatus
    output: Json = None
    attempts: int = 0
    kind: str = ""
    name: str = ""
    phase: str = ""
    error: Failure | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    fallback: bool = False
    reason: str | None = None

    @model_serializer(mode="wrap")
    def _without_gaps(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return fields if self.kind else {key: value for key, value in fields.items() if value}


class PhaseOutcome(Message):
    """A phase in a result."""

    status: StepStatus
    outputs: dict[str, Json] = Field(default_factory=dict)
    name: str = ""
    attempts: int = 0
    error: Failure | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str | None = None


class TaskResult(Message):
    """The result of an execution, and what its failure carries."""

    execution_id: str
    status: ExecutionStatus
    outputs: dict[str, Json] = Field(default_factory=dict)
    phases: dict[str, PhaseOutcome] = Field(default_factory=dict)
    steps: dict[str, StepOutcome] = Field(default_factory=dict)
    error: Failure | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    trace_id: str = ""


class FinalRecord(Message):
    """The argument of `execution.record`: all the store needs, also when every other write was lost."""

    result: TaskResult
    task_id: str
    task_name: str
    definition_sha256: str = ""
    source_path: str = ""
    version: str = ""
    project: str | None = None
    build_id: str | None = None
    inputs: dict[str, Json] = Field(default_factory=dict)
    parent_id: str | None = None
    cause: str = "user"
    assigned_agent: str | None = None
    retry_of: str | None = None


class ControlRequest(Message):
    """Payload of `pause`, `resume` and `abort`; all of it optional."""

    reason: str = ""
    by: str = ""
    epoch: int = 0
    """Given by the phase that runs a sub-task, which answers to it."""


class Paused(Message):
    """Why, by whom and since when an execution is paused."""

    reason: str = ""
    by: str = ""
    since: datetime | None = None


class StepView(Message):
    """A step in `progress`."""

    id: str
    kind: str
    name: str
    status: StepStatus
    attempt: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None
    """What went wrong last; while it is tried again, of the attempt before."""
    reason: str | None = None
    """Why it was skipped."""
    items_total: int | None = None
    items_done: int = 0

    @classmethod
    def of(cls, state: StepState) -> StepView:
        """Returns what `progress` shows of a step."""
        shown = {name: getattr(state, name) for name in cls.model_fields if name != "error"}
        return cls(**shown, error=state.error.message if state.error else None)


class PhaseView(Message):
    """A phase in `progress`. `counts` has the number of steps per status."""

    name: str
    slug: str
    status: StepStatus
    percent: float = 0.0
    counts: dict[str, int] = Field(default_factory=dict)
    steps: tuple[StepView, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempt: int = 0


class Eta(Message):
    """The remaining time, with an interval. Seconds."""

    remaining_seconds: float
    low: float
    high: float
    confidence: float | None = None
    """Absent while the basis is `declared`: nothing was measured, so nothing is claimed."""
    finish_at: datetime | None = None
    basis: str = "declared"
    samples: int = 0


class Progress(Message):
    """The answer of the query `progress`."""

    execution_id: str
    task: str
    status: ExecutionStatus
    percent: float = 0.0
    phases: tuple[PhaseView, ...] = ()
    waiting: tuple[Wait, ...] = ()
    eta: Eta | None = None
    paused: Paused | None = None
    in_flight: int = 0
    started_at: datetime | None = None
    updated_at: datetime | None = None
    error: Failure | None = None


def artifact_reference(sha256: str, size: int) -> dict[str, Any]:
    """Returns the JSON value that stands for an output kept in the artifact store."""
    return {ARTIFACT_KEY: sha256, "size": size}


def is_artifact(value: Json) -> bool:
    """Whether a value is a reference to the artifact store."""
    return isinstance(value, dict) and isinstance(value.get(ARTIFACT_KEY), str)
