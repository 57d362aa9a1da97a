"""What workers share: the same in the store, on both databases, and in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, func, select

from taskmark.errors import Unreachable
from taskmark.shared import MemoryShared, Shared
from taskmark.store.engine import make_engine, reading, writing
from taskmark.store.schema import open_store
from taskmark.store.sharing import StoredShared, forget_old
from taskmark.store.tables import SharedValues, table


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def workers(
    request: pytest.FixtureRequest, new_database: Callable[[str], str]
) -> Iterator[Callable[[], Shared]]:
    """Returns what one worker after the other sees; all of them see the same."""
    if request.param == "memory":
        shared = MemoryShared()
        yield lambda: shared
        return
    url = new_database(request.param)
    open_store(url).dispose()
    engines: list[Engine] = []

    def worker() -> StoredShared:
        engines.append(make_engine(url))
        return StoredShared(lambda engine=engines[-1]: engine)

    yield worker
    for engine in engines:
        engine.dispose()


def test_what_one_worker_puts_the_others_get(workers: Callable[[], Shared]) -> None:
    one, other = workers(), workers()
    assert other.get("k", "a") is None
    one.put("k", "a", {"n": [1, "ü\x00"]}, 60)
    assert other.get("k", "a") == {"n": [1, "ü\x00"]}
    other.put("k", "a", 2, 60)
    assert one.get("k", "a") == 2
    assert one.get("k", "b") is None
    assert one.get("l", "a") is None


def test_a_value_whose_time_is_over_is_gone(workers: Callable[[], Shared]) -> None:
    shared = workers()
    shared.put("k", "a", 1, 0.05)
    time.sleep(0.1)
    assert shared.get("k", "a") is None
    assert shared.add("k", "a", 2, 60)
    assert shared.get("k", "a") == 2


def test_of_many_who_add_one_succeeds(workers: Callable[[], Shared]) -> None:
    several = [workers() for _ in range(6)]
    start = threading.Barrier(len(several))

    def add(number: int) -> bool:
        start.wait()
        return several[number].add("k", "claim", number, 60)

    with ThreadPoolExecutor(len(several)) as threads:
        added = list(threads.map(add, range(len(several))))
    assert added.count(True) == 1
    assert several[0].get("k", "claim") == added.index(True)


def test_no_change_is_lost(workers: Callable[[], Shared]) -> None:
    def count(shared: Shared) -> None:
        for _ in range(20):
            shared.change("k", "count", lambda found: (found or 0) + 1, 60)  # type: ignore[operator]

    several = [workers() for _ in range(4)]
    with ThreadPoolExecutor(len(several)) as threads:
        list(threads.map(count, several))
    assert several[0].get("k", "count") == 80


def test_a_change_to_nothing_takes_the_value_away(workers: Callable[[], Shared]) -> None:
    shared = workers()
    shared.put("k", "a", 1, 60)
    assert shared.change("k", "a", lambda _: None, 60) is None
    assert shared.get("k", "a") is None
    assert shared.change("k", "a", lambda found: found, 60) is None


@pytest.mark.parametrize("key", ["", "half\x00nul", "'; DROP TABLE shared_values; --", "x" * 2000])
def test_any_text_is_a_key(workers: Callable[[], Shared], key: str) -> None:
    shared = workers()
    shared.put("k", key, key, 60)
    assert shared.get("k", key) == key


def test_a_change_that_fails_changes_nothing(workers: Callable[[], Shared]) -> None:
    shared = workers()
    shared.put("k", "a", 1, 60)
    with pytest.raises(ZeroDivisionError):
        shared.change("k", "a", lambda found: 1 // 0, 60)
    assert shared.get("k", "a") == 1


def test_what_nobody_gets_any_more_is_deleted_in_the_end(engine: Engine) -> None:
    shared = StoredShared(lambda: engine)
    shared.put("k", "old", 1, -1)
    shared.put("k", "new", 1, 60)
    with writing(engine) as connection:
        forget_old(connection)
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(table(SharedValues))).scalar() == 1


def test_a_store_that_does_not_answer_is_said_to() -> None:
    shared = StoredShared(lambda: make_engine("postgresql://nobody@127.0.0.1:1/none"))
    for act in (lambda: shared.get("k", "a"), lambda: shared.add("k", "a", 1, 1)):
        with pytest.raises(Unreachable):
            act()
