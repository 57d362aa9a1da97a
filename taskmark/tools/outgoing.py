"""What leaves for people and other systems: looked at first, sent once, and not too fast.

A message cannot be taken back. So before it leaves, its content is looked at for secrets; an attempt after
the one that sent it returns what was confirmed then, and sends nothing; and of one target all workers
together ask no more than its rate.

Between sending and noting that it was sent lies a moment in which a worker can die. Nobody can tell then
whether the message left, so it is sent again: rather twice than never. Both copies carry the same id, made of
the idempotency key, by which receivers know them for one message.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar

from pydantic import Field

from taskmark.contracts import plain_id
from taskmark.errors import Category, StepFailed, Unreachable
from taskmark.ports import StepContext
from taskmark.shared import Shared
from taskmark.task.model import Json
from taskmark.tools.pace import HeldOff, Limit, Pace
from taskmark.tools.sharing import Sharing

if TYPE_CHECKING:
    from taskmark.privacy.scrubbing import Scrubber

SENT: Final = "sent"
"""The kind of shared values that say what was sent, by the messages' ids."""
SECRET: Final = "secret"  # noqa: S105 - the name of a detector
"""The detector whose findings always stop a message that does not allow them."""
_OVERLAP: Final = 4_096
"""Characters that two pieces of a long text share, so that nothing across their border is missed."""
_LOOK_AGAIN: Final = 0.25

Found = TypeVar("Found")
AllowSecrets: TypeAlias = Annotated[
    bool, Field(description="Send it even if it looks as if a secret is in it")
]
"""A parameter of what sends messages."""
Confirmation = dict[str, Json]
"""What a receiver said when it took a message."""


@dataclass(frozen=True)
class Parcel:
    """A message, ready to leave."""

    content: Mapping[str, Json]
    """What is looked at, by the names of its parts."""
    send: Callable[[], Awaitable[Confirmation]]
    """Sends it. Raises `StepFailed`; cancellation must leave nothing under way."""


@dataclass(frozen=True)
class Delivery:
    """Whose message it is, where it goes, and how long that may take."""

    tool: str
    target: str
    """Whose rate counts, such as a mail server; it holds nothing secret."""
    receivers: tuple[str, ...]
    """Who gets it."""
    context: StepContext
    seconds: float
    """For sending alone, without waiting for its turn."""
    allow_secrets: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds until nobody waits for it any more."""
        return max(0.0, self.began + self.context.timeout - time.monotonic())

    @cached_property
    def id(self) -> str:
        """The message's id, 32 hex digits: the same for each attempt of it.

        A key that a task gives itself is its own affair: another task may give the same one, and one call of
        many may have forgotten its item. Taken for a repetition, their messages would be lost without a word;
        so whose it is, and who gets it, count too.
        """
        context = self.context
        key = context.idempotency_key or secrets.token_hex(16)
        parts = (self.tool, context.task_id, context.phase, plain_id(context.step), *self.receivers, key)
        return hashlib.sha256("\x1f".join(parts).encode(errors="replace")).hexdigest()[:32]


@dataclass(frozen=True)
class Outgoing:
    """How messages leave. All workers should have the same."""

    per_minute: float = 60.0
    """Messages to one target that all workers together send in the long run."""
    burst: int = 10
    """Messages to one target that may leave at once after a pause."""
    refuse: tuple[str, ...] = ()
    """Detectors of personal data, such as `card`, whose findings stop a message as secrets do."""
    remembered: float = 7 * 86_400.0
    """Seconds for which it is known that a message was sent."""
    margin: float = 5.0
    """Seconds that an attempt is trusted to be sending yet after its time was over."""
    sharing: Sharing = field(default_factory=Sharing, repr=False, compare=False)
    """Asks what workers share."""

    @cached_property
    def _pace(self) -> Pace:
        return Pace(self.sharing)

    async def deliver(self, delivery: Delivery, pack: Callable[[], Awaitable[Parcel]]) -> Confirmation:
        """Sends what `pack` returns, unless it was sent, and returns what was confirmed and whether it is a
        `duplicate`.

        Raises what `pack` and the parcel raise, and `StepFailed`: logic for a content that may not leave;
        `HeldOff` if its turn does not come in time or another attempt is sending it.
        """
        claim = _Claim(delivery, self)
        kept = await claim.kept()
        if kept is None:
            parcel = await pack()
            await asyncio.to_thread(self.check, parcel.content, allow_secrets=delivery.allow_secrets)
            await self._turn(delivery)
            kept = await claim.take()
        if kept is not None:
            return {**kept, "duplicate": True}
        confirmation = await self._sent(delivery, claim, parcel)
        return {**confirmation, "duplicate": False}

    async def _sent(self, delivery: Delivery, claim: _Claim, parcel: Parcel) -> Confirmation:
        seconds = min(delivery.seconds, delivery.left)
        try:
            async with asyncio.timeout(seconds):
                confirmation = await parcel.send()
        except BaseException as error:
            await claim.release()
            if isinstance(error, StepFailed) and error.retry_after is not None:
                await self._pace.hold(self._limit(delivery), delivery.context, error.retry_after)
            if isinstance(error, TimeoutError):
                raise StepFailed(f"{delivery.target} did not take it within {seconds:g} s") from error
            raise
        await claim.keep(confirmation)
        return confirmation

    # --- content ----------------------------------------------------------------------------------

    def check(self, content: Mapping[str, Json], *, allow_secrets: bool = False) -> None:
        """Raises `StepFailed` (logic) that names the part and the kind of what may not leave, never the
        value; configuration if `refuse` names no detector."""
        for name in (*(() if allow_secrets else (SECRET,)), *self.refuse):
            scrubber = _scrubber(name)
            for part, value in content.items():
                pieces = list(_pieces(value))
                if scrubber.value(pieces) != pieces:
                    raise _refused(part, name)

    # --- rate -------------------------------------------------------------------------------------

    async def _turn(self, delivery: Delivery) -> None:
        """Waits until the target may get a message. Raises `HeldOff` if that leaves too little time to send
        it."""
        patience = max(delivery.left - delivery.seconds, delivery.left / 2)
        await self._pace.turn(self._limit(delivery), delivery.context, patience)

    def _limit(self, delivery: Delivery) -> Limit:
        return Limit(delivery.tool, delivery.target, self.per_minute, self.burst)


class _Claim:
    """Who sends a message: of several attempts that are alive, one.

    An attempt that ends gives its claim back, whatever became of the message. The claim of one that died ends
    by itself, soon after the time in which it could have been sending.
    """

    def __init__(self, delivery: Delivery, outgoing: Outgoing) -> None:
        self._delivery = delivery
        self._sharing = outgoing.sharing
        self._key = delivery.id
        self._is_named = bool(delivery.context.idempotency_key)
        self._remembered = outgoing.remembered
        self._lasts = delivery.seconds + outgoing.margin
        self._mark: Json = {"sending": secrets.token_hex(8)}

    async def kept(self) -> Confirmation | None:
        """Returns what was confirmed when it was sent, if it was."""
        value = await self._ask(lambda shared: shared.get(SENT, self._key), None)
        confirmed = value.get("confirmed") if isinstance(value, dict) else None
        return confirmed if isinstance(confirmed, dict) else None

    async def take(self) -> Confirmation | None:
        """Takes the claim, or returns what another attempt was told. Raises `HeldOff`."""
        while not await self._ask(
            lambda shared: shared.add(SENT, self._key, self._mark, self._lasts), otherwise=True
        ):
            kept = await self.kept()
            if kept is not None:
                return kept
            if self._delivery.left <= self._delivery.seconds / 2:
                hint = "the next attempt finds out whether it was sent"
                raise HeldOff("another attempt is sending this just now", hint=hint)
            await asyncio.sleep(_LOOK_AGAIN)
        return None

    async def release(self) -> None:
        """Gives the claim back, for the next attempt to send.

        It may have ended long ago, and another attempt may have been told that the message was taken. That is
        looked at before anything is changed, because a change would also set how long it is remembered.
        """

        def without_mine(present: Json | None) -> Json | None:
            return None if present == self._mark else present

        def give_back(shared: Shared) -> None:
            if shared.get(SENT, self._key) == self._mark:
                shared.change(SENT, self._key, without_mine, self._lasts)

        await self._ask(give_back, None)

    async def keep(self, confirmation: Confirmation) -> None:
        """Notes that it was sent."""
        value: Json = {"confirmed": confirmation}
        await self._ask(lambda shared: shared.put(SENT, self._key, value, self._remembered), None)

    async def _ask(self, question: Callable[[Shared], Found], otherwise: Found) -> Found:
        """Returns what workers share, or something else if that does not answer: it must not keep a message
        from leaving. A message without a key is nobody's repetition."""
        if not self._is_named:
            return otherwise
        context = self._delivery.context
        try:
            return await self._sharing.ask(context.shared, question)
        except Unreachable as error:
            context.logger.warning("What other workers sent is not known: %s", error)
            return otherwise


def _refused(part: str, name: str) -> StepFailed:
    if name == SECRET:
        hint = "take it out, or say `allowSecrets: true` if it is meant for whoever gets this"
        return StepFailed(f"not sent: in `{part}` is what looks like a secret", Category.LOGIC, hint=hint)
    hint = "the setting outgoing_refuse names what may not be sent"
    return StepFailed(f"not sent: in `{part}` is personal data ({name})", Category.LOGIC, hint=hint)


@cache
def _scrubber(name: str) -> Scrubber:
    """Raises `StepFailed` (configuration)."""
    from taskmark.privacy.detectors import BUILT_IN
    from taskmark.privacy.scrubbing import Scrubber

    if name not in BUILT_IN:
        hint = f"known: {', '.join(BUILT_IN)}"
        raise StepFailed(f"outgoing_refuse: {name!r} is no detector", Category.CONFIGURATION, hint=hint)
    return Scrubber((BUILT_IN[name],))


def _pieces(value: Json) -> Iterator[Json]:
    """Yields a value, or the overlapping pieces of a text that is longer than a scrubber looks at."""
    from taskmark.privacy.scrubbing import LONGEST

    if not isinstance(value, str) or len(value) <= LONGEST:
        yield value
        return
    for start in range(0, len(value), LONGEST - _OVERLAP):
        yield value[start : start + LONGEST]
