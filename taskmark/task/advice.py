"""Warnings: what a task may do, and its author probably did not mean."""

from __future__ import annotations

from taskmark.task.codes import Code
from taskmark.task.drafts import PhaseDraft, StepDraft
from taskmark.task.metadata import Metadata
from taskmark.task.model import Retry
from taskmark.task.options import GATES
from taskmark.task.source_text import Findings, Place

_BACKOFF_CAP = 60.0
_NOT_IN_EFFECT = ("budget", "pausedTimeout", "schedule", "notify", "onComplete", "secrets")
"""Metadata that the format has and the engine does not act on yet: nobody may rely on it unwarned."""
_NEVER_RETRIED = GATES | {"validation", "aggregate", "wait"}


def advise(phases: list[PhaseDraft], metadata: Metadata, findings: Findings) -> None:
    """Notes every warning about steps."""
    limit = metadata.fields.get("max_execution_time")
    retry = metadata.fields.get("retry", Retry())
    if limit is not None and "retry" in metadata.places:
        _check_retries(retry, limit, metadata.places["retry"], findings)
    for key in _NOT_IN_EFFECT:
        if key in metadata.places:
            _warn_of(key, metadata.places[key], findings)
    for phase in phases:
        has_agents = bool(phase.agents or metadata.agents) or not metadata.readable
        for step in phase.steps:
            _advise_step(step, findings, has_agents=has_agents)
            place = step.places.get("retry") or step.places.get("timeout")
            if limit is not None and place is not None and step.kind not in _NEVER_RETRIED:
                own = Retry(**{**retry.model_dump(), **(step.retry or {})})
                _check_retries(own, limit, place, findings, step.fields.get("timeout", 0.0))


def _advise_step(step: StepDraft, findings: Findings, *, has_agents: bool) -> None:
    if "cache" in step.places:
        _warn_of("cache", step.places["cache"], findings)
    if step.kind in GATES and "timeout" not in step.fields:
        message = f"this {step.kind} waits without end if nobody decides"
        findings.add(Code.GATE_WITHOUT_TIMEOUT, step.place, message, "give it a `timeout`")
    if step.kind == "plain" and not has_agents:
        message = "no agent does this step, so it is only a note"
        hint = "name agents under `### Agents`, or begin it with a kind such as `tool:`"
        findings.add(Code.NOTE, step.place, message, hint)


def _warn_of(key: str, place: Place, findings: Findings) -> None:
    message = f"`{key}` is kept, but this version does not act on it"
    findings.add(Code.NOT_IN_EFFECT, place, message)


def _check_retries(
    retry: Retry, limit: float, place: Place, findings: Findings, timeout: float = 0.0
) -> None:
    """Notes attempts and pauses that last longer than the whole task may."""
    total = retry.max_attempts * timeout + _pauses(retry)
    if total > limit:
        what = "its attempts and the pauses between them" if timeout else "the pauses between its attempts"
        message = f"{what} can last {total:g} s, and `maxExecutionTime` is {limit:g} s"
        findings.add(Code.RETRIES_EXCEED_LIMIT, place, message, "fewer attempts, or a shorter backoff")


def _pauses(retry: Retry) -> float:
    """Returns the seconds between all attempts: the first pause doubled each time, up to a minute."""
    pause, total, left = retry.backoff_ms / 1000, 0.0, retry.max_attempts - 1
    while left > 0 and 0 < pause < _BACKOFF_CAP:
        total += pause
        pause *= 2
        left -= 1
    return total + left * min(pause, _BACKOFF_CAP)
