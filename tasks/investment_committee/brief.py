"""What the meeting is about: the inputs, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.investment_committee.market import Series, check, load
from tasks.investment_committee.policy import Policy, load_policy

TOLERANCES = ("low", "moderate", "high")


@dataclass(frozen=True)
class Horizon:
    """How long the money stays invested, in trading days, and the windows that suit it."""

    name: str
    label: str
    days: int
    fast: int
    """Days of the fast moving average."""
    slow: int
    """Days of the slow moving average; the trend line is fitted over as many."""
    skip: int
    """Latest days that momentum leaves out, because short-term moves tend to reverse."""
    volatility: int
    """Days over which volatility is measured."""
    tranches: int
    spacing: int
    """Trading days between tranches."""


HORIZONS = {
    horizon.name: horizon
    for horizon in (
        Horizon("short", "3 months", 63, 20, 50, 5, 21, 2, 5),
        Horizon("medium", "1 year", 252, 50, 200, 21, 63, 3, 10),
        Horizon("long", "3 years", 756, 200, 500, 21, 252, 4, 21),
    )
}


class InvalidBrief(ValueError):
    """An input of the meeting is missing or not one of the possible values."""

    category = "logic"


@dataclass(frozen=True)
class Brief:
    """The question before the committee: buy so much of what, for how long, at what tolerance."""

    ticker: str
    amount: float
    """USD."""
    horizon: Horizon
    tolerance: str

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Brief:
        """Reads the inputs of a step's context. Raises `InvalidBrief` naming the input and what it may
        be, or `UnknownTicker`."""
        inputs = context.get("inputs") or {}
        horizon, tolerance = inputs.get("timeHorizon", "medium"), inputs.get("riskTolerance", "moderate")
        amount = inputs.get("amount")
        if not isinstance(amount, int | float) or isinstance(amount, bool) or not amount > 0:
            raise InvalidBrief(f"amount is {amount!r}; it must be a number of USD above 0")
        if horizon not in HORIZONS:
            raise InvalidBrief(f"timeHorizon is {horizon!r}; it must be one of {', '.join(HORIZONS)}")
        if tolerance not in TOLERANCES:
            raise InvalidBrief(f"riskTolerance is {tolerance!r}; it must be one of {', '.join(TOLERANCES)}")
        if "ticker" not in inputs:
            raise InvalidBrief("ticker is missing; it names the price series to discuss")
        check(inputs["ticker"])
        return cls(inputs["ticker"], float(amount), HORIZONS[horizon], tolerance)

    @property
    def policy(self) -> Policy:
        """The limits for this tolerance."""
        return load_policy(self.tolerance)

    def series(self) -> Series:
        """The prices under discussion."""
        return load(self.ticker)
