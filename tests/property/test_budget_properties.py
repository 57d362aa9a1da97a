"""Whatever phases ask, hear late, use, give back and lose: the meter keeps to its limits."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from taskmark.contracts import Spending, Spent
from taskmark.plan.budget import Meter
from taskmark.task.model import Budget

NOW = datetime(2026, 1, 1, tzinfo=UTC)
USE = 7


class Asker:
    """A phase as the meter sees it: it hears grants late, and tells sums."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting = self.heard = self.running = self.ended = self.returned = 0

    @property
    def in_hand(self) -> int:
        return self.heard - self.returned - self.running - self.ended

    def told(self, *, closed: bool = False) -> Spending:
        if closed:
            self.waiting, self.returned = 0, self.returned + self.in_hand
        spent = Spent(agent_calls=self.ended, answered=self.ended, tokens=self.ended * USE)
        return Spending(
            workflow=self.name,
            run="r",
            waiting={"ann": self.waiting} if self.waiting else {},
            heard={"ann": self.heard},
            returned={"ann": self.returned},
            ended={"ann": spent},
            closed=closed,
        )


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["want", "hear", "begin", "end", "return", "tell", "raise", "leave"]),
        st.integers(0, 2),
        st.integers(1, 4),
    ),
    max_size=60,
)


def act(meter: Meter, asker: Asker, what: str, count: int) -> None:
    match what:
        case "want":
            asker.waiting += count
        case "hear" if asker.name in meter.accounts:
            granted = meter.accounts[asker.name].granted.get("ann", 0)
            asker.waiting = max(0, asker.waiting - (granted - asker.heard))
            asker.heard = granted
        case "begin":
            asker.running += min(count, asker.in_hand)
        case "end":
            done = min(count, asker.running)
            asker.running, asker.ended = asker.running - done, asker.ended + done
        case "return" if asker.in_hand:
            asker.returned += 1
        case "tell":
            meter.hear(asker.told())
        case "raise":
            for name, limit in list(meter.limits.items()):
                meter.raise_limit(name, limit + count)
        case "leave":
            asker.waiting = 0
    meter.grant(NOW)


@given(acts=ACTS, limit=st.integers(1, 12), tokens=st.one_of(st.none(), st.integers(1, 60)))
def test_never_more_calls_than_the_limit_and_never_more_tokens_than_expected(acts, limit, tokens):
    meter = Meter(Budget(agent_calls=limit, tokens=tokens))
    askers = [Asker(f"x/{n}") for n in range(3)]
    for what, who, count in acts:
        act(meter, askers[who], what, count)
        assert meter.used.agent_calls <= meter.limits["agentCalls"]
        begun = sum(asker.running + asker.ended for asker in askers)
        assert begun <= meter.used.agent_calls
        if tokens is not None:
            assert begun * USE <= max(meter.limits["tokens"], USE), "all but the first are known beforehand"


@given(acts=ACTS, limit=st.integers(1, 12))
def test_once_all_is_told_nobody_waits_who_could_go_on(acts, limit):
    meter = Meter(Budget(agent_calls=limit))
    askers = [Asker(f"x/{n}") for n in range(3)]
    for what, who, count in acts:
        act(meter, askers[who], what, count)
    for asker in askers:
        act(meter, asker, "hear", 0)
        act(meter, asker, "tell", 0)
    waits = any(account.is_waiting for account in meter.accounts.values())
    assert waits == bool(meter.refusals)
    if waits:
        assert meter.used.agent_calls == meter.limits["agentCalls"]


@given(acts=ACTS, limit=st.integers(1, 12))
def test_what_all_gave_back_can_be_given_again(acts, limit):
    meter = Meter(Budget(agent_calls=limit))
    askers = [Asker(f"x/{n}") for n in range(3)]
    for what, who, count in acts:
        act(meter, askers[who], what, count)
    for asker in askers:
        act(meter, asker, "hear", 0)
        act(meter, asker, "end", asker.running)
        meter.hear(asker.told(closed=True))
        meter.grant(NOW)
    assert meter.used.agent_calls == sum(asker.ended for asker in askers)
    assert meter.refusals == ()
