"""What people decide: `pause`, `resume`, `abort`, `approve`, `reject`, `answer`, `retry`, `skip`, `raise`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli.exits import Exit
from starter.cli.inputs import Inputs, split_pairs
from starter.cli.loops import run_async
from starter.cli.naming import By, Execution, Reason, person
from starter.cli.printable import one_line
from starter.cli.terminal import say

if TYPE_CHECKING:
    from starter.gateway import TaskClient
    from taskmark.contracts import Wait
    from taskmark.task.model import Json

Phase = Annotated[str, typer.Argument(metavar="PHASE", help="The phase that is held.", show_default=False)]
Step = Annotated[str, typer.Option("--step", metavar="ID", help="One of its steps.", show_default=False)]
Comment = Annotated[str, typer.Option("--comment", help="Kept in the history.", show_default=False)]
Shown = Annotated[
    str,
    typer.Option(
        "--shown",
        metavar="HASH",
        help="The `shown` of what you decide about, as `list --waiting -o json` has it; "
        "refused if something else is asked by now.",
        show_default=False,
    ),
]
ABORT_SECONDS = 30.0
"""How long an execution that nobody else works on is given to end in order."""

DECISION_SECONDS = 30.0
"""How long an execution is given to take a decision; it waits for a worker meanwhile."""


def pause(
    execution: Execution,
    reason: Reason = "",
    by: By = "",
    *,
    now: Annotated[
        bool, typer.Option("--now", help="Interrupt running steps, too, that go on from their heartbeat.")
    ] = False,
) -> Exit:
    """Start no new steps until `resume`; running ones finish."""

    async def ask(client: TaskClient, id: str) -> None:
        await client.pause(id, reason=reason, by=person(by), mode="now" if now else "")
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
    comment: Comment = "",
    by: By = "",
    shown: Shown = "",
) -> Exit:
    """Approve what waits for it."""
    return _decide_gate(execution, gate, "approved", comment=comment, by=by, shown=shown)


def reject(
    execution: Execution,
    gate: Annotated[str, typer.Argument(metavar="GATE", help="The approval that waits.", show_default=False)],
    comment: Annotated[
        str, typer.Option("--comment", help="Why; the phase fails with it.", show_default=False)
    ] = "",
    by: By = "",
    shown: Shown = "",
) -> Exit:
    """Reject what waits for an approval."""
    return _decide_gate(execution, gate, "rejected", comment=comment, by=by, shown=shown)


def answer(
    execution: Execution,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="The question.", show_default=False)],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="The answer.", show_default=False)],
    by: By = "",
    shown: Shown = "",
) -> Exit:
    """Answer a question. Where it wants something else than text, the value is read as JSON.

    A value that begins with - and is no number comes last, behind --.
    """

    async def ask(client: TaskClient, id: str) -> None:
        wait = await _open(client, id, "question", question)
        fitting = _fitting(value, wait.answer_schema or {} if wait else {})
        await client.answer(id, question, fitting, by=person(by), shown=_bound(shown, wait))
        say(f"“{question}” is answered{_about(wait)}")

    return _decide(execution, ask)


def retry(
    execution: Execution,
    phase: Phase = "",
    *,
    step: Step = "",
    input: Inputs = None,
    comment: Comment = "",
    by: By = "",
    shown: Shown = "",
) -> Exit:
    """Run a held phase again, keeping what has completed.

    What reads an input that you change runs again, and so does a step that is named, with what reads it.
    """
    if not (phase or step):
        raise typer.BadParameter("name the phase that is held, or a step of it", param_hint="PHASE")
    inputs: dict[str, Json] = {**split_pairs(input or ())}

    async def ask(client: TaskClient, id: str) -> None:
        wait = await _held(client, id, phase, step)
        said = {"comment": comment, "by": person(by), "shown": _bound(shown, wait)}
        await client.retry(id, phase, step=step, inputs=inputs or None, **said)
        say(f"{_called(phase, step)} runs again")

    return _decide(execution, ask)


def skip(
    execution: Execution,
    phase: Phase = "",
    *,
    step: Step = "",
    comment: Comment = "",
    by: By = "",
    shown: Shown = "",
) -> Exit:
    """Go on without a held phase, or without a failed step of it."""
    if not (phase or step):
        raise typer.BadParameter("name the phase that is held, or its failed step", param_hint="PHASE")

    async def ask(client: TaskClient, id: str) -> None:
        wait = await _held(client, id, phase, step)
        said = {"comment": comment, "by": person(by), "shown": _bound(shown, wait)}
        await client.skip(id, phase, step=step, **said)
        say(f"step {step} is left out" if step else f"phase {phase} is left as it is")

    return _decide(execution, ask)


def raise_limit(
    execution: Execution,
    budget: Annotated[
        str,
        typer.Argument(metavar="BUDGET", help="agentCalls, tokens or cost.", show_default=False),
    ],
    limit: Annotated[
        float, typer.Argument(metavar="LIMIT", help="The new limit, all told.", show_default=False)
    ],
    by: By = "",
) -> Exit:
    """Raise a limit of the budget; what waits for it goes on."""

    async def ask(client: TaskClient, id: str) -> None:
        whole = int(limit) if limit.is_integer() else limit
        answer = await client.raise_limit(id, budget, whole, by=person(by))
        told = answer["limits"][budget]
        say(f"{budget}: {told['used']:g} of {told['limit']:g} are used")

    return _decide(execution, ask)


def _called(phase: str, step: str) -> str:
    return f"step {step}" if step else f"phase {phase}"


def _decide_gate(execution: str, gate: str, decision: str, *, comment: str, by: str, shown: str) -> Exit:
    async def ask(client: TaskClient, id: str) -> None:
        wait = await _open(client, id, "approval", gate)
        said = {"comment": comment, "by": person(by), "shown": _bound(shown, wait)}
        await client.approve(id, gate, decision=decision, **said)
        say(f"“{gate}” is {decision}{_about(wait)}")

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


async def _open(client: TaskClient, execution: str, kind: str, name: str) -> Wait | None:
    """Returns what waits under the name of a gate or of its step, if one thing does."""
    progress = await client.progress(execution)
    found = [wait for wait in progress.waiting if wait.kind == kind and name in (wait.name, wait.step)]
    return found[0] if len(found) == 1 else None


async def _held(client: TaskClient, execution: str, phase: str, step: str) -> Wait | None:
    """Returns what waits for the phase that is held, which a step of it names as well, if one thing does."""
    progress = await client.progress(execution)
    having = {one.slug for one in progress.phases for state in one.steps if state.id == step}
    slugs = {phase} if phase else having or {wait.phase for wait in progress.waiting if step in wait.failed}
    found = [wait for wait in progress.waiting if wait.kind == "retry" and wait.name in slugs]
    return found[0] if len(found) == 1 else None


def _bound(shown: str, wait: Wait | None) -> str:
    """Returns what a decision is bound to: what was said, or else what waits now."""
    return shown or (wait.shown if wait else "")


def _about(wait: Wait | None) -> str:
    """Returns what was asked, so that people see what they have decided."""
    return f": {one_line(wait.prompt)}" if wait and wait.prompt else ""


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
