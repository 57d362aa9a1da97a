"""What expressions of a task come to, as far as its inputs alone decide it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from taskmark.errors import InvalidExpression
from taskmark.task import expressions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskmark.task.model import Json, Step

LONGEST_TEXT = 2000
"""Characters of a filled-in template; a longer one is cut, because an input may stand in every step."""


@dataclass(frozen=True)
class Foreseen:
    """What an expression comes to. `known` is false where a value is missing that only a run has."""

    known: bool = False
    value: Json = None
    problem: str | None = None
    """Why it cannot be evaluated with these inputs."""


class Foresight:
    """Evaluates what reads nothing but inputs that are given."""

    def __init__(self, inputs: Mapping[str, Json], missing: Sequence[str] = ()) -> None:
        """`missing` are the inputs that a run would need and that are not given."""
        self._names = {"inputs": dict(inputs)}
        self._missing = frozenset(missing)
        self._values: dict[str, Foreseen] = {}

    def value(self, source: str) -> Foreseen:
        """Returns what an expression comes to, with or without braces around it."""
        if source not in self._values:
            self._values[source] = self._foreseen(_bare(source), template=False)
        return self._values[source]

    def items(self, for_each: Json) -> Sequence[Json] | None:
        """Returns the items of a `forEach`, or None if they cannot be known."""
        found = self.value(for_each).value if isinstance(for_each, str) else for_each
        return found if isinstance(found, list | tuple) else None

    def agents(self, step: Step) -> tuple[str, ...]:
        """Returns the agents that a step chooses, one per item; none if they cannot be known, and for a step
        that chooses none."""
        if step.agent_expression is None:
            return ()
        items = [None] if step.for_each is None else self.items(step.for_each) or ()
        found = [
            self._foreseen(step.agent_expression, template=False, given={"item": item, "index": index})
            for index, item in enumerate(items)
        ]
        names = tuple(one.value for one in found if isinstance(one.value, str))
        return names if len(names) == len(found) else ()

    def filled(self, value: Json) -> Json:
        """Returns a copy of a step's `with` with its templates filled in where that is possible; the others
        stay as they are written."""
        if isinstance(value, str):
            found = self._foreseen(value, template=True)
            return _cut(found.value) if found.known and found.problem is None else value
        if isinstance(value, dict):
            return {key: self.filled(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.filled(item) for item in value]
        return value

    def text(self, template: str) -> str:
        """Returns a description filled in where that is possible."""
        found = self.filled(template)
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)

    def _foreseen(
        self, source: str, *, template: bool, given: Mapping[str, Json] = MappingProxyType({})
    ) -> Foreseen:
        """`given` are names that are known beside the inputs."""
        try:
            read = expressions.references(source, template=template)
            if not all(found.path[0] in given or self._is_given(found.path) for found in read):
                return Foreseen()
            run = expressions.render if template else expressions.evaluate
            return Foreseen(known=True, value=run(source, {**self._names, **given}))
        except InvalidExpression as error:
            return Foreseen(known=True, problem=error.message)

    def _is_given(self, path: tuple[str, ...]) -> bool:
        if path[0] != "inputs":
            return False
        return path[1] not in self._missing if len(path) > 1 else not self._missing


def _bare(source: str) -> str:
    source = source.strip()
    return source[2:-2].strip() if source.startswith("{{") and source.endswith("}}") else source


def _cut(value: Json) -> Json:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= LONGEST_TEXT:
        return value
    return f"{text[:LONGEST_TEXT]}… ({len(text):,} characters)"
