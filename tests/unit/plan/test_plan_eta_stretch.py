"""Intervals become as wide as those before had to be."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest

from taskmark.plan.eta.estimator import CONFIDENCE
from taskmark.plan.eta.stretch import LEAST, MOST, scores, stretch, stretched
from taskmark.records import WHOLE, EstimateRecord

AT = datetime(2026, 1, 1, tzinfo=UTC)


def told(worked=0.0, remaining=10.0, low=5.0, high=20.0, confidence=0.8, **fields):
    return EstimateRecord(
        execution_id="e", percent=10, at=AT, worked=worked, remaining=remaining, low=low, high=high,
        confidence=confidence, **fields,
    )  # fmt: skip


def off(estimates, worked):
    """How far estimates of an execution were off that worked for so long."""
    whole = told(worked=worked, remaining=0.0, low=0.0, high=0.0, confidence=None)
    some = (one.model_copy(update={"percent": number}) for number, one in enumerate(estimates))
    return list(scores([*some, whole.model_copy(update={"percent": WHOLE})]))


def test_an_end_of_an_interval_is_one_half_width_from_its_middle():
    assert off([told()], 20.0) == [pytest.approx(1.0)]
    assert off([told()], 5.0) == [pytest.approx(1.0)]
    assert off([told()], 10.0) == [pytest.approx(0.0)]
    assert off([told()], 40.0)[0] == pytest.approx(2.0, rel=0.01)


def test_what_was_stretched_already_counts_as_wide_as_the_model_had_made_it():
    assert off([told(stretch=2.0)], 20.0) == [pytest.approx(2.0)]


def test_what_claims_nothing_and_the_end_itself_say_nothing():
    assert off([told(confidence=None), told(worked=20.0)], 20.0) == []


def test_nothing_is_changed_as_long_as_nothing_is_known_and_little_as_long_as_little_is():
    assert stretch({}, CONFIDENCE) == 1.0
    few = {0: [3.0, 3.0, 3.0]}
    many = dict.fromkeys(range(20), (3.0, 3.0, 3.0))
    assert 1.0 < stretch(few, CONFIDENCE) < 1.5 < 2.3 < stretch(many, CONFIDENCE) < 3.0


def test_it_keeps_within_bounds():
    assert stretch(dict.fromkeys(range(200), (100.0,)), CONFIDENCE) == MOST
    assert stretch(dict.fromkeys(range(200), (0.0,)), CONFIDENCE) == LEAST


def test_intervals_that_hold_half_of_what_they_claim_come_to_hold_it():
    """A model that takes durations for half as scattered as they are."""
    random = Random(20_260_102)
    seen, held = {}, []
    for run in range(200):
        factor = stretch({n: seen[n] for n in range(max(0, run - 20), run)}, CONFIDENCE)
        low, high = (stretched(10.0, end, factor) for end in (10 / 1.65, 10 * 1.65))
        truth = 10.0 * random.lognormvariate(0.0, 0.8)
        held.append(low <= truth <= high)
        seen[run] = off([told(low=low, high=high, stretch=factor)], truth)
    assert 0.7 < sum(held[20:]) / 180 < 0.88


def test_an_interval_without_length_stays_as_it_is():
    assert stretched(0.0, 0.0, 3.0) == 0.0
    assert stretched(5.0, 0.0, 3.0) == 0.0
