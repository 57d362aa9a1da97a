"""The one expression language: Jinja in its immutable sandbox, with limits on size and work.

    evaluate("inputs.amount > 0", names)            the value of an expression
    test("inputs.amount > 0", names)                whether it holds
    render("{{ inputs.file }} is read", names)      a template; exactly one `{{ … }}` keeps its type
    check("inputs.amount >")                        raises if it cannot be read
    references("inputs.amount > 0")                 what it reads, and where

No clock, no randomness, nothing undefined, nothing of Python: data in, data out. It runs in workflow
code, so this package is passed through Temporal's sandbox and keeps one environment and one cache of
compiled sources per process. Everything raises `InvalidExpression`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from jinja2.exceptions import TemplateError

from taskmark.errors import InvalidExpression
from taskmark.task.expressions.grammar import RESULT, Reference, Tree, read
from taskmark.task.expressions.limits import Scope, Work, check_depth, check_length
from taskmark.task.expressions.quick import is_prose, read_quickly
from taskmark.task.expressions.sandbox import ExpressionEnvironment, UnknownName, did_you_mean_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jinja2 import nodes

    from taskmark.task.model import Json

__all__ = [
    "Reference",
    "Work",
    "can_be_read",
    "check",
    "evaluate",
    "references",
    "render",
    "render_text",
    "render_value",
    "syntax",
    "test",
]

_COMPILED = 1024
"""Compiled sources kept per process; each is about 10 KiB."""

_FAILURES = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)
"""What hostile or mistaken expressions can make Python raise."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression or template."""

    source: str
    run: Callable[[Scope], Iterator[str]]
    tree: Tree


_environment = ExpressionEnvironment()


@lru_cache(maxsize=_COMPILED)
def _compiled(source: str, template: bool) -> Program:
    tree = read(_environment, source, template=template)
    try:
        compiled = _environment.from_string(tree.template)
    except (TemplateError, SyntaxError) as error:
        raise InvalidExpression(f"`{_shown(source)}` cannot be compiled: {error}") from None
    return Program(source, compiled.root_render_func, tree)


def evaluate(source: str, names: Mapping[str, Json], work: Work | None = None) -> Json:
    """Returns the value of an expression as JSON data of its own. Raises `InvalidExpression`.

    `work` is the account that pays for it, for who wants to know the price.
    """
    return _value(_compiled(source, False), names, work or Work())


def test(source: str, names: Mapping[str, Json]) -> bool:
    """Returns whether an expression holds: empty, zero, null and false do not. Raises `InvalidExpression`."""
    return bool(evaluate(source, names))


def render(template: str, names: Mapping[str, Json]) -> Json:
    """Returns a template filled in: text, or the value itself if it is exactly one `{{ expression }}`.

    In text, what is no text appears as JSON. Raises `InvalidExpression`.
    """
    return _rendered(template, names, Work())


def render_text(template: str, names: Mapping[str, Json], work: Work | None = None) -> str:
    """Returns a template filled in as text, also if it is exactly one `{{ … }}`: what is no text appears
    as JSON. Raises `InvalidExpression`."""
    value = _rendered(template, names, work or Work())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def render_value(value: Json, names: Mapping[str, Json], work: Work | None = None) -> Json:
    """Returns a copy of a value with every text in its lists and mappings rendered; keys stay as they are.

    All templates in it share one limit on work. Raises `InvalidExpression`.
    """
    return _rendered_value(value, names, work or Work(), 0)


def check(source: str, *, template: bool = False) -> None:
    """Raises `InvalidExpression` if an expression or a template cannot be read."""
    references(source, template=template)


def can_be_read(source: str) -> bool:
    """Whether a text is an expression."""
    if is_prose(source):
        return False
    try:
        references(source)
    except InvalidExpression:
        return False
    return True


def references(source: str, *, template: bool = False) -> tuple[Reference, ...]:
    """Returns what a source reads, in the order of the text: the longest chains of constant keys that
    begin at a free name. Raises `InvalidExpression` if it cannot be read."""
    if template and _is_literal(source):
        return ()
    found = read_quickly(source, template=template)
    return _compiled(source, template).tree.references if found is None else found


def syntax(source: str, *, template: bool = False) -> nodes.Template | None:
    """Returns the syntax tree of a source, as the grammar rewrote it, for who judges it; None for a text
    without code. A node's line number is the character it begins at; nothing is compiled. Raises
    `InvalidExpression`."""
    return (
        None if template and _is_literal(source) else read(_environment, source, template=template).template
    )


def _is_literal(text: str) -> bool:
    return "{{" not in text and "{%" not in text


def _rendered(template: str, names: Mapping[str, Json], work: Work) -> Json:
    if _is_literal(template):
        return template
    program = _compiled(template, True)
    return _value(program, names, work) if program.tree.typed else _text(program, names, work)


def _rendered_value(value: Json, names: Mapping[str, Json], work: Work, depth: int) -> Json:
    if isinstance(value, str):
        return _rendered(value, names, work)
    check_depth(depth)
    if isinstance(value, dict):
        return {key: _rendered_value(item, names, work, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rendered_value(item, names, work, depth + 1) for item in value]
    return value


def _value(program: Program, names: Mapping[str, Json], work: Work) -> Json:
    scope = Scope(_environment, names, work)
    try:
        list(program.run(scope))
        return work.plain(scope.vars[RESULT])
    except _FAILURES as error:
        raise _explained(error, program, names) from None


def _text(program: Program, names: Mapping[str, Json], work: Work) -> str:
    parts, length = [], 0
    try:
        for part in program.run(Scope(_environment, names, work)):
            length += len(part)
            check_length(length)
            parts.append(part)
    except _FAILURES as error:
        raise _explained(error, program, names) from None
    return "".join(parts)


# --- explaining -----------------------------------------------------------------------------------


def _shown(source: str) -> str:
    text = " ".join(source.split())
    return text if len(text) <= 80 else f"{text[:79]}…"


def _explained(error: Exception, program: Program, names: Mapping[str, Json]) -> InvalidExpression:
    if not isinstance(error, UnknownName):
        return InvalidExpression(f"`{_shown(program.source)}` cannot be evaluated: {error}")
    for reference in program.tree.references:
        message = _missing(reference.path, names, error.name)
        if message:
            return InvalidExpression(message, offset=reference.offset)
    return InvalidExpression(str(error))


def _missing(path: tuple[str, ...], names: Mapping[str, Json], name: object) -> str | None:
    """Returns what is wrong with a path, if the first of its keys that is missing is `name`."""
    data: Json = dict(names)
    for depth, key in enumerate(path):
        if isinstance(data, dict) and key not in data:
            shown = ".".join(path[: depth + 1])
            return f"`{shown}` is not defined{did_you_mean_key(key, data)}" if key == name else None
        try:
            data = data[key] if isinstance(data, dict) else data[int(key)]
        except (TypeError, ValueError, LookupError):
            return None
    return None
