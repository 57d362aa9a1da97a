"""Records that can't be written, set aside with the reason, so that they hold up no others."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

FILE = "quarantine.jsonl"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bad:
    """The text of a record, or what stands for it, and what is wrong."""

    text: str
    reason: str


class Quarantine:
    """One file of JSON lines per spool folder, shared by the processes that use it."""

    def __init__(self, folder: Path, limit: int = 16 * 2**20) -> None:
        """`limit` is in bytes: beyond it records are only counted and logged."""
        self.path = folder / FILE
        self.count = 0
        """How many this process set aside."""
        self._limit = limit

    def set_aside(self, bad: Sequence[Bad]) -> None:
        """Keeps the records and logs that it did. Never raises."""
        if not bad:
            return
        self.count += len(bad)
        try:
            kept = self._append(bad)
        except OSError as error:
            _logger.error("%d records could not be kept in %s: %s", len(bad), self.path, error)
            return
        where = f"set aside in {self.path}" if kept else f"left out, because {self.path} is full"
        _logger.warning(
            "%d records could not be written to the store and were %s; the first: %s",
            len(bad),
            where,
            bad[0].reason,
        )

    def _append(self, bad: Sequence[Bad]) -> bool:
        now = datetime.now(UTC).isoformat()
        lines = [json.dumps({"at": now, "reason": one.reason, "record": one.text}) + "\n" for one in bad]
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o600)
        try:
            if os.fstat(descriptor).st_size > self._limit:
                return False
            os.write(descriptor, "".join(lines).encode())
        finally:
            os.close(descriptor)
        return True
