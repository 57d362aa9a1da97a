"""A circuit breaker, whatever happens in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskmark.circuit import LONGEST, Circuit, Rules, asked, failed, forgotten

RULES = Rules(failures=3, seconds=10.0)
CLOSED = Circuit()


def opened(at: float = 0.0) -> Circuit:
    circuit = CLOSED
    for _ in range(RULES.failures):
        circuit = failed(circuit, at, RULES, probe=False)
    return circuit


def test_so_many_failures_in_a_row_open_it_and_not_one_less() -> None:
    circuit = CLOSED
    for _ in range(RULES.failures - 1):
        circuit = failed(circuit, 0.0, RULES, probe=False)
        assert asked(circuit, 0.0, 5).verdict == "through"
    assert asked(failed(circuit, 0.0, RULES, probe=False), 0.0, 5).verdict == "refused"


def test_a_refusal_says_when_it_is_worth_asking_again() -> None:
    assert asked(opened(at=100.0), 104.0, 5).wait == 6.0


def test_of_all_who_ask_when_it_is_half_open_one_is_let_through() -> None:
    verdicts, circuit = [], opened()
    for _ in range(5):
        answer = asked(circuit, 10.0, 5)
        verdicts.append(answer.verdict)
        circuit = answer.circuit
    assert verdicts == ["probe", *["refused"] * 4]


def test_a_probe_that_is_never_heard_of_again_is_replaced() -> None:
    circuit = asked(opened(), 10.0, 5).circuit
    assert asked(circuit, 14.9, 5).verdict == "refused"
    assert asked(circuit, 15.0, 5).verdict == "probe"
    assert asked(forgotten(circuit), 11.0, 5).verdict == "probe"


def test_each_probe_that_fails_opens_it_for_longer_up_to_a_limit() -> None:
    circuit, lengths, now = opened(), [], 0.0
    for _ in range(8):
        lengths.append(circuit.seconds)
        now += circuit.seconds
        circuit = failed(asked(circuit, now, 5).circuit, now, RULES, probe=True)
    assert lengths[:4] == [10.0, 20.0, 40.0, 80.0]
    assert max(lengths) == RULES.seconds * LONGEST


def test_a_call_that_was_under_way_while_it_opened_opens_it_no_longer() -> None:
    late = failed(opened(), 9.0, RULES, probe=False)
    assert asked(late, 10.0, 5).verdict == "probe"


@given(st.lists(st.tuples(st.floats(0, 50), st.booleans()), max_size=60))
def test_between_two_probes_it_never_lets_anybody_through(calls: list[tuple[float, bool]]) -> None:
    """Whatever comes when: while it is open there is at most one call per time that it stays open."""
    circuit, now, last = opened(), 0.0, 0.0
    for pause, fails in calls:
        now += pause
        before = circuit
        answer = asked(circuit, now, 1000)
        circuit = answer.circuit
        if answer.verdict == "refused":
            continue
        assert now - last >= before.seconds
        if not fails:
            break
        circuit, last = failed(circuit, now, RULES, probe=answer.verdict == "probe"), now
