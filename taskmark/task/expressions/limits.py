"""What an expression may cost and what may come out of it.

Jinja's sandbox keeps expressions away from Python's objects but bounds neither time nor memory. So
every operation here pays from one account per evaluation, in units of less than half a
microsecond, before it starts. The count depends on the expression and its data alone: an expression
that passes on one machine passes on every other, and in every replay.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NoReturn

from jinja2.runtime import Context, Undefined

from taskmark.errors import InvalidExpression

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

    from taskmark.task.model import Json

WORK_LIMIT = 250_000
"""Units of work of one evaluation; about a tenth of a second at most."""
TEXT_LIMIT = 256 * 1024
"""Characters of one text that an expression makes, and of a rendered template."""
RESULT_LIMIT = 2 * 1024 * 1024
"""Characters of all texts and digits in one result, which may also just pass data through."""
DEPTH_LIMIT = 100
"""Levels of lists and mappings in data."""
INTEGER_BITS = 4096
_SHORT_INTEGER = 64
"""Bits of integers that cost no more than the list they stand in."""

_NUMBERS = frozenset((int, float, bool, type(None)))


class Work:
    """The account of one evaluation."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = WORK_LIMIT

    @property
    def spent(self) -> int:
        """Units paid so far."""
        return WORK_LIMIT - self.left

    def charge(self, units: int) -> None:
        """Pays for work before it is done. Raises `InvalidExpression` when the account is empty."""
        self.left -= units
        if self.left < 0:
            raise InvalidExpression(
                f"the expression does more than {WORK_LIMIT:,} units of work",
                hint="loop over less data, or move the work into a tool step",
            )

    def weigh(self, value: Json) -> int:
        """Pays for one look at everything in a value, and returns the price.

        Raises `InvalidExpression` for what is no data, for what is nested too deep, and for structures
        that share their parts so often that walking them would never end.
        """
        before = self.left
        self._weigh(value)
        return before - self.left

    def _weigh(self, value: Json) -> None:
        level, depth = [[value]], 0
        self.charge(1)
        while level:
            inner: list[Json] = []
            for parts in level:
                self._weigh_parts(parts, inner)
            if inner:
                check_depth(depth)
            level, depth = inner, depth + 1

    def _weigh_parts(self, parts: Json, inner: list[Json]) -> None:
        """Pays for the texts among parts that are counted already; lists in them go to `inner`, counted."""
        kinds = set(map(type, parts))
        if kinds <= _NUMBERS:
            return
        for part in parts:
            if isinstance(part, str):
                self.charge(len(part) >> 4)
            elif isinstance(part, list | tuple):
                self.charge(1 + len(part))
                inner.append(part)
            elif isinstance(part, dict):
                self.charge(1 + 2 * len(part))
                inner.extend((part.keys(), part.values()))
            elif type(part) not in _NUMBERS:
                refuse(part, "is no data")

    def items(self, value: Json) -> list[Json]:
        """Pays for a pass over a list, a tuple, a mapping's keys or a text, and returns it as a list.

        Raises `InvalidExpression` for what cannot be looped over.
        """
        if not isinstance(value, list | tuple | dict | str):
            refuse(value, "cannot be looped over")
        self.charge(1 + len(value))
        return list(value)

    def text(self, value: Json) -> str:
        """Returns a value as text: texts as they are, everything else as JSON. Paid by its size."""
        if type(value) is Undefined:
            return ""  # what Jinja makes of `'x' if condition` without `else`
        self.weigh(value)
        if isinstance(value, str):
            return str.__str__(value)
        if type(value) is int:
            self.digits(value)
            return str(value)
        self.charge(20)
        return bounded(json.dumps(Plain(self).value(value), ensure_ascii=False))

    def digits(self, value: int) -> None:
        """Pays for writing an integer out, which takes a long one much longer than a text of its length."""
        self.charge(value.bit_length() >> 6)

    def plain(self, value: Json) -> Json:
        """Returns a copy of a value that is JSON and nothing else. Raises `InvalidExpression`."""
        return Plain(self).value(value)


class Plain:
    """Turns what Jinja computed into JSON values: tuples into lists, `Markup` into text."""

    __slots__ = ("room", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.room = RESULT_LIMIT

    def value(self, value: Json, depth: int = 0) -> Json:
        """Returns the copy. Raises `InvalidExpression` for what JSON cannot hold."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            self._enter(len(value), depth)
            return {self._key(key): self.value(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            self._enter(len(value), depth)
            return [self.value(item, depth + 1) for item in value]
        check_scalar(value)
        if isinstance(value, int) and value.bit_length() > _SHORT_INTEGER:
            self.work.digits(value)
            self._take(value.bit_length() >> 2)
        return value

    def _enter(self, count: int, depth: int) -> None:
        check_depth(depth)
        self.work.charge(1 + count)

    def _take(self, characters: int) -> None:
        self.room -= characters
        if self.room < 0:
            raise InvalidExpression(f"the result has more than {RESULT_LIMIT:,} characters")

    def _key(self, key: Json) -> str:
        if not isinstance(key, str):
            raise InvalidExpression(f"the keys of a mapping are texts, not {kind_of(key)}")
        return self._text(key)

    def _text(self, value: str) -> str:
        self._take(len(value))
        if not value.isascii():
            self.work.charge(len(value) >> 4)
            check_encodable(value)
        return str.__str__(value)


class Scope(Context):
    """Jinja's context of one evaluation, with the account that everything in it pays from."""

    def __init__(self, environment: Environment, names: Mapping[str, Json], work: Work) -> None:
        super().__init__(environment, names if type(names) is dict else dict(names), None, {})
        self.work = work


def bounded(text: str) -> str:
    """Returns the text. Raises `InvalidExpression` if it is longer than one text may be."""
    check_length(len(text))
    return text


def check_length(length: int) -> None:
    """Raises `InvalidExpression` for a text of more characters than one text may have."""
    if length > TEXT_LIMIT:
        raise InvalidExpression(
            f"the expression makes a text of more than {TEXT_LIMIT:,} characters",
            hint="write large texts to a file and pass its path",
        )


def check_depth(depth: int) -> None:
    """Raises `InvalidExpression` for data nested deeper than it may be."""
    if depth >= DEPTH_LIMIT:
        raise InvalidExpression(f"the data is nested deeper than {DEPTH_LIMIT} levels")


def check_encodable(text: str) -> None:
    """Raises `InvalidExpression` for text that is no Unicode, such as half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidExpression(
            f"the text has half a surrogate pair at character {error.start + 1}"
        ) from None


def check_scalar(value: Json) -> None:
    """Raises `InvalidExpression` unless the value is a number within bounds, a boolean or null."""
    if value is None or value is True or value is False:
        return
    if isinstance(value, int):
        if value.bit_length() > INTEGER_BITS:
            raise InvalidExpression(f"the integer has more than {INTEGER_BITS} bits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidExpression(f"the number is not finite: {value}")
    else:
        refuse(value, "is no data")


def refuse(value: Json, problem: str) -> NoReturn:
    """Raises `InvalidExpression` with what a value is and the problem with it; what is not there is
    reported as that."""
    if type(value) is Undefined:
        raise InvalidExpression("the condition is false and there is no `else`")
    if isinstance(value, Undefined):
        str(value)
    raise InvalidExpression(f"{kind_of(value)} {problem}")


_KINDS: dict[type, str] = {
    str: "a text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
    type(None): "null",
}


def kind_of(value: Json) -> str:
    """Returns what a person calls a value of this type."""
    kind = type(value)
    return _KINDS.get(kind) or f"a value of type {kind.__name__}"
