"""Whether an execution ended as a test expects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from starter.simulation.declarations import Expected
from starter.simulation.simulated import Simulated
from taskmark.contracts import ExecutionStatus
from taskmark.errors import InvalidExpression
from taskmark.task import expressions
from taskmark.task.model import Json

NAMES = ("inputs", "outputs", "phases", "steps", "status", "error", "seconds", "calls")
"""What checks may read."""


@dataclass(frozen=True)
class Difference:
    """What is not as expected, and where the expectation stands below `expect`."""

    what: str
    expected: str
    got: str
    path: tuple[str | int, ...] = ()


def differences(expected: Expected, run: Simulated, inputs: Mapping[str, Json]) -> Iterator[Difference]:
    """Yields everything that is not as expected."""
    yield from _ending(expected, run)
    result = run.result
    phases = {slug: phase.status.value for slug, phase in result.phases.items()}
    steps = {name: step.status.value for name, step in result.steps.items()}
    attempts = {name: step.attempts for name, step in result.steps.items()}
    yield from _each("phases", {k: v.value for k, v in expected.phases.items()}, phases)
    yield from _each("steps", {k: v.value for k, v in expected.steps.items()}, steps)
    yield from _each("attempts", expected.attempts, attempts)
    yield from _each("outputs", expected.outputs, result.outputs)
    names = _names(run, inputs)
    for index, check in enumerate(expected.checks):
        yield from _checked(check, index, names)


def _ending(expected: Expected, run: Simulated) -> Iterator[Difference]:
    status, error = run.result.status, run.result.error
    message = error.message if error else ""
    why = f" ({message})" if message else ""
    if expected.status is not None or expected.error is None:
        wanted = expected.status or ExecutionStatus.COMPLETED
        if status is not wanted:
            yield Difference("status", wanted.value, f"{status.value}{why}", ("status",))
    if expected.error is not None and expected.error not in message:
        yield Difference("error", f"a message with {shown(expected.error)}", shown(message), ("error",))


def _each(section: str, expected: Mapping[str, Json], found: Mapping[str, Json]) -> Iterator[Difference]:
    for name, wanted in expected.items():
        if name not in found:
            yield Difference(f"{section} {name}", shown(wanted), "nothing of that name", (section, name))
        elif not equal(wanted, found[name]):
            yield Difference(f"{section} {name}", shown(wanted), shown(found[name]), (section, name))


def _checked(check: str, index: int, names: Mapping[str, Json]) -> Iterator[Difference]:
    path = ("checks", index)
    try:
        value = expressions.evaluate(check, names)
    except InvalidExpression as error:
        yield Difference("check", check, error.message, path)
        return
    if not value:
        parts = [".".join(part.path) for part in expressions.references(check)]
        seen = (f"{part} is {shown(_at(names, part.split('.')))}" for part in dict.fromkeys(parts))
        yield Difference("check", check, "; ".join(seen) or shown(value), path)


def _at(names: Any, path: list[str]) -> Json:
    for key in path:
        if not isinstance(names, Mapping) or key not in names:
            break
        names = names[key]
    return names


def _names(run: Simulated, inputs: Mapping[str, Json]) -> dict[str, Json]:
    result = run.result.model_dump(mode="json")
    return {
        "inputs": dict(inputs),
        "outputs": result["outputs"],
        "phases": result["phases"],
        "steps": result["steps"],
        "status": result["status"],
        "error": result["error"],
        "seconds": run.seconds,
        "calls": dict(run.calls),
    }


def equal(one: Json, other: Json) -> bool:
    """Whether two values are the same JSON: 1 is 1.0, and true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def shown(value: Json) -> str:
    """Returns a value short enough for a line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:199] + "…"
