"""`notify` in the metadata: who is told of what, by which tool."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from taskmark.task import values
from taskmark.task.codes import Code
from taskmark.task.drafts import Expression
from taskmark.task.model import EVENTS, Notification
from taskmark.task.source_text import Findings
from taskmark.task.yaml_nodes import Items, Mapping, Node, Scalar, scalars

EVENT_PARTS = (
    *("kind", "gate", "name", "prompt", "status", "phase", "step", "message", "deadline", "execution"),
    *("category", "hint", "affects", "attempt", "retry_in_seconds", "failures"),
)
"""What templates read of `event`."""
TASK_PARTS = ("id", "name", "version")
"""What they read of `task`."""
ROOTS = ("event", "inputs", "execution", "task", "project")
"""What they read at all."""


@dataclass
class NoticeDraft:
    """One notification as read: its tool and arguments with the places they came from."""

    tool: Scalar
    arguments: Mapping | None = None
    expressions: list[Expression] = field(default_factory=list)
    readable: bool = True
    intact: bool = True


_event = values.choice(*EVENTS)


def _events(node: Node, findings: Findings) -> tuple[Any, ...]:
    nodes = node.nodes if isinstance(node, Items) else (node,)
    return tuple(dict.fromkeys(event for one in nodes if (event := _event(one, findings)) is not None))


_EVENT = {"enum": list(EVENTS)}
_arguments = values.shaped(
    lambda node, findings: found.value if (found := values.mapping(node, findings)) is not None else None,
    values.MAPPING,
)
_notification = values.record(
    {
        "on": ("on", values.shaped(_events, {"anyOf": [_EVENT, {"type": "array", "items": _EVENT}]})),
        "tool": ("tool", values.text),
        "with": ("arguments", _arguments),
    },
    Notification,
    required=("on", "tool"),
)
_ONE = values.shape_of(_notification)


def _read(node: Node, findings: Findings) -> tuple[Notification, ...] | None:
    nodes = node.nodes if isinstance(node, Items) else (node,)
    if not nodes:
        findings.add(Code.MISSING_VALUE, node.place(), "nobody is told of anything", "remove the line")
    found = [_notification(one, findings) for one in nodes]
    return tuple(one for one in found if one is not None)


notifications = values.shaped(_read, {"anyOf": [_ONE, {"type": "array", "minItems": 1, "items": _ONE}]})


def drafts(node: Node) -> list[NoticeDraft]:
    """Returns the notifications with their places, as far as they name a tool."""
    nodes = node.nodes if isinstance(node, Items) else (node,)
    return [draft for one in nodes if isinstance(one, Mapping) and (draft := _draft(one)) is not None]


def _draft(node: Mapping) -> NoticeDraft | None:
    tool, given = node.get("tool"), node.get("with")
    if tool is None or not isinstance(tool.node, Scalar) or not tool.node.text.strip():
        return None
    arguments = given.node if given is not None and isinstance(given.node, Mapping) else None
    draft = NoticeDraft(tool.node, arguments, intact=given is None or arguments is not None)
    for scalar in scalars(arguments) if arguments is not None else ():
        if "{{" in scalar.text or "{%" in scalar.text:
            draft.expressions.append(Expression(scalar.text, True, scalar, takes_secrets=True))
    return draft
