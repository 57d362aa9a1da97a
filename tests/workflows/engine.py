"""What the tests of the engine use: tasks as text, run on a real server by a real worker."""

from __future__ import annotations

import asyncio
import os
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import probe

from starter.gateway import TaskClient
from starter.learning import Learning
from starter.wiring import Wiring
from taskmark.contracts import Progress, TaskResult
from taskmark.errors import Unreachable

PATIENCE = 60.0
"""Seconds until a test that waits for something gives up; nothing is measured by it."""

AGENTS = {"ann": "probe:yes", "bob": "probe:yes", "cid": "probe:no", "dud": "probe:fail", "eve": "probe:echo"}
AGENTS |= {"fay": "probe:asks", "gus": "probe:asks"}
AGENTS |= {"cla": "cli:claude:sonnet"}
AGENTS |= {
    "tok": "probe:use-10-0.5",
    "big": "probe:use-40-2.0",
    "fla": "probe:flaky-1",
}

CLAUDE = Path(__file__).parents[1] / "programs" / "claude_double.py"
MODEL_KEY = "sk-of-the-tests-of-the-engine"
"""Of the provider of language models: nobody may ever read it, in history, the store, logs or errors."""

UNCACHED = bool(os.environ.get("TASKMARK_TEST_UNCACHED"))
"""Whether the worker of the tests keeps no workflow in memory.

Then a workflow task that comes while the SDK answers a query of the same workflow is dropped with it
("leftover buffered tasks when evicting run"), and the server hands it out again when its time is up. That
loses nothing but four seconds, in which a short limit passes.
"""


def make_root(root: Path) -> Path:
    """Fills a folder with the agents that the tests ask."""
    (root / "agents").mkdir(parents=True)
    (root / "tasks").mkdir()
    for name, model in AGENTS.items():
        (root / "agents" / f"{name}.md").write_text(f"---\nname: {name}\nmodel: {model}\n---\nBe {name}.\n")
    return root


class Curious(Wiring):
    """Wires a worker that soon knows what has just been."""

    @cached_property
    def learning(self) -> Learning:
        """Looks again after a moment, not after a minute."""
        return Learning(self._past, fresh_seconds=0.2)


class Forgetful(Curious):
    """Wires a worker that replays a workflow's whole history for each of its tasks."""

    def _slots(self) -> dict[str, Any]:
        return {**super()._slots(), "max_cached_workflows": 0}


class Engine:
    """Runs tasks and tells what happened."""

    def __init__(self, client: TaskClient, root: Path) -> None:
        self.client = client
        self.root = root

    async def start(self, text: str, inputs: dict[str, Any] | None = None, **options: Any) -> str:
        """Starts a task given as (indented) markdown; a `# Task` heading is added if there is none."""
        source = textwrap.dedent(text).strip()
        if not source.startswith("# "):
            source = f"# Test\n\n{source}"
        options.setdefault("id", f"exec-{uuid4().hex[:12]}-test")
        return await self.client.start(source=source, inputs=inputs, **options)

    async def run(self, text: str, inputs: dict[str, Any] | None = None, **options: Any) -> TaskResult:
        """Starts a task and returns its result, whatever it is."""
        execution = await self.start(text, inputs, **options)
        return await self.client.wait(execution, timeout=PATIENCE)

    async def wait(self, execution: str) -> TaskResult:
        """Returns the result of a task that was started."""
        return await self.client.wait(execution, timeout=PATIENCE)

    async def until(self, execution: str, test: Callable[[Progress], Any]) -> Progress:
        """Returns the first progress for which the test holds; fails after a while without one."""
        end = time.monotonic() + PATIENCE
        while True:
            progress = await self.client.progress(execution)
            if test(progress):
                return progress
            assert time.monotonic() < end, f"it never came: {progress.model_dump_json(indent=1)}"
            await asyncio.sleep(0.03)

    async def until_status(self, execution: str, status: str) -> Progress:
        """Returns the first progress with the status."""
        return await self.until(execution, lambda progress: progress.status == status)

    async def until_trace(self, execution: str, what: str, name: str) -> None:
        """Returns once a call has left the trace."""
        end = time.monotonic() + PATIENCE
        while not any(t["what"] == what and t["name"] == name for t in self.traces(execution)):
            assert time.monotonic() < end, f"no trace {what} {name}: {self.traces(execution)}"
            await asyncio.sleep(0.02)

    def release(self, *names: str) -> None:
        """Lets `hold` steps of these names end."""
        for name in names:
            (self.root / f"release-{name}").touch()

    def traces(self, execution: str) -> list[dict[str, Any]]:
        """Returns the traces of one execution, in order."""
        return [t for t in probe.traces(self.root) if t["execution"] == execution]

    def names(self, execution: str, what: str = "start") -> list[str]:
        """Returns the names of the calls that left such a trace, in order."""
        return [t["name"] for t in self.traces(execution) if t["what"] == what]

    async def events(self, execution: str, *, phase: str | None = None) -> list[Any]:
        """Returns Temporal's history events of the execution or of one of its phases."""
        workflow_id = execution if phase is None else f"{execution}/{phase}"
        handle = self.client.client.get_workflow_handle(workflow_id)
        return [event async for event in handle.fetch_history_events()]

    def file(self, path: str, text: str) -> Path:
        """Writes a file under the root."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text).lstrip())
        return target


class Patient(Engine):
    """Asks seldom: each question costs a worker that keeps nothing in memory a replay."""

    async def until(self, execution: str, test: Callable[[Progress], Any]) -> Progress:
        """Returns the first progress for which the test holds; nobody answers while the worker is busy."""
        async with asyncio.timeout(2 * PATIENCE):
            while True:
                with suppress(Unreachable):
                    progress = await self.client.progress(execution)
                    if test(progress):
                        return progress
                await asyncio.sleep(0.2)
