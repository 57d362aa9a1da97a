"""What leaves is looked at first, sent once, and not too fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from taskmark.errors import Category, StepFailed, Unreachable
from taskmark.ports import StepContext
from taskmark.shared import Change, MemoryShared, Shared
from taskmark.store.schema import open_store
from taskmark.store.sharing import StoredShared
from taskmark.task.model import Json
from taskmark.tools.outgoing import SENT, Confirmation, Delivery, Outgoing, Parcel
from taskmark.tools.pace import HELD_OFF, HeldOff
from taskmark.tools.sharing import Sharing

FAST = Outgoing(per_minute=60_000, margin=0.1)
TOKEN = "ghp_" + "a1B2" * 10


@dataclass
class Post:
    """Where messages go: counts them, and takes as long as it is told to."""

    seconds: float = 0.0
    fails: list[BaseException] = field(default_factory=list)
    sent: int = 0
    at: list[float] = field(default_factory=list)

    async def send(self) -> Confirmation:
        if self.fails:
            raise self.fails.pop(0)
        await asyncio.sleep(self.seconds)
        self.sent += 1
        self.at.append(time.monotonic())
        return {"number": self.sent}

    def packed(self, **content: Json) -> Callable[[], Awaitable[Parcel]]:
        async def pack() -> Parcel:
            return Parcel(content or {"text": "hello"}, self.send)

        return pack


class DeadShared:
    """A store that does not answer."""

    def get(self, kind: str, key: str) -> Json | None:
        raise Unreachable("the store does not answer")

    def put(self, kind: str, key: str, value: Json, ttl: float) -> None:
        raise Unreachable("the store does not answer")

    def add(self, kind: str, key: str, value: Json, ttl: float) -> bool:
        raise Unreachable("the store does not answer")

    def change(self, kind: str, key: str, change: Change, ttl: float) -> Json | None:
        raise Unreachable("the store does not answer")


class HangingShared(MemoryShared):
    """A store that answers after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def get(self, kind: str, key: str) -> Json | None:
        time.sleep(self.seconds)
        return super().get(kind, key)


def delivery(context: StepContext, *, seconds: float = 1.0, target: str = "team", **more: Any) -> Delivery:
    tool, receivers = more.pop("tool", "chat"), more.pop("receivers", (target,))
    return Delivery(tool, target, receivers, context, seconds, **more)


@pytest.fixture(params=["memory", "store"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shared]:
    """What workers remember together."""
    if request.param == "memory":
        yield MemoryShared()
        return
    engine = open_store(f"sqlite:///{tmp_path / 'shared.db'}")
    yield StoredShared(lambda: engine)
    engine.dispose()


@pytest.fixture
def context(root: Path) -> StepContext:
    return StepContext(root=root, idempotency_key="key-1", timeout=5.0)


# --- once -----------------------------------------------------------------------------------------


async def test_what_was_sent_is_not_sent_again(context: StepContext) -> None:
    """A later attempt gets what was confirmed then, even if what it would send cannot be read any more."""
    post = Post()

    async def gone() -> Parcel:
        raise AssertionError("nothing is packed")

    first = await FAST.deliver(delivery(context), post.packed())
    again = await FAST.deliver(delivery(replace(context, attempt=3)), gone)
    assert (first, again) == ({"number": 1, "duplicate": False}, {"number": 1, "duplicate": True})
    assert post.sent == 1


async def test_a_key_that_two_messages_share_loses_none_of_them(context: StepContext) -> None:
    """A task may give keys itself: those of another tool, task, step or receiver are other messages."""
    post = Post()
    others = [delivery(replace(context, **{name: "other"})) for name in ("task_id", "phase", "step")]
    others += [delivery(replace(context, idempotency_key="key-2")), delivery(context, tool="mail")]
    others += [delivery(context, receivers=("ann",)), delivery(context, receivers=("ann", "ben"))]
    for each in (delivery(context), *others):
        assert not (await FAST.deliver(each, post.packed()))["duplicate"]
    assert len({each.id for each in others}) == post.sent - 1 == 7


async def test_each_attempt_has_the_same_id_whichever_item_of_its_phase_it_is(context: StepContext) -> None:
    """The key tells items apart; their numbers may be others the next time."""
    first = replace(context, step="tell[3]", attempt=1, worker_id="worker-1")
    again = replace(first, step="tell[4]", attempt=2, worker_id="worker-2")
    assert delivery(first).id == delivery(again).id
    nameless = replace(context, idempotency_key="")
    assert delivery(nameless).id != delivery(nameless).id


async def test_without_a_key_each_message_is_its_own(context: StepContext) -> None:
    post, nameless = Post(), replace(context, idempotency_key="")
    for _ in range(2):
        await FAST.deliver(delivery(nameless), post.packed())
    assert post.sent == 2


async def test_of_several_attempts_at_once_one_sends(context: StepContext, shared: Shared) -> None:
    """As when a worker was thought lost and goes on: all of them get the same confirmation."""
    post, context = Post(seconds=0.3), replace(context, shared=shared)
    all_of_them = await asyncio.gather(*(FAST.deliver(delivery(context), post.packed()) for _ in range(5)))
    assert post.sent == 1
    assert sorted(str(one["duplicate"]) for one in all_of_them) == ["False", *["True"] * 4]
    assert {one["number"] for one in all_of_them} == {1}


async def test_a_message_that_was_not_taken_can_be_sent_at_once(context: StepContext) -> None:
    post = Post(fails=[StepFailed("busy")])
    with pytest.raises(StepFailed, match="busy"):
        await FAST.deliver(delivery(context), post.packed())
    began = time.monotonic()
    assert not (await FAST.deliver(delivery(context), post.packed()))["duplicate"]
    assert time.monotonic() - began < 0.2


async def test_a_cancelled_attempt_leaves_the_message_to_the_next(context: StepContext) -> None:
    post = Post(seconds=5)
    task = asyncio.create_task(FAST.deliver(delivery(context), post.packed()))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    post.seconds = 0
    assert not (await FAST.deliver(delivery(context), post.packed()))["duplicate"]
    assert post.sent == 1


async def test_the_claim_of_an_attempt_that_died_ends_by_itself(context: StepContext, shared: Shared) -> None:
    """Nobody can tell whether its message left, so it is sent again, as soon as it cannot be under way."""
    post, context = Post(), replace(context, shared=shared)
    context.shared.add(SENT, delivery(context).id, {"sending": "a worker that was killed"}, 0.6)
    began = time.monotonic()
    assert not (await FAST.deliver(delivery(context), post.packed()))["duplicate"]
    assert 0.5 < time.monotonic() - began < 2
    assert post.sent == 1


async def test_an_attempt_that_ends_late_does_not_touch_what_another_one_was_told(
    context: StepContext, shared: Shared
) -> None:
    """Its claim had ended, another attempt sent the message: that stays known for as long as it should."""
    context, hasty = replace(context, shared=shared), replace(FAST, margin=-0.3)
    late = asyncio.create_task(hasty.deliver(delivery(context, seconds=0.5), Post(seconds=9).packed()))
    await asyncio.sleep(0.3)
    assert not (await FAST.deliver(delivery(context), Post().packed()))["duplicate"]
    with pytest.raises(StepFailed, match="did not take it"):
        await late
    await asyncio.sleep(0.3)
    assert (await FAST.deliver(delivery(context), Post().packed()))["duplicate"]


async def test_who_finds_another_attempt_at_work_gives_up_in_time(context: StepContext) -> None:
    context.shared.add(SENT, delivery(context).id, {"sending": "another"}, 60)
    with pytest.raises(HeldOff, match="another attempt is sending this") as caught:
        await FAST.deliver(delivery(replace(context, timeout=0.6), seconds=0.4), Post().packed())
    assert (caught.value.category, caught.value.type) == (Category.TRANSIENT, HELD_OFF)


async def test_it_is_forgotten_in_the_end(context: StepContext) -> None:
    now = [0.0]
    post, with_clock = Post(), replace(context, shared=MemoryShared(lambda: now[0]))
    for seconds in (0, 86_400, 8 * 86_400):
        now[0] = seconds
        await FAST.deliver(delivery(with_clock), post.packed())
    assert post.sent == 2


async def test_a_store_that_does_not_answer_keeps_no_message_back(context: StepContext) -> None:
    post, alone = Post(), replace(context, shared=DeadShared())
    assert await FAST.deliver(delivery(alone), post.packed()) == {"number": 1, "duplicate": False}


async def test_a_store_that_hangs_holds_a_message_up_once_and_not_for_long(context: StepContext) -> None:
    """The questions after the first one do without it; what it is asked blocks no other work in threads."""
    post, slow = Post(), Outgoing(per_minute=60_000, sharing=Sharing(patience=0.2))
    messages = [
        delivery(replace(context, shared=HangingShared(5), idempotency_key=f"key-{number}"))
        for number in range(40)
    ]
    began = time.monotonic()
    await asyncio.gather(*(slow.deliver(each, post.packed()) for each in messages))
    assert time.monotonic() - began < 3
    assert post.sent == 40


async def test_who_takes_too_long_is_transient(context: StepContext) -> None:
    with pytest.raises(StepFailed, match=r"team did not take it within 0\.1 s") as caught:
        await FAST.deliver(delivery(context, seconds=0.1), Post(seconds=9).packed())
    assert caught.value.category is Category.TRANSIENT


# --- content --------------------------------------------------------------------------------------

SECRETS: list[Json] = [
    f"the token is {TOKEN}",
    "login with password: hunter2-and-more",
    "postgresql://app:s3cr3t-pa55@db.example.com/shop",
    {"deep": [{"api_key": "a8f5f167f44f4964e6c998dee827110c"}]},
    "x " * 700_000 + TOKEN,
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("content", SECRETS, ids=["token", "password", "url", "named", "long", "key"])
async def test_a_secret_does_not_leave_and_is_not_repeated(content: Json, context: StepContext) -> None:
    post = Post()
    with pytest.raises(StepFailed, match="in `body` is what looks like a secret") as caught:
        await FAST.deliver(delivery(context), post.packed(subject="Hello", body=content))
    assert caught.value.category is Category.LOGIC
    assert "allowSecrets" in (caught.value.hint or "")
    told = f"{caught.value.message}{caught.value.hint}"
    assert not any(part in told for part in (TOKEN, "hunter2", "s3cr"))
    await FAST.deliver(delivery(context, allow_secrets=True), post.packed(subject="Hello", body=content))
    assert post.sent == 1


async def test_a_refused_message_can_be_corrected_and_sent(context: StepContext) -> None:
    post = Post()
    with pytest.raises(StepFailed):
        await FAST.deliver(delivery(context), post.packed(body=TOKEN))
    assert not (await FAST.deliver(delivery(context), post.packed(body="[secret]")))["duplicate"]


async def test_personal_data_leaves_unless_the_settings_say_otherwise(context: StepContext) -> None:
    """Most messages are about somebody; what may not leave is named by its kind."""
    content = {"body": "Pay 4111 1111 1111 1111, ask ann@example.com"}
    FAST.check(content)
    with pytest.raises(StepFailed, match=r"in `body` is personal data \(card\)") as caught:
        Outgoing(refuse=("phone", "card")).check(content, allow_secrets=True)
    assert "4111" not in caught.value.message
    with pytest.raises(StepFailed, match="'cards' is no detector") as unknown:
        Outgoing(refuse=("cards",)).check(content)
    assert unknown.value.category is Category.CONFIGURATION


@pytest.mark.parametrize(
    "text", ["", "Order 4711 was paid on 2026-01-31.", "see https://example.com/a?page=2", "pass: 12 of 12"]
)
def test_ordinary_messages_leave(text: str) -> None:
    FAST.check({"text": text, "payload": {"id": 5, "name": "Ann", "ok": None, "list": [1.5, True]}})


# --- rate -----------------------------------------------------------------------------------------


async def test_messages_keep_to_the_rate_of_their_target(context: StepContext, shared: Shared) -> None:
    """Two may leave at once, the others one each tenth of a second, whoever sends them."""
    post, slow = Post(), Outgoing(per_minute=600, burst=2)
    keys = [f"key-{number}" for number in range(6)]
    workers = [replace(context, idempotency_key=key, worker_id=key, shared=shared) for key in keys]
    began = time.monotonic()
    await asyncio.gather(*(slow.deliver(delivery(worker), post.packed()) for worker in workers))
    assert 0.39 < time.monotonic() - began < 2
    assert sum(at - began < 0.09 for at in post.at) <= 2
    await slow.deliver(delivery(context, target="another", receivers=("ann",)), post.packed())


async def test_a_turn_that_leaves_no_time_to_send_is_not_waited_for(context: StepContext) -> None:
    post, slow = Post(), Outgoing(per_minute=1, burst=1)
    await slow.deliver(delivery(context), post.packed())
    other = replace(context, idempotency_key="other", timeout=60.0)
    with pytest.raises(HeldOff, match=r"next turn is in (60|59)") as caught:
        await slow.deliver(delivery(other, seconds=10), post.packed())
    assert 5 < (caught.value.retry_after or 0) < 11
    assert post.sent == 1


async def test_a_target_that_asks_for_rest_gets_it_from_every_worker(context: StepContext) -> None:
    post = Post(fails=[StepFailed("team answers 429", retry_after=0.5)])
    with pytest.raises(StepFailed, match="answers 429") as caught:
        await FAST.deliver(delivery(context), post.packed())
    assert (caught.value.category, caught.value.type) == (Category.TRANSIENT, "step_failed")
    began = time.monotonic()
    other = replace(context, idempotency_key="key-2", worker_id="worker-2")
    await FAST.deliver(delivery(other), post.packed())
    assert 0.4 < time.monotonic() - began < 2
