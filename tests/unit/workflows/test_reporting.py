"""How many reports a phase sends in its life."""

from __future__ import annotations

import pytest

from workflows.phases import REPORTS
from workflows.reporting import interval

YEAR = 365 * 24 * 3600.0
EVENTS = 4
"""Of the parent's history for each report."""


@pytest.mark.semantics("L9", "Q2")
@pytest.mark.parametrize("phases", [1, 5, 20, 50])
def test_the_reports_of_a_year_stay_below_the_limits(phases: int) -> None:
    """Something changes all the time, in every phase."""
    budget = max(20, REPORTS // phases)
    sent, passed = 0, 0.0
    while passed < YEAR:
        passed += interval(sent, budget, 2.0)
        sent += 1
    assert sent <= budget // 2 + 40
    assert phases * sent <= 8_000  # of 10,000 signals
    assert phases * sent * EVENTS <= 40_000  # of 51,200 events
