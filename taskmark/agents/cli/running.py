"""One run of a command-line agent: its command line, what it tells meanwhile, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from taskmark.agents.answering import SHORTER
from taskmark.agents.cli.hearing import HIDDEN, Heard, Lines, Message, is_session, under
from taskmark.agents.cli.programs import READING, Asked, CliProgram, CliSetting
from taskmark.agents.cli.prompts import first_prompt, meant, next_prompt
from taskmark.agents.cli.sessions import Session, Sessions
from taskmark.contracts import Usage
from taskmark.errors import Category, StepFailed
from taskmark.ports import Answer, Question, StepContext
from taskmark.task.agent_tools import held_back
from taskmark.task.model import Agent
from taskmark.tools.masking import masked
from taskmark.tools.processes import Command, Ended, ProcessLimits, run
from taskmark.tools.sizes import capped

LINGERS: Final = 5.0
"""Seconds that a program has to end by itself once it has answered."""
SHORTEST_SECRET: Final = 8
"""Characters of a variable's value from which on no answer may tell it."""


@dataclass(frozen=True)
class Run:
    """How a run ended."""

    heard: Heard
    how: str
    """What is known of its end, besides what was heard."""
    answer: Answer | None = None
    """None if it told none."""

    @property
    def said(self) -> str:
        """All that it said about its end."""
        failure = self.heard.failure
        return f"{failure.message if failure else ''}\n{self.how}"


@dataclass(frozen=True)
class Talk:
    """A question to one program, and who asks it."""

    program: CliProgram
    model: str
    setting: CliSetting
    given: Mapping[str, str]
    """Variables of the worker's that it is given."""
    agent: Agent
    question: Question
    context: StepContext
    sessions: Sessions
    limits: ProcessLimits | None
    lingers: float

    async def run(self, session: Session, *, resumes: bool) -> Run:
        """Runs the program once. Raises `StepFailed` if it cannot be run, or passes a limit."""
        listening = _Listening(self, session)
        try:
            return await listening.until_the_end(self._command(session, listening.lines, resumes=resumes))
        except StepFailed as error:
            if error.category is Category.CONFIGURATION and error.message.endswith("command not found"):
                raise StepFailed(error.message, error.category, hint=self.program.install) from error
            raise

    async def taken(self, session: Session, heard: Heard) -> Answer | None:
        """Remembers how a run has ended, and returns what it answered, None if it failed.

        It is done as soon as the program has told, not when it is gone: whoever dies meanwhile has lost
        nothing. Raises `StepFailed` for an answer that is too large.
        """
        session = session.ended(heard.session if is_session(heard.session) else session.id, heard)
        if session.used != Usage():
            self.context.charge(session.used)
        answer = None
        if heard.failure is None:
            output = capped(meant(heard.output), source=f"agent {self.agent.id}", advice=SHORTER)
            files = dict.fromkeys(under(self.context.root, path) for path in session.files)
            answer = Answer(output, session.used, tuple(files))
            await self.sessions.keep_answer(session.key, self.question, self.context, answer)
        self.sessions.beat(session, self.context)
        await self.sessions.keep(session, self.context)
        return answer

    def _command(self, session: Session, lines: Lines, *, resumes: bool) -> Command:
        prompt = next_prompt(self.question) if resumes else first_prompt(self.agent, self.question, self.held)
        asked = self._asked(session, resumes=resumes)
        self.program.arguments(replace(asked, tools=self._listed))  # what it has not is an error, held or not
        words = self.program.arguments(asked)
        return Command(
            (self.setting.program or self.program.executable, *self.setting.arguments, *words),
            environment={**self.program.environment, **self.given},
            stdin=prompt.encode(errors="replace"),
            says=False,
            hear=lines.add,
        )

    def _asked(self, session: Session, *, resumes: bool) -> Asked:
        turns = self._limit("maxTurns", self.setting.max_turns)
        return Asked(
            session=session.id,
            resumes=resumes,
            model=self.model,
            tools=tuple(name for name in self._listed if name not in self.held),
            schema=self.question.schema,
            max_turns=None if turns is None else max(1, int(turns)),
            max_cost=self._limit("maxCost", self.setting.max_cost),
        )

    @property
    def held(self) -> tuple[str, ...]:
        """The tools of its file that it is not given, because nobody allowed them."""
        return held_back(self._listed, self.context.allow)

    @property
    def _listed(self) -> tuple[str, ...]:
        return self.agent.tools or READING

    def _limit(self, name: str, otherwise: float | None) -> float | None:
        """Returns a limit of the agent's file, or what is set. Raises `StepFailed` (configuration)."""
        value = self.agent.metadata.get(name)
        if value is None:
            return otherwise
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise StepFailed(
                f"agent {self.agent.id}: {name} is no number above 0: {value!r:.80}", Category.CONFIGURATION
            )
        return value

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nothing that it says may tell."""
        return tuple(value for value in self.given.values() if len(value) >= SHORTEST_SECRET)


class _Listening:
    """Hears a run: tells who watches, and remembers at once what it has come to."""

    def __init__(self, talk: Talk, session: Session) -> None:
        self.lines = Lines(self._take, talk.secrets)
        self._talk = talk
        self._session = session
        self._heard = Heard()
        self._now = self._kept = session
        """The session as the run has it by now, and as it is remembered."""
        self._keeping: asyncio.Task[None] | None = None
        self._taking: asyncio.Task[Answer | None] | None = None
        self._limit = asyncio.timeout(None)

    async def until_the_end(self, command: Command) -> Run:
        """Runs the command. Who has answered and does not end is ended."""
        ended = None
        try:
            async with self._limit:
                ended = await run(command, self._talk.context, self._talk.limits)
                self.lines.close()
        except TimeoutError:
            pass  # it has answered
        finally:
            if noting := {task for task in (self._keeping, self._taking) if task is not None}:
                await asyncio.wait(noting)
        answer = await self._taking if self._taking is not None else None
        return Run(self._heard, self._how(ended), answer)

    def _how(self, ended: Ended | None) -> str:
        if ended is None:
            return "it went on after its answer"
        strange = f"; {self.lines.strange} lines were not understood" if self.lines.strange else ""
        return masked(ended.reason, self._talk.secrets, HIDDEN) + strange

    def _take(self, message: Message) -> None:
        heard, talk = self._heard, self._talk
        talk.program.hear(message, heard)
        if heard.doing:
            talk.context.say(heard.doing)
        if is_session(heard.session) and self._taking is None:
            self._note(self._session.running(heard.session, heard))
        if heard.is_over and self._taking is None:
            self._taking = asyncio.ensure_future(self._taken())
            self._limit.reschedule(asyncio.get_running_loop().time() + talk.lingers)

    def _note(self, now: Session) -> None:
        """Charges and remembers what is new: the next word may be the worker's last."""
        if now == self._now:
            return
        if now.used != self._now.used:
            self._talk.context.charge(now.used)
        self._now = now
        self._talk.sessions.beat(now, self._talk.context)
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.ensure_future(self._keep())

    async def _keep(self) -> None:
        """One at a time: what is known last counts."""
        while self._kept != self._now:
            now = self._now
            await self._talk.sessions.keep(now, self._talk.context)
            self._kept = now

    async def _taken(self) -> Answer | None:
        """Takes the answer once all that came before it is remembered."""
        if self._keeping is not None:
            await self._keeping
        return await self._talk.taken(self._session, self._heard)
