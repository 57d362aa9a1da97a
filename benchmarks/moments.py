"""A tool that says when it began and in which process, for what `small.py` times from outside."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    line = {"at": time.time(), "pid": os.getpid(), "execution": context.execution_id}
    with (context.root / FILE).open("ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")
    await asyncio.sleep(parameters.seconds)
    return None


class Notes:
    """What was noted, read as it comes: to read all of it each time would keep a core from those measured."""

    def __init__(self, root: Path) -> None:
        self._file = root / FILE
        self._place = 0
        self._rest = b""
        self._lines: list[dict[str, Any]] = []
        self._begun: defaultdict[str, list[float]] = defaultdict(list)

    def begun(self, execution: str) -> list[float]:
        """Returns when each step of the execution began so far, in order."""
        self._read_on()
        return self._begun[execution]

    def all(self) -> list[dict[str, Any]]:
        """Returns everything so far, in order."""
        self._read_on()
        return self._lines

    def _read_on(self) -> None:
        if not self._file.exists():
            return
        with self._file.open("rb") as file:
            file.seek(self._place)
            new = file.read()
        self._place += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        for line in map(json.loads, whole):
            self._lines.append(line)
            self._begun[line["execution"]].append(line["at"])


def task(lengths: Sequence[float]) -> str:
    """Returns a task of steps that take so many seconds each, one after the other."""
    lines = [f"- tool: moment\n  id: s{n}\n  with: {{seconds: {took}}}\n" for n, took in enumerate(lengths)]
    return "# Moments\n\n## Phase: Only\n\n### Steps\n" + "".join(lines)
