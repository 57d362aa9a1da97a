"""A tool that says when it began and in which process, for what `small.py` times from outside."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from taskmark.ports import StepContext
from taskmark.registry import tool
from taskmark.task.model import Json

FILE = "moments.jsonl"


class Length(BaseModel):
    """How long it takes."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = 0.0


@tool("moment")
async def moment(parameters: Length, context: StepContext) -> Json:
    """Notes its beginning and takes its time."""
    line = {"at": time.time(), "pid": os.getpid()}
    with (context.root / FILE).open("ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")
    await asyncio.sleep(parameters.seconds)
    return None


def noted(root: Path) -> list[dict[str, float]]:
    """Returns what was noted so far, in order."""
    file = root / FILE
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def task(steps: int, seconds: float) -> str:
    """Returns a task of such steps, one after the other."""
    lines = [f"- tool: moment\n  id: s{n}\n  with: {{seconds: {seconds}}}\n" for n in range(steps)]
    return "# Moments\n\n## Phase: Only\n\n### Steps\n" + "".join(lines)
