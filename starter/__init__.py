"""Every door to Taskmark. For programs: `TaskClient`, and `StoreClient` where no Temporal is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starter.gateway import TaskClient
    from starter.store import StoreClient

__all__ = ["StoreClient", "TaskClient"]


def __getattr__(name: str) -> Any:
    """Imports a client when it is first wanted: Temporal alone takes most of a second."""
    if name == "TaskClient":
        from starter.gateway import TaskClient

        return TaskClient
    if name == "StoreClient":
        from starter.store import StoreClient

        return StoreClient
    raise AttributeError(name)
