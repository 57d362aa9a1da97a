"""The filters, tests and methods that expressions may use; there are no others.

What Jinja brings is used where it is bounded by its input; the rest is written here so that its cost
is known before it runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jinja2 import filters as jinja
from jinja2 import pass_context
from jinja2.runtime import Undefined
from jinja2.tests import TESTS as JINJA_TESTS

from taskmark.errors import InvalidExpression
from taskmark.task.expressions.limits import (
    DEPTH_LIMIT,
    Scope,
    bounded,
    check_length,
    check_scalar,
    kind_of,
    refuse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from taskmark.task.model import Json

FILTERS: dict[str, Callable[..., Any]] = {}
"""Every filter by name. Names that begin with a blank cannot be typed: grammar puts them in."""

TEXT_METHODS = (
    "capitalize", "count", "endswith", "find", "index", "isdigit", "join", "lower", "lstrip", "removeprefix",
    "removesuffix", "replace", "rfind", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip",
    "title", "upper",
)  # fmt: skip
"""Methods of texts that may be called."""

LIST_METHODS = ("count", "index")
"""Methods of lists that may be called."""

METHODS = frozenset(TEXT_METHODS) | frozenset(LIST_METHODS)


def _filter(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            FILTERS[name] = pass_context(function)
        return function

    return register


# --- what grammar puts in -------------------------------------------------------------------------


@_filter(" weighed")
def weighed(scope: Scope, value: Json) -> Json:
    """Returns a value that is about to be compared, paid for."""
    scope.work.weigh(value)
    return value


@_filter(" searched")
def searched(scope: Scope, value: Json) -> Json:
    """Returns a value that something is about to be looked for in, paid for."""
    if isinstance(value, dict):
        scope.work.charge(1)
    elif isinstance(value, str):
        scope.work.charge(1 + len(value))
    else:
        scope.work.weigh(value)
    return value


@_filter(" concat")
def concat(scope: Scope, *parts: Json) -> str:
    """Joins texts: `a ~ b`."""
    texts = [scope.work.text(part) for part in parts]
    check_length(sum(map(len, texts)))
    return "".join(texts)


@_filter(" loop")
def loop(scope: Scope, value: Json, body: int) -> list[Json]:
    """Returns what a `for` loops over, paid for with the size of the loop's body."""
    items = scope.work.items(value)
    scope.work.charge(len(items) * (body >> 1))
    return items


@_filter(" slice")
def part(scope: Scope, value: Json, start: Json, stop: Json, step: Json) -> Json:
    """Returns `value[start:stop:step]`."""
    if not isinstance(value, str | list | tuple):
        refuse(value, "has no slices; lists and texts have")
    taken = slice(start, stop, step)
    scope.work.charge(1 + len(range(*taken.indices(len(value)))))
    return value[taken]


@_filter(" call")
def call(scope: Scope, value: Json, method: str, *arguments: Json, **options: Json) -> Json:
    """Calls a method of a text or a list: `text.split(',')`."""
    for argument in (*arguments, *options.values()):
        scope.work.weigh(argument)
    if isinstance(value, str) and method in TEXT_METHODS:
        scope.work.charge(1 + len(value))
        return _call_text(value, method, arguments, options)
    if not isinstance(value, list | tuple) or method not in LIST_METHODS:
        refuse(value, f"has no method `{method}`")
    scope.work.weigh(value)
    return getattr(value, method)(*arguments, **options)


def _call_text(text: str, method: str, arguments: tuple[Json, ...], options: dict[str, Json]) -> Json:
    if method == "replace":
        return replaced(text, *arguments, **options)
    if method == "join":
        return joined(text, *arguments, **options)
    result = getattr(text, method)(*arguments, **options)
    return bounded(result) if isinstance(result, str) else result


def replaced(text: str, old: str, new: str, count: int = -1) -> str:
    """Replaces `old` by `new`, at most `count` times. Raises before the text grows beyond its limit."""
    found = text.count(old)
    times = found if count is None or count < 0 else min(found, count)
    check_length(len(text) + times * (len(new) - len(old)))
    return text.replace(old, new, times)


def joined(separator: str, texts: list[str]) -> str:
    """Joins texts. Raises before the text grows beyond its limit."""
    for text in texts:
        if not isinstance(text, str):
            refuse(text, "is no text; the filter `join` joins anything")
    check_length(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


# --- texts ----------------------------------------------------------------------------------------


def _text_filter(name: str) -> None:
    def run(scope: Scope, value: Json) -> str:
        return bounded(getattr(scope.work.text(value), name)())

    _filter(name)(run)


for _name in ("upper", "lower", "title", "capitalize"):
    _text_filter(_name)


@_filter("string")
def string(scope: Scope, value: Json) -> str:
    """Returns the value as text; what is no text as JSON."""
    return scope.work.text(value)


@_filter("trim")
def trim(scope: Scope, value: Json, chars: str | None = None) -> str:
    """Cuts blanks, or the given characters, from both ends."""
    scope.work.weigh(chars)
    return scope.work.text(value).strip(chars)


@_filter("replace")
def replace(scope: Scope, value: Json, old: str, new: str, count: int | None = None) -> str:
    """Replaces `old` by `new`, at most `count` times."""
    scope.work.weigh([old, new])
    text = scope.work.text(value)
    scope.work.charge(len(text))
    return replaced(text, old, new, -1 if count is None else count)


@_filter("join")
def join(scope: Scope, value: Json, separator: str = "", attribute: str | None = None) -> str:
    """Joins the items, or the given key of each, into one text. `separator` stands between them."""
    between, texts, length = scope.work.text(separator), [], 0
    for item in _picked(scope, value, attribute):
        texts.append(scope.work.text(item))
        length += len(texts[-1]) + len(between)
        check_length(length)
    return between.join(texts)


@_filter("tojson")
def tojson(scope: Scope, value: Json, indent: int | None = None) -> str:
    """Returns the value as JSON text, with sorted keys."""
    scope.work.weigh(value)
    if indent is not None and indent not in range(9):
        raise InvalidExpression("`tojson` indents by 0 to 8 blanks")
    encoder = json.JSONEncoder(ensure_ascii=False, sort_keys=True, indent=indent)
    data = scope.work.plain(value)
    if indent is None:
        return bounded(encoder.encode(data))
    # Indented, every part of a deeply nested value takes a long line: watch it grow.
    scope.work.charge(4 * scope.work.weigh(data))
    lines, grown = [], 0
    for piece in encoder.iterencode(data):
        grown += len(piece)
        check_length(grown)
        lines.append(piece)
    return "".join(lines)


@_filter("fromjson")
def fromjson(scope: Scope, value: Json) -> Json:
    """Reads JSON text. Raises `InvalidExpression` if it is none."""
    text = scope.work.text(value)
    scope.work.charge(len(text))
    try:
        return scope.work.plain(json.loads(text))
    except RecursionError:
        raise InvalidExpression(f"the data is nested deeper than {DEPTH_LIMIT} levels") from None
    except ValueError as error:
        raise InvalidExpression(f"`fromjson` got text that is no JSON: {error}") from None


# --- numbers --------------------------------------------------------------------------------------


@_filter("int")
def integer(scope: Scope, value: Json, default: int = 0, base: int = 10) -> Json:
    """Returns the value as integer; what is no number gives the default, as in Jinja."""
    scope.work.weigh(value)
    try:
        return _number(int(value, base) if isinstance(value, str) else int(value))
    except (TypeError, ValueError, OverflowError):
        pass
    try:
        return _number(int(float(value)))
    except (TypeError, ValueError, OverflowError):
        return default


@_filter("float")
def floating(scope: Scope, value: Json, default: float = 0.0) -> Json:
    """Returns the value as number with a fraction; what is no number gives the default, as in Jinja."""
    scope.work.weigh(value)
    try:
        return _number(float(value))
    except (TypeError, ValueError, OverflowError):
        return default


@_filter("round")
def rounded(scope: Scope, value: Json, precision: int = 0, method: str = "common") -> float:
    """Rounds to so many places, `common`, `ceil` or `floor`."""
    scope.work.weigh(value)
    if method not in ("common", "ceil", "floor") or precision not in range(-20, 21):
        raise InvalidExpression("`round` takes -20 to 20 places and common, ceil or floor")
    if method == "common":
        return float(_number(round(float(value), precision)))
    factor = 10.0**precision
    return float(getattr(math, method)(value * factor) / factor)


@_filter("abs")
def absolute(scope: Scope, value: Json) -> Json:
    """Returns the number without its sign."""
    scope.work.weigh(value)
    return abs(value)


@_filter("sum")
def total(scope: Scope, value: Json, attribute: str | None = None, start: Json = 0) -> Json:
    """Adds numbers, or the given key of each item. Fractions are added without rounding in between."""
    items = [start, *_picked(scope, value, attribute)]
    scope.work.weigh(items)
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise InvalidExpression(f"`sum` adds numbers, not {kind_of(item)}")
    exact = all(isinstance(item, int) for item in items)
    return _number(sum(items) if exact else math.fsum(items))


def _number(value: Json) -> Json:
    check_scalar(value)
    return value


# --- lists and mappings ---------------------------------------------------------------------------


@_filter("length", "count")
def length(scope: Scope, value: Json) -> int:
    """Returns the number of items, keys or characters."""
    scope.work.charge(1)
    if not isinstance(value, list | tuple | dict | str):
        refuse(value, "has no length")
    return len(value)


@_filter("first")
def first(scope: Scope, value: Json) -> Json:
    """Returns the first item."""
    return _end(scope, value, 0, "first")


@_filter("last")
def last(scope: Scope, value: Json) -> Json:
    """Returns the last item."""
    return _end(scope, value, -1, "last")


def _end(scope: Scope, value: Json, index: int, name: str) -> Json:
    items = scope.work.items(value)
    return items[index] if items else scope.environment.undefined(f"there is no {name} item: it is empty")


@_filter("list")
def listed(scope: Scope, value: Json) -> list[Json]:
    """Returns the items as a list; of a mapping its keys, of a text its characters."""
    return scope.work.items(value)


@_filter("reverse")
def reverse(scope: Scope, value: Json) -> Json:
    """Returns the items in the opposite order; of a text the text backwards."""
    items = scope.work.items(value)[::-1]
    return "".join(items) if isinstance(value, str) else items


@_filter("items")
def items(scope: Scope, value: Json) -> list[list[Json]]:
    """Returns pairs of key and value."""
    if not isinstance(value, dict):
        refuse(value, "has no keys")
    scope.work.charge(1 + len(value))
    return [[key, item] for key, item in value.items()]


@_filter("batch")
def batch(scope: Scope, value: Json, size: int) -> list[list[Json]]:
    """Returns the items in groups of `size`."""
    items = scope.work.items(value)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InvalidExpression("`batch` takes a size of at least 1")
    return [items[at : at + size] for at in range(0, len(items), size)]


@_filter("default", "d")
def default(scope: Scope, value: Json, fallback: Json = "", boolean: bool = False) -> Json:
    """Returns the value, or the fallback if it is not defined (with `true`, also if it is empty)."""
    scope.work.charge(1)
    if isinstance(value, Undefined) or (boolean and not value):
        return fallback
    return value


def _picked(scope: Scope, value: Json, attribute: str | None) -> list[Json]:
    found = scope.work.items(value)
    if attribute is None:
        return found
    scope.work.charge(len(found) * scope.work.weigh(attribute))
    pick = jinja.make_attrgetter(scope.environment, attribute)
    return [pick(item) for item in found]


def _borrow(name: str, function: Callable[..., Any], *, compares: bool) -> None:
    """Takes over one of Jinja's filters over items, whose cost its items and arguments bound."""

    def run(scope: Scope, value: Json, *arguments: Json, **options: Json) -> Json:
        pairs = isinstance(value, dict) and name == "dictsort"
        found = value if pairs else scope.work.items(value)
        price = 1 + scope.work.weigh([*arguments, *options.values()])
        if compares:
            scope.work.charge(scope.work.weigh(found) * len(found).bit_length())
        scope.work.charge(len(found) * price)
        head = scope.environment if compares else scope
        result = function(*(() if pairs else (head,)), found, *arguments, **options)
        return list(result) if isinstance(result, Iterator) else result

    _filter(name)(run)


for _name, _function in (
    ("sort", jinja.do_sort),
    ("unique", jinja.do_unique),
    ("min", jinja.do_min),
    ("max", jinja.do_max),
    ("dictsort", jinja.do_dictsort),
):
    _borrow(_name, _function, compares=True)

for _name, _function in (
    ("map", jinja.sync_do_map),
    ("select", jinja.sync_do_select),
    ("reject", jinja.sync_do_reject),
    ("selectattr", jinja.sync_do_selectattr),
    ("rejectattr", jinja.sync_do_rejectattr),
):
    _borrow(_name, _function, compares=False)


# --- tests ----------------------------------------------------------------------------------------

TESTS: dict[str, Callable[..., Any]] = {}
"""Every test by name."""

_JINJA_TESTS: Mapping[str, Any] = JINJA_TESTS

_TEST_NAMES = (
    "boolean", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "gt", "greaterthan", "in",
    "integer", "iterable", "le", "lessthan", "lower", "lt", "mapping", "ne", "none", "number", "odd",
    "sequence", "string", "true", "upper", "==", "!=", ">", ">=", "<", "<=",
)  # fmt: skip
_DIVIDING = ("divisibleby", "even", "odd")


def _test(name: str, function: Callable[..., Any]) -> None:
    @pass_context
    def run(scope: Scope, value: Json, *arguments: Json) -> bool:
        scope.work.weigh(value)
        scope.work.weigh(arguments)
        # Python would take `%` after a text for formatting.
        if name in _DIVIDING and not isinstance(value, int | float):
            refuse(value, f"is not {name}")
        return bool(function(value, *arguments))

    TESTS[name] = run


for _name in _TEST_NAMES:
    _test(_name, _JINJA_TESTS[_name])
for _name in ("defined", "undefined"):
    TESTS[_name] = _JINJA_TESTS[_name]
