"""Intervals hold the truth as often as they say, on simulated tasks with seeds that nothing was tuned by; the
full size is `benchmarks/eta.py`."""

from __future__ import annotations

import pytest

from benchmarks.eta import NAIVE, USUAL, answers, judged
from benchmarks.eta_worlds import FAMILIES

SEEDS = range(500_000, 500_024)


@pytest.fixture(scope="module")
def found():
    return {family: [a for seed in SEEDS for a in answers(family, seed)] for family in FAMILIES}


def test_an_interval_of_80_percent_holds_the_truth_in_about_80_percent_of_all_cases(found):
    pooled = judged("all", [answer for some in found.values() for answer in some])
    assert 0.72 < pooled["holds"] < 0.88, f"seeds {SEEDS}: {pooled}"
    assert pooled["to elapsed/percent"] < NAIVE
    assert pooled["to mean-elapsed"] < USUAL


@pytest.mark.parametrize("family", FAMILIES)
def test_no_kind_of_task_is_an_exception(found, family):
    one = judged(family, found[family])
    assert 0.6 < one["holds"] < 0.95, f"seeds {SEEDS}: {one}"
    assert one["to elapsed/percent"] < NAIVE
    assert one["to mean-elapsed"] < USUAL
