"""Everything that docs/operations.md shows is run, on a real server with executions made for it.

Its blocks are marked: `sh taskmark`, `sh temporal` and `python client`. Each gets an execution of its own, in
the state that its section is about, as `$EXEC` and `EXEC`; then that state is looked at.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cli_project import EXAMPLE, FAILING, GATE, HELD, SIZED, SLOW, environment

from starter.embedded.binary import look
from starter.gateway import TaskClient
from taskmark.errors import Unreachable
from taskmark.settings import Settings

DOC = Path(__file__).parents[2] / "docs" / "operations.md"
TASKS = {"example": EXAMPLE, "gate": GATE, "slow": SLOW, "failing": FAILING, "held": HELD, "sized": SIZED}
BUDGET = """# Dear
```yaml
budget: {agentCalls: 1}
```

## Phase: Ask
### Steps
- agent: yes - Say yes
  forEach: [1, 2]
"""
TASKS["dear"] = BUDGET
KINDS = ("sh taskmark", "sh temporal", "python client")
SECONDS = 60.0
"""What a block may take."""

Found = tuple[str, str, str]


def blocks() -> list[Found]:
    """Returns section, kind and text of each block that is to be run."""
    found, section = [], ""
    text = DOC.read_text(encoding="utf-8")
    for match in re.finditer(
        r"^## ([^\n]+)$|^```((?:sh|python) \w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
    ):
        if match[1]:
            section = match[1]
        else:
            found.append((section, match[2], match[3]))
    return found


class Place:
    """A project with a server and a worker, in which blocks are run."""

    def __init__(self, root: Path, client: TaskClient) -> None:
        self.root, self.client = root, client

    async def started(self, task: str, status: str, inputs: dict[str, Any] | None = None) -> str:
        """Returns a new execution of a task once it is in a state."""
        name = await self.client.start(task, inputs or {}, id=f"{task}-{uuid4().hex[:8]}")
        if status:
            await self.until(name, status)
        return name

    async def until(self, execution: str, *wanted: str) -> None:
        async with asyncio.timeout(SECONDS):
            while True:
                with suppress(Unreachable):
                    if (await self.client.progress(execution)).status in wanted:
                        return
                await asyncio.sleep(0.1)

    async def shell(self, text: str, execution: str) -> str:
        """Runs a block as people paste it, and returns what it wrote. Fails if one of its lines does."""
        assert self.client.server is not None
        binary, _ = look(self.client.wiring.settings)
        assert binary is not None
        around = environment()
        folders = (self.root / "bin", Path(sys.executable).parent)
        (self.root / "bin").mkdir(exist_ok=True)
        if not (self.root / "bin" / "temporal").exists():
            line = f'#!/bin/sh\nTEMPORAL_ADDRESS={self.client.server.address} exec {binary.path} "$@"\n'
            (self.root / "bin" / "temporal").write_text(line)
            (self.root / "bin" / "temporal").chmod(0o755)
        around["PATH"] = os.pathsep.join([*map(str, folders), around["PATH"]])
        done = await asyncio.to_thread(
            subprocess.run,
            ["sh", "-e", "-c", text],
            cwd=self.root,
            env=around | {"EXEC": execution},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return str(done.stdout)

    async def python(self, text: str, execution: str) -> dict[str, Any]:
        """Runs a block in an event loop, and returns its names."""
        names: dict[str, Any] = {"client": self.client, "EXEC": execution}
        code = compile(text, str(DOC), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        async with asyncio.timeout(SECONDS):
            waiting = eval(code, names)
            if inspect.isawaitable(waiting):
                await waiting
        return names


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """One for all blocks."""
    root = tmp_path_factory.mktemp("operations")
    (root / "tasks").mkdir()
    for name, text in TASKS.items():
        (root / "tasks" / f"{name}.md").write_text(text)
    (root / "agents").mkdir()
    (root / "agents" / "yes.md").write_text("---\nname: yes\nmodel: command:echo yes\n---\nSay yes.\n")
    (root / "notes.txt").write_text("one\ntwo\n")
    patch = pytest.MonkeyPatch()
    patch.chdir(root)
    settings = Settings(state_dir=root / ".taskmark", root=root, tasks_dir=root / "tasks", grace_seconds=1)
    async with TaskClient.open(settings, worker=True) as client:
        yield Place(root, client)
        for one in await client.active():
            if "/" not in one.execution_id:
                await client.abort(one.execution_id)
    patch.undo()


INPUTS = {"file": "notes.txt"}
Prepare = Callable[[Place], Awaitable[str]]


async def nothing(place: Place) -> str:
    return "none"


async def running(place: Place) -> str:
    return await place.started("slow", "running")


async def ended(place: Place) -> str:
    """It is in the history store a moment later than it has ended."""
    name = await place.started("example", "completed", INPUTS)
    async with asyncio.timeout(SECONDS):
        while not any(one.execution_id == name and one.finished_at for one in await place.client.history()):
            await asyncio.sleep(0.1)
    return name


async def waiting(place: Place) -> str:
    return await place.started("gate", "waiting")


async def asked(place: Place) -> str:
    name = await waiting(place)
    await place.client.approve(name, "release")
    async with asyncio.timeout(SECONDS):
        while [one.name for one in (await place.client.progress(name)).waiting] != ["region"]:
            await asyncio.sleep(0.1)
    return name


async def held(place: Place) -> str:
    (place.root / "later.txt").unlink(missing_ok=True)
    name = await place.started("held", "waiting")
    (place.root / "later.txt").write_text("here")
    return name


async def dear(place: Place) -> str:
    return await place.started("dear", "waiting")


async def too_small(place: Place) -> str:
    return await place.started("sized", "waiting")


SECTIONS: dict[str, tuple[Prepare, str]] = {
    "Start": (nothing, ""),
    "Start and see it through": (nothing, ""),
    "Start once, with a key": (nothing, ""),
    "Look, and wait": (ended, "completed"),
    "List, and look back": (ended, "completed"),
    "Pause, and go on": (running, "running"),
    "Pause at once": (running, "running"),
    "End it now": (running, "cancelled"),
    "End it now, and say why": (running, "cancelled"),
    "Approve": (waiting, "region"),
    "Reject": (waiting, "failed"),
    "Answer a question": (asked, "completed"),
    "Run a held phase again": (held, "count"),
    "Run a step of a held phase again": (held, "count"),
    "Run a held phase again with other inputs": (too_small, "completed"),
    "Go on without a failed step": (held, "count"),
    "Leave a held phase as it is": (held, "completed_with_errors"),
    "Raise a limit of the budget": (dear, "completed"),
    "Go on from an execution that has ended": (ended, "completed"),
    "Let it start by itself": (nothing, ""),
    "Versions, and changes of the engine": (ended, "completed"),
    "Backups": (ended, "completed"),
    "Alerting": (ended, "completed"),
}
"""How an execution is made for a section, and what has to be true of it after each block: its status, or
what it then waits for."""


@pytest.mark.parametrize(("section", "kind", "text"), blocks(), ids=lambda text: text[:40])
async def test_what_the_page_shows_can_be_done(place: Place, section: str, kind: str, text: str) -> None:
    prepare, then = SECTIONS[section]
    execution = await prepare(place)
    if kind == "python client":
        await place.python(text, execution)
    else:
        await place.shell(text, execution)
    if then in ("region", "count"):
        async with asyncio.timeout(SECONDS):
            while [one.name for one in (await place.client.progress(execution)).waiting] != [then]:
                await asyncio.sleep(0.1)
    elif then:
        await place.until(execution, then)
    if section in (
        "Pause, and go on",
        "Pause at once",
        "Approve",
        "Run a held phase again",
        "Run a step of a held phase again",
        "Go on without a failed step",
    ):
        await place.client.abort(execution)


def test_each_operation_is_shown_three_ways() -> None:
    found = blocks()
    for section in SECTIONS:
        assert tuple(kind for name, kind, _ in found if name == section) == KINDS, section
    assert {name for name, _, _ in found} == set(SECTIONS)


async def test_the_copy_of_a_running_servers_database_goes_on_from_there(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup of the embedded server that the page shows can be gone back to."""
    execution = await waiting(place)
    text = next(text for section, kind, text in blocks() if (section, kind) == ("Backups", "python client"))
    await place.python(text, execution)
    copy = tmp_path / "state"
    copy.mkdir()
    (place.root / "temporal.db.bak").rename(copy / "temporal.db")
    with sqlite3.connect(copy / "temporal.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    settings = Settings(state_dir=copy, root=place.root, tasks_dir=place.root / "tasks", grace_seconds=1)
    async with TaskClient.open(settings, worker=True) as client:
        there = Place(place.root, client)
        await there.until(execution, "waiting")
        await client.approve(execution, "release")
        await client.answer(execution, "region", "eu")
        result = await client.wait(execution, timeout=SECONDS)
        assert json.loads(result.model_dump_json())["outputs"] == {"region": "eu"}
    assert (await place.client.progress(execution)).status == "waiting"
