"""From source text to a checked syntax tree, and what it refers to.

Jinja's parser reads the text. Its tree is vetted against a list of what the language has, measured,
and rewritten so that operations which Jinja would compile to bare Python (`~`, comparisons, slices,
loops, method calls) go through filters that pay for their work.

Tokens carry the character offset where Jinja expects a line number, so every node knows its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, cast

from jinja2 import Environment, nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.lexer import TokenStream
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from taskmark.errors import InvalidExpression
from taskmark.task.expressions.filters import FILTERS, METHODS, TESTS
from taskmark.task.expressions.limits import check_scalar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SOURCE_LIMIT = 8 * 1024
"""Characters of an expression, and of what stands within the braces of a template."""
TEMPLATE_LIMIT = 64 * 1024
"""Characters of a whole template."""
TOKEN_LIMIT = 2_000
BRACKET_LIMIT = 24
"""Brackets within brackets."""
BLOCK_LIMIT = 10
"""Loops and conditions within each other."""
TREE_LIMIT = 60
"""Levels of the syntax tree, which every further step recurses into."""
PREFIX_LIMIT = 16
"""Signs and `not` in a row, or inline conditions in one expression."""

RESULT = "_result"
"""The variable that a compiled expression assigns."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A chain of constant keys that begins at a free name, such as `inputs.file`."""

    path: tuple[str, ...]
    offset: int
    """Of its first character in the source."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A vetted syntax tree."""

    template: nodes.Template
    typed: bool
    """Whether it is one expression whose value keeps its type."""
    references: tuple[Reference, ...]


def read(environment: Environment, source: str, *, template: bool) -> Tree:
    """Reads an expression or a template. Raises `InvalidExpression` with message and place."""
    limit = TEMPLATE_LIMIT if template else SOURCE_LIMIT
    if len(source) > limit:
        raise InvalidExpression(f"the text has more than {limit:,} characters")
    text = source.replace("\r\n", "\n").replace("\r", "\n")
    try:
        return _read(environment, text, source, template=template)
    except TemplateSyntaxError as error:
        _fail(source, error.message or "it cannot be read", error.lineno)
    except ValueError:
        _fail(source, "a number has too many digits", 0)


def _read(environment: Environment, text: str, source: str, *, template: bool) -> Tree:
    expression = None if template else _parse_expression(environment, text)
    tree = Parser(environment, text).parse() if expression is None else nodes.Template([])
    if expression is None:
        expression = _only_expression(tree)
    if expression is not None:
        tree.body = [nodes.Output([expression])]
    _vet(tree, source)
    references = tuple(
        Reference(reference.path, _in_source(source, reference.offset)) for reference in _references(tree)
    )
    if expression is not None:
        tree = nodes.Template([nodes.Assign(nodes.Name(RESULT, "store"), expression, lineno=0)], lineno=0)
    return Tree(_Metering().visit(tree), expression is not None, references)


def _parse_expression(environment: Environment, text: str) -> nodes.Expr:
    parser = Parser(environment, text, state="variable")
    if parser.stream.eos:
        raise TemplateSyntaxError("the expression is empty", 0)
    expression = parser.parse_expression()
    if not parser.stream.eos:
        found = parser.stream.current
        raise TemplateSyntaxError(f"unexpected `{found.value}` after the expression", found.lineno)
    return expression


def _only_expression(tree: nodes.Template) -> nodes.Expr | None:
    """Returns the expression of a template that is nothing but one pair of braces."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return None
    parts = tree.body[0].nodes
    return parts[0] if len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData) else None


def _fail(source: str, message: str, offset: int | None) -> NoReturn:
    place = _in_source(source, offset or 0)
    raise InvalidExpression(f"{message} (at character {place + 1})", offset=place)


def _in_source(source: str, offset: int) -> int:
    """Returns the place in the source of a place in the text, where every line ends with one character."""
    at = source.find("\r\n")
    while 0 <= at < offset:
        offset += 1
        at = source.find("\r\n", at + 2)
    return offset


# --- tokens ---------------------------------------------------------------------------------------


class Gauge:
    """Watches tokens go by, so that no text makes the parser recurse deeper than it may."""

    def __init__(self) -> None:
        self.tokens = self.code = self.brackets = self.blocks = self.run = self.conditions = 0
        self.opened = False

    def see(self, offset: int, kind: str, value: str) -> None:
        """Counts one token. Raises `TemplateSyntaxError` when a limit is passed."""
        if kind == "data":
            return
        self.code += len(value)
        if self.code > SOURCE_LIMIT:
            raise TemplateSyntaxError(f"the code has more than {SOURCE_LIMIT:,} characters", offset)
        if kind == "whitespace":
            return
        self.tokens += 1
        self._count(kind, value)
        if self.tokens > TOKEN_LIMIT:
            raise TemplateSyntaxError(f"the code has more than {TOKEN_LIMIT:,} words and signs", offset)
        deep = self.brackets > BRACKET_LIMIT or self.blocks > BLOCK_LIMIT
        if deep or self.run > PREFIX_LIMIT or self.conditions > PREFIX_LIMIT:
            raise TemplateSyntaxError("the code is nested too deep", offset)

    def _count(self, kind: str, value: str) -> None:
        self.run = self.run + 1 if value in ("not", "-", "+") else 0
        if kind in ("block_begin", "variable_begin"):
            self.conditions = 0
        elif kind == "operator":
            self.brackets += (value in ("(", "[", "{")) - (value in (")", "]", "}"))
        elif kind == "name" and self.opened:
            self.blocks += (value in ("if", "for")) - (value in ("endif", "endfor"))
        elif kind == "name":
            self.conditions += value == "if"
        self.opened = kind == "block_begin"


class LocatedEnvironment(Environment):
    """An environment whose tokens carry character offsets in place of line numbers."""

    def _tokenize(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> TokenStream:
        raw = self.lexer.tokeniter(source, name, filename, state)
        return TokenStream(self.lexer.wrap(_located(source, raw), name, filename), name, filename)


def _located(source: str, raw: Iterator[tuple[int, str, str]]) -> Iterator[tuple[int, str, str]]:
    gauge, end = Gauge(), 0
    while token := _next(raw, end):
        _, kind, value = token
        # Only blanks cut by `{%-` lie between a token and the one before.
        offset = max(source.find(value, end), end)
        end = offset + len(value)
        gauge.see(offset, kind, value)
        yield offset, kind, value


def _next(raw: Iterator[tuple[int, str, str]], offset: int) -> tuple[int, str, str] | None:
    try:
        return next(raw, None)
    except TemplateSyntaxError as error:
        message = (error.message or "it cannot be read").partition(" at ")[0]
        raise TemplateSyntaxError(message, offset) from None


# --- vetting --------------------------------------------------------------------------------------

_LANGUAGE: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Assign, nodes.Name,
    nodes.Const, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Getattr, nodes.Getitem, nodes.Slice,
    nodes.Call, nodes.Keyword, nodes.Filter, nodes.Test, nodes.Compare, nodes.Operand, nodes.CondExpr,
    nodes.Concat, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow,
    nodes.Not, nodes.Neg, nodes.Pos, nodes.And, nodes.Or,
)  # fmt: skip
_WORDS = {
    nodes.AssignBlock: "set … endset",
    nodes.CallBlock: "call",
    nodes.FilterBlock: "filter",
    nodes.FromImport: "from",
    nodes.NSRef: "namespace",
    nodes.Scope: "autoescape",
}
_INSTEAD = {
    "items": "the filter `items` gives pairs of key and value",
    "keys": "the filter `list` gives the keys of a mapping",
    "values": "the filter `items` gives pairs of key and value",
    "get": "`mapping[key] | default(value)` does the same",
    "format": "`~` joins anything as text",
}


def _vet(tree: nodes.Template, source: str) -> None:
    level: list[nodes.Node] = [tree]
    for _ in range(TREE_LIMIT):
        for node in level:
            _vet_node(node, source)
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            return
    _fail(source, f"the code is nested deeper than {TREE_LIMIT} levels", level[0].lineno)


def _vet_node(node: nodes.Node, source: str) -> None:
    if not isinstance(node, _LANGUAGE):
        word = _WORDS.get(type(node), type(node).__name__.lower())
        _fail(source, f"`{word}` is not part of the expression language", node.lineno)
    if isinstance(node, nodes.Filter):
        _known("filter", node.name, FILTERS, node, source)
    elif isinstance(node, nodes.Test):
        _known("test", node.name, TESTS, node, source)
    elif isinstance(node, nodes.Call):
        _vet_call(node, source)
    elif isinstance(node, nodes.Name) and node.name == "self":
        _fail(source, "`self` is not defined", node.lineno)
    elif isinstance(node, nodes.For) and node.recursive:
        _fail(source, "recursive loops are not part of the expression language", node.lineno)
    elif isinstance(node, nodes.Const) and not isinstance(node.value, str):
        _vet_number(node, source)
    if isinstance(node, nodes.Call | nodes.Filter | nodes.Test) and (node.dyn_args or node.dyn_kwargs):
        _fail(source, "`*` and `**` arguments are not part of the expression language", node.lineno)


def _known(what: str, name: str, known: Iterable[str], node: nodes.Node, source: str) -> None:
    if name not in known:
        hint = did_you_mean(name, (entry for entry in known if not entry.startswith(" ")))
        _fail(source, f"there is no {what} `{name}`{hint}", node.lineno)


def _vet_call(node: nodes.Call, source: str) -> None:
    callee = node.node
    if isinstance(callee, nodes.Name):
        advice = "expressions have filters instead: `value | filter`"
        _fail(source, f"there is no function `{callee.name}`; {advice}", callee.lineno)
    if not isinstance(callee, nodes.Getattr):
        _fail(source, "only methods of texts and lists can be called", node.lineno)
    if callee.attr not in METHODS:
        instead = _INSTEAD.get(callee.attr)
        hint = f"; {instead}" if instead else did_you_mean(callee.attr, METHODS)
        _fail(source, f"`{callee.attr}` is not a method that expressions may call{hint}", callee.lineno)


def _vet_number(node: nodes.Const, source: str) -> None:
    try:
        check_scalar(node.value)
    except InvalidExpression as error:
        _fail(source, error.message, node.lineno)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean …?` with the nearest known name, or nothing."""
    from difflib import get_close_matches

    choices = [entry for entry in sorted(known)[:500] if len(entry) <= 100]
    near = get_close_matches(name[:100], choices, n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


# --- references -----------------------------------------------------------------------------------


def _references(tree: nodes.Template) -> list[Reference]:
    found: list[Reference] = []
    _search(tree, set(), found)
    return sorted(found, key=lambda reference: reference.offset)


def _search(node: nodes.Node, bound: set[str], found: list[Reference]) -> None:
    chain = _chain(node)
    if chain is not None:
        if chain.path[0] not in bound:
            found.append(chain)
    elif isinstance(node, nodes.For):
        _search_loop(node, bound, found)
    elif isinstance(node, nodes.Assign):
        _search(node.node, bound, found)
        bound.update(_targets(node.target))
    elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
        for child in (node.node.node, *node.args, *node.kwargs):
            _search(child, bound, found)
    else:
        for child in node.iter_child_nodes():
            _search(child, bound, found)


def _search_loop(node: nodes.For, bound: set[str], found: list[Reference]) -> None:
    _search(node.iter, bound, found)
    inner = bound | set(_targets(node.target)) | {"loop"}
    for child in (*([node.test] if node.test else ()), *node.body):
        _search(child, inner, found)
    for child in node.else_:
        _search(child, bound, found)


def _targets(target: nodes.Node) -> list[str]:
    names = target.items if isinstance(target, nodes.Tuple) else [target]
    return [
        name for node in names for name in ([node.name] if isinstance(node, nodes.Name) else _targets(node))
    ]


def _chain(node: nodes.Node) -> Reference | None:
    path: list[str] = []
    while not isinstance(node, nodes.Name):
        if isinstance(node, nodes.Getattr):
            path.append(node.attr)
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            path.append(str(node.arg.value))
        else:
            return None
        node = node.node
    return Reference((node.name, *reversed(path)), node.lineno)


# --- rewriting ------------------------------------------------------------------------------------


def as_written(node: nodes.Expr) -> nodes.Expr:
    """Returns the expression that was written where a tree has the filter that pays for it."""
    while isinstance(node, nodes.Filter) and node.name in (" weighed", " searched") and node.node is not None:
        node = node.node
    return node


def _metered(
    name: str, first: nodes.Expr, arguments: list[nodes.Expr], options: list[nodes.Keyword]
) -> nodes.Filter:
    return nodes.Filter(first, name, arguments, options, None, None, lineno=first.lineno)


class _Metering(NodeTransformer):
    """Sends what Jinja compiles to bare Python through filters that pay for it."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - the visitor's naming
        self.generic_visit(node)
        return _metered(" concat", node.nodes[0], node.nodes[1:], [])

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802 - the visitor's naming
        self.generic_visit(node)
        if _compares_constant(node):
            return node
        node.expr = _metered(" weighed", node.expr, [], [])
        for operand in node.ops:
            searched = operand.op in ("in", "notin")
            operand.expr = _metered(" searched" if searched else " weighed", operand.expr, [], [])
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802 - the visitor's naming
        self.generic_visit(node)
        method = cast("nodes.Getattr", node.node)
        return _metered(" call", method.node, [nodes.Const(method.attr), *node.args], node.kwargs)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 - the visitor's naming
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        ends = [end or nodes.Const(None) for end in (node.arg.start, node.arg.stop, node.arg.step)]
        return _metered(" slice", node.node, ends, [])

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - the visitor's naming
        body = sum(1 for _ in node.find_all(nodes.Node))
        self.generic_visit(node)
        node.iter = _metered(" loop", cast("nodes.Expr", node.iter), [nodes.Const(body)], [])
        return node


def _compares_constant(node: nodes.Compare) -> bool:
    """Whether the comparison costs no more than a constant in the source is long."""
    if len(node.ops) != 1 or node.ops[0].op in ("in", "notin"):
        return False
    return isinstance(node.expr, nodes.Const) or isinstance(node.ops[0].expr, nodes.Const)
