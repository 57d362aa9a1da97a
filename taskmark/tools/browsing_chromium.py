"""One Chromium for all steps of a worker: started when it is needed, watched, and ended without a trace.

Each step gets a context of its own: no cookie, cache or store of one step is seen by another. Chromium starts
with the first step, ends when none has wanted it for a while, and is started anew if it died.

What a page may do to the worker is limited from outside. Chromium runs in its sandbox, except as root, where
it has none: Chromium refuses it there (`--no-sandbox`), so run workers as somebody else. Its environment is
clean; its home, its temporary files and its downloads are in a folder of its own, outside of the root. It is
told to connect to nothing and to resolve nothing; only a context's own proxy leads out.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import shutil
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil  # type: ignore[import-untyped] # it ships no types

from taskmark.errors import Category, StepFailed
from taskmark.seats import Seats
from taskmark.tools.browsing_folders import Folder, new_folder
from taskmark.tools.browsing_limits import BrowserLimits
from taskmark.tools.browsing_memory import Family, excess
from taskmark.tools.finishing import to_the_end

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Playwright

PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")
START_SECONDS: Final = 30.0
CLOSE_SECONDS: Final = 5.0
"""After which what does not close by itself is killed."""
LOOK_SECONDS: Final = 0.5
"""Between two looks at how much memory there is in use."""
CLEAN_SECONDS: Final = 1.0
"""In which Playwright's driver removes what it made for a browser that was killed."""
BLAME_SECONDS: Final = 5.0
"""After an end for its memory, in which a page that is gone is gone because of it."""
INSTALL: Final = "apt-get install chromium, or set TASKMARK_BROWSER_PATH to a Chromium"
_EXIT: Final = re.compile(r"process did exit: exitCode=(\d+)")
_NO_PROGRAM: Final = ("Executable doesn't exist", "ENOENT", "EACCES", "Failed to launch")
_INHERITED: Final = ("PATH", "LANG", "LC_ALL", "TZ")
_ARGUMENTS: Final = (
    # Besides the proxy nothing has a name, and no address is an address.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    # A proxy passes on TCP only, so what speaks UDP would go round it.
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-quic",
)


def find_program(path: Path | None) -> str | None:
    """Returns the Chromium to start: the one that is set, else one that is there, else Playwright's own."""
    if path is not None:
        return str(path) if os.access(path, os.X_OK) else None
    installed = next((found for found in map(shutil.which, PROGRAMS) if found), None)
    base = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache/ms-playwright")
    return installed or next(map(str, sorted(base.glob("chromium-*/chrome-*/chrome"), reverse=True)), None)


class Lent:
    """What a step is lent: a context of its own, in a browser that it shares."""

    def __init__(self, context: BrowserContext, instance: _Instance, limits: BrowserLimits) -> None:
        self.context = context
        self.limits = limits
        self._instance = instance
        self.downloading = instance.downloading
        """Held by the one step that downloads: what is in the folder is of one file then."""

    @property
    def downloads(self) -> Path:
        """The folder in which the browser keeps what it downloads."""
        return self._instance.folder.path / "downloads"

    @property
    def is_exhausted(self) -> bool:
        """Whether a page that is gone by now was ended because there was too much memory in use."""
        return time.monotonic() - self._instance.ended_at < BLAME_SECONDS


class Chromium:
    """Lends contexts of one browser, which it starts and ends."""

    def __init__(self, path: Path | None = None, limits: BrowserLimits | None = None) -> None:
        self._path = path
        self._limits = limits or BrowserLimits()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places = Seats(self._limits.pages)
        self._starting: asyncio.Task[_Instance] | None = None
        self._endings: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def context(self, *, reduced: bool = False, **options: Any) -> AsyncIterator[Lent]:
        """Lends a new context, made with Playwright's options, and closes it, whatever happens to the step.
        Of those that are to use less, after a resource failure, there is one at a time.

        Raises `StepFailed` if there is no browser: configuration, or transient if it died at its start.
        """
        self._settle()
        async with self._places.taken(reduced=reduced):
            instance = await self._instance()
            instance.users += 1
            instance.lent += 1
            opening = asyncio.ensure_future(instance.browser.new_context(**options))
            try:
                yield Lent(await asyncio.shield(opening), instance, self._limits)
            finally:
                await to_the_end(_close(opening, instance))
                instance.users -= 1
                self._let_rest(instance)

    async def close(self) -> None:
        """Ends the browser, if there is one. The next step starts another."""
        if self._starting is not None:
            with suppress(StepFailed):
                self._dismiss(await asyncio.shield(self._starting))
        await asyncio.gather(*self._endings)

    def _settle(self) -> None:
        """Begins anew in another event loop: of the one before, nothing can be used any more."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if (instance := self._started) is not None:
            instance.kill()
        self._loop, self._starting, self._endings = loop, None, set()
        self._places = Seats(self._limits.pages)

    async def _instance(self) -> _Instance:
        """Returns a browser that lives, and starts one if there is none.

        Who waits for the start may be cancelled; the start goes on, because others may wait for it too.
        """
        while True:
            if self._starting is None:
                self._starting = asyncio.ensure_future(self._start())
            starting = self._starting
            try:
                instance = await asyncio.shield(starting)
            except StepFailed:
                if self._starting is starting:
                    self._starting = None
                raise
            if instance.is_alive:
                return instance
            self._dismiss(instance)

    @property
    def _started(self) -> _Instance | None:
        """The browser that has been started last, if it was."""
        starting = self._starting
        is_done = starting is not None and starting.done() and not starting.cancelled()
        return starting.result() if starting is not None and is_done and not starting.exception() else None

    async def _start(self) -> _Instance:
        program = find_program(self._path)
        if program is None:
            raise StepFailed("there is no Chromium", Category.CONFIGURATION, hint=INSTALL)
        instance = await _launch(program, self._limits)
        self._let_rest(instance)
        return instance

    def _let_rest(self, instance: _Instance) -> None:
        """Ends a browser that nobody uses, unless somebody does in time; one that has died at once."""
        if not instance.users:
            idle = self._limits.idle if instance.is_alive else 0.0
            asyncio.get_running_loop().call_later(idle, self._end_if_idle, instance, instance.lent)

    def _end_if_idle(self, instance: _Instance, lent: int) -> None:
        if not instance.users and instance.lent == lent:
            self._dismiss(instance)

    def _dismiss(self, instance: _Instance) -> None:
        """Ends a browser, beside everything else."""
        if self._started is instance:
            self._starting = None
        if instance.ending is None:
            instance.is_ending = True
            instance.ending = asyncio.ensure_future(instance.end())
            self._endings.add(instance.ending)
            instance.ending.add_done_callback(self._endings.discard)


class _Instance:
    """A browser that was started, and what surrounds it."""

    def __init__(
        self, browser: Browser, playwright: Playwright, process: psutil.Process, place: _Place
    ) -> None:
        self.browser = browser
        self._driver: psutil.Process = process.parent()
        """Playwright's, which has started it."""
        self._family = Family(self._driver, process, str(place.folder.path))
        self.users = 0
        """Steps that use it."""
        self.lent = 0
        """Contexts that were lent so far."""
        self.is_ending = False
        self.ending: asyncio.Task[None] | None = None
        self.ended_at = -BLAME_SECONDS
        """When something was ended for its memory last, by the monotonic clock."""
        self.downloading = asyncio.Lock()
        self.folder = place.folder
        self._playwright = playwright
        self._place = place
        self._watching: asyncio.Task[None] | None = None
        self._process = os.getpid()
        atexit.register(self.kill)

    @property
    def is_alive(self) -> bool:
        """Whether it can be used."""
        return self.browser.is_connected() and not self.is_ending and self._family.is_whole

    def watch(self, limit: int) -> None:
        """Begins to look after its memory."""
        self._watching = asyncio.ensure_future(self._watch(limit))

    async def _watch(self, limit: int) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self.users and (end := await asyncio.to_thread(excess, self._family, limit)):
                self.ended_at = time.monotonic()  # before its end: who sees that asks why
                await asyncio.to_thread(end)

    async def end(self) -> None:
        """Ends it, politely at first, and removes what it kept."""
        if self._watching is not None:
            self._watching.cancel()
        await asyncio.to_thread(self._family.members)  # who loses a parent now is known by then
        with suppress(Exception):  # what does not close by itself is killed, whatever the reason
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.browser.close()
                await self._playwright.stop()
        await asyncio.to_thread(self.kill)

    def kill(self) -> None:
        """Ends it at once, from wherever, and removes what it kept. May be called twice."""
        if os.getpid() != self._process:
            return  # a copy of the worker that ends is no worker that ends
        self.is_ending = True
        atexit.unregister(self.kill)
        self._family.kill(spare=self._driver)
        self._place.await_removal()
        self._family.kill()
        self._place.remove()


@dataclass(frozen=True)
class _Place:
    """What a browser has outside of its processes."""

    folder: Folder
    nowhere: socket.socket
    """An address on which nobody listens: where a context without a proxy would connect to."""
    profile: str = ""
    """The folder that Playwright's driver made for it, and removes once the browser is gone."""

    def await_removal(self) -> None:
        """Gives the driver a moment to remove what it made."""
        deadline = time.monotonic() + CLEAN_SECONDS
        while self.profile and os.path.exists(self.profile) and time.monotonic() < deadline:
            time.sleep(0.02)

    def remove(self) -> None:
        """Removes it. May be called twice."""
        self.folder.remove()
        self.nowhere.close()
        if self.profile:
            shutil.rmtree(self.profile, ignore_errors=True)


# --- its start and its end ------------------------------------------------------------------------


async def _launch(program: str, limits: BrowserLimits) -> _Instance:
    """Starts a browser. Raises `StepFailed`."""
    try:
        from playwright.async_api import Error, async_playwright
    except ImportError as error:
        hint = "pip install 'taskmark[browser]'"
        raise StepFailed("Playwright is not installed", Category.CONFIGURATION, hint=hint) from error
    place = _Place(await asyncio.to_thread(new_folder), _nowhere())
    playwright = None
    try:
        playwright = await async_playwright().start()
        browser = await playwright.chromium.launch(**_options(program, place))
        process = await _process_of(browser)
        words = process.cmdline()
    except (Error, OSError, psutil.Error) as error:
        if playwright is not None:
            await playwright.stop()
        place.remove()
        raise _not_started(error) from error
    profile = next((word.partition("=")[2] for word in words if word.startswith("--user-data-dir=")), "")
    instance = _Instance(browser, playwright, process, replace(place, profile=profile))
    instance.watch(limits.memory)
    return instance


def _options(program: str, place: _Place) -> dict[str, Any]:
    """Returns how the browser is started."""
    home = str(place.folder.path)
    homes = dict.fromkeys(("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), home)
    port = place.nowhere.getsockname()[1]
    return {
        "executable_path": program,
        "headless": True,
        "args": list(_ARGUMENTS),
        "env": {**{name: os.environ[name] for name in _INHERITED if name in os.environ}, **homes},
        "proxy": {"server": f"http://127.0.0.1:{port}", "bypass": "<-loopback>"},
        "chromium_sandbox": os.geteuid() != 0,
        "downloads_path": place.folder.path / "downloads",
        "timeout": START_SECONDS * 1000,
        # Ctrl-C reaches the driver too, but the worker lets its steps go on for a while.
        "handle_sigint": False,
    }


def _nowhere() -> socket.socket:
    """Returns a socket with a port of its own that takes no connection."""
    nowhere = socket.socket()
    nowhere.bind(("127.0.0.1", 0))
    return nowhere


async def _process_of(browser: Browser) -> psutil.Process:
    """Returns the process of a browser that has just started. Raises `psutil.Error` if it is gone."""
    session = await browser.new_browser_cdp_session()
    told = await session.send("SystemInfo.getProcessInfo")
    await session.detach()
    return psutil.Process(next(one["id"] for one in told["processInfo"] if one["type"] == "browser"))


def _not_started(error: Exception) -> StepFailed:
    said = str(error)
    first = next((line.strip() for line in said.splitlines() if line.strip()), type(error).__name__)[:300]
    if "sandboxing failed" in said or "No usable sandbox" in said:
        hint = "allow user namespaces to the worker's user, or install chromium-sandbox"
        return StepFailed("Chromium cannot make its sandbox", Category.CONFIGURATION, hint=hint)
    code = _EXIT.search(said)
    if (code and code[1] in ("126", "127")) or any(word in said for word in _NO_PROGRAM):
        return StepFailed("Chromium cannot be started", Category.CONFIGURATION, hint=INSTALL)
    return StepFailed(f"Chromium did not start: {f'exit code {code[1]}' if code else first}")


async def _close(opening: asyncio.Future[BrowserContext], instance: _Instance) -> None:
    """Closes a context. A browser that does not do even that is ended; its other steps begin anew."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            context = await opening
            await context.close()
    except TimeoutError:
        await asyncio.to_thread(instance.kill)
    except Exception:  # noqa: S110  # the browser is gone, and its context with it
        pass
