"""Questions get typed answers, the same from both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Engine
from store_records import at, attempt, event, execution, phase

from taskmark.errors import UnknownExecution
from taskmark.records import Record
from taskmark.store.reading import CANDIDATES, History, StoredEvent
from taskmark.store.writing import apply

ID = "exec-1-demo"


# --- one execution --------------------------------------------------------------------------------


def test_an_id_may_be_shortened_as_long_as_it_fits_one(engine: Engine, history: History) -> None:
    apply(engine, [execution("exec-1-a"), execution("exec-2-b"), execution("Exec-3-c")])

    assert history.execution("exec-2").execution_id == "exec-2-b"
    assert history.execution("Exec").execution_id == "Exec-3-c"


def test_a_whole_id_is_found_though_others_begin_with_it(engine: Engine, history: History) -> None:
    apply(engine, [execution("exec-1"), execution("exec-1-a"), execution("exec-12")])
    assert history.execution("exec-1").execution_id == "exec-1"


def test_an_ambiguous_prefix_is_explained_with_candidates(engine: Engine, history: History) -> None:
    apply(engine, [execution(f"exec-1-{letter}") for letter in "abcdefgh"])

    with pytest.raises(UnknownExecution, match="Several executions") as unknown:
        history.execution("exec-1-")
    assert str(unknown.value.hint).startswith("One of exec-1-a, exec-1-b, ")
    assert str(unknown.value.hint).count("exec-1-") == CANDIDATES
    with pytest.raises(UnknownExecution) as unknown:
        history.execution("exec-1")
    assert str(unknown.value.hint).endswith("…")


@pytest.mark.parametrize("id", ["", "exec-9", "%", "exec_1", "EXEC-1", "\x00", "\ud800", "' OR 1=1 --"])
def test_an_id_that_fits_none_is_unknown(engine: Engine, history: History, id: str) -> None:
    apply(engine, [execution("exec-1")])
    with pytest.raises(UnknownExecution, match="No execution has the id"):
        history.execution(id)


def test_a_prefix_ends_where_a_character_of_another_language_begins(engine: Engine, history: History) -> None:
    apply(engine, [execution("exec-1-größe"), execution("exec-1-grün"), execution("exec-1-日本")])

    assert history.execution("exec-1-grö").execution_id == "exec-1-größe"
    assert history.execution("exec-1-日").execution_id == "exec-1-日本"


# --- phases, attempts, events ---------------------------------------------------------------------


def test_phases_and_attempts_come_in_the_order_of_their_starts(engine: Engine, history: History) -> None:
    apply(
        engine, [phase("late", started_at=at(2)), phase("early", started_at=at(1)), phase("never", "skipped")]
    )
    apply(
        engine,
        [
            attempt("b", attempt=2, started_at=at(3)),
            attempt("b", started_at=at(1)),
            attempt("a", started_at=at(2)),
            attempt("a", item=1),
            attempt("a", item=0),
            attempt("a", execution_id="other"),
        ],
    )

    assert [one.phase for one in history.phases(ID)] == ["early", "late", "never"]
    found = [(one.step, one.attempt, one.item) for one in history.attempts(ID)]
    assert found == [("b", 1, None), ("a", 1, None), ("b", 2, None), ("a", 1, 0), ("a", 1, 1)]
    assert [one.attempt for one in history.attempts(ID, step="b")] == [1, 2]


def test_events_are_read_from_a_number_on(engine: Engine, history: History) -> None:
    apply(engine, [event(occurrence=number) for number in range(10)])

    assert [one.seq for one in history.events(ID, after=7)] == [8, 9, 10]
    assert [one.seq for one in history.events(ID, after=2, limit=3)] == [3, 4, 5]
    assert history.events("nothing") == ()


# --- following ------------------------------------------------------------------------------------


async def collected(events: AsyncIterator[StoredEvent]) -> list[int]:
    return [one.seq async for one in events]


async def test_following_gives_each_event_once_and_ends_with_the_execution(
    engine: Engine, history: History
) -> None:
    apply(engine, [execution(), event("execution_started")])
    following = asyncio.create_task(collected(history.follow(ID, interval=0.01)))
    for number in range(5):
        await asyncio.to_thread(apply, engine, [event(occurrence=number)])
    assert not following.done()
    end: list[Record] = [event("execution_completed"), execution(status="completed", finished_at=at(1))]
    await asyncio.to_thread(apply, engine, end)

    assert await asyncio.wait_for(following, 20) == list(range(1, 8))


async def test_an_end_known_before_its_last_events_is_awaited(engine: Engine, history: History) -> None:
    apply(engine, [execution(status="completed"), event("execution_started")])
    following = history.follow(ID, interval=0.3)
    first = await anext(following)
    waiting = asyncio.create_task(collected(following))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(apply, engine, [event("execution_completed")])

    assert first.kind == "execution_started"
    assert await asyncio.wait_for(waiting, 20) == [2]


async def test_following_what_is_over_ends_even_if_its_last_event_was_lost(
    engine: Engine, history: History
) -> None:
    apply(engine, [execution(status="failed"), event("execution_started")])
    assert await asyncio.wait_for(collected(history.follow(ID, interval=0.01)), 20) == [1]


async def test_a_second_try_is_followed_to_its_own_last_event(engine: Engine, history: History) -> None:
    """The end of the try before does not stand for the end of all."""
    whole = execution(status="completed", attempts=2)
    apply(engine, [whole, event("execution_failed"), event("execution_started", occurrence=1)])
    following = history.follow(ID, interval=0.3)
    first = [await anext(following), await anext(following)]
    waiting = asyncio.create_task(collected(following))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(apply, engine, [event("execution_completed")])

    assert [one.seq for one in first] == [1, 2]
    assert await asyncio.wait_for(waiting, 20) == [3]


async def test_following_goes_on_after_a_number(engine: Engine, history: History) -> None:
    apply(engine, [execution(status="failed"), event(), event(occurrence=1), event("execution_failed")])
    assert await asyncio.wait_for(collected(history.follow(ID, after=2, interval=0.01)), 20) == [3]


async def test_following_what_does_not_exist_is_an_error(history: History) -> None:
    with pytest.raises(UnknownExecution):
        await anext(history.follow("nothing"))
