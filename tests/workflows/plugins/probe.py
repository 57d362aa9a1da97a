"""Tools whose every call leaves a trace, to see what really happened.

Each call appends one JSON line to `effects.jsonl` in the root, by one write, so that the file is whole
whatever is killed when.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from taskmark.contracts import Usage
from taskmark.errors import Category, StepFailed
from taskmark.ports import Answer, Question, StepContext, Tool
from taskmark.registry import agent_provider, aggregate, step_kind, tool
from taskmark.task.model import Agent, Json
from taskmark.tools.processes import Command, run


def leave_trace(context: StepContext, what: str, name: str, **more: Json) -> None:
    """Appends one line about a call."""
    line = {
        "what": what,
        "name": name,
        "at": time.time(),
        "pid": os.getpid(),
        "execution": context.execution_id,
        "step": context.step,
        "item": context.item,
        "attempt": context.attempt,
        "key": context.idempotency_key,
        "reduced": context.reduced,
        "refresh": context.refresh_credentials,
        **more,
    }
    with (context.root / "effects.jsonl").open("ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")


class Named(BaseModel):
    """A name to tell calls apart, and anything to return."""

    model_config = ConfigDict(extra="forbid")

    name: str = ""
    seconds: float = 0
    value: Json = None


@tool("effect")
async def effect(parameters: Named, context: StepContext) -> Json:
    """Leaves a trace at its start and its end and returns the value."""
    leave_trace(context, "start", parameters.name)
    await asyncio.sleep(parameters.seconds)
    leave_trace(context, "end", parameters.name)
    return {"name": parameters.name, "value": parameters.value, "attempt": context.attempt}


class Failing(Named):
    """How often it fails, and how."""

    failures: int = 1_000_000
    category: Category = Category.TRANSIENT
    message: str = "it fails on purpose"
    plain: bool = False
    after: float | None = None
    """How long it asks to be left alone."""


@tool("flaky")
async def flaky(parameters: Failing, context: StepContext) -> Json:
    """Fails so many times per key, then succeeds."""
    leave_trace(context, "start", parameters.name)
    await asyncio.sleep(parameters.seconds)
    lines = (context.root / "effects.jsonl").read_text().splitlines()
    calls = sum(json.loads(line)["key"] == context.idempotency_key for line in lines)
    if calls <= parameters.failures:
        if parameters.plain:
            raise ValueError(parameters.message)
        raise StepFailed(
            parameters.message, parameters.category, hint="do not fail", retry_after=parameters.after
        )
    leave_trace(context, "end", parameters.name)
    return {"calls": calls}


@tool("hold")
async def hold(parameters: Named, context: StepContext) -> Json:
    """Runs until the file `release-<name>` appears in the root."""
    leave_trace(context, "start", parameters.name)
    try:
        while not (context.root / f"release-{parameters.name}").exists():
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        leave_trace(context, "cancelled", parameters.name)
        raise
    leave_trace(context, "end", parameters.name)
    return {"name": parameters.name, "value": parameters.value}


@tool("breaking")
async def breaking(parameters: Named, context: StepContext) -> Json:
    """Runs until it is cancelled, and fails then, as a program does that is ended amid its work."""
    leave_trace(context, "start", parameters.name)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise ValueError("it fails while it is cancelled") from None


class Sized(BaseModel):
    """So many bytes."""

    bytes: int


@tool("big")
async def big(parameters: Sized, context: StepContext) -> Json:
    """Returns a text of so many bytes."""
    return {"text": "x" * parameters.bytes, "length": parameters.bytes}


class Lines(Sized):
    """So many texts of so many bytes."""

    count: int


@tool("lines")
async def lines(parameters: Lines, context: StepContext) -> Json:
    """Returns a list of texts."""
    return ["y" * parameters.bytes] * parameters.count


class Measured(BaseModel):
    """Something with a text in it."""

    value: dict[str, Json]


@tool("measure")
async def measure(parameters: Measured, context: StepContext) -> Json:
    """Tells how long the text is that it got."""
    return {"length": len(parameters.value["text"])}


@tool("mixed")
async def mixed(parameters: Named, context: StepContext) -> Json:
    """Fails if it is called `fail`, holds if its name begins with `held` and then fails if its value says so,
    else just leaves its traces."""
    held = await hold(parameters, context) if parameters.name.startswith("held") else None
    if held is not None and parameters.value != "fail":
        return held
    if "fail" in (parameters.name, parameters.value):
        leave_trace(context, "start", parameters.name)
        raise StepFailed("it fails on purpose", Category.LOGIC)
    return await effect(parameters, context)


@aggregate("longest")
def longest(values: Sequence[Json], arguments: Mapping[str, Json]) -> Json:
    """Returns the longest text."""
    return max((str(value) for value in values), key=len)


@step_kind("shout")
async def shout(value: str, description: str, arguments: dict[str, Json], context: StepContext) -> Json:
    """Returns the value in capitals."""
    leave_trace(context, "shout", value)
    return value.upper()


@agent_provider("probe")
async def ask(agent: Agent, question: Question, context: StepContext) -> Answer:
    """Answers by the model: `probe:yes` says yes, `probe:fail` fails, `probe:echo` tells what it got, and
    `probe:asks` first asks what its `with: asks:` says."""
    said = (agent.model or "").partition(":")[2]
    leave_trace(context, "asked", agent.id, instruction=question.instruction)
    if said == "fail":
        raise StepFailed(f"{agent.id} has nothing to say", Category.LOGIC)
    if said.startswith("hold-"):
        while not (context.root / f"release-{said.removeprefix('hold-')}").exists():
            await asyncio.sleep(0.02)
    if said.startswith("flaky-"):
        lines = traces(context.root)
        calls = sum(line["key"] == context.idempotency_key and line["what"] == "asked" for line in lines)
        if calls <= int(said.removeprefix("flaky-")):
            raise StepFailed("not yet", Category.TRANSIENT)
    if said.startswith("use-"):
        tokens, cost = said.removeprefix("use-").split("-")
        usage = Usage(tokens=int(tokens), cost=float(cost))
        return Answer({"vote": "yes", "agent": agent.id}, usage=usage)
    if said == "asks":
        return _asked(agent, question, context)
    if said == "echo":
        told = {"instruction": question.instruction, "context": dict(question.context)}
        return Answer({**told, "prompt": agent.prompt})
    return Answer({"vote": said, "agent": agent.id})


def _asked(agent: Agent, question: Question, context: StepContext) -> Answer:
    answers = question.context.get("answers", [])
    asks = question.context["with"]["asks"]
    usage = Usage(tokens=10, cost=0.5)
    if len(answers) == question.context["with"].get("fails") and context.attempt == 1:
        raise StepFailed("not now", Category.TRANSIENT)
    if asks == "for ever" or len(answers) < len(asks):
        more = {"question": f"{agent.id} asks {len(answers)}"} if asks == "for ever" else asks[len(answers)]
        return Answer({"blocking": True, **more}, usage=usage)
    return Answer({"by": agent.id, "answers": answers}, usage=usage)


@tool("broken")
class Broken:
    """Is no tool at all."""


def traces(root: Path) -> list[dict[str, Json]]:
    """Returns every trace in the order in which they were left."""
    file = root / "effects.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@tool("stubborn")
async def stubborn(parameters: Named, context: StepContext) -> Json:
    """Runs until it is cancelled, and then cleans up until the file `release-<name>` appears."""
    leave_trace(context, "start", parameters.name)
    try:
        await asyncio.sleep(3600)
    finally:
        leave_trace(context, "cleaning", parameters.name)
        while not (context.root / f"release-{parameters.name}").exists():
            await asyncio.sleep(0.02)
        leave_trace(context, "cleaned", parameters.name)


@tool("counting", resumable=True)
async def counting(parameters: Named, context: StepContext) -> Json:
    """Counts to two and fails, then goes on from where it was."""
    begin = int(context.resume or 0)
    context.heartbeat(begin + 2)
    if begin < 4:
        raise StepFailed(f"it came to {begin + 2}", Category.TRANSIENT)
    return begin


@tool("counting-thread", resumable=True)
def counting_thread(parameters: Named, context: StepContext) -> Json:
    """Does the same in a thread."""
    begin = int(context.resume or 0)
    context.heartbeat(begin + 2)
    if begin < 4:
        raise StepFailed(f"it came to {begin + 2}", Category.TRANSIENT)
    return begin


@tool("exiting")
async def exiting(parameters: Named, context: StepContext) -> Json:
    """Exits Python."""
    raise SystemExit(3)


class Pacing(Named):
    """How many items, and what a pause meets."""

    items: int = 3
    keeps: bool = True
    breaks: bool = False
    ends: bool = False
    clings: float = 0
    command: tuple[str, ...] = ()


@tool("pacing", resumable=True)
async def pacing(parameters: Pacing, context: StepContext) -> Json:
    """Does items one after the other, each once its file `release-<name>-<number>` is there, and keeps how
    many are done. When it is cancelled it does as told: it breaks, it ends well, or it clings on first."""
    begin = int(context.resume or 0)
    leave_trace(context, "start", parameters.name, begin=begin, timeout=context.timeout)
    try:
        for number in range(begin, parameters.items):
            await _item(number, parameters, context)
    except asyncio.CancelledError:
        leave_trace(context, "cancelled", parameters.name)
        await asyncio.sleep(parameters.clings)
        if parameters.breaks:
            raise ValueError("it breaks while it is cancelled") from None
        if not parameters.ends:
            raise
    leave_trace(context, "end", parameters.name)
    return {"from": begin, "attempt": context.attempt}


async def _item(number: int, parameters: Pacing, context: StepContext) -> None:
    if parameters.command:
        await run(Command(parameters.command), context)
    while not (context.root / f"release-{parameters.name}-{number}").exists():
        await asyncio.sleep(0.02)
    leave_trace(context, "item", f"{parameters.name}-{number}")
    if parameters.keeps:
        context.heartbeat(number + 1)


class Target(BaseModel):
    """What is called: it is down while there is a file `down-` with its name."""

    name: str
    value: Json = None


@tool
class Remote(Tool[Target]):
    """Calls something that may be down."""

    name = "remote"
    parameters = Target

    def target(self, parameters: Target) -> str | None:
        """Each name is a service."""
        return parameters.name

    async def execute(self, parameters: Target, context: StepContext) -> Json:
        """Returns the value, unless the service is down."""
        leave_trace(context, "call", parameters.name)
        if (context.root / f"down-{parameters.name}").exists():
            raise StepFailed(f"{parameters.name} is down", Category.TRANSIENT)
        return parameters.value


@tool("rare")
async def rare(parameters: Failing, context: StepContext) -> Json:
    """Fails as `flaky` does; the settings say how often it is tried."""
    return await flaky(parameters, context)


@tool("slow")
async def slow(parameters: Named, context: StepContext) -> Json:
    """Takes its time; the settings say how much it has."""
    return await effect(parameters, context)


@tool("one-by-one")
async def one_by_one(parameters: Named, context: StepContext) -> Json:
    """The settings say that no two calls of it run at once."""
    return await effect(parameters, context)
