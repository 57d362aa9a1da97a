"""What a task may do, and its author probably did not mean: checks across its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from taskmark.task.allowance import check_allowance
from taskmark.task.braces import check_braces
from taskmark.task.codes import Code
from taskmark.task.drafts import PhaseDraft, StepDraft
from taskmark.task.effects import check_effects
from taskmark.task.metadata import Metadata
from taskmark.task.model import GATES, Agent
from taskmark.task.reachability import check_reachability
from taskmark.task.source_text import Findings, Place
from taskmark.task.timing import check_times
from taskmark.task.usage import check_usage

_NOT_IN_EFFECT = ("onComplete",)
"""Metadata that the format has and the engine does not act on yet: nobody may rely on it unwarned."""
_CALLING = frozenset(
    {"timeout", "heartbeat", "retry", "fallback", "idempotencyKey", "with", "cache", "circuit", "limits"}
)
"""Keys of steps that call something."""
_UNUSED: Mapping[str, frozenset[str]] = {
    "validation": _CALLING,
    "wait": _CALLING,
    "approval": _CALLING - {"timeout"},
    "question": _CALLING - {"timeout"},
    "aggregate": _CALLING - {"fallback", "with"},
    "task": _CALLING - {"fallback", "with"},
    "agent": frozenset({"circuit"}),
    "plain": frozenset({"circuit"}),
}
"""Keys that a step of a kind takes and does nothing with."""


def advise(
    phases: Sequence[PhaseDraft],
    metadata: Metadata,
    findings: Findings,
    *,
    inputs_read: Set[str],
    effects: Set[str],
    agents: Mapping[str, Agent],
) -> None:
    """Notes what is sound in each part and not in the whole."""
    for key in _NOT_IN_EFFECT:
        if key in metadata.places:
            _warn_of(key, metadata.places[key], findings)
    check_times(phases, metadata, findings)
    check_reachability(phases, findings)
    check_usage(phases, inputs_read, metadata, findings)
    inputs = frozenset(key.text for key in metadata.input_keys)
    for phase in phases:
        _advise_phase(phase, metadata, findings)
        check_effects(phase, effects, findings)
        check_allowance(phase, metadata, agents, findings)
        check_braces(phase, inputs, findings)


def _advise_phase(phase: PhaseDraft, metadata: Metadata, findings: Findings) -> None:
    has_agents = bool(phase.agents or metadata.agents) or not metadata.readable
    for step in phase.steps:
        _advise_step(step, findings, has_agents=has_agents)
    if "max_concurrent" in phase.fields and not phase.parallel and not _runs_items(phase):
        message = "`maxConcurrent` does nothing: the steps of this phase run one after the other"
        findings.add(Code.NOT_IN_EFFECT, phase.places["maxConcurrent"], message, "add `parallel: true`")


def _runs_items(phase: PhaseDraft) -> bool:
    """Whether several calls may be open at once though the steps run one after the other."""
    several = any("for_each" in step.fields or step.kind == "plain" for step in phase.steps)
    return phase.has_items or several


def _advise_step(step: StepDraft, findings: Findings, *, has_agents: bool) -> None:
    for key in sorted(_UNUSED.get(step.kind, frozenset()) & step.places.keys()):
        if key == "fallback" and key not in step.fields:
            continue  # it is refused
        message = f"`{key}` does nothing for a step of kind {step.kind}"
        findings.add(Code.NOT_IN_EFFECT, step.places[key], message)
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
