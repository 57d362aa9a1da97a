"""Calls that end at nearly the same time end together; nobody waits for what takes longer."""

from __future__ import annotations

import asyncio
import time

import pytest

from activities.companions import LONGEST, Companions


async def call(companions: Companions, seconds: float, ends: list[float], run: str = "run") -> None:
    with companions.running(run):
        await asyncio.sleep(seconds)
    await companions.end_together(run)
    ends.append(time.monotonic())


async def test_a_call_waits_for_a_neighbour_that_is_just_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    """So both are told in one moment, and the server asks once what follows."""
    monkeypatch.setattr("activities.companions.LONGEST", 5.0)  # no machine is that busy
    companions, ends = Companions(), list[float]()
    order: list[str] = []

    async def slower() -> None:
        with companions.running("run"):
            await asyncio.sleep(0.01)
            order.append("the slower one is done")
        await companions.end_together("run")

    async def quicker() -> None:
        await call(companions, 0, ends)
        order.append("the quicker one is told")

    await asyncio.gather(slower(), quicker())
    assert order == ["the slower one is done", "the quicker one is told"]


async def test_nobody_waits_for_a_call_that_takes_longer() -> None:
    companions, ends = Companions(), list[float]()
    slow = asyncio.create_task(call(companions, 30, ends))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await call(companions, 0, ends)
    assert not slow.done()
    slow.cancel()


async def test_calls_of_other_workflows_are_no_neighbours() -> None:
    companions, ends = Companions(), list[float]()
    with companions.running("other"):
        await call(companions, 0, ends)
    assert ends


async def test_a_cancellation_comes_too_late_for_what_is_done() -> None:
    companions, ends = Companions(), list[float]()
    with companions.running("run"):
        done = asyncio.create_task(call(companions, 0, ends))
        await asyncio.sleep(LONGEST / 4)
        done.cancel()
        await done
    assert ends


async def test_nothing_is_kept_of_workflows_without_calls() -> None:
    companions, ends = Companions(), list[float]()
    await asyncio.gather(*(call(companions, 0, ends, f"run {n}") for n in range(100)))
    assert companions._calls == {}
