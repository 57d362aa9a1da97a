"""What a store tells of an execution, in a form in which two stores can be compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from taskmark.store.reading import History


def _rows(records: Iterable[Any]) -> list[dict[str, Any]]:
    """Returns what rows say, without what differs between telling it live and later: who told it, the
    fractions of a second in which worker and server saw the same, and the stack of an error."""
    skipped = {"provenance", "as_of", "seq", "stack"}
    moments = ("started_at", "finished_at", "at", "duration_ms")
    rows = [record.model_dump(mode="json", exclude=skipped) for record in records]
    for row in rows:
        row |= {name: row[name] is not None for name in moments if name in row}
        if row.get("error"):
            row["error"] = {**row["error"], "stack": None}
    return sorted(rows, key=repr)


def content(history: History, execution: str) -> dict[str, Any]:
    """Returns all that a store tells of an execution."""
    record = history.execution(execution)
    found: dict[str, Any] = {
        "execution": _rows([record]),
        "phases": _rows(history.phases(execution)),
        "attempts": _rows(history.attempts(execution)),
        "events": _rows(history.events(execution)),
    }
    if record.definition_sha256:
        found["definition"] = _rows([history.definition(record.definition_sha256)])
    return found


def assert_equal(found: dict[str, Any], wanted: dict[str, Any], when: str) -> None:
    """Both say the same; `when` is said if they do not."""
    for part, rows in wanted.items():
        missing = [row for row in rows if row not in found[part]]
        extra = [row for row in found[part] if row not in rows]
        assert (missing, extra) == ([], []), f"{when}, {part}:\n{missing}\n{extra}"
