"""What a step is, and what it reads, as short hashes: two steps with the same ones come to the same.

As in a build system. What the file says of a step is one hash (`definition`), without what only says how
long, how often or how urgently; what its expressions read is one for each name (`reads`). Agents and
registered kinds read what they are shown: the inputs, the phases before, and the steps of their own phase
that have certainly ended. Pure: the engine, the rebuilding of a store and predictions ask the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from taskmark.contracts import is_artifact
from taskmark.errors import InvalidExpression
from taskmark.plan import aggregates
from taskmark.plan.phases import side_by_side
from taskmark.plan.sources import bare, texts_in
from taskmark.task import expressions
from taskmark.task.model import BUILT_IN_KINDS, GATES, Agent, Json, Phase, Step, TaskDefinition

DIGITS = 16
"""Of a hash that are kept: enough to tell the versions of one step apart."""

Path = tuple[Any, ...]

_PLAINLY_DESCRIBED = frozenset({"tool", "aggregate", "task", "wait"})
"""Kinds whose description is for people only."""
_OF_ITEMS = ("item", "index")
_IN_PASSING = frozenset(
    {"timeout", "retry", "estimate", "complexity", "critical", "cache", "circuit", "heartbeat", "limits"}
)
_NOT_OF_A_TASK = frozenset(
    {"sha256", "source_path", "name", "description", "version", "max_execution_time", "retry", "schedule"}
    | {"notify", "on_complete", "budget", "paused_timeout", "agents", "tasks", "project", "format_version"}
    | {"max_concurrent_phases", "max_concurrent_steps", "limits"}
)


def hashed(value: Json) -> str:
    """Returns the hash of a JSON value, in whatever order its keys are."""
    return _short(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:DIGITS]


class Print(NamedTuple):
    """The fingerprint of a step."""

    definition: str
    reads: dict[str, str]
    item: str = ""
    """What all its items have in common, if it has any."""
    item_paths: tuple[Path, ...] = ()
    """What its templates read of the item at hand."""


class Fingerprints:
    """Makes the fingerprints of the steps of one phase."""

    def __init__(
        self,
        phase: Phase,
        agents: Mapping[str, Agent],
        default_agents: Sequence[str],
        task: Callable[[str], TaskDefinition | None],
        answers: Sequence[Json] = (),
    ) -> None:
        """`task` returns a sub-task by its name, `answers` is what aggregates read of the phases before."""
        self._phase = phase
        self._agents = agents
        self._task = task
        self._answers = answers
        self._own = [step.id for step in phase.steps]
        self.listed = phase.agents or tuple(default_agents)
        self._parallel = side_by_side(phase.steps) if phase.parallel else None
        self._known: dict[int, tuple[Json, str]] = {}
        self._tasks: dict[str, str] = {}
        self._others: list[str] | None = None
        """Steps of other phases, once somebody has asked."""
        self.spent = 0
        """Characters hashed so far."""

    def is_evaluated(self, step: Step) -> bool:
        """Whether the step is carried out by the workflow itself: then it is just done again."""
        return (
            step.kind == "validation"
            or (step.kind == "aggregate" and step.value in aggregates.BUILT_IN)
            or (step.kind == "plain" and not self.listed)
        )

    def of(self, step: Step, plain_id: str, names: Mapping[str, Any]) -> Print:
        """Returns the fingerprint of a step; `names` are what expressions may read, `plain_id` is its id
        without the number of an item."""
        told = self._told(step)
        shown = self._shown(step, plain_id, names)
        has_items = step.for_each is not None or (step.kind == "plain" and bool(self.listed))
        paths = _paths(step)
        own = [path for path in paths if not (step.for_each is not None and path[0] in _OF_ITEMS)]
        items = step.for_each if isinstance(step.for_each, str) else None
        over = _read([bare(items)] if items else [], template=False)
        reads = {**self._values([*own, *over], names), **shown}
        if not has_items:
            return Print(self._hash(told), reads)
        common = [told, self._values(own, names), shown]
        whole = {**told, "forEach": step.for_each, "agents": self._asked(step)}
        of_item = tuple(path for path in paths if path[0] in _OF_ITEMS) if step.for_each is not None else ()
        return Print(self._hash(whole), reads, self._hash(common), of_item)

    def item(self, shared: Print, names: Mapping[str, Any]) -> str:
        """Returns the fingerprint of one item of a step's `forEach`."""
        values = [_value(path, names) for path in shared.item_paths]
        return self._hash([shared.item, [_name(path) for path in shared.item_paths], values])

    def asked(self, shared: Print, agent: str) -> str:
        """Returns the fingerprint of what one agent is asked by a plain step."""
        return self._hash([shared.item, agent, self._agent(agent)])

    def of_outputs(self) -> str:
        """Returns the hash of what the file says of the phase's outputs."""
        outputs = [output.model_dump(exclude_none=True) for output in self._phase.outputs]
        return self._hash([outputs, self._phase.for_each])

    # --- what the file says -----------------------------------------------------------------------

    def _told(self, step: Step) -> dict[str, Json]:
        told: dict[str, Json] = {"kind": step.kind, "value": step.value, "with": step.arguments}
        if step.kind not in _PLAINLY_DESCRIBED:
            told["description"] = step.description
        if step.fallback is not None:
            told["fallback"] = step.fallback.model_dump(mode="json", exclude_defaults=True)
            if step.fallback.kind == "agent":
                told["other"] = self._agent(step.fallback.name)
        if step.answer_schema is not None and step.kind not in GATES:
            told["schema"] = step.answer_schema
        if step.kind in GATES:
            told["gate"] = [step.answer_schema, list(step.approvers)]
        if step.kind == "agent":
            chosen = step.agent_expression is not None
            told["agents"] = [self._agent(name) for name in (self.listed if chosen else (step.value,))]
        if step.kind == "task":
            told["task"] = self._subtask(step.value)
        return told

    def _asked(self, step: Step) -> Json:
        return [[name, self._agent(name)] for name in self.listed] if step.kind == "plain" else None

    def _agent(self, name: str) -> Json:
        agent = self._agents.get(name)
        return None if agent is None else agent.model_dump(mode="json", exclude_defaults=True)

    def _subtask(self, name: str) -> str:
        if name not in self._tasks:
            task = self._task(name)
            self._tasks[name] = "" if task is None else self._hash(_gist(task))
        return self._tasks[name]

    # --- what it reads ----------------------------------------------------------------------------

    def _values(self, paths: Iterable[Path], names: Mapping[str, Any]) -> dict[str, str]:
        return {_name(path): self._at(path, names) for path in paths if path[0] in names}

    def _at(self, path: Path, names: Mapping[str, Any]) -> str:
        value = _value(path, names)
        return self._hash(value) if len(path) == 1 else self._of_value(value)  # all of `steps` grows

    def _shown(self, step: Step, plain_id: str, names: Mapping[str, Any]) -> dict[str, str]:
        """Returns what somebody is shown beside what the expressions read."""
        if step.kind == "aggregate":
            if "over" in step.arguments:
                return {}
            return {"answers": self._hash([list(self._answers), self._steps(plain_id, names)])}
        is_note = step.kind == "plain" and not self.listed
        sees = not is_note and (step.kind in ("plain", "agent") or step.kind not in BUILT_IN_KINDS)
        if not sees and step.kind != "approval":
            return {}
        shown = {"inputs": self._of_value(names["inputs"])} if sees else {}
        return shown | {
            "phases": self._of_value(names["phases"]),
            "steps": self._hash(self._steps(plain_id, names)),
        }

    def _steps(self, plain_id: str, names: Mapping[str, Any]) -> list[list[str]]:
        """Returns the steps that have certainly ended when a step runs, each with the hash of its end."""
        seen: Mapping[str, Any] = names["steps"]
        if self._others is None:  # what a phase was given of others stays; its own steps are thousands
            own = frozenset(self._own)
            self._others = sorted(name for name in seen if name not in own and "[" not in name)
        mine = self.before(plain_id)
        return [[name, self._of_value(seen[name])] for name in (*self._others, *mine) if name in seen]

    def before(self, plain_id: str) -> Sequence[str]:
        """Returns the steps of the phase that a step certainly comes after."""
        if self._parallel is not None:
            return self._parallel[plain_id]
        return self._own[: self._own.index(plain_id)]

    def _of_value(self, value: Json) -> str:
        """Returns the hash of a value; of the same one again without looking at it again."""
        if type(value) is not dict and type(value) is not list:
            return self._hash(value)
        known = self._known.get(id(value))
        if known is None:
            known = self._known[id(value)] = (value, self._hash(value))  # kept, so that no other gets its id
        return known[1]

    def _hash(self, value: Json) -> str:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
        self.spent += len(text)
        return _short(text)


def _gist(task: TaskDefinition) -> Json:
    """Returns what matters of a sub-task, for what it comes to."""
    found = _without(task.model_dump(mode="json", exclude_defaults=True), _NOT_OF_A_TASK)
    found["phases"] = [
        {
            **_without(phase.model_dump(mode="json", exclude_defaults=True), _IN_PASSING | {"name"}),
            "steps": [
                _without(step.model_dump(mode="json", exclude_defaults=True), _IN_PASSING)
                for step in phase.steps
            ],
        }
        for phase in task.phases
    ]
    agents = [agent.model_dump(mode="json", exclude_defaults=True) for agent in task.agents.values()]
    return [found, agents, {name: _gist(inner) for name, inner in task.tasks.items()}]


def _without(fields: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in names}


def _paths(step: Step) -> list[Path]:
    """Returns what the step's expressions read, each once, but for its condition and its `forEach`."""
    checked = step.value if step.kind == "validation" else step.agent_expression
    texts: list[Json] = [step.arguments, step.idempotency_key]
    if step.kind not in _PLAINLY_DESCRIBED:
        texts.append(step.description)
    if step.fallback is not None:
        texts += [step.fallback.arguments, step.fallback.value]
    found = _read([bare(checked)] if checked else [], template=False)
    return list(dict.fromkeys([*found, *_read(texts_in(texts), template=True)]))


def _read(texts: Iterable[str], *, template: bool) -> list[Path]:
    found: dict[Path, None] = {}
    for text in texts:
        try:
            references = expressions.references(text, template=template)
        except InvalidExpression:
            continue  # whoever evaluates it says so
        found |= dict.fromkeys(tuple(reference.path) for reference in references)
    return list(found)


def _value(path: Path, names: Mapping[str, Any]) -> Json:
    """Returns what a path leads to, or the value at which it becomes a call, a place in a list, or a look
    into an output that is kept elsewhere: its reference stands for all of it."""
    value: Any = names
    for key in path:
        if type(value) is not dict or is_artifact(value):
            return value
        if key not in value:
            return None
        value = value[key]
    return value


def _name(path: Path) -> str:
    return ".".join(str(key) for key in path)
