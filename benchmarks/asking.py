"""What people and programs ask the history store, one function per question, and how the database finds it.

`store.py` measures these; where a question is asked by SQL of our own here, it is because readers ask it so.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from sqlalchemy import Connection, Engine, Row, event, func, select, text

from benchmarks import past
from taskmark.contracts import ExecutionStatus
from taskmark.store.engine import reading
from taskmark.store.reading import History
from taskmark.store.summing import duration_in
from taskmark.store.tables import Attempts, Metrics, table

PAGE = 50


@dataclass(frozen=True)
class Question:
    """What is asked, within how many milliseconds it is to be answered, and which indexes find it."""

    name: str
    target_ms: float
    indexes: tuple[str, ...]
    ask: Callable[[Engine, Random, int], int]
    """Gets an engine, chance and the number of executions; returns how many rows came."""


# --- lists ----------------------------------------------------------------------------------------


def latest(engine: Engine, _chance: Random, _count: int) -> int:
    return len(History(engine).executions(limit=PAGE))


def by_status(engine: Engine, _chance: Random, _count: int) -> int:
    return len(History(engine).executions(status=ExecutionStatus.FAILED, limit=PAGE))


def by_task(engine: Engine, chance: Random, _count: int) -> int:
    return len(History(engine).executions(task=f"task-{chance.randrange(past.TASKS)}", limit=PAGE))


def page(engine: Engine, chance: Random, count: int) -> int:
    before = past.id_of(chance.randrange(min(count // 2, count - 1), count))
    return len(History(engine).executions(before=before, limit=PAGE))


def deep_page(engine: Engine, chance: Random, count: int) -> int:
    before = past.id_of(chance.randrange(max(1, count // 10)))
    return len(History(engine).executions(before=before, limit=PAGE))


def page_of_failed(engine: Engine, chance: Random, count: int) -> int:
    before = past.id_of(chance.randrange(count // 2, count))
    return len(History(engine).executions(status=ExecutionStatus.FAILED, before=before, limit=PAGE))


# --- one execution --------------------------------------------------------------------------------


def by_trace(engine: Engine, chance: Random, count: int) -> int:
    attempts = table(Attempts)
    query = select(attempts).where(attempts.c.trace_id == past.trace_of(chance.randrange(count)))
    with reading(engine) as connection:
        return len(connection.execute(query.order_by(attempts.c.started_at)).all())


def one_execution(engine: Engine, chance: Random, count: int) -> int:
    name, history = past.id_of(chance.randrange(count)), History(engine)
    return len(
        (history.execution(name), *history.phases(name), *history.attempts(name), *history.events(name))
    )


# --- metrics --------------------------------------------------------------------------------------


def metrics(dimension: str) -> Callable[[Engine, Random, int], int]:
    """Returns the question for counts, sums and quantiles of everything, by the values of a dimension."""

    def ask(engine: Engine, _chance: Random, _count: int) -> int:
        with reading(engine) as connection:
            return len(_summed(_rows(connection, dimension)))

    return ask


def metrics_of_month(engine: Engine, _chance: Random, _count: int) -> int:
    with reading(engine) as connection:
        return len(_summed(_rows(connection, "tool", since="2026-03-01")))


def _rows(connection: Connection, dimension: str, since: str = "") -> list[Row[Any]]:
    found = table(Metrics)
    sums = (func.sum(found.c[name]) for name in ("count", "retries", "duration_ms", "cost_billionths"))
    key = (found.c.name, found.c.status, found.c.bucket)
    query = select(*key, *sums).where(found.c.dimension == dimension).group_by(*key)
    if since:
        query = query.where(found.c.day >= since)
    return list(connection.execute(query).all())


def _summed(rows: list[Row[Any]]) -> dict[str, dict[str, float]]:
    """Returns by name: how many, how many of them failed, and the median and 95 % of durations."""
    buckets: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    failed: dict[str, int] = defaultdict(int)
    for name, status, bucket, count, *_ in rows:
        buckets[name][bucket] += int(count)  # PostgreSQL's sums are decimals
        failed[name] += int(count) if status == "failed" else 0
    return {
        name: {
            "count": sum(found.values()),
            "failed": failed[name],
            "p50": _quantile(found, 0.5),
            "p95": _quantile(found, 0.95),
        }
        for name, found in buckets.items()
    }


def _quantile(buckets: dict[int, int], share: float) -> float:
    wanted, seen = share * sum(buckets.values()), 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= wanted:
            return duration_in(bucket)
    raise ValueError("there are no durations")


# --- words ----------------------------------------------------------------------------------------

SEARCHES = {
    "sqlite": """SELECT a.execution_id, a.step FROM texts_index i JOIN texts t ON t.id = i.rowid
        JOIN attempts a ON a.span_id = t.span_id WHERE texts_index MATCH :words
        ORDER BY i.rowid DESC LIMIT 20""",
    "postgresql": """SELECT a.execution_id, a.step FROM (SELECT id, span_id FROM texts
        WHERE to_tsvector('simple', words) @@ plainto_tsquery('simple', :words)
        ORDER BY id DESC LIMIT 20) t JOIN attempts a USING (span_id) ORDER BY t.id DESC""",
}


def rare_word(engine: Engine, chance: Random, _count: int) -> int:
    return _search(engine, f"n{chance.randrange(100_000)}")


def two_words(engine: Engine, chance: Random, _count: int) -> int:
    return _search(engine, " ".join(chance.sample(past.WORDS, 2)))


def _search(engine: Engine, words: str) -> int:
    with reading(engine) as connection:
        return len(connection.execute(text(SEARCHES[engine.dialect.name]), {"words": words}).all())


WHOLE_METRICS = "all of metrics"
"""They are sums already: a dimension that is a large part of them is read soonest with all the others."""
METRICS = ("pk_metrics", "sqlite_autoindex_metrics_1", WHOLE_METRICS)

QUESTIONS = (
    Question("list: latest 50", 100, ("ix_executions_started_at_execution_id",), latest),
    Question("list: by status", 100, ("ix_executions_status_started_at_execution_id",), by_status),
    Question("list: by task", 100, ("ix_executions_task_id_started_at_execution_id",), by_task),
    Question("list: page by cursor", 100, ("ix_executions_started_at_execution_id",), page),
    Question("list: page 90 % down", 100, ("ix_executions_started_at_execution_id",), deep_page),
    Question(
        "list: page by cursor and status",
        100,
        ("ix_executions_status_started_at_execution_id",),
        page_of_failed,
    ),
    Question("by trace", 50, ("ix_attempts_trace_id_started_at",), by_trace),
    Question(
        "one execution with all its rows",
        50,
        ("pk_executions", "pk_attempts", "sqlite_autoindex_executions_1", "sqlite_autoindex_attempts_1"),
        one_execution,
    ),
    *(
        Question(f"metrics: {what}", 200, METRICS, metrics(dimension))
        for what, dimension in (
            ("overall", "execution"),
            ("per task", "task"),
            ("per tool", "tool"),
            ("per build", "build"),
        )
    ),
    Question("metrics: per tool, a month", 200, METRICS, metrics_of_month),
    Question("search: a rare word", 200, ("texts_index", "ix_texts_words"), rare_word),
    Question("search: two usual words", 200, ("texts_index", "ix_texts_words", "pk_texts"), two_words),
)


# --- plans ----------------------------------------------------------------------------------------


def found_by(engine: Engine, question: Question, count: int) -> tuple[set[str], list[str]]:
    """Returns the indexes by which the database finds the answer, and what it reads whole without one."""
    with _statements(engine) as told:
        question.ask(engine, Random(1), count)
    plans = [one for statement, values in told for one in _plan(engine, statement, values)]
    used = {name for one in plans for name in _INDEX.findall(one)}
    for sign, name in (("VIRTUAL TABLE", "texts_index"), ("Seq Scan metrics", WHOLE_METRICS)):
        used |= {name} if any(sign in one for one in plans) else set()
    return used, [one for one in plans if _reads_all(one)]


_INDEX = re.compile(r"(?:USING (?:COVERING )?INDEX |index:)(\w+)")


@contextmanager
def _statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    told: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        told.append((statement, values))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield told
    finally:
        event.remove(engine, "before_cursor_execute", note)


def _plan(engine: Engine, statement: str, values: Any) -> list[str]:
    with reading(engine) as connection:
        if engine.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            return [str(row[3]) for row in rows]
        [[found]] = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values)
        return list(_nodes((found if isinstance(found, list) else json.loads(found))[0]["Plan"]))


def _nodes(plan: dict[str, Any]) -> Iterator[str]:
    yield f"{plan['Node Type']} {plan.get('Relation Name', '')} index:{plan.get('Index Name', '-')}"
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _reads_all(line: str) -> bool:
    """Whether a line of a plan tells of a table without an index."""
    if "Seq Scan" in line:
        return "Seq Scan metrics" not in line
    return line.startswith("SCAN ") and not any(
        word in line for word in ("USING", "VIRTUAL TABLE", "CONSTANT")
    )
