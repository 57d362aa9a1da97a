"""What heartbeats tell people, without a server."""

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo

from starter.beats import Beat, _beat, _together, said_in, step_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("activity", "step"),
    [
        ("build#1", "build"),
        ("build[3]#2", "build"),
        ("build#1?2", "build"),
        ("build[3]#1?2", "build"),
        ("each[0]#1", "each[0]"),
        ("each[0][2]#1", "each[0]"),
        ("notify-1", None),
        ("other#1", None),
        ("", None),
    ],
)
def test_a_call_is_known_by_its_step(activity, step):
    """Also where the step is that of an item of its phase."""
    assert step_of(activity, {"build", "each[0]"}) == step


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ((), ""),
        ((None, "line 7"), "line 7"),
        (({"done": 3}, "line 7"), "line 7"),
        (({"done": 3, "of": 10, "rest": [1, 2]},), "done 3, of 10"),
        (("half",), "half"),
        ((7,), "7"),
        (([1, 2],), ""),
        ((None, "x" * 999), "x" * 200),
        ((None, {"not": "text"}), ""),
    ],
)
def test_details_are_shown_as_far_as_they_are_for_people(details, said):
    assert said_in(details) == said


def pending(state: int, attempt: int = 1, **ages: int) -> PendingActivityInfo:
    info = PendingActivityInfo(activity_id="s#1", state=state, attempt=attempt)
    for name, age in ages.items():
        getattr(info, name).FromDatetime(NOW - timedelta(seconds=age))
    return info


def test_a_call_lives_since_its_last_sign_of_life():
    started = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    call = _beat(pending(started, scheduled_time=60, last_started_time=50, last_heartbeat_time=4), ())
    assert call == Beat("", NOW - timedelta(seconds=4), True, 0)
    fresh = _beat(pending(started, attempt=2, last_started_time=3, last_heartbeat_time=40), (None, "a"))
    assert fresh == Beat("a", NOW - timedelta(seconds=3), True, 1)


def test_a_call_that_no_worker_took_waits_since_it_was_offered():
    scheduled = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    call = _beat(pending(scheduled, scheduled_time=30, last_started_time=90), ())
    assert call == Beat("", NOW - timedelta(seconds=30), False, 0)


def test_of_the_calls_of_a_step_the_newest_message_and_the_longest_silence_count():
    calls = [
        Beat("newest", NOW),
        Beat("old", NOW - timedelta(seconds=20), lost=2),
        Beat("", NOW - timedelta(seconds=90), taken=False),
    ]
    assert _together(calls, str.upper) == Beat("NEWEST", NOW - timedelta(seconds=20), True, 2)
    assert _together(calls[2:], str.upper).taken is False
