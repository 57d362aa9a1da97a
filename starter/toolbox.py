"""What is known of the tools: what they take, how they are limited, and whether they can be used now."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from taskmark.contracts import ToolLimits
from taskmark.settings import ToolSetting
from taskmark.task.model import Json, Retry
from taskmark.tools.health import check_health

if TYPE_CHECKING:
    from starter.wiring import Wiring
    from taskmark.ports import Health, Tool

Source = Literal["setting", "tool", "default"]


class ToolLimitsView(BaseModel):
    """How calls of a tool are limited where neither step nor task say anything. Times are seconds."""

    timeout: float
    heartbeat: float
    max_attempts: int
    backoff_seconds: float
    concurrency: int | None = None
    """Calls at once in one worker; absent: as many as steps there run."""
    sources: dict[str, Source] = {}
    """Who says so of each: the settings, the tool itself, or nobody."""


class ToolHealth(BaseModel):
    """Whether it can be used now, as this process sees it."""

    healthy: bool
    message: str = ""
    hint: str | None = None


class ToolView(BaseModel):
    """One tool."""

    name: str
    description: str = ""
    origin: str = ""
    """The plugin that defines it, or `taskmark`."""
    parameters: dict[str, Json]
    """JSON Schema."""
    effects: bool
    repeatable: bool
    resumable: bool
    needs: tuple[str, ...] = ()
    limits: ToolLimitsView
    health: ToolHealth


def tools_of(wiring: Wiring, names: Collection[str] | None = None) -> tuple[ToolView, ...]:
    """Returns the tools, or those named that there are, by name. It takes three seconds at most, because each
    is asked how it is."""
    registry = wiring.registry
    chosen = {name: tool for name, tool in sorted(registry.tools.items()) if names is None or name in names}
    health, schemas = check_health(chosen), registry.schemas()
    return tuple(
        ToolView(
            name=name,
            description=(type(tool).__doc__ or "").strip(),
            origin=registry.origins.get(("tool", name), ""),
            parameters=schemas[name],
            effects=tool.effects,
            repeatable=tool.repeatable,
            resumable=tool.resumable,
            needs=tool.needs,
            limits=_limits(wiring, name, tool),
            health=_health(health[name]),
        )
        for name, tool in chosen.items()
    )


def _health(health: Health) -> ToolHealth:
    return ToolHealth(healthy=health.healthy, message=health.message, hint=health.hint)


def _limits(wiring: Wiring, name: str, tool: Tool[Any]) -> ToolLimitsView:
    """Returns what the engine goes by, and who says so."""
    limits, said = wiring.limits, wiring.settings.tools.get(name, ToolSetting())
    own = limits.tools.get(name, ToolLimits())
    retry = Retry.model_validate(own.retry or {})
    sources: dict[str, Source] = {
        "timeout": "setting" if said.timeout else "tool" if tool.timeout else "default",
        "heartbeat": "setting" if said.heartbeat else "default",
        "retry": "setting" if said.retry else "default",
        "concurrency": "setting" if said.concurrency else "default",
    }
    return ToolLimitsView(
        timeout=limits.tool_timeouts.get(name) or limits.step_timeout,
        heartbeat=own.heartbeat or limits.heartbeat,
        max_attempts=retry.max_attempts,
        backoff_seconds=retry.backoff_ms / 1000,
        concurrency=said.concurrency,
        sources=sources,
    )
