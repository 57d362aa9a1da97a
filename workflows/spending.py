"""The budget of an execution: what its phases ask for, what they are told, and what people are told of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from taskmark.contracts import (
    CONTROL_SIGNAL,
    SHORT,
    BudgetView,
    ControlPhase,
    MeteredBy,
    Permits,
    Spending,
    Used,
    Wait,
    phase_workflow_id,
)
from taskmark.plan.budget import COST, Meter, Refusal, Warned
from taskmark.task.model import Budget, Json
from taskmark.task.values import LARGEST
from workflows import travelling
from workflows.background import tell
from workflows.recording import event, record

if TYPE_CHECKING:
    from workflows.state import TaskState


class Raised(NamedTuple):
    """A higher limit."""

    budget: str
    limit: float
    by: str
    is_new: bool


class Spendings:
    """The meter of an execution, and what each workflow that asks it was told last."""

    def __init__(self, budget: Budget, execution: str) -> None:
        self.meter = Meter(budget)
        self._execution = execution
        self._told: dict[str, Permits] = {}
        self._untold: dict[str, None] = {}
        """Who may have to be told something."""
        self._raised = 0
        self.warned: list[Warned] = []
        """What was warned of."""

    @property
    def metered_by(self) -> MeteredBy:
        """What phases know of it."""
        return MeteredBy(execution=self._execution, learns=self.meter.learns)

    def hear(self, told: Spending) -> None:
        """A phase tells what it used and what it wants. What is not below this execution is not heard."""
        if not told.workflow.startswith(f"{self._execution}/"):
            return
        known = self.meter.accounts.get(told.workflow)
        if known is not None and known.run != told.run:
            self._told.pop(told.workflow, None)
        self.meter.hear(told)
        self._grant()

    def close(self, slug: str) -> None:
        """A phase has ended."""
        self.meter.close(phase_workflow_id(self._execution, slug))
        self._grant()

    def raise_limit(self, raised: Raised) -> None:
        """Sets a higher limit."""
        before = self.meter.limits[raised.budget]
        payload = {"budget": raised.budget, "limit": raised.limit, "from": before, "by": raised.by or None}
        record(event(self._execution, "budget_raised", occurrence=self._raised, payload=payload))
        self._raised += 1
        self.meter.raise_limit(raised.budget, raised.limit)
        self._grant()

    def _grant(self) -> None:
        self.meter.grant(workflow.now())
        self._warn()
        self._untold |= dict.fromkeys(self.meter.accounts)

    def _warn(self) -> None:
        """Tells of limits that are nearly used up: the one place that hears of it."""
        for warned in self.meter.warnings():
            payload = {
                "budget": warned.budget,
                "percent": warned.percent,
                "used": rounded(warned.used),
                "limit": warned.limit,
            }
            record(event(self._execution, "budget_warning", occurrence=len(self.warned), payload=payload))
            self.warned.append(warned)

    # --- what phases are told -----------------------------------------------------------------------

    async def run(self) -> None:
        """Tells each workflow what it was granted, until it is cancelled."""
        while True:
            await workflow.wait_condition(lambda: bool(self._untold))
            name = next(iter(self._untold))
            del self._untold[name]
            permits = self._permits(name)
            if not self.meter.accounts[name].closed and self._is_news(permits, self._told.get(name)):
                self._told[name] = permits
                await tell(name, CONTROL_SIGNAL, travelling.compact(ControlPhase(permits=permits)))

    def _permits(self, name: str) -> Permits:
        account = self.meter.accounts[name]
        others_wait = any(one.is_waiting for other, one in self.meter.accounts.items() if other != name)
        runs = any(count for _, count in account.in_flight())
        refused = self.meter.refused(name)
        wait = next((self._wait(one) for one in self.meter.refusals if one.budget == refused), None)
        return Permits(
            execution=self._execution,
            granted=dict(account.granted),
            eager=others_wait and runs,
            wait=wait,
        )

    def _is_news(self, permits: Permits, told: Permits | None) -> bool:
        """Whether a workflow has to hear it. That others wait only matters to who could help them."""
        told = told or Permits(execution=self._execution)
        waits_for = permits.wait and permits.wait.name
        return (
            permits.granted != told.granted
            or waits_for != (told.wait and told.wait.name)
            or (permits.eager and not told.eager)
        )

    # --- what people see ----------------------------------------------------------------------------

    def is_own(self, wait: Wait) -> bool:
        """Whether a phase waits for this budget, which tells of it itself."""
        return wait.kind == "budget" and wait.execution == self._execution

    @property
    def waits(self) -> tuple[Wait, ...]:
        """What waits for a higher limit."""
        return tuple(self._wait(refusal) for refusal in self.meter.refusals)

    def _wait(self, refusal: Refusal) -> Wait:
        calls = "1 call waits" if refusal.waiting == 1 else f"{refusal.waiting} calls wait"
        used, limit = shown(refusal.budget, refusal.used), shown(refusal.budget, refusal.limit)
        prompt = f"{used} of {limit} {refusal.budget} of {self._execution} are used, and {calls}"
        return Wait(
            kind="budget",
            name=refusal.budget,
            prompt=prompt,
            since=refusal.since,
            execution=self._execution,
        )

    @property
    def view(self) -> dict[str, BudgetView]:
        """What `progress` shows."""
        meter = self.meter
        return {
            name: BudgetView(used=rounded(meter.used_of(name)), limit=limit)
            for name, limit in meter.limits.items()
        }

    @property
    def used(self) -> Used:
        """What was used so far."""
        return self.meter.used


def raised(state: TaskState, above: tuple[MeteredBy, ...], payload: Any) -> Raised:
    """Returns what a `raise` update asks for. Raises `ApplicationError` with the reason if it is refused."""
    spendings = state.spendings
    if state.status.is_final:
        raise _refused("NotWaiting", f"the execution is {state.status}")
    given = payload if isinstance(payload, dict) else {}
    by = given.get("by")
    by = "" if by is None else str(by)
    if len(by) > SHORT:
        raise _refused("InvalidPayload", f"`by` has {len(by)} characters, and {SHORT} are allowed")
    if spendings is None:
        where = f"; that of {above[0].execution} pays for it" if above else ""
        raise _refused("UnknownBudget", f"the execution has no budget of its own{where}")
    limits = spendings.meter.limits
    name, limit = given.get("budget"), given.get("limit")
    if not isinstance(name, str) or name not in limits:
        hint = '{"budget": "agentCalls", "limit": 20}'
        raise _refused("UnknownBudget", f"name the budget, such as {hint}; limited here: {', '.join(limits)}")
    return _higher(spendings, name, _number(name, limit), by)


def _number(name: str, limit: Any) -> float:
    fits = isinstance(limit, int | float) and not isinstance(limit, bool)
    if not fits or not math.isfinite(limit) or not 0 < limit < LARGEST:
        raise _refused("InvalidLimit", f"`limit` has to be a number above zero, not {limit!r:.100}")
    if name != COST and limit != int(limit):
        raise _refused("InvalidLimit", f"`limit` of {name} has to be a whole number, not {limit!r:.100}")
    return limit if name == COST else int(limit)


def _higher(spendings: Spendings, name: str, limit: float, by: str) -> Raised:
    before, used = spendings.meter.limits[name], spendings.meter.used_of(name)
    if limit == before:
        return Raised(name, limit, by, is_new=False)
    if limit < before:
        raise _refused(
            "InvalidLimit", f"the limit of {name} is {shown(name, before)} already; `raise` cannot lower it"
        )
    if limit <= used:
        raise _refused(
            "InvalidLimit", f"{shown(name, used)} {name} are used already; raise the limit above that"
        )
    return Raised(name, limit, by, is_new=True)


def answer(spendings: Spendings, taken: Raised) -> dict[str, Json]:
    """Returns what the caller of the update gets: every limit, and what is used of it."""
    limits = {name: view.model_dump() for name, view in spendings.view.items()}
    return {
        "budget": taken.budget,
        "limit": taken.limit,
        "by": taken.by,
        "duplicate": not taken.is_new,
        "limits": limits,
    }


def rounded(number: float) -> float:
    """Returns a sum of costs without what binary fractions add to it."""
    return round(number, 9)


def shown(name: str, number: float) -> str:
    """Returns an amount of a budget as people read it."""
    return f"{rounded(number):g}" if name == COST else f"{number:.0f}"


def _refused(kind: str, message: str) -> ApplicationError:
    return ApplicationError(message, type=kind, non_retryable=True)
