"""Tools whose effects can be counted: each has a key, and happens once per key however often it is tried."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from contextlib import suppress
from typing import Any

from pydantic import BaseModel
from temporalio import activity

from activities import steps
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


class Counting(BaseModel):
    """How many items, and how long each takes."""

    items: int
    seconds: float


@tool("counting", resumable=True)
async def counting(parameters: Counting, context: StepContext) -> Json:
    """Does items one after the other, keeps each, and takes effect at the end."""
    leave_trace(context, "begin")
    for number in range(int(context.resume or 0), parameters.items):
        await asyncio.sleep(parameters.seconds)
        leave_trace(context, f"item {number}")
        context.heartbeat(number + 1)
    take_effect(context)
    leave_trace(context, "end")
    return parameters.items


class Nothing(BaseModel):
    """It takes nothing."""


@tool("fragile")
async def fragile(parameters: Nothing, context: StepContext) -> Json:
    """Breaks until somebody has mended it for this execution, then takes effect."""
    leave_trace(context, "begin")
    if not (context.root / f"mended-{context.execution_id}").exists():
        raise StepFailed("it is broken", Category.LOGIC, hint="mend it")
    take_effect(context)
    leave_trace(context, "end")
    return "mended"


def advise(_instruction: str, _context: Json) -> str:
    """Answers what adviser agents answer."""
    return "fine"


@tool("told")
async def told(_parameters: Effect, context: StepContext) -> Json:
    """Returns which delivery of its call this is. The worker that is the first to be asked dies once the
    store is told of the end, and before the server is."""
    leave_trace(context, "begin")
    if (context.root / "attempts.jsonl").read_text().count(context.idempotency_key) == 1:
        _dying.set()
    return activity.info().attempt


_dying = threading.Event()
_supervised = steps.supervised


async def _supervised_until_death(*arguments: Any) -> Any:
    done = await _supervised(*arguments)
    if _dying.is_set():
        os.kill(os.getpid(), signal.SIGKILL)
    return done


steps.supervised = _supervised_until_death
