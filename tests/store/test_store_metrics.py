"""Counts, rates, durations and costs, over everything and for each value of a dimension."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from store_records import at, attempt, clear, execution

from taskmark.records import Record
from taskmark.store.measuring import ALWAYS, Dimension, Window
from taskmark.store.reading import History
from taskmark.store.summing import periods
from taskmark.store.writing import apply

DAY = date(2026, 1, 2)


def run(number: int, status: str, days: float = 0, seconds: float = 1.0, **fields: Any) -> Record:
    """An execution that began so many days after the second of January, a Friday."""
    start = at(days * 86_400)
    over = {"finished_at": start + timedelta(seconds=seconds)} if status not in ("running", "waiting") else {}
    return execution(f"exec-{number}", status, started_at=start, task_id="demo", **over, **fields)


def test_every_state_is_counted_once(engine: Engine, history: History) -> None:
    states = (
        "completed",
        "completed",
        "completed_with_errors",
        "failed",
        "timed_out",
        "cancelled",
        "waiting",
    )
    apply(engine, [*(run(number, status) for number, status in enumerate(states)), execution("e", "pending")])
    [found] = history.metrics()

    assert (found.total, found.in_progress, found.cancelled) == (8, 2, 1)
    assert (found.completed, found.completed_with_errors) == (3, 1)
    assert (found.failed, found.timed_out) == (2, 1)
    assert found.success_rate == 3 / 5
    assert found.average_ms == 1000


def test_what_attempts_used_is_added_up(engine: Engine, history: History) -> None:
    used: dict[str, Any] = {"tokens": 10, "cost": 0.1, "questions": 1, "status": "completed"}
    apply(engine, [run(1, "completed", build_id="b", project="p", assigned_agent="ann")])
    tries = [
        attempt("a", kind="tool", name="shell", attempt=number, execution_id="exec-1", **used)
        for number in (1, 2)
    ]
    apply(engine, [*tries, attempt("b", agent="bob", execution_id="exec-1", **used)])

    for by, name in (("task", "demo"), ("build", "b"), ("project", "p"), ("assigned_agent", "ann")):
        [found] = history.metrics(Dimension(by))
        assert (found.name, found.total, found.tokens_used, found.questions_asked) == (name, 1, 30, 3)
        assert found.cost == 0.3
    [shell], [bob] = history.metrics(Dimension.TOOL), history.metrics(Dimension.AGENT)
    assert (shell.name, shell.total, shell.retries, shell.cost) == ("shell", 2, 1, 0.2)
    assert (bob.name, bob.total, bob.retries, bob.tokens_used) == ("bob", 1, 0, 10)


def test_the_most_frequent_comes_first_and_one_can_be_asked_for(engine: Engine, history: History) -> None:
    builds = ("b", "a", "c", "c")
    apply(engine, [run(number, "completed", build_id=build) for number, build in enumerate(builds)])

    assert [one.name for one in history.metrics(Dimension.BUILD)] == ["c", "a", "b"]
    assert [one.total for one in history.metrics(Dimension.BUILD, name="a")] == [1]
    for nobodys in ("d", "\x00", "\ud800"):
        assert history.metrics(Dimension.BUILD, name=nobodys) == ()


def test_days_are_compared_with_as_many_before(engine: Engine, history: History) -> None:
    apply(
        engine,
        [
            run(1, "completed", days=-3),  # too early for either
            run(2, "failed", days=-2),
            run(3, "completed", days=-1),
            run(4, "completed"),
            run(5, "completed", days=1),
            run(6, "failed", days=2),  # no longer asked for
            execution("exec-7", "pending"),
        ],
    )
    window = Window(since=DAY, until=DAY + timedelta(days=2))
    [found] = history.metrics(window=window)

    assert (found.total, found.success_rate) == (2, 1)
    assert found.before is not None
    assert (found.before.total, found.before.success_rate) == (2, 0.5)
    assert [(one.start, one.total) for one in found.periods] == [(DAY, 1), (DAY + timedelta(days=1), 1)]
    [whole] = history.metrics()
    assert (whole.total, whole.before) == (7, None)


def test_an_open_window_ends_today(engine: Engine, history: History) -> None:
    now = datetime.now(UTC)
    today = now.date()
    apply(
        engine,
        [execution(f"exec-{days}", "completed", started_at=now - timedelta(days=days)) for days in range(4)],
    )
    [found] = history.metrics(window=Window(since=today - timedelta(days=1)))

    assert found.before is not None
    assert (found.total, found.before.total) == (2, 2)
    assert [one.start for one in found.periods] == [today - timedelta(days=1), today]


def test_weeks_begin_on_monday_and_empty_ones_are_told_too(engine: Engine, history: History) -> None:
    apply(engine, [run(1, "completed"), run(2, "failed", days=2), run(3, "completed", days=17)])
    [found] = history.metrics(window=Window(until=date(2026, 1, 25), per="week"))

    mondays = [date(2025, 12, 29), date(2026, 1, 5), date(2026, 1, 12), date(2026, 1, 19)]
    assert [one.start for one in found.periods] == mondays
    assert [one.total for one in found.periods] == [2, 0, 0, 1]
    assert [one.success_rate for one in found.periods] == [0.5, None, None, 1]


@pytest.mark.parametrize("since", [date.min, date(1, 1, 2), date.max])
def test_no_day_is_too_early_or_too_late(engine: Engine, history: History, since: date) -> None:
    apply(engine, [run(1, "completed")])
    assert [one.total for one in history.metrics(window=Window(since=since))] in ([1], [])


def test_an_empty_store_has_no_metrics(history: History) -> None:
    assert history.metrics() == history.metrics(Dimension.TOOL, Window(since=DAY)) == ()


@given(durations=st.lists(st.integers(1, 10**8), min_size=1, max_size=40))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_quantiles_are_right_to_their_error(engine: Engine, history: History, durations: list[int]) -> None:
    clear(engine)
    apply(engine, [run(number, "completed", seconds=one / 1000) for number, one in enumerate(durations)])
    [found] = history.metrics()

    ordered = sorted(durations)
    for part, told in ((50, found.p50_ms), (90, found.p90_ms), (95, found.p95_ms), (99, found.p99_ms)):
        exact = ordered[-(-part * len(ordered) // 100) - 1]
        assert told == pytest.approx(exact, rel=0.026)
    assert found.average_ms == pytest.approx(sum(durations) / len(durations))


@given(first=st.dates(date(2019, 1, 1), date(2027, 1, 1)), length=st.integers(0, 1500))
def test_a_window_is_read_by_years_months_and_days_that_have_each_of_its_days_once(
    first: date, length: int
) -> None:
    days = [(first + timedelta(days=number)).isoformat() for number in range(length)]
    window = Window(since=first, until=first + timedelta(days=length))
    covered = window.covered(days)
    for day in days:
        assert len(set(periods(day)) & set(covered)) == 1, day
    assert len(covered) <= 11 * 2 + 30 * 2 + 5


def test_without_bounds_whole_years_are_read() -> None:
    assert ALWAYS.covered(["2025-03-04", "2026-02-01"]) == ["2025", "2026"]
    assert ALWAYS.covered([]) == []
