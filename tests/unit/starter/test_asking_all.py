"""What runs is listed and asked, however many there are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from starter.gateway import TaskClient
from taskmark.contracts import Progress, Wait
from taskmark.errors import Unreachable

MANY = 1_300
"""More than any page that Temporal gives at once, or that was ever asked for."""
START = datetime(2026, 1, 31, tzinfo=UTC)


@dataclass
class Server:
    """Temporal with many executions that run, the latest first; the first one ever waits for a person."""

    queries: list[str] = field(default_factory=list)

    async def list_workflows(self, query: str, *, limit: int | None = None) -> AsyncIterator[Any]:
        self.queries.append(query)
        for number in range(MANY, 0, -1)[:limit]:
            yield SimpleNamespace(id=f"exec-{number}", start_time=START, typed_search_attributes=())

    def get_workflow_handle(self, execution: str) -> Any:
        async def query(*_: object, **__: object) -> object:
            if execution == "exec-7":
                raise Unreachable("nobody is there")
            waits = (Wait(kind="approval", name="go", since=START),) if execution == "exec-1" else ()
            return progress(execution, waits).model_dump(mode="json")

        return SimpleNamespace(query=query)


def progress(execution: str, waits: tuple[Wait, ...]) -> Progress:
    return Progress(execution_id=execution, task="Demo", status="running", waiting=waits, updated_at=START)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> TaskClient:
    async def not_stuck(self: TaskClient, execution: str) -> None:
        return None

    monkeypatch.setattr(TaskClient, "_stuck", not_stuck)
    return TaskClient(cast(Any, Server()), cast(Any, None))


async def test_an_old_gate_is_found_behind_many_newer_executions_and_who_is_silent_is_told(
    client: TaskClient,
) -> None:
    found = await client.waiting()
    assert [(one.execution_id, one.waiting[0].name) for one in found.executions] == [("exec-1", "go")]
    assert found.silent == {"exec-7": "nobody is there"}


async def test_what_runs_is_listed_to_its_end_or_as_far_as_is_asked_for(client: TaskClient) -> None:
    assert len(await client.active()) == MANY
    assert [one.execution_id for one in await client.active(1)] == [f"exec-{MANY}"]
    begin = [one.execution_id for one in await client.active(beginning="exec-130")]
    assert begin == ["exec-1300", "exec-130"]
    assert "WorkflowId STARTS_WITH 'exec-130'" in cast(Any, client.client).queries[-1]
