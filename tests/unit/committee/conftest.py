from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from committee_meeting import ROOT, Meeting


@pytest.fixture
def meeting() -> Callable[..., Meeting]:
    """Makes a meeting on a purchase that the committee approves, except for what is given."""

    def make(silent: tuple[str, ...] = (), forged: dict[str, Any] | None = None, **inputs: Any) -> Meeting:
        usual = {"ticker": "SP500", "amount": 50_000, "timeHorizon": "long", "riskTolerance": "high"}
        return Meeting(usual | inputs, frozenset(silent), forged or {})

    return make


@pytest.fixture(params=["SP500", "NASDAQ", "WTI"])
def ticker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def frame() -> Callable[[str], pd.DataFrame]:
    """Reads a series with pandas, independently of the code under test."""

    def read(ticker: str) -> pd.DataFrame:
        file = ROOT / "tasks/investment_committee/data" / f"{ticker.lower()}.csv"
        return pd.read_csv(file, parse_dates=["date"], index_col="date")

    return read
