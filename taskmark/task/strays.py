"""Lines that nothing reads, though their author surely meant them to be read.

Prose is the author's own and is passed over in silence. What has the exact form of an option, a step's key,
a step or a section, at a place where nobody looks for it, is not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from taskmark.task.codes import Code
from taskmark.task.hints import other_spelling
from taskmark.task.outline import Item, Outline, Passed, Section
from taskmark.task.phases import PHASE_KEYS
from taskmark.task.slugs import is_agent_id
from taskmark.task.source_text import Findings, Place
from taskmark.task.steps import STEP_KEYS
from taskmark.task.yaml_nodes import YamlSource

_OPTION = re.compile(r" {0,3}([A-Za-z][\w-]*):(?:\s|$)")
_STEP = re.compile(r" {0,3}(?:[-*+]\s+)([a-z][\w-]*):\s+\S")
_LABEL = re.compile(r" {0,3}[*_]{0,2}(steps|agents|outputs)(?:[*_]{0,2}:|:[*_]{0,2})\s*$", re.IGNORECASE)
_DISTINCT = frozenset({"maxExecutionTime", "requirements", "maxConcurrentPhases", "maxConcurrentSteps"})
"""Keys of the metadata that no prose begins with."""
_DISTINCT_OPTIONS = frozenset({"dependsOn", "forEach", "onFailure", "maxConcurrent"})


def check_strays(outline: Outline, kinds: frozenset[str], findings: Findings) -> None:
    """Notes what was passed over though it was meant to be read; of steps only the first in a phase."""
    step_noted: set[int] = set()
    for passed in outline.passed:
        if _option(passed, findings) or _metadata(passed, findings):
            continue
        is_noted = passed.phase in step_noted
        if _label(passed, findings) or (not is_noted and _step(passed, kinds, findings)):
            step_noted.add(passed.phase)
    for source in outline.passed_yaml:
        _yaml(source, findings)
    for section in outline.strays:
        _section(section, findings)
    for phase in outline.phases:
        _outputs(phase.items("outputs"), findings)
    _outputs(outline.outputs.items if outline.outputs else [], findings)


# --- lines ----------------------------------------------------------------------------------------


def _option(passed: Passed, findings: Findings) -> bool:
    """Notes an option or a step's key at a place where it is prose; returns whether it did."""
    match = _OPTION.match(passed.line)
    if match is None or not passed.begins or not passed.phase or passed.in_head:
        return False
    place = Place(passed.number, match.start(1) + 1)
    if passed.section == "steps" and passed.after_item and other_spelling(match[1], STEP_KEYS):
        message = f"`{match[1]}:` is not indented, so it does not belong to the step"
        hint = "put it right under the step, indented by two spaces"
        findings.add(Code.UNINDENTED_MAPPING, place, message, hint)
        return True
    if other_spelling(match[1], PHASE_KEYS) is None:
        return False
    where = f"under `### {passed.section.capitalize()}`" if passed.section else "below another heading"
    message = f"`{match[1]}` stands {where}, where nothing reads it"
    findings.add(Code.MISPLACED_KEY, place, message, "move it right under the heading of the phase")
    return True


def _metadata(passed: Passed, findings: Findings) -> bool:
    match = _OPTION.match(passed.line)
    if match is None or other_spelling(match[1], _DISTINCT) is None:
        return False
    message = f"nothing reads this `{match[1]}`"
    hint = "metadata stand in a fenced `yaml` block before the phases"
    findings.add(Code.IGNORED_TEXT, Place(passed.number, match.start(1) + 1), message, hint)
    return True


def _label(passed: Passed, findings: Findings) -> bool:
    match = _LABEL.match(passed.line)
    if match is None or not passed.phase or not passed.begins:
        return False
    message = f"`{match[1]}` is prose here, so nobody reads what follows"
    place, hint = Place(passed.number, match.start(1) + 1), f"write `### {match[1].capitalize()}`"
    findings.add(Code.IGNORED_TEXT, place, message, hint)
    return True


def _step(passed: Passed, kinds: frozenset[str], findings: Findings) -> bool:
    match = _STEP.match(passed.line)
    if match is None or not passed.phase or match[1] not in kinds:
        return False
    message, hint = "this looks like a step, and nothing runs it here", "steps stand under `### Steps`"
    findings.add(Code.IGNORED_TEXT, Place(passed.number, match.start(1) + 1), message, hint)
    return True


# --- blocks and sections --------------------------------------------------------------------------


def _yaml(source: YamlSource, findings: Findings) -> None:
    """Notes a block that begins with a key of ours that is hardly anybody else's."""
    match = next((_OPTION.match(line) for line in source.lines if line.strip()), None)
    if match is not None and match[1] in _DISTINCT | _DISTINCT_OPTIONS:
        message = f"nothing reads this block with `{match[1]}`"
        hint = "metadata stand in the first block before the phases, options right under the phase's heading"
        findings.add(Code.IGNORED_TEXT, Place(source.first_line, match.start(1) + 1), message, hint)


def _section(section: Section, findings: Findings) -> None:
    if section.kind == "agents" and section.items and is_agent_id(section.items[0].text.value):
        message, hint = "these agents belong to no phase", "name the task's in the metadata: `agents: [id]`"
        findings.add(Code.IGNORED_TEXT, section.place, message, hint)
    elif section.kind == "outputs" and section.items:
        message, hint = "these outputs belong to no phase", "the task's own stand under `## Outputs`"
        findings.add(Code.IGNORED_TEXT, section.place, message, hint)


def _outputs(items: Sequence[Item], findings: Findings) -> None:
    """Notes what is indented under an output with an expression: the expression is one line."""
    for item in items:
        if ":" in item.text.value and item.body and item.body[0].strip():
            line = item.body[0]
            place = Place(item.body_line, len(line) - len(line.lstrip()) + 1)
            message = "an output is one line, so nobody reads this"
            findings.add(Code.IGNORED_TEXT, place, message)
