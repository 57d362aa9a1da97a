"""What an execution can reuse of an earlier one: why a step cannot be, and what of a run can be foreseen.

Pure. The prediction asks for the same fingerprints as the engine does (`taskmark.plan.fingerprints`), as far
as what a step will read is known before the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from taskmark.contracts import (
    INLINE_LIMIT,
    Remembered,
    ResumeFrom,
    StepState,
    StepStatus,
    artifact_content,
    artifact_reference,
    is_artifact,
)
from taskmark.errors import InvalidExpression
from taskmark.plan import phases as rules
from taskmark.plan.fingerprints import Fingerprints, Print
from taskmark.plan.graph import dependents, waves
from taskmark.plan.phases import title
from taskmark.task import expressions
from taskmark.task.model import BUILT_IN_KINDS, Json, Phase, Step, TaskDefinition

NAMED = 5
"""Names of what has changed that are told at most."""

Verdict = Literal["reused", "runs", "perhaps", "evaluated", "skipped"]

_NOT_THEN: Mapping[StepStatus, str] = {
    StepStatus.FAILED: "it had failed",
    StepStatus.SKIPPED: "it had been skipped",
    StepStatus.CANCELLED: "it had been cancelled",
}


def over(
    definition: TaskDefinition, earlier: Mapping[str, Json], given: Mapping[str, Json]
) -> dict[str, Json]:
    """Returns the inputs of an execution that goes on from an earlier one: those of then that the task still
    has, and over them what was given now."""
    known = {requirement.name for requirement in definition.requirements}
    return {**{name: value for name, value in earlier.items() if name in known}, **given}


def asked_anew(definition: TaskDefinition, wanted: ResumeFrom, phase: str) -> str:
    """Returns why a phase runs anew because somebody asked for it, or nothing."""
    if wanted.phase is None:
        return ""
    if phase == wanted.phase:
        return "it was asked to run again"
    if phase in dependents(definition, wanted.phase):
        return f"it depends on {wanted.phase}, which was asked to run again"
    return ""


def why_anew(old: Remembered | None, now: Print, kind: str) -> str:
    """Returns why a step is not reused."""
    if old is None:
        return "it is new"
    if old.definition and old.definition != now.definition:
        return "its definition has changed"
    names = [name for name in {**now.reads, **old.reads} if now.reads.get(name) != old.reads.get(name)]
    if old.definition and names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        verb = "is shown" if kind == "approval" else "it reads"
        return f"what {verb} has changed: {', '.join(names[:NAMED])}{more}"
    if old.withheld:
        return "its output is personal, and kept by nobody any more"
    if old.status is StepStatus.COMPLETED:
        return "some of it had failed" if old.partly else "another step is the same"
    return _NOT_THEN.get(old.status, "it had not completed")


# --- a prediction ---------------------------------------------------------------------------------


class OldPhase(NamedTuple):
    """The checkpoint of a phase."""

    steps: Mapping[str, Remembered]
    outputs: Mapping[str, Json] | None
    definition: str
    """Hash of what the file said of its outputs."""


@dataclass(frozen=True)
class Foreseen:
    """What will be of one step."""

    phase: str
    step: str
    kind: str
    name: str
    verdict: Verdict
    why: str = ""
    items: tuple[int, int] | None = None
    """How many of its items are reused, of how many."""


def predict(
    definition: TaskDefinition,
    inputs: Mapping[str, Json],
    checkpoint: Mapping[str, OldPhase],
    wanted: ResumeFrom,
    *,
    project: str | None = None,
    missing: Mapping[str, str] | None = None,
) -> tuple[Foreseen, ...]:
    """Returns for each step whether it will be reused, in the order of the file.

    `missing` says of phases why their checkpoints may not be used.
    """
    foreseeing = _Foreseeing(definition, _kept(dict(inputs)), checkpoint, wanted, project, missing or {})
    found = {phase: foreseeing.phase(definition.phase(phase)) for wave in waves(definition) for phase in wave}
    return tuple(one for phase in definition.phases for one in found[phase.slug])


def _kept(inputs: dict[str, Json]) -> Any:
    """Returns the inputs as phases are given them: large ones as a reference."""
    content = artifact_content(inputs)
    if len(content) <= INLINE_LIMIT:
        return inputs
    return artifact_reference(hashlib.sha256(content).hexdigest(), len(content))


@dataclass
class _Known:
    """What is known of a phase before it runs."""

    states: dict[str, StepState] = field(default_factory=dict)
    """Of the steps whose output will be that of then."""
    outputs: dict[str, Json] | None = None
    """None if they are not known."""


class _Lane(NamedTuple):
    """The steps of a phase, for one item of its `forEach` if it has one."""

    suffix: str = ""
    names: Mapping[str, Json] = {}


class _Foreseeing:
    """Goes through the phases in an order in which they may run."""

    def __init__(  # noqa: PLR0917 - what is known of one run
        self,
        definition: TaskDefinition,
        inputs: Any,
        checkpoint: Mapping[str, OldPhase],
        wanted: ResumeFrom,
        project: str | None,
        missing: Mapping[str, str],
    ) -> None:
        self._definition = definition
        self._inputs = inputs
        self._checkpoint = checkpoint
        self._wanted = wanted
        self._project = project or definition.project
        self._missing = missing
        self._known: dict[str, _Known] = {}

    def phase(self, phase: Phase) -> list[Foreseen]:
        """Returns what will be of the steps of a phase; those it depends on were asked for before."""
        known = self._known[phase.slug] = _Known()
        old = self._checkpoint.get(phase.slug)
        why = self._missing.get(phase.slug) or asked_anew(self._definition, self._wanted, phase.slug)
        if old is None and not why:
            why = "its phase left no checkpoint"
        part = _PhasePart(self._definition, phase, old if not why else None, why, self._given(phase), known)
        found = part.steps()
        if part.is_known and old is not None and not why and part.outputs_hash == old.definition:
            known.outputs = dict(old.outputs or {})
        return found

    def _given(self, phase: Phase) -> _Given:
        """Returns what the phase will be given, as far as that is known."""
        definition, unknown = self._definition, set[tuple[str, str]]()
        phases: dict[str, Json] = {}
        for slug in dict.fromkeys((*phase.depends_on, *phase.reads_phases)):
            outputs = self._known[slug].outputs if slug in self._known else None
            if outputs is None:
                unknown.add(("phases", slug))
            else:
                phases[slug] = {"status": "completed", "outputs": outputs}
        steps: dict[str, Json] = {}
        for name in phase.reads_steps:
            state = next((k.states[name] for k in self._known.values() if name in k.states), None)
            if state is None:
                unknown.add(("steps", name))
            else:
                steps[name] = {"status": "completed", "output": state.output}
        answers: list[Json] = []
        for slug in phase.depends_on:
            before = self._known.get(slug)
            if before is None or before.outputs is None:
                unknown.add(("answers", slug))
            else:
                answers += rules.answers(definition.phase(slug), before.outputs, before.states)
        names = {
            "inputs": self._inputs,
            "phases": phases,
            "steps": steps,
            "execution": {"id": None},
            "project": self._project,
        }
        return _Given(names, unknown, tuple(answers))


class _Given(NamedTuple):
    names: dict[str, Any]
    unknown: set[tuple[str, str]]
    """What will only be known during the run: `("steps", "count")`."""
    answers: tuple[Json, ...]


class _PhasePart:
    """Foresees the steps of one phase."""

    def __init__(  # noqa: PLR0917 - what is known of one phase
        self,
        definition: TaskDefinition,
        phase: Phase,
        old: OldPhase | None,
        why: str,
        given: _Given,
        known: _Known,
    ) -> None:
        self._phase = phase
        self._old: Mapping[str, Remembered] = old.steps if old else {}
        self._why = why
        self._given = given
        self._known = known
        default = definition.default_agents if phase.asks_listed() and not phase.agents else ()
        self._prints = Fingerprints(phase, definition.agents, default, definition.tasks.get, given.answers)
        self.outputs_hash = self._prints.of_outputs()
        self.is_known = True
        """Whether all its steps will have the outputs of then."""
        self._taken: dict[str, None] = {}

    def steps(self) -> list[Foreseen]:
        lanes = self._lanes()
        if lanes is None:
            self.is_known = False
            why = self._why or f"its items are known only then: {self._phase.for_each}"
            verdict: Verdict = "runs" if self._why else "perhaps"
            return [self._told(step, verdict, why) for step in self._phase.steps]
        found = [[self._step(step, lane) for step in self._phase.steps] for lane in lanes]
        if self._phase.for_each is None:
            return found[0]
        self._merge(len(lanes))
        return [self._over(step, [one[i] for one in found]) for i, step in enumerate(self._phase.steps)]

    def _lanes(self) -> list[_Lane] | None:
        items = self._phase.for_each
        if items is None:
            return [_Lane()]
        if isinstance(items, str):
            items = self._evaluated(items, self._given.names)
        if not isinstance(items, list | tuple):
            return None
        return [_Lane(f"[{i}]", {"item": item, "index": i}) for i, item in enumerate(items)]

    def _merge(self, count: int) -> None:
        """Outside of the phase its steps are lists over the items."""
        for step in self._phase.steps:
            own = [self._known.states.get(f"{step.id}[{i}]") for i in range(count)]
            if all(own):
                outputs = [state.output for state in own if state]
                merged = StepState(id=step.id, kind=step.kind, status=StepStatus.COMPLETED, output=outputs)
                self._known.states[step.id] = merged.model_copy(update={"items_total": count})

    def _over(self, step: Step, found: Sequence[Foreseen]) -> Foreseen:
        if not found:
            return self._told(step, "reused", "", (0, 0))
        odd = next((one for one in found if one.verdict not in ("reused", "evaluated")), found[0])
        same = sum(one.verdict == "reused" for one in found)
        return self._told(step, odd.verdict, odd.why, (same, len(found)))

    def _told(
        self, step: Step, verdict: Verdict, why: str = "", items: tuple[int, int] | None = None
    ) -> Foreseen:
        return Foreseen(self._phase.slug, step.id, step.kind, title(step), verdict, why, items)

    def _step(self, step: Step, lane: _Lane) -> Foreseen:
        names = self._names(lane)
        holds = None if step.condition is None else self._evaluated(step.condition, names)
        if holds is not None and not holds:
            self.is_known = False
            return self._told(step, "skipped", f"its condition is false: {step.condition}")
        unknown = self._unknown(step, lane)
        now = self._prints.of(step, step.id, names)
        name = None if unknown else self._match(step, step.id + lane.suffix, now)
        old = self._old.get(step.id + lane.suffix)
        if name is not None:
            self._taken[name] = None
            self._reused(step, lane, self._old[name])
            return self._told(step, "evaluated" if self._prints.is_evaluated(step) else "reused")
        if self._prints.is_evaluated(step):
            self.is_known = self.is_known and step.kind == "plain"
            return self._told(step, "evaluated")
        self.is_known = False
        if self._why:
            return self._told(step, "runs", self._why)
        if unknown and old is not None and old.is_whole and self._may_be(old, now, unknown):
            return self._told(step, "perhaps", f"if what it reads is the same: {', '.join(unknown)}")
        return self._told(step, "runs", why_anew(old, now, step.kind), self._items(step, old, now, names))

    def _reused(self, step: Step, lane: _Lane, old: Remembered) -> None:
        state = StepState(
            id=step.id,
            kind=step.kind,
            status=StepStatus.COMPLETED,
            output=old.output,
            items_total=old.items_total,
        )
        self._known.states[step.id + lane.suffix] = state

    def _names(self, lane: _Lane) -> dict[str, Any]:
        own = {
            name.removesuffix(lane.suffix): {"status": "completed", "output": state.output}
            for name, state in self._known.states.items()
            if name.endswith(lane.suffix)
        }
        return {**self._given.names, "steps": {**self._given.names["steps"], **own}, **lane.names}

    def _match(self, step: Step, name: str, now: Print) -> str | None:
        """Returns the step of then that is the same, as the engine finds it."""

        def same(old: Remembered) -> bool:
            return old.is_whole and old.definition == now.definition and dict(old.reads) == now.reads

        found = [other for other, old in self._old.items() if other not in self._taken and same(old)]
        return name if name in found else next(iter(found), None)

    def _unknown(self, step: Step, lane: _Lane) -> list[str]:
        """Returns what the step will read and nobody knows yet."""
        own = [one.id for one in self._phase.steps if one.id + lane.suffix not in self._known.states]
        reads = [("steps", name) for name in step.reads_steps] + [("phases", s) for s in step.reads_phases]
        unknown = [
            place
            for place in dict.fromkeys(reads)
            if place in self._given.unknown or (place[0] == "steps" and place[1] in own)
        ]
        if self._is_shown(step):
            before = self._prints.before(step.id)
            unknown += [("steps", name) for name in before if name in own]
            unknown += sorted(self._given.unknown - {("answers", p) for p in self._phase.depends_on})
        if step.kind == "aggregate" and "over" not in step.arguments:
            unknown += [("steps", name) for name in self._prints.before(step.id) if name in own]
            unknown += [("phases", slug) for kind, slug in sorted(self._given.unknown) if kind == "answers"]
        return list(dict.fromkeys(".".join(place) for place in unknown))

    def _is_shown(self, step: Step) -> bool:
        return step.kind in ("plain", "agent", "approval") or step.kind not in BUILT_IN_KINDS

    def _may_be(self, old: Remembered, now: Print, unknown: Iterable[str]) -> bool:
        """Whether what is known already does not speak against it."""
        roots = tuple(unknown)

        def open_(name: str) -> bool:
            return name in ("steps", "phases", "answers") or any(
                name == root or name.startswith(f"{root}.") for root in roots
            )

        names = {**old.reads, **now.reads}
        return old.definition == now.definition and all(
            open_(name) or old.reads.get(name) == now.reads.get(name) for name in names
        )

    def _items(
        self, step: Step, old: Remembered | None, now: Print, names: Mapping[str, Any]
    ) -> tuple[int, int] | None:
        """Returns how many of the step's items are reused, of how many."""
        wanted = list(self._item_prints(step, now, names))
        if not wanted:
            return None
        free = [one for one in (old.items if old else ()) if one]
        same = 0
        for one in wanted:
            if one in free:
                free.remove(one)
                same += 1
        return same, len(wanted)

    def _item_prints(self, step: Step, now: Print, names: Mapping[str, Any]) -> Iterator[str]:
        if step.kind == "plain":
            yield from (self._prints.asked(now, agent) for agent in self._prints.listed)
            return
        items = step.for_each
        if isinstance(items, str):
            items = self._evaluated(items, names)
        for index, item in enumerate(items if isinstance(items, list | tuple) else ()):
            yield self._prints.item(now, {**names, "item": item, "index": index})

    def _evaluated(self, source: str, names: Mapping[str, Any]) -> Json:
        """Returns the value of an expression, or None if it cannot be known yet."""
        text = source.strip()
        text = text[2:-2].strip() if text.startswith("{{") and text.endswith("}}") else text
        if is_artifact(names["inputs"]):
            return None
        try:
            return expressions.evaluate(text, names)
        except InvalidExpression:
            return None
