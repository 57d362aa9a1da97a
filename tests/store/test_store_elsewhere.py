"""Work that Temporal does not run has the same rows as any other, told by whoever does it (W1 to W6)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from store_records import clear, execution, rows

from taskmark.contracts import ExecutionStatus, idempotency_key
from taskmark.errors import Category, Failure, InvalidInputs, Refused, StepFailed, UnknownExecution
from taskmark.privacy.detectors import BUILT_IN
from taskmark.privacy.recording import scrubbed
from taskmark.privacy.scrubbing import Scrubber
from taskmark.records import Record
from taskmark.store.elsewhere import Elsewhere
from taskmark.store.engine import reading
from taskmark.store.reading import History
from taskmark.store.writing import apply

SCRUBBER = Scrubber(list(BUILT_IN.values()))


def clean(record: Record) -> Record:
    return scrubbed(record, SCRUBBER)


@pytest.fixture
def elsewhere(engine: Engine) -> Elsewhere:
    return Elsewhere(engine, clean)


@pytest.mark.semantics("W1")
def test_what_is_told_is_an_execution_like_any_other(elsewhere: Elsewhere, history: History) -> None:
    about = {"agent": "ann", "project": "p", "build_id": "b7", "task_list_path": "tasks/nightly.md"}
    name = elsewhere.start("Nightly import", {"day": "2026-01-31"}, **about)
    elsewhere.progress(name, "load", "12 of 40 files")
    elsewhere.progress(name, "load", "40 of 40 files")
    elsewhere.complete(name, {"rows": 3}, tokens=12, cost=0.25, files=["a.txt"], questions=1)

    found = history.execution(name)
    assert (found.task_id, found.task_name, found.task_slug) == (
        "nightly_import",
        "Nightly import",
        "nightly_import",
    )
    assert (found.assigned_agent, found.project, found.build_id) == ("ann", "p", "b7")
    assert (found.source_path, found.cause, found.provenance) == ("tasks/nightly.md", "user", "elsewhere")
    assert (found.status, found.inputs, found.outputs) == ("completed", {"day": "2026-01-31"}, {"rows": 3})
    assert (found.tokens_used, found.cost, found.questions_asked) == (12, 0.25, 1)
    assert found.files_modified == ("a.txt",)
    assert found.duration_ms is not None
    [attempt] = history.attempts(name)
    assert (attempt.phase, attempt.step, attempt.attempt, attempt.kind) == (
        "",
        "nightly_import",
        1,
        "elsewhere",
    )
    assert (attempt.agent, attempt.status, attempt.input) == ("ann", "completed", found.inputs)
    assert (attempt.output, attempt.trace_id, attempt.provenance) == (
        {"rows": 3},
        found.trace_id,
        "elsewhere",
    )
    assert attempt.idempotency_key == idempotency_key(name, "", "nightly_import", None)
    assert [(one.kind, one.attempt, one.payload.get("message")) for one in history.events(name)] == [
        ("execution_started", 1, None),
        ("progress", 1, "12 of 40 files"),
        ("progress", 1, "40 of 40 files"),
        ("execution_completed", 1, None),
    ]


@pytest.mark.semantics("W1")
def test_it_is_counted_and_found_like_any_other(elsewhere: Elsewhere, engine: Engine) -> None:
    name = elsewhere.start("nightly", agent="ann")
    elsewhere.fail(name, "the flux capacitor is cold", tokens=5)
    query = (
        "SELECT name, status, count, tokens_used FROM metrics WHERE dimension IN ('task', 'agent') ORDER BY 1"
    )
    with reading(engine) as connection:
        assert [tuple(row) for row in connection.execute(text(query))] == [
            ("ann", "failed", 1, 5),
            ("nightly", "failed", 1, 5),
        ]
        assert "capacitor" in str(connection.execute(text("SELECT words FROM texts")).scalar())


@pytest.mark.semantics("Q10", "W1")
def test_personal_data_of_it_is_not_kept(elsewhere: Elsewhere, engine: Engine) -> None:
    name = elsewhere.start("nightly", {"to": "ann@example.com"})
    elsewhere.progress(name, "mail", "to ann@example.com")
    for _ in range(2):  # also told again it is the same
        elsewhere.fail(name, ValueError("ann@example.com does not answer"), will_retry=True)
    elsewhere.start("nightly", {"to": "ann@example.com"}, id=name)
    for _ in range(2):
        elsewhere.complete(name, {"sent": "ann@example.com"})
    assert "ann@example" not in str(rows(engine))
    assert History(engine).execution(name).outputs == {"sent": "[email]"}


@pytest.mark.semantics("W2")
def test_an_id_is_made_of_time_and_task_and_never_twice_the_same(elsewhere: Elsewhere) -> None:
    made = [elsewhere.start("nightly-import") for _ in range(20)]
    assert len(set(made)) == 20
    assert all(re.fullmatch(r"exec-\d{13}-nightly-import", name) for name in made)


@pytest.mark.semantics("W4")
def test_a_failure_that_will_be_retried_leaves_it_pending_with_one_more(
    elsewhere: Elsewhere, history: History
) -> None:
    name = elsewhere.start("nightly", {"n": 1}, agent="ann", id="mine")
    elsewhere.fail(name, "it broke", will_retry=True, tokens=3)
    found = history.execution(name)
    assert (found.status, found.attempts, found.error, found.finished_at) == ("pending", 2, None, None)
    assert (found.tokens_used, found.outputs) == (3, None)

    assert elsewhere.start("nightly", id=name) == name
    assert (history.execution(name).status, history.execution(name).attempts) == ("running", 2)
    elsewhere.complete(name, {"rows": 1}, tokens=4)
    found = history.execution(name)
    assert (found.status, found.attempts, found.error, found.tokens_used) == ("completed", 2, None, 7)
    first, second = history.attempts(name)
    assert (first.status, first.attempt, first.error and first.error.will_retry) == ("failed", 1, True)
    assert (second.status, second.attempt, second.causes) == ("completed", 2, ("retry", "user"))
    assert (second.retry_of, second.agent, second.input) == (first.span_id, "ann", {"n": 1})
    assert second.idempotency_key == first.idempotency_key
    told = [(one.kind, one.attempt, one.payload.get("will_retry")) for one in history.events(name)]
    assert told == [
        ("execution_started", 1, None),
        ("execution_failed", 1, True),
        ("execution_started", 2, None),
        ("execution_completed", 2, None),
    ]


@pytest.mark.semantics("W4")
def test_a_program_whose_clock_is_late_can_begin_the_next_try(
    elsewhere: Elsewhere, engine: Engine, history: History
) -> None:
    elsewhere.start("nightly", id="mine")
    elsewhere.fail("mine", "it broke", will_retry=True)
    ahead = datetime.now(UTC) + timedelta(hours=1)
    apply(engine, [execution("mine", "pending", attempts=2, provenance="elsewhere", as_of=ahead)])

    elsewhere.start("nightly", id="mine")
    assert history.execution("mine").status == "running"
    elsewhere.fail("mine", "again", will_retry=True)
    assert (history.execution("mine").status, history.execution("mine").attempts) == ("pending", 3)


@pytest.mark.semantics("W3")
def test_started_twice_with_one_key_it_is_one_execution(elsewhere: Elsewhere, history: History) -> None:
    name = elsewhere.start("nightly", idempotency_key="2026-01-31")
    assert elsewhere.start("nightly", idempotency_key="2026-01-31") == name
    [attempt] = history.attempts(name)
    assert attempt.idempotency_key == hashlib.sha256(b"nightly\x1f2026-01-31").hexdigest()

    elsewhere.complete(name)
    assert elsewhere.start("nightly", idempotency_key="2026-01-31") == name
    assert history.execution(name).status == "completed"
    assert elsewhere.start("weekly", idempotency_key="2026-01-31") != name
    assert elsewhere.start("nightly", idempotency_key="2026-02-01") != name


@pytest.mark.semantics("W3")
def test_the_key_also_begins_the_next_try(elsewhere: Elsewhere, history: History) -> None:
    name = elsewhere.start("nightly", idempotency_key="k")
    elsewhere.fail(name, "it broke", will_retry=True)
    assert elsewhere.start("nightly", idempotency_key="k") == name
    assert (history.execution(name).status, history.execution(name).attempts) == ("running", 2)


@pytest.mark.semantics("W3")
def test_programs_that_start_at_once_with_one_key_start_one_execution(
    open_engine: Callable[[], Engine],
) -> None:
    programs = [Elsewhere(open_engine(), clean) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for key in ("a", "b", "c"):
            started = pool.map(lambda one, key=key: one.start("nightly", idempotency_key=key), programs)
            assert len(set(started)) == 1
        assert len(set(pool.map(lambda one: one.start("nightly"), programs))) == 4


@pytest.mark.semantics("W3")
def test_keys_are_found_by_their_index(elsewhere: Elsewhere, engine: Engine) -> None:
    elsewhere.start("nightly", idempotency_key="k")
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    query = "SELECT execution_id FROM attempts WHERE idempotency_key = 'x' AND provenance = 'elsewhere'"
    with reading(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = str(connection.execute(text(f"{explain} {query}")).all())
    assert "ix_attempts_idempotency_key" in plan


@pytest.mark.semantics("W2")
def test_a_start_that_is_repeated_while_it_runs_starts_nothing(
    elsewhere: Elsewhere, history: History
) -> None:
    assert elsewhere.start("nightly", id="mine") == elsewhere.start("nightly", id="mine")
    assert len(history.events("mine")) == 1


@pytest.mark.semantics("W2")
def test_a_start_that_makes_no_sense_is_refused_with_the_reason(elsewhere: Elsewhere, engine: Engine) -> None:
    apply(engine, [execution("temporals", "running", task_id="nightly")])
    elsewhere.start("nightly", id="ended", idempotency_key="k")
    elsewhere.complete("ended")
    elsewhere.start("nightly", id="running")
    before = rows(engine)
    for words, reason in (
        ({"id": "temporals"}, "run by Temporal"),
        ({"id": "ended"}, "ended already: it is completed"),
        ({"id": "running", "idempotency_key": "other"}, "another idempotency key"),
        ({"id": "running", "idempotency_key": "k"}, "is that of ended"),
    ):
        with pytest.raises(Refused, match=reason):
            elsewhere.start("nightly", **words)  # type: ignore[arg-type]  # each is one of its words
    with pytest.raises(Refused, match="an execution of nightly, not of weekly"):
        elsewhere.start("weekly", id="running")
    with pytest.raises(UnknownExecution, match="cannot be repeated"):
        elsewhere.start("nightly", retry_of="nobody")
    assert rows(engine) == before


@pytest.mark.semantics("W1")
def test_a_repetition_shares_the_trace(elsewhere: Elsewhere, history: History) -> None:
    first = elsewhere.start("nightly", trace_id="ab" * 16)
    elsewhere.fail(first, "it broke")
    second = history.execution(elsewhere.start("nightly", retry_of=first))
    assert (second.trace_id, second.retry_of, second.cause) == ("ab" * 16, first, "retry")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param({"task": ""}, id="no task"),
        pytest.param({"task": "?!"}, id="a task without a letter"),
        pytest.param({"task": "a\nb"}, id="a task of two lines"),
        pytest.param({"id": "a/b"}, id="an id with a slash"),
        pytest.param({"id": ""}, id="no id"),
        pytest.param({"inputs": {"x": float("nan")}}, id="no number"),
        pytest.param({"inputs": {"x": object()}}, id="no JSON"),
        pytest.param({"inputs": {"x": "\ud800"}}, id="half a character"),
        pytest.param({"inputs": {"x": "y" * 300_000}}, id="too much"),
        pytest.param({"inputs": [1]}, id="a list"),
        pytest.param({"idempotency_key": ""}, id="no key"),
        pytest.param({"trace_id": "ABC"}, id="no trace"),
        pytest.param({"agent": "\ud800"}, id="an agent with half a character"),
    ],
)
def test_words_that_cannot_be_kept_are_refused(elsewhere: Elsewhere, engine: Engine, words: Any) -> None:
    with pytest.raises(InvalidInputs):
        elsewhere.start(**{"task": "nightly", **words})
    assert rows(engine)["executions"] == []


@pytest.mark.parametrize(
    "used",
    [
        {"tokens": -1},
        {"tokens": True},
        {"cost": float("inf")},
        {"questions": 2**31},
        {"tokens": 1.5},
        {"files": [""]},
    ],
    ids=str,
)
def test_what_cannot_be_counted_is_refused(elsewhere: Elsewhere, history: History, used: Any) -> None:
    name = elsewhere.start("nightly")
    with pytest.raises(InvalidInputs):
        elsewhere.complete(name, **used)
    assert history.execution(name).status == "running"


# --- ends -----------------------------------------------------------------------------------------

Tell = Callable[[Elsewhere, str], None]
ENDS: dict[str, Tell] = {
    "completed": lambda told, name: told.complete(name, {"rows": 3}, tokens=1),
    "failed": lambda told, name: told.fail(name, StepFailed("no", Category.LOGIC), cost=0.1),
    "pending": lambda told, name: told.fail(name, "no", will_retry=True),
    "cancelled": lambda told, name: told.cancel(name, "not needed"),
}


@pytest.mark.semantics("W5")
@pytest.mark.parametrize("end", ENDS)
def test_an_end_that_is_told_again_changes_nothing(
    elsewhere: Elsewhere, engine: Engine, history: History, end: str
) -> None:
    name = elsewhere.start("nightly")
    ENDS[end](elsewhere, name)
    before = rows(engine)
    ENDS[end](elsewhere, name)
    assert rows(engine) == before
    assert history.execution(name).status == end


@pytest.mark.semantics("W5")
@pytest.mark.parametrize("end", ENDS)
def test_another_end_is_refused_and_leaves_nothing(elsewhere: Elsewhere, engine: Engine, end: str) -> None:
    others: dict[str, Tell] = ENDS | {
        "other outputs": lambda told, name: told.complete(name, {"rows": 4}, tokens=1),
        "other use": lambda told, name: told.complete(name, {"rows": 3}, tokens=2),
        "other error": lambda told, name: told.fail(name, "something else", will_retry=end == "pending"),
        "other reason": lambda told, name: told.cancel(name, "too late"),
        "progress": lambda told, name: told.progress(name, "late"),
    }
    del others[end]
    if end == "pending":
        del others["cancelled"], others["other reason"]  # which is how it can end between two tries
    name = elsewhere.start("nightly")
    ENDS[end](elsewhere, name)
    before = rows(engine)
    for other, tell in others.items():
        with pytest.raises(Refused, match="waits for try 2" if end == "pending" else "ended already"):
            tell(elsewhere, name)
        assert rows(engine) == before, other


@pytest.mark.semantics("W5")
def test_of_ends_told_at_once_one_is_true_and_the_others_are_refused(
    open_engine: Callable[[], Engine], history: History
) -> None:
    programs = [Elsewhere(open_engine(), clean) for _ in range(4)]

    def tell(number: int) -> bool:
        try:
            programs[number].complete("mine", {"by": number})
        except Refused:
            return False
        return True

    programs[0].start("nightly", id="mine")
    with ThreadPoolExecutor(4) as pool:
        accepted = [number for number, taken in enumerate(pool.map(tell, range(4))) if taken]
    assert history.execution("mine").outputs == {"by": accepted[0]}
    assert len(accepted) == 1
    assert [one.kind for one in history.events("mine")] == ["execution_started", "execution_completed"]


@pytest.mark.semantics("W5")
def test_what_was_never_started_or_is_temporals_cannot_end(elsewhere: Elsewhere, engine: Engine) -> None:
    apply(engine, [execution("temporals", "running")])
    for tell in ENDS.values():
        with pytest.raises(UnknownExecution, match="nobody"):
            tell(elsewhere, "nobody")
        with pytest.raises(Refused, match="run by Temporal"):
            tell(elsewhere, "temporals")


@pytest.mark.semantics("W5")
def test_it_can_be_given_up_between_two_tries(elsewhere: Elsewhere, history: History) -> None:
    name = elsewhere.start("nightly")
    elsewhere.fail(name, "it broke", will_retry=True)
    elsewhere.cancel(name, "enough")
    elsewhere.cancel(name, "enough")
    found = history.execution(name)
    assert (found.status, found.error and found.error.message) == ("cancelled", "enough")
    assert [one.status for one in history.attempts(name)] == ["failed"]
    assert [one.kind for one in history.events(name)][-1] == "execution_cancelled"
    with pytest.raises(Refused):
        elsewhere.start("nightly", id=name)


def test_an_exception_is_kept_with_its_stack_and_hash(elsewhere: Elsewhere, history: History) -> None:
    name = elsewhere.start("nightly")
    try:
        {}["x"]  # type: ignore[index]  # it is to fail
    except KeyError as error:
        elsewhere.fail(name, error)
    [attempt] = history.attempts(name)
    assert (attempt.error_type, attempt.error_category) == ("step_failed", "transient")
    assert attempt.error_message == "KeyError: 'x'"
    assert "test_store_elsewhere" in str(attempt.stack)
    assert attempt.stack_hash


def test_a_failure_is_kept_as_it_is(elsewhere: Elsewhere, history: History) -> None:
    failure = Failure(type="timed_out", message="too slow", category=Category.RESOURCE, hint="less")
    name = elsewhere.start("nightly")
    elsewhere.fail(name, failure)
    assert history.execution(name).error == failure


@pytest.mark.semantics("W6")
def test_who_asks_what_temporal_runs_is_not_told_of_it(elsewhere: Elsewhere, engine: Engine) -> None:
    apply(engine, [execution("temporals", "running")])
    elsewhere.start("nightly")
    assert History(engine).in_temporal(ExecutionStatus.RUNNING, limit=10) == ("temporals",)


def test_estimates_leave_it_out(elsewhere: Elsewhere, engine: Engine) -> None:
    """It has no steps of the task, so nothing can be learned from it."""
    from taskmark.store.experience import experience

    elsewhere.complete(elsewhere.start("nightly"), tokens=5)
    assert experience(engine, "nightly").executions == 0


# --- anything at all ------------------------------------------------------------------------------


def assert_is(started: str, name: str) -> None:
    assert started == name


CALLS: dict[str, Tell] = ENDS | {
    "start": lambda told, name: assert_is(told.start("nightly", id=name), name),
    "progress": lambda told, name: told.progress(name, "load"),
}


@pytest.fixture(scope="module")
def model_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    from taskmark.store.schema import open_store

    engine = open_store(f"sqlite:///{tmp_path_factory.mktemp('any') / 'history.db'}")
    yield engine
    engine.dispose()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.sampled_from(sorted(CALLS)), max_size=12))
def test_whatever_is_told_in_whatever_order_the_rows_agree(model_engine: Engine, calls: list[str]) -> None:
    """Attempts, events and the row tell one story, and what is refused changes nothing."""
    clear(model_engine)
    elsewhere, history = Elsewhere(model_engine, clean), History(model_engine)
    for call in calls:
        before = rows(model_engine)
        try:
            CALLS[call](elsewhere, "mine")
        except (Refused, UnknownExecution):
            assert rows(model_engine) == before
    if "start" not in calls:
        return
    row, attempts, events = history.execution("mine"), history.attempts("mine"), history.events("mine")
    begun = [one.attempt for one in events if one.kind == "execution_started"]
    assert begun == list(range(1, len(attempts) + 1)) == [one.attempt for one in attempts]
    assert [one.status for one in attempts[:-1]] == ["failed"] * (len(attempts) - 1)
    assert row.attempts - len(attempts) in ((1,) if row.status == "pending" else (0, 1))
    if row.status.is_final:
        assert events[-1].kind == f"execution_{row.status}"
        assert row.finished_at is not None
