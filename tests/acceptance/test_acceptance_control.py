"""People say what they like, whenever they like, while processes die: nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from acceptance_place import PATIENCE, Place, kill, polls
from control_model import CALLS, PAID, STEERED, Model

from starter.gateway import TaskClient
from taskmark.errors import Refused, Unreachable

AT_ONCE = 17
"""Executions that are steered side by side, each by a person of its own."""
PARTS, FULL = (10, 10, 10, 10, 10), 1_000
"""Fifty, in parts that end soon."""
ACTIONS = 12
"""Things that are said at random before the rest is decided."""
FIRST_KILL = (0.5, 4.0)
"""Seconds until a worker is killed for the first time: early enough for ten executions on a fast machine."""
BETWEEN_KILLS = (8.0, 16.0)
"""Seconds that a worker is let work. They count from its first poll: were a worker killed before it gets to
work, as on a slow machine it might, nothing would ever end."""

ADVISER = "---\nname: adviser\nmodel: python:acceptance_effects:advise\n---\nYou advise.\n"

Say = Callable[["Person"], Awaitable[None]]


class Person:
    """Somebody who steers one execution without knowing much of it."""

    def __init__(self, place: Place, client: TaskClient, execution: str, chance: random.Random) -> None:
        self._place = place
        self._client = client
        self.execution = execution
        self._chance = chance
        self.model = Model()
        self._stood: list[tuple[float, float]] = []
        """From when to when it was known to stand still."""

    async def steer(self) -> None:
        """Says things at random, then whatever it still takes, and compares the end with the model."""
        for _ in range(self._chance.randrange(ACTIONS)):
            await asyncio.sleep(self._chance.uniform(0, 0.4))
            if self.model.is_stopped:
                break
            await self._chance.choice(SAYINGS)(self)
        await self._bring_to_an_end()
        result = await self._surely("wait", lambda: self._client.wait(self.execution, timeout=3 * PATIENCE))
        self.model.check(result, list(self._place.effects(self.execution).values()))
        self._check_pauses()

    async def _bring_to_an_end(self) -> None:
        async with asyncio.timeout(4 * PATIENCE):
            while not self.model.is_stopped and not await self._is_over():
                for say in DECISIVE:
                    await say(self)
                await asyncio.sleep(0.1)
        if self.model.approved is False and not self.model.aborted:
            await self.resume()  # a rejection is acted on once nothing is paused

    async def _is_over(self) -> bool:
        try:
            return (await self._client.progress(self.execution)).status.is_final
        except (Unreachable, Refused):
            return False

    # --- what is said -----------------------------------------------------------------------------

    async def pause(self) -> None:
        """Pauses, and now and then waits until it stands still, to see that it does."""
        mode = self._chance.choice(["", "now"])
        await self._decide("pause", lambda: self._client.pause(self.execution, by="somebody", mode=mode))
        if self._chance.random() < 0.5:
            await self._watch_it_stand()

    async def _watch_it_stand(self) -> None:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                if (await self._client.progress(self.execution)).status == "paused":
                    begin = time.time()
                    await asyncio.sleep(0.5)
                    self._stood.append((begin, time.time()))
                    return
            except (Unreachable, Refused):
                pass
            await asyncio.sleep(0.1)

    async def resume(self) -> None:
        """Goes on."""
        await self._decide("resume", lambda: self._client.resume(self.execution))

    async def approve(self) -> None:
        """Approves, as far as anybody asks."""
        if await self._decide("approve", lambda: self._client.approve(self.execution, "go", by="ann")):
            assert self.model.approved is not False, "approved after it was rejected"
            self.model.approved = True

    async def reject(self) -> None:
        """Rejects, as far as anybody asks."""

        def ask() -> Awaitable[Any]:
            return self._client.approve(self.execution, "go", decision="rejected", comment="no", by="bob")

        if self._chance.random() < 0.3 and await self._decide("reject", ask):
            assert self.model.approved is not True, "rejected after it was approved"
            self.model.approved = False

    async def answer(self) -> None:
        """Answers with any size; the first one that is taken counts."""
        size = self._chance.randint(1, 9)
        if await self._decide("answer", lambda: self._client.answer(self.execution, "size", size)):
            assert self.model.size in (None, size), f"{size} was taken after {self.model.size}"
            self.model.size = size

    async def answer_wrongly(self) -> None:
        """Gives an answer that does not fit, or to what nobody asks: never taken."""
        name, value = self._chance.choice([("size", 0), ("size", "large"), ("sizes", 3), ("go", 1)])
        assert not await self._decide("wrong", lambda: self._client.answer(self.execution, name, value))

    async def mend(self) -> None:
        """Mends what breaks."""
        (self._place.root / f"mended-{self.execution}").touch()

    async def retry(self) -> None:
        """Lets the held phase run again."""
        await self._decide("retry", lambda: self._client.retry(self.execution, "risk"))

    async def skip(self) -> None:
        """Leaves the held phase as it is, once."""
        if await self._decide("skip", lambda: self._client.skip(self.execution, "risk")):
            self.model.skipped = True

    async def go_on_without(self) -> None:
        """Leaves the failed step out, once."""
        if await self._decide("leave out", lambda: self._client.skip(self.execution, step="fragile")):
            self.model.gone_on_without = True

    async def raise_limit(self) -> None:
        """Allows more calls of agents."""
        limit = self._chance.randint(PAID, CALLS + 1)
        raised = partial(self._client.raise_limit, self.execution, "agentCalls", limit)
        if await self._decide("raise", raised):
            assert limit >= self.model.limit, f"{limit} was taken after {self.model.limit}"
            self.model.limit = limit

    async def abort(self) -> None:
        """Ends it, now and then."""
        if self._chance.random() < 0.2:
            abort = partial(self._client.abort, self.execution, reason="enough")
            self.model.aborted = await self._decide("abort", abort)

    # --- however often it takes -------------------------------------------------------------------

    async def _decide(self, what: str, ask: Callable[[], Awaitable[Any]]) -> bool:
        """Returns whether it was taken. Whoever does not hear asks again: the same is no second decision."""
        try:
            await self._surely(what, ask)
        except Refused as refused:
            self.model.said.append(f"{what} refused: {refused.message}")
            return False
        return True

    async def _surely(self, what: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        end = time.monotonic() + 3 * PATIENCE
        while True:
            try:
                answer = await ask()
                self.model.said.append(what)
                return answer
            except Unreachable:
                assert time.monotonic() < end, f"nobody hears `{what}`"
                await asyncio.sleep(0.2)

    def _check_pauses(self) -> None:
        for begin, end in self._stood:
            at = [t["at"] for t in self._place.traces(self.execution) if t["what"] == "begin"]
            assert not [one for one in at if begin < one < end], "a step began while it was paused"


SAYINGS: list[Say] = [
    *(Person.pause, Person.pause, Person.resume, Person.resume, Person.approve, Person.reject, Person.answer),
    *(
        Person.answer_wrongly,
        Person.mend,
        Person.retry,
        Person.skip,
        Person.go_on_without,
        Person.raise_limit,
        Person.abort,
    ),
]
DECISIVE: list[Say] = [
    *(Person.resume, Person.approve, Person.answer, Person.mend, Person.retry, Person.raise_limit),
]
"""What brings any execution to its end, said often enough."""


class Killer:
    """Kills the worker, now and then the server too, and starts another one, until it is told to stop."""

    def __init__(self, place: Place, client: TaskClient, chance: random.Random) -> None:
        self._place = place
        self._client = client
        self._chance = chance
        self.worker: subprocess.Popen[bytes] = place.worker()
        self.kills = 0

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        between = FIRST_KILL
        while True:
            await polls(self._client, self.worker)
            await asyncio.sleep(self._chance.uniform(*between))
            await asyncio.to_thread(self._strike)
            between = BETWEEN_KILLS

    def _strike(self) -> None:
        if self._chance.random() < 0.2:
            kill(self._place.server())
        kill(self.worker)
        self.worker = self._place.worker()
        self.kills += 1


async def steer(place: Place, client: TaskClient, chance: random.Random, count: int) -> None:
    """Steers so many executions, some at a time."""
    (place.root / "agents" / "adviser.md").write_text(ADVISER)
    killer = Killer(place, client, random.Random(chance.random()))
    killing = asyncio.create_task(killer.run())
    try:
        for begin in range(0, count, AT_ONCE):
            people = [
                Person(place, client, await _start(client), random.Random(chance.random()))
                for _ in range(min(AT_ONCE, count - begin))
            ]
            ends = await asyncio.gather(*(person.steer() for person in people), return_exceptions=True)
            wrong = [(p.execution, p.model, end) for p, end in zip(people, ends, strict=True) if end]
            assert not wrong, "\n".join(f"{name}: {end!r}\n  {model}" for name, model, end in wrong)
    finally:
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
        kill(killer.worker)
    print(f"{killer.kills} kills")
    assert killer.kills > 0


async def _start(client: TaskClient) -> str:
    while True:
        try:
            return await client.start(source=STEERED)
        except Unreachable:
            await asyncio.sleep(0.2)


@pytest.mark.timeout(280)
@pytest.mark.semantics("C2", "C3", "C9", "C11", "G2", "G3", "R14")
@pytest.mark.parametrize("count", PARTS, ids=["first", "second", "third", "fourth", "fifth"])
async def test_whatever_people_say_while_processes_die_comes_to_what_they_said(
    place: Place, client: TaskClient, chance: random.Random, count: int
) -> None:
    """Fifty interleavings of everything one can say, against a small model of what must come of it."""
    await steer(place, client, chance, count)


@pytest.mark.soak
async def test_a_thousand_interleavings_come_to_what_was_said(
    place: Place, client: TaskClient, chance: random.Random
) -> None:
    """The same, a thousand times."""
    await steer(place, client, chance, FULL)
