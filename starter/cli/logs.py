"""Where logs go: to stderr for processes that only work, to a file where a person watches progress."""

from __future__ import annotations

import logging
import sys
from functools import cache, partial
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taskmark.privacy.logs import ScrubbingFormatter

if TYPE_CHECKING:
    from taskmark.privacy.scrubbing import Scrubber
    from taskmark.settings import Settings

FILE_NAME = "taskmark.log"
FILE_BYTES = 5 * 1024 * 1024
_FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
QUIET: Final = (
    *("asyncio", "markdown_it", "sqlalchemy", "alembic"),
    *("httpx2", "httpcore2", "openai", "anthropic"),
)
"""What these say at `info` is for their own developers; of requests they tell the whole address."""


class _StateFile(RotatingFileHandler):
    """A log in the state directory, which is made when there is something to log."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / FILE_NAME, maxBytes=FILE_BYTES, backupCount=1, encoding="utf-8", delay=True)
        self._folder = folder

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record; without a state directory there is nowhere to write."""
        if self._folder.is_dir():
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class names it
        """Keeps quiet: a full disk must not spoil what is on the screen."""


def to_file(settings: Settings) -> Path:
    """Sends every log to a file in the state directory; returns its path."""
    _replace(_StateFile(settings.state_dir), settings.log_level.upper(), settings)
    return settings.state_dir / FILE_NAME


def to_stderr(settings: Settings, *, debug: bool) -> None:
    """Sends warnings, or everything, to stderr."""
    _replace(logging.StreamHandler(sys.stderr), "DEBUG" if debug else "WARNING", settings)


def _replace(handler: logging.Handler, level: str, settings: Settings) -> None:
    handler.setFormatter(ScrubbingFormatter(_FORMAT, partial(_built_in, settings)))
    root = logging.getLogger()
    for previous in [known for known in root.handlers if getattr(known, "of_taskmark", False)]:
        root.removeHandler(previous)
        previous.close()
    handler.of_taskmark = True  # type: ignore[attr-defined] # ours to take away again, others' are not
    root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.getLevelName(level), logging.WARNING))


def _built_in(settings: Settings) -> Scrubber:
    """Returns a scrubber without plugins' detectors: they join once the plugins are loaded."""
    from taskmark.privacy.detectors import BUILT_IN
    from taskmark.privacy.scrubbing import chosen

    every = tuple(settings.scrub) in (("all",), ("none",))
    names = settings.scrub if every else [name for name in settings.scrub if name in BUILT_IN]
    return chosen(names, BUILT_IN)


@cache
def forward_core() -> None:
    """Sends what Temporal's native core logs through Python's logging instead of to the terminal.

    Has to be called before the first client connects.
    """
    from temporalio.runtime import (
        LogForwardingConfig,
        LoggingConfig,
        Runtime,
        TelemetryConfig,
        TelemetryFilter,
    )

    core = LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
        forwarding=LogForwardingConfig(logger=logging.getLogger("temporalio.core")),
    )
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=core)), error_if_already_set=False)
