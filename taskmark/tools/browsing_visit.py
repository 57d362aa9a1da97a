"""A visit: one page, and what is done there.

The page belongs to somebody else. What it opens besides is closed, its dialogs are dismissed, what it
offers to download unasked is not taken, and what it gives is cut before it leaves the browser.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import httpx2

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.tools import browser as told
from taskmark.tools.browsing_failures import bad_status, is_loss, late, lost, meaning
from taskmark.tools.browsing_proxy import place
from taskmark.tools.confinement import components, parent_directory, reporting
from taskmark.tools.files import mode_of, put, replace
from taskmark.tools.finishing import to_the_end
from taskmark.tools.journal import remember
from taskmark.tools.network import DEFAULT_PORTS
from taskmark.tools.room import check_room

if TYPE_CHECKING:
    from playwright.async_api import Download, Error, Locator, Page, Request, Response

    from taskmark.ports import StepContext
    from taskmark.task.model import Json
    from taskmark.tools.browsing_chromium import Lent
    from taskmark.tools.browsing_proxy import Proxy
    from taskmark.tools.network import NetworkPolicy

LARGEST_PICTURE: Final = 32 * 1024**2
"""Bytes of a screenshot, which has to fit into memory."""
MOST_REFUSED: Final = 20
"""Hosts of which the output says that they were refused."""
LONGEST_TITLE: Final = 1_000
LONGEST_URL: Final = 4_000
DISCARD_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.1
"""Between two looks at how large a file has become."""
_PART: Final = 1024**2
_NO_PAGE: Final = "chrome-error:"
# Written without any function that the page could replace by one of its own: no more than `most` characters
# leave it in all, and one more shows that there were more.
_TEXTS: Final = """(elements, {attribute, every, most}) => {
  const texts = [];
  let left = most + 1;
  for (let at = 0; at < elements.length && (every || at < 1) && left > 0; at++) {
    const element = elements[at];
    const shown = () => element.innerText ?? element.textContent;
    const found = attribute === null ? shown() : element.getAttribute(attribute);
    if (found === null || found === undefined) { texts[texts.length] = null; left -= 5; continue; }
    const text = "" + found;
    let kept = "";
    for (let index = 0; index < text.length && left > 0; index++) { kept += text[index]; left--; }
    left -= 3;
    texts[texts.length] = kept;
  }
  return {texts, cut: left <= 0};
}"""


class Visit:
    """One step's visit to a page."""

    def __init__(
        self,
        lent: Lent,
        proxy: Proxy,
        policy: NetworkPolicy,
        parameters: told.BrowserParameters,
        context: StepContext,
    ) -> None:
        self._lent = lent
        self._proxy = proxy
        self._parameters = parameters
        self._context = context
        self._policy = policy
        self._status: int | None = None
        self._failed_url = ""
        """Of the last page that did not load."""
        self._broken: asyncio.Future[StepFailed] = asyncio.get_running_loop().create_future()
        """Why the page is of no use any more."""
        self._wanted: asyncio.Future[Download] | None = None
        """The file that an action waits for."""
        self._beside: set[asyncio.Future[None]] = set()
        self._values: dict[str, Json] = {}
        self._screenshots: list[Json] = []
        self._downloads: list[Json] = []

    async def run(self) -> Json:
        """Returns what the tool returns. Raises `StepFailed`."""
        page = await self._doing("the browser", 0, self._lent.context.new_page)
        self._listen(page)
        await self._open(page, self._parameters.url)
        for number, action in enumerate(self._parameters.actions, 1):
            self._context.say(f"{number} of {len(self._parameters.actions)}: {_shown(action)}")
            await self._act(page, action)
            self._check_page(page)
        return await self._output(page)

    async def _output(self, page: Page) -> Json:
        title = await self._doing("the title", self._parameters.load_timeout, page.title)
        refused = self._proxy.refused
        return {
            "url": page.url[:LONGEST_URL],
            "title": title[:LONGEST_TITLE],
            "status": self._status,
            "values": self._values,
            "screenshots": self._screenshots,
            "downloads": self._downloads,
            "refused": refused[:MOST_REFUSED],
        }

    # --- what the page does by itself ---

    def _listen(self, page: Page) -> None:
        """Listens to what the page does besides what it is told."""
        page.on("response", self._on_response)
        page.on("requestfailed", self._on_failed)
        page.on("crash", self._on_crash)
        page.on("download", self._on_download)
        self._lent.context.on("page", lambda other: self._do_beside(other.close()))

    def _on_response(self, response: Response) -> None:
        if _is_of_page(response.request):
            self._status = response.status

    def _on_failed(self, request: Request) -> None:
        """Whoever leads a page to where it may not go has nothing to wait for."""
        if _is_of_page(request):
            self._failed_url = request.url
            problem = self._problem
            if problem is not None and problem.category is Category.CONFIGURATION:
                self._break(problem)

    def _on_crash(self, _page: Page) -> None:
        self._break(lost("the page", exhausted=self._lent.is_exhausted, limit=self._lent.limits.memory))

    def _break(self, reason: StepFailed) -> None:
        if not self._broken.done():
            self._broken.set_result(reason)

    def _on_download(self, download: Download) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(download)
        else:
            self._do_beside(download.cancel())

    def _do_beside(self, work: Awaitable[None]) -> None:
        """Does something that nobody waits for; that it fails because the visit is over does not matter."""
        doing = asyncio.ensure_future(_quietly(work))
        self._beside.add(doing)
        doing.add_done_callback(self._beside.discard)

    # --- what it is told ---

    async def _act(self, page: Page, action: told.Action) -> None:
        """Does one thing. Raises `StepFailed`."""
        match action:
            case told.Open():
                await self._open(page, action.open)
            case told.Fill():
                work = partial(page.locator(action.fill).fill, action.value, timeout=action.timeout * 1000)
                await self._doing(f"fill {action.fill}", action.timeout, work)
            case told.Click():
                await self._click(page, action)
            case told.WaitFor():
                await self._wait_for(page, action)
            case told.Extract():
                await self._extract(page, action)
            case told.Screenshot():
                await self._picture(page, action)
            case told.Download():
                await self._download(page, action)

    async def _open(self, page: Page, url: str) -> None:
        """Goes to a URL and waits for its page. Raises `StepFailed`."""
        checked = check_url(url, self._policy)
        self._context.say(f"opens {checked.host}")
        seconds, until = self._parameters.load_timeout, self._parameters.wait_until
        work = partial(page.goto, url, timeout=seconds * 1000, wait_until=until)
        await self._doing(f"open {checked.host}", seconds, work)
        self._check_page(page)

    async def _click(self, page: Page, action: told.Click) -> None:
        work = partial(page.locator(action.click).click, timeout=action.timeout * 1000)
        await self._doing(f"click {action.click}", action.timeout, work)
        seconds, until = self._parameters.load_timeout, self._parameters.wait_until
        if until != "commit":
            work = partial(page.wait_for_load_state, until, timeout=seconds * 1000)
            await self._doing(f"the page after {action.click}", seconds, work)

    async def _wait_for(self, page: Page, action: told.WaitFor) -> None:
        first = page.locator(action.wait_for).first
        work = partial(first.wait_for, state=action.state, timeout=action.timeout * 1000)
        await self._doing(f"wait for {action.wait_for}", action.timeout, work)

    async def _extract(self, page: Page, action: told.Extract) -> None:
        selection, what = action.selection, f"extract {action.selection.selector}"
        found = page.locator(selection.selector)
        if not selection.every:
            work = partial(found.first.wait_for, state="attached", timeout=action.timeout * 1000)
            await self._doing(what, action.timeout, work)
        asked = {"attribute": selection.attribute, "every": selection.every, "most": ADAPTER_LIMIT}
        output = await self._doing(what, action.timeout, partial(_texts, found, asked))
        if output["cut"]:
            raise StepFailed(
                f"{what}: more than {ADAPTER_LIMIT:,} characters", Category.RESOURCE, hint=told.TOO_LARGE
            )
        texts = output["texts"]
        self._values[action.key] = texts if selection.every else next(iter(texts), None)

    async def _picture(self, page: Page, action: told.Screenshot) -> None:
        path = action.screenshot
        kind: Literal["png", "jpeg"] = "png" if path.lower().endswith(".png") else "jpeg"
        work = partial(page.screenshot, type=kind, full_page=action.full_page, timeout=action.timeout * 1000)
        content = await self._doing(f"screenshot {path}", action.timeout, work)
        if len(content) > LARGEST_PICTURE:
            raise _too_large(f"screenshot {path}", LARGEST_PICTURE)
        await asyncio.to_thread(replace, self._context, path, content, True)
        self._screenshots.append({"path": path, "bytes": len(content)})

    async def _download(self, page: Page, action: told.Download) -> None:
        """Clicks, and keeps the file that this gives. One step of a worker does so at a time."""
        what = f"download {action.download}"
        async with self._lent.downloading:
            download = await self._begun(page, action, what)
            try:
                path = await self._doing(what, 0, partial(self._fetched, download, what))
                size = await asyncio.to_thread(_keep, path, action.to, self._context)
            finally:
                await to_the_end(_discard(download))
        name = download.suggested_filename[:255]
        self._downloads.append({"path": action.to, "bytes": size, "name": name})

    async def _begun(self, page: Page, action: told.Download, what: str) -> Download:
        """Clicks, and returns the download that begins. Raises `StepFailed`."""
        self._wanted = asyncio.get_running_loop().create_future()
        try:
            work = partial(page.locator(action.download).click, timeout=action.timeout * 1000)
            await self._doing(what, action.timeout, work)
            async with asyncio.timeout(action.timeout):
                return await self._unless_broken(self._wanted)  # type: ignore[no-any-return] # it is one
        except TimeoutError as error:
            raise late(what, action.timeout) from error
        finally:
            self._wanted = None

    async def _fetched(self, download: Download, what: str) -> Path:
        """Returns where the whole file is. Raises `StepFailed` (resource) as soon as it is too large."""
        ending = asyncio.ensure_future(download.path())
        try:
            while not ending.done():
                await asyncio.wait({ending}, timeout=LOOK_SECONDS)
                if await asyncio.to_thread(_bytes_in, self._lent.downloads) > self._lent.limits.download:
                    raise _too_large(what, self._lent.limits.download)
            return Path(ending.result())
        finally:
            ending.cancel()

    # --- what goes wrong ---

    async def _doing(self, what: str, seconds: float, work: Callable[[], Awaitable[Any]]) -> Any:
        """Returns what an action of Playwright's returns. Raises `StepFailed` with what went wrong."""
        from playwright.async_api import Error
        from playwright.async_api import TimeoutError as Late

        try:
            return await self._unless_broken(work())
        except Late as error:
            raise late(what, seconds) from error
        except Error as error:
            raise self._failure(what, error) from error

    async def _unless_broken(self, work: Awaitable[Any]) -> Any:
        """Returns what the work returns. Raises `StepFailed` as soon as the page is of no use any more."""
        doing = asyncio.ensure_future(work)
        try:
            await asyncio.wait({doing, self._broken}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise self._broken.result()
            return doing.result()
        finally:
            doing.cancel()

    def _failure(self, what: str, error: Error) -> StepFailed:
        if is_loss(error):
            return lost(what, exhausted=self._lent.is_exhausted, limit=self._lent.limits.memory)
        problem = self._problem
        return problem if problem is not None and "net::ERR_" in error.message else meaning(what, error)

    @property
    def _problem(self) -> StepFailed | None:
        """Why the page that did not load last could not be connected to, if that is why."""
        return self._proxy.problems.get(_place(self._failed_url))

    def _check_page(self, page: Page) -> None:
        """Raises `StepFailed` if an action led to a page that did not load, or whose status is bad."""
        if page.url.startswith(_NO_PAGE):
            raise self._problem or StepFailed(f"{_host(self._failed_url) or 'the page'} did not load")
        if self._status is not None and self._status >= 400 and self._parameters.raise_for_status:
            raise bad_status(_host(page.url), self._status)


async def _texts(found: Locator, asked: Mapping[str, Any]) -> Any:
    """Returns the texts of elements. A page that is just being replaced is asked once more."""
    from playwright.async_api import Error

    try:
        return await found.evaluate_all(_TEXTS, asked)
    except Error as error:
        if "context was destroyed" not in error.message:
            raise
    await found.page.wait_for_load_state()
    return await found.evaluate_all(_TEXTS, asked)


async def _discard(download: Download) -> None:
    """Ends a download, and removes what there is of it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            await _quietly(download.cancel())
            await _quietly(download.delete())


async def _quietly(work: Awaitable[None]) -> None:
    from playwright.async_api import Error

    with suppress(Error):
        await work


def check(parameters: told.BrowserParameters, root: Path, policy: NetworkPolicy) -> None:
    """Raises `StepFailed` (configuration) for a URL or a file that may not be, before anything is done."""
    check_url(parameters.url, policy)
    for action in parameters.actions:
        if isinstance(action, told.Open):
            check_url(action.open, policy)
        if isinstance(action, told.Screenshot):
            components(root, action.screenshot)
        if isinstance(action, told.Download):
            components(root, action.to)


def check_url(url: str, policy: NetworkPolicy) -> httpx2.URL:
    """Returns a URL that may be visited. Raises `StepFailed` (configuration)."""
    try:
        checked = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise StepFailed(f"the URL is none: {error}", Category.CONFIGURATION) from error
    policy.check_url(checked)
    return checked


def _is_of_page(request: Request) -> bool:
    """Whether a request is for the page itself, and not for what is in it."""
    from playwright.async_api import Error

    try:
        return request.is_navigation_request() and request.frame.parent_frame is None
    except Error:  # its frame is gone already, or not there yet
        return False


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _place(url: str) -> str:
    """Returns the `host:port` of a URL that the browser asked for."""
    host, parts = _host(url), urlsplit(url)
    return place(host, parts.port or DEFAULT_PORTS.get(parts.scheme, 0)) if host else ""


def _shown(action: told.Action) -> str:
    """Returns an action for who watches, without what is filled in."""
    name, target = next(iter(action.model_dump(by_alias=True).items()))
    selector = target.get("selector") if isinstance(target, Mapping) else target
    return f"{name} {_host(target) if name == 'open' else selector}"


def _bytes_in(folder: Path) -> int:
    """Returns how much there is in a folder; what vanishes meanwhile counts nothing."""
    total = 0
    for file in folder.glob("*"):
        try:
            total += file.stat().st_size
        except OSError:
            continue
    return total


def _keep(path: Path, to: str, context: StepContext) -> int:
    """Copies a file under the root, whole or not at all, and returns its bytes. Raises `StepFailed`."""
    remember(context, to)
    with (
        open(path, "rb") as file,
        parent_directory(context.root, to, create=True) as (parent, name),
        reporting(to),
    ):
        size = path.stat().st_size
        check_room(parent, size, to)
        put(parent, name, partial(shutil.copyfileobj, file, length=_PART), mode_of(parent, name, to))
    return size


def _too_large(what: str, limit: int) -> StepFailed:
    return StepFailed(f"{what}: more than {limit:,} bytes", Category.RESOURCE)
