"""What workers share is asked with patience, and not for long."""

from __future__ import annotations

import asyncio
import threading
import time
from contextvars import ContextVar

import pytest

from taskmark.errors import Unreachable
from taskmark.shared import MemoryShared, Shared
from taskmark.tools.sharing import Sharing

SHARED = MemoryShared()
SEEN: ContextVar[str] = ContextVar("SEEN", default="nothing")


@pytest.fixture(autouse=True)
def known() -> None:
    """What the store knows, for as long as a test takes."""
    SHARED.put("kind", "key", 5, 600)


class Store:
    """Answers after so many seconds, or not at all; counts how often it is asked."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked = 0

    def answer(self, shared: Shared) -> object:
        self.asked += 1
        if self.seconds < 0:
            raise Unreachable("the store is down")
        time.sleep(self.seconds)
        return shared.get("kind", "key")


async def test_an_answer_is_returned() -> None:
    token = SEEN.set("its caller's context")
    assert await Sharing().ask(SHARED, Store(0).answer) == 5
    assert await Sharing().ask(SHARED, lambda _: SEEN.get()) == "its caller's context"
    SEEN.reset(token)


async def test_what_goes_wrong_otherwise_is_raised_as_it_is() -> None:
    sharing = Sharing()
    with pytest.raises(ZeroDivisionError):
        await sharing.ask(SHARED, lambda _: 1 // 0)
    assert await sharing.ask(SHARED, Store(0).answer) == 5


@pytest.mark.parametrize("seconds", [-1, 3])
async def test_a_store_that_does_not_answer_is_not_waited_for_again_at_once(seconds: float) -> None:
    sharing, store = Sharing(patience=0.1, silence=60), Store(seconds)
    began = time.monotonic()
    for _ in range(5):
        with pytest.raises(Unreachable):
            await sharing.ask(SHARED, store.answer)
    assert time.monotonic() - began < 2
    assert store.asked == 1


async def test_after_a_while_one_finds_out_whether_it_answers_again() -> None:
    sharing, store = Sharing(patience=0.3, silence=0.2), Store(3)
    for expected in (3, 4):
        together = (sharing.ask(SHARED, store.answer) for _ in range(3))
        assert all(
            isinstance(one, Unreachable) for one in await asyncio.gather(*together, return_exceptions=True)
        )
        assert store.asked == expected
        await asyncio.sleep(0.25)
    store.seconds = 0
    assert await sharing.ask(SHARED, store.answer) == 5
    assert await asyncio.gather(*(sharing.ask(SHARED, store.answer) for _ in range(3))) == [5, 5, 5]


async def test_questions_that_hang_stand_in_nobodys_way() -> None:
    """Neither of other work in threads nor of the end of the process."""
    hanging = [asyncio.create_task(Sharing(patience=0.1).ask(SHARED, Store(3).answer)) for _ in range(50)]
    await asyncio.sleep(0.05)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: 7), 2) == 7
    assert all(isinstance(one, Unreachable) for one in await asyncio.gather(*hanging, return_exceptions=True))
    left = [thread for thread in threading.enumerate() if thread.name == "asks what workers share"]
    assert left
    assert all(thread.daemon for thread in left)


async def test_who_is_cancelled_does_not_wait_for_an_answer() -> None:
    waiting = asyncio.create_task(Sharing(patience=5).ask(SHARED, Store(3).answer))
    await asyncio.sleep(0.05)
    waiting.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert time.monotonic() - began < 2
