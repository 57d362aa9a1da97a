"""The investment policy: limits in USD and fractions, read from `policy.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "policy.toml"


@dataclass(frozen=True)
class Policy:
    """The limits for one risk tolerance. `_usd` are amounts, everything else fractions."""

    portfolio_usd: float
    holdings: dict[str, float]
    """Share of the portfolio held in each ticker already."""
    concentration_usd: float
    cash_floor_usd: float
    minimum_order_usd: float
    position_usd: float
    annual_volatility: float
    volatility_usd: float
    """What a position may add as standard deviation of a year."""
    daily_loss_usd: float
    drawdown: float
    stress_loss_usd: float
    challenge_weight: float
    withdrawal_confidence: float

    @property
    def cash_usd(self) -> float:
        """Cash in the portfolio before the purchase."""
        return self.portfolio_usd * (1 - sum(self.holdings.values()))

    def held_usd(self, ticker: str) -> float:
        """What is held in that ticker already."""
        return self.portfolio_usd * self.holdings.get(ticker, 0.0)

    def caps(self, ticker: str) -> dict[str, float]:
        """Highest purchase in USD that each limit on size alone allows."""
        return {
            "policy limit for one position": self.position_usd,
            "concentration in one instrument": max(0.0, self.concentration_usd - self.held_usd(ticker)),
            "cash available above the floor": max(0.0, self.cash_usd - self.cash_floor_usd),
        }


@cache
def load_policy(tolerance: str) -> Policy:
    """Reads the policy for a risk tolerance. Raises `KeyError` if the file has no such tolerance."""
    document: dict[str, Any] = tomllib.loads(FILE.read_text(encoding="utf-8"))
    limits, own, debate = document["limits"], document["tolerance"][tolerance], document["debate"]
    value = float(document["portfolio"]["value_usd"])
    return Policy(
        portfolio_usd=value,
        holdings=document["portfolio"]["holdings"],
        concentration_usd=value * limits["concentration_share"],
        cash_floor_usd=value * limits["cash_floor_share"],
        minimum_order_usd=limits["minimum_order_usd"],
        position_usd=value * own["position_share"],
        annual_volatility=own["annual_volatility"],
        volatility_usd=value * own["volatility_share"],
        daily_loss_usd=value * own["daily_loss_share"],
        drawdown=own["drawdown"],
        stress_loss_usd=value * own["stress_loss_share"],
        challenge_weight=debate["challenge_weight"],
        withdrawal_confidence=debate["withdrawal_confidence"],
    )
