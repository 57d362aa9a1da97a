"""People in a simulation: they decide what waits, as the test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starter.simulation import wire
from starter.simulation.clock import SECOND
from starter.simulation.declarations import Decision
from starter.simulation.host import Host
from starter.simulation.mocks import plain
from taskmark.contracts import TASK_WORKFLOW, Wait

SOMEBODY = "tester"
MOMENT = 0.001
"""Seconds that a decision takes at least: the engine tells two openings of one gate apart by their times."""


class Undecided(Exception):
    """Something waits that the test says nothing useful about."""

    def __init__(self, message: str, name: str = "", kind: str = "") -> None:
        super().__init__(message)
        self.name = name
        self.kind = kind


class People:
    """Looks at what waits whenever nothing else happens, and decides it."""

    def __init__(self, host: Host, decisions: Mapping[str, list[Decision]], paths: Mapping[str, str]) -> None:
        self._host = host
        self._decisions = decisions
        self._left: dict[tuple[str, str], list[Decision]] = {}
        """What is still to be decided about each gate of each execution."""
        self._paths = paths
        self._seen: dict[str, int] = {}
        self._met: set[tuple[Any, ...]] = set()
        self.used: set[str] = set()

    def look(self) -> None:
        """Decides what waits now. Raises `Undecided`."""
        for process in list(self._host.processes.values()):
            if process.kind == TASK_WORKFLOW and self._seen.get(process.id) != process.activations:
                now = {"now": self._host.clock.now.isoformat()}
                progress = self._host.query(process.id, "progress", now)
                self._seen[process.id] = process.activations
                for waiting in progress["waiting"]:
                    self._meet(process.id, Wait.model_validate(waiting))

    def _meet(self, id: str, wait: Wait) -> None:
        key = (id, wait.kind, wait.step or wait.name, wait.since, wait.deadline is None)
        if key in self._met:
            return
        self._met.add(key)
        decision = self._next(id, wait)
        if decision.decision == "timeout":
            if wait.deadline is None:
                raise Undecided(f"{wait.kind} `{wait.name}` waits for ever: it has no timeout to run out")
            return
        self._host.clock.plan(self._deed(id, wait, decision), round(max(MOMENT, decision.after) * SECOND))

    def _next(self, id: str, wait: Wait) -> Decision:
        gate = (id, wait.step or wait.name)
        again = " once more" if gate in self._left else ""
        left = self._left.setdefault(gate, self._said(id, wait))
        if not left:
            message = f"{wait.kind} `{wait.name}` waits{again}, and the test says nothing about it"
            raise Undecided(message, wait.name, wait.kind)
        return left.pop(0)

    def _said(self, id: str, wait: Wait) -> list[Decision]:
        """Returns what the test says about a gate, by the nearest of its names."""
        above = self._paths.get(id, "")
        for name in (above + wait.step, above + wait.name, wait.step, plain(wait.step), wait.name):
            if name in self._decisions:
                self.used.add(name)
                return list(self._decisions[name])
        return []

    def _deed(self, id: str, wait: Wait, decision: Decision) -> Callable[[], None]:
        """Returns what a person does, with the words of the public contract."""
        by = decision.by or next(iter(wait.approvers), SOMEBODY)
        if decision.decision == "abort":
            reason = {"reason": decision.comment, "by": by}
            return lambda: self._abort(id, reason)
        name = wait.step or wait.name
        update, asked = {
            "approve": ("approve", {"gate": name, "decision": "approved", "comment": decision.comment}),
            "reject": ("approve", {"gate": name, "decision": "rejected", "comment": decision.comment}),
            "answer": ("answer", {"question": name, "value": decision.answer}),
            "retry": ("retry", {"phase": wait.phase}),
            "skip": ("skip", {"phase": wait.phase}),
        }[decision.decision]
        return lambda: self._decide(id, wait, update, {**asked, "by": by})

    def _abort(self, id: str, reason: dict[str, str]) -> None:
        self._host.signal(id, "abort", [wire.written(reason)])

    def _decide(self, id: str, wait: Wait, update: str, asked: dict[str, Any]) -> None:
        if id in self._host.processes:  # else it ended before anybody decided
            self._host.update(id, update, asked, lambda error: self._refused(wait, error))

    def _refused(self, wait: Wait, error: BaseException) -> None:
        why = getattr(error, "message", None) or str(error)
        raise Undecided(f"the decision about `{wait.name}` was refused: {why}")
