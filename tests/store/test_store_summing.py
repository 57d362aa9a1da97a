"""What the store adds up is what its rows say, whatever order they came in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select
from store_records import any_record, at, attempt, clear, execution, failure, phase, rows

from taskmark.contracts import span_id
from taskmark.records import Record
from taskmark.store import summing
from taskmark.store.engine import reading
from taskmark.store.reading import History
from taskmark.store.tables import Metrics, fields, table
from taskmark.store.writing import apply

ID = "exec-1-demo"


def metrics(engine: Engine, dimension: str) -> dict[tuple[str, str], int]:
    """Counts by value and status."""
    found: Counter[tuple[str, str]] = Counter()
    with reading(engine) as connection:
        for row in connection.execute(select(table(Metrics))):
            named = fields(table(Metrics), row)
            if named["dimension"] == dimension:
                found[named["name"], named["status"]] += named["count"]
    return dict(found)


def test_an_execution_sums_up_its_attempts_in_any_order(engine: Engine) -> None:
    told: list[Record] = [
        execution(task_id="demo", started_at=at(0), as_of=at(0)),
        attempt("a", "completed", tokens=10, cost=0.1, files=("b.txt", "a.txt"), as_of=at(1)),
        attempt("b", "completed", tokens=20, cost=0.2, questions=2, files=("a.txt",), as_of=at(2)),
        execution(status="completed", finished_at=at(3), as_of=at(3)),
    ]
    for order in permutations(told):
        clear(engine)
        for record in order:
            apply(engine, [record])
        found = History(engine).execution(ID)
        assert (found.tokens_used, found.cost, found.questions_asked) == (30, math.fsum([0.1, 0.2]), 2)
        assert (found.files_modified, found.duration_ms) == (("a.txt", "b.txt"), 3000)


def test_a_failure_that_will_be_retried_is_pending_again_in_any_order(engine: Engine) -> None:
    told: list[Record] = [
        execution(started_at=at(0), as_of=at(0), assigned_agent="ann"),
        execution(status="failed", error=failure(), finished_at=at(2), as_of=at(2)),
        execution(status="pending", attempts=2, as_of=at(2)),
    ]
    for order in permutations(told):
        clear(engine)
        for record in order:
            apply(engine, [record])
        found = History(engine).execution(ID)
        assert (found.status, found.attempts, found.error, found.finished_at) == ("pending", 2, None, None)
        assert found.assigned_agent == "ann"


def test_work_that_succeeds_at_its_second_try_has_completed_in_any_order(engine: Engine) -> None:
    told: list[Record] = [
        execution(status="failed", error=failure(), finished_at=at(2), as_of=at(2)),
        execution(status="pending", attempts=2, as_of=at(2)),
        execution(attempts=2, started_at=at(3), as_of=at(3)),
        execution(status="completed", attempts=2, outputs={"n": 1}, finished_at=at(4), as_of=at(4)),
    ]
    for order in permutations(told):
        clear(engine)
        for record in order:
            apply(engine, [record])
        found = History(engine).execution(ID)
        assert (found.status, found.attempts, found.error) == ("completed", 2, None)
        assert (found.outputs, found.duration_ms) == ({"n": 1}, 1000)


def test_what_follows_from_an_attempt_is_stored_with_it(engine: Engine, history: History) -> None:
    apply(
        engine,
        [
            attempt(
                status="failed", error=failure("one"), started_at=at(0), finished_at=at(0.5), cause="user"
            ),
            attempt(attempt=2, kind="tool", name="shell", cause="user"),
            phase(attempt=2),
        ],
    )
    first, second = history.attempts(ID)
    [whole] = history.phases(ID)

    assert (first.span_id, first.retry_of) == (span_id(ID, "measure", "count"), None)
    assert (second.retry_of, second.causes, second.tool) == (first.span_id, ("retry", "user"), "shell")
    assert (first.causes, first.duration_ms) == (("user",), 500)
    assert (first.error_category, first.error_type, first.error_message) == (
        "transient",
        "step_failed",
        "one",
    )
    assert whole.retry_of == span_id(ID, "measure")


def test_metrics_count_each_row_once_and_where_it_is_now(engine: Engine) -> None:
    apply(engine, [execution(task_id="demo", build_id="b1", started_at=at(0), as_of=at(0))])
    assert metrics(engine, "execution") == {("", "running"): 1}

    apply(engine, [execution(status="completed", finished_at=at(9), as_of=at(9))])
    apply(engine, [execution("exec-2", status="failed", task_id="demo", finished_at=at(9))])
    assert metrics(engine, "execution") == {("", "completed"): 1, ("", "failed"): 1}
    assert metrics(engine, "task") == {("demo", "completed"): 1, ("demo", "failed"): 1}
    assert metrics(engine, "build") == {("b1", "completed"): 1}


@given(records=st.lists(any_record, max_size=12), cut=st.integers(0, 12))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_metrics_are_those_of_the_rows(engine: Engine, records: list[Record], cut: int) -> None:
    clear(engine)
    apply(engine, records[:cut])
    apply(engine, records[cut:])

    found = rows(engine)
    with reading(engine) as connection:
        told = [fields(table(Metrics), row) for row in connection.execute(select(table(Metrics)))]
    for dimension, name in (("execution", "executions"), ("attempt", "attempts")):
        assert sum(row["count"] for row in told if row["dimension"] == dimension) == len(found[name])
    attempts = (one for execution in _ids(records) for one in History(engine).attempts(execution))
    spent = sum(round((one.cost or 0) * 10**9) for one in attempts)
    assert sum(row["cost_billionths"] for row in told if row["dimension"] == "attempt") == spent


def _ids(records: list[Record]) -> set[str]:
    return {getattr(record, "execution_id", "") for record in records}


def test_writers_at_the_same_time_count_every_row_once(open_engine: Callable[[], Engine]) -> None:
    """They add to the same sums, in orders of their own, and neither wait for ever nor lose one."""
    engines = [open_engine() for _ in range(4)]

    def write(writer: int) -> None:
        for number in range(12):
            name = f"exec-{writer}-{number}"
            tools = ["shell", "http"] if writer % 2 else ["http", "shell"]
            told = [attempt(tool, execution_id=name, kind="tool", name=tool, cost=0.1) for tool in tools]
            apply(engines[writer], [execution(name, task_id=f"t{number % 3}", started_at=at(number)), *told])
            apply(engines[writer], [execution(name, status="completed", finished_at=at(99))])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert metrics(engines[0], "execution") == {("", "completed"): 48}
    assert metrics(engines[0], "tool") == {("shell", "running"): 48, ("http", "running"): 48}
    assert History(engines[0]).execution("exec-0-0").cost == 0.2


@given(duration=st.integers(1, 10**10))
def test_a_bucket_stands_for_its_durations_within_its_error(duration: int) -> None:
    told = summing.duration_in(summing.bucket(duration))
    assert abs(told - duration) <= duration * 0.026
