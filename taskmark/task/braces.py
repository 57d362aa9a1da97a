"""Braces that are missing or that nothing fills in: a text that stands for itself where a value was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable

from taskmark.task.arguments import is_template
from taskmark.task.codes import Code
from taskmark.task.drafts import PhaseDraft, StepDraft
from taskmark.task.source_text import Findings, Located, shown
from taskmark.task.yaml_nodes import Mapping, Scalar, scalars

_BARE = re.compile(r"(?:inputs|phases|steps)(?:\.\w+|\[['\"][^'\"\]]+['\"]\])+")
_PARTS = frozenset({"output", "outputs", "status"})
_SPOKEN = frozenset({"tool", "aggregate", "task", "wait"})
"""Kinds whose description is for people only, and no template."""


def check_braces(phase: PhaseDraft, inputs: Iterable[str], findings: Findings) -> None:
    """Notes expressions without braces in the `with` of steps, and braces in texts that are no templates."""
    known = frozenset(inputs)
    _check_text(phase.name.value, phase.name, "the name of a phase", findings)
    for step in phase.steps:
        for mapping in (step.arguments, step.fallback_arguments):
            if mapping is not None:
                _check_arguments(step, mapping, known, findings)
        if step.kind in _SPOKEN and step.readable:
            what = f"the description of a {step.kind} step"
            _check_text(step.description.value, step.description, what, findings)


def _check_arguments(step: StepDraft, arguments: Mapping, inputs: frozenset[str], findings: Findings) -> None:
    for entry in arguments.entries:
        if step.kind == "aggregate" and entry.key.text == "over":
            continue
        for scalar in scalars(entry.node):
            if _stands_for_itself(scalar, inputs):
                message = f"this is the text `{shown(scalar.text)}`, not its value"
                hint = f'write "{{{{ {scalar.text} }}}}"'
                findings.add(Code.EXPRESSION_AS_TEXT, scalar.place(), message, hint)


def _stands_for_itself(scalar: Scalar, inputs: frozenset[str]) -> bool:
    """Whether a text is nothing but the name of a value. An input has to be there, so that file names such
    as `inputs.json` pass."""
    if is_template(scalar) or _BARE.fullmatch(scalar.text) is None:
        return False
    root, *rest = re.split(r"\W+", scalar.text)
    return rest[0] in inputs if root == "inputs" else not _PARTS.isdisjoint(rest[1:2])


def _check_text(text: str, at: Located, what: str, findings: Findings) -> None:
    start = text.find("{{")
    end = text.find("}}", start) if start >= 0 else -1
    if end >= 0:
        message = f"`{shown(text[start : end + 2])}` is not filled in: {what} is no template"
        findings.add(Code.UNFILLED_TEMPLATE, at.place(start), message)
