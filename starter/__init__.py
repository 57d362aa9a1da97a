"""Every door to Taskmark. For programs: `from starter import TaskClient`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starter.gateway import TaskClient

__all__ = ["TaskClient"]


def __getattr__(name: str) -> Any:
    """Imports the client when it is first wanted: it brings Temporal along, which takes most of a second."""
    if name == "TaskClient":
        from starter.gateway import TaskClient

        return TaskClient
    raise AttributeError(name)
