"""Phases read into drafts: the options under the heading, and the three sections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from taskmark.task import options, values
from taskmark.task.codes import Code
from taskmark.task.drafts import Expression, OutputDraft, PhaseDraft
from taskmark.task.hints import nearly
from taskmark.task.outline import Item, PhaseOutline, phase_label
from taskmark.task.slugs import is_agent_id, slug
from taskmark.task.source_text import Findings, Text, shown
from taskmark.task.steps import EXPRESSION, FOR_EACH, SEPARATOR, as_expression, read_for_each, read_step
from taskmark.task.yaml_nodes import Entry, Items, Mapping, Node, Scalar, YamlSource, read_mapping

_OPTION = re.compile(r" {0,3}([A-Za-z][\w-]*):(?:\s+(\S.*)?)?$")
_OUTPUT = re.compile(r"`?([^\W\d][\w-]*)`?\s*:(?:\s+|$)")
_NAME = re.compile(r"`?([^\W\d][\w-]*)`?$")
_AGENT = re.compile(r"`?([^\s`]+?)`?(?::?\s+(?:[-—–]\s+)?.*|:)?")

_FIELDS: values.Fields = {
    "parallel": ("parallel", values.boolean),
    "maxConcurrent": ("max_concurrent", values.whole(1)),
    "timeout": ("timeout", values.duration()),
    "retry": ("retry", options.retry),
    "onFailure": ("on_failure", values.choice("fail", "continue", "pause")),
    "rollback": ("rollback", values.boolean),
    "checkpoint": ("checkpoint", values.text),
}
_OF_STEP = "a step: write it under the step, indented"
_OF_TASK = "the task: write it in the metadata"
_ELSEWHERE = {
    **dict.fromkeys(
        ("id", "with", "fallback", "critical", "cache", "circuit", "heartbeat", "idempotencyKey", "limits"),
        _OF_STEP,
    ),
    **dict.fromkeys(
        ("maxExecutionTime", "requirements", "maxConcurrentSteps", "maxConcurrentPhases"), _OF_TASK
    ),
}
"""Keys that are known, at another place."""
_SPECIAL: dict[str, values.Shape] = {
    "dependsOn": values.shape_of(values.texts),
    "if": EXPRESSION,
    "forEach": FOR_EACH,
}
PHASE_KEYS = frozenset(_FIELDS) | frozenset(_SPECIAL)


def phase_shape() -> values.Shape:
    """Returns the JSON Schema of the options of a phase."""
    return values.shape_of_fields(_FIELDS, _SPECIAL)


def read_phase(outline: PhaseOutline, kinds: frozenset[str], findings: Findings) -> PhaseDraft:
    """Returns the draft of a phase."""
    phase = PhaseDraft(outline.name, slug(outline.name.value))
    if not phase.slug:
        hint = "write `## Phase: name`, with a letter or digit in the name"
        findings.add(Code.INVALID_NAME, outline.name.place(), "this phase has no usable name", hint)
    _read_options(phase, outline, findings)
    drafts = [read_step(item, kinds, findings) for item in outline.items("steps")]
    phase.steps = [draft for draft in drafts if draft is not None]
    phase.agents = _read_agents(outline.items("agents"), findings)
    phase.outputs = read_outputs(outline.items("outputs"), findings)
    if not outline.items("steps"):
        message = f"{phase_label(outline)} has no steps"
        findings.add(Code.PHASE_WITHOUT_STEPS, outline.name.place(), message, "list them under `### Steps`")
    return phase


# --- options --------------------------------------------------------------------------------------


def _read_options(phase: PhaseDraft, outline: PhaseOutline, findings: Findings) -> None:
    seen: dict[str, int] = {}
    for source in option_sources(outline):
        mapping = read_mapping(source, findings)
        if mapping is None:
            phase.dependencies_known = False
        for entry in mapping.entries if mapping else ():
            line = entry.key.place().line
            first = seen.setdefault(entry.key.text, line)
            if first != line:
                message = f"`{shown(entry.key.text)}` stands here a second time, after line {first}"
                findings.add(Code.DUPLICATE_KEY, entry.key.place(), message)
            elif entry.key.text not in PHASE_KEYS:
                values.refuse_key(entry, dict.fromkeys(PHASE_KEYS), findings, _ELSEWHERE)
                phase.dependencies_known &= nearly(entry.key.text, PHASE_KEYS) != "dependsOn"
            elif not values.is_missing(entry, findings):
                _read_option(phase, entry, findings)


def option_sources(outline: PhaseOutline) -> Iterator[YamlSource]:
    """Yields the YAML of each option line with what is indented under it, then the fenced block.

    Each is read by itself, so that a mistake in one leaves the others known.
    """
    in_prose = False
    row = 0
    while row < len(outline.head):
        number, line = outline.head[row]
        stop = row + 1
        match = _OPTION.match(line)
        if match is not None and _is_option(match[1], in_prose=in_prose):
            while stop < len(outline.head) and _continues(outline.head[stop][1], match[2] is None):
                stop += 1
            yield YamlSource([text for _, text in outline.head[row:stop]], number)
        elif line.strip():
            in_prose = True
        else:
            in_prose = False
        row = stop
    if outline.fenced is not None:
        yield outline.fenced


def _is_option(word: str, *, in_prose: bool) -> bool:
    """Whether `word:` opens an option. Prose begins with capitals (`Note: …`) or goes on after prose."""
    if word in PHASE_KEYS or nearly(word, PHASE_KEYS):
        return True
    return word[0].islower() and not in_prose


def _continues(line: str, has_no_value: bool) -> bool:
    return line[:1] in (" ", "\t") or (has_no_value and line.startswith("- "))


def _read_option(phase: PhaseDraft, entry: Entry, findings: Findings) -> None:
    key, node = entry.key.text, entry.node
    phase.places[key] = node.place()
    if key == "dependsOn":
        phase.depends_on = _dependencies(node, findings)
        phase.dependencies_known = isinstance(node, Scalar | Items)
    elif key == "if":
        _read_condition(phase, node, findings)
    elif key == "forEach":
        value, expression = read_for_each(node, findings)
        phase.expressions.extend([expression] if expression else [])
        if value is not None:
            phase.fields["for_each"] = value
    else:
        name, reader = _FIELDS[key]
        value = reader(node, findings)
        if value is not None:
            phase.fields[name] = value


def _dependencies(node: Node, findings: Findings) -> list[Scalar]:
    if isinstance(node, Mapping):
        values.text(node, findings)
        return []
    return values.text_nodes(node, findings)


def _read_condition(phase: PhaseDraft, node: Node, findings: Findings) -> None:
    if values.text(node, findings) is None:
        return
    assert isinstance(node, Scalar)
    expression = as_expression(node)
    phase.expressions.append(expression)
    phase.fields["condition"] = expression.source


# --- agents and outputs ---------------------------------------------------------------------------


def _read_agents(items: list[Item], findings: Findings) -> list[Text]:
    """Reads `- agent-id`, with or without a description behind it."""
    agents: dict[str, Text] = {}
    for item in items:
        match = _AGENT.fullmatch(item.text.value)
        if match is None or not is_agent_id(match[1]):
            hint = "an agent is named like its file in agents/, such as `code-reviewer`"
            message = f"`{shown(item.text.value)}` does not name an agent"
            findings.add(Code.INVALID_NAME, item.text.place(), message, hint)
        else:
            agent = item.text.part(match.start(1), match.end(1))
            if agents.setdefault(match[1], agent) is not agent:
                message = f"`{match[1]}` stands here twice, and is asked once"
                findings.add(Code.DUPLICATE_AGENT, agent.place(), message)
    return list(agents.values())


def read_outputs(items: list[Item], findings: Findings) -> list[OutputDraft]:
    """Reads `- name: expression` and `- name`; a name in several words becomes its slug."""
    outputs: dict[str, OutputDraft] = {}
    for item in items:
        draft = _read_output(item.text, findings)
        if draft is not None and draft.name in outputs:
            line = outputs[draft.name].place.line
            message = f"there is an output `{draft.name}` at line {line} already"
            findings.add(Code.DUPLICATE_OUTPUT, draft.place, message)
        elif draft is not None:
            outputs[draft.name] = draft
    return list(outputs.values())


def _read_output(text: Text, findings: Findings) -> OutputDraft | None:
    named = _OUTPUT.match(text.value)
    if named is not None:
        source = text.part(named.end())
        place = text.place(named.start(1))
        if not source.value:
            message = f"the output `{named[1]}` has no expression"
            findings.add(Code.MISSING_VALUE, place, message, "give it one, or remove the colon")
            return None
        return OutputDraft(named[1], place, _unwrapped(source))
    text = text.part(0, text.value.find(SEPARATOR) if SEPARATOR in text.value else None)
    name = _NAME.match(text.value)
    output = name[1] if name else slug(text.value)
    if not output:
        findings.add(Code.INVALID_NAME, text.place(), "this output has no usable name")
        return None
    return OutputDraft(output, text.place(name.start(1) if name else 0))


def _unwrapped(text: Text) -> Expression:
    value: Any = text.value
    if value.startswith("{{") and value.endswith("}}") and value.count("{{") == 1:
        text = text.part(2, len(value) - 2)
    return Expression(text.value, False, text)
