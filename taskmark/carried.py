"""What a phase takes along when it continues as new, so that its next run goes on where this one stops.

Data only: this module is passed through Temporal's sandbox. What runs is not among it: a phase lets its calls
end first. Whoever keeps something new between two events of a phase's life keeps it here, too.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from taskmark.contracts import Consumption, Decision, Message, Spending, Spent, StepState, Usage, Used, Wait
from taskmark.errors import Failure
from taskmark.task.model import Json

UNPACKED_LIMIT = 32 * 1024 * 1024
"""Bytes of JSON that it may have."""


class OpenGate(Message):
    """A gate that waits: the opening itself, so that it is the same one to those who decide."""

    wait: Wait
    left: float | None = None
    """Seconds of its patience; without a limit none."""
    decision: Decision | None = None
    """What came for it and was not taken yet."""


class Trying(Message):
    """A call between two of its attempts, before those of its fallback, or interrupted by a pause."""

    step: str
    item: int | None = None
    attempt: int = 1
    """The next one, counted from 1."""
    before: int = 0
    """Attempts of earlier rounds of the phase, and of what this is the fallback for."""
    due: datetime | None = None
    """When the next attempt may start."""
    failure: Failure | None = None
    """Of the attempt before."""
    resume: Json = None
    reduced: bool = False
    refresh_credentials: bool = False
    refreshed: bool = False
    timeout: float | None = None
    """What is left of it, if a pause has interrupted it."""
    asks: Json = None
    """What it answered, if that asks a person who has not answered yet."""
    asker: str = ""
    """The agent that asks."""
    answers: tuple[Json, ...] = ()
    """What people answered so far."""
    spent: Usage | None = None
    """What its questions used."""
    fallback_for: Failure | None = None
    """Why its fallback is used, if it is."""


class Going(Message):
    """A step that has begun: its items that have ended, those before `through` but for `open`."""

    step: str
    before: int = 0
    """Its attempts in earlier rounds of the phase."""
    through: int = 0
    open: tuple[int, ...] = ()
    outputs: tuple[Json, ...] = ()
    """Of the items before `through`; null for those that have none."""
    failed: int = 0
    first: int = 0
    """The item whose failure is kept: the first that failed."""
    failure: Failure | None = None
    lost: bool = False
    """No further item begins, because a critical one failed."""


class Bulk(Message):
    """What grows with the number of steps and items, and may be too large to travel in a message."""

    steps: tuple[StepState, ...] = ()
    here: dict[str, bool] = Field(default_factory=dict)
    going: tuple[Going, ...] = ()
    trying: tuple[Trying, ...] = ()
    changed: tuple[str, ...] = ()
    """Steps of which the parent has not heard everything."""


class CarriedPurse(Message):
    """The permits of one budget. Calls that waited for one ask again."""

    told: Spending
    """What the execution that counts was told last."""
    heard: dict[str, int] = Field(default_factory=dict)
    returned: dict[str, int] = Field(default_factory=dict)
    ended: dict[str, Spent] = Field(default_factory=dict)
    eager: bool = False
    wait: Wait | None = None


class Carried(Message):
    """A phase between two runs of its workflow."""

    started_at: datetime
    runs: int = 1
    """How many runs there were."""
    bulk: Bulk | None = None
    """Absent if it travels apart."""
    attempt: int = 1
    gates: tuple[OpenGate, ...] = ()
    waits: int = 0
    """How many gates were opened so far."""
    purses: tuple[CarriedPurse, ...] = ()
    used: Used = Used()
    """What agents used so far."""
    consumed: Consumption = Consumption()
    timeout_left: float | None = None
    again_at: datetime | None = None
    """When the phase runs again, if it waits for that."""

    # what people have corrected
    repeated: dict[str, int] = Field(default_factory=dict)
    """How often steps were put back to the start though they had completed."""
    changed_inputs: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    doubted: tuple[str, ...] = ()
    lane_inputs: dict[str, Json] | None = None
    unheard: tuple[Decision, ...] = ()
    renews: bool = False
    """Whether gates may show something else by now, and nobody has looked yet."""

    # what the parent has not heard
    hurried: bool = False
    failing: bool = False
    alarms: int = 0
    told_still: int = -1
    reports: int = 0
    reported_at: datetime
