"""Every question is answered by its index: the plans of the statements that are really run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text
from store_records import START, at

from taskmark.contracts import span_id
from taskmark.store import searching
from taskmark.store.engine import writing
from taskmark.store.experience import experience
from taskmark.store.filtering import ExecutionFilter
from taskmark.store.measuring import Dimension, Window
from taskmark.store.reading import History
from taskmark.store.schema import open_store
from taskmark.store.tables import (
    Attempts,
    Durations,
    Estimates,
    Events,
    Executions,
    Metrics,
    Phases,
    Stored,
    Texts,
    table,
)

EXECUTIONS = 6_000
STATUSES = ("failed", "running", *["pending"] * 5, *["completed"] * 43)
FEW = 100
"""Rows that may well be sorted."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A store with enough rows that reading all of them is what a database avoids."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('plans') / 'history.db'}"
    else:
        url = request.getfixturevalue("postgresql").new_schema()
    engine = open_store(url)
    with writing(engine) as connection:
        _fill(connection)
    if request.param == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
    yield engine
    engine.dispose()


def _fill(connection: Connection) -> None:
    def add(model: type[Stored], row: Callable[[int], dict[str, Any]], rows: int = EXECUTIONS) -> None:
        connection.execute(table(model).insert(), [row(number) for number in range(rows)])

    add(Executions, _execution)
    add(Phases, lambda number: {**_place(number), "status": "completed", "attempt": 1, "stamps": []})
    add(Attempts, _attempt, 2 * EXECUTIONS)
    add(Texts, lambda number: {"span_id": _attempt(number)["span_id"], "words": _words(number)})
    add(Events, _event, 2 * EXECUTIONS)
    add(Estimates, _estimate)
    add(Metrics, _metric)
    add(Durations, _duration)


def _execution(number: int) -> dict[str, Any]:
    status = STATUSES[number % len(STATUSES)]
    return {
        "execution_id": f"exec-{number:06d}",
        "status": status,
        "started_at": None if status == "pending" else at(number),
        "task_id": f"task-{number % 53}",
        "build_id": f"build-{number % 59}",
        "source_path": f"tasks/{number % 53}.md",
        "assigned_agent": f"agent-{number % 61}",
        "project": f"project-{number % 67}",
        "trace_id": f"trace-{number % 71}",
        "provenance": "live",
        "attempts": 1,
        "inputs": {"text": "x" * 200},
        "stamps": [],
    }


def _place(number: int) -> dict[str, str]:
    return {"execution_id": f"exec-{number:06d}", "phase": "measure", "provenance": "live"}


def _attempt(number: int) -> dict[str, Any]:
    place = _place(number // 2)
    step = f"step-{number % 2}"
    own = {"span_id": span_id(place["execution_id"], "measure", step), "started_at": at(number)}
    own |= {"tool": f"tool-{number % 73}", "agent": f"agent-{number % 79}"}
    return {**place, "step": step, "item": None, "attempt": 1, "status": "completed", "stamps": [], **own}


def _words(number: int) -> str:
    return " ".join(["stdout", f"word{number % 1000}", "unicorn" if number == 4321 else "x" * 100])


def _event(number: int) -> dict[str, Any]:
    own = {"seq": number % 2 + 1, "kind": "log", "phase": "", "step": "", "item": None, "attempt": 0}
    return {
        "execution_id": f"exec-{number // 2:06d}",
        **own,
        "occurrence": number,
        "at": START,
        "payload": {},
    }


def _estimate(number: int) -> dict[str, Any]:
    own = {"percent": 100, "at": START, "basis": "steps", "samples": 1, "stamps": []}
    numbers = dict.fromkeys(("worked", "remaining", "low", "high"), 1.0)
    return {"execution_id": f"exec-{number:06d}", **own, **numbers}


def _metric(number: int) -> dict[str, Any]:
    day = START.date() + timedelta(days=number // 60)
    sums = ("count", "retries", "duration_ms", "tokens_used", "cost_billionths", "questions_asked")
    dimension = ("task", "tool", *["execution"] * 18)[number % 20]
    key = {"dimension": dimension, "name": f"n{number % 60}", "day": day.isoformat()}
    return {**key, "status": f"s{number}", "ended": 1, **dict.fromkeys(sums, 1)}


def _duration(number: int) -> dict[str, Any]:
    day = START.date() + timedelta(days=number // 60)
    dimension = ("task", "tool", *["execution"] * 18)[number % 20]
    key = {"dimension": dimension, "period": day.isoformat(), "name": f"n{number % 60}"}
    return {**key, "bucket": number, "count": 1}


# --- plans ----------------------------------------------------------------------------------------


@contextmanager
def planned(engine: Engine) -> Iterator[list[str]]:
    """Collects the plan of every statement that is run meanwhile."""
    ran: list[tuple[str, Any]] = []
    plans: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            ran.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield plans
    finally:
        event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        for statement, parameters in ran:
            plans.append(_plan(connection, statement, parameters))


def _plan(connection: Connection, statement: str, parameters: Any) -> str:
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return "\n".join(str(row[3]) for row in rows)
    return "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters))


def reads_everything(plan: str) -> bool:
    """Whether a table is read from one end to the other without an index that has its order."""
    whole = r"Seq Scan on|SCAN (?!\w+ USING (?:COVERING )?INDEX)(?!\w+ VIRTUAL TABLE INDEX \d+:.*M)\w+"
    return re.search(whole, plan) is not None


def sorts(plan: str) -> bool:
    """Whether more is put in order than what PostgreSQL takes for a few rows."""
    expected = [int(rows) for rows in re.findall(r"\bSort .*rows=(\d+)", plan)]
    return "USE TEMP B-TREE FOR" in plan or any(rows > FEW for rows in expected)


LISTED = {
    "status": ({"status": ("failed",)}, "ix_executions_status_started_at_execution_id"),
    "task": ({"task": "task-5"}, "ix_executions_task_id_started_at_execution_id"),
    "build": ({"build": "build-5"}, "ix_executions_build_id_started_at_execution_id"),
    "file": ({"file": "tasks/5.md"}, "ix_executions_task_list_path_started_at_execution_id"),
    "agent": ({"agent": "agent-5"}, "ix_executions_assigned_agent_started_at_execution_id"),
    "project": ({"project": "project-5"}, "ix_executions_project_started_at_execution_id"),
    "trace": ({"trace": "trace-5"}, "ix_executions_trace_id_started_at_execution_id"),
    "time": ({"since": at(2700), "until": at(3500)}, "ix_executions_started_at_execution_id"),
    "all": ({}, "ix_executions_started_at_execution_id"),
}


@pytest.mark.parametrize("after", [None, f"{at(3000).isoformat()},exec-003000", ",exec-003000"])
@pytest.mark.parametrize("name", LISTED)
def test_a_list_is_read_from_its_index_in_its_order(large: Engine, name: str, after: str | None) -> None:
    """A page costs what it shows, and nothing is sorted."""
    wanted, index = LISTED[name]
    with planned(large) as plans:
        History(large).executions(ExecutionFilter(**wanted), 20, after)  # type: ignore[arg-type] # any filter
    assert plans
    for plan in plans:
        assert index in plan, plan
        assert not reads_everything(plan), plan
        assert not sorts(plan), plan


def test_several_states_are_each_read_from_the_index(large: Engine) -> None:
    with planned(large) as plans:
        found = History(large).executions(ExecutionFilter(status=("failed", "running")), 20)  # type: ignore[arg-type] # validated
    assert [one.execution_id for one in found[:3]] == ["exec-005951", "exec-005950", "exec-005901"]
    assert len(plans) == 4
    assert all(LISTED["status"][1] in plan and not sorts(plan) for plan in plans), plans


def test_one_execution_and_what_belongs_to_it_are_found_by_their_keys(large: Engine) -> None:
    history, name = History(large), "exec-000123"
    with planned(large) as plans:
        assert history.execution("exec-000123").execution_id == name
        assert len(history.phases(name)) == 1
        assert len(history.attempts(name)) == 2
        assert len(history.attempts(name, step="step-1")) == 1
        assert [one.seq for one in history.events(name, after=1)] == [2]
    for plan, owner in zip(plans, ("executions", "phases", "attempts", "attempts", "events"), strict=True):
        assert f"pk_{owner}" in plan or f"sqlite_autoindex_{owner}" in plan, plan
        assert not reads_everything(plan), plan


def test_the_past_is_read_by_the_indexes_of_tasks_tools_and_agents(large: Engine) -> None:
    with planned(large) as plans:
        found = experience(large, "task-5", [("tool", "tool-5"), ("agent", "agent-5")])
    assert found.executions == 20
    assert len(found.others["tool", "tool-5"].took) == 0
    assert found.others["agent", "agent-5"].asked > 100
    assert "ix_executions_task_id_started_at_execution_id" in plans[0]
    assert "ix_attempts_agent_started_at" in plans[-2]
    assert "ix_attempts_tool_started_at" in plans[-1]
    for plan in plans:
        assert not reads_everything(plan.replace("SCAN anon_1", "")), plan  # the latest of the task


@pytest.mark.parametrize("rare", [searching.RARE, 0])
def test_words_are_looked_up_in_their_index(
    large: Engine, rare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a word that many hold, no more executions are looked at than a page needs."""
    monkeypatch.setattr(searching, "RARE", rare)
    with planned(large) as plans:
        found = History(large).executions(ExecutionFilter(search="unicorn"), 20)
    assert [one.execution_id for one in found] == ["exec-002160"]
    assert re.search("ix_texts_words|texts_index|VIRTUAL TABLE INDEX", plans[0]), plans[0]
    for plan in plans[1:]:
        assert not reads_everything(plan), plan


@pytest.mark.parametrize("by", [Dimension.TASK, Dimension.TOOL])
def test_metrics_are_read_by_the_key_of_their_sums(large: Engine, by: Dimension) -> None:
    since = START.date() + timedelta(days=10)
    days = Window(since=since, until=since + timedelta(days=5))
    with planned(large) as plans:
        whole = History(large).metrics(by, days)
        [one] = History(large).metrics(by, days, whole[0].name)
    assert one == whole[0]
    for plan in plans:
        assert re.search("pk_(metrics|durations)|(metrics|durations) USING PRIMARY KEY", plan), plan
        assert not reads_everything(plan), plan
