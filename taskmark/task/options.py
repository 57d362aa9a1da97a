"""The keys that tasks, phases and steps take, and how each is read."""

from __future__ import annotations

import re
import zoneinfo

from taskmark.task import values
from taskmark.task.codes import Code
from taskmark.task.model import AskAbove, Budget, PausedTimeout, Retry, Schedule, StepLimits, TaskLimits
from taskmark.task.source_text import Findings, shown
from taskmark.task.yaml_nodes import Scalar

BUILT_IN_KINDS = frozenset(
    {"tool", "agent", "validation", "aggregate", "approval", "question", "task", "wait"}
)
OVERLAPS = ("skip", "bufferOne", "bufferAll", "cancelOther", "terminateOther", "allowAll")
"""What can happen to a scheduled start while the execution before still runs."""
_CRON_FIELD = re.compile(r"[0-9A-Za-z*/,\-?]+")
_CRON_NAMES = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})


def is_cron(text: str) -> bool:
    """Whether a text has the form of a cron expression. Temporal judges the numbers in it."""
    fields = text.split()
    well_formed = 5 <= len(fields) <= 7 and all(_CRON_FIELD.fullmatch(field) for field in fields)
    return well_formed or text in _CRON_NAMES


def is_timezone(name: str) -> bool:
    """Whether there is a time zone of this name."""
    try:
        return name == "UTC" or zoneinfo.ZoneInfo(name).key == name
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _cron(node: Scalar, findings: Findings) -> str | None:
    if is_cron(node.text):
        return node.text
    message = f"`{shown(node.text)}` is not a cron expression"
    hint = "five fields: minute, hour, day of month, month, day of week, such as `0 6 * * 1-5`"
    findings.add(Code.INVALID_VALUE, node.place(), message, hint)
    return None


def _timezone(node: Scalar, findings: Findings) -> str | None:
    if is_timezone(node.text):
        return node.text
    message = f"there is no time zone `{shown(node.text)}`"
    findings.add(Code.INVALID_VALUE, node.place(), message, "such as UTC or Europe/Berlin")
    return None


RETRY_FIELDS: values.Fields = {
    "maxAttempts": ("max_attempts", values.whole(1)),
    "backoffMs": ("backoff_ms", values.milliseconds),
}
retry = values.record(RETRY_FIELDS, Retry)
retry_fields = values.record(RETRY_FIELDS, dict)
"""Only what is given: a step's `retry` takes the rest from the task's."""

_ask_above = values.record(
    {"agentCalls": ("agent_calls", values.whole(1)), "cost": ("cost", values.above_zero)}, AskAbove
)
budget = values.record(
    {
        "tokens": ("tokens", values.whole(1)),
        "cost": ("cost", values.above_zero),
        "agentCalls": ("agent_calls", values.whole(1)),
        "askAbove": ("ask_above", _ask_above),
    },
    Budget,
)
STEP_LIMITS: values.Fields = {
    "memory": ("memory", values.size),
    "cpu": ("cpu", values.duration()),
    "output": ("output", values.size),
    "openFiles": ("open_files", values.whole(1)),
    "processes": ("processes", values.whole(1)),
    "disk": ("disk", values.size),
    "network": ("network", values.rate),
    "nice": ("nice", values.whole(0, 19)),
}
step_limits = values.record(STEP_LIMITS, StepLimits)
task_limits = values.record(
    {
        "cpu": ("cpu", values.duration()),
        "disk": ("disk", values.size),
        "received": ("received", values.size),
        "sent": ("sent", values.size),
        "perStep": ("per_step", step_limits),
    },
    TaskLimits,
)
paused_timeout = values.record(
    {"after": ("after", values.duration()), "then": ("then", values.choice("resume", "abort"))},
    PausedTimeout,
    required=("after",),
)
schedule = values.record(
    {
        "cron": ("cron", values.one_of(_cron, "a cron expression", {"type": "string"})),
        "timezone": ("timezone", values.one_of(_timezone, "a time zone", {"type": "string"})),
        "overlap": (
            "overlap",
            values.choice(*OVERLAPS),
        ),
        "catchUp": ("catch_up", values.duration(positive=False)),
    },
    Schedule,
    required=("cron",),
)
