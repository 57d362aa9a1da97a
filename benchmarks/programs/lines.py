"""How a program of one engine speaks with `peers.py`: a line of JSON asks for work, a line of JSON answers.

Standard library only, because the programs run in two environments.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TextIO


@dataclass(frozen=True)
class Shape:
    """What a round does: so many times one after the other, so many equal tasks at once."""

    phases: int
    steps: int
    parallel: bool
    at_once: int = 1
    times: int = 1

    @property
    def total(self) -> int:
        """Steps of the round."""
        return self.phases * self.steps * self.at_once * self.times


Task = Callable[[Shape], Awaitable[int]]
"""Does one task from its start to its result, and returns the number of its steps that have one."""


async def serve(task: Task, version: str) -> None:
    """Says that it is ready, then does what each line asks for until standard input ends."""
    answers = _own_output()
    _tell(answers, {"ready": True, "version": version})
    while line := await asyncio.to_thread(sys.stdin.readline):
        _tell(answers, await _answer(task, Shape(**json.loads(line))))


async def _answer(task: Task, shape: Shape) -> dict[str, Any]:
    begin = time.perf_counter()
    try:
        steps = await _do(task, shape)
    except Exception as error:  # whatever it is, the other side is to learn of it
        return {"error": f"{type(error).__name__}: {error}"}
    return {"seconds": time.perf_counter() - begin, "steps": steps}


async def _do(task: Task, shape: Shape) -> int:
    steps = 0
    for _ in range(shape.times):
        steps += sum(await asyncio.gather(*(task(shape) for _ in range(shape.at_once))))
    return steps


def _own_output() -> TextIO:
    """Returns standard output, and sends what libraries print there to standard error from now on."""
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return own


def _tell(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()
