"""The text of a step as a list item.

One line if the text has one. Else its lines stand indented under the item, and since the reader joins and
strips lines by rules of their own, of the ways to break it the first is taken that reads back as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from taskmark.task.model import BUILT_IN_KINDS, Step
from taskmark.task.outline import Item
from taskmark.task.source_text import Findings, Text
from taskmark.task.steps import SEPARATOR, read_step

_BOX = re.compile(r"\[[ xX]\][ \t]")
_RULE = re.compile(r"[- \t]+")
_BLOCK = re.compile(r"`{3,}|~{3,}|(?:[-*+]|\d{1,9}[.)])[ \t]")
_MOST_BREAKS = 64


def item_lines(step: Step) -> list[str]:
    """Returns the lines of a step above its mapping."""
    first, *others = _broken(step)
    # A box in front of a text that looks like one, or like a rule, leaves the text what it is.
    box = "[ ] " if _BOX.match(first) or _RULE.fullmatch(first) else ""
    return [f"- {box}{first}", *(f"  {line}" if line else "" for line in others)]


def value_text(step: Step) -> str:
    """Returns a step's value as it stands in a file: an agent's expression in quotes, as in YAML."""
    return f'"{step.value}"' if step.agent_expression is not None else step.value


def _broken(step: Step) -> list[str]:
    ways = _ways(step)
    first = next(ways)
    if len(first) == 1 or _reads_back(first, step):
        return first
    return next((way for way in ways if _reads_back(way, step)), first)


def _ways(step: Step) -> Iterator[list[str]]:
    """Yields the ways to write a step: on one line, else with its text under it, else with each break that
    the text allows, first before blocks, then from the end of its first line."""
    glue = SEPARATOR if step.description else ""
    if step.kind == "plain":
        opening, text = "", step.description
    elif step.kind == "validation":
        opening, text = "validation: ", f"{step.value}{glue}{step.description}"
    else:
        opening, text = f"{step.kind}: {value_text(step)}{glue}", step.description
    if "\n" not in text:
        yield [f"{opening}{text}"]
        return
    if opening:
        yield [opening.removesuffix(SEPARATOR).strip(), *text.split("\n")]
    begin = text.split("\n", 1)[0]
    blanks = [match.start() for match in re.finditer(r"(?<=\S) (?=\S|$)", begin)]
    breaks = sorted(blanks, key=lambda at: (not _BLOCK.match(text, at + 1), -at))
    for at in breaks[:_MOST_BREAKS]:
        yield [f"{opening}{text[:at]}", *text[at + 1 :].split("\n")]
    yield [f"{opening}{begin}", *text.split("\n")[1:]]


def _reads_back(lines: list[str], step: Step) -> bool:
    first, *others = lines
    item = Item(Text.at(first, 1, 1), 2, 0, 2, [f"  {line}" if line else "" for line in others])
    draft = read_step(item, frozenset({step.kind}) | BUILT_IN_KINDS - {"plain"}, Findings(""))
    if draft is None or draft.kind != step.kind or draft.fields:
        return False
    glue = SEPARATOR if step.description else ""
    if step.kind == "validation":
        return draft.value.value == f"{step.value}{glue}{step.description}"
    return (draft.value.value, draft.description.value) == (step.value, step.description)
