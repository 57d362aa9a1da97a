"""All workers together keep to a target's rate, and leave it alone when it says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from taskmark.errors import Category, Unreachable
from taskmark.ports import StepContext
from taskmark.shared import Change, MemoryShared, Shared
from taskmark.store.schema import open_store
from taskmark.store.sharing import StoredShared
from taskmark.task.model import Json
from taskmark.tools.pace import HELD_OFF, LONGEST_HOLD, PACE, HeldOff, Limit, Pace, Turns
from taskmark.tools.sharing import Sharing

TENTH = Limit("chat", "team", per_minute=600)
"""One turn each tenth of a second."""
HALF = Limit("chat", "team", per_minute=120)
"""One each half of a second."""
SELDOM = Limit("chat", "team", per_minute=1)


@pytest.fixture(params=["memory", "store"])
def worker(request: pytest.FixtureRequest, tmp_path: Path, root: Path) -> Iterator[Callable[[], StepContext]]:
    """Returns where one worker after the other runs a step; all of them share the same values."""
    engines, memory, url = [], MemoryShared(), f"sqlite:///{tmp_path / 'shared.db'}"

    def another() -> StepContext:
        if request.param == "memory":
            return StepContext(root=root, shared=memory)
        engines.append(open_store(url))
        return StepContext(root=root, shared=StoredShared(lambda engine=engines[-1]: engine))

    yield another
    for engine in engines:
        engine.dispose()


async def asked(pace: Pace, limit: Limit, context: StepContext, times: list[float]) -> None:
    await pace.turn(limit, context, 5)
    times.append(time.monotonic())


# --- the rate -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("burst", "at_once"), [(0.5, 1), (1, 1), (4, 4), (2.5, 2)])
def test_after_a_pause_as_many_go_at_once_as_may(burst: float, at_once: int) -> None:
    limit, known, waits = Limit("t", "x", per_minute=60, burst=burst), Turns(), []
    for _ in range(at_once + 2):
        waits.append(known.wait(limit, 1000.0))
        known = known.taken(limit, 1000.0)
    assert waits[:at_once] == [0.0] * at_once
    assert 0 < waits[at_once] <= 1
    assert waits[-1] - waits[-2] == pytest.approx(1)


async def test_all_workers_together_keep_to_the_rate(worker: Callable[[], StepContext]) -> None:
    times: list[float] = []
    began = time.monotonic()
    await asyncio.gather(
        *(asked(Pace(), replace(TENTH, burst=2), context, times) for context in [worker(), worker()] * 3)
    )
    gone = sorted(at - began for at in times)
    assert gone[-1] > 0.39
    assert all(at > 0.1 * (number - 1) - 0.01 for number, at in enumerate(gone))


async def test_each_target_of_each_tool_has_turns_of_its_own(worker: Callable[[], StepContext]) -> None:
    pace, context = Pace(), worker()
    for limit in (SELDOM, replace(SELDOM, target="other"), replace(SELDOM, tool="mail")):
        await asyncio.wait_for(pace.turn(limit, context, 1), 3)
    assert isinstance(context.shared.get(PACE, "chat:team"), dict)


async def test_a_turn_that_would_come_too_late_is_told_at_once_and_not_taken(
    worker: Callable[[], StepContext],
) -> None:
    said: list[str] = []
    context = replace(worker(), say=said.append)
    await Pace().turn(SELDOM, context, 5)
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(HeldOff, match=r"team: the next turn is in (60|59)\.\d s only") as caught:
            await Pace().turn(SELDOM, worker(), 5)
        assert time.monotonic() - began < 4
        assert (caught.value.category, caught.value.type) == (Category.TRANSIENT, HELD_OFF)
        assert 50 < (caught.value.retry_after or 0) <= 55
        assert "team is asked 1 times a minute" in caught.value.message
    assert said == []


async def test_after_the_time_that_a_failure_names_the_turn_is_there(
    worker: Callable[[], StepContext],
) -> None:
    context = worker()
    await Pace().turn(HALF, context, 5)
    with pytest.raises(HeldOff) as caught:
        await Pace().turn(HALF, context, 0.1)
    assert caught.value.retry_after is not None
    await asyncio.sleep(caught.value.retry_after + 0.02)
    await Pace().turn(HALF, context, 0.1)


async def test_who_waits_says_for_what(worker: Callable[[], StepContext]) -> None:
    said: list[str] = []
    context = replace(worker(), say=said.append)
    for _ in range(2):
        await Pace().turn(HALF, context, 5)
    assert said[0].endswith(" s for its turn at team: team is asked 120 times a minute")
    await Pace().turn(Limit("chat", "quick", per_minute=60_000), context, 5)
    await Pace().turn(Limit("chat", "quick", per_minute=60_000), context, 5)
    assert len(said) == 1


async def test_who_is_cancelled_while_it_waits_stops_at_once(worker: Callable[[], StepContext]) -> None:
    context = worker()
    await Pace().turn(SELDOM, context, 5)
    waiting = asyncio.create_task(Pace().turn(SELDOM, context, 100))
    await asyncio.sleep(0.2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 1)


# --- leave me alone -------------------------------------------------------------------------------


async def test_a_target_that_asks_for_rest_gets_it_from_every_worker(
    worker: Callable[[], StepContext],
) -> None:
    """And after that it is asked by one, not by all who have waited."""
    limit, times, said = replace(TENTH, burst=10), list[float](), list[str]()
    contexts = [replace(worker(), say=said.append) for _ in range(3)]
    began = time.monotonic()
    await Pace().hold(limit, contexts[0], 0.6)
    await asyncio.gather(*(asked(Pace(), limit, context, times) for context in contexts))
    for number, at in enumerate(sorted(times)):
        assert at - began > 0.59 + 0.1 * number
    assert all(one.endswith("its turn at team: it asked to be left alone") for one in said)


async def test_who_sleeps_already_does_not_disturb_it_either(worker: Callable[[], StepContext]) -> None:
    times: list[float] = []
    one, other = worker(), worker()
    await Pace().turn(HALF, one, 5)
    sleeping = [asyncio.create_task(asked(Pace(), HALF, one, times)) for _ in range(2)]
    await asyncio.sleep(0.05)
    began = time.monotonic()
    await Pace().hold(HALF, other, 0.8)
    await asyncio.gather(*sleeping)
    gone = sorted(at - began for at in times)
    assert gone[0] > 0.79
    assert gone[1] > 1.29


async def test_who_sleeps_is_told_if_the_rest_takes_too_long(worker: Callable[[], StepContext]) -> None:
    one, other = worker(), worker()
    await Pace().turn(HALF, one, 5)
    sleeping = asyncio.create_task(Pace().turn(HALF, one, 1))
    await asyncio.sleep(0.05)
    await Pace().hold(HALF, other, 60)
    with pytest.raises(HeldOff, match="it asked to be left alone"):
        await asyncio.wait_for(sleeping, 4)


@pytest.mark.parametrize("seconds", [1e9, float("inf")])
async def test_a_target_cannot_silence_us_for_ever(seconds: float, worker: Callable[[], StepContext]) -> None:
    await Pace().hold(TENTH, worker(), seconds)
    with pytest.raises(HeldOff) as caught:
        await Pace().turn(TENTH, worker(), 5)
    assert caught.value.retry_after == pytest.approx(LONGEST_HOLD - 5, abs=2)


async def test_a_shorter_rest_does_not_end_a_longer_one(worker: Callable[[], StepContext]) -> None:
    for seconds in (60, 0, -5):
        await Pace().hold(TENTH, worker(), seconds)
    with pytest.raises(HeldOff):
        await Pace().turn(TENTH, worker(), 5)


# --- clocks and odd values ------------------------------------------------------------------------


async def test_a_worker_whose_clock_is_ahead_does_not_stop_the_others(
    worker: Callable[[], StepContext],
) -> None:
    """What counts is how long it meant. A failure does not make that begin anew."""
    context, ahead = worker(), time.time() + 10_000
    context.shared.put(PACE, TENTH.key, {"due": ahead + 0.4, "held": ahead + 0.3, "at": ahead}, 60)
    began = time.monotonic()
    for _ in range(3):
        with suppress(HeldOff):
            await Pace().turn(TENTH, context, 0.01)
        await asyncio.sleep(0.05)
    await Pace().turn(TENTH, context, 5)
    assert 0.35 < time.monotonic() - began < 5


@pytest.mark.parametrize("odd", ["x", 17, [1], {}, {"due": "soon", "at": None}])
async def test_what_is_no_turn_is_taken_for_none(odd: Json, worker: Callable[[], StepContext]) -> None:
    context = worker()
    context.shared.put(PACE, TENTH.key, odd, 60)
    await Pace().turn(TENTH, context, 0)


# --- without the store ----------------------------------------------------------------------------


class Faulty(MemoryShared):
    """A store that can be down (infinite) or slow, in seconds."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds

    def get(self, kind: str, key: str) -> Json | None:
        self._stall()
        return super().get(kind, key)

    def change(self, kind: str, key: str, change: Change, ttl: float) -> Json | None:
        self._stall()
        return super().change(kind, key, change, ttl)

    def _stall(self) -> None:
        if self.seconds == float("inf"):
            raise Unreachable("the store does not answer")
        time.sleep(self.seconds)


@pytest.mark.parametrize("seconds", [float("inf"), 3.0])
async def test_without_the_store_a_worker_keeps_to_the_rate_for_itself(seconds: float, root: Path) -> None:
    """Whether it is down or hangs: nobody waits for it for long."""
    context, pace = StepContext(root=root, shared=Faulty(seconds)), Pace(Sharing(patience=0.1))
    times: list[float] = []
    began = time.monotonic()
    await asyncio.gather(*(asked(pace, replace(TENTH, per_minute=300), context, times) for _ in range(3)))
    assert 0.39 < times[-1] - began < 2.5


async def test_what_was_known_last_counts_while_the_store_is_down(root: Path) -> None:
    store, pace = Faulty(), Pace(Sharing(patience=0.1))
    context = StepContext(root=root, shared=store)
    await pace.hold(TENTH, context, 60)
    store.seconds = float("inf")
    with pytest.raises(HeldOff, match="it asked to be left alone"):
        await pace.turn(TENTH, context, 5)


async def test_a_rest_that_is_asked_for_without_the_store_is_heeded(root: Path) -> None:
    pace, context = Pace(Sharing(patience=0.1)), StepContext(root=root, shared=Faulty(float("inf")))
    await pace.turn(HALF, context, 5)
    sleeping = asyncio.create_task(pace.turn(HALF, context, 5))
    await asyncio.sleep(0.05)
    began = time.monotonic()
    await pace.hold(HALF, context, 0.8)
    await sleeping
    assert time.monotonic() - began > 0.79


async def test_a_store_that_someone_else_writes_to_holds_nobody_up_for_long(
    root: Path, tmp_path: Path
) -> None:
    """SQLite would wait for the other's lock for 5 s."""
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    engine, other = open_store(url), open_store(url)
    shared: Shared = StoredShared(lambda: engine)
    context, pace = StepContext(root=root, shared=shared), Pace(Sharing(patience=0.3))
    with other.connect() as writer:
        writer.exec_driver_sql("ROLLBACK")
        writer.exec_driver_sql("BEGIN IMMEDIATE")
        began = time.monotonic()
        await pace.turn(TENTH, context, 5)
        await pace.turn(TENTH, context, 5)
        assert time.monotonic() - began < 3
        writer.exec_driver_sql("ROLLBACK")
        writer.exec_driver_sql("BEGIN")
    engine.dispose()
    other.dispose()
