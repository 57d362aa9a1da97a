"""What rows of executions teach: durations of tries, numbers of items, the time that people took. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Row

from taskmark.contracts import StepStatus, plain_id
from taskmark.plan.experience import Timed
from taskmark.task.model import GATES

MOST = 400
"""Durations kept of one step, of as many executions as there are."""

Rows = Sequence[Row[Any]]
"""Attempts, or events, of one execution."""
Kept = TypeVar("Kept")

_LANE = re.compile(r"\[(\d+)\]$")
_NO_WORK = GATES | {"wait"}


def seconds(row: Row[Any]) -> float | None:
    """Returns how long a try took, or None if that is not known. Clocks of two machines may differ."""
    if row.started_at is None or row.finished_at is None:
        return None
    return max(float((row.finished_at - row.started_at).total_seconds()), 0.0)


def tries(rows: Rows) -> Iterator[Row[Any]]:
    """Yields the tries of an execution in which something was done: those of single items rather than of
    all of them together, and of an instruction the whole, however many agents it asks."""
    of_items, of_lanes = _with_items(rows), _with_lanes(rows)
    for row in rows:
        is_whole = row.item is None
        counts = is_whole if row.kind == "plain" else is_whole != (row.step in of_items)
        if counts and _is_real(row) and row.step not in of_lanes and row.kind not in _NO_WORK:
            yield row


def _is_real(row: Row[Any]) -> bool:
    """Whether anything was called: not of what was skipped, and not of what is an earlier execution's."""
    return bool(row.attempt) and row.reused_from is None


def _with_items(rows: Rows) -> set[str]:
    return {row.step for row in rows if row.item is not None and row.kind != "plain"}


def _with_lanes(rows: Rows) -> set[str]:
    """Returns steps of phases with `forEach`: a row of such an id itself tells of all items together."""
    return {plain_id(row.step) for row in rows if _LANE.search(row.step)}


def completed(runs: Sequence[Rows]) -> dict[str, list[tuple[int, Row[Any]]]]:
    """Returns tries that completed, by step, each after the number of its execution; at most `MOST`."""
    found: dict[str, dict[int, list[Row[Any]]]] = defaultdict(lambda: defaultdict(list))
    for number, rows in enumerate(runs):
        for row in tries(rows):
            if row.status == StepStatus.COMPLETED and seconds(row) is not None:
                found[plain_id(row.step)][number].append(row)
    return {step: _spread(by_run) for step, by_run in found.items()}


def _spread(found: Mapping[int, Sequence[Kept]]) -> list[tuple[int, Kept]]:
    """Returns at most `MOST`, of each execution as many as there are or an equal share of the room."""
    left, kept = MOST, {}
    for place, number in enumerate(sorted(found, key=lambda number: len(found[number]))):
        some = _evenly(found[number], left // (len(found) - place))
        left -= len(some)
        kept[number] = some
    return [(number, one) for number in sorted(kept) for one in kept[number]]


def _evenly(found: Sequence[Kept], most: int) -> Sequence[Kept]:
    count = len(found)
    return found if count <= most else [found[place * count // most] for place in range(most)]


def steps(runs: Sequence[Rows], done: Mapping[str, Sequence[tuple[int, Row[Any]]]]) -> dict[str, Timed]:
    """Returns what each step took before; `done` are its tries that completed."""
    failed, asked = defaultdict(list), Counter[str]()
    for rows in runs:
        mine = list(tries(rows))
        asked.update(plain_id(step) for _, step, _ in {_call(row) for row in mine})
        for row in repeated(mine):
            failed[plain_id(row.step)].append(row)
    return {step: timed(done.get(step, ()), failed[step], count) for step, count in asked.items()}


def timed(done: Iterable[tuple[int, Row[Any]]], failed: Iterable[Row[Any]], asked: int) -> Timed:
    """Returns durations of tries that completed, and of such as had to be repeated."""
    took = tuple((number, spent) for number, row in done if (spent := seconds(row)) is not None)
    lost = tuple(spent for row in failed if (spent := seconds(row)) is not None)
    return Timed(took, lost[:MOST], asked)


def repeated(rows: Iterable[Row[Any]]) -> Iterator[Row[Any]]:
    """Yields the tries that failed and were followed by another one."""
    found = list(rows)
    last: dict[tuple[Any, ...], int] = {}
    for row in found:
        last[_call(row)] = max(row.attempt, last.get(_call(row), 0))
    for row in found:
        if row.status == StepStatus.FAILED and row.attempt < last[_call(row)]:
            yield row


def _call(row: Row[Any]) -> tuple[Any, ...]:
    return row.execution_id, row.step, row.item


# --- people ---------------------------------------------------------------------------------------


def people(runs: Sequence[Rows], events: Sequence[Rows]) -> dict[str, list[float]]:
    """Returns how long people took to decide: by step of a gate, and by phase, of its approval."""
    found: dict[str, list[float]] = defaultdict(list)
    for rows, told in zip(runs, events, strict=True):
        for row in rows:
            is_decided = row.status == StepStatus.COMPLETED and row.kind in GATES and _is_real(row)
            if is_decided and (spent := seconds(row)) is not None:
                found[plain_id(row.step)].append(spent)
        for phase, spent in _approvals(told):
            found[phase].append(spent)
    return dict(found)


def _approvals(events: Rows) -> Iterator[tuple[str, float]]:
    """Yields phases that asked before they began, and how long they waited. The decision names the gate."""
    opened: dict[tuple[str, str], datetime] = {}
    for event in sorted(events, key=lambda one: one.at):
        if event.kind == "waiting" and not event.step and event.payload.get("kind") == "approval":
            opened[event.phase, str(event.payload.get("name"))] = event.at
        elif event.kind == "decided" and (event.phase, event.step) in opened:
            began = opened.pop((event.phase, event.step))
            yield event.phase, (event.at - began).total_seconds()


# --- items ----------------------------------------------------------------------------------------


def items(runs: Sequence[Rows]) -> dict[str, list[int]]:
    """Returns how many items steps and phases with `forEach` had, the latest execution first. A step of a
    phase with `forEach` has a number for each of that one's items."""
    found: dict[str, list[int]] = defaultdict(list)
    for rows in runs:
        for name, count in [*_counted(rows), *((name, 0) for name in sorted(_without_any(rows)))]:
            if len(found[name]) < MOST:
                found[name].append(count)
    return dict(found)


def _counted(rows: Rows) -> list[tuple[str, int]]:
    """Returns steps and phases, each with the highest number of an item and one: some may have no row."""
    last: dict[tuple[str, str], int] = {}
    for row in rows:
        if row.item is not None and row.kind != "plain":
            last[plain_id(row.step), row.step] = max(row.item, last.get((plain_id(row.step), row.step), 0))
        if lane := _LANE.search(row.step):
            last[row.phase, ""] = max(int(lane[1]), last.get((row.phase, ""), 0))
    return [(name, number + 1) for (name, _), number in last.items()]


def _without_any(rows: Rows) -> set[str]:
    """Returns steps and phases that completed though nothing of them was called: they have a `forEach`, or
    only steps that have one, and it had no item."""
    of_lanes, idle, busy = _with_lanes(rows), set[str](), set[str]()
    for row in rows:
        is_new = not row.attempt and row.reused_from is None and plain_id(row.step) not in of_lanes
        is_idle = is_new and row.status == StepStatus.COMPLETED
        (idle if is_idle else busy).update((row.step, row.phase))
    return idle - busy
