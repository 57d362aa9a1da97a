"""Tools whose effects can be counted: each has a key, and happens once per key however often it is tried."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import suppress

from pydantic import BaseModel

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.registry import tool
from taskmark.task.model import Json


def leave_trace(context: StepContext, what: str) -> None:
    """Appends one line about an attempt, by one write, so that it is whole whatever is killed when."""
    line = {
        "what": what,
        "at": time.time(),
        "pid": os.getpid(),
        "execution": context.execution_id,
        "step": context.step,
        "item": context.item,
        "attempt": context.attempt,
        "key": context.idempotency_key,
    }
    with (context.root / "attempts.jsonl").open("ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")


def take_effect(context: StepContext) -> None:
    """Makes the effect of this key, unless an attempt before made it: the file comes whole or not at all."""
    folder = context.root / "effects" / context.execution_id
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{os.getpid()}-{context.idempotency_key}"
    draft.write_text(context.step)
    with suppress(FileExistsError):
        os.link(draft, folder / context.idempotency_key)
    draft.unlink()


class Effect(BaseModel):
    """How long it takes, before and after its effect, and what it returns."""

    seconds: float = 0.0
    value: Json = None


@tool("effect")
async def effect(parameters: Effect, context: StepContext) -> Json:
    """Takes effect in the middle of its time."""
    leave_trace(context, "begin")
    await asyncio.sleep(parameters.seconds / 2)
    take_effect(context)
    await asyncio.sleep(parameters.seconds / 2)
    leave_trace(context, "end")
    return parameters.value


class Deadly(BaseModel):
    """How many of its attempts kill the worker."""

    times: int


@tool("deadly")
async def deadly(parameters: Deadly, context: StepContext) -> Json:
    """Kills the worker that runs it, so many times."""
    leave_trace(context, "begin")
    lines = (context.root / "attempts.jsonl").read_text().splitlines()
    if sum(json.loads(line)["key"] == context.idempotency_key for line in lines) <= parameters.times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


class Flaky(BaseModel):
    """How many of its attempts fail, and how."""

    failures: int
    category: Category = Category.TRANSIENT


@tool("flaky")
async def flaky(parameters: Flaky, context: StepContext) -> Json:
    """Fails so many times, then takes effect."""
    leave_trace(context, "begin")
    lines = (context.root / "attempts.jsonl").read_text().splitlines()
    if sum(json.loads(line)["key"] == context.idempotency_key for line in lines) <= parameters.failures:
        raise StepFailed("it fails on purpose", parameters.category, hint="do not fail")
    take_effect(context)
    return {"attempt": context.attempt}
