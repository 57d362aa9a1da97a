"""Follows an execution until it ends, until only a person can go on, or until whoever watches leaves."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from starter.cli.announcing import Announcer
from starter.cli.exits import Exit, of_status
from starter.cli.terminal import command, is_animated, say

if TYPE_CHECKING:
    from starter.beats import Beats
    from starter.gateway import TaskClient
    from taskmark.contracts import Progress, TaskResult

POLL_SECONDS = 0.4
LISTEN_SECONDS = 2.0
"""Steps say something at most that often."""
DRAW_SECONDS = 0.25
OUTAGE_SECONDS = 60.0
"""How long Temporal may be away before watching ends; the embedded server comes back by itself."""


class View(Protocol):
    """Something that shows progress."""

    def __enter__(self) -> View: ...
    def __exit__(self, *_: object) -> None: ...
    def show(self, progress: Progress) -> None:
        """Takes the newest progress."""
        ...

    def hear(self, beats: Beats) -> None:
        """Takes what running steps say."""
        ...

    def announce(self, message: str) -> None:
        """Says what changed about when it will end."""
        ...

    def trouble(self, message: str) -> None:
        """Says why there is none."""
        ...

    def draw(self) -> None:
        """Draws what is known."""
        ...


@dataclass(frozen=True)
class Watched:
    """Why watching ended: with a result, or with an exit code that says why there is none."""

    exit: Exit
    result: TaskResult | None = None
    progress: Progress | None = None


def view() -> View:
    """Returns the live view where a terminal can redraw, else plain lines."""
    from starter.cli.live import LiveView
    from starter.cli.plain import PlainView

    return LiveView() if is_animated() else PlainView()


async def watch(
    client: TaskClient,
    execution: str,
    leave: asyncio.Event,
    *,
    wait_for_people: bool,
    view: View,
) -> Watched:
    """Shows an execution until it ends, `leave` is set, or, if people are not waited for, it stands still
    until one decides. Raises `UnknownExecution`, and `Unreachable` after an outage of a minute."""
    watcher = _Watcher(client, execution, view)
    ended = asyncio.ensure_future(_end(client, execution))
    left = asyncio.ensure_future(leave.wait())
    tasks = [ended, left, *(asyncio.ensure_future(w) for w in (watcher.look(), watcher.draw()))]
    if not wait_for_people:
        tasks.append(asyncio.ensure_future(watcher.stands_still.wait()))
    # What steps say is nice to know: should it fail, watching goes on.
    listening = asyncio.ensure_future(watcher.listen())
    try:
        with view:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                await watcher.look_once()
    finally:
        for task in (*tasks, listening):
            task.cancel()
        await asyncio.gather(*tasks, listening, return_exceptions=True)
    if ended.done() and not ended.cancelled():
        result = ended.result()
        return Watched(of_status(result.status), result, watcher.progress)
    return Watched(Exit.DETACHED if leave.is_set() else Exit.WAITING, None, watcher.progress)


async def _end(client: TaskClient, execution: str) -> TaskResult:
    """Waits for the result; asks again after an outage."""
    from taskmark.errors import Unreachable

    first: float | None = None
    while True:
        asked = time.monotonic()
        try:
            return await client.wait(execution)
        except Unreachable:
            now = time.monotonic()
            # A call that waited for long was connected, so what ended it is a new outage.
            first = now if first is None or now - asked > OUTAGE_SECONDS else first
            if now - first > OUTAGE_SECONDS:
                raise
            await asyncio.sleep(1)


class _Watcher:
    """Asks for progress and has it shown."""

    def __init__(self, client: TaskClient, execution: str, view: View) -> None:
        self.progress: Progress | None = None
        self.stands_still = asyncio.Event()
        self._client = client
        self._execution = execution
        self._view = view
        self._announcer = Announcer()

    async def look(self) -> None:
        """Asks again and again."""
        while True:
            await self.look_once()
            await asyncio.sleep(POLL_SECONDS)

    async def look_once(self) -> None:
        """Asks how far it is. That nobody answers is not the end of it: work may wait for a worker."""
        from taskmark.errors import TaskmarkError, Unreachable

        try:
            self.progress = await self._client.progress(self._execution)
        except Unreachable as error:
            self._view.trouble(f"{error.message}; {error.hint}" if error.hint else error.message)
            return
        except TaskmarkError:
            return  # it has only just begun, and its first workflow task is still to come
        self._view.show(self.progress)
        if announcement := self._announcer.hear(self.progress, datetime.now(UTC)):
            self._view.announce(announcement)
        if self.progress.status.value in ("waiting", "paused"):
            self.stands_still.set()

    async def listen(self) -> None:
        """Asks again and again what running steps say."""
        while True:
            if self.progress is not None and self.progress.status.value in ("running", "pausing"):
                self._view.hear(await self._client.beats(self.progress))
            await asyncio.sleep(LISTEN_SECONDS)

    async def draw(self) -> None:
        """Keeps the picture and its clocks going."""
        while True:
            self._view.draw()
            await asyncio.sleep(DRAW_SECONDS)


def say_why(watched: Watched, execution: str, *, still: bool, grace: float) -> None:
    """Says why watching ended without a result, and how to come back.

    `still` says that nobody else goes on, `grace` how many seconds running steps have to end, 0 if this
    process runs none.
    """
    from starter.cli.picture import decisions

    again = command("watch", execution)
    if watched.exit is Exit.WAITING:
        waiting = watched.progress.waiting if watched.progress else ()
        what = "is paused" if not waiting else "waits for a decision"
        say(f"{execution} {what}.")
        words = [words for wait in waiting for words in decisions(execution, wait, waiting)]
        for line in words or [command("resume", execution)]:
            say(f"  {line}")
        say(f"Then: {again}")
        return
    say(f"Left {execution}; it was not stopped.")
    if still:
        say("Nobody else uses the embedded server: work stands still until you come back.")
    say(f"  come back:  {again}")
    say(f"  end it:     {command('abort', execution)}")
    in_flight = watched.progress.in_flight if watched.progress else 0
    if in_flight and grace:
        steps = "1 running step" if in_flight == 1 else f"{in_flight} running steps"
        say(f"Letting {steps} end, for {grace:.0f} s at most; Ctrl-C again leaves at once.")
