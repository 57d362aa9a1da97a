"""Waiting for ends: many who wait, one who looks (W7 to W10)."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event
from store_records import at, execution

from taskmark.errors import UnknownExecution, Unreachable
from taskmark.store import waiting
from taskmark.store.engine import make_engine, reading
from taskmark.store.waiting import AT_ONCE, Completions, rows_ended
from taskmark.store.writing import apply

RARELY = 60.0
"""Seconds between two looks where a test must not have to wait for one."""
PATIENCE = 20.0


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """What the store is asked meanwhile."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "executions" in statement:
            asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.005)


def tell(engine: Engine, *names: str, status: str = "running", **fields: Any) -> None:
    apply(engine, [execution(name, status, **fields) for name in names])


@pytest.mark.semantics("W7")
async def test_what_is_over_is_returned_without_waiting_for_a_look(engine: Engine) -> None:
    tell(engine, "over", status="completed", outputs={"n": 1}, finished_at=at(1))
    tell(engine, "runs")
    completions = Completions(engine, shortest=RARELY, longest=RARELY)
    other = asyncio.create_task(completions.wait("runs"))
    await until(lambda: completions.waiters)
    found = await completions.wait("over", timeout=PATIENCE)
    assert (found.status, found.outputs) == ("completed", {"n": 1})
    other.cancel()


@pytest.mark.semantics("W7")
@pytest.mark.parametrize("status", ["completed", "completed_with_errors", "failed", "timed_out", "cancelled"])
async def test_however_it_ends_waiting_ends_soon_after(engine: Engine, status: str) -> None:
    tell(engine, "mine")
    completions = Completions(engine)
    waiter = asyncio.create_task(completions.wait("mine", timeout=PATIENCE))
    await until(lambda: completions.waiters)
    for going_on in ("paused", "waiting", "running"):
        tell(engine, "mine", status=going_on)
        await asyncio.sleep(0.06)
        assert not waiter.done()
    tell(engine, "mine", status=status, finished_at=at(1))
    assert (await waiter).status == status


@pytest.mark.semantics("W7")
async def test_after_its_timeout_nobody_waits_and_the_execution_is_as_it_was(engine: Engine) -> None:
    tell(engine, "mine")
    completions = Completions(engine)
    with pytest.raises(TimeoutError):
        await completions.wait("mine", timeout=0.05)
    assert completions.waiters == 0


@pytest.mark.semantics("W7")
@pytest.mark.parametrize("timeout", [0, 0.000001, -1])
async def test_what_is_over_is_told_however_short_the_timeout(engine: Engine, timeout: float) -> None:
    """Whoever only asks whether it is over gives no time at all."""
    tell(engine, "over", status="completed", finished_at=at(1))
    assert (await Completions(engine).wait("over", timeout=timeout)).status == "completed"


@pytest.mark.semantics("W8")
async def test_a_thousand_who_wait_cost_one_statement_per_look(engine: Engine) -> None:
    names = [f"exec-{number}" for number in range(1_000)]
    tell(engine, *names)
    completions = Completions(engine, shortest=0.02, longest=0.02)
    with statements(engine) as asked:
        waiters = [asyncio.create_task(completions.wait(name)) for name in names]
        await until(lambda: len(asked) >= 2)
        assert completions.waiters == 1_000
        looks = len(asked)
        started = time.monotonic()
        await until(lambda: len(asked) >= looks + 5)
        tasks = [task for task in asyncio.all_tasks() if task.get_name() == "taskmark-completions"]
        assert len(tasks) == 1
        # as many statements as looks, and no more looks than pauses allow
        assert len(asked) - looks <= (time.monotonic() - started) / 0.02 + 2
        assert not [waiter for waiter in waiters if waiter.done()]
        tell(engine, *names, status="completed", finished_at=at(1))
        found = await asyncio.gather(*waiters)
    assert [one.execution_id for one in found] == names
    assert completions.waiters == 0


@pytest.mark.semantics("W8")
async def test_more_than_fit_a_statement_are_asked_for_in_several(engine: Engine) -> None:
    completions = Completions(engine, shortest=RARELY, longest=RARELY)
    with statements(engine) as asked:
        waiters = [
            asyncio.create_task(completions.wait(f"exec-{number}", expected=True))
            for number in range(2 * AT_ONCE + 1)
        ]
        await until(lambda: len(asked) >= 3)
        await asyncio.sleep(0.05)
    assert len(asked) == 3
    for waiter in waiters:
        waiter.cancel()


@pytest.mark.semantics("W8")
async def test_who_waits_for_the_same_is_answered_together(engine: Engine) -> None:
    tell(engine, "mine")
    completions = Completions(engine)
    waiters = [asyncio.create_task(completions.wait("mine", timeout=PATIENCE)) for _ in range(50)]
    await until(lambda: completions.waiters == 50)
    waiters[0].cancel()
    tell(engine, "mine", status="failed", finished_at=at(1))
    assert {one.status for one in await asyncio.gather(*waiters[1:])} == {"failed"}


@pytest.mark.semantics("W8")
async def test_the_reader_ends_with_the_last_who_waits(engine: Engine) -> None:
    tell(engine, "one", "two")
    completions = Completions(engine, shortest=RARELY, longest=RARELY)
    waiters = [asyncio.create_task(completions.wait(name)) for name in ("one", "two")]
    await until(lambda: completions.waiters == 2)
    [reader] = [task for task in asyncio.all_tasks() if task.get_name() == "taskmark-completions"]
    waiters[0].cancel()
    await asyncio.sleep(0.05)
    assert not reader.done()
    waiters[1].cancel()
    await until(reader.done)

    tell(engine, "one", status="completed", finished_at=at(1))
    assert (await completions.wait("one", timeout=PATIENCE)).status == "completed"  # another one begins


@pytest.mark.semantics("W8")
@pytest.mark.parametrize("how", ["done", "cancelled", "timed out", "unknown"])
async def test_who_has_waited_leaves_nothing_in_memory(engine: Engine, how: str) -> None:
    """At once: no garbage has to be searched for, and another one still waits."""
    tell(engine, "mine", "other")
    completions = Completions(engine, shortest=0.01, longest=0.01)
    other = asyncio.create_task(completions.wait("other"))
    name = "nobody" if how == "unknown" else "mine"
    gc.collect()
    gc.disable()
    try:
        left = await _waited(completions, name, how, engine)
        await asyncio.sleep(0.05)
        assert left() is None
    finally:
        gc.enable()
    assert completions.waiters == 1
    assert completions._waiting.keys() == {"other"}
    assert not completions._new
    other.cancel()


async def _waited(completions: Completions, name: str, how: str, engine: Engine) -> weakref.ref[Any]:
    """Waits and returns a weak reference to what was waited with, or for."""
    waiter = asyncio.create_task(completions.wait(name, timeout=0.1 if how == "timed out" else PATIENCE))
    await until(lambda: how == "unknown" or name in completions._waiting)
    if how == "done":
        tell(engine, name, status="completed", finished_at=at(1))
        return weakref.ref(await waiter)
    [answer] = completions._waiting[name] if how != "unknown" else [waiter]
    if how == "cancelled":
        waiter.cancel()
    await asyncio.wait([waiter])
    expected = {"timed out": TimeoutError, "unknown": UnknownExecution}
    assert waiter.cancelled() if how == "cancelled" else isinstance(waiter.exception(), expected[how])
    return weakref.ref(answer)


@pytest.mark.semantics("W9")
async def test_a_store_that_is_away_is_waited_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tell(engine, "early", "late")
    away = threading.Event()

    @contextmanager
    def sometimes(of: Engine) -> Iterator[Any]:
        if away.is_set():
            raise Unreachable("the store is down")
        with reading(of) as connection:
            yield connection

    monkeypatch.setattr(waiting, "reading", sometimes)
    monkeypatch.setattr(waiting, "OUTAGE", 0.02)
    completions = Completions(engine, shortest=0.01, longest=0.01)
    early = asyncio.create_task(completions.wait("early", timeout=PATIENCE))
    await until(lambda: completions.waiters)
    away.set()
    with caplog.at_level(logging.WARNING):
        await until(lambda: "the store is down" in caplog.text)
    late = asyncio.create_task(completions.wait("late", timeout=PATIENCE))
    unknown = asyncio.create_task(completions.wait("nobody", timeout=PATIENCE))
    with pytest.raises(TimeoutError):
        await completions.wait("early", timeout=0.05)
    tell(engine, "early", "late", status="completed", finished_at=at(1))
    assert not [one for one in (early, late, unknown) if one.done()]
    away.clear()
    assert [one.execution_id for one in await asyncio.gather(early, late)] == ["early", "late"]
    with pytest.raises(UnknownExecution):
        await unknown
    assert caplog.text.count("goes on waiting") == 1  # however often it was tried


@pytest.mark.semantics("W9")
async def test_a_server_that_does_not_answer_yet_ends_no_waiting() -> None:
    completions = Completions(make_engine("postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(TimeoutError):
        await completions.wait("mine", timeout=0.3)


@pytest.mark.semantics("W10")
@pytest.mark.parametrize("name", ["nobody", "nul\x00", "half\ud800", ""])
async def test_what_nobody_has_told_of_is_refused(engine: Engine, name: str) -> None:
    tell(engine, "nobody-else", status="completed")
    completions = Completions(engine)
    with pytest.raises(UnknownExecution):
        await completions.wait(name, timeout=PATIENCE)
    assert completions.waiters == 0


@pytest.mark.semantics("W10")
async def test_what_is_expected_is_waited_for(engine: Engine) -> None:
    completions = Completions(engine)
    waiter = asyncio.create_task(completions.wait("mine", timeout=PATIENCE, expected=True))
    await until(lambda: completions.waiters)
    with pytest.raises(UnknownExecution):
        await completions.wait("mine", timeout=PATIENCE)
    assert not waiter.done()
    tell(engine, "mine", status="completed", finished_at=at(1))
    assert (await waiter).status == "completed"


async def test_what_cannot_be_read_is_told_to_who_waits(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits in vain for a reader that has stumbled, and the next one begins anew."""
    tell(engine, "mine", status="completed")
    completions = Completions(engine)
    with monkeypatch.context() as broken:
        broken.setattr(waiting, "fields", lambda *_: {"status": "a state of tomorrow"})
        with pytest.raises(ValueError, match="a state of tomorrow"):
            await completions.wait("mine", timeout=PATIENCE)
    assert (await completions.wait("mine", timeout=PATIENCE)).status == "completed"


def test_it_serves_one_event_loop_after_the_other(engine: Engine) -> None:
    tell(engine, "mine", status="completed")
    completions = Completions(engine)
    for _ in range(2):
        assert asyncio.run(completions.wait("mine", timeout=PATIENCE)).status == "completed"


@pytest.mark.semantics("W8")
def test_executions_are_looked_up_by_their_ids(engine: Engine) -> None:
    """However many there are: through the primary key, not through those that have ended."""
    tell(engine, *(f"exec-{number}" for number in range(500)), status="completed")
    asked = rows_ended(engine.dialect.name).params(wanted='[["exec-1"], ["exec-2"]]')
    query = str(asked.compile(engine, compile_kwargs={"literal_binds": True}))
    with reading(engine) as connection:
        if engine.dialect.name == "sqlite":
            plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all())
            assert "USING INDEX sqlite_autoindex_executions_1 (execution_id=?)" in plan
        else:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = str(connection.exec_driver_sql(f"EXPLAIN {query}").all())
            assert "pk_executions" in plan
