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

from taskmark.errors import Category, StepFailed
from taskmark.ports import Answer, Question, StepContext
from taskmark.registry import agent_provider, aggregate, step_kind, tool
from taskmark.task.model import Agent, Json


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
        raise StepFailed(parameters.message, parameters.category, hint="do not fail")
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
    """Fails if it is called `fail`, holds if its name begins with `held`, else just leaves its traces."""
    if parameters.name.startswith("held"):
        return await hold(parameters, context)
    if parameters.name == "fail":
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
    """Answers by the model: `probe:yes` says yes, `probe:fail` fails, `probe:echo` tells what it got."""
    said = (agent.model or "").partition(":")[2]
    leave_trace(context, "asked", agent.id, instruction=question.instruction)
    if said == "fail":
        raise StepFailed(f"{agent.id} has nothing to say", Category.LOGIC)
    if said.startswith("hold-"):
        while not (context.root / f"release-{said.removeprefix('hold-')}").exists():
            await asyncio.sleep(0.02)
    if said == "echo":
        told = {"instruction": question.instruction, "context": dict(question.context)}
        return Answer({**told, "prompt": agent.prompt})
    return Answer({"vote": said, "agent": agent.id})


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
