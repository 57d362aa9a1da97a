"""What people and programs ask the history store, one function per question, and how the database finds it.

`store.py` measures these; where a question is asked by SQL of our own here, it is because readers ask it so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from sqlalchemy import Engine, event, select

from benchmarks import past
from taskmark.contracts import ExecutionStatus
from taskmark.store.engine import reading
from taskmark.store.filtering import ExecutionFilter
from taskmark.store.measuring import ALWAYS, Dimension, Window
from taskmark.store.reading import History
from taskmark.store.tables import Attempts, table

PAGE = 50
FAILED = (ExecutionStatus.FAILED,)


@dataclass(frozen=True)
class Question:
    """What is asked, within how many milliseconds it is to be answered, and which indexes find it."""

    name: str
    target_ms: float
    indexes: tuple[str, ...]
    ask: Callable[[Engine, Random, int], int]
    """Gets an engine, chance and the number of executions; returns how many rows came."""


# --- lists ----------------------------------------------------------------------------------------


def listed(engine: Engine, after: str | None = None, **wanted: Any) -> int:
    return len(History(engine).executions(ExecutionFilter(**wanted), limit=PAGE, after=after))


def latest(engine: Engine, _chance: Random, _count: int) -> int:
    return listed(engine)


def by_status(engine: Engine, _chance: Random, _count: int) -> int:
    return listed(engine, status=FAILED)


def by_task(engine: Engine, chance: Random, _count: int) -> int:
    return listed(engine, task=f"task-{chance.randrange(past.TASKS)}")


def by_task_and_status(engine: Engine, chance: Random, _count: int) -> int:
    return listed(engine, task=f"task-{chance.randrange(past.TASKS)}", status=FAILED)


def page(engine: Engine, chance: Random, count: int) -> int:
    return listed(engine, past.cursor_of(chance.randrange(count // 2, count), count))


def deep_page(engine: Engine, chance: Random, count: int) -> int:
    return listed(engine, past.cursor_of(chance.randrange(max(1, count // 10)), count))


def page_of_failed(engine: Engine, chance: Random, count: int) -> int:
    return listed(engine, past.cursor_of(chance.randrange(count // 2, count), count), status=FAILED)


# --- one execution --------------------------------------------------------------------------------


def by_trace(engine: Engine, chance: Random, count: int) -> int:
    """The executions of a trace, and all its attempts: these by SQL, as an observer of spans asks."""
    trace, attempts = past.trace_of(chance.randrange(count)), table(Attempts)
    query = select(attempts).where(attempts.c.trace_id == trace).order_by(attempts.c.started_at)
    with reading(engine) as connection:
        return listed(engine, trace=trace) + len(connection.execute(query).all())


def one_execution(engine: Engine, chance: Random, count: int) -> int:
    name, history = past.id_of(chance.randrange(count)), History(engine)
    rows = history.phases(name), history.attempts(name), history.events(name)
    return len((history.execution(name), *(row for some in rows for row in some)))


# --- metrics --------------------------------------------------------------------------------------


def metrics(dimension: Dimension, window: Window = ALWAYS) -> Callable[[Engine, Random, int], int]:
    """Returns the question for counts, sums, quantiles and the trend by day, by the values of a dimension."""

    def ask(engine: Engine, _chance: Random, _count: int) -> int:
        return len(History(engine).metrics(dimension, window))

    return ask


def metrics_of_one(engine: Engine, chance: Random, _count: int) -> int:
    return len(History(engine).metrics(Dimension.TASK, name=f"task-{chance.randrange(past.TASKS)}"))


# --- words ----------------------------------------------------------------------------------------


def rare_word(engine: Engine, chance: Random, _count: int) -> int:
    return listed(engine, search=f"n{chance.randrange(100_000)}")


def usual_words(engine: Engine, chance: Random, _count: int) -> int:
    return listed(engine, search=" ".join(chance.sample(past.WORDS, 2)))


def word_that_is_nowhere(engine: Engine, chance: Random, _count: int) -> int:
    return listed(engine, search=f"absent{chance.randrange(10)}")


PRIMARY_KEY = "primary key"
"""Of a table of SQLite that is kept in the order of its key."""
WHOLE_METRICS = "all of metrics"
"""They are sums already: a dimension that is a large part of them is read soonest with all the others."""
METRICS = ("pk_metrics", PRIMARY_KEY, WHOLE_METRICS)

LISTED = "ix_executions_%sstarted_at_execution_id"
WORDS = ("texts_index", "ix_texts_words")
MONTH = Window(since=past.FIRST.date() + timedelta(days=60))

QUESTIONS = (
    Question("list: latest 50", 100, (LISTED % "",), latest),
    Question("list: by status", 100, (LISTED % "status_",), by_status),
    Question("list: by task", 100, (LISTED % "task_id_",), by_task),
    Question("list: by task and status", 100, (LISTED % "task_id_", LISTED % "status_"), by_task_and_status),
    Question("list: page by cursor", 100, (LISTED % "",), page),
    Question("list: page 90 % down", 100, (LISTED % "",), deep_page),
    Question("list: page by cursor, of a status", 100, (LISTED % "status_",), page_of_failed),
    Question("by trace", 50, ("ix_attempts_trace_id_started_at",), by_trace),
    Question(
        "one execution with all its rows", 50, ("pk_attempts", "sqlite_autoindex_attempts_1"), one_execution
    ),
    Question("metrics: overall", 200, METRICS, metrics(Dimension.EXECUTION)),
    Question("metrics: per task", 200, METRICS, metrics(Dimension.TASK)),
    Question("metrics: one task", 200, METRICS, metrics_of_one),
    Question("metrics: per tool", 200, METRICS, metrics(Dimension.TOOL)),
    Question("metrics: per tool, a month", 200, METRICS, metrics(Dimension.TOOL, MONTH)),
    Question("metrics: per build", 200, METRICS, metrics(Dimension.BUILD)),
    Question("search: a rare word", 200, WORDS, rare_word),
    Question("search: two usual words", 200, WORDS, usual_words),
    Question("search: a word that is nowhere", 200, WORDS, word_that_is_nowhere),
)


# --- plans ----------------------------------------------------------------------------------------


def found_by(engine: Engine, question: Question, count: int) -> tuple[set[str], list[str]]:
    """Returns the indexes by which the database finds the answer, and what it reads whole without one."""
    with _statements(engine) as told:
        question.ask(engine, Random(1), count)
    plans = [one for statement, values in told for one in _plan(engine, statement, values)]
    used = {name for one in plans for name in _INDEX.findall(one)}
    for sign, name in _OTHERWISE:
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
    return line.startswith("SCAN ") and not any(sign in line for sign in _NO_TABLE)


_OTHERWISE = (
    ("VIRTUAL TABLE", "texts_index"),
    ("USING PRIMARY KEY", PRIMARY_KEY),
    ("Seq Scan metrics", WHOLE_METRICS),
)
"""What tells of an index without naming it."""
_NO_TABLE = ("USING", "VIRTUAL TABLE", "CONSTANT", "subquery")
"""What stands in lines of SQLite's plans that tell of an index, or of rows found before."""
