"""A folder like a new user's: the example tasks and agents, a worker process, an embedded server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from starter.embedded.server import running
from starter.gateway import TaskClient
from taskmark.contracts import TaskResult
from taskmark.settings import Settings

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
"""`tasks` is found from the root, where the engine starts processes."""

PATIENCE = 60.0
"""Seconds until a test gives up waiting for something; nothing is measured by it."""


def eventually(look: Callable[[], Any]) -> None:
    """Waits until the answer is true."""
    end = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < end, f"it did not come within {PATIENCE} s"
        time.sleep(0.02)


@dataclass
class Example:
    """A folder with the examples, the client of its server and the worker that can be killed."""

    folder: Path
    settings: Settings
    client: TaskClient
    environment: dict[str, str]
    worker: subprocess.Popen[bytes] | None = None

    async def run(self, task: str, /, **inputs: Any) -> TaskResult:
        """Runs a task to its end, whatever that is."""
        return await self.client.wait(await self.client.start(task, inputs), timeout=PATIENCE)

    def start_worker(self) -> None:
        """Starts a worker as a user would."""
        self.worker = subprocess.Popen(
            [sys.executable, "-m", "starter.cli.entry", "worker"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill_worker(self) -> None:
        """Kills it as the kernel does."""
        assert self.worker is not None
        self.worker.kill()
        self.worker.wait(PATIENCE)


@asynccontextmanager
async def example(folder: Path, **settings: str) -> AsyncIterator[Example]:
    """Makes the folder, and leaves no process behind."""
    for part in ("tasks", "agents"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    given = {"state_dir": str(folder / ".taskmark"), "root": str(folder), **settings}
    own = {f"TASKMARK_{name.upper()}": value for name, value in given.items()}
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TASKMARK_", "TEMPORAL_"))
        },
        **own,
        "PYTHONPATH": str(ROOT),
    }
    configured = Settings(**given)
    async with TaskClient.open(configured, worker=False) as client:
        here = Example(folder, configured, client, environment)
        here.start_worker()
        try:
            yield here
        finally:
            here.kill_worker()
    eventually(lambda: running(configured) is None)


@contextmanager
def http(answer: Callable[[str], tuple[int, str, str]]) -> Iterator[str]:
    """Serves on a free port of the loopback what the function gives for a path (status, media type, body);
    yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, media_type, body = answer(self.path)
            self.send_response(status)
            self.send_header("content-type", media_type)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
