"""A folder of its own in which real processes run: workers, commands, the embedded server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.service import RPCError

from starter.embedded.server import running
from starter.gateway import TaskClient
from taskmark.settings import Settings

PLUGINS = Path(__file__).parent / "plugins"
PATIENCE = 45.0
"""Seconds until a test gives up waiting for something; nothing is measured by it."""

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], seconds: float = PATIENCE) -> Found:
    """Returns the first true answer; fails after so many seconds without one."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"it did not come within {seconds} s"
        time.sleep(0.02)
    return found


def bound(seconds: float) -> float:
    """Returns how long something may take: what is promised; three times as much while others keep the
    machine busy, where the time of the clock says little about us."""
    busy = os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1)
    return seconds * 3 if busy else seconds


class Place:
    """Knows every process that runs in its folder, and leaves none."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.root = folder / "root"
        (self.root / "tasks").mkdir(parents=True)
        (self.root / "agents").mkdir()
        (self.root / "attempts.jsonl").touch()
        shutil.copy(PLUGINS / "acceptance_effects.py", self.root)
        self._given = {"state_dir": folder / "state", "root": self.root, "plugins": "acceptance_effects"}
        self._given |= {"heartbeat_seconds": 3} | settings  # what is lost is missed sooner than by default
        self.settings = Settings(**self._given)
        self._started: list[subprocess.Popen[bytes]] = []

    # --- processes --------------------------------------------------------------------------------

    def command(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        """Starts `taskmark` with these words; what it says goes to files."""
        number = len(self._started)
        own = {f"TASKMARK_{name.upper()}": str(value) for name, value in self._given.items()}
        with (self.log(number, "out")).open("wb") as out, (self.log(number, "err")).open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "starter.cli.entry", *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.root,
                env={**os.environ, **own, **environment},
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def log(self, number: int, stream: str) -> Path:
        """Returns the file of what the n-th command said."""
        return self.folder / f"command-{number}.{stream}"

    def said(self, process: subprocess.Popen[bytes]) -> str:
        """Returns all that a command said."""
        number = self._started.index(process)
        return "".join(self.log(number, stream).read_text() for stream in ("out", "err"))

    def worker(self, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a worker."""
        return self.command("worker", **environment)

    def server(self) -> psutil.Process:
        """Returns the embedded server's process."""
        state = eventually(lambda: running(self.settings))
        assert state is not None
        return psutil.Process(state.pid)

    def processes(self) -> list[psutil.Process]:
        """Returns every process that works in the folder: it and all of its own are started there."""
        found = []
        for process in psutil.process_iter():
            try:
                is_here = process.pid != os.getpid() and Path(process.cwd()).is_relative_to(self.folder)
                if is_here and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def close(self) -> None:
        """Ends what was started and fails if anything is left of it after that."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE)
        try:
            eventually(lambda: not self.processes(), 15)
        finally:
            for left in self.processes():
                left.kill()

    # --- what happened ----------------------------------------------------------------------------

    def traces(self, execution: str | None = None) -> list[dict[str, Any]]:
        """Returns what the attempts of an execution, or of all, have left, in order."""
        lines = (self.root / "attempts.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        return [trace for trace in found if execution in (None, trace["execution"])]

    def in_flight(self, execution: str) -> bool:
        """Whether a step is in the middle of its work."""
        whats = [trace["what"] for trace in self.traces(execution)]
        return whats.count("begin") > whats.count("end")

    def begun(self, execution: str, step: str) -> list[dict[str, Any]]:
        """Returns the attempts of a step."""
        return [t for t in self.traces(execution) if (t["step"], t["what"]) == (step, "begin")]

    def effects(self, execution: str) -> dict[str, str]:
        """Returns the steps that took effect, by key."""
        folder = self.root / "effects" / execution
        files = sorted(folder.iterdir()) if folder.exists() else []
        return {file.name: file.read_text() for file in files if not file.name.startswith(".")}

    def task(self, name: str, text: str) -> str:
        """Writes a task file and returns its id."""
        (self.root / "tasks" / f"{name}.md").write_text(text)
        return name


def kill(process: subprocess.Popen[bytes] | psutil.Process) -> float:
    """Kills a process as the kernel does, waits until it is gone, and returns the time of the kill."""
    at = time.time()
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    return at


async def polls(client: TaskClient, worker: subprocess.Popen[bytes]) -> None:
    """Returns once a worker asks for steps. A server that is away for the moment is waited for, too."""
    end = time.monotonic() + PATIENCE
    while not any(f" {worker.pid}@" in identity for identity in await _pollers(client)):
        assert time.monotonic() < end, "the worker asks for nothing"
        await asyncio.sleep(0.05)


async def _pollers(client: TaskClient) -> list[str]:
    described = DescribeTaskQueueRequest(
        namespace=client.client.namespace,
        task_queue=TaskQueue(name=client.wiring.settings.task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    )
    try:
        answer = await client.client.workflow_service.describe_task_queue(described)
    except RPCError:
        return []
    return [poller.identity for poller in answer.pollers]
