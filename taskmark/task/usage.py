"""What is declared and never used: inputs that nothing reads, agents that nobody asks."""

from __future__ import annotations

from collections.abc import Sequence, Set

from taskmark.task.codes import Code
from taskmark.task.drafts import PhaseDraft, StepDraft
from taskmark.task.metadata import Metadata
from taskmark.task.names import EVERY_INPUT
from taskmark.task.options import BUILT_IN_KINDS
from taskmark.task.source_text import Findings


def check_usage(phases: Sequence[PhaseDraft], read: Set[str], metadata: Metadata, findings: Findings) -> None:
    """Notes unused inputs and agents; `read` are the inputs that expressions read."""
    # After an error what is missed may be in what could not be read.
    if findings.has_errors or not any(phase.steps for phase in phases):
        return
    has_default = bool(metadata.agents)
    if not any(_sees_all(step, phase, has_default) for phase in phases for step in phase.steps):
        _check_inputs(read, metadata, findings)
    for phase in phases:
        _check_agents(phase, findings)
    if metadata.agents and not any(_asks_default(phase) for phase in phases):
        message = (
            "no step asks the task's agents: in phases without `### Agents` they answer plain steps, "
            "and steps may choose among them"
        )
        findings.add(Code.UNUSED_AGENT, metadata.agents[0].place(), message)


def _check_inputs(read: Set[str], metadata: Metadata, findings: Findings) -> None:
    for key in metadata.input_keys:
        if key.text not in read and EVERY_INPUT not in read:
            message = f"nothing reads the input `{key.text}`"
            hint = f"read it as `inputs.{key.text}`, or remove it"
            findings.add(Code.UNUSED_INPUT, key.place(), message, hint)


def _sees_all(step: StepDraft, phase: PhaseDraft, has_default: bool) -> bool:
    """Whether a step is given every input, as agents and registered kinds are."""
    fallback = step.fields.get("fallback")
    return (
        step.kind == "agent"
        or (step.kind == "plain" and bool(phase.agents or has_default))
        or (step.kind != "plain" and step.kind not in BUILT_IN_KINDS)
        or (fallback is not None and fallback.kind == "agent")
    )


# --- agents ---------------------------------------------------------------------------------------


def _check_agents(phase: PhaseDraft, findings: Findings) -> None:
    """Notes agents of a phase that no plain step asks and none may choose; those that a step names are asked
    by it."""
    if not phase.agents or not phase.steps or _asks_listed(phase):
        return
    asked = {step.value.value for step in phase.steps if step.kind == "agent"}
    for agent in phase.agents:
        if agent.value not in asked:
            message = f"no step asks `{agent.value}`: the agents of a phase answer its plain steps"
            hint = f"write the instruction as `- text`, or `- agent: {agent.value} - text`"
            findings.add(Code.UNUSED_AGENT, agent.place(), message, hint)


def _asks_default(phase: PhaseDraft) -> bool:
    return not phase.agents and _asks_listed(phase)


def _asks_listed(phase: PhaseDraft) -> bool:
    """Whether a step goes to the agents that are listed for it, or chooses among them."""
    return any(step.kind == "plain" or step.chooses_agent for step in phase.steps)
