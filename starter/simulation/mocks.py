"""Which mock answers a call, and what a task called."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starter.simulation.declarations import Mock, Surroundings
from taskmark.contracts import (
    AGENT_ACTIVITY,
    AGGREGATE_ACTIVITY,
    KIND_ACTIVITY,
    TOOL_ACTIVITY,
    StepCall,
    idempotency_key,
)
from taskmark.task.model import Json

_LANE = re.compile(r"\[(\d+)\]$")

FALLBACK = "#fallback"
"""Behind the id of a step: the call that its fallback makes."""

SECTIONS = {
    TOOL_ACTIVITY: "tools",
    AGGREGATE_ACTIVITY: "aggregates",
    KIND_ACTIVITY: "kinds",
    AGENT_ACTIVITY: "agents",
}


def plain(id: str) -> str:
    """Returns the id of a step without the item of its phase: `count` for `count[0]`."""
    return _LANE.sub("", id)


class Unmocked(Exception):
    """A call that the test says nothing about; nothing outside of the simulation is ever called."""

    def __init__(self, what: Called, reason: str = "has no mock") -> None:
        super().__init__(f"step `{what.path}` ({what.what}) {reason}")
        self.what = what


class TooFewOutputs(Unmocked):
    """A mock with one output per call that has none for this call."""


@dataclass(frozen=True)
class Called:
    """What is called: the step and its execution, which of its items, and by which names it may be mocked."""

    execution: str
    path: str
    """The id of the step, after those of the steps whose sub-task it belongs to."""
    item: int | None
    section: str
    name: str
    is_fallback: bool = False

    @property
    def places(self) -> list[tuple[str, str]]:
        """Where a mock of it may stand, the nearest first."""
        step = self.path.rsplit("/", 1)[-1]
        ids = [self.path, step, plain(self.path), plain(step)]
        instead = FALLBACK if self.is_fallback else ""
        steps = [("steps", name + instead) for name in dict.fromkeys(ids)]
        return [*steps, (self.section, self.name)] if self.section else steps

    @property
    def number(self) -> int | None:
        """Which item it is, of a step or phase that runs once per item."""
        lane = _LANE.search(self.path)
        return self.item if self.item is not None or lane is None else int(lane[1])

    @property
    def what(self) -> str:
        """What is called, in words."""
        kind = "fallback to " if self.is_fallback else ""
        return f"{kind}{self.section.removesuffix('s') or 'sub-task'} {self.name}"


def called(activity: str, call: StepCall, above: str) -> Called:
    """Returns what an activity calls; `above` is the path of the sub-task it belongs to."""
    section = next(name for prefix, name in SECTIONS.items() if activity.startswith(prefix))
    name = call.kind if section == "kinds" else call.name
    key = idempotency_key(call.execution_id, call.phase, call.step + FALLBACK, call.item)
    return Called(call.execution_id, above + call.step, call.item, section, name, call.idempotency_key == key)


@dataclass
class Mocks:
    """The mocks of one test over those of its file, and what became of them."""

    own: Surroundings
    defaults: Surroundings
    used: set[tuple[str, str, str]] = field(default_factory=set)
    """Owner (`test` or `defaults`), section and name of each mock that answered."""
    calls: dict[str, list[dict[str, Json]]] = field(default_factory=dict)
    """What was called, by the path of the step."""
    _failed: Counter[tuple[str, str, int | None, str]] = field(default_factory=Counter)
    _given: Counter[str] = field(default_factory=Counter)

    def find(self, what: Called) -> Mock | None:
        """Returns the mock of a call, or None."""
        for section, name in what.places:
            for owner, given in (("test", self.own), ("defaults", self.defaults)):
                found: Mock | None = getattr(given.mocks, section).get(name)
                if found is not None:
                    self.used.add((owner, section, name))
                    return found
        return None

    def fails_now(self, mock: Mock, what: Called) -> bool:
        """Whether this attempt is one of those that are to fail; it is counted."""
        if mock.fails is None or (mock.fails.items is not None and what.number not in mock.fails.items):
            return False
        key = (what.execution, what.path, what.item, what.name)
        self._failed[key] += 1
        return mock.fails.times is None or self._failed[key] <= mock.fails.times

    def output(self, mock: Mock, what: Called) -> Json:
        """Returns what the call gives. Raises `TooFewOutputs`."""
        if mock.outputs is None:
            return mock.output
        number = what.number
        if number is None:
            number = self._given[what.path]
            self._given[what.path] += 1
        if number >= len(mock.outputs):
            reason = f"has {len(mock.outputs)} `outputs`, and this is call {number + 1}"
            raise TooFewOutputs(what, reason)
        return mock.outputs[number]

    def note(self, what: Called, **details: Any) -> None:
        """Keeps what was called, for checks."""
        self.calls.setdefault(what.path, []).append({"name": what.name, "item": what.item, **details})

    def unused(self) -> list[tuple[str, str]]:
        """Returns section and name of the test's own mocks that answered nothing."""
        return [
            (section, name)
            for section in type(self.own.mocks).model_fields
            for name in getattr(self.own.mocks, section)
            if ("test", section, name) not in self.used
        ]
