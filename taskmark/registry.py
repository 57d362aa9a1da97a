"""What steps can use: the built-in tools, agent providers, aggregates and step kinds, and those of plugins;
and the plugins' detectors of personal data.

A plugin is a module of the user's, named in the setting `plugins`. The decorators here only mark what it
defines; `load` imports it and collects what is marked. What is broken is kept with its reason, and hurts
only the steps that use it.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

from pydantic import BaseModel

from taskmark.agents.answering import FunctionProvider
from taskmark.agents.cli.programs import CliProgram
from taskmark.errors import Category, StepFailed
from taskmark.ports import AgentProvider, StepContext, Tool
from taskmark.privacy.detecting import NAMES as BUILTIN_DETECTORS
from taskmark.privacy.detecting import Detector
from taskmark.task.model import BUILT_IN_KINDS, Json
from taskmark.tools.built_in import OF_CREDENTIALS, Configured, built_in
from taskmark.tools.function_tool import FunctionDetails, call_either, check_parameters, function_tool
from taskmark.tools.sizes import capped
from taskmark.tools.validation import did_you_mean, misfits

if TYPE_CHECKING:
    from taskmark.task.catalog import Misfit
    from taskmark.tools.search_providers import MakeProvider

Aggregate = Callable[[Sequence[Json], Mapping[str, Json]], Awaitable[Json]]
"""Values and the step's `with`, to one value."""
StepKind = Callable[[str, str, dict[str, Json], StepContext], Awaitable[Json]]
"""Value, description and `with` of a step, and where it runs, to its output."""
ComponentKind = Literal[
    "tool",
    "aggregate",
    "step kind",
    "agent provider",
    "command-line agent",
    "detector",
    "search provider",
]
Defined = TypeVar("Defined", bound=Callable[..., Any])
Found = TypeVar("Found")

BUILTIN_AGGREGATES: Final = ("list", "merge", "average", "min", "max", "sum", "count", "vote", "consensus")
_MARK: Final = "__taskmark_component__"
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Component:
    """What a decorator notes."""

    kind: ComponentKind
    name: str
    defined: Any
    details: FunctionDetails | None = None
    hints: tuple[str, ...] = ()


# --- decorators -----------------------------------------------------------------------------------


@overload
def tool(defined: type[Tool[Any]]) -> type[Tool[Any]]: ...
@overload
def tool(
    defined: str,
    *,
    effects: bool = True,
    timeout: float | None = None,
    resumable: bool = False,
    needs: tuple[str, ...] = (),
    repeatable: bool = False,
) -> Callable[[Defined], Defined]: ...
def tool(defined: Any, **details: Any) -> Any:
    """Registers a tool: on a subclass of `Tool`, or with a name on `f(parameters: Model, context)`.

    `effects` says whether a call changes anything outside, `repeatable` whether a second one with the same
    idempotency key changes nothing more, `timeout` is in seconds, `resumable` whether it
    goes on from its heartbeat, `needs` what must be there: programs, modules (`python:pandas`) and variables
    (`$API_KEY`). Functions may be `async`; others run in a thread.
    """
    if isinstance(defined, str):
        return lambda function: _mark("tool", defined, function, FunctionDetails(defined, **details))
    return _mark("tool", str(getattr(defined, "name", defined.__name__)), defined)


def aggregate(name: str) -> Callable[[Defined], Defined]:
    """Registers an aggregate: `f(values, arguments)` returns one JSON value."""
    return lambda function: _mark("aggregate", name, function)


def step_kind(name: str) -> Callable[[Defined], Defined]:
    """Registers a kind of step: `f(value, description, arguments, context)` returns the step's output."""
    return lambda function: _mark("step kind", name, function)


def agent_provider(prefix: str) -> Callable[[Defined], Defined]:
    """Registers who answers for models `prefix:…`: a class with `ask`, or `f(agent, question, context)`
    that returns an `Answer` or a JSON value."""
    return lambda defined: _mark("agent provider", prefix, defined)


def cli_agent(defined: type[CliProgram]) -> type[CliProgram]:
    """Registers a program that answers for models `cli:<its name>`, on a subclass of `CliProgram`."""
    return _mark("command-line agent", str(getattr(defined, "name", defined.__name__)), defined)


def detector(name: str, *, hints: tuple[str, ...] = ()) -> Callable[[Defined], Defined]:
    """Registers a detector of personal data: `f(text)` returns the `(start, end)` of each thing it finds,
    which becomes `[name]` in the history store and the logs.

    It sees only texts that hold one of the `hints` (in lower case), if there are any; so it costs little.
    """
    return lambda function: _mark("detector", name, function, hints=hints)


def search_provider(name: str) -> Callable[[Defined], Defined]:
    """Registers who answers `web-search` where the setting `search_provider` begins with `name:`: a class or
    function that takes the `Address` in the setting and returns what has `async def search(self, search)`
    (`taskmark.tools.search_providers.SearchProvider`)."""
    return lambda defined: _mark("search provider", name, defined)


def _mark(
    kind: ComponentKind,
    name: str,
    defined: Defined,
    details: FunctionDetails | None = None,
    hints: tuple[str, ...] = (),
) -> Defined:
    """Notes what something is; whether it is valid is judged when it is loaded."""
    setattr(defined, _MARK, Component(kind, name, defined, details, hints))
    return defined


# --- the registry ---------------------------------------------------------------------------------


@dataclass
class Registry:
    """Everything that steps can name."""

    tools: dict[str, Tool[Any]] = field(default_factory=dict)
    aggregates: dict[str, Aggregate] = field(default_factory=dict)
    """Those of plugins; built-in ones need no registry."""
    kinds: dict[str, StepKind] = field(default_factory=dict)
    """Those of plugins."""
    providers: dict[str, AgentProvider] = field(default_factory=dict)
    """By the prefix of the model."""
    cli_agents: dict[str, CliProgram] = field(default_factory=dict)
    """By the name after `cli:`."""
    detectors: dict[str, Detector] = field(default_factory=dict)
    """Those of plugins."""
    search_providers: dict[str, MakeProvider] = field(default_factory=dict)
    """Those of plugins."""
    broken: dict[str, str] = field(default_factory=dict)
    """Name of a component, or of a plugin that cannot be imported, and the reason."""
    plugins: tuple[str, ...] = ()
    """The modules that were to be loaded."""
    origins: dict[tuple[ComponentKind, str], str] = field(default_factory=dict)
    """Which module defines what."""

    def tool(self, name: str) -> Tool[Any]:
        """Returns a tool. Raises `StepFailed` (configuration) with the reason if it cannot be used."""
        return self._find("tool", name, self.tools)

    def aggregate(self, name: str) -> Aggregate:
        """Returns a plugin's aggregate. Raises `StepFailed` (configuration)."""
        return self._find("aggregate", name, self.aggregates)

    def kind(self, name: str) -> StepKind:
        """Returns a plugin's step kind. Raises `StepFailed` (configuration)."""
        return self._find("step kind", name, self.kinds)

    def provider(self, prefix: str) -> AgentProvider:
        """Returns who answers for models with the prefix. Raises `StepFailed` (configuration)."""
        return self._find("agent provider", prefix, self.providers)

    def renew(self, configured: Configured, path: Sequence[Path]) -> None:
        """Makes the built-in tools anew that are told credentials. Calls that run go on with the old ones."""
        for tool in built_in(configured, path, self.search_providers):
            if tool.name in OF_CREDENTIALS and tool.name in self.tools:
                self.tools[tool.name] = tool

    def schemas(self) -> dict[str, dict[str, Json]]:
        """Returns the JSON Schema of each tool's parameters."""
        return {name: tool.parameters.model_json_schema() for name, tool in sorted(self.tools.items())}

    def misfits(self, name: str, arguments: Mapping[str, Json]) -> list[Misfit]:
        """Returns the values that a tool would refuse; none of a tool that is not there or cannot tell."""
        if name not in self.tools:
            return []
        try:
            return misfits(self.tools[name].parameters, arguments)
        except Exception:  # a validator of a plugin's that breaks on odd values does so when it is called too
            return []

    def repeating(self) -> frozenset[str]:
        """Returns the tools of which a second call may do harm."""
        return frozenset(name for name, tool in self.tools.items() if tool.effects and not tool.repeatable)

    def resuming(self) -> tuple[str, ...]:
        """Returns the tools that can be ended at any moment and go on from their heartbeat."""
        return tuple(sorted(name for name, tool in self.tools.items() if tool.resumable and tool.stoppable))

    def _find(self, kind: ComponentKind, name: str, known: Mapping[str, Found]) -> Found:
        """Returns a component. Raises `StepFailed` (configuration)."""
        if name in known:
            return known[name]
        if name in self.broken:
            raise StepFailed(f"{kind} {name!r} is broken: {self.broken[name]}", Category.CONFIGURATION)
        hints = [
            f"plugin {plugin} is broken: {self.broken[plugin]}"
            for plugin in self.plugins
            if plugin in self.broken
        ]
        raise StepFailed(
            f"there is no {kind} {name!r}{did_you_mean(name, known)}",
            Category.CONFIGURATION,
            hint="; ".join(hints) or f"known: {', '.join(sorted(known)) or 'none'}",
        )

    def add(self, component: Component, origin: str) -> None:
        """Takes in a component. One that is invalid is noted as broken; so are all that share a name."""
        key = (component.kind, component.name)
        home = self._home(component.kind)
        try:
            _check_name(component)
            if key in self.origins:
                home.pop(component.name, None)
                raise ValueError(
                    f"{self.origins[key]} defines a {component.kind} of this name too; rename one"
                )
            home[component.name] = _MAKERS[component.kind](component)
        except Exception as error:
            self.broken[component.name] = f"{origin}: {str(error) or type(error).__name__}"
        self.origins.setdefault(key, origin)

    def _home(self, kind: ComponentKind) -> dict[str, Any]:
        """Returns where components of a kind are kept."""
        homes: dict[ComponentKind, dict[str, Any]] = {
            "tool": self.tools,
            "aggregate": self.aggregates,
            "step kind": self.kinds,
            "agent provider": self.providers,
            "command-line agent": self.cli_agents,
            "detector": self.detectors,
            "search provider": self.search_providers,
        }
        return homes[kind]


def load(
    plugins: Sequence[str] = (),
    *,
    path: Sequence[Path] = (),
    configured: Configured | None = None,
) -> Registry:
    """Returns what is built in and what the plugins add.

    `path` is searched for the plugins' modules, after everything that is installed; processes that call
    Python functions search it too. `configured` is for the built-in tools. Never raises for a plugin: what is
    wrong with one is in `broken`.
    """
    registry = _builtin(path, configured or Configured())
    registry.plugins = tuple(dict.fromkeys(plugins))
    for place in path:
        if str(place) not in sys.path:
            # At the end: a file of the user's must never stand in for a module of the worker's.
            sys.path.append(str(place))
    importlib.invalidate_caches()
    for name in registry.plugins:
        try:
            module = importlib.import_module(name)
        except (Exception, SystemExit) as error:
            registry.broken[name] = f"it cannot be imported: {type(error).__name__}: {error}"
            continue
        for component in _marked(module):
            registry.add(component, name)
    return registry


def tool_of(defined: Any) -> Tool[Any]:
    """Returns the tool that a function or a class with `@tool` defines. Raises `ValueError` with the reason
    if it defines none, or an invalid one."""
    component = getattr(defined, "__dict__", {}).get(_MARK)
    if not isinstance(component, Component) or component.kind != "tool":
        raise ValueError(f"{getattr(defined, '__name__', defined)!r} is not marked with @tool")
    _check_name(component)
    return _tool(component)


def _builtin(path: Sequence[Path], configured: Configured) -> Registry:
    """Returns a registry of what needs no plugin."""
    from taskmark.agents.cli.programs import built_in as built_in_programs
    from taskmark.agents.cli.provider import CliAgents
    from taskmark.agents.commands import CommandAgents
    from taskmark.agents.functions import FunctionAgents
    from taskmark.agents.llm.configured import POOL
    from taskmark.agents.llm.provider import LanguageModels
    from taskmark.tools.search_providers import BUILT_IN as BUILTIN_SEARCH

    programs = built_in_programs()
    registry = Registry(
        providers={
            "python": FunctionAgents(paths=path, limits=configured.limits),
            "command": CommandAgents(limits=configured.limits),
            **dict.fromkeys((*configured.models.providers, POOL), LanguageModels(configured.models)),
            "cli": CliAgents(
                programs, configured.cli_agents, configured.limits, variable=configured.variable
            ),
        },
        cli_agents=programs,
    )
    tools = built_in(configured, path, registry.search_providers)
    registry.tools.update({tool.name: tool for tool in tools})
    taken: tuple[tuple[ComponentKind, tuple[str, ...]], ...] = (
        ("tool", tuple(registry.tools)),
        ("aggregate", BUILTIN_AGGREGATES),
        ("step kind", tuple(sorted(BUILT_IN_KINDS))),
        ("agent provider", tuple(registry.providers)),
        ("command-line agent", tuple(programs)),
        ("detector", BUILTIN_DETECTORS),
        ("search provider", tuple(BUILTIN_SEARCH)),
    )
    registry.origins = {(kind, name): "taskmark" for kind, names in taken for name in names}
    return registry


def _marked(module: ModuleType) -> Iterator[Component]:
    """Yields what a module, or a package it gathers from, defines; not what it imports from elsewhere."""
    seen: set[int] = set()
    for defined in vars(module).values():
        component = getattr(defined, "__dict__", {}).get(_MARK)
        if not isinstance(component, Component) or id(defined) in seen:
            continue
        seen.add(id(defined))
        if f"{defined.__module__}.".startswith(f"{module.__name__}."):
            yield component


# --- what a component must be ---------------------------------------------------------------------


def _check_name(component: Component) -> None:
    """Raises `ValueError` for a name that a task file could not use."""
    if not isinstance(component.name, str) or not _NAME.fullmatch(component.name):
        raise ValueError(f"{component.name!r} is no name: use lower case, digits, `-` and `_`")


def _tool(component: Component) -> Tool[Any]:
    """Returns the tool. Raises `ValueError`, or whatever its constructor raises."""
    if component.details is not None:
        made = function_tool(component.defined, component.details)
    elif isinstance(component.defined, type) and issubclass(component.defined, Tool):
        made = component.defined()
    else:
        raise ValueError("@tool goes on a subclass of Tool; on a function it needs a name")
    model = getattr(made, "parameters", None)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ValueError("its `parameters` must be a pydantic model")
    model.model_json_schema()
    return made


def _aggregate(component: Component) -> Aggregate:
    """Returns the aggregate, whose answer is checked for its size."""
    check_parameters(component.defined, "values", "arguments")

    async def combine(values: Sequence[Json], arguments: Mapping[str, Json]) -> Json:
        output = await call_either(component.defined, values, arguments)
        return capped(output, source=f"aggregate {component.name}")

    return combine


def _kind(component: Component) -> StepKind:
    """Returns the step kind, whose answer is checked for its size."""
    check_parameters(component.defined, "value", "description", "arguments", "context")

    async def execute(value: str, description: str, arguments: dict[str, Json], context: StepContext) -> Json:
        output = await call_either(component.defined, value, description, arguments, context)
        return capped(output, source=f"step kind {component.name}")

    return execute


def _provider(component: Component) -> AgentProvider:
    """Returns the provider. Raises `ValueError`, or whatever its constructor raises."""
    if not isinstance(component.defined, type):
        check_parameters(component.defined, "agent", "question", "context")
        return FunctionProvider(component.defined)
    made = component.defined()
    if not inspect.iscoroutinefunction(getattr(made, "ask", None)):
        raise ValueError("it needs a method `async def ask(self, agent, question, context)`")
    return made  # type: ignore[no-any-return]  # it has the protocol's one method


def _search_provider(component: Component) -> MakeProvider:
    """Returns what makes the provider. Raises `ValueError`."""
    check_parameters(component.defined, "address")
    return component.defined  # type: ignore[no-any-return]  # what it makes is seen when it is asked


def _detector(component: Component) -> Detector:
    """Returns the detector. Raises `ValueError`."""
    check_parameters(component.defined, "text")
    if inspect.iscoroutinefunction(component.defined):
        raise ValueError("a detector cannot be `async`: it is asked while records are written")
    return Detector(component.name, component.defined, hints=component.hints)


def _cli_agent(component: Component) -> CliProgram:
    """Returns the program. Raises `ValueError`, or whatever its constructor raises."""
    if not (isinstance(component.defined, type) and issubclass(component.defined, CliProgram)):
        raise ValueError("@cli_agent goes on a subclass of CliProgram")
    return component.defined()


_MAKERS: Final[dict[ComponentKind, Callable[[Component], Any]]] = {
    "tool": _tool,
    "aggregate": _aggregate,
    "step kind": _kind,
    "agent provider": _provider,
    "command-line agent": _cli_agent,
    "detector": _detector,
    "search provider": _search_provider,
}
