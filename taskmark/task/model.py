"""The checked definition of a task: frozen data that travels to Temporal and back.

Data only: this module is passed through Temporal's sandbox and crosses every boundary. Durations
are seconds, names of phases are slugs, and everything optional is absent rather than null.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

FORMAT_VERSION = 1

Json = Any
"""A JSON value. Spelled `Any` because a recursive alias costs pydantic more than it tells a reader."""

LONGEST = 100 * 366 * 86_400.0
"""Seconds: more than a hundred years are no duration."""

Seconds = Annotated[float, Field(ge=0, le=LONGEST, allow_inf_nan=False)]


class Frozen(BaseModel):
    """A value that never changes once made."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Retry(Frozen):
    """`maxAttempts` counts all attempts; `backoffMs` is the first pause, doubled each time, 60 s at most."""

    max_attempts: int = Field(default=3, ge=1)
    backoff_ms: int = Field(default=1000, ge=0)


class AskAbove(Frozen):
    """What many calls at once may be expected to come to without anybody's consent."""

    agent_calls: int | None = None
    cost: float | None = None


class Budget(Frozen):
    """Limits on what agents may use in one execution."""

    tokens: int | None = None
    cost: float | None = None
    agent_calls: int | None = None
    ask_above: AskAbove | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The limits as the file calls them."""
        named = {"agentCalls": self.agent_calls, "tokens": self.tokens, "cost": self.cost}
        return {name: limit for name, limit in named.items() if limit is not None}


Bytes = Annotated[int, Field(ge=1, lt=2**53)]


class StepLimits(Frozen):
    """What one attempt of a step may use. Where nothing is said, what whoever runs the workers allows."""

    memory: Bytes | None = None
    """Of all its processes together."""
    cpu: Annotated[float, Field(gt=0, le=LONGEST)] | None = None
    """Seconds, of all its processes together."""
    output: Bytes | None = None
    """Bytes that its processes print."""
    open_files: int | None = Field(default=None, ge=1)
    """Of each process."""
    processes: int | None = Field(default=None, ge=1)
    """At one time."""
    disk: Bytes | None = None
    """Bytes that its processes write to disks, also of what is deleted again."""
    network: Bytes | None = None
    """Bytes per second that it sends and receives, as far as Taskmark itself does it."""
    nice: int | None = Field(default=None, ge=0, le=19)
    """How far its processes make way for others."""

    def narrowed(self, other: StepLimits | None) -> StepLimits:
        """Returns what both allow: of each limit the lower one, and the larger `nice`."""
        if other is None:
            return self
        found: dict[str, Any] = {}
        for name in StepLimits.model_fields:
            given = [one for one in (getattr(self, name), getattr(other, name)) if one is not None]
            if given:
                found[name] = max(given) if name == "nice" else min(given)
        return StepLimits(**found)

    def with_defaults(self, other: StepLimits | None) -> StepLimits:
        """Returns these limits, and where nothing is said the other's."""
        if other is None:
            return self
        return other.model_copy(update=self.model_dump(exclude_none=True))


class TaskLimits(Frozen):
    """What all attempts of an execution together may use, and what each of them may."""

    cpu: Annotated[float, Field(gt=0, le=LONGEST)] | None = None
    """Seconds."""
    disk: Bytes | None = None
    received: Bytes | None = None
    sent: Bytes | None = None
    per_step: StepLimits | None = None
    """Of each attempt of steps that do not say it themselves."""

    @property
    def has_totals(self) -> bool:
        """Whether what the execution uses has to be counted."""
        return any(one is not None for one in (self.cpu, self.disk, self.received, self.sent))


class PausedTimeout(Frozen):
    """What ends a pause that nobody ends: after so many seconds, resume or abort."""

    after: Seconds
    then: Literal["resume", "abort"] = "resume"


class Schedule(Frozen):
    """When the task starts by itself."""

    cron: str
    timezone: str = "UTC"
    overlap: str = "skip"
    catch_up: Seconds | None = None


InputType = Literal["string", "number", "integer", "boolean", "date", "duration", "list", "object", "enum"]


class Requirement(Frozen):
    """One typed input."""

    name: str
    type: InputType
    description: str = ""
    optional: bool = False
    default: Json = None
    min: float | None = None
    max: float | None = None
    values: tuple[Json, ...] = ()

    @property
    def required(self) -> bool:
        """Whether a start must give it."""
        return not self.optional and self.default is None


_PROGRAM = "cli:"
_OTHERS = ("python:", "command:", _PROGRAM)
"""Models that are programs or functions."""


class Agent(Frozen):
    """An agent as frozen into an execution: the text of `agents/<id>.md`."""

    id: str
    name: str = ""
    description: str = ""
    model: str | None = None
    """`python:module:function`, `command:…`, or a model's name; absent means the configured default."""
    tools: tuple[str, ...] = ()
    prompt: str = ""
    metadata: dict[str, Json] = Field(default_factory=dict)
    """Front matter keys that are not ours, kept. Some say how the agent is asked."""

    @property
    def is_language_model(self) -> bool:
        """Whether a language model is asked by us, and no program or function that asks one, as far as its
        file says."""
        return not (self.model or "").startswith(_OTHERS)

    @property
    def is_program(self) -> bool:
        """Whether it is a coding agent that is a program, as far as its file says."""
        return (self.model or "").startswith(_PROGRAM)

    @property
    def answer_schema(self) -> dict[str, Json] | None:
        """The JSON Schema that its answers must fit, unless the step says another."""
        schema = self.metadata.get("schema")
        return schema if isinstance(schema, dict) else None

    @property
    def fallback(self) -> str | None:
        """The agent that is asked once its own attempts are used up, unless the step says otherwise."""
        named = self.metadata.get("fallback")
        return named.strip() or None if isinstance(named, str) else None

    @property
    def timeout(self) -> Json:
        """How long one call may take, as the file writes it."""
        return self.metadata.get("timeout")


class Fallback(Frozen):
    """What is used once a step's attempts are used up: another tool or agent, or a value."""

    kind: Literal["tool", "agent", "value"]
    name: str = ""
    arguments: dict[str, Json] | None = None
    """Absent: the step's own `with`."""
    value: Json = None


class Output(Frozen):
    """A named output. Without an expression it is the output of the step or agent of that name,
    else of the last step that has one."""

    name: str
    expression: str | None = None


Event = Literal[
    "waiting",
    "paused",
    "budget",
    "retrying",
    "step_failed",
    "completed",
    "completed_with_errors",
    "failed",
    "timed_out",
    "cancelled",
]
"""What an execution can tell of while it runs and when it ends."""
EVENTS: tuple[Event, ...] = get_args(Event)


class Notification(Frozen):
    """A call of a tool that tells somebody what happened."""

    on: tuple[Event, ...]
    tool: str
    arguments: dict[str, Json] = Field(default_factory=dict)
    """Its `with`; texts in it are templates over `event`, `inputs`, `execution`, `task` and `project`."""


StepKind = str
"""`plain`, `tool`, `agent`, `validation`, `aggregate`, `approval`, `question`, `task`, `wait`, or a
registered one."""


BUILT_IN_KINDS = frozenset(
    {"plain", "tool", "agent", "validation", "aggregate", "approval", "question", "task", "wait"}
)
"""Kinds that need no registration."""
GATES = frozenset({"approval", "question"})
"""Kinds that people decide."""


class Step(Frozen):
    """One step: what kind, of what, and how it is to be treated."""

    id: str
    kind: StepKind
    value: str = ""
    """The tool, agent, expression, aggregate, gate, task or duration that the kind names. An agent may be
    chosen when the step runs: then this is `{{ expression }}`."""
    description: str = ""
    """For a plain step the instruction itself."""
    arguments: dict[str, Json] = Field(default_factory=dict)
    """The step's `with`; strings in it are templates."""
    condition: str | None = None
    """The step's `if`."""
    for_each: Json = None
    """An expression (a string) or a literal list."""
    timeout: Seconds | None = None
    heartbeat: Seconds | None = None
    retry: Retry | None = None
    critical: bool | None = None
    """Absent means the kind's default: agent steps are not critical, everything else is."""
    fallback: Fallback | None = None
    cache: Seconds | None = None
    circuit: Literal["retry", "wait"] = "retry"
    """What it does while its tool's target is known to be down: fail as any attempt does, or wait."""
    idempotency_key: str | None = None
    """A template that replaces the derived key."""
    limits: StepLimits | None = None
    complexity: Literal["low", "medium", "high"] | None = None
    estimate: Seconds | None = None
    on_timeout: Literal["fail", "pause"] = "fail"
    on_reject: Literal["fail", "skip"] = "fail"
    approvers: tuple[str, ...] = ()
    answer_schema: dict[str, Json] | None = None
    """The JSON Schema that an answer must fit, a person's or an agent's."""
    allow: tuple[str, ...] = ()
    """Tools with side effects that its agent may call without asking a person."""
    reads_steps: tuple[str, ...] = ()
    """Ids of the steps whose output its expressions read, in order of appearance."""
    reads_phases: tuple[str, ...] = ()
    """Slugs of the phases whose outputs its expressions read."""

    @property
    def is_critical(self) -> bool:
        """Whether its failure fails the phase: agents are asked in plural and may fail, others not."""
        return self.kind not in ("agent", "plain") if self.critical is None else self.critical

    @property
    def agent_expression(self) -> str | None:
        """The expression that yields its agent's id, or None for a step that names one or asks none."""
        chosen = self.kind == "agent" and self.value.startswith("{{") and self.value.endswith("}}")
        return self.value[2:-2].strip() if chosen else None


class Phase(Frozen):
    """A group of steps that runs as one child workflow."""

    name: str
    slug: str
    depends_on: tuple[str, ...] = ()
    """Slugs."""
    parallel: bool = False
    condition: str | None = None
    for_each: Json = None
    max_concurrent: int | None = Field(default=None, ge=1)
    timeout: Seconds | None = None
    retry: Retry | None = None
    on_failure: Literal["fail", "continue", "pause"] = "fail"
    rollback: bool = False
    """Whether what its file tools changed is undone unless it completes."""
    checkpoint: str | None = None
    steps: tuple[Step, ...] = ()
    agents: tuple[str, ...] = ()
    """Who answers its plain steps, and whom its steps may choose."""
    outputs: tuple[Output, ...] = ()
    reads_steps: tuple[str, ...] = ()
    """Ids of steps of *other* phases that anything in this phase reads."""
    reads_phases: tuple[str, ...] = ()
    """Slugs of the phases whose outputs anything in this phase reads."""

    def asks_listed(self) -> bool:
        """Whether a step goes to the agents that are listed for it, or chooses among them."""
        return any(step.kind == "plain" or step.agent_expression is not None for step in self.steps)


class TaskDefinition(Frozen):
    """A whole task, checked: nothing in it can be wrong in a way that a parser can see."""

    id: str
    name: str
    description: str = ""
    version: str = ""
    format_version: int = FORMAT_VERSION
    sha256: str = ""
    """Of the file's text."""
    source_path: str = ""
    """The file it came from, relative to the root; empty for text given directly."""
    max_execution_time: Seconds | None = None
    retry: Retry = Retry()
    requirements: tuple[Requirement, ...] = ()
    default_agents: tuple[str, ...] = ()
    max_concurrent_phases: int | None = Field(default=None, ge=1)
    max_concurrent_steps: int | None = Field(default=None, ge=1)
    project: str | None = None
    secrets: tuple[str, ...] = ()
    budget: Budget | None = None
    limits: TaskLimits | None = None
    paused_timeout: PausedTimeout | None = None
    schedule: Schedule | None = None
    allow: tuple[str, ...] = ()
    """Tools with side effects that its agents may call without asking a person."""
    notify: tuple[Notification, ...] | None = None
    on_complete: Json = None
    phases: tuple[Phase, ...] = ()
    outputs: tuple[Output, ...] = ()
    agents: dict[str, Agent] = Field(default_factory=dict)
    """Every agent the task names, with its text, so that editing a file never touches a running execution."""
    tasks: dict[str, TaskDefinition] = Field(default_factory=dict)
    """Every sub-task it names, whole, for the same reason."""

    @field_validator("notify", mode="before")
    @classmethod
    def _without_old_notify(cls, value: Any) -> Any:
        """It once was anything and had no effect; executions from then go on."""
        is_new = isinstance(value, list | tuple) and all(
            isinstance(one, Notification) or (isinstance(one, dict) and {"on", "tool"} <= one.keys())
            for one in value
        )
        return value if is_new else None

    def phase(self, slug: str) -> Phase:
        """Returns the phase of that slug. Raises `KeyError` if there is none."""
        for phase in self.phases:
            if phase.slug == slug:
                return phase
        raise KeyError(slug)
