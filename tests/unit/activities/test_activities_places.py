"""Places: no more calls of a tool or a project at once than there may be, and nobody is left out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from activity_calls import call

from activities.places import Places
from taskmark.ports import StepContext


async def most_at_once(places: Places, calls: list[dict[str, object]]) -> tuple[int, list[str]]:
    """Returns how many ran at once at most, and what those that waited said."""
    running, most, said = 0, 0, list[str]()

    async def one(fields: dict[str, object]) -> None:
        nonlocal running, most
        async with places.taken(call(**fields), StepContext(root=Path(), say=said.append)):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1

    await asyncio.gather(*map(one, calls))
    return most, said


@pytest.mark.parametrize(
    ("places", "calls", "expected"),
    [
        (Places({"http": 2}, None), [{"name": "http"}] * 8, 2),
        (Places({"http": 2}, None), [{"name": "shell"}] * 8, 8),
        (Places({"http": 2}, None), [{"name": "http", "kind": "agent"}] * 8, 8),
        (Places({}, 3), [{"project": "a"}] * 8, 3),
        (Places({}, 3), [{"project": None}] * 8, 8),
        (Places({}, 3), [{"project": name} for name in "abcd" * 2], 8),
        (Places({"shell": 2}, 3), [{"project": "a"}] * 8, 2),
        (Places({"http": 5}, None), [{"name": "http", "reduced": True}] * 4, 1),
        (Places({}, 5), [{"project": "a", "reduced": True}] * 8, 5),
    ],
)
async def test_never_more_at_once_than_there_are_places(
    places: Places, calls: list[dict[str, object]], expected: int
) -> None:
    most, _ = await most_at_once(places, calls)
    assert most == expected


async def test_who_waits_says_for_what() -> None:
    _, said = await most_at_once(Places({"http": 1}, None), [{"name": "http"}] * 2)
    assert said == ["waits for its turn: calls of http at once"]


async def test_a_place_is_free_again_however_its_call_ends() -> None:
    places, context = Places({"http": 1}, None), StepContext(root=Path())
    for error in (ValueError, asyncio.CancelledError):
        with pytest.raises(error):
            async with places.taken(call(name="http"), context):
                raise error
    async with asyncio.timeout(1), places.taken(call(name="http"), context):
        pass
