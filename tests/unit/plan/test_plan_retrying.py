"""Whether a failed attempt is tried again, when, and what is different then."""

import pytest

from taskmark.errors import Category
from taskmark.plan.retrying import Again, backoff, decide
from taskmark.task.model import Retry

RETRY = Retry(max_attempts=3, backoff_ms=1000)
MIDDLE = 0.5
"""A chance that spreads nothing."""


def again(category, attempt=1, *, retry=RETRY, refreshed=False):
    return decide(category, attempt, retry, refreshed=refreshed, cap=60, chance=MIDDLE)


def test_the_backoff_doubles_each_time_up_to_its_cap():
    waits = [backoff(RETRY, attempt, cap=60, chance=MIDDLE) for attempt in (1, 2, 3, 7, 1000)]
    assert waits == [1, 2, 4, 60, 60]


def test_the_backoff_is_spread_by_a_tenth_to_both_sides():
    waits = [backoff(RETRY, 1, cap=60, chance=chance) for chance in (0, 0.25, 0.999999)]
    assert waits == pytest.approx([0.9, 0.95, 1.1], abs=1e-6)


def test_no_backoff_is_no_wait():
    assert backoff(Retry(backoff_ms=0), 5, cap=60, chance=0.9) == 0


def test_a_transient_failure_is_tried_again_until_the_attempts_are_used_up():
    assert [again(Category.TRANSIENT, n) for n in (1, 2, 3, 4)] == [Again(1.0), Again(2.0), None, None]


def test_a_resource_failure_is_tried_again_with_less():
    assert again(Category.RESOURCE, 2) == Again(2.0, reduced=True)


def test_a_permission_failure_is_tried_again_once_at_once_with_new_credentials():
    assert again(Category.PERMISSION) == Again(0.0, refresh_credentials=True)
    assert again(Category.PERMISSION, 2, refreshed=True) is None


@pytest.mark.parametrize("category", [Category.CONFIGURATION, Category.LOGIC])
def test_what_cannot_get_better_is_not_tried_again(category):
    assert again(category) is None


@pytest.mark.parametrize("category", list(Category))
def test_one_attempt_means_one(category):
    assert again(category, retry=Retry(max_attempts=1)) is None
