"""A circuit breaker's states and what leads from one to another: pure, for whoever keeps them.

Closed lets every call through and counts failures in a row. Open lets none through for a while. Then it is
half open: one call is let through, the probe, and how that ends decides. A probe that is never heard of again
is given up after a while, and another one is let through.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

LONGER = 2.0
"""By so much longer it stays open after each probe that failed …"""
LONGEST = 20.0
"""… at most so many times as long as at first."""
AGAIN = 1.0
"""Seconds after which to ask again while a probe is under way."""


class Circuit(BaseModel):
    """What is known of a target that failed. Moments are seconds since 1970, by the clocks of workers."""

    model_config = ConfigDict(frozen=True)

    failures: int = 0
    """In a row."""
    opened_at: float | None = None
    """When it was opened last; None while it is closed."""
    seconds: float = 0.0
    """How long it stays open."""
    probe_until: float | None = None
    """Until when a probe is waited for."""

    @property
    def is_open(self) -> bool:
        """Whether calls are held back."""
        return self.opened_at is not None


class Rules(NamedTuple):
    """How patient it is."""

    failures: int = 5
    """So many in a row open it."""
    seconds: float = 30.0
    """So long it stays open at first."""


class Asked(NamedTuple):
    """Whether a call may go through, and what is known then."""

    circuit: Circuit
    verdict: Literal["through", "probe", "refused"]
    wait: float = 0.0
    """Seconds after which it is worth asking again."""


def asked(circuit: Circuit, now: float, patience: float) -> Asked:
    """Returns what a call is told that comes now; `patience` is how many seconds a probe is waited for."""
    if circuit.opened_at is None:
        return Asked(circuit, "through")
    if now < circuit.opened_at + circuit.seconds:
        return Asked(circuit, "refused", circuit.opened_at + circuit.seconds - now)
    if circuit.probe_until is not None and now < circuit.probe_until:
        return Asked(circuit, "refused", AGAIN)
    return Asked(circuit.model_copy(update={"probe_until": now + patience}), "probe")


def failed(circuit: Circuit, now: float, rules: Rules, *, probe: bool) -> Circuit:
    """Returns what is known after a call that failed. One that was under way while it opened changes nothing
    more."""
    counted = circuit.model_copy(update={"failures": circuit.failures + 1})
    if circuit.is_open and not probe:
        return counted
    if not probe and counted.failures < rules.failures:
        return counted
    longer = min(circuit.seconds * LONGER, rules.seconds * LONGEST) if probe else rules.seconds
    return counted.model_copy(update={"opened_at": now, "seconds": longer, "probe_until": None})


def forgotten(circuit: Circuit) -> Circuit:
    """Returns what is known after a probe that neither failed nor succeeded: the next call is one."""
    return circuit.model_copy(update={"probe_until": None})
