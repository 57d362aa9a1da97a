"""What is remembered of an agent's session, so that what was paid for is not paid for again.

It is in two places: the heartbeat, which a later attempt gets, and what workers share, which is written at
once and outlives the attempt. Either may be missing; then a session costs more, and nothing else.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from taskmark.agents.answering import attempt_of
from taskmark.agents.cli.hearing import Heard
from taskmark.contracts import Usage
from taskmark.errors import Unreachable
from taskmark.ports import Answer, Question, StepContext
from taskmark.shared import Shared
from taskmark.task.model import Agent, Json
from taskmark.task.packing import digest
from taskmark.tools.sharing import Sharing

SESSION, ANSWER = "cli-session", "cli-answer"
KEPT: Final = 30 * 86400.0
"""Seconds for which a session is remembered: as long as Claude Code keeps its own record of it."""
REPEATABLE: Final = 86400.0
"""Seconds for which an answer is; it serves a worker that takes over from one that died."""
_NAMESPACE: Final = uuid.UUID("6f1c7c0e-9f0b-5d6e-8a51-3f3f0a3f5c11")

Value = TypeVar("Value")


class Session(BaseModel):
    """A conversation with a program, as far as we have to know it."""

    model_config = ConfigDict(frozen=True)

    key: str
    """Of the question that it is about."""
    id: str = ""
    begun: bool = False
    """Whether the program has told that it is there."""
    total: Usage = Usage()
    """What the program said of its use when it ended last."""
    attempt: str = ""
    """That asked last."""
    used: Usage = Usage()
    """What that attempt has used so far, in one run of the program or, if workers died, in several."""
    unpriced: int = 0
    """Tokens of runs that did not come to tell what they cost."""
    files: tuple[str, ...] = ()
    """What it has changed so far, as it names it."""

    def asked_by(self, attempt: str) -> Session:
        """Returns it as an attempt goes on with it. What another has used was charged with that one's end."""
        if self.attempt == attempt:
            return self
        return self.model_copy(update={"attempt": attempt, "used": Usage()})

    def anew(self, name: str = "") -> Session:
        """Returns what is left if the conversation itself is lost: what it cost and changed."""
        return self.model_copy(update={"id": name, "begun": False, "total": Usage()})

    def running(self, name: str, heard: Heard) -> Session:
        """Returns it in the midst of a run that has come so far."""
        used = self.used.plus(Usage(tokens=heard.streamed))
        unpriced = self.unpriced + heard.streamed
        return self._with({"id": name, "begun": bool(name), "used": used, "unpriced": unpriced}, heard.files)

    def ended(self, name: str, heard: Heard) -> Session:
        """Returns it after a run that told its end, and so what it cost."""
        spent = heard.used(self.total, self.unpriced)
        if spent == Usage():
            return self.running(name, heard)  # it told no more than it had told before
        used = self.used.plus(spent)
        now = {"id": name, "begun": bool(name), "used": used, "unpriced": 0, "total": heard.total}
        return self._with(now, heard.files)

    def with_files(self, files: Iterable[str]) -> Session:
        """Returns it with more files that it has changed."""
        return self._with({}, files)

    def _with(self, changes: dict[str, Any], files: Iterable[str]) -> Session:
        changes["files"] = tuple(dict.fromkeys((*self.files, *files)))
        return self.model_copy(update=changes)


class _Kept(BaseModel):
    """An answer as it is remembered."""

    output: Any = None
    usage: Usage | None = None
    files: tuple[str, ...] = ()


class Sessions:
    """Remembers the sessions of all agents of this worker."""

    def __init__(self) -> None:
        self._sharing = Sharing()

    async def find(self, key: str, question: Question, context: StepContext) -> Session:
        """Returns the session about a question: what is known of it, or a new one."""
        shared = _session(await self._ask(context, lambda shared: shared.get(SESSION, key)), key)
        beaten = _session(context.resume.get("session") if isinstance(context.resume, dict) else None, key)
        known = [session for session in (shared, beaten) if session is not None]
        new = Session(key=key, id=str(uuid.uuid5(_NAMESPACE, key)))
        session = max(known, key=lambda one: (one.total.tokens, one.unpriced), default=new)
        return session.with_files(beaten.files if beaten else ()).asked_by(attempt_of(question, context))

    async def keep(self, session: Session, context: StepContext) -> None:
        """Remembers how a session is, where all workers find it."""
        value = session.model_dump()
        await self._ask(context, lambda shared: shared.put(SESSION, session.key, value, KEPT))

    def beat(self, session: Session, context: StepContext) -> None:
        """Remembers it in the heartbeat alone, where it costs nothing."""
        context.heartbeat({"session": session.model_dump()})

    async def answered(self, key: str, question: Question, context: StepContext) -> Answer | None:
        """Returns the answer that this attempt was given already, by a worker that did not live to tell."""
        found = await self._ask(context, lambda shared: shared.get(ANSWER, _turn(key, question, context)))
        if found is None:
            return None
        kept = _Kept.model_validate(found)
        return Answer(kept.output, kept.usage, kept.files)

    async def keep_answer(self, key: str, question: Question, context: StepContext, answer: Answer) -> None:
        """Remembers an answer of this attempt."""
        kept = _Kept(output=answer.output, usage=answer.usage, files=answer.files).model_dump()
        turn = _turn(key, question, context)
        await self._ask(context, lambda shared: shared.put(ANSWER, turn, kept, REPEATABLE))

    async def _ask(self, context: StepContext, ask: Callable[[Shared], Value]) -> Value | None:
        try:
            return await self._sharing.ask(context.shared, ask)
        except Unreachable as error:
            context.logger.warning("what is known of an agent's session cannot be asked or kept: %s", error)
        except Exception:  # whatever it is, the answer has nothing to do with it
            context.logger.exception("what is known of an agent's session cannot be asked or kept")
        return None


def question_key(agent: Agent, question: Question, context: StepContext) -> str:
    """Returns the key of a question: the same in every attempt of a step, another if the step's inputs are
    others. What people answered meanwhile belongs to the same question."""
    asked: dict[str, Json] = {name: value for name, value in question.context.items() if name != "answers"}
    return digest([context.idempotency_key, agent.id, agent.model, agent.prompt, question.instruction, asked])


def _turn(key: str, question: Question, context: StepContext) -> str:
    return f"{key}#{attempt_of(question, context)}"


def _session(found: object, key: str) -> Session | None:
    try:
        session = Session.model_validate(found)
    except ValidationError:
        return None
    return session if session.key == key else None
