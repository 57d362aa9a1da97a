"""Phases and steps as read, before their names are resolved: values with the places they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from taskmark.task.source_text import Located, Place, Text
from taskmark.task.yaml_nodes import Mapping, Scalar


class Expression(NamedTuple):
    """An expression or template somewhere in the file."""

    source: str
    template: bool
    at: Located
    shift: int = 0
    """Characters of `at` before the source begins."""
    per_item: bool = False
    """Whether it is evaluated for each item of its step's `forEach`."""
    takes_secrets: bool = False
    """Whether it is given to a tool, which may be given secrets."""

    def place(self, offset: int) -> Place:
        """Returns where a character of the source stands."""
        return self.at.place(self.shift + offset)


@dataclass
class OutputDraft:
    """`- name: expression`, or `- name`."""

    name: str
    place: Place
    expression: Expression | None = None


@dataclass
class StepDraft:
    """A step as read."""

    kind: str
    place: Place
    """Of its first word."""
    value: Text
    description: Text
    fields: dict[str, Any] = field(default_factory=dict)
    """Fields of the model that the mapping gives."""
    places: dict[str, Place] = field(default_factory=dict)
    """Where the value of each key of the mapping stands."""
    expressions: list[Expression] = field(default_factory=list)
    arguments: Mapping | None = None
    """Its `with`."""
    retry: dict[str, int] | None = None
    fallback_name: Scalar | None = None
    """The other tool or agent."""
    fallback_arguments: Mapping | None = None
    """The fallback's own `with`; absent if it takes the step's."""
    intact: bool = True
    """False if some of its mapping is wrong in itself, so that a value may be the rest of another."""
    readable: bool = True
    """False if its mapping could not be read, so that its id is not known."""
    id: str = ""
    reads_steps: tuple[str, ...] = ()
    reads_phases: tuple[str, ...] = ()

    @property
    def chooses_agent(self) -> bool:
        """Whether its agent is an expression."""
        value = self.value.value
        return self.kind == "agent" and value.startswith("{{") and value.endswith("}}")


@dataclass
class PhaseDraft:
    """A phase as read."""

    name: Text
    slug: str
    fields: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    """Where the value of each option stands."""
    depends_on: list[Scalar] = field(default_factory=list)
    dependencies_known: bool = True
    """False if `dependsOn` could not be read, so that no read can be called forbidden."""
    expressions: list[Expression] = field(default_factory=list)
    steps: list[StepDraft] = field(default_factory=list)
    agents: list[Text] = field(default_factory=list)
    outputs: list[OutputDraft] = field(default_factory=list)
    resolved: tuple[str, ...] = ()
    """Slugs of the phases it depends on."""

    @property
    def parallel(self) -> bool:
        """Whether its steps run side by side."""
        return bool(self.fields.get("parallel"))

    @property
    def has_items(self) -> bool:
        """Whether it runs once per item, so that `item` and `index` are known in it."""
        return "for_each" in self.fields
