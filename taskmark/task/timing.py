"""Timeouts, waits and retries that cannot fit the limits around them. All times are in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taskmark.task.codes import Code
from taskmark.task.drafts import PhaseDraft, StepDraft
from taskmark.task.durations import parse_duration
from taskmark.task.metadata import Metadata
from taskmark.task.model import GATES, Retry
from taskmark.task.source_text import Findings, Place, shown

_BACKOFF_CAP = 60.0
_UNTIMED = frozenset({"validation", "aggregate", "task"})
"""Kinds whose `timeout` does nothing, which is said elsewhere."""
_NEVER_RETRIED = GATES | {"wait"}
_FEWER = "fewer attempts, or a shorter backoff"


@dataclass(frozen=True)
class _Limit:
    """A time that something may take, and what says so."""

    seconds: float
    said_by: str

    def __str__(self) -> str:
        return f"{self.said_by} is {self.seconds:g} s"


def check_times(phases: Sequence[PhaseDraft], metadata: Metadata, findings: Findings) -> None:
    """Notes every time that is longer than what surrounds it. Gates are not counted against
    `maxExecutionTime`, whose clock stands while they wait."""
    seconds = metadata.fields.get("max_execution_time")
    limit = None if seconds is None else _Limit(seconds, "`maxExecutionTime`")
    retry = metadata.fields.get("retry", Retry())
    if limit is not None and "retry" in metadata.places:
        _check_pauses(retry, limit, metadata.places["retry"], findings)
    for phase in phases:
        _check_phase(phase, limit, findings)
        for step in phase.steps:
            _check_step(step, _limit_of(step, phase, limit), retry, findings)
    if limit is not None:
        _check_path(phases, limit, findings)


def _limit_of(step: StepDraft, phase: PhaseDraft, limit: _Limit | None) -> _Limit | None:
    """Returns the tighter of the phase's own limit and the task's; for gates only the phase's counts."""
    seconds = phase.fields.get("timeout")
    own = None if seconds is None else _Limit(seconds, "the phase's `timeout`")
    if step.kind in GATES or limit is None:
        return own
    return limit if own is None or limit.seconds <= own.seconds else own


# --- one phase ------------------------------------------------------------------------------------


def _check_phase(phase: PhaseDraft, limit: _Limit | None, findings: Findings) -> None:
    timeout, retry = phase.fields.get("timeout"), phase.fields.get("retry")
    if limit is None:
        return
    if timeout is not None and timeout > limit.seconds:
        message = f"this phase may take {timeout:g} s, and {limit}"
        findings.add(Code.TIMEOUT_EXCEEDS_LIMIT, phase.places["timeout"], message)
    elif retry is not None:
        _check_pauses(retry, limit, phase.places["retry"], findings, timeout or 0.0)


def _check_pauses(
    retry: Retry, limit: _Limit, place: Place, findings: Findings, timeout: float = 0.0
) -> None:
    """Notes attempts and pauses that last longer than they may."""
    total = retry.max_attempts * timeout + _pauses(retry)
    if total > limit.seconds:
        what = "its attempts and the pauses between them" if timeout else "the pauses between its attempts"
        message = f"{what} can last {total:g} s, and {limit}"
        findings.add(Code.RETRIES_EXCEED_LIMIT, place, message, _FEWER)


def _pauses(retry: Retry) -> float:
    """Returns the seconds between all attempts: the first pause doubled each time, up to a minute."""
    pause, total, left = retry.backoff_ms / 1000, 0.0, retry.max_attempts - 1
    while left > 0 and 0 < pause < _BACKOFF_CAP:
        total += pause
        pause *= 2
        left -= 1
    return total + left * min(pause, _BACKOFF_CAP)


# --- one step -------------------------------------------------------------------------------------


def _check_step(step: StepDraft, limit: _Limit | None, retry: Retry, findings: Findings) -> None:
    timeout, place = step.fields.get("timeout"), step.places.get("timeout")
    if step.kind == "wait":
        timeout, place = waited(step), step.value.place()
    if limit is None or step.kind in _UNTIMED:
        return
    if timeout is not None and place is not None and timeout > limit.seconds:
        what = "waits" if step.kind == "wait" or step.kind in GATES else "may take"
        message = f"this step {what} {timeout:g} s, and {limit}"
        findings.add(Code.TIMEOUT_EXCEEDS_LIMIT, place, message)
    elif step.kind not in _NEVER_RETRIED and (place := step.places.get("retry") or place) is not None:
        own = Retry(**{**retry.model_dump(), **(step.retry or {})})
        _check_pauses(own, limit, place, findings, timeout or 0.0)


def waited(step: StepDraft) -> float:
    """Returns how long a `wait` waits; nothing for any other step, and for a duration that is none."""
    if step.kind != "wait":
        return 0.0
    try:
        return parse_duration(step.value.value)
    except ValueError:
        return 0.0


# --- the critical path ----------------------------------------------------------------------------


def _check_path(phases: Sequence[PhaseDraft], limit: _Limit, findings: Findings) -> None:
    """Notes the first phase by whose end the limit has passed, if each takes the time it declares."""
    by_slug = {phase.slug: phase for phase in reversed(phases)}
    ends: dict[str, tuple[float, PhaseDraft | None]] = {}
    for phase in _in_order(by_slug):
        latest = max(phase.resolved, key=lambda slug: ends[slug][0], default=None)
        begin = 0.0 if latest is None else ends[latest][0]
        end = begin + (own := _declared(phase))
        ends[phase.slug] = (end, None if latest is None else by_slug[latest])
        if begin and own <= limit.seconds < end:
            path = " → ".join(shown(name) for name in _path(phase, ends))
            message = f"{path} may take {end:g} s one after the other, and {limit}"
            place = phase.places.get("timeout") or phase.name.place()
            findings.add(Code.TIMEOUT_EXCEEDS_LIMIT, place, message, "shorter timeouts, or a longer limit")
            return


def _declared(phase: PhaseDraft) -> float:
    """Returns how long a phase may take by its timeout, else how long it waits at least."""
    timeout: float | None = phase.fields.get("timeout")
    if timeout is not None:
        return timeout
    waits = [waited(step) for step in phase.steps]
    return max(waits, default=0.0) if phase.parallel else sum(waits)


def _in_order(phases: dict[str, PhaseDraft]) -> list[PhaseDraft]:
    """Returns the phases that are in no circle, each after those it depends on."""
    left = {slug: len(phase.resolved) for slug, phase in phases.items()}
    readers: dict[str, list[str]] = {}
    for slug, phase in phases.items():
        for other in phase.resolved:
            readers.setdefault(other, []).append(slug)
    ready = [slug for slug, count in left.items() if count == 0]
    for slug in ready:  # grows while it is read
        for reader in readers.get(slug, ()):
            left[reader] -= 1
            if left[reader] == 0:
                ready.append(reader)
    return [phases[slug] for slug in ready]


def _path(phase: PhaseDraft, ends: dict[str, tuple[float, PhaseDraft | None]]) -> list[str]:
    names: list[str] = []
    step: PhaseDraft | None = phase
    while step is not None:
        if ends[step.slug][0]:
            names.append(step.name.value)
        step = ends[step.slug][1]
    return names[::-1]
