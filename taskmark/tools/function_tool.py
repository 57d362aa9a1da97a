"""A tool made of a function of the user's."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel

from taskmark.ports import StepContext, Tool
from taskmark.task.model import Json
from taskmark.tools.needs import demand
from taskmark.tools.sizes import capped


@dataclass(frozen=True)
class FunctionDetails:
    """What a function cannot say of itself."""

    name: str
    effects: bool = True
    timeout: float | None = None
    resumable: bool = False
    needs: tuple[str, ...] = ()
    repeatable: bool = False


def function_tool(function: Callable[..., Any], details: FunctionDetails) -> Tool[Any]:
    """Returns a tool that calls `function(parameters, context)`; its parameters' model is the annotation of
    the first parameter. Raises `ValueError` with the reason if it is no such function."""
    model = _parameters_of(function)

    class FunctionTool(Tool[BaseModel]):
        __doc__ = function.__doc__
        name = details.name
        parameters = model
        effects = details.effects
        resumable = details.resumable
        stoppable = inspect.iscoroutinefunction(function)
        timeout = details.timeout
        needs = details.needs
        repeatable = details.repeatable

        async def execute(self, parameters: BaseModel, context: StepContext) -> Json:
            demand(details.name, details.needs)
            output = await call_either(function, parameters, context)
            return capped(output, source=f"tool {details.name}")

    return FunctionTool()


async def call_either(function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what a function returns: awaits an asynchronous one, runs any other in a thread."""
    if inspect.iscoroutinefunction(function):
        return await function(*arguments)
    value = await asyncio.to_thread(function, *arguments)
    return await value if inspect.isawaitable(value) else value


def check_parameters(function: Callable[..., Any], *names: str) -> None:
    """Raises `ValueError` unless the function can be called with so many positional arguments."""
    try:
        inspect.signature(function).bind(*names)
    except TypeError as error:
        raise ValueError(f"it must take ({', '.join(names)}): {error}") from error


def _parameters_of(function: Callable[..., Any]) -> type[BaseModel]:
    """Returns the model of the first parameter. Raises `ValueError`."""
    check_parameters(function, "parameters", "context")
    first = next(iter(inspect.signature(function).parameters))
    try:
        model = get_type_hints(function).get(first)
    except NameError as error:
        raise ValueError(f"its annotations cannot be read: {error}") from error
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ValueError(f"its first parameter {first!r} must be annotated with a pydantic model")
    return model
