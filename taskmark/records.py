"""What the history store is told, as things happen: one model per row, under deterministic keys.

The merge rule, the same everywhere: a record never replaces a later state by an earlier one (a final
status stays), a field that is absent leaves what is stored, and writing a record twice changes
nothing. So records may come late, doubled, in any order, from several workers.

Data only: this module is passed through Temporal's sandbox.
"""

from __future__ import annotations

from datetime import datetime
from json import JSONEncoder
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from taskmark.contracts import ExecutionStatus, StepStatus
from taskmark.errors import Failure
from taskmark.task.model import Json

Provenance = Literal["live", "backfilled"]
"""Whether it was told as it happened, or read again from Temporal's histories."""


class Row(BaseModel):
    """Base of every record."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class DefinitionRecord(Row):
    """A version of a task; key: `sha256`."""

    type: Literal["definition"] = "definition"
    sha256: str
    task_id: str
    name: str
    version: str = ""
    source_path: str = ""
    definition: dict[str, Json]


class ExecutionRecord(Row):
    """An execution; key: `execution_id`."""

    type: Literal["execution"] = "execution"
    execution_id: str
    task_id: str | None = None
    task_name: str | None = None
    definition_sha256: str | None = None
    task_version: str | None = None
    source_path: str | None = None
    project: str | None = None
    build_id: str | None = None
    status: ExecutionStatus
    inputs: dict[str, Json] | None = None
    outputs: dict[str, Json] | None = None
    error: Failure | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    trace_id: str | None = None
    parent_id: str | None = None
    cause: str | None = None
    """What started it: `user`, `schedule`, `webhook`, `parent` or `retry`."""
    assigned_agent: str | None = None
    """Who does the whole of it: the first of the task's default agents, or whoever took work that is done
    elsewhere."""
    retry_of: str | None = None
    """The execution that this one repeats."""
    attempts: int = Field(default=1, ge=1)
    """Counts the tries of the whole, this one included. A failure that will be retried is told as `pending`
    with one more: what is known of the try before, its end too, is then earlier, however late it comes."""
    provenance: Provenance | Literal["elsewhere"] = "live"
    """`elsewhere` is what Temporal does not run (`taskmark.store.elsewhere`)."""
    as_of: datetime | None = None
    """When this was so: orders states that alternate, such as running and paused. Absent, it is the
    time of recording."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is work that Temporal does not run."""
        return self.provenance == "elsewhere"


class PhaseRecord(Row):
    """A phase; key: `execution_id`, `phase`."""

    type: Literal["phase"] = "phase"
    execution_id: str
    phase: str
    name: str | None = None
    status: StepStatus
    attempt: int = 1
    outputs: dict[str, Json] | None = None
    error: Failure | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    trace_id: str | None = None
    provenance: Provenance = "live"
    as_of: datetime | None = None
    """As in `ExecutionRecord`."""
    parents: tuple[str, ...] | None = None
    """Spans of the phases it depends on or reads, as far as they completed."""
    cause: str | None = None
    """What started the execution."""


class AttemptRecord(Row):
    """One try of one step or item; key: `execution_id`, `phase`, `step`, `item`, `attempt`."""

    type: Literal["attempt"] = "attempt"
    execution_id: str
    phase: str
    step: str
    item: int | None = None
    attempt: int = 1
    kind: str | None = None
    name: str | None = None
    """The tool, aggregate, gate or sub-task."""
    agent: str | None = None
    description: str | None = None
    status: StepStatus
    input: Json = None
    output: Json = None
    error: Failure | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    idempotency_key: str | None = None
    trace_id: str | None = None
    worker: str | None = None
    tokens: int | None = None
    cost: float | None = None
    files: tuple[str, ...] | None = None
    questions: int | None = None
    """How many questions it asked people."""
    resources: dict[str, float] | None = None
    """What it used: `taskmark.ports.StepContext.resources`; absent where nothing measured it."""
    parents: tuple[str, ...] | None = None
    """Spans of the attempts whose outputs it read; absent where that is not known."""
    cause: str | None = None
    """What started the execution, as there."""
    reused_from: str | None = None
    """The earlier execution that its output comes from; nothing was called then."""
    delivery: int = 1
    """Which of Temporal's deliveries of the call to a worker this tells of. Like `given_up` it says how late
    the record is, and has no column."""
    given_up: bool = False
    """Whether Temporal no longer waits for the worker of that delivery, whatever that one has told."""
    provenance: Provenance | Literal["elsewhere"] = "live"
    as_of: datetime | None = None
    """As in `ExecutionRecord`."""


EventKind = Literal[
    "execution_started",
    "execution_completed",
    "execution_failed",
    "execution_cancelled",
    "execution_timed_out",
    "execution_paused",
    "execution_resumed",
    "phase_started",
    "phase_completed",
    "phase_failed",
    "phase_skipped",
    "phase_cancelled",
    "phase_rolled_back",
    "step_started",
    "step_completed",
    "step_failed",
    "step_skipped",
    "step_cancelled",
    "step_interrupted",
    "notified",
    "notification_failed",
    "unusable",
    "waiting",
    "decided",
    "budget_warning",
    "budget_raised",
    "progress",
    "log",
]


EXCERPT = 200
"""Characters of an output that an event shows."""

_encoder = JSONEncoder(ensure_ascii=False)


def beginning(value: Json, characters: int) -> str:
    """Returns the first characters of a value as JSON, of a text as it is."""
    return (value if isinstance(value, str) else _encoder.encode(value))[:characters]


def outcome(status: StepStatus, error: Failure | None = None, output: Json = None) -> dict[str, Json]:
    """Returns what an event says of how a phase, a step or a try of it ended."""
    told: dict[str, Json] = {}
    if status in (StepStatus.COMPLETED, StepStatus.FAILED):
        told["success"] = status is StepStatus.COMPLETED
    if output is not None:
        told["output"] = beginning(output, EXCERPT)
    if error is not None:
        told["error"] = error.message
    if status is StepStatus.FAILED:
        told["will_retry"] = error is not None and error.will_retry
    return told


class EventRecord(Row):
    """Something that happened; key: every field but `at` and `payload`."""

    type: Literal["event"] = "event"
    execution_id: str
    kind: EventKind
    phase: str = ""
    step: str = ""
    item: int | None = None
    attempt: int = 0
    occurrence: int = 0
    """Tells apart what happens repeatedly, such as pauses."""
    at: datetime
    payload: dict[str, Json] = Field(default_factory=dict)


class CheckpointRecord(Row):
    """What a later execution may reuse of a phase, or, without a phase, how the execution began; key:
    `execution_id`, `phase`, `part`. What runs again needs inputs and outputs to the letter: they are as they
    were, or not there (`taskmark.privacy`)."""

    type: Literal["checkpoint"] = "checkpoint"
    execution_id: str
    phase: str = ""
    part: int = 0
    """Of a phase that tells of its steps in several records, which one."""
    label: str | None = None
    """By which the file names it."""
    status: StepStatus
    at: datetime
    """When the phase ended."""
    inputs: dict[str, Json] | None = None
    """Of the execution; only where it began."""
    trace_id: str | None = None
    outputs: dict[str, Json] | None = None
    definition: str | None = None
    """Hash of what the file says of the phase's outputs."""
    withheld: int = 0
    """How many inputs and outputs are not here, because there is something personal in them."""
    undone: bool | None = None
    """Whether what the phase changed was undone, so that none of its steps counts as done."""
    steps: dict[str, Json] = Field(default_factory=dict)
    """By id, `taskmark.contracts.Remembered` without what is as usual."""


WHOLE = 100
"""Percent of an execution that has completed."""


class EstimateRecord(Row):
    """What was expected at one point of an execution, to be compared with how it went; key:
    `execution_id`, `percent`."""

    type: Literal["estimate"] = "estimate"
    execution_id: str
    percent: int = Field(ge=0, le=WHOLE)
    """Tens of percent of progress. At 100, which an execution that completes tells at its end, nothing
    remains."""
    at: datetime
    worked: float
    """Seconds that the execution had worked by then: the time without its pauses, and without that in which
    it only waited for people. What remained is this at 100 less this here."""
    remaining: float
    low: float
    high: float
    confidence: float | None = None
    basis: str = "declared"
    samples: int = 0
    stretch: float = 1.0
    """By how much the interval was wider than the model alone would have made it
    (`taskmark.plan.eta.stretch`)."""


Record = Annotated[
    DefinitionRecord
    | ExecutionRecord
    | PhaseRecord
    | AttemptRecord
    | EventRecord
    | CheckpointRecord
    | EstimateRecord,
    Field(discriminator="type"),
]
