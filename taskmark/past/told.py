"""What a document of another program tells, by meaning: its names, its numbers, its moments.

Names are understood in every spelling: `taskId`, `task-id` and `Task ID` are `task_id`. The first name of a
row of `NAMES` that is there and not null counts; what has no row is left out. docs/history.md shows the rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from taskmark.past.problems import Misfit
from taskmark.task import parse_duration
from taskmark.task.model import Json

NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "execution": ("execution_id", "run_id"),
        "task": ("task_id", "task", "id"),
        "name": ("task_name", "name", "title"),
        "agent": ("agent", "agent_id", "agent_name", "assigned_agent", "assignee"),
        "status": ("status", "state", "outcome"),
        "success": ("success", "succeeded", "successful", "passed", "ok"),
        "exit code": ("exit_code", "return_code", "returncode"),
        "output": ("outputs", "output", "results", "result", "response"),
        "error": ("error", "errors", "error_message", "exception", "failure"),
        "stack": ("stack", "stack_trace", "stacktrace", "traceback"),
        "inputs": ("inputs", "input", "parameters", "params", "arguments"),
        "started": ("started_at", "start_time", "started", "start", "created_at"),
        "completed": (
            *("completed_at", "finished_at", "ended_at", "end_time", "completed", "finished", "ended", "end"),
            *("timestamp", "time", "date"),
        ),
        "milliseconds": ("duration_ms", "elapsed_ms", "took_ms", "execution_time_ms"),
        "duration": (
            *("duration", "duration_seconds", "duration_s", "elapsed", "elapsed_seconds", "execution_time"),
            "runtime",
        ),
        "tokens": ("tokens", "tokens_used", "total_tokens", "token_count", "usage", "token_usage"),
        "cost": ("cost", "cost_usd", "total_cost", "total_cost_usd"),
        "files": ("files", "files_written", "files_modified", "files_changed", "files_created"),
        "questions": ("questions_asked", "questions"),
        "attempts": ("attempts", "attempt"),
        "project": ("project", "project_id"),
        "build": ("build_id", "build"),
        "trace": ("trace_id",),
        "parent": ("parent_id",),
        "retry of": ("retry_of",),
        "version": ("task_version", "version"),
        "worker": ("worker", "worker_id", "host"),
    }
)
"""What is understood, and by which names; of two that are there the earlier counts."""

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BETWEEN: Final = re.compile(r"[\s\-.]+")
_EARLIEST, _LATEST = datetime(1980, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_MOST: Final = 2**53


@lru_cache(maxsize=10_000)
def spelled(name: str) -> str:
    """Returns a name or word in the spelling of `NAMES` and `STATES`."""
    return _BETWEEN.sub("_", _CAMEL.sub("_", name.strip())).lower()


class Told:
    """What a document tells, by the meanings in `NAMES`."""

    def __init__(self, document: Mapping[str, Json]) -> None:
        self._values = {spelled(key): (key, value) for key, value in document.items() if value is not None}

    def found(self, meaning: str) -> tuple[str, Json]:
        """Returns the key as it is written, and its value; an empty key if nothing tells of it."""
        for name in NAMES[meaning]:
            if name in self._values:
                return self._values[name]
        return "", None

    def value(self, meaning: str) -> Json:
        """Returns the value as it is."""
        return self.found(meaning)[1]

    def text(self, meaning: str) -> str | None:
        """Returns a text, or a number as one. Raises `Misfit`."""
        key, value = self.found(meaning)
        if isinstance(value, bool) or not isinstance(value, str | int | float | None):
            raise Misfit(f"`{key}` is not a text", key)
        return None if value is None or value == "" else str(value)

    def number(self, meaning: str) -> int | None:
        """Returns a whole number that is not negative. Raises `Misfit`."""
        found = self.amount(meaning)
        return None if found is None else round(found)

    def amount(self, meaning: str) -> float | None:
        """Returns a number that is not negative. Raises `Misfit`."""
        key, value = self.found(meaning)
        return None if value is None else amount(key, value)


def amount(key: str, value: Json) -> float:
    """Returns a number that is not negative, also from a text such as `$1,200`. Raises `Misfit`."""
    try:
        number = float(value.replace(",", "").lstrip("$") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError) as error:
        raise Misfit(f"`{key}` is not a number", key) from error
    if isinstance(value, bool) or not 0 <= number <= _MOST:
        raise Misfit(f"`{key}` is not a number from 0 to 2^53", key)
    return number


# --- when -----------------------------------------------------------------------------------------


def moments(told: Told) -> tuple[datetime | None, datetime | None]:
    """Returns start and end; one that is missing follows from the other and the duration."""
    started, completed = (_moment(*told.found(meaning)) for meaning in ("started", "completed"))
    duration = _duration(told)
    if duration is not None and completed is None and started is not None:
        completed = started + duration
    elif duration is not None and started is None and completed is not None:
        started = completed - duration
    return started, completed


def _moment(key: str, value: Json) -> datetime | None:
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        found = _at(value)
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise Misfit(
            f"`{key}` is not a moment: ISO 8601, or seconds or milliseconds since 1970", key
        ) from error
    if not _EARLIEST <= found < _LATEST:
        raise Misfit(f"`{key}` is not a moment between 1980 and 2200", key)
    return found


def _at(value: Json) -> datetime:
    """Returns a moment in UTC: ISO 8601 (without a zone it counts as UTC), or seconds, milliseconds,
    microseconds or nanoseconds since 1970, told apart by their size."""
    if isinstance(value, str) and not value.strip().replace(".", "", 1).isdigit():
        found = datetime.fromisoformat(value.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    number = float(value)
    while number > 1e11:
        number /= 1000
    return datetime.fromtimestamp(number, UTC)


def _duration(told: Told) -> timedelta | None:
    key, value = told.found("milliseconds")
    if key:
        return timedelta(milliseconds=amount(key, value))
    key, value = told.found("duration")
    if not key:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = _in_words(key, value)
    return timedelta(seconds=amount(key, seconds))


def _in_words(key: str, value: Json) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise Misfit(f"`{key}` is not a duration: seconds, or such as `1m 30s`", key) from error
