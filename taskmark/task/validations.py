"""Where the expression of a validation ends and its description begins."""

from __future__ import annotations

from dataclasses import replace

from taskmark.task.drafts import Expression, StepDraft
from taskmark.task.expressions import can_be_read, references
from taskmark.task.names import Names, Scope
from taskmark.task.source_text import Findings, Text
from taskmark.task.steps import SEPARATOR

_MOST_CANDIDATES = 16
_LONGEST = 8_192


def split_validation(step: StepDraft, names: Names, scope: Scope) -> None:
    """Sets a validation's value and description.

    The value is the longest leading text that is an expression over known names only. If there is
    none, it is the one with the fewest unknown names, which are reported; if nothing can be read at
    all, it ends at the first ` - `.
    """
    texts = [step.value.part(0, end) for end in _ends(step.value.value)]
    readable = [text for text in texts if can_be_read(text.value)]
    value = min(readable, key=lambda text: _unknown(text, names, scope), default=texts[-1])
    rest = step.value.part(len(value.value))
    step.value, step.description = value, rest.part(1) if rest.value.startswith("-") else rest
    step.expressions.append(Expression(value.value, False, value))


def _ends(text: str) -> list[int]:
    """Returns where the value may end, the longest first."""
    ends = [len(text)]
    text += " "  # a separator may end the line
    position = text.find(SEPARATOR)
    while 0 <= position < _LONGEST and len(ends) < _MOST_CANDIDATES:
        ends.append(position)
        position = text.find(SEPARATOR, position + 1)
    return sorted(ends, reverse=True)


def _unknown(text: Text, names: Names, scope: Scope) -> int:
    """Counts names that do not exist; whether one may be read here is another question, asked later."""
    everywhere, nowhere = replace(scope, knows_order=False), Findings("", hints_left=0)
    return sum(
        names.problem(reference, everywhere, per_item=False, findings=nowhere) is not None
        for reference in references(text.value)
    )
