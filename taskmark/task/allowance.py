"""Agents that are programs whose files list tools that no step of theirs allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from taskmark.task.agent_tools import held_back, permission
from taskmark.task.codes import Code
from taskmark.task.drafts import PhaseDraft, StepDraft
from taskmark.task.metadata import Metadata
from taskmark.task.model import Agent
from taskmark.task.source_text import Findings, shown


def check_allowance(
    phase: PhaseDraft, metadata: Metadata, agents: Mapping[str, Agent], findings: Findings
) -> None:
    """Notes each step that asks a program which then lacks tools of its file. What a language model lacks it
    can ask a person for."""
    if not metadata.readable or _is_lost(metadata.fields, metadata.places):
        return
    defaults = [agent.value for agent in phase.agents] or [agent.text.strip() for agent in metadata.agents]
    for step in phase.steps:
        if not step.readable or _is_lost(step.fields, step.places):
            continue
        allow = (*metadata.fields.get("allow", ()), *step.fields.get("allow", ()))
        for name in dict.fromkeys(_asked(step, defaults, agents)):
            agent = agents.get(name)
            held = held_back(agent.tools, allow) if agent is not None and agent.is_program else ()
            if held:
                message = f"agent `{name}` is asked without tools that nothing here allows: {_listed(held)}"
                hint = f"write `allow: [{_listed(map(permission, held))}]` on the step or the task"
                findings.add(Code.TOOL_NOT_ALLOWED, step.place, message, hint)


def _is_lost(fields: Mapping[str, object], places: Mapping[str, object]) -> bool:
    """Whether there is an `allow` that could not be read."""
    return "allow" in places and "allow" not in fields


def _asked(step: StepDraft, defaults: Sequence[str], agents: Mapping[str, Agent]) -> Iterator[str]:
    """Yields the agents that a step may ask, and those that they or the step fall back on."""
    own = [step.value.value] if step.kind == "agent" and not step.chooses_agent else defaults
    for name in own if step.kind in ("agent", "plain") else ():
        yield name
        instead = agents[name].fallback if name in agents else None
        if instead is not None and "fallback" not in step.fields:
            yield instead
    if step.fallback_name is not None and step.fields["fallback"].kind == "agent":
        yield step.fallback_name.text.strip()


def _listed(names: Iterator[str] | Sequence[str]) -> str:
    return shown(", ".join(dict.fromkeys(names)))
