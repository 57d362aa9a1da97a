"""Jinja's immutable sandbox, narrowed: a dot reads a key of data and nothing else, and operators pay."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from jinja2 import StrictUndefined, pass_context
from jinja2.exceptions import UndefinedError
from jinja2.runtime import LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from taskmark.errors import InvalidExpression
from taskmark.task.expressions.filters import FILTERS, METHODS, TESTS
from taskmark.task.expressions.grammar import LocatedEnvironment, did_you_mean
from taskmark.task.expressions.limits import INTEGER_BITS, Scope, check_length, check_scalar, kind_of

if TYPE_CHECKING:
    from taskmark.task.model import Json

LOOP_KEYS = frozenset(
    ("index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem", "depth")
)
"""What a template may ask `loop` for."""


class UnknownName(UndefinedError):
    """Something asked for is not there; `name` is the last key that was looked for."""

    def __init__(self, message: str, name: object) -> None:
        super().__init__(message)
        self.name = name


class Missing(StrictUndefined):
    """What is not there. Anything but asking whether it is defined raises `UnknownName`."""

    __slots__ = ()

    def __init__(
        self, hint: str | None = None, obj: Any = missing, name: str | None = None, exc: Any = UnknownName
    ) -> None:
        super().__init__(hint, obj, name, cast("type[UnknownName]", partial(exc, name=name)))

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        near = did_you_mean_key(str(self._undefined_name), self._undefined_obj)
        return f"`{self._undefined_name}` is not defined{near}"


def did_you_mean_key(name: str, data: object) -> str:
    """Returns a suggestion from the keys of a mapping, or nothing."""
    return did_you_mean(name, filter(_is_text, data)) if isinstance(data, dict) else ""


def _is_text(key: object) -> bool:
    return isinstance(key, str)


@pass_context
def _finalize(scope: Scope, value: Json) -> str:
    return scope.work.text(value)


class ExpressionEnvironment(LocatedEnvironment, ImmutableSandboxedEnvironment):
    """The one environment of a process."""

    intercepted_binops = frozenset(("**", "*", "%", "+", "-", "/", "//"))

    def __init__(self) -> None:
        super().__init__(
            undefined=Missing,
            finalize=_finalize,
            optimized=False,  # constants are computed at run time, where they are paid for
            autoescape=False,
            cache_size=0,
            keep_trailing_newline=True,
        )
        self.globals.clear()
        self.filters = dict(FILTERS)
        self.tests = dict(TESTS)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Reads a key of data: `inputs.file`."""
        if isinstance(obj, dict):
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if isinstance(obj, LoopContext) and attribute in LOOP_KEYS:
            return getattr(obj, attribute)
        if isinstance(obj, Undefined):
            str(obj)
        hint = f"{kind_of(obj)} has no key `{attribute}`"
        if attribute in METHODS:
            hint = f"`{attribute}` is a method; call it: `{attribute}(…)`"
        return self.undefined(hint, obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Reads a key of a mapping or an item of a list or text: `rows[0]`."""
        if isinstance(obj, dict) and isinstance(argument, str):
            return self.getattr(obj, argument)
        if isinstance(argument, Undefined):
            str(argument)
        if isinstance(obj, list | tuple | str) and type(argument) is int:
            return self._item(obj, argument)
        if isinstance(obj, Undefined):
            str(obj)
        shown = f"`{argument}`" if isinstance(argument, str) else kind_of(argument)
        return self.undefined(f"{kind_of(obj)} has no item {shown}", obj=obj)

    def _item(self, obj: Any, index: int) -> Any:
        if -len(obj) <= index < len(obj):
            return obj[index]
        return self.undefined(f"there is no item {index}: it has {len(obj)}", obj=obj)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Computes `left operator right`, within the limits on numbers, texts and lists."""
        work = context.work
        work.charge(2)
        if isinstance(left, int | float) and isinstance(right, int | float):
            if operator == "**":
                _check_power(left, right)
            result = self.binop_table[operator](left, right)
            check_scalar(result)
            return result
        return _combined(context, operator, left, right)


def _check_power(base: float, exponent: float) -> None:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > INTEGER_BITS:
        raise InvalidExpression(f"the power has more than {INTEGER_BITS} bits")


def _combined(scope: Scope, operator: str, left: Any, right: Any) -> Any:
    """Adds texts or lists, or repeats one."""
    for value in (left, right):
        if not isinstance(value, str | list | tuple | dict):
            check_scalar(value)
    if operator == "+" and isinstance(left, str) and isinstance(right, str):
        check_length(len(left) + len(right))
        scope.work.charge((len(left) + len(right)) >> 4)
        return left + right
    if operator == "+" and isinstance(left, list | tuple) and isinstance(right, list | tuple):
        scope.work.charge(len(left) + len(right))
        return [*left, *right]
    if operator == "*":
        return _repeated(scope, left, right)
    raise InvalidExpression(
        f"`{operator}` does not work for {kind_of(left)} and {kind_of(right)}{_advice(operator)}"
    )


def _advice(operator: str) -> str:
    return "; `~` joins anything as text" if operator in "+%" else ""


def _repeated(scope: Scope, left: Any, right: Any) -> Any:
    value, times = (right, left) if isinstance(left, int) else (left, right)
    if not isinstance(value, str | list | tuple) or not isinstance(times, int):
        raise InvalidExpression(f"`*` does not work for {kind_of(left)} and {kind_of(right)}")
    times = max(0, times)
    if isinstance(value, str):
        check_length(len(value) * times)
        scope.work.charge(len(value) * times >> 4)
        return value * times
    scope.work.charge(len(value) * times)
    return list(value) * times
