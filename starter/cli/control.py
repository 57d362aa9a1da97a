"""`pause`, `resume`, `abort`, `approve`, `reject`, `answer`, `retry` and `skip`: what people decide."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli.exits import Exit
from starter.cli.loops import run_async
from starter.cli.naming import By, Execution, Reason, person
from starter.cli.terminal import say

if TYPE_CHECKING:
    from starter.gateway import TaskClient
    from taskmark.task.model import Json

Phase = Annotated[str, typer.Argument(metavar="PHASE", help="The phase that is held.", show_default=False)]
ABORT_SECONDS = 30.0
"""How long an execution that nobody else works on is given to end in order."""

DECISION_SECONDS = 30.0
"""How long an execution is given to take a decision; it waits for a worker meanwhile."""


def pause(execution: Execution, reason: Reason = "", by: By = "") -> Exit:
    """Start no new steps until `resume`; running ones finish."""

    async def ask(client: TaskClient, id: str) -> None:
        await client.pause(id, reason=reason, by=person(by))
        say(f"{id} pauses")

    return _signal(execution, ask)


def resume(execution: Execution, reason: Reason = "", by: By = "") -> Exit:
    """Go on after a pause."""

    async def ask(client: TaskClient, id: str) -> None:
        await client.resume(id, reason=reason, by=person(by))
        say(f"{id} goes on")

    return _signal(execution, ask)


def abort(execution: Execution, reason: Reason = "", by: By = "") -> Exit:
    """End an execution now; what it has done so far is kept."""
    return run_async(_abort(execution, reason, person(by)))


def approve(
    execution: Execution,
    gate: Annotated[str, typer.Argument(metavar="GATE", help="The approval that waits.", show_default=False)],
    comment: Annotated[str, typer.Option("--comment", help="Kept in the history.", show_default=False)] = "",
    by: By = "",
) -> Exit:
    """Approve what waits for it."""
    return _decide_gate(execution, gate, "approved", comment, by)


def reject(
    execution: Execution,
    gate: Annotated[str, typer.Argument(metavar="GATE", help="The approval that waits.", show_default=False)],
    comment: Annotated[
        str, typer.Option("--comment", help="Why; the phase fails with it.", show_default=False)
    ] = "",
    by: By = "",
) -> Exit:
    """Reject what waits for an approval."""
    return _decide_gate(execution, gate, "rejected", comment, by)


def answer(
    execution: Execution,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="The question.", show_default=False)],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="The answer.", show_default=False)],
    by: By = "",
) -> Exit:
    """Answer a question. Where it wants something else than text, the value is read as JSON."""

    async def ask(client: TaskClient, id: str) -> None:
        fitting = _fitting(value, await _schema(client, id, question))
        await client.answer(id, question, fitting, by=person(by))
        say(f"“{question}” is answered")

    return _decide(execution, ask)


def retry(execution: Execution, phase: Phase, by: By = "") -> Exit:
    """Run a held phase again, keeping its completed steps."""

    async def ask(client: TaskClient, id: str) -> None:
        await client.retry(id, phase, by=person(by))
        say(f"phase {phase} runs again")

    return _decide(execution, ask)


def skip(execution: Execution, phase: Phase, by: By = "") -> Exit:
    """Leave a held phase as it is and go on without it."""

    async def ask(client: TaskClient, id: str) -> None:
        await client.skip(id, phase, by=person(by))
        say(f"phase {phase} is left as it is")

    return _decide(execution, ask)


def _decide_gate(execution: str, gate: str, decision: str, comment: str, by: str) -> Exit:
    async def ask(client: TaskClient, id: str) -> None:
        await client.approve(id, gate, decision=decision, by=person(by), comment=comment)
        say(f"“{gate}” is {decision}")

    return _decide(execution, ask)


Ask = Callable[["TaskClient", str], Awaitable[None]]


def _signal(prefix: str, ask: Ask) -> Exit:
    """Carries out what Temporal keeps for the execution, whether or not anybody works on it now."""
    from starter.cli.clients import leave_elsewhere, opened, resolve, say_if_still, settings

    found = settings()
    leave_elsewhere(found, prefix)

    async def carry_out() -> Exit:
        async with opened(found, worker=False) as client:
            execution = await resolve(client, prefix)
            await ask(client, execution)
            await say_if_still(client, execution)
        return Exit.OK

    return run_async(carry_out())


def _decide(prefix: str, ask: Ask) -> Exit:
    """Carries out what the execution itself takes or refuses."""
    from starter.cli.clients import deciding, leave_elsewhere, resolve, say_if_still, settings
    from taskmark.errors import Unreachable

    found = settings()
    leave_elsewhere(found, prefix)

    async def carry_out() -> Exit:
        async with deciding(found) as client:
            execution = await resolve(client, prefix)
            try:
                async with asyncio.timeout(DECISION_SECONDS):
                    await ask(client, execution)
            except TimeoutError as error:
                raise Unreachable(
                    f"{execution} did not confirm it within {DECISION_SECONDS:.0f} s; it may still take it",
                    hint="a decision needs a worker: see `taskmark doctor`, then `taskmark watch`",
                ) from error
            await say_if_still(client, execution)
        return Exit.OK

    return run_async(carry_out())


async def _abort(prefix: str, reason: str, by: str) -> Exit:
    """Asks for the end and, where nobody else could carry it out, does it here."""
    from starter.cli.clients import is_alone, leave_elsewhere, opened, resolve, settings
    from starter.working import working

    found = settings()
    leave_elsewhere(found, prefix)
    async with opened(found, worker=False) as client:
        execution = await resolve(client, prefix)
        await client.abort(execution, reason=reason, by=by)
        if not await is_alone(client):
            say(f"{execution} is asked to end")
            return Exit.OK
        async with working(client.client, client.wiring):
            try:
                result = await client.wait(execution, timeout=ABORT_SECONDS)
            except TimeoutError:
                say(f"{execution} was asked to end and has not ended yet; `taskmark watch` shows why")
                return Exit.WAITING
        say(f"{execution} is {result.status.value}")
    return Exit.OK


async def _schema(client: TaskClient, execution: str, question: str) -> dict[str, Json]:
    """Returns what the answer must be like, as far as the question says so."""
    progress = await client.progress(execution)
    waits = (wait for wait in progress.waiting if wait.kind == "question" and wait.name == question)
    return next((wait.answer_schema or {} for wait in waits), {})


def _fitting(text: str, schema: dict[str, Json]) -> Json:
    """Returns what the text stands for: JSON where anything but text is wanted and it can be read so."""
    choices = schema.get("enum")
    wants_text = text in choices if choices else schema.get("type", "string") == "string"
    if wants_text:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
