"""The door that all steps pass: how many, in which order, and what a pause, a stop or a cancellation does."""

from __future__ import annotations

import asyncio

import pytest

from taskmark.contracts import Wish
from workflows.admission import Admission, Stopped


async def enter(door: Admission, inside: list[int], number: int, leave: asyncio.Event) -> None:
    """Goes in, notes it, and stays until it may leave."""
    async with door.slot():
        inside.append(number)
        await leave.wait()


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.semantics("P6", "C1")
async def test_no_more_than_the_window_are_in_and_the_first_come_first() -> None:
    door, inside, leave = Admission(2, Wish()), [], asyncio.Event()
    tasks = [asyncio.create_task(enter(door, inside, n, leave)) for n in range(5)]
    await settle()
    assert (inside, door.in_flight) == ([0, 1], 2)
    leave.set()
    await asyncio.gather(*tasks)
    assert (inside, door.in_flight) == ([0, 1, 2, 3, 4], 0)


@pytest.mark.semantics("C1", "C2", "C3")
async def test_a_pause_shuts_the_door_and_an_older_wish_does_not_open_it() -> None:
    door, inside, leave = Admission(2, Wish()), [], asyncio.Event()
    leave.set()
    assert door.apply(Wish(epoch=2, paused=True))
    task = asyncio.create_task(enter(door, inside, 1, leave))
    await settle()
    assert not door.apply(Wish(epoch=1, paused=False))
    assert not door.apply(Wish(epoch=2, paused=False))
    await settle()
    assert (inside, door.is_still) == ([], True)
    assert door.apply(Wish(epoch=3))
    await task
    assert inside == [1]


@pytest.mark.semantics("R10", "R12")
async def test_a_stop_sends_everybody_away_also_from_a_paused_door() -> None:
    door, inside, leave = Admission(1, Wish(epoch=1, paused=True)), [], asyncio.Event()
    tasks = [asyncio.create_task(enter(door, inside, n, leave)) for n in range(3)]
    await settle()
    door.halt()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in found] == [Stopped] * 3
    assert (inside, door.in_flight) == ([], 0)
    door.reopen()
    assert not door.stopped


@pytest.mark.semantics("C7")
async def test_who_is_cancelled_while_waiting_takes_no_place() -> None:
    door, inside, leave = Admission(1, Wish()), [], asyncio.Event()
    tasks = [asyncio.create_task(enter(door, inside, n, leave)) for n in range(3)]
    await settle()
    tasks[1].cancel()
    await settle()
    leave.set()
    await asyncio.gather(tasks[0], tasks[2])
    assert (inside, door.in_flight) == ([0, 2], 0)


@pytest.mark.semantics("C7")
async def test_who_is_cancelled_in_the_moment_of_entering_gives_the_place_back() -> None:
    door, inside, leave = Admission(1, Wish()), [], asyncio.Event()
    tasks = [asyncio.create_task(enter(door, inside, n, leave)) for n in range(3)]
    await settle()
    leave.set()
    while len(inside) == 1 and door.in_flight == 1 and not tasks[0].done():
        await asyncio.sleep(0)
    tasks[1].cancel()  # its place is granted, and it has not taken it yet
    await asyncio.gather(*tasks, return_exceptions=True)
    assert door.in_flight == 0
    assert inside[-1] == 2


@pytest.mark.semantics("C1")
async def test_a_sub_task_that_stands_still_is_not_in_flight() -> None:
    door, inside, leave = Admission(2, Wish()), [], asyncio.Event()
    task = asyncio.create_task(enter(door, inside, 1, leave))
    await settle()
    door.apply(Wish(epoch=1, paused=True))
    assert (door.in_flight, door.is_still) == (1, False)
    door.rest("child", still=True)
    door.rest("child", still=True)
    assert (door.in_flight, door.is_still) == (0, True)
    door.rest("child", still=False)
    assert (door.in_flight, door.is_still) == (1, False)
    leave.set()
    await task
