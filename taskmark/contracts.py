"""What the parts say to each other: public names, states and messages.

Data only: this module is passed through Temporal's sandbox. The names in the first section are
public, people type them into the Temporal CLI; the rest is between our own parts. One model per
message; fields may be added, never renamed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from taskmark.errors import Failure
from taskmark.task.model import LONGEST, Agent, AskAbove, Json, Phase, StepLimits, TaskDefinition, TaskLimits
from taskmark.task.secret_references import Place

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
NOTIFY_KIND = "notify"
"""Of calls that tell somebody what happened: they are no steps, and leave no attempt."""
RECORD_ACTIVITY = "execution.record"
CANCEL_ACTIVITY = "execution.cancel"
CHECKPOINTS_ACTIVITY = "execution.checkpoints"
LOAD_ARTIFACT_ACTIVITY = "artifact.load"
SAVE_ARTIFACT_ACTIVITY = "artifact.save"

TASK_ATTRIBUTE = "TaskmarkTask"
STATUS_ATTRIBUTE = "TaskmarkStatus"
PROJECT_ATTRIBUTE = "TaskmarkProject"
BUILD_ATTRIBUTE = "TaskmarkBuild"
SEARCH_ATTRIBUTES = (TASK_ATTRIBUTE, STATUS_ATTRIBUTE, PROJECT_ATTRIBUTE, BUILD_ATTRIBUTE)

ROLL_BACK_ACTIVITY = "execution.roll_back"
CIRCUIT_OPEN = "circuit_open"
"""The type of a failure: what was to be called is known to be down, and was not called."""
HELD_OFF = "held_off"
"""The type of a failure: it would have been too often, so nothing was called."""
INTERRUPTED = "interrupted"
"""Type of the failure with which a call answers that it was ended where it was; its details are the last
heartbeat's and the seconds it ran."""
WORKER_SHUTDOWN = "worker_shutdown"
"""Type of the failure with which a worker hands a call over, with the same details."""

CONTROL_SIGNAL = "control"
"""Parent to child: the newest wish."""
REPORT_SIGNAL = "report"
"""Child to parent: what changed."""
SUBTASK_SIGNAL = "subtask"
"""Sub-task to the phase that runs it: whether it stands still."""

SPENDING_SIGNAL = "spending"
"""Phase to the execution whose budget it spends: what was used, and how many calls want to begin."""

RECORDER_EXTERN = "taskmark_record"
"""The function that a worker lends to its workflows to write records as things happen."""
REBUILD_EXTERN = "taskmark_rebuild"
"""The function that takes the same records again while a history is replayed, to rebuild the store."""
EXPERIENCE_EXTERN = "taskmark_experience"
"""The function that a worker lends to its workflows to look at what earlier executions took. It never waits:
what is not read yet is None. Only queries and what is shown may depend on it."""

ARTIFACT_KEY = "$artifact"
ITEMS_KEY = "items"
"""Of a reference to the outputs of several items or agents: how many they are."""
INLINE_LIMIT = 32 * 1024
"""Bytes of JSON above which an output travels by reference."""
ADAPTER_LIMIT = 256 * 1024
"""Bytes of JSON that an adapter may return at most."""
RESULT_LIMIT = 512 * 1024
"""Bytes of JSON that a whole result may have; above it outputs move to the artifact store."""
MANY_ITEMS = 1_000
"""Items above which the outputs of a `forEach` are one document in the artifact store."""
MEMO_LIMIT = 1024
SHORT = 200
LONG = 2_000
"""Characters that a person's name, and a reason or comment, may have."""
ID_LIMIT = 1000
"""Bytes of a workflow's id that Temporal takes."""


def execution_id(timestamp_ms: int, task_id: str) -> str:
    """Returns the id of a new execution, which is also its workflow id."""
    return f"exec-{timestamp_ms}-{task_id}"


def keyed_execution_id(key_sha256: str, task_id: str) -> str:
    """Returns the id of the one execution that a key of the caller's own names among the task's."""
    return f"exec-key-{key_sha256[:16]}-{task_id}"


def scheduled_execution_id(name: str) -> str:
    """Returns the id of a schedule's executions, to which Temporal adds the time: `-2026-01-31T06:00:00Z`."""
    return f"exec-{name}"


def phase_workflow_id(execution: str, phase: str) -> str:
    """Returns the workflow id of a phase's child workflow."""
    return f"{execution}/{phase}"


def plain_id(step: str) -> str:
    """Returns a step's id as the file has it, without the number of the item of its phase."""
    return step.partition("[")[0]


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


HISTORY_EVENTS = 10_000
"""What `Limits.history_events` is unless somebody says otherwise: far below the 51,200 at which Temporal
terminates a workflow, and few enough that a worker which takes over replays them soon."""
ENGINE = 3
"""What `Limits.engine` is for executions that begin now."""


class ToolLimits(Message):
    """What whoever runs the workers says of a tool; a step's own word counts more."""

    heartbeat: Positive | None = None
    retry: dict[str, int] | None = None
    """`max_attempts` and `backoff_ms`, for tasks that say nothing of retries."""


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
    """Per tool that declares one, or of which the settings say one."""
    tools: dict[str, ToolLimits] = Field(default_factory=dict)
    """Per tool of which the settings say anything."""
    agent_timeouts: dict[str, Positive] = Field(default_factory=dict)
    """Per agent of which the settings say one."""
    history_events: int = Field(default=HISTORY_EVENTS, ge=50, le=20_000)
    """About how many events a phase's history has when it continues as new."""
    resuming: tuple[str, ...] = ()
    """Tools that can be ended at any moment and go on from their heartbeat."""
    engine: int = Field(default=0, ge=0)
    """Which of its ways that show in history the engine goes by, so that what began under older ones replays.

    From 1 on, timers that end with their workflow are left to it instead of being cancelled. From 2 on,
    executions can be held, corrected and continued as docs/semantics.md says of it. From 3 on, a phase
    does not end while a report of it is on its way, its clock stands while it is held, what fails
    while it is ended asks nobody, and what waits in a sub-task is told above.
    """

    @property
    def leaves_timers(self) -> bool:
        """Whether a timer that ends with its workflow is left to it: one event less."""
        return self.engine >= 1

    @property
    def corrects(self) -> bool:
        """Whether what waits is bound to what it shows, and what is held can be corrected."""
        return self.engine >= 2

    @property
    def counts_budgets(self) -> bool:
        """Whether a task's budget is kept."""
        return self.engine >= 2

    @property
    def holds_clocks(self) -> bool:
        """Whether a phase that is held, or has run out of its time, has it when it goes on."""
        return self.engine >= 3

    @property
    def ends_for_good(self) -> bool:
        """Whether what fails while its phase is ended neither asks a person nor runs again."""
        return self.engine >= 3

    @property
    def tells_waits(self) -> bool:
        """Whether a sub-task tells the executions above it what waits there, and notifications tell of
        budgets that are nearly used up."""
        return self.engine >= 3

    @property
    def awaits_reports(self) -> bool:
        """Whether a phase waits for the arrival of what it has reported before it ends."""
        return self.engine >= 3


class MeteredBy(Message):
    """A budget that calls are charged to."""

    execution: Id
    """The execution that counts."""
    learns: bool = False
    """Whether it limits what calls use: then not too many may be asked for ahead of what is known."""


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
    budgets: tuple[MeteredBy, ...] = ()
    """Those of the executions above it, which pay for what it does."""
    trace_id: Word | None = None
    parent_id: Id | None = None
    """The execution that runs this one as a sub-task."""
    report_to: Id | None = None
    """Workflow id of the phase that runs this one as a sub-task, and is told when it stands still."""
    cause: Word = "user"
    """What starts it: `user`, `schedule`, `webhook`, `parent` or `retry`."""
    retry_of: Id | None = None
    """The execution that this one repeats; they share a trace."""
    counted: bool = False
    """Whether an execution above it wants to know what its attempts use."""


class Compiled(Message):
    """What `task.compile` returns."""

    definition: TaskDefinition | None = None
    packed: str | None = None
    inputs: dict[str, Json] = Field(default_factory=dict)
    limits: Limits = Limits()


# --- budgets --------------------------------------------------------------------------------------


class Used(Message):
    """What agents used."""

    tokens: int = 0
    cost: float = 0.0
    agent_calls: int = 0

    def plus(self, other: Used | None) -> Used:
        """Returns both together."""
        if other is None:
            return self
        return Used(
            tokens=self.tokens + other.tokens,
            cost=self.cost + other.cost,
            agent_calls=self.agent_calls + other.agent_calls,
        )


class Consumption(Message):
    """What attempts used of the machine, of all that `limits` of a task can limit."""

    cpu_seconds: float = 0.0
    written_bytes: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0

    @classmethod
    def of(cls, resources: Any) -> Consumption | None:
        """Returns what was measured of it (`taskmark.ports.StepContext.resources`), None if nothing was.

        Components write there, too: what is no amount is left out.
        """
        given = resources if isinstance(resources, Mapping) else {}
        found = {name: given[name] for name in cls.model_fields if _is_amount(given.get(name))}
        whole = {name: int(amount) for name, amount in found.items() if name != "cpu_seconds"}
        return cls(**{**found, **whole}) if found else None

    def plus(self, other: Consumption) -> Consumption:
        """Returns both together."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in Consumption.model_fields}
        return Consumption(**{**sums, "cpu_seconds": round(sums["cpu_seconds"], 6)})


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**63


class Quota(Message):
    """What the attempts of an execution may use together. With no limit they are only counted, for those
    above."""

    limits: TaskLimits = TaskLimits()
    others: Consumption = Consumption()
    """What the other phases have used so far."""


class Spent(Used):
    """What calls of one agent used that have ended, and how many of them were answered: a call that failed
    tells nothing of what it used."""

    answered: int = 0


class Spending(Message):
    """Phase to the execution whose budget it spends. Everything but `waiting` only ever grows, so that the
    newest message says all of the ones before it. By agent; one that is chosen as the call begins is ``."""

    workflow: str
    """Who asks, and is told what is granted."""
    run: str
    """The first run of that workflow: another one under the same id begins to count anew."""
    waiting: dict[str, int] = Field(default_factory=dict)
    """Calls that want to begin, beyond what has been heard to be granted."""
    heard: dict[str, int] = Field(default_factory=dict)
    """Permits that have been heard of."""
    returned: dict[str, int] = Field(default_factory=dict)
    """Permits that no call used."""
    ended: dict[str, Spent] = Field(default_factory=dict)
    """Calls that have ended."""
    closed: bool = False
    """It asks no more."""


# --- going on from an earlier execution -----------------------------------------------------------


class ResumeFrom(Message):
    """Which execution to go on from, and from where; given as its id alone, from wherever it was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    execution: Id
    phase: Word | None = None
    """This phase and all that depends on it run anew."""
    checkpoint: Word | None = None
    """Only what had completed when the phase with this label ended is reused."""

    @model_validator(mode="before")
    @classmethod
    def _by_its_id(cls, given: Any) -> Any:
        return {"execution": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one_place(self) -> ResumeFrom:
        if self.phase is not None and self.checkpoint is not None:
            raise ValueError("give `phase` or `checkpoint`, not both")
        return self


class Remembered(Message):
    """A step in a checkpoint: how it ended, and what it would have to be again to end the same."""

    status: StepStatus
    definition: str = ""
    """Hash of what the file says of it; empty if it never came to running."""
    reads: dict[str, str] = Field(default_factory=dict)
    """Hashes of what it read, by name."""
    output: Json = None
    """Of one with items that did not complete: those of the items that did."""
    items: tuple[str, ...] = ()
    """Of each item that completed the hash of what it was, else empty."""
    who: tuple[str, ...] = ()
    """The agents that a plain step asked, which are its items."""
    items_total: int | None = None
    partly: bool = False
    """It completed, though not with all items."""
    fallback: bool = False
    fallback_for: Failure | None = None
    begun: bool = False
    withheld: bool = False
    """Its output is not here, because there is something personal in it."""
    reused: str | None = None
    """The execution its output comes from, if that was an earlier one."""
    finished_at: datetime | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all of it completed."""
        return self.status is StepStatus.COMPLETED and not self.partly and not self.withheld


class Reuse(Message):
    """What a phase may reuse of an earlier execution."""

    execution: str
    steps: dict[str, Json] = Field(default_factory=dict)
    """`Remembered` steps, by id."""
    kept: Json = None
    """A reference to them if they are large, or several."""
    why_not: str = ""
    """Why it may reuse nothing."""


class Resuming(Message):
    """The argument of `execution.checkpoints`."""

    wanted: ResumeFrom
    task: str | None = None
    source: str | None = None
    brought: bool = False
    """Whether the start brought a definition."""
    inputs: dict[str, Json] = Field(default_factory=dict)
    """Those that were given, which win over the earlier ones."""
    subtask: bool = False
    """A sub-task that finds nothing to reuse runs all the same."""


class Resumed(Message):
    """What `execution.checkpoints` returns: what is needed to go on from an earlier execution."""

    definition: TaskDefinition | None = None
    """Absent if the start brought it."""
    packed: str | None = None
    inputs: dict[str, Json] = Field(default_factory=dict)
    """Those of the earlier execution, or checked ones if there is a definition."""
    limits: Limits | None = None
    trace_id: str = ""
    phases: dict[str, Json] = Field(default_factory=dict)
    """Of each phase that left a checkpoint its `Remembered` steps by id, or a reference to them."""
    missing: dict[str, str] = Field(default_factory=dict)
    """Why phases that left one may not be reused."""


# --- phases ---------------------------------------------------------------------------------------


class Wish(Message):
    """The newest wish of the parent. A child applies it only if `epoch` is newer than what it knows,
    so that signals may be late, doubled or merged."""

    epoch: int = 0
    paused: bool = False
    now: bool = False
    """The pause also interrupts calls that go on from their heartbeat."""
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
    carried: str | None = None
    """If it continues as new: a packed `taskmark.carried.Carried`."""
    carried_parts: tuple[Json, ...] = ()
    """References to artifacts whose texts, joined, are its packed `Bulk`, if that is large."""
    budgets: tuple[MeteredBy, ...] = ()
    """Every budget that its calls are charged to."""
    ask_above: AskAbove | None = None
    """Estimates of the task's budget above which a fan-out asks for consent."""
    allow: tuple[str, ...] = ()
    """Tools with side effects that its agents may call without asking a person."""
    used: Used | None = None
    """What the phases before it used, where it may have to estimate."""
    reuse: Reuse | None = None
    """Given if the execution goes on from an earlier one."""
    step_limits: StepLimits | None = None
    """Of steps that do not say it themselves."""
    quota: Quota | None = None
    """Given if what its attempts use is counted."""
    secrets: tuple[str, ...] = ()
    """Names of the secrets that the task may use."""

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
    fallback_for: Failure | None = None
    """What the fallback stands in for; of several items the first that used it."""
    reason: str | None = None
    """Why it was skipped."""
    shown: str = ""
    """Of a gate that was decided: what it showed."""
    reused: str | None = None
    """The earlier execution that its output comes from."""
    anew: str | None = None
    """Why it ran although an earlier execution could have been reused."""


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
    execution: str = ""
    """Where it is decided, if not here: the execution whose budget has to be raised, which may be one above,
    or the sub-task that waits."""
    shown: str = ""
    """What a person sees, in short: a decision may name it, and is refused once it is another."""
    replaces: datetime | None = None
    """Since when the opening before had waited, which would have shown something else by now."""
    failed: tuple[str, ...] = ()
    """Of a held phase: its failed steps, each of which may be skipped."""
    asker: str = ""
    """The agent that asks, if the step's own agent does."""

    @property
    def key(self) -> str:
        """What tells it from the others of its phase; of one step several agents may ask."""
        return f"{self.step}?{self.name}" if self.asker else self.step or self.name

    def bound(self) -> Wait:
        """Returns it with what it shows in short, to which its decision is bound."""
        seen = [self.kind, self.name, self.prompt, self.answer_schema, list(self.approvers)]
        text = json.dumps(seen, ensure_ascii=False, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
        return self.model_copy(update={"shown": digest[:16]})


class Decision(Message):
    """What came back for a gate."""

    name: str
    step: str = ""
    """The step that waits; a name alone can be that of several."""
    approved: bool = True
    value: Json = None
    by: str = ""
    comment: str = ""
    shown: str = ""
    """What it was shown: it counts for no other opening of the gate."""


class Again(Message):
    """How a held phase goes on: the value of a decision about it, a word alone if there is no more to say."""

    action: Literal["retry", "skip"]
    step: str = ""
    """The step that is left out, or that runs again though it had completed."""
    inputs: dict[str, Json] = Field(default_factory=dict)
    """Inputs that change."""

    @classmethod
    def of(cls, value: Json) -> Again:
        """Returns what the value of a decision means."""
        return cls(action=value) if isinstance(value, str) else cls.model_validate(value)

    def value(self) -> Json:
        """Returns it as the value of a decision."""
        if not (self.step or self.inputs):
            return self.action
        return self.model_dump(mode="json", exclude_defaults=True)


class Permits(Message):
    """What an execution answers to its phases and those of its sub-tasks."""

    execution: str
    granted: dict[str, int] = Field(default_factory=dict)
    """Permits given to this workflow so far, by agent."""
    eager: bool = False
    """Others wait: what ends is to be told at once, and no permit to be kept in reserve."""
    wait: Wait | None = None
    """What it waits for, if that is a higher limit."""


class ControlPhase(Message):
    """Parent to child: the wish, and decisions for its gates."""

    wish: Wish = Wish()
    decisions: tuple[Decision, ...] = ()
    permits: Permits | None = None
    inputs: dict[str, Json] | None = None
    """The inputs from now on, if they changed."""
    changed: tuple[str, ...] = ()
    """Names of those that did."""
    others: Consumption | None = None
    """What the other phases have used, once nothing is left of a limit."""


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
    used: Used | None = None
    consumed: Consumption | None = None
    """What its attempts used so far, if that is counted."""


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
    idle: bool = False
    """Whether it only waits for people."""
    waits: tuple[Wait, ...] = ()
    """What waits there, and below it: the first of it if that is much."""


class PhaseResult(Message):
    """What a phase returns, also when it failed: then `error` says why."""

    status: StepStatus
    outputs: dict[str, Json] = Field(default_factory=dict)
    steps: tuple[StepState, ...] = ()
    error: Failure | None = None
    attempts: int = 1
    started_at: datetime | None = None
    finished_at: datetime | None = None
    used: Used | None = None
    consumed: Consumption | None = None
    packed: str | None = None
    """All of it once more, in place of the rest, if it is large: packed by `taskmark.task.packing`."""


# --- steps ----------------------------------------------------------------------------------------


MOST_TOKENS, MOST_COST = 10**12, 10**6
"""Of one call or try. The store's sums, of costs in billionths, hold those of some thousand; what is more is
a slip of whoever reports it."""


class Usage(Message):
    """What a call used."""

    tokens: int = 0
    cost: float = 0.0

    def plus(self, other: Usage | None) -> Usage:
        """Returns the sum of both."""
        if other is None:
            return self
        return Usage(tokens=self.tokens + other.tokens, cost=self.cost + other.cost)


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
    resumes: bool = False
    """Whether it goes on from there, so that a pause may end it at any moment."""
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
    answers: tuple[Json, ...] = ()
    """What people answered to the questions that its agent asked: `question`, `value`, `by` of each."""
    spent: Usage | None = None
    """What the agent used when it asked them."""
    cache: float | None = None
    """Seconds for which its output may be used again by whoever asks the same."""
    journal: str | None = None
    """Where what its phase changes is remembered, so that it can be brought back; None: nowhere."""
    limits: StepLimits | None = None
    """What the attempt may use, as the file says; what the worker's settings allow counts too."""
    waits: bool = False
    """Whether it waits for what is known to be down, instead of failing."""
    answer_schema: dict[str, Json] | None = None
    """The JSON Schema that an agent's answer must fit."""
    allow: tuple[str, ...] = ()
    """Tools with side effects that an agent may call without asking a person."""
    secrets: tuple[str, ...] = ()
    """Names of the secrets that the task may use, never values."""
    secret_places: tuple[Place, ...] = ()
    """Where in the arguments which of them goes. Nothing else in them stands for a secret."""


class StepDone(Message):
    """What every such activity returns."""

    output: Json = None
    usage: Usage | None = None
    files: tuple[str, ...] = ()
    """Files it wrote, relative to the root."""
    worker: str = ""
    resources: dict[str, float] | None = None
    """What it used, as far as it was measured: `taskmark.ports.StepContext.resources`."""
    cached_from: str | None = None
    """The execution whose output this is, if it was kept for others (`cache`); nothing was called then."""


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
    fallback_for: Failure | None = None
    reason: str | None = None
    reused: str | None = None
    anew: str | None = None

    @model_serializer(mode="wrap")
    def _without_gaps(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        if not self.kind:
            return {key: value for key, value in fields.items() if value}
        return {key: value for key, value in fields.items() if value is not None or key not in _SELDOM}


_SELDOM = ("fallback_for", "reused", "anew")
"""What only steps of an execution have that goes on from an earlier one."""


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
    used: Used | None = None


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
    kept: tuple[Json, ...] = ()
    """References to documents, each a mapping from steps to outputs: of the steps whose outputs are too many
    for the result, and which have none in `steps`."""
    usage: Used | None = None
    """What its agents used, those of its sub-tasks too."""
    consumed: Consumption | None = None
    """What its attempts used, those of its sub-tasks too, if its `limits` have it counted."""


class RollBack(Message):
    """The argument of `execution.roll_back`: a phase of which this is the journal has ended."""

    journal: str
    keep: bool
    """Whether what it changed stays, because it completed."""


class RolledBack(Message):
    """What became of it."""

    restored: tuple[str, ...] = ()
    """Files that are as they were before the phase."""
    removed: tuple[str, ...] = ()
    """Files that are gone because they were not there before."""
    failed: tuple[str, ...] = ()
    """What could not be brought back, and why."""


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


PauseMode = Literal["", "now"]
"""`now`: running steps that go on from their heartbeat are interrupted."""


class ControlRequest(Message):
    """Payload of `pause`, `resume` and `abort`; all of it optional."""

    reason: str = ""
    by: str = ""
    mode: PauseMode = ""
    epoch: int = 0
    """Given by the phase that runs a sub-task, which answers to it."""


class Paused(Message):
    """Why, by whom and since when an execution is paused."""

    reason: str = ""
    by: str = ""
    since: datetime | None = None
    mode: PauseMode = ""
    until: datetime | None = None
    """When it ends by itself, if it does (`pausedTimeout`)."""
    then: Literal["", "resume", "abort"] = ""
    """What happens then."""


class StepView(Message):
    """A step in `progress`."""

    id: str
    kind: str
    name: str
    status: StepStatus
    attempt: int = 0
    max_attempts: int | None = None
    """How many there may be, as far as the file says."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None
    """What went wrong last; while it is tried again, of the attempt before."""
    fallback: bool = False
    """Its output is the fallback's."""
    fallback_for: str | None = None
    """What went wrong before the fallback."""
    reason: str | None = None
    """Why it was skipped."""
    items_total: int | None = None
    items_done: int = 0
    reused: str | None = None
    """The earlier execution that its output comes from."""
    anew: str | None = None
    """Why it ran although an earlier execution could have been reused."""

    @classmethod
    def of(cls, state: StepState, max_attempts: int | None = None) -> StepView:
        """Returns what `progress` shows of a step."""
        failures = {"error": state.error, "fallback_for": state.fallback_for}
        same = cls.model_fields.keys() - failures.keys() - {"max_attempts"}
        shown: dict[str, Any] = {name: getattr(state, name) for name in same}
        shown |= {name: failure.message for name, failure in failures.items() if failure}
        return cls(**shown, max_attempts=max_attempts)


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


EtaBasis = Literal["steps", "tools", "declared"]
"""Earlier runs of this task's steps, other uses of the same tools and agents, or what the file declares."""


class PeopleTime(Message):
    """How long people are expected to take yet at the gates to come. Seconds."""

    seconds: float
    low: float
    high: float
    samples: int = 0
    """How many decisions of the past it rests on."""


class Eta(Message):
    """The remaining time of work, with an interval. Seconds; what people take at gates is not in it."""

    remaining_seconds: float
    """As likely too long as too short."""
    low: float
    high: float
    confidence: float | None = None
    """The share of such intervals that hold the truth. Absent while the basis is `declared`: nothing was
    measured, so nothing is claimed."""
    finish_at: datetime | None = None
    """When it ends if nobody holds it and people take no time."""
    basis: EtaBasis = "declared"
    """What most of it rests on."""
    samples: int = 0
    """How many durations of the past it rests on: runs of this task, or uses of its tools."""
    stretch: float = 1.0
    """By how much the interval is wider than the durations alone say, because those of earlier executions
    held less than they claimed; below 1 narrower."""
    people: PeopleTime | None = None
    """Absent where no gate is to come, or nobody has decided one of them yet."""


class BudgetView(Message):
    """One limit of a budget in `progress`."""

    used: float
    """Of `agentCalls`, those that were allowed to begin."""
    limit: float


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
    budget: dict[str, BudgetView] = Field(default_factory=dict)
    """By `agentCalls`, `tokens` and `cost`, as far as they are limited."""


def journal_of(execution_id: str, phase: str) -> str:
    """Returns the name of the journal in which is kept what a phase changes."""
    return hashlib.sha256(f"{execution_id}\0{phase}".encode()).hexdigest()[:32]


def artifact_content(value: Json) -> bytes:
    """Returns the text that stands for a value in the artifact store; whoever foresees its hash must make the
    same."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def artifact_reference(sha256: str, size: int) -> dict[str, Any]:
    """Returns the JSON value that stands for an output kept in the artifact store."""
    return {ARTIFACT_KEY: sha256, "size": size}


def is_artifact(value: Json) -> bool:
    """Whether a value is a reference to the artifact store."""
    return isinstance(value, dict) and isinstance(value.get(ARTIFACT_KEY), str)


def of_items(value: Json, count: int) -> Json:
    """Returns the outputs of so many items or agents; a reference to them says that it stands for several."""
    return {**value, ITEMS_KEY: count} if is_artifact(value) else value


def stands_for_items(value: Json) -> bool:
    """Whether a value is a reference to the outputs of several items or agents."""
    return is_artifact(value) and ITEMS_KEY in value


def each_of(content: Json) -> tuple[Json, ...]:
    """Returns what items or agents answered, from all their outputs; not of those that have none."""
    values = content.values() if isinstance(content, dict) else content or ()
    return tuple(value for value in values if value is not None)
