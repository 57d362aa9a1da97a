"""How good estimates were is told by what remained."""

from datetime import UTC, datetime, timedelta

import pytest

from taskmark.plan.calibration import Run, calibration, judged
from taskmark.records import EstimateRecord

START = datetime(2026, 1, 1, tzinfo=UTC)


def expected(percent, worked, remaining=0.0, low=0.0, high=0.0, **fields):
    told = {"execution_id": "e", "at": START + timedelta(seconds=worked), "basis": "steps", "confidence": 0.8}
    numbers = {"worked": worked, "remaining": remaining, "low": low, "high": high}
    return EstimateRecord(percent=percent, **{**told, **numbers, **fields})


def run(name="e", task="demo", truth=100.0, told=((0, 100.0, 80.0, 120.0),), **fields):
    """An execution that took so long, with estimates of what remained when it began."""
    ones = [expected(percent, 0.0, *numbers, execution_id=name, **fields) for percent, *numbers in told]
    return Run(task, [*ones, expected(100, truth, execution_id=name)])


def test_what_remained_is_what_was_worked_in_all_less_what_was_by_then():
    early, late = judged(
        [expected(100, 50.0), expected(90, 45.0, 9.0, 8.0, 10.0), expected(0, 0.0, 50.0, 40.0, 60.0)]
    )
    assert (early.truth, early.holds, early.error, early.width) == (50.0, True, 0.0, 0.4)
    assert (late.truth, late.holds, late.error, late.width) == (5.0, False, pytest.approx(0.8), 0.4)


def test_of_an_execution_that_did_not_complete_nothing_is_known():
    assert judged([expected(0, 0.0, 50.0), expected(10, 4.0, 44.0)]) == ()
    assert calibration([Run("demo", [expected(0, 0.0, 50.0)])]).executions == 0


def test_coverage_width_and_error_are_told_for_each_ten_percent_and_over_all():
    told = ((0, 150.0, 90.0, 190.0), (50, 80.0, 70.0, 90.0))
    found = calibration([run("a", told=told), run("b", told=told[:1], truth=200.0)])

    assert found.executions == 2
    assert [(one.name, one.executions, one.estimates, one.coverage) for one in found.percents] == [
        ("0", 2, 2, 0.5),
        ("50", 1, 1, 0.0),
    ]
    assert found.percents[0].width == pytest.approx((1.0 + 0.5) / 2)
    assert found.percents[0].error == pytest.approx((0.5 - 0.25) / 2)
    assert found.whole is not None
    assert (found.whole.estimates, found.whole.confidence) == (3, pytest.approx(0.8))
    assert found.whole.coverage == pytest.approx(1 / 3)


def test_what_is_nearly_done_makes_no_error_endless():
    found = calibration([run(truth=0.0, told=((90, 1.0, 0.5, 2.0),))])
    assert found.whole is not None
    assert (found.whole.width, found.whole.error) == (1.5, 1.0)


def test_what_rests_on_declarations_is_counted_apart_because_it_claims_nothing():
    found = calibration([run("a"), run("b", basis="declared", confidence=None), run("c", basis="tools")])
    assert found.whole is not None
    assert found.declared is not None
    assert (found.executions, found.whole.executions, found.declared.executions) == (3, 2, 1)
    assert found.declared.confidence is None
    assert [one.name for one in found.bases] == ["steps", "tools"]


def test_the_worst_tasks_are_those_furthest_from_what_they_claimed_with_enough_executions():
    good = [run(f"g{n}", "good", truth=100.0 if n else 500.0) for n in range(5)]
    bad = [run(f"b{n}", "bad", truth=500.0) for n in range(6)]
    few = [run(f"f{n}", "few", truth=500.0) for n in range(4)]
    found = calibration([*good, *bad, *few])

    assert [(one.name, one.executions, one.coverage) for one in found.worst] == [
        ("bad", 6, 0.0),
        ("good", 5, 0.8),
    ]


def test_without_executions_there_is_nothing_to_tell():
    found = calibration([])
    assert (found.executions, found.whole, found.declared, found.percents, found.worst) == (
        0,
        None,
        None,
        (),
        (),
    )
