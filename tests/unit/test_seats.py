"""So many at once, and whoever is to be careful one at a time."""

import asyncio

import pytest

from taskmark.seats import Seats


async def most(seats, *reduced):
    running, peak, alone = 0, 0, 0

    async def one(careful):
        nonlocal running, peak, alone
        async with seats.taken(reduced=careful):
            running += 1
            peak = max(peak, running)
            await asyncio.sleep(0.005)
            running -= 1

    await asyncio.gather(*map(one, reduced))
    return peak


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_no_more_than_there_are_seats_run_at_once(count):
    assert await most(Seats(count), *[False] * 12) == count


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
async def test_of_those_who_are_careful_one_runs_at_a_time(count):
    assert await most(Seats(count), *[True] * 6) == 1


async def test_beside_one_who_is_careful_there_is_room_for_few_others():
    assert await most(Seats(4), True, False, False, False, False) <= 4
    assert await most(Seats(4), True, False) == 2


async def test_they_come_in_their_order():
    seats, order = Seats(2), []

    async def one(name, careful):
        async with seats.taken(reduced=careful):
            order.append(name)
            await asyncio.sleep(0.005)

    await asyncio.gather(one("a", False), one("b", True), one("c", False), one("d", False))
    assert order == ["a", "b", "c", "d"], "nobody overtakes who needs more room"


@pytest.mark.parametrize("careful", [False, True])
async def test_who_leaves_while_waiting_keeps_no_seat(careful):
    seats = Seats(2)
    async with seats.taken(reduced=True):
        waits = asyncio.ensure_future(seats.taken(reduced=careful).__aenter__())
        behind = asyncio.ensure_future(most(seats, False))
        await asyncio.sleep(0)
        assert seats.are_taken
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
    assert await asyncio.wait_for(behind, 1) == 1
    assert await most(seats, False, False) == 2


async def test_who_is_cancelled_just_when_a_seat_is_his_gives_it_back():
    seats = Seats(1)
    async with seats.taken():
        waits = asyncio.ensure_future(seats.taken().__aenter__())
        await asyncio.sleep(0)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert not seats.are_taken
