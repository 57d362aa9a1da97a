"""The command line and environment of the embedded server, with what was measured to make it fast."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from taskmark.contracts import SEARCH_ATTRIBUTES
from taskmark.settings import Settings

LOOPBACK = "127.0.0.1"
DATABASE = "temporal.db"

TUNING = {
    # 20 polls a second by default: a sequential activity would take 54 ms, a child workflow 440 ms.
    "history.transferProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxPollRPS": "2000",
    "history.visibilityProcessorMaxPollRPS": "2000",
    # Timers are rounded up to whole seconds by default: waits, retries, lost workers, progress reports.
    "history.timerProcessorMaxTimeShift": '"10ms"',
    # With four partitions and few pollers, single tasks stall for seconds.
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    "system.enableActivityEagerExecution": "true",
    # An activity that ends during a workflow task leaves two events that wait for its end. With more than
    # 100 of them by default the server fails that task: the worker replays a wide phase again and again.
    "history.maximumBufferedEventsBatch": "5000",
    # No network but loopback: the server would ask for newer versions of itself.
    "frontend.enableServerVersionCheck": "false",
}


@dataclass(frozen=True)
class Ports:
    """Where the server listens, always on loopback."""

    grpc: int
    ui: int
    http: int
    """Used only to ask whether the server serves requests."""

    @property
    def address(self) -> str:
        """What Temporal clients connect to."""
        return f"{LOOPBACK}:{self.grpc}"

    @property
    def ui_url(self) -> str:
        """The Web UI."""
        return f"http://{LOOPBACK}:{self.ui}"

    @property
    def health_url(self) -> str:
        """Answers 200 once the default namespace can be used."""
        return f"http://{LOOPBACK}:{self.http}/api/v1/namespaces/default"


def database(state_dir: Path) -> Path:
    """Returns the file that holds all executions."""
    return state_dir / DATABASE


def command(binary: Path, settings: Settings, ports: Ports) -> list[str]:
    """Returns the server's argument list."""
    tuning = [f"--dynamic-config-value={key}={value}" for key, value in TUNING.items()]
    attributes = [f"--search-attribute={name}=Keyword" for name in SEARCH_ATTRIBUTES]
    return [
        str(binary),
        "server",
        "start-dev",
        f"--ip={LOOPBACK}",
        f"--port={ports.grpc}",
        f"--ui-port={ports.ui}",
        f"--http-port={ports.http}",
        f"--db-filename={database(settings.state_dir)}",
        "--sqlite-pragma=journal_mode=wal",
        f"--sqlite-pragma=synchronous={settings.durability}",
        "--log-level=warn",
        "--color=never",
        *tuning,
        *attributes,
        *_codec(settings),
    ]


def _codec(settings: Settings) -> list[str]:
    """Returns where the Web UI asks for what is encrypted: `taskmark codec`, should it run."""
    if not settings.encrypts:
        return []
    return [f"--ui-codec-endpoint=http://{LOOPBACK}:{settings.codec_port}"]


def environment(state_dir: Path) -> dict[str, str]:
    """Returns the server's whole environment: nothing of the caller's configuration or proxies reaches it."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        # Files under HOME could change the flags of every `temporal` command.
        "HOME": str(state_dir),
        "GOGC": "400",
        "TEMPORAL_VERSION_CHECK_DISABLED": "1",
    }
