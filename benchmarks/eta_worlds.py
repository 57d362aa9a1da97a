"""Simulated tasks whose durations are known to follow a law: what an estimate is measured against.

Nothing here shares code with the estimator: a run is played event by event, one step at a time, as the engine
would carry it out, and the estimator only sees what the engine would show it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from taskmark.contracts import StepState, StepStatus
from taskmark.plan.estimate import WINDOW
from taskmark.plan.experience import Experience, Timed
from taskmark.plan.phases import Windows
from taskmark.plan.progress import TaskPercent
from taskmark.task.model import Phase, Retry, Step, TaskDefinition

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
FAMILIES = ("log-normal", "bimodal", "drifting", "retries", "parallel", "limits", "pauses")
WIDE = ("parallel", "limits")

States = dict[str, tuple[StepStatus, dict[str, StepState]]]


@dataclass
class World:
    """A task, and the law by which the steps of its n-th execution take their time."""

    family: str
    definition: TaskDefinition
    medians: dict[str, float]
    deviations: dict[str, float] = field(default_factory=dict)
    slow: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Of a bimodal step: how often it is slow, and how much slower."""
    fails: dict[str, float] = field(default_factory=dict)
    wandering: float = 0.0
    """How far executions differ from each other as a whole."""
    drift: Callable[[str, int], float] = lambda _step, _run: 0.0
    """The logarithm of how much slower a step has become by the n-th execution."""
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of a step with `forEach`: how many items at least and at most."""

    def seconds(self, step: str, run: int, pace: float, random: Random) -> float:
        """Returns what one try takes."""
        log = random.gauss(math.log(self.medians[step]), self.deviations[step]) + pace + self.drift(step, run)
        often, slower = self.slow.get(step, (0.0, 1.0))
        return math.exp(log) * (slower if random.random() < often else 1.0)


def world(family: str, seed: int) -> World:
    """Returns a task of a family; the same for the same seed."""
    random = Random(f"{family} {seed}")
    made = World(family, *_task(family, seed, random))
    made.deviations = {step: random.uniform(0.05, 0.7) for step in made.medians}
    made.wandering = random.choice((0.0, 0.1, 0.3))
    match family:
        case "bimodal":
            slow = (step for step in made.medians if random.random() < 0.6)
            made.slow = {step: (random.uniform(0.1, 0.5), random.uniform(3, 8)) for step in slow}
        case "retries":
            made.fails = {step: random.choice((0.0, 0.05, 0.15, 0.3)) for step in made.medians}
        case "drifting":
            made.drift = _drift(random, list(made.medians))
        case "limits":
            listed = (step for phase in made.definition.phases for step in phase.steps if step.for_each)
            made.sizes = {step.id: random.choice(((5, 10), (20, 40), (60, 120))) for step in listed}
    return made


def _task(family: str, seed: int, random: Random) -> tuple[TaskDefinition, dict[str, float]]:
    """Returns a task, and the seconds that its steps take in the middle."""
    medians: dict[str, float] = {}
    scale, declares = random.uniform(math.log(0.5), math.log(60)), random.random() < 0.5
    phases: list[Phase] = []
    for number in range(random.randint(2, 6)):
        steps = []
        for place in range(random.randint(1, 16 if family in WIDE else 10)):
            step = f"p{number}s{place}"
            medians[step] = math.exp(scale + random.gauss(0, 0.8))
            said = medians[step] * math.exp(random.gauss(0, 0.5)) if declares else None
            each = "inputs.items" if family == "limits" and random.random() < 0.2 else None
            steps.append(Step(id=step, kind="tool", value="work", estimate=said, for_each=each))
        phases.append(_phase(family, [phase.slug for phase in phases], tuple(steps), random))
    limit = random.choice((None, 1, 2)) if family == "limits" else None
    retry = Retry(max_attempts=5, backoff_ms=random.choice((1000, 5000)))
    name = f"{family}-{seed}"
    task = TaskDefinition(id=name, name=name, phases=tuple(phases), retry=retry, max_concurrent_phases=limit)
    return task, medians


def _phase(family: str, before: list[str], steps: tuple[Step, ...], random: Random) -> Phase:
    wide, name = family in WIDE, f"p{len(before)}"
    needs = random.sample(before, min(len(before), random.randint(0, 2))) if wide else before[-1:]
    return Phase(
        name=name,
        slug=name,
        steps=steps,
        depends_on=tuple(needs),
        parallel=wide and random.random() < 0.7,
        max_concurrent=random.choice((2, 3, 4)) if family == "limits" else None,
    )


def _drift(random: Random, steps: list[str]) -> Callable[[str, int], float]:
    """Returns one of: everything grows steadily, wanders, jumps once, or only one step grows."""
    kind = random.choice(("grows", "wanders", "jumps", "one grows"))
    slope = random.choice((-1, 1)) * random.uniform(0.02, 0.1)
    chosen, jump = random.choice(steps), random.randint(3, 18)
    walk = [0.0]
    for _ in range(60):
        walk.append(walk[-1] + random.gauss(0, 0.12))
    match kind:
        case "grows":
            return lambda _, run: slope * run
        case "wanders":
            return lambda _, run: walk[run]
        case "jumps":
            return lambda _, run: 10 * slope * (run >= jump)
        case _:
            return lambda step, run: slope * run if step == chosen else 0.0


# --- one execution --------------------------------------------------------------------------------


@dataclass
class Moment:
    """How an execution stands at one time."""

    percent: float
    worked: float
    now: datetime
    states: States


@dataclass
class Run:
    """An execution: how it went, and what the history store would keep of it."""

    worked: float
    moments: list[Moment]
    took: dict[str, list[float]]
    failed: dict[str, list[float]]
    items: dict[str, int]


class Player:
    """Plays one execution."""

    def __init__(self, world: World, number: int, random: Random, looks: tuple[float, ...] = ()) -> None:
        self.world, self.number, self.random = world, number, random
        self.pace = random.gauss(0, world.wandering)
        self.looks = list(looks)
        self.now = self.worked = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.states: States = {}
        self.status: dict[str, StepStatus] = {}
        self.steps: dict[str, dict[str, StepState]] = {}
        self.queue: dict[str, list[tuple[Step, int | None]]] = {}
        self.busy: dict[str, int] = {}
        self.items: dict[str, int] = {}
        self.took: dict[str, list[float]] = {}
        self.failed: dict[str, list[float]] = {}
        self.moments: list[Moment] = []
        self.percent = TaskPercent(world.definition)
        self.windows = Windows(world.definition, WINDOW)
        self.paused = False
        self.running = 0
        self.since = 0.0

    def play(self) -> Run:
        """Plays it to its end."""
        for phase in self.world.definition.phases:
            self.status[phase.slug] = StepStatus.PENDING
            self.steps[phase.slug] = {step.id: StepState(id=step.id, kind="tool") for step in phase.steps}
        for at, seconds in self._pauses():
            self._after(at, self._pause)
            self._after(at + seconds, self._resume)
        self._start_phases()
        while self.events and not all(status.is_final for status in self.status.values()):
            time, _, happens = heapq.heappop(self.events)
            self._advance(time)
            happens()
            self._look()
        return Run(self.worked, self.moments, self.took, self.failed, self.items)

    def _pauses(self) -> Iterator[tuple[float, float]]:
        if self.world.family == "pauses":
            about = sum(self.world.medians.values())
            for _ in range(self.random.randint(1, 3)):
                yield self.random.uniform(0, about), self.random.uniform(0.05, 1.0) * about

    def _after(self, at: float, happens: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.events, (at, self.count, happens))

    def _advance(self, time: float) -> None:
        if not (self.paused and self.running == 0):
            self.worked += time - self.now
        self.now = time

    def _pause(self) -> None:
        self.paused = True

    def _resume(self) -> None:
        self.paused = False
        self._start_phases()
        for phase in self.world.definition.phases:
            if self.status[phase.slug] is StepStatus.RUNNING:
                self._start_steps(phase)

    def _start_phases(self) -> None:
        if self.paused:
            return
        most = self.world.definition.max_concurrent_phases or 99
        for phase in self.world.definition.phases:
            running = sum(status is StepStatus.RUNNING for status in self.status.values())
            ready = all(self.status[need].is_final for need in phase.depends_on)
            if self.status[phase.slug] is StepStatus.PENDING and ready and running < most:
                self.status[phase.slug] = StepStatus.RUNNING
                self.busy[phase.slug] = 0
                self.queue[phase.slug] = []
                for step in phase.steps:
                    if step.id in self.world.sizes:
                        self.items[step.id] = self.random.randint(*self.world.sizes[step.id])
                        self.queue[phase.slug] += [(step, n) for n in range(self.items[step.id])]
                    else:
                        self.queue[phase.slug].append((step, None))
                self._start_steps(phase)

    def _start_steps(self, phase: Phase) -> None:
        queue = self.queue[phase.slug]
        while queue and not self.paused:
            step, item = queue[0]
            if self.busy[phase.slug] >= self.windows.of(phase):
                return
            if not phase.parallel and self._others_run(phase, step):
                return
            queue.pop(0)
            self.busy[phase.slug] += 1
            self.running += 1
            if self.steps[phase.slug][step.id].status is StepStatus.PENDING:
                self._change(phase, step, status=StepStatus.RUNNING, started_at=self._at(), attempt=1)
                if item is not None:
                    self._change(phase, step, items_total=self.items[step.id])
            self._try(phase, step, item, 1)

    def _others_run(self, phase: Phase, step: Step) -> bool:
        """Whether a step of a sequential phase has to wait for another one."""
        states = self.steps[phase.slug].values()
        return any(state.status is StepStatus.RUNNING and state.id != step.id for state in states)

    def _try(self, phase: Phase, step: Step, item: int | None, attempt: int) -> None:
        seconds = self.world.seconds(step.id, self.number, self.pace, self.random)
        if self.random.random() < self.world.fails.get(step.id, 0.0) and attempt < 5:
            seconds *= self.random.uniform(0.2, 1.0)
            wait = self.world.definition.retry.backoff_ms / 1000 * 2 ** (attempt - 1)

            def fails() -> None:
                self.failed.setdefault(step.id, []).append(seconds)
                self._after(self.now + min(wait, 60), again)

            def again() -> None:
                self._change(phase, step, attempt=attempt + 1)
                self._try(phase, step, item, attempt + 1)

            self._after(self.now + seconds, fails)
        else:
            self._after(self.now + seconds, lambda: self._done(phase, step, item, seconds))

    def _done(self, phase: Phase, step: Step, item: int | None, seconds: float) -> None:
        self.took.setdefault(step.id, []).append(seconds)
        self.busy[phase.slug] -= 1
        self.running -= 1
        state = self.steps[phase.slug][step.id]
        if item is not None:
            self._change(phase, step, items_done=state.items_done + 1)
        if item is None or state.items_done + 1 == self.items[step.id]:
            self._change(phase, step, status=StepStatus.COMPLETED, finished_at=self._at())
        if all(state.status.is_final for state in self.steps[phase.slug].values()):
            self.status[phase.slug] = StepStatus.COMPLETED
            self._start_phases()
        else:
            self._start_steps(phase)

    def _change(self, phase: Phase, step: Step, **fields: object) -> None:
        states = self.steps[phase.slug]
        states[step.id] = states[step.id].model_copy(update=fields)

    def _at(self) -> datetime:
        return BEGAN + timedelta(seconds=self.now)

    def _look(self) -> None:
        """Looks a while after each wanted percentage was reached; how long does not depend on what comes."""
        if not self.looks:
            return
        percent = self.percent.of(self._states())
        if percent < self.looks[0]:
            return
        while self.looks and percent >= self.looks[0]:
            self.looks.pop(0)
        about = self.random.choice(list(self.world.medians.values()))
        self._after(self.now + self.random.uniform(0, about), self._see)

    def _see(self) -> None:
        states = self._states()
        if not self.paused:
            self.moments.append(Moment(self.percent.of(states), self.worked, self._at(), states))

    def _states(self) -> States:
        return {slug: (status, dict(self.steps[slug])) for slug, status in self.status.items()}


def experience_of(runs: list[Run]) -> Experience:
    """Returns what the store would tell of these executions, of which the last is the latest."""
    latest = list(reversed(runs))
    steps = {}
    for step in {name for run in runs for name in run.took}:
        took = tuple((age, s) for age, run in enumerate(latest) for s in run.took.get(step, ()))
        failed = tuple(s for run in latest for s in run.failed.get(step, ()))
        steps[step] = Timed(took[:400], failed, len(took))
    items = {}
    for step in {name for run in runs for name in run.items}:
        items[step] = [run.items[step] for run in latest if step in run.items]
    return Experience(
        executions=len(runs),
        steps=steps,
        items=items,
        worked={age: run.worked for age, run in enumerate(latest)},
    )
