"""Checks of what a task names outside of itself: tools and their parameters, aggregates, agents."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from taskmark.errors import InvalidTask
from taskmark.task.agent_tools import permission, tool_name, unknown_tools
from taskmark.task.arguments import note_misfits
from taskmark.task.catalog import AGGREGATE_OPTIONS, Catalog
from taskmark.task.codes import Code
from taskmark.task.drafts import PhaseDraft, StepDraft
from taskmark.task.hints import other_spelling
from taskmark.task.model import Agent
from taskmark.task.notices import NoticeDraft
from taskmark.task.slugs import is_agent_id
from taskmark.task.source_text import Findings, Place, replacing, shown
from taskmark.task.yaml_nodes import Mapping, Scalar


class Vocabulary:
    """Looks names up in a catalog, each agent once."""

    def __init__(self, catalog: Catalog, findings: Findings) -> None:
        self._catalog = catalog
        self._findings = findings
        self._looked_up: dict[str, Agent | None] = {}

    @property
    def agents(self) -> dict[str, Agent]:
        """Every agent that was found, by id."""
        return {name: agent for name, agent in self._looked_up.items() if agent is not None}

    def check_phase(self, phase: PhaseDraft, *, has_default: bool) -> None:
        """Checks the names in a phase; `has_default` says whether the task has agents for its phases."""
        for agent in phase.agents:
            self.check_agent(agent.value, agent.place())
        for step in phase.steps:
            self._check_step(step)
            if step.chooses_agent and not phase.agents and not has_default:
                message = "this step chooses its agent, and nothing lists the agents that it may choose"
                hint = "list them under the phase's `### Agents`, or as `agents` of the task"
                self._findings.add(Code.CHOICE_WITHOUT_AGENTS, step.value.place(), message, hint)

    def check_agent(self, id: str, place: Place) -> None:
        """Checks that there is an agent of that id, and keeps it."""
        if not is_agent_id(id):
            hint = "an agent is named like its file in agents/, such as `code-reviewer`"
            if "{{" in id:
                hint = "an agent that is chosen is one expression: `agent: \"{{ item ~ '-watcher' }}\"`"
            self._findings.add(Code.INVALID_NAME, place, f"`{shown(id)}` does not name an agent", hint)
            return
        if self._catalog.agent is None:
            return
        if id not in self._looked_up:
            self._looked_up[id] = agent = self._load(id, self._catalog.agent)
            if agent is not None:
                self._check_file_of(agent, place)
        if self._looked_up[id] is None:
            hint = self._findings.guess(id, self._catalog.agent_ids()) or f"write agents/{id}.md"
            self._findings.add(Code.UNKNOWN_AGENT, place, f"there is no agent `{id}`", hint)

    def _check_file_of(self, agent: Agent, place: Place) -> None:
        """Notes tools in an agent's file that there are not; keeps the agent that it falls back on."""
        if agent.fallback is not None:
            self.check_agent(agent.fallback, place)
        # Other programs have tools of their own.
        missing = unknown_tools(agent.tools, self._catalog.tools) if agent.is_language_model else ()
        if missing:
            message = f"agent `{agent.id}` lists tools that there are not: {shown(', '.join(missing))}"
            hint = "`taskmark tools` lists those that there are; without them it is asked all the same"
            self._findings.add(Code.NOT_IN_EFFECT, place, message, hint)

    def _load(self, id: str, find: Any) -> Agent | None:
        try:
            agent: Agent | None = find(id)
        except InvalidTask as error:
            # The agent's file is there and wrong: that is what is said, not that there is no agent.
            self._findings.diagnostics.extend(error.diagnostics)
            return Agent(id=id)
        return agent

    def _check_step(self, step: StepDraft) -> None:
        value, place = step.value.value, step.value.place()
        if step.kind == "tool" and value:
            self._check_tool(value, place, step.arguments, step.place, step)
        elif step.kind == "agent" and value and not step.chooses_agent:
            self.check_agent(value, place)
        elif step.kind == "plain":
            self._check_instruction(step)
        elif step.kind == "aggregate" and value in AGGREGATE_OPTIONS and step.arguments:
            what, known = f"aggregate `{value}`", ("over", *AGGREGATE_OPTIONS[value])
            self.check_arguments(what, step.arguments, step.place, known=known, required=())
        elif step.kind == "aggregate" and value and value not in self._catalog.aggregates:
            hint = self._findings.guess(value, self._catalog.aggregates)
            message = f"there is no aggregate `{shown(value)}`"
            fix = replacing(place, value, other_spelling(value, self._catalog.aggregates))
            self._findings.add(Code.UNKNOWN_AGGREGATE, place, message, hint, fix)
        if step.fallback_name is not None:
            self._check_fallback(step, step.fallback_name)
        if "allow" in step.fields:
            self.check_allowed(step.fields["allow"], step.places["allow"])

    def check_allowed(self, names: Iterable[str], place: Place) -> None:
        """Checks that there are the tools that agents may call without asking: ours, and those that the files
        of programs list, which have their own."""
        programs = [agent for agent in self.agents.values() if agent.is_program]
        listed = {name for agent in programs for tool in agent.tools for name in (tool, permission(tool))}
        for name in names:
            if tool_name(name) not in self._catalog.tools and name not in listed:
                hint = self._findings.guess(name, self._catalog.tools)
                message = f"there is no tool `{shown(name)}`"
                self._findings.add(Code.UNKNOWN_TOOL, place, message, hint)

    def _check_instruction(self, step: StepDraft) -> None:
        """Notes a tool's name in the place of a kind: `shell: …` would be an instruction for agents."""
        word, colon, rest = step.description.value.partition(":")
        if colon and word in self._catalog.tools and rest[:1] in ("", " "):
            message = f"`{word}` is a tool, and no step kind"
            hint = f"write `tool: {word} - description`, and its parameters under `with:`"
            self._findings.add(Code.UNKNOWN_KIND, step.place, message, hint)

    def _check_fallback(self, step: StepDraft, name: Scalar) -> None:
        arguments = step.fallback_arguments or step.arguments
        if step.fields["fallback"].kind == "agent":
            self.check_agent(name.text.strip(), name.place())
        else:
            self._check_tool(name.text.strip(), name.place(), arguments, name.place(), step)

    def check_notice(self, notice: NoticeDraft) -> None:
        """Checks the tool that tells somebody, and what it is given."""
        place = notice.tool.place()
        self._check_tool(notice.tool.text.strip(), place, notice.arguments, place, notice)

    def _check_tool(
        self, name: str, place: Place, arguments: Mapping | None, at: Place, step: StepDraft | NoticeDraft
    ) -> None:
        if name not in self._catalog.tools:
            hint = self._findings.guess(name, self._catalog.tools)
            if " " in name:
                hint = "a description stands behind ` - `: `tool: name - description`"
            fix = replacing(place, name, other_spelling(name, self._catalog.tools))
            self._findings.add(Code.UNKNOWN_TOOL, place, f"there is no tool `{shown(name)}`", hint, fix)
            return
        schema = self._catalog.tools[name]
        if schema is not None:
            self.check_arguments(
                f"tool `{name}`",
                arguments,
                at,
                known=schema.get("properties", {}),
                required=schema.get("required", ()) if step.readable else (),
                open_ended=bool(schema.get("additionalProperties")),
            )
        if arguments is not None and step.intact and self._catalog.misfits is not None:
            note_misfits(f"tool `{name}`", arguments, partial(self._catalog.misfits, name), self._findings)

    def check_arguments(
        self,
        what: str,
        arguments: Mapping | None,
        step: Place,
        *,
        known: Iterable[str],
        required: Iterable[str],
        open_ended: bool = False,
    ) -> None:
        """Checks that `with` gives what is needed and nothing that is not taken."""
        known = tuple(known)
        keys = [entry.key for entry in arguments.entries] if arguments else []
        given = [key.text for key in keys]
        for key in keys:
            if key.text not in known and not open_ended:
                hint = self._findings.guess(key.text, known)
                fix = self._findings.respelled(key.place(), key.text, known)
                message = f"{what} takes no `{shown(key.text)}`"
                self._findings.add(Code.UNKNOWN_ARGUMENT, key.place(), message, hint, fix)
        missing = [name for name in required if name not in given]
        if missing:
            names = ", ".join(f"`{name}`" for name in missing)
            self._findings.add(Code.MISSING_ARGUMENT, step, f"{what} needs {names}", "give it under `with:`")
