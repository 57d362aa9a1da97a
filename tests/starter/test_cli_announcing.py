"""A slip and an early end are said once each, by what was said before; pauses and waits are neither."""

from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from starter.cli.announcing import Announcer
from starter.cli.live import LiveView
from starter.cli.plain import PlainView
from taskmark.contracts import Eta, PeopleTime, Progress, Wait

START = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
GATE = Wait(kind="approval", name="go", prompt="?", since=START)


def eta(left: float, low: float | None = None, high: float | None = None, **fields: object) -> Eta:
    """A measured estimate; its interval is as wide as in `about 3 min (2–6 min)` unless it is given."""
    ends = {"low": left * 2 / 3 if low is None else low, "high": left * 2 if high is None else high}
    base = {"remaining_seconds": left, "confidence": 0.8, "basis": "steps", "samples": 12, **ends}
    return Eta.model_validate(base | fields)


class Run:
    """An execution that is heard at given seconds since its start."""

    def __init__(self) -> None:
        self.announcer = Announcer()

    def at(self, seconds: float, left: float | Eta | None, status: str = "running", **fields: object) -> str:
        estimate = eta(left) if isinstance(left, int | float) else left
        base = {"execution_id": "e", "task": "T", "status": status, "started_at": START, "eta": estimate}
        return self.announcer.hear(Progress.model_validate(base | fields), START + timedelta(seconds=seconds))

    def ends(self, seconds: float, status: str = "completed") -> str:
        return self.at(seconds, None, status)


def test_what_goes_as_expected_is_not_announced():
    run = Run()
    assert [run.at(second, 180 - second) for second in range(180)] == [""] * 180


def test_a_slip_is_announced_once_the_end_is_later_than_the_interval_said():
    """And not before: 6 min was the end of what had been said, and 18 s more are a tenth of what was."""
    run = Run()
    assert run.at(0, 180) == ""
    assert run.at(60, 310) == ""
    assert run.at(61, 330) == "later than expected by about 4 min: about 6 min left (4–11 min), 80 %"


def test_an_early_end_is_announced_once_the_end_is_before_the_interval_said():
    run = Run()
    assert run.at(0, 180) == ""
    assert run.at(60, 50) == ""
    assert run.at(61, 20) == "earlier than expected by about 2 min: about 20 s left (14–40 s), 80 %"


def test_after_an_announcement_the_next_one_is_measured_by_it():
    run = Run()
    run.at(0, 180)
    assert run.at(60, 400).startswith("later")
    assert [run.at(second, 460 - second) for second in range(61, 460)] == [""] * 399
    assert run.at(500, 900).startswith("later")


def test_an_estimate_that_changes_its_mind_at_every_look_is_no_flood():
    run = Run()
    told = [run.at(second, eta(900 if second % 2 else 30, 0, 0)) for second in range(601)]
    assert 1 < sum(bool(one) for one in told) <= 600 / 15


def test_small_changes_of_a_narrow_interval_are_not_announced():
    run = Run()
    run.at(0, eta(60, 60, 60))
    assert run.at(20, eta(44, 44, 44)) == run.at(21, eta(35, 35, 35)) == ""


def test_a_pause_is_no_slip():
    """Half an hour of it neither moves the end nor counts at the end."""
    run = Run()
    run.at(0, 180)
    run.at(60, 120)
    assert run.at(61, 120, "paused") == run.at(1860, 120, "paused") == run.at(1861, 119) == ""
    assert run.ends(1980) == "done in 3 min 00 s of work; about 3 min (2–6 min) were expected"


def test_waiting_for_people_is_no_slip():
    """Also where something else runs beside the gate."""
    run = Run()
    run.at(0, 100)
    assert [run.at(second, 100, waiting=(GATE,)) for second in range(1, 900)] == [""] * 899
    assert run.at(901, 99) == ""
    assert run.at(902, 98, "waiting", waiting=(GATE,)) == run.at(3000, 98) == ""


def test_what_is_declared_claims_nothing_so_nothing_is_measured_by_it():
    run = Run()
    declared = Eta(remaining_seconds=10, low=3, high=40)
    assert run.at(0, declared) == run.at(100, declared) == run.ends(200) == ""


def test_the_first_measured_estimate_counts_though_others_were_before_it():
    run = Run()
    run.at(0, Eta(remaining_seconds=10, low=3, high=40))
    run.at(60, 120)
    assert run.ends(170) == "done in 2 min 50 s; about 3 min (2–5 min) were expected"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (170, "done in 2 min 50 s; about 3 min (2–6 min) were expected"),
        (70, "done early, in 1 min 10 s; about 3 min (2–6 min) were expected"),
        (482, "done late, in 8 min 02 s; about 3 min (2–6 min) were expected"),
    ],
)
def test_the_end_is_compared_with_the_first_estimate(seconds, words):
    run = Run()
    run.at(0, 180)
    run.at(10, 60)
    assert run.ends(seconds) == words
    assert run.ends(seconds + 1) == ""


def test_one_minute_was_expected_not_were():
    run = Run()
    run.at(0, eta(60, 50, 120))
    assert run.ends(60).endswith("about 1 min (50 s – 2 min) was expected")


def test_what_failed_is_not_compared():
    run = Run()
    run.at(0, 180)
    assert run.ends(20, "failed") == ""


def test_whoever_comes_late_hears_of_all_the_time_that_has_passed():
    run = Run()
    run.at(100, 80)
    assert run.ends(170) == "done in 2 min 50 s; about 3 min (3–4 min) were expected"


def test_who_comes_after_the_end_hears_nothing():
    assert Run().ends(20) == ""


def test_the_live_view_keeps_the_last_announcement_under_its_bar():
    console = Console(width=80, height=24, force_terminal=True, color_system=None)
    view = LiveView(console, clock=lambda: START)
    view.show(Progress(execution_id="e", task="T", status="running", started_at=START))
    view.announce("older")
    view.announce("later than expected by about 4 min: about 6 min left (4–11 min), 80 %")
    with console.capture() as captured:
        console.print(view.picture())
    lines = captured.get().split("\n")
    assert lines[2].rstrip() == (
        f"{START.astimezone():%H:%M} later than expected by about 4 min: about 6 min left (4–11 min), 80 %"
    )
    assert lines[3].strip() == ""


def test_plain_lines_tell_the_first_estimate_the_first_measured_one_and_announcements():
    told: list[str] = []
    view = PlainView(told.append, clock=lambda: START)
    running = Progress(execution_id="e", task="T", status="running", started_at=START)
    people = PeopleTime(seconds=7200, low=3600, high=18_000)
    declared = Eta(remaining_seconds=10, low=3, high=40)
    for estimate in (None, declared, eta(180, people=people), eta(179)):
        view.show(running.model_copy(update={"eta": estimate}))
    view.show(Progress.model_validate(running.model_dump() | {"status": "waiting", "eta": eta(120)}))
    view.announce("done")
    assert told == [
        "12:00:00 task T running",
        "12:00:00 about 10 s left, as declared",
        "12:00:00 about 3 min left (2–6 min), 80 %, 12 runs + about 2 h for people (1–5 h)",
        "12:00:00 task T waiting · then about 2 min (1–4 min), 80 %, 12 runs",
        "12:00:00 done",
    ]
