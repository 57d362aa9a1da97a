"""The embedded server fires timers when they are due."""

from __future__ import annotations

from collections.abc import Callable

from acceptance_place import Place

from starter.gateway import TaskClient

WAITS = "# Waits\n\n## Phase: Only\n### Steps\n" + "\n".join(
    f"- wait: {n}ms - A moment" for n in (20, 50, 100)
)


async def test_short_waits_are_not_rounded_up_to_seconds(make_place: Callable[..., Place]) -> None:
    """Retries and the loss of a worker wait by the same timers."""
    place = make_place()
    async with TaskClient.open(place.settings, worker=True) as client:
        result = await client.execute(source=WAITS)
    assert result.started_at is not None
    assert result.finished_at is not None
    assert (result.finished_at - result.started_at).total_seconds() < 2.5
