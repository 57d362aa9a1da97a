"""How many calls of agents a budget lets begin: who asks, what was granted, what was used.

Counted in permits. A limit of calls is held exactly, because a permit is a call. Limits of tokens and cost
are held as well as one can know before a call what it will use: from what others have used.

Nothing here waits or tells; `workflows/spending.py` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from taskmark.contracts import Spending, Spent, Used
from taskmark.task.model import AskAbove, Budget, Phase, Step, TaskDefinition

CALLS, TOKENS, COST = "agentCalls", "tokens", "cost"
LEVELS = (75, 90)
"""Percents of a limit at which somebody is warned."""
_SLACK = 1e-9
"""What sums of costs may be off, as a share of the limit: ten times 0.1 is 1."""


class Warned(NamedTuple):
    """A limit of which so many percent are used."""

    budget: str
    percent: int
    used: float
    limit: float


class Refusal(NamedTuple):
    """What keeps calls from beginning until somebody raises it."""

    budget: str
    used: float
    limit: float
    waiting: int
    since: datetime


@dataclass
class Account:
    """What one workflow asked for, was granted and has used, by agent."""

    run: str
    waiting: dict[str, int] = field(default_factory=dict)
    granted: dict[str, int] = field(default_factory=dict)
    returned: dict[str, int] = field(default_factory=dict)
    ended: dict[str, Spent] = field(default_factory=dict)
    closed: bool = False

    @property
    def is_waiting(self) -> bool:
        """Whether calls of it want to begin."""
        return any(self.waiting.values())

    @property
    def calls(self) -> int:
        """Calls that were allowed to begin, and were not taken back."""
        return sum(self.granted.values()) - sum(self.returned.values())

    def in_flight(self) -> Iterator[tuple[str, int]]:
        """Yields how many calls of each agent may run now."""
        for who, granted in self.granted.items() if not self.closed else ():
            ended = self.ended[who].agent_calls if who in self.ended else 0
            yield who, max(0, granted - self.returned.get(who, 0) - ended)


class Meter:
    """Grants permits. Whatever is heard twice or late changes nothing: messages tell sums."""

    def __init__(self, budget: Budget) -> None:
        self.limits = budget.limits
        self.accounts: dict[str, Account] = {}
        self._before: list[Account] = []
        """Of workflows that another run has taken the place of."""
        self._line: dict[str, None] = {}
        """Who waits, in the order in which they began to."""
        self._since: dict[str, datetime] = {}
        """Since when calls wait for a higher limit, by budget."""
        self._warned: dict[tuple[str, int, float], None] = {}

    @property
    def learns(self) -> bool:
        """Whether it limits what calls use, and so has to hear of it."""
        return TOKENS in self.limits or COST in self.limits

    # --- what it hears ----------------------------------------------------------------------------

    def hear(self, told: Spending) -> None:
        """Takes what a workflow tells of itself."""
        account = self.accounts.get(told.workflow)
        if account is None or account.run != told.run:
            if account is not None:
                self._close(account)
                self._before.append(account)
            account = self.accounts[told.workflow] = Account(told.run)
        if account.closed:
            return
        heard = told.heard
        account.waiting = {
            who: count - (account.granted.get(who, 0) - heard.get(who, 0))
            for who, count in told.waiting.items()
            if count > account.granted.get(who, 0) - heard.get(who, 0)
        }
        account.returned, account.ended = dict(told.returned), dict(told.ended)
        if told.closed:
            self._close(account)
        if not account.is_waiting:
            self._line.pop(told.workflow, None)
        elif told.workflow not in self._line:
            self._line[told.workflow] = None

    def close(self, workflow: str) -> None:
        """A workflow and everything below it has ended, maybe without a word: nothing of it runs or waits."""
        for name, account in self.accounts.items():
            if name == workflow or name.startswith(f"{workflow}/"):
                self._close(account)
                self._line.pop(name, None)

    def _close(self, account: Account) -> None:
        account.closed = True
        account.waiting = {}

    def raise_limit(self, budget: str, limit: float) -> None:
        """Sets a higher limit."""
        self.limits[budget] = limit

    # --- what it knows ----------------------------------------------------------------------------

    @property
    def every_account(self) -> Iterator[Account]:
        """Yields all that anybody ever had."""
        yield from self._before
        yield from self.accounts.values()

    @property
    def used(self) -> Used:
        """What was used so far; calls that run count, what they use does not yet."""
        calls, found = 0, Used()
        for account in self.every_account:
            calls += account.calls
            for spent in account.ended.values():
                found = found.plus(spent)
        return found.model_copy(update={"agent_calls": calls})

    def used_of(self, budget: str) -> float:
        """Returns what was used of one budget."""
        used = self.used
        return {CALLS: used.agent_calls, TOKENS: used.tokens, COST: used.cost}[budget]

    def grant(self, now: datetime) -> None:
        """Gives as many permits as the limits allow, to those first who have waited longest."""
        forecast = Forecast(self)
        for name in list(self._line):
            account = self.accounts[name]
            for who, wanted in list(account.waiting.items()):
                count = min(wanted, forecast.room(who, wanted))
                if count > 0:
                    account.granted[who] = account.granted.get(who, 0) + count
                    account.waiting[who] = wanted - count
                    forecast.begin(who, count)
            if not account.is_waiting:
                self._line.pop(name)
        refused = dict.fromkeys(self.refused(one, forecast) for one in self._line)
        self._since = {name: self._since.get(name, now) for name in refused if name}

    def refused(self, workflow: str, forecast: Forecast | None = None) -> str | None:
        """Returns the budget that a workflow waits for, if it does: one that has no room even once all that
        runs has ended."""
        wanted = [who for who, count in self.accounts[workflow].waiting.items() if count]
        if not wanted:
            return None
        forecast = forecast or Forecast(self)
        return next((found for who in wanted if (found := forecast.exhausted(who))), None)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What keeps calls from beginning now."""
        forecast, waiting = Forecast(self), dict.fromkeys(self._since, 0)
        for workflow in self._line:
            name = self.refused(workflow, forecast)
            if name in waiting:
                waiting[name] += sum(self.accounts[workflow].waiting.values())
        return tuple(
            Refusal(name, self.used_of(name), self.limits[name], count, self._since[name])
            for name, count in waiting.items()
        )

    def warnings(self) -> list[Warned]:
        """Returns what has been reached since this was asked last."""
        found = []
        for name, limit in self.limits.items():
            used = self.used_of(name)
            for percent in LEVELS:
                key = (name, percent, limit)
                if key not in self._warned and used >= limit * percent / 100 * (1 - _SLACK):
                    self._warned[key] = None
                    found.append(Warned(name, percent, used, limit))
        return found


class Forecast:
    """What is expected of the calls that run, and whether another one fits beside them."""

    def __init__(self, meter: Meter) -> None:
        self._limits = meter.limits
        accounts = tuple(meter.every_account)
        self._used = meter.used
        self._known: dict[str, Spent] = {}
        for account in accounts:
            for who, spent in account.ended.items():
                self._known[who] = _together(self._known.get(who, Spent()), spent)
        self._all = Spent()
        for spent in self._known.values():
            self._all = _together(self._all, spent)
        self._running = 0
        self._calls = self._used.agent_calls
        self._expected = {TOKENS: 0.0, COST: 0.0}
        for account in accounts:
            for who, count in account.in_flight():
                self._add(who, count)

    def begin(self, who: str, count: int) -> None:
        """Counts calls that have just been granted."""
        self._calls += count
        self._add(who, count)

    def _add(self, who: str, count: int) -> None:
        self._running += count
        for name in self._expected:
            self._expected[name] += count * (self._mean(name, who) or 0.0)

    def _mean(self, name: str, who: str) -> float | None:
        """Returns what a call of an agent is expected to use, or None as long as nobody has answered."""
        known = self._known.get(who)
        spent = known if known is not None and known.answered else self._all
        if not spent.answered:
            return None
        return (spent.tokens if name == TOKENS else spent.cost) / spent.answered

    def _spent(self, name: str) -> float:
        return self._used.tokens if name == TOKENS else self._used.cost

    def room(self, who: str, wanted: int) -> int:
        """Returns how many of the wanted calls of an agent may begin now."""
        return min(self._room(name, limit, who, wanted) for name, limit in self._limits.items())

    def _room(self, name: str, limit: float, who: str, wanted: int) -> int:
        if name == CALLS:
            return max(0, int(limit) - self._calls)
        left = limit * (1 + _SLACK) - self._spent(name) - self._expected[name]
        mean = self._mean(name, who)
        if mean is None:
            return 1 if left > 0 and not self._running else 0
        if mean <= 0:
            return wanted if left >= 0 else 0
        return max(0, int(min(left / mean, wanted)))

    def exhausted(self, who: str) -> str | None:
        """Returns the budget that has no room for a call of an agent whatever becomes of those that run."""
        for name, limit in self._limits.items():
            if name == CALLS:
                if self._calls >= limit:
                    return name
                continue
            mean, left = self._mean(name, who), limit * (1 + _SLACK) - self._spent(name)
            if left < mean if mean is not None else left <= 0:
                return name
        return None


def _together(one: Spent, other: Spent) -> Spent:
    return Spent(**one.plus(other).model_dump(), answered=one.answered + other.answered)


# --- before many calls --------------------------------------------------------------------------------


class Estimate(NamedTuple):
    """What many calls at once are expected to come to."""

    calls: int
    cost: float | None
    """Unknown as long as no call has told what it cost."""

    def exceeds(self, above: AskAbove) -> bool:
        """Whether somebody has to be asked first."""
        many = above.agent_calls is not None and self.calls > above.agent_calls
        return many or (above.cost is not None and self.cost is not None and self.cost > above.cost)

    def words(self, above: AskAbove) -> str:
        """Returns what a person has to know to decide."""
        told = f"{self.calls} calls of agents"
        if self.cost is not None:
            told += f", expected to cost {self.cost:.4g}"
        limits = {"agentCalls": above.agent_calls, "cost": above.cost}
        asked = " and ".join(f"{name} {limit:g}" for name, limit in limits.items() if limit is not None)
        return f"{told}; above {asked} somebody is asked first"


def estimate(calls: int, used: Used) -> Estimate:
    """Returns what so many calls will cost if they cost what the calls before them did."""
    return Estimate(calls, calls * used.cost / used.agent_calls if used.agent_calls else None)


def calls_of(phase: Phase, default: Sequence[str], tasks: Mapping[str, TaskDefinition]) -> int:
    """Returns how many calls of agents one run of a phase makes at most without retries, as far as the file
    tells: a list that is only known later counts as one."""
    return sum(calls_of_step(step, phase, default, tasks) * _items(step) for step in phase.steps)


def calls_of_step(
    step: Step, phase: Phase, default: Sequence[str], tasks: Mapping[str, TaskDefinition]
) -> int:
    """Returns how many calls of agents one item of a step makes."""
    match step.kind:
        case "agent":
            return 1
        case "plain":
            return len(phase.agents or default)
        case "task" if step.value in tasks:
            below = tasks[step.value]
            return sum(
                calls_of(inner, below.default_agents, below.tasks)
                * (len(inner.for_each) if isinstance(inner.for_each, list | tuple) else 1)
                for inner in below.phases
            )
        case _:
            return 0


def _items(step: Step) -> int:
    return len(step.for_each) if isinstance(step.for_each, list | tuple) else 1
