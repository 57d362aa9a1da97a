"""What running steps say: Temporal keeps the last heartbeat of each of their calls, and is asked for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from taskmark.contracts import PhaseView, Progress, phase_workflow_id

if TYPE_CHECKING:
    from temporalio.client import Client

MOST_PHASES = 8
"""Phases that are asked at one time, each by one call."""
TIMEOUT = timedelta(seconds=3)
SAID_LENGTH = 200
"""Characters of what is shown of a message."""
_NEVER = datetime.min.replace(tzinfo=UTC)
_PLAIN = (str, int, float)
_CALL_ID = re.compile(r"(?P<step>.+?)(?:\[\d+\])?#\d+(?:\?\d+)?")
"""The id of an activity: step, item, attempt, questions. An item of a phase is part of its steps' ids."""


@dataclass(frozen=True)
class Beat:
    """The calls of one running step: what they said last, and whether they live."""

    said: str = ""
    since: datetime | None = None
    """The last sign of life of the call that has been silent for longest; while no worker has taken it, when
    it was offered."""
    taken: bool = True
    """Whether a worker runs it."""
    lost: int = 0
    """How many workers were lost over it."""


Beats = Mapping[tuple[str, str], Beat]
"""By phase and step."""


async def beats(client: Client, progress: Progress, scrub: Callable[[str], str]) -> Beats:
    """Returns what the running steps of an execution say. A phase that cannot be asked says nothing."""
    running = [phase for phase in progress.phases if phase.status == "running" and phase.steps]
    asked = running[:MOST_PHASES]
    answers = await asyncio.gather(*(_of_phase(client, progress.execution_id, phase) for phase in asked))
    return {
        (phase.slug, step): _together([beat for name, beat in found if name == step], scrub)
        for phase, found in zip(asked, answers, strict=True)
        for step in {name for name, _ in found}
    }


async def _of_phase(client: Client, execution: str, phase: PhaseView) -> list[tuple[str, Beat]]:
    """Returns the calls that a phase waits for, each with the id of its step."""
    from temporalio.service import RPCError

    handle = client.get_workflow_handle(phase_workflow_id(execution, phase.slug))
    try:
        described = await handle.describe(rpc_timeout=TIMEOUT)
    except RPCError:
        return []  # it has just ended, or nobody answers: whoever asks for progress hears of it
    known = {step.id for step in phase.steps}
    found: list[tuple[str, Beat]] = []
    for activity in described.raw_description.pending_activities:
        if (step := step_of(activity.activity_id, known)) is not None:
            details = await client.data_converter.decode(activity.heartbeat_details.payloads)
            found.append((step, _beat(activity, details)))
    return found


def step_of(activity_id: str, steps: Iterable[str]) -> str | None:
    """Returns the step that an activity is a call of, if it is one."""
    whole = activity_id.rpartition("#")[0]
    if whole in steps:
        return whole
    match = _CALL_ID.fullmatch(activity_id)
    return match["step"] if match and match["step"] in steps else None


def _beat(activity: Any, details: Sequence[Any]) -> Beat:
    """Returns what Temporal knows of a call."""
    from temporalio.api.enums.v1 import PendingActivityState

    taken = activity.state != PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    times = ("last_started_time", "last_heartbeat_time") if taken else ("scheduled_time",)
    known = [getattr(activity, name).ToDatetime(UTC) for name in times if activity.HasField(name)]
    return Beat(said_in(details), max(known, default=None), taken, max(activity.attempt - 1, 0))


def said_in(details: Sequence[Any]) -> str:
    """Returns what the details of a heartbeat tell people.

    That is the second of them, if it is text: what the step said. Else the first, which is for a later
    attempt, as far as it is short: text, a number, or a mapping of such.
    """
    if len(details) > 1 and isinstance(details[1], str):
        return details[1][:SAID_LENGTH]
    kept = details[0] if details else None
    if isinstance(kept, dict):
        told = (f"{name} {value}" for name, value in kept.items() if isinstance(value, _PLAIN))
        return ", ".join(told)[:SAID_LENGTH]
    return str(kept)[:SAID_LENGTH] if isinstance(kept, _PLAIN) else ""


def _together(calls: Sequence[Beat], scrub: Callable[[str], str]) -> Beat:
    """Returns what is known of all calls of one step: the newest message, and the longest silence."""
    calls = sorted(calls, key=lambda beat: beat.since or _NEVER)
    said = next((beat.said for beat in reversed(calls) if beat.said), "")
    taken = [beat for beat in calls if beat.taken]
    longest = (taken or calls)[0].since
    return Beat(scrub(said), longest, bool(taken), sum(beat.lost for beat in calls))
