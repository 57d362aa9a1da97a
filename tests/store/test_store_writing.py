"""Records become the same rows whatever their order, number and writers."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, text
from sqlalchemy import event as sqlalchemy_event
from store_records import EVERY_KIND, any_record, at, attempt, clear, event, execution, failure, phase, rows

from taskmark.errors import Category, Failure, Unreachable
from taskmark.records import Record
from taskmark.store.keys import rows_by_keys
from taskmark.store.merging import KEYS
from taskmark.store.reading import History
from taskmark.store.schema import open_store
from taskmark.store.tables import Attempts, table
from taskmark.store.writing import TABLES, apply, apply_each


@st.composite
def told_twice(draw: st.DrawFn) -> tuple[list[Record], list[list[Record]]]:
    """Records, and the same records in another order, some doubled, cut into batches."""
    records = draw(st.lists(any_record, min_size=1, max_size=12))
    shuffled = draw(st.permutations(records + draw(st.lists(st.sampled_from(records), max_size=4))))
    cut = draw(st.integers(0, len(shuffled)))
    return records, [shuffled[:cut], shuffled[cut:]]


@given(told=told_twice())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_doubling_and_batching_gives_the_same_rows(
    engine: Engine, told: tuple[list[Record], list[list[Record]]]
) -> None:
    records, batches = told
    clear(engine)
    apply(engine, records)
    expected = rows(engine)
    clear(engine)
    for batch in batches:
        apply(engine, batch)

    assert rows(engine) == expected
    for name in ("exec-1", "exec-2"):
        numbers = [one.seq for one in History(engine).events(name)]
        assert numbers == list(range(1, len(numbers) + 1))


def test_writing_again_writes_nothing(engine: Engine) -> None:
    apply(engine, EVERY_KIND)
    before = rows(engine)
    statements: list[str] = []
    sqlalchemy_event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    apply(engine, EVERY_KIND)

    assert rows(engine) == before
    assert [statement for statement in statements if statement.startswith("INSERT")] == []


def test_a_batch_costs_statements_per_table_and_not_per_record(engine: Engine) -> None:
    statements: list[str] = []
    sqlalchemy_event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    apply(engine, [attempt(item=number) for number in range(400)] + [event(item=n) for n in range(400)])

    assert len(statements) < 10


def test_writing_asks_the_index_and_never_reads_a_whole_table(new_database: Callable[[str], str]) -> None:
    """However much is stored already: a step must not cost more in a store of a million. (PostgreSQL chooses
    its plans by what the tables hold.)"""
    engine = open_store(new_database("sqlite"))
    apply(engine, EVERY_KIND)
    asked: list[tuple[str, object]] = []
    sqlalchemy_event.listen(engine, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
    apply(engine, [*EVERY_KIND, execution(status="failed", finished_at=at(1)), attempt("new", tokens=1)])
    apply(engine, [attempt("new", status="completed", tokens=2), execution("exec-2")])
    plans = []
    with engine.connect() as connection:
        for statement, values in asked:
            if statement.startswith(("SELECT", "DELETE")):
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
                plans += [str(row[-1]) for row in plan]
    assert plans
    assert [plan for plan in plans if plan.startswith("SCAN") and "wanted" not in plan] == []
    engine.dispose()


@pytest.mark.parametrize("kind", ["attempt", "event", "phase", "execution"])
def test_what_is_stored_already_is_looked_up_by_its_key_and_never_sought(engine: Engine, kind: str) -> None:
    apply(engine, EVERY_KIND)
    target, key = table(TABLES[kind]), KEYS[kind]
    statement = rows_by_keys(engine.dialect.name, target, key)
    statement = statement.params(wanted=json.dumps([["1"] * len(key)]))
    compiled = str(statement.compile(engine, compile_kwargs={"literal_binds": True}))
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            for way in ("seqscan", "hashjoin", "mergejoin"):  # which a large table does without by itself
                connection.execute(text(f"SET LOCAL enable_{way} = off"))
        prefix = "EXPLAIN " if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
        rows = connection.exec_driver_sql(prefix + compiled.replace("%", "%%"))
        plan = " ".join(str(row[-1]) for row in rows)

    assert f"Seq Scan on {target.name}" not in plan
    assert f"SCAN {target.name}" not in plan
    for column in key:
        assert column in plan


def test_more_records_than_a_statement_takes_are_written(engine: Engine, history: History) -> None:
    apply(engine, [event(occurrence=number) for number in range(1201)])
    assert [one.occurrence for one in history.events("exec-1-demo", limit=2000)] == list(range(1201))


def test_nothing_to_write_needs_no_store(tmp_path: object) -> None:
    from taskmark.store.engine import make_engine

    apply(make_engine("postgresql://nobody@127.0.0.1:1/none"), [])


def test_a_final_status_stays(engine: Engine, history: History) -> None:
    apply(engine, [execution(status="failed", finished_at=at(5), error=failure(), as_of=at(5))])
    apply(
        engine, [execution(status="running", as_of=at(9)), execution(status="completed", finished_at=at(9))]
    )

    found = history.execution("exec-1-demo")
    assert (found.status, found.finished_at, found.error) == ("failed", at(5), failure())


def test_what_comes_after_the_end_fills_in_what_is_missing(engine: Engine, history: History) -> None:
    apply(engine, [execution(status="completed", finished_at=at(5), as_of=at(5))])
    apply(
        engine, [execution(status="completed", finished_at=at(5), outputs={"a": 1}, provenance="backfilled")]
    )

    found = history.execution("exec-1-demo")
    assert (found.outputs, found.provenance) == ({"a": 1}, "live")


def _in_any_order(engine: Engine, told: list[Record]) -> list[Any]:
    """Returns what the one attempt is, per order in which it was told of."""
    found = []
    for order in permutations(told):
        clear(engine)
        apply(engine, order)
        found += History(engine).attempts("exec-1-demo")
    return found


def test_of_a_call_that_was_delivered_again_the_last_delivery_counts(
    engine: Engine, history: History
) -> None:
    """A worker that is killed after its call ended, and before Temporal heard of it, has told an end that
    Temporal never had."""
    killed = attempt(status="completed", output="first", finished_at=at(1), worker="killed", tokens=7)
    after = attempt(
        status="failed", error=failure(), finished_at=at(5), worker="after", delivery=2, started_at=at(4)
    )
    read_again = after.model_copy(update={"provenance": "backfilled", "finished_at": at(5.1)})
    for found in _in_any_order(engine, [killed, after, read_again]):
        assert (found.status, found.output, found.error) == ("failed", None, failure())
        assert (found.worker, found.started_at, found.finished_at) == ("after", at(4), at(5))
        assert found.tokens is None


def test_a_delivery_that_has_not_ended_yet_leaves_the_end_of_the_one_before(engine: Engine) -> None:
    told = [attempt(status="completed", output=1, finished_at=at(1)), attempt(started_at=at(3), delivery=2)]
    for found in _in_any_order(engine, told):
        assert (found.status, found.output) == ("completed", 1)


def test_what_temporal_gave_up_waiting_for_failed_whatever_its_worker_had_told(engine: Engine) -> None:
    told = [
        attempt(status="completed", output=1, finished_at=at(1), delivery=3),
        attempt(status="running", started_at=at(0), delivery=3),
        attempt(status="failed", error=failure("lost"), finished_at=at(9), delivery=3, given_up=True),
    ]
    for found in _in_any_order(engine, told):
        assert (found.status, found.output, found.error) == ("failed", None, failure("lost"))
        assert found.started_at == at(0)


def test_what_was_stored_before_deliveries_were_told_keeps_its_details(engine: Engine) -> None:
    """All first deliveries are equal: what a worker told stays, and what is read again fills in."""
    told = [
        attempt(status="failed", error=failure("with its stack"), finished_at=at(1)),
        attempt(status="failed", error=failure(), finished_at=at(1.1), provenance="backfilled", cause="user"),
    ]
    for found in _in_any_order(engine, told):
        assert (found.error, found.cause) == (failure("with its stack"), "user")


def test_states_that_alternate_are_ordered_by_their_moments(engine: Engine, history: History) -> None:
    told = [
        execution(status="running", as_of=at(1)),
        execution(status="paused", as_of=at(2)),
        execution(status="running", as_of=at(3)),
    ]
    for order in permutations(told):
        clear(engine)
        for record in order:
            apply(engine, [record])
        assert history.execution("exec-1-demo").status == "running"


def test_an_absent_field_leaves_what_is_stored(engine: Engine, history: History) -> None:
    apply(engine, [execution(project="p", inputs={"a": 1}, as_of=at(1))])
    apply(engine, [execution(status="waiting", as_of=at(2))])

    found = history.execution("exec-1-demo")
    assert (found.status, found.project, found.inputs) == ("waiting", "p", {"a": 1})


def test_a_phase_that_runs_again_forgets_how_it_ended_before(engine: Engine, history: History) -> None:
    told = [
        phase(name="Measure", started_at=at(0), as_of=at(0)),
        phase(status="failed", error=failure(), finished_at=at(1), as_of=at(1)),
        phase(attempt=2, as_of=at(2)),
    ]
    for order in permutations(told):
        clear(engine)
        apply(engine, order)
        [found] = history.phases("exec-1-demo")
        assert (found.status, found.attempt, found.error, found.finished_at) == ("running", 2, None, None)
        assert (found.name, found.started_at) == ("Measure", at(0))


def test_an_event_once_told_never_changes(engine: Engine, history: History) -> None:
    apply(engine, [event(payload={"first": True}), event(payload={"first": False})])
    apply(engine, [event(payload={"first": False}, at=at(9))])

    [found] = history.events("exec-1-demo")
    assert (found.seq, found.payload) == (1, {"first": True})


def test_moments_are_utc_whatever_zone_they_came_in(engine: Engine, history: History) -> None:
    east = timezone(timedelta(hours=9))
    naive = datetime(2026, 1, 1, 12, 0)  # that is what is tested
    apply(engine, [execution(started_at=datetime(2026, 1, 1, 9, tzinfo=east), finished_at=naive)])

    found = history.execution("exec-1-demo")
    assert found.started_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.started_at.utcoffset() == timedelta(0)
    assert found.finished_at == datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_text_with_nul_is_kept_without_it(engine: Engine, history: History) -> None:
    apply(engine, [attempt(description="a\x00b", output={"raw": "a\x00b"}), event(step="a\x00b")])

    [found] = history.attempts("exec-1-demo")
    assert (found.description, found.output) == ("a\ufffdb", {"raw": "a\x00b"})
    assert [one.step for one in history.events("exec-1-demo")] == ["a\ufffdb"]


def test_an_error_with_nul_characters_is_kept_on_both_databases(engine: Engine) -> None:
    error = Failure(type="broken\x00", message="a\x00b", category=Category.LOGIC, stack="x\x00y")
    apply(engine, [attempt(status="failed", error=error)])
    with engine.connect() as connection:
        row = connection.execute(select(table(Attempts))).one()
    assert (row.error_type, row.error_message, row.stack) == ("broken\ufffd", "a\ufffdb", "x\ufffdy")


def test_writers_of_one_execution_at_the_same_time_leave_no_gap(
    open_engine: Callable[[], Engine], history: History
) -> None:
    engines = [open_engine() for _ in range(4)]

    def write(writer: int) -> None:
        for number in range(15):
            shared = event("waiting", occurrence=number)
            apply(engines[writer], [event(item=writer, occurrence=number), shared, phase(attempt=number + 1)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))

    events = history.events("exec-1-demo")
    assert [one.seq for one in events] == list(range(1, 4 * 15 + 15 + 1))
    assert [one.attempt for one in history.phases("exec-1-demo")] == [15]


@pytest.mark.parametrize(
    "poison",
    [
        attempt("bad", tokens=2**70),
        attempt("bad", description="half a character: \ud800"),
        event(step="\ud800"),
    ],
    ids=["number", "text", "event"],
)
def test_a_record_that_cannot_be_written_holds_up_no_other(
    engine: Engine, history: History, poison: Record
) -> None:
    good = [attempt(f"s{number:02}") for number in range(20)]
    rejected = apply_each(engine, [*good[:7], poison, *good[7:]])

    assert [one.record for one in rejected] == [poison]
    assert rejected[0].reason
    assert sorted(one.step for one in history.attempts("exec-1-demo")) == [one.step for one in good]


def test_a_batch_with_a_bad_record_is_written_not_at_all_by_apply(engine: Engine, history: History) -> None:
    with pytest.raises(Exception, match=r"too large|out of range"):
        apply(engine, [attempt("good"), attempt("bad", tokens=2**70)])
    assert history.attempts("exec-1-demo") == ()


def test_a_name_too_long_for_an_index_is_set_aside_and_not_tried_for_ever(engine: Engine) -> None:
    import random

    long = execution(id="exec-" + "".join(random.Random(1).choices("abcdefghijklmnop0123456789", k=9000)))
    rejected = apply_each(engine, [execution(), long])

    assert [one.record for one in rejected] == ([long] if engine.dialect.name == "postgresql" else [])
    assert len(rows(engine)["executions"]) == 2 - len(rejected)


def test_a_store_that_does_not_answer_is_no_fault_of_the_records() -> None:
    from taskmark.store.engine import make_engine

    with pytest.raises(Unreachable, match="does not answer"):
        apply_each(make_engine("postgresql://nobody:secret@127.0.0.1:1/none"), [execution()])
