"""How the event loop of a command ends."""

from __future__ import annotations

import asyncio
import logging

import pytest

from starter.cli import loops
from starter.cli.loops import run_async


def test_a_command_returns_what_it_returns() -> None:
    async def main() -> str:
        await asyncio.sleep(0)
        return "all"

    assert run_async(main()) == "all"


def test_what_is_left_is_cancelled_and_waited_for() -> None:
    ended = []

    async def left() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("left")

    async def main() -> None:
        task = asyncio.create_task(left())
        await asyncio.sleep(0)
        assert not task.done()

    run_async(main())
    assert ended == ["left"]


def test_what_will_not_be_cancelled_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As the SDK's worker that tries for ever to evict a blocked workflow."""
    monkeypatch.setattr(loops, "LEAVING_SECONDS", 0.1)
    released = asyncio.Event()
    caught = []

    async def stubborn() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                caught.append("cancelled")

    async def main() -> asyncio.AbstractEventLoop:
        caught.append(asyncio.create_task(stubborn()))
        await asyncio.sleep(0)
        raise KeyError

    with pytest.raises(KeyError):
        run_async(main())
    assert caught[1:] == ["cancelled"]
    with caplog.at_level(logging.WARNING):
        assert "left behind" in caplog.text
    loop = caught[0].get_loop()
    released.set()
    loop.run_until_complete(caught[0])
    loop.close()
