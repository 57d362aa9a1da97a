"""The parts of an estimate: what comes next in a series, what a duration may be, and many of them."""

from __future__ import annotations

import math
from random import Random
from statistics import fmean

import pytest

from taskmark.plan.eta.course import Load, along_the_graph
from taskmark.plan.eta.draws import DRAWS, MIDDLES, order, quantiles
from taskmark.plan.eta.drift import forecast
from taskmark.plan.eta.law import learned
from taskmark.task.model import Phase, TaskDefinition

SEED = 20_260_101
SURE = [1.0] * DRAWS


def test_every_order_has_every_draw_once_and_no_two_are_alike():
    assert all(sorted(order(n)) == list(range(DRAWS)) for n in range(50))
    assert len({order(n) for n in range(500)}) == 500


def test_quantiles_count_likely_draws_for_more():
    values = [float(n) for n in range(DRAWS)]
    assert quantiles(values, SURE, (0.5,))[0] == pytest.approx(DRAWS / 2, abs=1)
    late = [0.0] * (DRAWS // 2) + [1.0] * (DRAWS // 2)
    assert quantiles(values, late, (0.5,))[0] == pytest.approx(0.75 * DRAWS, abs=1)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ([5.0], 5.0),
        ([1.0, 3.0, 2.0, 1.0, 3.0, 2.0, 1.0, 3.0, 2.0], 2.0),
        ([float(n) for n in range(12)], 12.0),
        ([0.0] * 8 + [10.0] * 8, 10.0),
    ],
    ids=["one", "noise", "growth", "jump"],
)
def test_a_forecast_follows_what_moves_and_not_what_only_scatters(series, expected):
    assert forecast(series).value == pytest.approx(expected, abs=0.5)


def test_scattering_values_are_rarely_taken_for_a_drift():
    random = Random(SEED)
    noise = [[random.gauss(0, 1) for _ in range(20)] for _ in range(200)]
    followed = sum(abs(forecast(one).value - fmean(one)) > 1e-9 for one in noise)
    assert followed < 20, f"seed {SEED}"


@pytest.mark.parametrize(
    ("kind", "count"),
    [("log-normal", 2), ("log-normal", 5), ("log-normal", 20), ("bimodal", 5), ("bimodal", 20)],
)
def test_eight_of_ten_next_durations_are_between_the_tenths_of_a_law(kind, count):
    random = Random(SEED)

    def one() -> float:
        slow = math.log(6) if kind == "bimodal" and random.random() < 0.3 else 0.0
        return random.gauss(slow, 0.4)

    held = 0
    for _ in range(1500):
        law = learned([one() for _ in range(count)], 0.4)
        low, high = law.rising[int(0.1 * DRAWS)], law.rising[int(0.9 * DRAWS)]
        held += low <= math.exp(one()) <= high
    assert 0.72 < held / 1500 < 0.88, f"seed {SEED}"


def test_many_durations_take_on_average_what_as_many_of_the_past_took():
    random = Random(SEED)
    logs = [random.gauss(0, 0.8) for _ in range(20)]
    law = learned(logs, 0.4)
    assert law.mean == pytest.approx(fmean(math.exp(log) for log in logs))


@pytest.mark.parametrize("window", [1, 7, 80])
def test_many_items_taken_together_come_to_about_what_they_come_to_one_by_one(window):
    law = learned([Random(SEED).gauss(0, 0.5) for _ in range(20)], 0.4)
    exact, summed = Load(window), Load(window)
    exact.waiting = [law.drawn(n, SURE) for n in range(120)]
    summed.add_many(law, [120.0] * DRAWS, 7, SURE)
    one, other = (fmean(load.done(1, SURE)) for load in (exact, summed))
    assert other == pytest.approx(one, rel=0.12)


@pytest.mark.parametrize("window", [1, 5])
def test_single_steps_that_are_only_added_up_come_to_the_same(window):
    laws = [learned([Random(n).gauss(0, 0.5) for _ in range(20)], 0.4) for n in range(60)]
    exact, summed = Load(window), Load(window)
    for number, law in enumerate(laws):
        exact.waiting.append(law.drawn(number, SURE))
        summed.add_one(law)
    one, other = (fmean(load.done(99, SURE)) for load in (exact, summed))
    assert other == pytest.approx(one, rel=0.1)


def test_phases_that_wait_for_a_place_are_played_through():
    phases = [Phase(name=s, slug=s, depends_on=needs) for s, needs in (("a", ()), ("b", ()), ("c", ("a",)))]
    definition = TaskDefinition(id="t", name="t", phases=tuple(phases))
    left = {"a": [3.0] * DRAWS, "b": [4.0] * DRAWS, "c": [5.0] * DRAWS}
    ends = [along_the_graph(definition, left, at_once)[0] for at_once in (None, 2, 1)]
    assert ends == [8.0, 8.0, 12.0]


def test_the_middles_of_equal_parts_are_even():
    assert fmean(MIDDLES) == pytest.approx(0.5)
