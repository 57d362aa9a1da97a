"""Runs the tests of one file and says what came of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from starter.simulation import declarations, vocabulary
from starter.simulation.declarations import SUFFIX, Declarations, TaskTest
from starter.simulation.expectations import differences
from starter.simulation.mocks import Mocks, TooFewOutputs, Unmocked
from starter.simulation.people import Undecided
from starter.simulation.process import Broken
from starter.simulation.simulated import Simulated, simulate
from starter.simulation.template import mock_lines
from taskmark.contracts import Limits
from taskmark.registry import Registry
from taskmark.task.model import TaskDefinition
from taskmark.task.source_text import Place


@dataclass(frozen=True)
class Problem:
    """Why a test has failed, and where in its file."""

    what: str
    place: Place
    expected: str | None = None
    got: str | None = None
    add: tuple[str, ...] = ()
    """Lines that would help, to be put where they belong."""


@dataclass(frozen=True)
class Outcome:
    """What came of a test."""

    name: str
    place: Place
    milliseconds: float
    problems: tuple[Problem, ...]
    unused: tuple[str, ...]
    """Mocks and decisions of the test that nothing asked for."""
    run: Simulated | None

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.problems


def beside(task: Path) -> Path:
    """Returns the file that holds the tests of a task's file."""
    return task.with_name(task.stem + SUFFIX)


class Suite:
    """The tests of one task."""

    def __init__(self, file: Path, definition: TaskDefinition, registry: Registry, limits: Limits) -> None:
        """Reads the tests. Raises `InvalidTask` with every problem of their file."""
        self.declarations: Declarations = declarations.read(file)
        vocabulary.check(self.declarations, definition)
        self._definition = definition
        self._registry = registry
        self._limits = limits

    def run(self, wanted: Callable[[str], bool]) -> Iterator[Outcome]:
        """Yields the outcome of each wanted test as soon as it is known."""
        for index, test in enumerate(self.declarations.content.tests):
            if wanted(test.name):
                yield self._run(index, test)

    def _run(self, index: int, test: TaskTest) -> Outcome:
        defaults = self.declarations.content.defaults
        mocks = Mocks(test, defaults)
        started = time.perf_counter()
        run: Simulated | None = None
        try:
            inputs = {**defaults.inputs, **test.inputs}
            decisions = {**defaults.decisions, **test.decisions}
            run = simulate(
                self._definition, inputs, mocks, decisions, registry=self._registry, limits=self._limits
            )
            problems = list(self._compared(index, test, run))
        except TooFewOutputs as error:
            problems = [self._problem(index, str(error), "mocks")]
        except Unmocked as error:
            lines = mock_lines(self._definition, error.what)
            problems = [self._problem(index, str(error), "mocks", ("mocks:", *_indented(lines)))]
        except Undecided as error:
            problems = [self._problem(index, str(error), "decisions", _decision(error))]
        except Broken as error:
            problems = [self._problem(index, str(error))]
        return Outcome(
            name=test.name,
            place=self._place(index, "name"),
            milliseconds=(time.perf_counter() - started) * 1000,
            problems=tuple(problems),
            unused=tuple(_unused(mocks, test, run)) if run else (),
            run=run,
        )

    def _compared(self, index: int, test: TaskTest, run: Simulated) -> Iterator[Problem]:
        inputs = {**self.declarations.content.defaults.inputs, **test.inputs}
        for found in differences(test.expect, run, inputs):
            place = self._place(index, "expect", *found.path)
            yield Problem(found.what, place, found.expected, found.got)

    def _problem(self, index: int, what: str, section: str = "name", add: tuple[str, ...] = ()) -> Problem:
        return Problem(what, self._place(index, section), add=add)

    def _place(self, index: int, *path: str | int) -> Place:
        return self.declarations.place("tests", index, *path)


def _decision(error: Undecided) -> tuple[str, ...]:
    words = {"question": "{answer: …}", "retry": "skip"}
    return ("decisions:", f"  {error.name}: {words.get(error.kind, 'approve')}") if error.name else ()


def _unused(mocks: Mocks, test: TaskTest, run: Simulated) -> Iterator[str]:
    for section, name in mocks.unused():
        yield f"mocks.{section}.{name}"
    for name in test.decisions:
        if name not in run.decided:
            yield f"decisions.{name}"


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]
