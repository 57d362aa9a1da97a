"""Columns that follow from the others of their row: no record tells them, so none can contradict them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from taskmark.contracts import span_id
from taskmark.retrieval import retrieval_of
from taskmark.stack_hash import stack_hash
from taskmark.store.texts import without_nul
from taskmark.task.slugs import slug

Values = Mapping[str, Any]

_MILLISECOND = timedelta(milliseconds=1)


def derived(kind: str, values: Values) -> dict[str, Any]:
    """Returns what follows from a row's columns, absent ones as None; `kind` is the records' type."""
    return _DERIVED[kind](values) if kind in _DERIVED else {}


def _execution(values: Values) -> dict[str, Any]:
    name = values.get("task_name") or values.get("task_id")
    return {"task_slug": slug(name) if name else None, "duration_ms": _duration(values)}


def _phase(values: Values) -> dict[str, Any]:
    place = (values["execution_id"], values["phase"])
    number = values["attempt"]
    return {
        "span_id": span_id(*place, attempt=number),
        "retry_of": span_id(*place, attempt=number - 1) if number > 1 else None,
        "causes": _causes(values),
        "duration_ms": _duration(values),
        **_error(values),
    }


def _attempt(values: Values) -> dict[str, Any]:
    place = (values["execution_id"], values["phase"], values["step"], values.get("item"))
    number = values["attempt"]
    kind, name = values.get("kind"), values.get("name")
    return {
        "span_id": span_id(*place, attempt=number),
        "retry_of": span_id(*place, attempt=number - 1) if number > 1 else None,
        "causes": _causes(values),
        "tool": name if kind == "tool" else None,
        "duration_ms": _duration(values),
        "retrieval": retrieval_of(kind, name, values.get("input"), values.get("output")),
        **_error(values),
    }


def _causes(values: Values) -> list[str] | None:
    """Returns why there was this try, the nearest first."""
    cause = values.get("cause")
    return [*(["retry"] if values["attempt"] > 1 else []), *([cause] if cause else [])] or None


def _duration(values: Values) -> int | None:
    """Returns milliseconds; clocks of two machines may differ, but nothing takes less than no time."""
    start: datetime | None = values.get("started_at")
    end: datetime | None = values.get("finished_at")
    return max((end - start) // _MILLISECOND, 0) if start and end else None


def _error(values: Values) -> dict[str, Any]:
    said = (values.get("error") or {}).items()
    error = {name: without_nul(value) if isinstance(value, str) else value for name, value in said}
    stack = error.get("stack")
    return {
        "error_category": error.get("category"),
        "error_type": error.get("type"),
        "error_message": error.get("message"),
        "stack": stack,
        "stack_hash": error.get("stack_hash") or (stack_hash(stack) if stack else None),
    }


_DERIVED: Mapping[str, Callable[[Values], dict[str, Any]]] = {
    "execution": _execution,
    "phase": _phase,
    "attempt": _attempt,
}
