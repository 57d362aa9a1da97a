"""What a run of a task would do: the document that `taskmark plan` shows.

Where the query `plan` says the same of a running execution, the names are the same. Durations are seconds.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from taskmark.contracts import Eta
from taskmark.task.model import Frozen, Json

Decision = Literal["runs", "skipped", "fails", "open"]
"""As far as inputs decide it: `open` is known only when it runs."""

Basis = Literal["declared", "tools", "history", "mixed"]
"""`declared` by the task or by what is usual for a kind, known from the `history` of earlier runs, or
`mixed`: some steps have one, some the other. `tools`: no step ever ran, but what they use did elsewhere."""


class PlannedStep(Frozen):
    """One step."""

    id: str
    kind: str
    value: str
    name: str
    calls: tuple[str, ...] = ()
    """The tool, the agents, the sub-task, the aggregate; nothing for what costs no call. Of a step that
    chooses its agent, those that it chooses if that is known, else all that it may."""
    arguments: dict[str, Json] = Field(default_factory=dict, serialization_alias="with")
    """The step's `with`: templates that read only inputs are filled in, the others are as written."""
    effects: bool | None = False
    """Whether it changes anything outside. Absent: nobody can tell, as of an agent."""
    condition: str | None = Field(default=None, serialization_alias="if")
    decision: Decision = "runs"
    reason: str = ""
    items: int | None = None
    """Of its `forEach`, if it has one and the number is known."""
    for_each: Json = Field(default=None, serialization_alias="forEach")
    expected_seconds: float = 0.0
    """Of all of its items, if there are several."""
    samples: int = 0
    """How many durations of earlier runs that rests on; 0 if it is as declared."""


class PlannedPhase(Frozen):
    """One phase."""

    name: str
    slug: str
    depends_on: tuple[str, ...] = Field(default=(), serialization_alias="dependsOn")
    parallel: bool = False
    wave: int
    """From 1."""
    condition: str | None = Field(default=None, serialization_alias="if")
    decision: Decision = "runs"
    reason: str = ""
    items: int | None = None
    for_each: Json = Field(default=None, serialization_alias="forEach")
    on_failure: str = Field(default="fail", serialization_alias="onFailure")
    expected_seconds: float = 0.0
    starts_after_seconds: float = 0.0
    slack_seconds: float = 0.0
    """By so much it may take longer without the whole taking longer."""
    critical: bool = False
    """Whether it has no slack."""
    steps: tuple[PlannedStep, ...] = ()


class PlannedGate(Frozen):
    """A decision of a person that the task waits for."""

    phase: str
    step: str
    """Of a task that a step runs, `<the step>/<the gate's step>`."""
    kind: str
    name: str
    prompt: str = ""
    timeout_seconds: float | None = None
    """Absent: it waits for ever."""
    on_timeout: str = Field(default="fail", serialization_alias="onTimeout")
    on_reject: str = Field(default="fail", serialization_alias="onReject")
    approvers: tuple[str, ...] = ()
    """Absent: anybody."""


class PlannedTool(Frozen):
    """A tool that steps call, also in sub-tasks and as a fallback."""

    name: str
    effects: bool | None = None
    healthy: bool = True
    message: str = ""
    hint: str | None = None


class PlannedAgent(Frozen):
    """An agent that is asked, also in sub-tasks and as a fallback."""

    id: str
    model: str | None = None
    problem: str = ""
    """Why it cannot be asked."""
    hint: str | None = None
    """What to do about it."""


class Usage(Frozen):
    """What a run uses of agents. Tokens and cost are medians of earlier runs, and absent without any."""

    agent_calls: int = 0
    agent_calls_at_least: bool = False
    """Whether there may be more: the number of some items is not known yet. Retries are never counted."""
    tokens: float | None = None
    cost: float | None = None
    samples: int = 0


class Preview(Frozen):
    """The whole plan."""

    task: str
    id: str
    version: str = ""
    sha256: str = ""
    inputs: dict[str, Json] = Field(default_factory=dict)
    missing_inputs: tuple[str, ...] = ()
    waves: tuple[tuple[str, ...], ...] = ()
    phases: tuple[PlannedPhase, ...] = ()
    critical_path: tuple[str, ...] = ()
    expected_seconds: float = 0.0
    eta: Eta | None = None
    """The same with an interval, from earlier runs; absent without any."""
    at_least_because: tuple[str, ...] = ()
    """Why it may take longer than expected, apart from failures."""
    basis: Basis = "declared"
    samples: int = 0
    """How many earlier runs were looked at."""
    gates: tuple[PlannedGate, ...] = ()
    tools: tuple[PlannedTool, ...] = ()
    agents: tuple[PlannedAgent, ...] = ()
    usage: Usage = Usage()
    problems: tuple[str, ...] = ()
    """What would keep a run from succeeding, as far as that is known."""
