"""List items under `### Steps`, read into drafts of steps."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from taskmark.task import options, values
from taskmark.task.agent_choice import expression_of, read_choice
from taskmark.task.answer_schemas import check_answer_schema
from taskmark.task.codes import Code
from taskmark.task.diagnostics import Edit, Fix
from taskmark.task.drafts import Expression, StepDraft
from taskmark.task.durations import EXAMPLES, parse_duration
from taskmark.task.hints import nearly, sole
from taskmark.task.model import GATES, Fallback
from taskmark.task.outline import Item
from taskmark.task.secret_references import takes_secrets
from taskmark.task.source_text import Findings, Place, Text, concat, replacing, shown, without_tabs
from taskmark.task.yaml_nodes import Entry, Mapping, Node, Scalar, YamlSource, read_mapping, scalars

SEPARATOR = " - "

_KIND = re.compile(r"([A-Za-z][\w-]*):(?:\s+|$)")
_MARKS = r"(?:\*\*|__|[*_`])"
_EMPHASISED = re.compile(rf"{_MARKS}([a-z]+)(?::{_MARKS}|{_MARKS}:)\s+", re.IGNORECASE)
_KEY_LINE = re.compile(r"[ \t]*([A-Za-z_][\w-]*):(?:\s|$)")
_LIST_LINE = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+(.*)")
_FENCE_LINE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_WRAPPED = re.compile(r"\s*\{\{((?:(?!\}\}).)*)\}\}\s*", re.DOTALL)

_OF_PHASE = "the phase: write it under the phase's heading"
_OF_WITH = "the tool: write it under `with:`"
_ELSEWHERE = {
    **dict.fromkeys(
        ("dependsOn", "parallel", "maxConcurrent", "onFailure", "rollback", "checkpoint"), _OF_PHASE
    ),
    **dict.fromkeys(("command", "path", "content", "url", "method", "function", "pattern"), _OF_WITH),
    **dict.fromkeys(
        ("env", "cwd", "stdin", "args", "kwargs", "over"), "the parameters: write it under `with:`"
    ),
}
"""Keys that are known, at another place."""
_GATE_KEYS = frozenset({"onTimeout", "onReject", "approvers"})
_ASKING = frozenset({"agent", "plain"})
_ONCE = frozenset({"plain", "validation", "approval", "question", "wait"})
"""Kinds that take no `forEach`: they ask several agents already, or call nothing."""
_TEMPLATED_DESCRIPTIONS = frozenset({"plain", "agent", "approval", "question", "validation"})


@dataclass
class _Body:
    """What stands in a list item: its text, its mapping, and where they are."""

    first: Text
    rest: Text | None
    mapping: YamlSource | None
    refused: bool = False
    """Whether there is a mapping that cannot be read."""


def read_step(item: Item, kinds: frozenset[str], findings: Findings) -> StepDraft | None:
    """Returns the draft of a step, or None if the item says nothing."""
    if not item.text.value:
        findings.add(Code.EMPTY_STEP, item.text.place(), "this step is empty", "write what is to be done")
        return None
    body = _split_body(item, kinds, findings)
    before = len(findings.diagnostics)
    mapping = read_mapping(body.mapping, findings) if body.mapping else None
    intact = len(findings.diagnostics) == before
    has_mapping = body.mapping is not None or body.refused
    step = _read_text(body, kinds, has_mapping, findings)
    step.intact, step.readable = intact, mapping is not None or not has_mapping
    _Options(step, findings).read(mapping)
    _withhold_secrets(step)
    if step.kind in _TEMPLATED_DESCRIPTIONS or step.kind not in options.BUILT_IN_KINDS:
        step.expressions.extend(_templates_in(step.description.value, step.description))
    if step.chooses_agent:
        step.expressions.append(expression_of(step.value))
    return step


def _withhold_secrets(step: StepDraft) -> None:
    """A fallback without arguments of its own is given those of its step, and agents get no secrets."""
    fallback: Fallback | None = step.fields.get("fallback")
    if fallback is not None and fallback.kind == "agent" and fallback.arguments is None:
        step.expressions = [one._replace(takes_secrets=False) for one in step.expressions]


# --- text and mapping -----------------------------------------------------------------------------


def _split_body(item: Item, kinds: Iterable[str], findings: Findings) -> _Body:
    """Parts the lines under an item: text up to the first `key:` line, then the mapping, then prose."""
    end, stop = mapping_rows(item)
    rest = _joined(item, end, kinds, findings)
    if item.unindented is not None:
        _refuse_unindented(item.unindented, item, findings)
    _note_late_keys(item, stop, findings)
    if stop == end:
        return _Body(item.text, rest, None)
    lines = item.body[end:stop]
    for row, line in enumerate(lines):
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent and line.strip():
            place = Place(item.body_line + end + row, indent.index("\t") + 1)
            hint, fix = "indent with spaces", without_tabs(lines, item.body_line + end)
            findings.add(Code.TAB_INDENTATION, place, "a tab cannot indent YAML", hint, fix)
            return _Body(item.text, rest, None, refused=True)
    return _Body(item.text, rest, YamlSource(lines, item.body_line + end))


def _note_late_keys(item: Item, stop: int, findings: Findings) -> None:
    """A step's key after the prose that ends its mapping is prose too, and hardly meant so."""
    for row in range(stop, len(item.body)):
        match = _KEY_LINE.match(item.body[row])
        if match is not None and match[1] in STEP_KEYS and not is_outside(item, item.body[row]):
            message = f"`{match[1]}:` stands after prose, so it does not belong to the step"
            place = Place(item.body_line + row, match.start(1) + 1)
            findings.add(Code.IGNORED_TEXT, place, message, "move it up to the other keys")


def mapping_rows(item: Item) -> tuple[int, int]:
    """Returns the first row of an item's body that is mapping, and the row after the last; equal for none."""
    start = _end_of_text(item)
    return start, _end_of_mapping(item, start)


def is_outside(item: Item, line: str) -> bool:
    """Whether a line is not indented under the item."""
    return bool(line.strip()) and line[:1] != "\t" and len(line) - len(line.lstrip(" ")) <= item.marker_indent


def _end_of_text(item: Item) -> int:
    fence: str | None = None
    for row, line in enumerate(item.body):
        marker = _FENCE_LINE.match(line)
        if fence is not None:
            fence = None if marker and marker[1].startswith(fence) else fence
        elif marker:
            fence = marker[1]
        elif _KEY_LINE.match(line) and not is_outside(item, line):
            return row
    return len(item.body)


def _end_of_mapping(item: Item, start: int) -> int:
    """The mapping ends before an unindented line, and where prose begins after a blank line."""
    base: int | None = None
    blank = False
    for row in range(start, len(item.body)):
        line = item.body[row]
        if not line.strip():
            blank = True
            continue
        indent = len(line) - len(line.lstrip(" \t"))
        base = indent if base is None else base
        is_yaml = _KEY_LINE.match(line) or line.lstrip()[0] in "#-"
        if is_outside(item, line) or (blank and indent <= base and not is_yaml):
            return row
        blank = False
    return len(item.body)


def _refuse_unindented(text: Text, item: Item, findings: Findings) -> None:
    """A step's key at the margin is meant for the step: markdown alone would make it prose."""
    if _step_key(text.value):
        word = text.value.split(":", 1)[0]
        message = f"`{word}:` is not indented, so it does not belong to the step"
        first = text.place().line - item.body_line
        rows = [row for row in range(first, len(item.body)) if item.body[row].strip()]
        indent = " " * (item.marker_indent + 2)
        fix = Fix(edits=tuple(Edit(line=item.body_line + row, column=1, old="", new=indent) for row in rows))
        findings.add(Code.UNINDENTED_MAPPING, text.place(), message, "indent it by two spaces", fix)


def _joined(item: Item, end: int, kinds: Iterable[str], findings: Findings) -> Text | None:
    """Returns the further lines of the item's text as one: wrapped lines joined by blanks, lists and
    fenced blocks line by line, paragraphs apart."""
    pieces: list[tuple[str, Text]] = []
    verbatim = blank = False
    for row, line in enumerate(item.body[:end]):
        if not line.strip():
            blank = True
            continue
        if is_outside(item, line) and (blank or _step_key(line)):
            continue
        fence, nested = _FENCE_LINE.match(line), _LIST_LINE.match(line)
        if nested and not verbatim:
            _refuse_nested(Text.at(line, item.body_line + row, 1).part(nested.start(1)), kinds, findings)
        glue = "\n\n" if blank else "\n" if verbatim or fence or nested else " "
        pieces.append((glue if pieces else "", _piece(line, item, item.body_line + row, verbatim=verbatim)))
        verbatim, blank = (not verbatim if fence else verbatim), False
    return concat(pieces) if pieces else None


def _step_key(line: str) -> str | None:
    """Returns the key of a step that a line begins with, or nearly begins with."""
    match = _KEY_LINE.match(line)
    return nearly(match[1], STEP_KEYS) if match else None


def _piece(line: str, item: Item, number: int, *, verbatim: bool) -> Text:
    if not verbatim:
        return Text.at(line, number, 1).part(0)
    cut = min(item.body_indent, len(line) - len(line.lstrip(" ")))
    return Text.at(line[cut:].rstrip(), number, cut + 1)


def _refuse_nested(text: Text, kinds: Iterable[str], findings: Findings) -> None:
    match = _KIND.match(text.value)
    if match and match[1] in kinds:
        message = "a step cannot stand inside another step"
        findings.add(Code.NESTED_STEP, text.place(), message, "do not indent its list item")


def _read_text(body: _Body, kinds: frozenset[str], has_mapping: bool, findings: Findings) -> StepDraft:
    first, rest = body.first, body.rest
    match = _KIND.match(first.value)
    kind = _kind_of(match, kinds, has_mapping, first, findings) if match else "plain"
    emphasised = _EMPHASISED.match(first.value)
    if emphasised is not None and emphasised[1].lower() in kinds:
        return _refuse_emphasis(emphasised, first, findings)
    if match is None or kind == "plain":
        text = first if rest is None else first.joined(" ", rest)
        return StepDraft("plain", first.place(), first.part(0, 0), text)
    if kind == "validation":
        whole = first.part(match.end())
        if rest is not None:
            whole = whole.joined(" ", rest) if whole.value else rest
        if not whole.value:
            _refuse_no_value(kind, first, findings)
        return StepDraft(kind, first.place(), whole, whole.part(len(whole.value)))
    named = first.part(match.end())
    value, description = (read_choice(named) if kind == "agent" else None) or split_value(named)
    if rest is not None:
        description = description.joined(" ", rest) if description.value else rest
    if kind == "wait" and value.value:
        _check_wait(value, findings)
    if not value.value:
        _refuse_no_value(kind, first, findings)
    return StepDraft(kind, first.place(), value, description)


def _refuse_emphasis(match: re.Match[str], text: Text, findings: Findings) -> StepDraft:
    """Notes a kind in bold or italics, which would make the step an instruction for agents."""
    kind = match[1].lower()
    message, hint = f"`{match[0].strip()}` names no kind", f"write `{kind}:`, without emphasis"
    fix = replacing(text.place(), match[0].rstrip(), f"{kind}:")
    findings.add(Code.UNKNOWN_KIND, text.place(), message, hint, fix)
    return StepDraft(kind, text.place(), text.part(0, 0), text.part(match.end()))


def _refuse_no_value(kind: str, text: Text, findings: Findings) -> None:
    hint = f"write `{kind}: value - description`"
    findings.add(Code.MISSING_VALUE, text.place(), f"`{kind}:` needs a value", hint)


def _check_wait(value: Text, findings: Findings) -> None:
    try:
        parse_duration(value.value)
    except ValueError:
        message = f"`{shown(value.value)}` is not a duration"
        findings.add(Code.INVALID_DURATION, value.place(), message, f"write it {EXAMPLES}")


def split_value(text: Text) -> tuple[Text, Text]:
    """Parts a text at the first ` - `."""
    position = f" {text.value} ".find(SEPARATOR)
    if position < 0:
        return text, text.part(len(text.value))
    return text.part(0, max(position - 1, 0)), text.part(position + 2)


def _kind_of(
    match: re.Match[str], kinds: frozenset[str], has_mapping: bool, text: Text, findings: Findings
) -> str:
    """Returns the kind that a leading `word:` names, `plain` for prose. An unknown one is noted and kept,
    so that nothing else is said about the step."""
    word = match[1]
    if word in kinds:
        return word
    near = nearly(word, kinds)
    if near is None and not has_mapping:
        return "plain"
    hint = f"did you mean `{near}:`?" if near else f"known kinds: {', '.join(sorted(kinds))}"
    fix = replacing(text.place(), word, sole(word, kinds))
    findings.add(Code.UNKNOWN_KIND, text.place(), f"there is no step kind `{shown(word)}`", hint, fix)
    return word


# --- the mapping ----------------------------------------------------------------------------------


def _templates_in(source: str, at: Any, *, per_item: bool = True) -> list[Expression]:
    if "{{" in source or "{%" in source:
        return [Expression(source, True, at, per_item=per_item)]
    return []


def as_expression(node: Scalar, *, per_item: bool = False) -> Expression:
    """Returns the expression that a value holds, with or without `{{ }}` around it."""
    match = _WRAPPED.fullmatch(node.text)
    inner, shift = (match[1], match.start(1)) if match else (node.text, 0)
    shift += len(inner) - len(inner.lstrip())
    return Expression(inner.strip(), False, node, shift, per_item)


def read_for_each(node: Node, findings: Findings) -> tuple[Any, Expression | None]:
    """Returns the model's value of a `forEach`, and its expression if it is one."""
    if isinstance(node, Scalar):
        if values.text(node, findings) is None:
            return None, None
        expression = as_expression(node)
        return expression.source, expression
    if isinstance(node, Mapping):
        values.text(node, findings)
        return None, None
    return node.value, None


_PLAIN_FIELDS: values.Fields = {
    "id": ("id", values.text),
    "timeout": ("timeout", values.duration()),
    "heartbeat": ("heartbeat", values.duration()),
    "critical": ("critical", values.boolean),
    "cache": ("cache", values.duration(positive=False)),
    "circuit": ("circuit", values.choice("retry", "wait")),
    "complexity": ("complexity", values.choice("low", "medium", "high")),
    "estimate": ("estimate", values.duration(positive=False)),
    "limits": ("limits", options.step_limits),
    "onTimeout": ("on_timeout", values.choice("fail", "pause")),
    "onReject": ("on_reject", values.choice("fail", "skip")),
    "approvers": ("approvers", values.texts),
    "allow": ("allow", values.texts),
}


class _Options:
    """Reads the mapping of a step into its draft."""

    def __init__(self, step: StepDraft, findings: Findings) -> None:
        self._step = step
        self._findings = findings
        self._special = {
            "with": self._with,
            "if": self._if,
            "forEach": self._for_each,
            "retry": self._retry,
            "fallback": self._fallback,
            "idempotencyKey": self._idempotency_key,
            "schema": self._schema,
        }

    def read(self, mapping: Mapping | None) -> None:
        """Fills the draft; notes every problem."""
        for entry in mapping.entries if mapping else ():
            key = entry.key.text
            if key not in STEP_KEYS:
                values.refuse_key(entry, dict.fromkeys(STEP_KEYS), self._findings, _ELSEWHERE)
            elif key in _GATE_KEYS and self._step.kind not in GATES:
                message = f"`{key}` is for approvals and questions, not for this step"
                self._findings.add(Code.MISPLACED_KEY, entry.key.place(), message)
            elif key == "schema" and self._step.kind not in GATES | _ASKING:
                message = "`schema` is for questions and for what agents answer, not for this step"
                self._findings.add(Code.MISPLACED_KEY, entry.key.place(), message)
            elif key == "allow" and self._step.kind not in _ASKING:
                message = "`allow` is for steps that ask agents: tools of other steps need no permission"
                self._findings.add(Code.MISPLACED_KEY, entry.key.place(), message)
            elif key == "forEach" and self._step.kind in _ONCE:
                message = f"a step of kind {self._step.kind} runs once, so it takes no `forEach`"
                hint = "give `forEach` to the phase, or to a tool, agent, aggregate or task step"
                self._findings.add(Code.MISPLACED_KEY, entry.key.place(), message, hint)
            elif not values.is_missing(entry, self._findings):
                self._step.places[key] = entry.node.place()
                self._entry(key, entry)

    def _entry(self, key: str, entry: Entry) -> None:
        if key in self._special:
            self._special[key](entry.node)
            return
        name, reader = _PLAIN_FIELDS[key]
        value = reader(entry.node, self._findings)
        if value is not None:
            self._step.fields[name] = value

    def _with(self, node: Node) -> None:
        mapping = values.mapping(node, self._findings)
        if mapping is None:
            return
        arguments = mapping.value
        self._step.arguments = mapping
        over = mapping.get("over") if self._step.kind == "aggregate" else None
        if over is not None and isinstance(over.node, Scalar) and not _templates_in(over.node.text, None):
            # What an aggregate reads is an expression; the engine fills `with` in as templates.
            expression = as_expression(over.node, per_item=True)
            self._step.expressions.append(expression)
            arguments["over"] = f"{{{{ {expression.source} }}}}"
        self._collect(node, secrets=takes_secrets(self._step.kind))
        self._step.fields["arguments"] = arguments

    def _collect(self, node: Node, *, secrets: bool = False) -> None:
        for scalar in scalars(node):
            found = _templates_in(scalar.text, scalar)
            self._step.expressions.extend(one._replace(takes_secrets=secrets) for one in found)

    def _if(self, node: Node) -> None:
        if values.text(node, self._findings) is None:
            return
        assert isinstance(node, Scalar)
        expression = as_expression(node)
        self._step.expressions.append(expression)
        self._step.fields["condition"] = expression.source

    def _for_each(self, node: Node) -> None:
        value, expression = read_for_each(node, self._findings)
        if value is not None:
            self._step.fields["for_each"] = value
        if expression is not None:
            self._step.expressions.append(expression)

    def _retry(self, node: Node) -> None:
        self._step.retry = options.retry_fields(node, self._findings)

    def _idempotency_key(self, node: Node) -> None:
        if values.text(node, self._findings) is not None:
            assert isinstance(node, Scalar)
            self._step.expressions.extend(_templates_in(node.text, node))
            self._step.fields["idempotency_key"] = node.text

    def _schema(self, node: Node) -> None:
        mapping = values.mapping(node, self._findings)
        if mapping is not None:
            check_answer_schema(mapping, self._findings)
            self._step.fields["answer_schema"] = mapping.value

    # --- fallback -----------------------------------------------------------------------------------

    def _fallback(self, node: Node) -> None:
        if isinstance(node, Mapping):
            self._fallback_mapping(node)
        elif isinstance(node, Scalar) and self._step.kind in ("tool", "agent", "plain"):
            self._fallback_to("tool" if self._step.kind == "tool" else "agent", node, None)
        else:
            self._refuse_fallback(node.place())

    def _fallback_mapping(self, node: Mapping) -> None:
        known = ("tool", "agent", "value", "with")
        for entry in node.entries:
            if entry.key.text not in known:
                values.refuse_key(entry, dict.fromkeys(known), self._findings)
                return
        ways = [entry for entry in node.entries if entry.key.text in ("tool", "agent", "value")]
        extra = node.get("with")
        if len(ways) != 1 or (extra is not None and ways[0].key.text == "value"):
            self._refuse_fallback(node.place())
        elif ways[0].key.text == "value":
            self._collect(ways[0].node)
            self._step.fields["fallback"] = Fallback(kind="value", value=ways[0].node.value)
        else:
            self._fallback_to(ways[0].key.text, ways[0].node, extra)

    def _fallback_to(self, kind: Any, node: Node, extra: Entry | None) -> None:
        if values.text(node, self._findings) is None:
            return
        assert isinstance(node, Scalar)
        arguments = None
        if extra is not None:
            mapping = values.mapping(extra.node, self._findings)
            if mapping is None:
                return
            arguments = mapping.value
            self._step.fallback_arguments = mapping
            self._collect(mapping, secrets=takes_secrets(kind))
        self._step.fallback_name = node
        self._step.fields["fallback"] = Fallback(kind=kind, name=node.text.strip(), arguments=arguments)

    def _refuse_fallback(self, place: Place) -> None:
        message = "this fallback is neither another tool or agent nor a value"
        hint = "write `{tool: name, with: {…}}`, `{agent: name}` or `{value: …}`"
        self._findings.add(Code.INVALID_VALUE, place, message, hint)


EXPRESSION: values.Shape = {**values.TEXT, "description": "An expression, such as `inputs.limit > 0`."}
FOR_EACH: values.Shape = {"anyOf": [EXPRESSION, {"type": "array"}]}
_FALLBACKS: tuple[dict[str, values.Shape], ...] = (
    {"tool": values.TEXT, "with": values.MAPPING},
    {"agent": values.TEXT, "with": values.MAPPING},
    {"value": {}},
)
_SPECIAL: dict[str, values.Shape] = {
    "with": values.MAPPING,
    "if": EXPRESSION,
    "forEach": FOR_EACH,
    "retry": values.shape_of(options.retry),
    "fallback": {
        "anyOf": [
            values.TEXT,
            *({**values.shape_of_fields({}, way), "required": [next(iter(way))]} for way in _FALLBACKS),
        ]
    },
    "idempotencyKey": values.TEXT,
    "schema": values.MAPPING,
}
STEP_KEYS = frozenset(_PLAIN_FIELDS) | frozenset(_SPECIAL)


def step_shape() -> values.Shape:
    """Returns the JSON Schema of the mapping under a step."""
    return values.shape_of_fields(_PLAIN_FIELDS, _SPECIAL)
