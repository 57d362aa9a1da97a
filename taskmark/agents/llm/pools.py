"""Whom to ask of several: who has least to do, is not rate limited and not known to be down. Whoever refused
our key a moment ago comes last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from taskmark.agents.llm.endpoints import Endpoint
from taskmark.agents.llm.failures import Unanswered
from taskmark.contracts import CIRCUIT_OPEN, HELD_OFF
from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.tools.pace import HeldOff, Pace, too_late

HOLD = 5.0
"""Seconds for which one is left alone that asks to be, and does not say how long."""
FRESH = 0.5
"""Seconds for which nobody looks again whether one wants to be left alone."""
PATIENCE = 0.25
"""Of a call's time, the share in which it waits for its turn if nobody can be asked at once."""
Answer = TypeVar("Answer")


class Member(NamedTuple):
    """An endpoint and the model to ask it for."""

    endpoint: Endpoint
    model: str


class Pool:
    """Asks one of its members."""

    def __init__(self, members: Sequence[Member], pace: Pace) -> None:
        self._members = list(members)
        self._pace = pace
        self._turn = 0

    async def ask(self, ask: Callable[[Member], Awaitable[Answer]], context: StepContext) -> Answer:
        """Returns the answer of the first that gives one. Raises `StepFailed` if nobody does."""
        failed: list[StepFailed] = []
        for patience in (0.0, PATIENCE * context.timeout):
            failed = []
            for member in self._in_turn(context):
                try:
                    return await self._through(member, ask, context, patience)
                except StepFailed as error:
                    if not isinstance(error, Unanswered | HeldOff) and error.type != CIRCUIT_OPEN:
                        raise
                    context.logger.info("%s", error.message)
                    failed.append(error)
            if not all(isinstance(error, HeldOff) for error in failed):
                break
        raise _nobody(failed)

    def _in_turn(self, context: StepContext) -> list[Member]:
        """Returns the members that have their key, those with least to do first; equals are first in turn.

        Whose key was refused a moment ago comes last, unless keys are to be looked at anew.
        """
        members = [member for member in self._members if member.endpoint.key] or self._members
        at = self._turn % len(members)
        self._turn += 1
        rotated = members[at:] + members[:at]
        return sorted(
            rotated,
            key=lambda member: (
                not context.refresh_credentials and member.endpoint.is_refused(member.model),
                member.endpoint.in_flight,
            ),
        )

    async def _turn_of(self, endpoint: Endpoint, context: StepContext, patience: float) -> None:
        """Returns when an endpoint may be called. Raises `HeldOff`."""
        if endpoint.provider.per_minute is None:
            await _once_free(endpoint, self._pace, context, patience)
        else:
            await self._pace.turn(endpoint.limit, context, patience)

    async def _through(
        self,
        member: Member,
        ask: Callable[[Member], Awaitable[Answer]],
        context: StepContext,
        patience: float,
    ) -> Answer:
        endpoint = member.endpoint
        async with endpoint.place(context):
            await self._turn_of(endpoint, context, patience)
            async with context.guard("agent", endpoint.label):
                key = endpoint.key
                try:
                    return await ask(member)
                except StepFailed as error:
                    if error.category is Category.PERMISSION:
                        endpoint.refuse(member.model, key)
                    if error.type == HELD_OFF:
                        await self._pace.hold(endpoint.limit, context, error.retry_after or HOLD)
                        endpoint.looked_at = -1e9
                    raise


async def _once_free(endpoint: Endpoint, pace: Pace, context: StepContext, patience: float) -> None:
    """Returns when an endpoint without a rate of its own no longer wants to be left alone."""
    if time.monotonic() >= endpoint.looked_at + FRESH:
        endpoint.held = time.monotonic() + await pace.held(endpoint.limit, context)
        endpoint.looked_at = time.monotonic()
    left = endpoint.held - time.monotonic()
    if left > patience:
        raise too_late(endpoint.limit, "it asked to be left alone", left, patience)
    await asyncio.sleep(max(0.0, left))


def _nobody(failed: Sequence[StepFailed]) -> StepFailed:
    """Returns the failure of all: transient if that of one is, to be tried when the first can be asked."""
    if len(failed) == 1:
        return failed[0]
    worst = next((one for one in failed if one.category is Category.TRANSIENT), failed[0])
    waits = [one.retry_after for one in failed if one.retry_after is not None]
    return StepFailed(
        f"none of {len(failed)} could be asked: " + "; ".join(one.message for one in failed),
        worst.category,
        hint=worst.hint,
        type=worst.type,
        retry_after=min(waits) if waits else None,
    )
