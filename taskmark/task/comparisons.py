"""Comparisons whose outcome is known before the run: of types that cannot be compared, or never equal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import nodes

from taskmark.contracts import StepStatus
from taskmark.task.codes import Code
from taskmark.task.drafts import Expression, PhaseDraft, StepDraft
from taskmark.task.expressions import syntax
from taskmark.task.expressions.grammar import as_written
from taskmark.task.model import InputType, Json, Requirement
from taskmark.task.source_text import Findings, shown

_MAY_COMPARE = re.compile(r"[<>=]|\bin\b")
_ORDERS = {"lt": "<", "lteq": "<=", "gt": ">", "gteq": ">="}
_EQUALITIES = {"eq": "==", "ne": "!="}
_KINDS: Mapping[InputType, str] = {
    "string": "text",
    "date": "text",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "list": "list",
    "object": "mapping",
}
"""What an input's type is in an expression. A duration is text or a number, as it was given."""
_FILTERS = {
    **dict.fromkeys(("length", "count", "int", "float", "abs", "round"), "number"),
    **dict.fromkeys(("lower", "upper", "trim", "title", "capitalize", "join", "string"), "text"),
    "list": "list",
    " concat": "text",
}
_OF_NODES: Mapping[type[nodes.Node], str] = {
    nodes.Compare: "boolean",
    nodes.Not: "boolean",
    nodes.Test: "boolean",
    nodes.List: "list",
    nodes.Tuple: "list",
    nodes.Dict: "mapping",
    nodes.Neg: "number",
}
_SHOWN = {"text": "a text", "number": "a number", "boolean": "true or false", "list": "a list"}
_STATUSES: tuple[Json, ...] = tuple(status.value for status in StepStatus)


@dataclass(frozen=True)
class Known:
    """What is known of a value before the run."""

    kind: str | None = None
    """`text`, `number`, `boolean`, `list`, `mapping`; absent if it may be several."""
    choices: tuple[Json, ...] | None = None
    """Every value it can have."""
    name: str = ""
    """What it is called, if it has a name."""

    @property
    def described(self) -> str:
        """How messages name it."""
        what = _SHOWN.get(self.kind or "", f"a {self.kind}")
        return f"`{self.name}` is {what}" if self.name else f"this is {what}"


UNKNOWN = Known()


class Comparisons:
    """Judges the comparisons of one task by the types of its inputs and answers."""

    def __init__(self, requirements: Sequence[Requirement], phases: Sequence[PhaseDraft]) -> None:
        self._inputs = {requirement.name: _of_input(requirement) for requirement in requirements}
        self._answers = {
            step.id: known
            for phase in phases
            for step in phase.steps
            if step.kind == "question" and (known := _of_answer(step)) is not UNKNOWN
        }

    def check(self, expression: Expression, findings: Findings) -> None:
        """Notes each comparison that fails when it is evaluated, or that always has the same outcome. The
        expression is one that can be read."""
        if _MAY_COMPARE.search(expression.source) is None:
            return
        tree = syntax(expression.source, template=expression.template)
        for comparison in tree.find_all(nodes.Compare) if tree else ():
            left = as_written(comparison.expr)
            for operand in comparison.ops:
                right = as_written(operand.expr)
                problem = self._problem(left, operand.op, right)
                if problem is not None:
                    code, node, message, hint = problem
                    findings.add(code, expression.place(node.lineno), message, hint)
                left = right

    def _problem(
        self, left: nodes.Expr, operator: str, right: nodes.Expr
    ) -> tuple[Code, nodes.Expr, str, str | None] | None:
        one, other = self._known(left), self._known(right)
        # The place is that of a literal, which is most often what is wrong.
        place = left if isinstance(left, nodes.Const) else right
        if operator in _ORDERS and not _can_be_ordered(one, other):
            message = f"{_both(one, other)}: `{_ORDERS[operator]}` cannot compare them"
            return Code.INCOMPARABLE_TYPES, place, message, _conversion(one, other)
        if operator in _EQUALITIES:
            return self._equality(one, other, operator, place)
        if operator in ("in", "notin") and isinstance(right, nodes.List | nodes.Tuple):
            return self._membership(one, right)
        return None

    @staticmethod
    def _equality(
        one: Known, other: Known, operator: str, place: nodes.Expr
    ) -> tuple[Code, nodes.Expr, str, str | None] | None:
        outcome = "false" if operator == "eq" else "true"
        if one.kind and other.kind and one.kind != other.kind and {one.kind, other.kind} != _ALIKE:
            message = f"{_both(one, other)}, so `{_EQUALITIES[operator]}` is always {outcome}"
            return Code.CONSTANT_COMPARISON, place, message, _conversion(one, other)
        if one.choices is None or other.choices is None or set(one.choices) & set(other.choices):
            return None
        named, value = (one, other) if one.name else (other, one)
        message = f"`{named.name}` is never `{shown(str(value.choices[0]))}`" if value.choices else ""
        return (Code.CONSTANT_COMPARISON, place, message, _one_of(named)) if named.name else None

    def _membership(
        self, one: Known, right: nodes.List | nodes.Tuple
    ) -> tuple[Code, nodes.Expr, str, str | None] | None:
        """Notes the first value of a list that the left side never is."""
        for item in right.items:
            found = self._equality(one, self._known(item), "eq", item)
            if found is not None:
                return found
        return None

    # --- what is known ------------------------------------------------------------------------------

    def _known(self, node: nodes.Expr) -> Known:
        node = as_written(node)
        match node:
            case nodes.Const():
                return _of_value(node.value)
            case nodes.Filter():
                return Known(_FILTERS.get(node.name))
            case nodes.Getattr() | nodes.Getitem():
                return self._of_path(_path(node))
            case _:
                return Known(_OF_NODES.get(type(node)))

    def _of_path(self, path: tuple[str, ...]) -> Known:
        match path:
            case ("inputs", name):
                return self._inputs.get(name, UNKNOWN)
            case ("phases" | "steps", _, "status"):
                return Known("text", _STATUSES, ".".join(path))
            case ("steps", id, "output"):
                return self._answers.get(id, UNKNOWN)
            case _:
                return UNKNOWN


_ALIKE = {"number", "boolean"}
"""`true == 1` holds."""


def _can_be_ordered(one: Known, other: Known) -> bool:
    kinds = {one.kind, other.kind}
    return None in kinds or kinds <= _ALIKE or (len(kinds) == 1 and "mapping" not in kinds)


def _both(one: Known, other: Known) -> str:
    named, value = (one, other) if one.name or not other.name else (other, one)
    return f"{named.described}, and {value.described}"


def _conversion(one: Known, other: Known) -> str | None:
    if {one.kind, other.kind} != {"text", "number"}:
        return None
    text = one if one.kind == "text" else other
    if text.choices and len(text.choices) == 1 and not text.name:
        return "write the number without quotes"
    return f"write `{text.name or '…'} | float` to make a number of it"


def _one_of(known: Known) -> str:
    return "it is one of " + ", ".join(str(choice) for choice in (known.choices or ())[:20])


def _of_value(value: Json) -> Known:
    if isinstance(value, bool):
        return Known("boolean", (value,))
    if isinstance(value, int | float):
        return Known("number", (value,))
    return Known("text", (value,)) if isinstance(value, str) else UNKNOWN


def _of_input(requirement: Requirement) -> Known:
    name = f"inputs.{requirement.name}"
    if requirement.type == "enum":
        return _of_choices(requirement.values, name)
    return Known(_KINDS.get(requirement.type), None, name)


def _of_choices(choices: Sequence[Json], name: str) -> Known:
    kinds = {_of_value(choice).kind for choice in choices}
    if None in kinds or not kinds:
        return UNKNOWN
    return Known(kinds.pop() if len(kinds) == 1 else None, tuple(choices), name)


def _of_answer(step: StepDraft) -> Known:
    """Returns what the schema of a question says about its answer."""
    schema, name = step.fields.get("answer_schema") or {}, f"steps.{step.id}.output"
    if isinstance(schema.get("enum"), list):
        return _of_choices(schema["enum"], name)
    kinds = {"string": "text", "number": "number", "integer": "number", "boolean": "boolean"}
    wanted = schema.get("type")
    return Known(kinds[wanted], None, name) if isinstance(wanted, str) and wanted in kinds else UNKNOWN


def _path(node: nodes.Node) -> tuple[str, ...]:
    """Returns the keys of a chain such as `inputs.amount`; nothing if one of them is computed."""
    parts: list[str] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        if isinstance(node, nodes.Getattr):
            parts.append(node.attr)
        elif isinstance(node.arg, nodes.Const):
            parts.append(str(node.arg.value))
        else:
            return ()
        node = node.node
    return (node.name, *reversed(parts)) if isinstance(node, nodes.Name) else ()
