"""Literal values under `with`, before they are used: those that the tool or task would refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from taskmark.task.catalog import Misfit
from taskmark.task.codes import Code
from taskmark.task.inputs import fit
from taskmark.task.model import Requirement
from taskmark.task.source_text import Findings
from taskmark.task.yaml_nodes import Items, Node, Scalar, scalars
from taskmark.task.yaml_nodes import Mapping as MappingNode

_SHOULD_BE = "input should be "

Judge = Callable[[Mapping[str, Any]], Sequence[Misfit]]
"""Returns what does not fit in arguments."""


def note_misfits(what: str, arguments: MappingNode, judge: Judge, findings: Findings) -> None:
    """Notes each value that does not fit, once. What a template gives is not known before the run, so it is
    left out, and so is what is wrong with several arguments together if one of them is a template."""
    found: dict[int, tuple[Node, str, list[str]]] = {}
    for misfit in judge(arguments.value):
        node, key = _node_at(arguments, misfit.path)
        if not _is_filled_in(node):
            found.setdefault(id(node), (node, key, []))[2].append(misfit.message)
    for node, key, messages in found.values():
        message = f"{what} cannot take this `{key or 'with'}`: {_either(messages)}"
        findings.add(Code.INVALID_ARGUMENT, node.place(), message)


def input_misfits(requirements: Iterable[Requirement], given: Mapping[str, Any]) -> list[Misfit]:
    """Returns which inputs of a task do not fit its requirements."""
    found = []
    for requirement in requirements:
        value = given.get(requirement.name)
        if value is None:
            continue
        try:
            fit(requirement, value)
        except ValueError as error:
            found.append(Misfit((requirement.name,), f"it {error}"))
    return found


def _node_at(node: Node, path: Sequence[str | int]) -> tuple[Node, str]:
    """Returns the node that a path leads to, as far as it leads, and the last key on the way. A part that is
    no key is the name of one of several types that a value may have."""
    key = ""
    for part in path:
        if isinstance(node, MappingNode) and (entry := node.get(str(part))) is not None:
            node, key = entry.node, entry.key.text
        elif isinstance(node, Items) and isinstance(part, int) and part < len(node.nodes):
            node = node.nodes[part]
    return node, key


def _either(messages: Sequence[str]) -> str:
    """Returns as one what is wrong with each of the types that a value may have."""
    first, *others = dict.fromkeys(messages)
    return " or ".join((first, *(other.removeprefix(_SHOULD_BE) for other in others)))


def _is_filled_in(node: Node) -> bool:
    """Whether a template in it, or all of it, is filled in only when the step runs."""
    return any(is_template(scalar) for scalar in scalars(node))


def is_template(scalar: Scalar) -> bool:
    """Whether a text has braces that are filled in."""
    return "{{" in scalar.text or "{%" in scalar.text
