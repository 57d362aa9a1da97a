"""Agents whose model is `cli:<program>` or `cli:<program>:<model>`: a coding agent that is a program."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from taskmark.agents.cli.programs import CliProgram, CliSetting
from taskmark.agents.cli.prompts import answers
from taskmark.agents.cli.running import LINGERS, Run, Talk
from taskmark.agents.cli.sessions import Session, Sessions, question_key
from taskmark.contracts import Usage
from taskmark.errors import Category, StepFailed
from taskmark.ports import Answer, Health, Question, StepContext
from taskmark.task.agent_tools import permission
from taskmark.task.model import Agent
from taskmark.tools.processes import ProcessLimits
from taskmark.tools.validation import did_you_mean

_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@\[\]-]{0,199}")
"""What can be passed on as the name of a model; never an option."""


@dataclass
class CliAgents:
    """Runs coding agents as programs, and goes on with their sessions after a crash or a question."""

    programs: Mapping[str, CliProgram]
    """By name; those of plugins may be filled in later."""
    settings: Mapping[str, CliSetting] = field(default_factory=dict)
    limits: ProcessLimits | None = None
    variable: Callable[[str], str | None] = os.environ.get
    """Where variables of the worker's are looked up that programs are given, at each run."""
    lingers: float = LINGERS
    """Seconds that a program has to end by itself once it has answered."""
    _sessions: Sessions = field(default_factory=Sessions)
    _told: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)
    """Agents and tools held back from them that the log has told."""

    async def ask(self, agent: Agent, question: Question, context: StepContext) -> Answer:
        """Returns the agent's answer, or the question that it asks a person.

        What this attempt was answered already is not asked again. Raises `StepFailed`.
        """
        talk = self._talk(agent, question, context)
        key = question_key(agent, question, context)
        known = await self._sessions.answered(key, question, context)
        if known is not None:
            return known
        self._tell_held(agent, talk.held, context)
        session = await self._sessions.find(key, question, context)
        if talk.program.chooses_session and not session.begun:
            session = session.anew()
        return _answer(agent, await _run(talk, session))

    def health(self, model: str) -> Health:
        """Whether the program that a model names is there."""
        try:
            program, _ = self._named(model)
        except StepFailed as error:
            return Health(healthy=False, message=error.message, hint=error.hint)
        executable = self._setting(program).program or program.executable
        if shutil.which(executable) is None:
            return Health(healthy=False, message=f"{executable}: command not found", hint=program.install)
        return Health(healthy=True)

    def _talk(self, agent: Agent, question: Question, context: StepContext) -> Talk:
        program, model = self._named(agent.model or "")
        setting = self._setting(program)
        given = {name: value for name in setting.env if (value := self.variable(name)) is not None}
        return Talk(
            program,
            model,
            setting,
            given,
            agent,
            question,
            context,
            self._sessions,
            self.limits,
            self.lingers,
        )

    def _tell_held(self, agent: Agent, held: tuple[str, ...], context: StepContext) -> None:
        if held and (agent.id, held) not in self._told:
            self._told.add((agent.id, held))
            context.logger.warning(
                "agent %s is asked without %s: neither its step nor its task allows them, and nobody can be "
                "asked while it runs; write `allow: [%s]`",
                agent.id,
                ", ".join(held),
                ", ".join(dict.fromkeys(map(permission, held))),
            )

    def _named(self, model: str) -> tuple[CliProgram, str]:
        """Returns the program that a model names, and the model it passes on. Raises `StepFailed`."""
        name, _, passed = (part.strip() for part in model.partition(":")[2].partition(":"))
        if passed and _MODEL.fullmatch(passed) is None:
            raise StepFailed(f"{passed!r:.80} is no name of a model", Category.CONFIGURATION)
        if name not in self.programs:
            raise StepFailed(
                f"there is no command-line agent {name!r}{did_you_mean(name, self.programs)}",
                Category.CONFIGURATION,
                hint=f"write `model: cli:claude`; known: {', '.join(sorted(self.programs))}",
            )
        return self.programs[name], passed

    def _setting(self, program: CliProgram) -> CliSetting:
        return self.settings.get(program.name, CliSetting())


async def _run(talk: Talk, session: Session) -> Run:
    """Runs the program, with its session or with a new one, whichever there is.

    Whether a session is there only the program knows: our memory of it may be lost, and it may be on another
    machine.
    """
    resumes = session.begun or bool(session.id and answers(talk.question))
    run = await talk.run(session, resumes=resumes)
    if run.answer is not None or run.heard.streamed or run.heard.total != Usage():
        return run  # it was there, whatever was said
    if resumes and talk.program.lacks_session(run.said):
        anew = session.anew("" if talk.program.chooses_session else session.id)
        return await talk.run(anew, resumes=False)
    if not resumes and talk.program.has_session(run.said):
        return await talk.run(session, resumes=True)
    return run


def _answer(agent: Agent, run: Run) -> Answer:
    """Returns what a run answered. Raises `StepFailed` if that is nothing."""
    heard, failure = run.heard, run.heard.failure
    if run.answer is not None:
        return run.answer
    if failure is not None:
        message = f"agent {agent.id}: {failure.message}"
        raise StepFailed(message, failure.category, hint=failure.hint, retry_after=failure.retry_after)
    why = f"{heard.trouble}; {run.how}" if heard.trouble else run.how
    message = f"agent {agent.id}: the program ended without an answer: {why}"
    raise StepFailed(message, retry_after=heard.retry_after)
