"""Whoever follows an execution hears of everything once and in order, however it is written."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine
from sqlalchemy import event as hooks
from store_records import event, execution

from taskmark.records import Record
from taskmark.store.reading import History, StoredEvent
from taskmark.store.writing import apply

WRITERS, BATCHES, AT_ONCE = 6, 12, 3
ID, OTHER = "exec-1-demo", "exec-2-demo"


def _late(engine: Engine, seed: int) -> None:
    """Makes what this engine writes visible some time after it was numbered."""
    delays = random.Random(seed)
    hooks.listen(engine, "commit", lambda _: time.sleep(delays.choice((0, 0, 0.002, 0.02))))


def _write(engine: Engine, writer: int) -> None:
    for batch in range(BATCHES):
        told: list[Record] = []
        for number in range(AT_ONCE):
            place = {"step": f"s{writer}", "occurrence": batch * AT_ONCE + number}
            told += [event(id=ID, **place), event(id=OTHER, **place)]
        apply(engine, told)
        apply(engine, told[:2])  # a record may come twice


async def _follow(history: History, seed: int) -> list[StoredEvent]:
    """Follows to the end, going away now and then and coming back to where it was."""
    moods = random.Random(seed)
    found: list[StoredEvent] = []
    while not found or found[-1].kind != "execution_completed":
        after = found[-1].seq if found else 0
        following = history.follow(ID, after, interval=0.005)
        for _ in range(moods.randint(1, 40)):
            heard = await anext(following, None)
            if heard is None:
                break
            found.append(heard)
        await following.aclose()
    return found


async def test_none_is_missed_and_none_told_twice_among_many_writers_that_commit_late(
    open_engine: Callable[[], Engine],
) -> None:
    """A number that is seen before a lower one would make its reader pass that one over."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    engines = [open_engine() for _ in range(WRITERS + 1)]
    apply(engines[-1], [execution(ID), execution(OTHER)])
    for writer, engine in enumerate(engines[:-1]):
        _late(engine, seed + writer)
    followers = [asyncio.create_task(_follow(History(engines[-1]), seed + number)) for number in range(3)]

    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [
            asyncio.get_running_loop().run_in_executor(pool, _write, engine, writer)
            for writer, engine in enumerate(engines[:-1])
        ]
        await asyncio.wait_for(asyncio.gather(*writing), 90)
    end: list[Record] = [event("execution_completed", ID), execution(ID, "completed")]
    await asyncio.to_thread(apply, engines[-1], end)

    whole = WRITERS * BATCHES * AT_ONCE + 1
    for follower in followers:
        found = await asyncio.wait_for(follower, 30)
        assert [one.seq for one in found] == list(range(1, whole + 1))
        assert len({(one.kind, one.step, one.occurrence) for one in found}) == whole
        for writer in range(WRITERS):
            own = [one.occurrence for one in found if one.step == f"s{writer}"]
            assert own == list(range(BATCHES * AT_ONCE)), "each writer's events come in its own order"
