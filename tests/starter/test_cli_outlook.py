"""The estimate in words: no more certain than it is, in as much room as there is."""

from datetime import UTC, datetime, timedelta

import pytest

from starter.cli.outlook import Part, Worth, fitted, remaining
from starter.cli.picture import aside, headline
from starter.cli.printable import in_ascii, interval
from taskmark.contracts import BudgetView, Eta, Paused, PeopleTime, Progress, Wait

START = datetime(2026, 1, 2, 12, 0, 5, tzinfo=UTC)
NOW = START + timedelta(seconds=95)
PEOPLE = PeopleTime(seconds=7200, low=3600, high=18_000, samples=4)


def measured(seconds: float = 200, low: float = 110, high: float = 370, **fields: object) -> Eta:
    base = {"remaining_seconds": seconds, "low": low, "high": high, "samples": 12}
    return Eta.model_validate(base | {"confidence": 0.8, "basis": "steps"} | fields)


def declared(seconds: float = 200) -> Eta:
    return Eta(remaining_seconds=seconds, low=seconds / 3, high=4 * seconds)


def said(eta: Eta | None, status: str = "running", width: int | None = None, **fields: object) -> str:
    """The headline without its first two parts, percent and elapsed time."""
    base = {"execution_id": "e", "task": "T", "status": status, "started_at": START, "eta": eta, **fields}
    line = headline(Progress.model_validate(base), NOW, width)
    return line.removeprefix("0 % · 1 min 35 s").removeprefix(" · ")


def besides(status: str, width: int | None = None) -> str:
    budget = {"cost": BudgetView(used=1, limit=4)}
    base = {"execution_id": "e", "task": "T", "status": status, "eta": measured(people=PEOPLE)}
    return aside(Progress.model_validate(base | {"budget": budget}), width)


def test_a_measured_estimate_says_its_interval_its_confidence_and_what_it_rests_on():
    assert said(measured()) == "about 3 min left (2–6 min), 80 %, 12 runs"
    assert said(measured(basis="tools", samples=1)) == "about 3 min left (2–6 min), 80 %, 1 use"


def test_a_declared_estimate_claims_no_interval():
    assert said(declared()) == "about 3 min left, as declared"


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (110, 370, "2–6 min"),
        (40, 180, "40 s – 3 min"),
        (5400, 18_000, "1.5–5 h"),
        (3000, 7200, "50 min – 2 h"),
        (3600, 18_000, "1–5 h"),
        (0, 3, "1–3 s"),
        (178, 182, ""),
    ],
)
def test_the_ends_of_an_interval_share_their_unit_as_people_write_it(low, high, words):
    assert interval(low, high) == words


def test_an_interval_narrower_than_what_is_said_is_not_said():
    assert said(measured(180, 178, 182)) == "about 3 min left, 80 %, 12 runs"


@pytest.mark.parametrize("seconds", [0, 0.2])
def test_what_is_due_is_not_said_to_take_no_time(seconds):
    assert said(measured(seconds, 0, 0)) == said(declared(seconds)) == "should end any moment"
    assert "0 s" not in said(measured(0.7, 0, 1))


def test_time_for_people_and_the_budget_are_told_apart():
    """Of an execution that runs, waits or is paused, but not of one that has ended."""
    told = "+ about 2 h for people (1–5 h) · cost 1 of 4 (25 %)"
    assert [besides(status) for status in ("running", "waiting", "paused")] == [told] * 3
    assert besides("running", 50) == "+ about 2 h for people · cost 1 of 4 (25 %)"
    assert besides("running", 40) == "+ about 2 h for people"
    assert besides("completed") == "cost 1 of 4 (25 %)"


def test_while_it_stands_still_the_work_that_comes_then_is_said():
    assert said(measured(), "waiting") == "waiting · then about 3 min (2–6 min), 80 %, 12 runs"
    paused = said(declared(), "paused", paused=Paused(by="ann"))
    assert paused == "paused · then about 3 min, as declared"
    assert said(measured(0, 0, 0), "waiting") == "waiting"


def test_what_has_ended_has_no_estimate():
    assert said(measured(), "failed", updated_at=NOW) == "failed"


def test_the_time_of_day_is_said_where_it_says_more_than_the_time_left():
    at = NOW.astimezone() + timedelta(seconds=200)
    assert said(measured(finish_at=at)).endswith(f", 12 runs · ends about {at:%H:%M}")
    assert "ends about" not in said(measured(20, 10, 40, finish_at=NOW + timedelta(seconds=20)))
    assert "ends about" not in said(measured(finish_at=at), "waiting")
    assert "ends about" not in said(measured(finish_at=at, people=PEOPLE))
    gate = Wait(kind="approval", name="go", prompt="?", since=START)
    assert "ends about" not in said(measured(finish_at=at), waiting=(gate,))


def test_the_time_of_another_day_comes_with_the_day():
    later, much_later = NOW.astimezone() + timedelta(days=2), NOW.astimezone() + timedelta(days=9)
    assert said(measured(finish_at=later)).endswith(f"ends about {later:%a %H:%M}")
    assert said(measured(finish_at=much_later)).endswith(f"ends about {much_later:%Y-%m-%d}")


def test_an_answer_that_has_become_old_says_that_its_time_is_over():
    past = NOW.astimezone() - timedelta(minutes=3)
    assert said(measured(finish_at=past)).endswith(f"was to end at {past:%H:%M}")


def test_the_least_important_parts_go_first():
    """In the order that `Worth` states, down to the percentage."""
    at = NOW.astimezone() + timedelta(seconds=200)
    lines = list(dict.fromkeys(said(measured(finish_at=at), width=width) for width in range(90, 3, -1)))
    work = "about 3 min left (2–6 min)"
    assert lines == [
        f"{work}, 80 %, 12 runs · ends about {at:%H:%M}",
        f"{work}, 80 %, 12 runs",
        f"{work}, 80 %",
        work,
        "about 3 min left",
        "0 % · about 3 min left",
        "0 %",
    ]


def test_the_estimate_fits_in_eighty_columns_beside_its_bar_and_the_time_of_day_in_wider_ones():
    at = NOW.astimezone() + timedelta(seconds=200)
    beside = [columns - max(columns // 6, 10) - 2 for columns in (40, 80, 120)]
    assert [said(measured(finish_at=at), width=width) for width in beside] == [
        "0 % · about 3 min left",
        "about 3 min left (2–6 min), 80 %, 12 runs",
        f"about 3 min left (2–6 min), 80 %, 12 runs · ends about {at:%H:%M}",
    ]


def test_what_is_kept_stays_though_it_does_not_fit():
    assert fitted([Part("abc", Worth.KEPT), Part("d", Worth.FINISH)], 2) == "abc"


def test_a_terminal_without_dashes_gets_hyphens():
    assert in_ascii(remaining(measured())) == "about 3 min left (2-6 min), 80 %, 12 runs"
