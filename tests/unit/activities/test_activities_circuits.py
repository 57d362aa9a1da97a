"""Circuit breakers as workers see them: what one learns the others know, and no call waits for the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from activities.circuits import FRESH, Circuits
from activities.sharing import Sharing
from taskmark.circuit import Rules
from taskmark.errors import Category, StepFailed, Unreachable
from taskmark.shared import Change, MemoryShared, Shared
from taskmark.task.model import Json
from taskmark.tools.pace import HeldOff

RULES = Rules(failures=3, seconds=10.0)


class Clock:
    """The time of day, as the test wants it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Down:
    """A store that does not answer, or only after a while."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.asked = 0

    def get(self, kind: str, key: str) -> Json | None:
        self.asked += 1
        time.sleep(self.seconds)
        raise Unreachable("it is down")

    def put(self, kind: str, key: str, value: Json, ttl: float) -> None:
        self.get(kind, key)

    def add(self, kind: str, key: str, value: Json, ttl: float) -> bool:
        self.get(kind, key)
        return False

    def change(self, kind: str, key: str, change: Change, ttl: float) -> Json | None:
        return self.get(kind, key)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def worker(clock: Clock) -> Callable[..., Circuits]:
    shared = MemoryShared()

    def make(store: Shared = shared, **options: float) -> Circuits:
        return Circuits(Sharing(store, **options), RULES, clock)

    return make


async def call(circuits: Circuits, error: BaseException | None = None, patience: float = 5.0) -> None:
    async with circuits.guard("http", "api.example.com", patience):
        if error is not None:
            raise error


async def outcome(circuits: Circuits, error: BaseException | None = None) -> str:
    """Returns what became of a call: `done`, the type of its failure, or the kind of its exception."""
    try:
        await call(circuits, error)
    except StepFailed as failure:
        return failure.type
    except BaseException as other:
        return type(other).__name__
    return "done"


def trouble() -> StepFailed:
    return StepFailed("503", Category.TRANSIENT)


async def open_it(circuits: Circuits) -> None:
    for _ in range(RULES.failures):
        assert await outcome(circuits, trouble()) == "step_failed"


async def test_a_target_that_fails_again_and_again_is_not_called(
    worker: Callable[..., Circuits], clock: Clock
) -> None:
    circuits = worker()
    await open_it(circuits)
    with pytest.raises(StepFailed, match=r"api\.example\.com failed again and again") as refused:
        await call(circuits)
    assert (refused.value.type, refused.value.category) == ("circuit_open", Category.TRANSIENT)
    assert refused.value.retry_after == pytest.approx(10.0)
    clock.now += 10
    assert [await outcome(circuits) for _ in range(3)] == ["done"] * 3


async def test_every_target_has_a_circuit_of_its_own(worker: Callable[..., Circuits]) -> None:
    circuits = worker()
    await open_it(circuits)
    async with circuits.guard("http", "other.example.com", 5), circuits.guard("sql", "api.example.com", 5):
        pass
    async with circuits.guard("http", None, 5):
        pass


async def test_what_one_worker_learned_the_others_know(worker: Callable[..., Circuits], clock: Clock) -> None:
    """Also one that starts later. Failures of all of them count together."""
    one, other = worker(), worker()
    assert await outcome(other) == "done"
    for circuits in (one, one, other):
        await outcome(circuits, trouble())
    assert await outcome(worker()) == "circuit_open"
    await asyncio.sleep(FRESH)
    assert [await outcome(one), await outcome(other)] == ["circuit_open"] * 2
    clock.now += 10
    assert await outcome(one) == "done"
    await asyncio.sleep(FRESH)
    assert await outcome(other) == "done"


async def test_of_many_calls_when_it_is_half_open_one_goes_through(
    worker: Callable[..., Circuits], clock: Clock
) -> None:
    several = [worker() for _ in range(4)]
    await open_it(several[0])
    clock.now += 10
    released, through = asyncio.Event(), 0

    async def slow(circuits: Circuits) -> None:
        nonlocal through
        async with circuits.guard("http", "api.example.com", 5):
            through += 1
            await released.wait()

    calls = [asyncio.create_task(slow(circuits)) for circuits in several for _ in range(3)]
    await asyncio.sleep(0.2)
    assert through == 1
    released.set()
    refused = [one for one in await asyncio.gather(*calls, return_exceptions=True) if one is not None]
    assert len(refused) == 11


async def test_a_success_in_between_begins_the_count_anew(worker: Callable[..., Circuits]) -> None:
    circuits = worker()
    for _ in range(4):
        await outcome(circuits, trouble())
        await outcome(circuits, trouble())
        await outcome(circuits)
    assert await outcome(circuits) == "done"


@pytest.mark.parametrize("category", [Category.PERMISSION, Category.LOGIC, Category.CONFIGURATION])
async def test_a_refusal_is_an_answer(worker: Callable[..., Circuits], category: Category) -> None:
    circuits = worker()
    for _ in range(2 * RULES.failures):
        await outcome(circuits, StepFailed("no", category))
    assert await outcome(circuits) == "done"


async def test_what_nobody_classified_counts_as_trouble(worker: Callable[..., Circuits]) -> None:
    circuits = worker()
    for _ in range(RULES.failures):
        await outcome(circuits, OSError("reset"))
    assert await outcome(circuits) == "circuit_open"


async def hang(circuits: Circuits, patience: float, cancel_after: float) -> None:
    """Calls what does not answer, and is ended."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(cancel_after), circuits.guard("http", "api.example.com", patience):
            await asyncio.sleep(60)


async def test_a_call_that_ran_out_of_its_time_failed_and_one_that_was_stopped_did_not(
    worker: Callable[..., Circuits], clock: Clock
) -> None:
    circuits = worker()
    for _ in range(RULES.failures):
        await hang(circuits, patience=60, cancel_after=0.01)
    assert await outcome(circuits) == "done"
    for _ in range(RULES.failures):
        await hang(circuits, patience=0.01, cancel_after=0.02)
    assert await outcome(circuits) == "circuit_open"
    clock.now += 10
    await hang(circuits, patience=60, cancel_after=0.01)
    assert await outcome(circuits) == "done", "a probe that was stopped leaves its place to the next"


async def test_without_the_store_a_worker_goes_by_what_it_has_seen(
    worker: Callable[..., Circuits], clock: Clock
) -> None:
    store = Down()
    circuits = worker(store)
    await open_it(circuits)
    assert await outcome(circuits) == "circuit_open"
    clock.now += 10
    assert await outcome(circuits) == "done"
    assert store.asked == 1, "who did not answer is left alone for a while"


async def test_a_store_that_is_slow_holds_up_one_call_for_a_moment(worker: Callable[..., Circuits]) -> None:
    circuits = worker(Down(seconds=1.0), patience=0.05)
    began = time.monotonic()
    for _ in range(5):
        assert await outcome(circuits) == "done"
    assert time.monotonic() - began < 0.5
    await asyncio.sleep(1.0)  # the thread that still asks


async def test_what_was_only_waited_for_here_says_nothing_about_the_target(
    worker: Callable[..., Circuits], clock: Clock
) -> None:
    """Not that it is down, and of a probe not that it is up: the next call is one."""
    circuits = worker()
    for _ in range(5):
        with pytest.raises(HeldOff):
            await call(circuits, HeldOff("too early"))
    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            await call(circuits, ConnectionResetError())
    clock.now += 10.1
    for _ in range(2):
        with pytest.raises(HeldOff):
            await call(circuits, HeldOff("too early"))
    await call(circuits)
    await call(circuits)


class Slow(MemoryShared):
    """A store that takes its time for changes."""

    def change(self, kind: str, key: str, change: Change, ttl: float) -> Json | None:
        time.sleep(0.1)
        return super().change(kind, key, change, ttl)


async def test_a_probe_that_is_stopped_while_it_is_claimed_leaves_its_place_too(
    worker: Callable[..., Circuits], clock: Clock
) -> None:
    """What the store was asked it does, whoever has gone meanwhile."""
    circuits = worker(Slow())
    for _ in range(RULES.failures):
        await outcome(circuits, OSError("reset"))
    clock.now += 10
    await hang(circuits, patience=60, cancel_after=0.02)
    assert await outcome(circuits) == "done"
