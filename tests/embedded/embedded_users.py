"""Processes that use the embedded server, and what can be seen of it from outside."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from taskmark.settings import Settings

USER = """
import sys
from starter.embedded.server import EmbeddedServer
from taskmark.settings import Settings
with EmbeddedServer(Settings(state_dir=sys.argv[1])) as server:
    print(server.address, server.is_last_user(), flush=True)
    sys.stdin.read()
"""


class User:
    """A process that uses the embedded server until it is told to leave, or killed."""

    def __init__(self, settings: Settings) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(settings.state_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def address(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()[0]

    def leave(self) -> None:
        self.process.communicate(timeout=20)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def eventually(condition: Callable[[], object], seconds: float = 30.0) -> bool:
    """Waits until the condition holds; returns whether it did in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def processes_on(folder: Path) -> list[psutil.Process]:
    """Every supervisor and server that works on a state directory."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        ours = "supervise.py" in line or "start-dev" in line
        if ours and str(folder) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found
