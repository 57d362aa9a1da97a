"""Circuit breakers around what steps call: per tool and target, known to all workers.

A target that works costs nothing but a look at the store now and then; one that fails is noted there, so that
what one worker learns the others know within a moment, and a restart forgets nothing. Without the store each
worker goes by what it has seen itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from activities.sharing import Sharing
from taskmark.circuit import Asked, Circuit, Rules, asked, failed, forgotten
from taskmark.contracts import CIRCUIT_OPEN, HELD_OFF
from taskmark.errors import Category, StepFailed
from taskmark.shared import Shared
from taskmark.task.model import Json

KIND = "circuit"
FRESH = 0.5
"""Seconds for which nobody looks again."""
KEPT = 24 * 3600.0
"""Seconds for which a target that fails is remembered."""
TRANSITORY = frozenset({Category.TRANSIENT, Category.RESOURCE})
"""What says that a target is in trouble. A refusal says that it is not: it has answered."""
_CLOSED = Circuit()


class _Seen(NamedTuple):
    circuit: Circuit
    at: float


class Circuits:
    """The breakers as one worker sees them."""

    def __init__(self, sharing: Sharing, rules: Rules, clock: Callable[[], float] = time.time) -> None:
        self._sharing = sharing
        self._rules = rules
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    @asynccontextmanager
    async def guard(self, tool: str, target: str | None, patience: float) -> AsyncIterator[None]:
        """Lets a call through, and learns from how it ends. `patience` is how long it may take, in seconds.

        Raises `StepFailed` (transient, of the type `circuit_open`) if the target is known to be down.
        """
        if target is None:
            yield
            return
        name, began = f"{tool} {target}", time.monotonic()
        probe = await self._let_through(name, patience)
        try:
            yield
        except Exception as error:
            if not _is_own_waiting(error):
                await self._ended(name, _is_trouble(error), probe=probe)
            elif probe:
                await self._change(name, forgotten)
            raise
        except asyncio.CancelledError:
            if time.monotonic() - began >= patience:
                await self._ended(name, True, probe=probe)
            elif probe:
                await self._change(name, forgotten)
            raise
        await self._ended(name, False, probe=probe)

    async def _let_through(self, name: str, patience: float) -> bool:
        """Returns whether the call is a probe. Raises `StepFailed` if it may not be made."""
        circuit = await self._look(name)
        if not circuit.is_open:
            return False
        told: list[Asked] = []

        def ask(known: Circuit) -> Circuit:
            told.append(asked(known, self._clock(), patience))
            return told[-1].circuit

        claim = asyncio.ensure_future(self._change(name, ask))
        try:
            await asyncio.shield(claim)
        except asyncio.CancelledError:
            await claim  # the store carries it out all the same
            if told[-1].verdict == "probe":
                await self._change(name, forgotten)
            raise
        if told[-1].verdict == "refused":
            raise _refusal(name, told[-1].wait)
        return told[-1].verdict == "probe"

    async def _look(self, name: str) -> Circuit:
        seen = self._seen.get(name)
        if seen is not None and time.monotonic() - seen.at < FRESH:
            return seen.circuit
        known = seen.circuit if seen else _CLOSED
        circuit = await self._sharing.ask(lambda shared: _read(shared.get(KIND, name)), otherwise=known)
        self._keep(name, circuit)
        return circuit

    async def _ended(self, name: str, is_trouble: bool, *, probe: bool) -> None:
        if is_trouble:
            await self._change(name, lambda known: failed(known, self._clock(), self._rules, probe=probe))
        elif probe or self._seen[name].circuit != _CLOSED:
            await self._change(name, lambda known: _CLOSED if probe or not known.is_open else known)

    async def _change(self, name: str, change: Callable[[Circuit], Circuit]) -> None:
        """Changes what all workers know; without the store, what this one knows."""

        def stored(value: Json | None) -> Json | None:
            fresh = change(_read(value))
            return None if fresh == _CLOSED else fresh.model_dump()

        def at_the_store(shared: Shared) -> Circuit | None:
            return _read(shared.change(KIND, name, stored, KEPT))

        circuit = await asyncio.shield(self._sharing.ask(at_the_store, otherwise=None))
        if circuit is None:
            seen = self._seen.get(name)
            circuit = change(seen.circuit if seen else _CLOSED)
        self._keep(name, circuit)

    def _keep(self, name: str, circuit: Circuit) -> None:
        self._seen[name] = _Seen(circuit, time.monotonic())


def _read(value: Json | None) -> Circuit:
    return Circuit.model_validate(value) if value else _CLOSED


def _is_trouble(error: Exception) -> bool:
    return error.category in TRANSITORY if isinstance(error, StepFailed) else True


def _is_own_waiting(error: Exception) -> bool:
    """Whether nothing was called, so that nothing was learnt about the target: neither good nor bad."""
    return isinstance(error, StepFailed) and error.type == HELD_OFF


def _refusal(name: str, wait: float) -> StepFailed:
    tool, _, target = name.partition(" ")
    return StepFailed(
        f"{target} failed again and again, so {tool} does not call it for another {max(wait, 0.1):.1f} s",
        Category.TRANSIENT,
        hint="`circuit: wait` lets a step wait until it answers again; a `fallback` goes on without it",
        type=CIRCUIT_OPEN,
        retry_after=max(wait, 0.1),
    )
