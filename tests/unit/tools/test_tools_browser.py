"""The tool `browser`: a real Chromium, on pages of servers of our own, and kept from everything else."""

import asyncio
import gzip
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.tools.browser import Browser
from taskmark.tools.browsing_chromium import find_program
from taskmark.tools.browsing_folders import PREFIX, new_folder
from taskmark.tools.browsing_limits import BrowserLimits
from taskmark.tools.browsing_proxy import Proxy
from taskmark.tools.network import NetworkPolicy, resolve

pytest.importorskip("playwright")
needs_chromium = pytest.mark.skipif(find_program(None) is None, reason="there is no Chromium")
pytestmark = needs_chromium

Call = Callable[..., Awaitable[Any]]
ANYWHERE = NetworkPolicy(allow_private=True)
HTML = "Content-Type: text/html; charset=utf-8"


# --- servers --------------------------------------------------------------------------------------


@dataclass
class Site:
    """A server with pages by path; it keeps what it is asked."""

    pages: dict[str, bytes] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    host: str = "127.0.0.1"
    port: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head)
            path = head.split(b" ")[1].decode().partition("?")[0]
            writer.write(self.pages.get(path, answer("404 Not Found", "nothing here")))
            await writer.drain()
        writer.close()

    def url(self, path: str = "/", host: str | None = None) -> str:
        return f"http://{host or self.host}:{self.port}{path}"

    def asked(self, path: str) -> list[bytes]:
        return [head for head in self.requests if head.split(b" ")[1].split(b"?")[0] == path.encode()]


def answer(status: str, body: str | bytes = b"", *headers: str) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def html(body: str, *headers: str) -> bytes:
    return answer("200 OK", f"<!doctype html><title>Shop</title>{body}", HTML, *headers)


@asynccontextmanager
async def serving(host: str = "127.0.0.1", **pages: bytes) -> AsyncIterator[Site]:
    """Serves the pages: `start` at `/`, others under their names."""
    site = Site({"/" if name == "start" else f"/{name}": page for name, page in pages.items()}, host=host)
    listener = await asyncio.start_server(site.handle, host, 0)
    site.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield site


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for the tests that do it no harm."""
    tool = Browser(ANYWHERE)
    yield tool
    await tool.close()


# --- what it does ---------------------------------------------------------------------------------

FORM = """
<h1>Search</h1>
<form action="/found"><input id="q" name="q"><input type="submit" value="Go"></form>
"""
FOUND = """
<h1>Found <em>two</em></h1><script>
setTimeout(() => document.body.insertAdjacentHTML('beforeend', '<p id="result">done</p>'), 100)
</script>
<a class="row" href="/a">first</a><a class="row" href="/b">second</a><a class="row">third</a>
<p class="none"></p>
"""


async def test_a_form_is_filled_in_and_what_is_found_is_extracted(call: Call, browser: Browser) -> None:
    """One after the other, in one page; the last page is the one that is told of."""
    async with serving(start=html(FORM), found=html(FOUND)) as site:
        output = await call(
            browser,
            url=site.url(),
            actions=[
                {"fill": "#q", "value": "tea & cakes"},
                {"click": "text=Go"},
                {"waitFor": "#result", "timeout": "5s"},
                {"extract": "h1"},
                {"extract": {"selector": ".row", "every": True}, "as": "texts"},
                {"extract": {"selector": ".row", "every": True, "attribute": "href"}, "as": "links"},
                {"extract": {"selector": ".missing", "every": True}, "as": "nothing"},
            ],
        )
    assert output["url"] == site.url("/found?q=tea+%26+cakes")
    assert (output["title"], output["status"], output["refused"]) == ("Shop", 200, [])
    assert output["values"] == {
        "h1": "Found two",
        "texts": ["first", "second", "third"],
        "links": ["/a", "/b", None],
        "nothing": [],
    }


async def test_what_a_page_becomes_later_is_waited_for(call: Call, browser: Browser) -> None:
    page = """<p id="now">wait</p><script>setTimeout(() => document.querySelector('#now').remove(), 100);
    setTimeout(() => document.body.insertAdjacentHTML('beforeend', '<b>later</b>'), 150)</script>"""
    async with serving(start=html(page)) as site:
        actions = [{"waitFor": "#now", "state": "detached"}, {"extract": "b"}]
        output = await call(browser, url=site.url(), actions=actions)
    assert output["values"] == {"b": "later"}


async def test_screenshots_are_files_under_the_root(call: Call, browser: Browser, root: Path) -> None:
    async with serving(start=html("<div style='height: 3000px; background: teal'>x</div>")) as site:
        output = await call(
            browser,
            url=site.url(),
            viewport={"width": 400, "height": 300},
            actions=[{"screenshot": "shots/a.png"}, {"screenshot": "b.jpg", "fullPage": True}],
        )
    content = (root / "shots/a.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert (int.from_bytes(content[16:20]), int.from_bytes(content[20:24])) == (400, 300)
    assert (root / "b.jpg").read_bytes().startswith(b"\xff\xd8")
    assert output["screenshots"][0] == {"path": "shots/a.png", "bytes": len(content)}
    assert [shot["path"] for shot in output["screenshots"]] == ["shots/a.png", "b.jpg"]


async def test_no_screenshot_and_no_download_leaves_the_root(
    call: Call, browser: Browser, root: Path, tmp_path: Path
) -> None:
    (root / "link").symlink_to(tmp_path)
    file = answer("200 OK", "x", "Content-Disposition: attachment; filename=../../x")
    async with serving(start=html("<a href='/file'>file</a>"), file=file) as site:
        for path in ("../x.png", "/etc/x.png", "link/x.png", ".taskmark/x.png"):
            for action in ({"screenshot": path}, {"download": "a", "to": path}):
                with pytest.raises(StepFailed, match="is refused") as caught:
                    await call(browser, url=site.url(), actions=[action])
                assert caught.value.category is Category.CONFIGURATION
    assert sorted(os.listdir(tmp_path)) == ["root"]
    assert len(site.asked("/")) == 2, "only a link is seen no earlier than when it is written to"


async def test_a_download_is_kept_where_it_is_asked_for(call: Call, browser: Browser, root: Path) -> None:
    """Whatever name the server gives it; and nothing of it is left elsewhere."""
    content = os.urandom(300_000)
    file = answer("200 OK", content, "Content-Disposition: attachment; filename=../../passwd")
    async with serving(start=html("<a class='report' href='/file'>file</a>"), file=file) as site:
        action = {"download": "a.report", "to": "kept/report.bin"}
        output = await call(browser, url=site.url(), actions=[action, {"extract": "a"}])
    assert (root / "kept/report.bin").read_bytes() == content
    assert output["downloads"] == [{"path": "kept/report.bin", "bytes": 300_000, "name": "_.._passwd"}]
    assert output["values"] == {"a": "file"}
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["report.bin"]


async def test_a_download_that_nobody_asked_for_is_not_taken(
    call: Call, browser: Browser, root: Path
) -> None:
    file = answer("200 OK", "x" * 5000, "Content-Disposition: attachment; filename=virus.exe")
    page = "<p>here</p><script>setTimeout(() => { location = '/file' }, 50)</script>"
    async with serving(start=html(page), file=file) as site:
        actions = [{"waitFor": "#never", "timeout": "500ms"}]
        with pytest.raises(StepFailed, match="not possible within"):
            await call(browser, url=site.url(), actions=actions)
        asks = [*actions, {"download": "a", "to": "x"}]  # another one is asked for, so that some are taken
        with pytest.raises(StepFailed, match="not possible within"):
            await call(browser, url=site.url(), actions=asks)
        assert site.asked("/file")
    assert list(root.iterdir()) == []


async def test_a_download_that_is_too_large_ends_as_soon_as_it_is(call: Call, root: Path) -> None:
    """Also if it is small on the wire: what counts is what it takes on the disk."""
    tool = Browser(ANYWHERE, limits=BrowserLimits(download=100_000))
    bomb = gzip.compress(b"x" * 40_000_000)
    headers = ("Content-Disposition: attachment; filename=x", "Content-Encoding: gzip")
    async with serving(start=html("<a href='/file'>f</a>"), file=answer("200 OK", bomb, *headers)) as site:
        with pytest.raises(StepFailed, match="more than 100,000 bytes") as caught:
            await call(tool, url=site.url(), actions=[{"download": "a", "to": "x"}])
        assert caught.value.category is Category.RESOURCE
    await tool.close()
    assert list(root.iterdir()) == []


async def test_steps_share_nothing(call: Call, browser: Browser) -> None:
    """No cookie, and nothing that a page stored."""
    page = """<p>none</p><script>
    document.querySelector('p').textContent = document.cookie + (localStorage.x ?? '');
    localStorage.x = 'stored'; document.cookie = 'c=1'</script>"""
    async with serving(start=html(page)) as site:
        for _ in range(2):
            output = await call(browser, url=site.url(), actions=[{"extract": "p"}])
            assert output["values"] == {"p": ""}
    assert not any(b"cookie:" in head.lower() for head in site.asked("/"))


async def test_a_page_that_opens_others_or_asks_goes_on_alone(call: Call, browser: Browser) -> None:
    page = (
        "<p>x</p><script>for (let i = 0; i < 5; i++) window.open('/other'); alert('?'); confirm('!')</script>"
    )
    async with serving(start=html(page), other=html("other")) as site:
        output = await call(browser, url=site.url(), actions=[{"extract": "p"}])
    assert output["values"] == {"p": "x"}
    assert output["url"] == site.url()


async def test_a_page_cannot_read_files(call: Call, browser: Browser, root: Path) -> None:
    (root / "mine").write_text("hunter2")
    page = f"""<iframe src="file://{root}/mine"></iframe><script>
    fetch("file://{root}/mine").then(got => got.text()).catch(() => "refused")
        .then(said => document.body.insertAdjacentHTML("beforeend", "<p>" + said + "</p>"));
    </script>"""
    async with serving(start=html(page)) as site:
        output = await call(browser, url=site.url(), actions=[{"extract": "p"}])
    assert output["values"] == {"p": "refused"}


async def test_a_user_agent_is_sent(call: Call, browser: Browser) -> None:
    async with serving(start=html("x")) as site:
        await call(browser, url=site.url(), userAgent="garden/1.0")
    assert b"user-agent: garden/1.0\r\n" in site.requests[0].lower()


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "problem"),
    [
        ([{"fill": "#q"}], "value"),
        ([{"press": "Enter"}], "an action has one of the keys open, fill, click"),
        ([{"click": "a", "fill": "b", "value": "c"}], "an action has one of the keys"),
        ([{"click": ""}], "at least 1 character"),
        ([{"click": "a", "timeout": "soon"}], "is not a duration"),
        ([{"screenshot": "x.pdf"}], "a picture is"),
        ([{"extract": "h1"}, {"extract": {"selector": "h1"}}], "two values are named 'h1'"),
        (["click"], "an action has one of the keys"),
        ([{"click": "a"}] * 101, "100"),
    ],
)
def test_actions_that_cannot_be_are_refused(actions: list[Any], problem: str) -> None:
    with pytest.raises(StepFailed, match=problem) as caught:
        Browser().validate({"url": "http://x/", "actions": actions})
    assert caught.value.category is Category.CONFIGURATION


def test_the_schema_tells_the_keys_of_each_action() -> None:
    schema = Browser().parameters.model_json_schema()
    kinds = schema["properties"]["actions"]["items"]["oneOf"]
    names = [kind["$ref"].rpartition("/")[2] for kind in kinds]
    assert {"waitFor", "state", "timeout"} == set(schema["$defs"][names[3]]["properties"])
    assert {"extract", "as", "timeout"} == set(schema["$defs"][names[4]]["properties"])
    assert schema["properties"]["timeout"]["default"] == "60s"


@pytest.mark.parametrize(
    ("action", "problem", "category"),
    [
        (
            {"click": "#missing", "timeout": "300ms"},
            r"click #missing: not possible within 0\.3 s",
            Category.TRANSIENT,
        ),
        ({"click": "li"}, "resolved to 2 elements", Category.LOGIC),
        ({"click": "a["}, "click a", Category.CONFIGURATION),
        ({"fill": "h1", "value": "hunter2"}, "fill h1", Category.LOGIC),
        ({"fill": "#missing", "value": "hunter2", "timeout": "300ms"}, "fill #missing", Category.TRANSIENT),
        ({"extract": "#large"}, "more than 262,144 characters", Category.RESOURCE),
        (
            {"download": "li >> nth=0", "to": "x", "timeout": "300ms"},
            r"download li >> nth=0: not",
            Category.TRANSIENT,
        ),
        ({"open": "file:///etc/passwd"}, "only http and https are spoken", Category.CONFIGURATION),
    ],
)
async def test_an_action_that_is_not_possible_says_why(
    action: dict[str, Any], problem: str, category: Category, call: Call, browser: Browser
) -> None:
    """And never what was to be filled in."""
    page = f"<h1>x</h1><li>1</li><li>2</li><pre id=large>{'y' * (ADAPTER_LIMIT + 1)}</pre>"
    async with serving(start=html(page)) as site:
        with pytest.raises(StepFailed, match=problem) as caught:
            await call(browser, url=site.url(), actions=[action])
    assert caught.value.category is category
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"


async def test_a_page_that_lies_about_its_text_gets_no_more_of_it_out(call: Call, browser: Browser) -> None:
    page = """<p>short</p><script>
    const long = 'z'.repeat(50_000_000);
    Object.defineProperty(HTMLElement.prototype, 'innerText', {get: () => long});
    String.prototype.slice = String.prototype.substring = String.prototype.toString = () => long;
    </script>"""
    async with serving(start=html(page)) as site:
        with pytest.raises(StepFailed, match="more than 262,144 characters"):
            await call(browser, url=site.url(), actions=[{"extract": "p"}])


@pytest.mark.parametrize(
    ("status", "category"),
    [(503, Category.TRANSIENT), (429, Category.TRANSIENT), (403, Category.PERMISSION), (404, Category.LOGIC)],
)
async def test_each_status_has_its_category(
    status: int, category: Category, call: Call, browser: Browser
) -> None:
    async with serving(start=answer(f"{status} Sorry", "<p>sorry</p>", HTML)) as site:
        with pytest.raises(StepFailed, match=rf"127\.0\.0\.1 answers {status}") as caught:
            await call(browser, url=site.url())
        assert caught.value.category is category
        output = await call(browser, url=site.url(), raiseForStatus=False, actions=[{"extract": "p"}])
    assert (output["status"], output["values"]) == (status, {"p": "sorry"})


async def test_a_page_that_is_not_there_or_never_loads_is_transient(call: Call, browser: Browser) -> None:
    """And the secret in its query is not repeated."""
    async with serving() as site:
        pass
    with pytest.raises(StepFailed, match=r"127\.0\.0\.1: ") as gone:
        await call(browser, url=site.url("/?token=hunter2"))
    with pytest.raises(StepFailed, match="cannot be resolved") as unknown:
        await call(browser, url="http://no-such-host.invalid/?token=hunter2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/?token=hunter2"
        with pytest.raises(StepFailed, match=r"within 0\.5 s") as slow:
            await call(browser, url=url, loadTimeout="500ms")
        with pytest.raises(StepFailed, match=r"not over within 0\.5 s") as late:
            await call(browser, url=url, timeout="500ms")
    for error in (gone, unknown, slow, late):
        assert error.value.category is Category.TRANSIENT
        assert "hunter2" not in error.value.message


async def test_a_link_to_where_nobody_may_go_is_told_of_as_such(call: Call) -> None:
    """Also when it is clicked, or when a page leads there by itself."""
    tool = Browser(NetworkPolicy(allow_hosts=("127.0.0.1",), allow_private=True))
    async with serving() as site:
        site.pages["/"] = html(f"<a href='{site.url(host='localhost')}'>away</a>")
        site.pages["/away"] = answer("302 Found", "", f"Location: {site.url(host='localhost')}")
        for url, actions in ((site.url(), [{"click": "a"}, {"extract": "a"}]), (site.url("/away"), [])):
            with pytest.raises(StepFailed, match="localhost is refused: it is not among") as caught:
                await call(tool, url=url, actions=actions)
            assert caught.value.category is Category.CONFIGURATION
    await tool.close()


# --- where it may not go --------------------------------------------------------------------------

HERE = "127.0.0.2"
"""The one address that the page's own server has; it counts as public."""
NAMES = {
    "app.localhost": HERE,
    "public.test": HERE,
    "private.test": "127.0.0.1",
    "meta.test": "169.254.169.254",
}


@dataclass(frozen=True)
class OnlyHere(NetworkPolicy):
    """The policy as it is, for which one more address is public."""

    def check_addresses(self, host: str, addresses: Any) -> None:
        super().check_addresses(host, [address for address in addresses if address != HERE])


async def named(host: str, port: int) -> Any:
    return [NAMES[host]] if host in NAMES else await resolve(host, port)


@dataclass
class Trap:
    """Everything that listens on this machine and is not to be reached; it counts who comes."""

    tcp: int = 0
    udp: int = 0
    port: int = 0

    def came(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tcp += 1
        writer.close()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, trap: Trap) -> None:
        self._trap = trap

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._trap.udp += 1


@asynccontextmanager
async def trapped() -> AsyncIterator[Trap]:
    """A port on which somebody listens at loopback's addresses, with streams and with datagrams."""
    trap, loop = Trap(), asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        for host in ("127.0.0.1", "::1") if socket.has_ipv6 else ("127.0.0.1",):
            listener = await asyncio.start_server(trap.came, host, trap.port)
            trap.port = listener.sockets[0].getsockname()[1]
            await stack.enter_async_context(listener)
            transport, _ = await loop.create_datagram_endpoint(
                lambda: Datagrams(trap), local_addr=(host, trap.port)
            )
            stack.callback(transport.close)
        yield trap


TRICKS = """
<img src="{to}/img"><script src="{to}/script"></script><link rel=stylesheet href="{to}/css">
<iframe src="{to}/frame"></iframe><object data="{to}/object"></object><embed src="{to}/embed">
<video src="{to}/video"></video><link rel=preconnect href="{to}"><link rel=dns-prefetch href="{to}">
<link rel=prefetch href="{to}/prefetch"><link rel=preload as=fetch href="{to}/preload">
<style>@import "{to}/import"; body {{ background: url({to}/background) }}</style>
<iframe srcdoc="<img src='{to}/inner'>"></iframe><iframe src="file:///etc/passwd"></iframe>
<form id=f method=post target=t action="{to}/form"></form><iframe name=t></iframe>
<a id=ping href="#here" ping="{to}/ping">x</a>
<script>
const to = "{to}", ws = to.replace("http", "ws");
const quietly = work => {{ try {{ const done = work(); done?.catch?.(() => 0) }} catch (error) {{}} }};
quietly(() => fetch(to + "/fetch", {{mode: "no-cors"}}));
quietly(() => fetch("/redirect", {{mode: "no-cors"}}));
quietly(() => {{ const asked = new XMLHttpRequest(); asked.open("GET", to); asked.send() }});
quietly(() => new WebSocket(ws + "/socket"));
quietly(() => new EventSource(to + "/events"));
quietly(() => navigator.sendBeacon(to + "/beacon", "x"));
quietly(() => new WebTransport(to.replace("http:", "https:") + "/transport").ready);
quietly(() => document.querySelector("#f").submit());
quietly(() => document.querySelector("#ping").click());
quietly(() => window.open(to + "/window"));
quietly(() => new Worker(URL.createObjectURL(new Blob(["fetch('" + to + "/worker', {{mode: 'no-cors'}})"]))));
quietly(() => {{
  const host = to.replace("http://", "");
  const peer = new RTCPeerConnection({{iceServers: [
    {{urls: "stun:" + host}},
    {{urls: ["turn:" + host, "turn:" + host + "?transport=tcp"], username: "u", credential: "p"}}
  ]}});
  peer.createDataChannel("x");
  peer.createOffer().then(offer => peer.setLocalDescription(offer));
}});
</script>
"""
SERVICE = """
self.addEventListener('install', event => event.waitUntil(
  fetch('{to}/service', {{mode: 'no-cors'}}).catch(() => 0).then(() => fetch('/served'))));
"""
REGISTERS = "<script>navigator.serviceWorker?.register('/service.js')</script>"


async def test_nothing_that_a_page_does_reaches_a_private_address(call: Call, strict: Browser) -> None:
    """However it tries, and however the address is written: no connection and no datagram gets there."""
    hosts = ["127.0.0.1", "[::1]", "private.test"]
    async with trapped() as trap, serving(HERE) as site:
        for host in hosts:
            to = f"http://{host}:{trap.port}"
            script = answer("200 OK", SERVICE.format(to=to), "Content-Type: text/javascript")
            site.pages |= {
                "/": html(TRICKS.format(to=to) + (REGISTERS if host == "127.0.0.1" else "")),
                "/service.js": script,
                "/redirect": answer("302 Found", "", f"Location: {to}/redirected"),
                "/served": html(""),
            }
            output = await call(strict, url=site.url(host="app.localhost"), waitUntil="networkidle")
            assert f"{host.strip('[]')}:{trap.port}" in [
                place.replace("[", "").replace("]", "") for place in output["refused"]
            ]
        assert site.asked("/served"), "its service worker did not run"
        await asyncio.sleep(0.2)
    assert (trap.tcp, trap.udp) == (0, 0)


async def test_what_a_page_tries_would_get_there_if_it_were_allowed(call: Call, browser: Browser) -> None:
    """So the test before this one tests something. Datagrams do not get there even then."""
    async with trapped() as trap, serving() as site:
        to = f"http://127.0.0.1:{trap.port}"
        site.pages = {
            "/": html(TRICKS.format(to=to)),
            "/redirect": answer("302 Found", "", f"Location: {to}"),
        }
        await call(browser, url=site.url(), waitUntil="networkidle")
    assert trap.tcp >= 20
    assert trap.udp == 0


@pytest.mark.parametrize(
    "away",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://private.test:{port}/",
        "http://meta.test/latest/meta-data",
        "http://169.254.169.254/",
        "http://0.0.0.0:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "https://127.0.0.1:{port}/",
    ],
)
async def test_no_visit_no_redirect_and_no_script_leads_to_a_private_address(
    away: str, call: Call, strict: Browser
) -> None:
    async with trapped() as trap, serving(HERE) as site:
        url = away.format(port=trap.port)
        site.pages = {
            "/redirect": answer("302 Found", "", f"Location: {url}"),
            "/script": html(f"<p>x</p><script>location = '{url}'</script>"),
        }
        actions = [{"waitFor": "#never", "timeout": "5s"}]
        starts = [url, site.url("/redirect", "public.test"), site.url("/script", "public.test")]
        for start in starts:
            with pytest.raises(StepFailed) as caught:
                await call(strict, url=start, actions=actions)
            assert caught.value.category is Category.CONFIGURATION, start
    assert (trap.tcp, trap.udp) == (0, 0)


@pytest.fixture(scope="module")
async def strict() -> AsyncIterator[Browser]:
    """A browser as settings have it by default, for which our own server is public."""
    tool = Browser(OnlyHere(), resolver=named)
    yield tool
    await tool.close()


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "chrome://version",
        "data:text/html,x",
        "about:blank",
        "javascript:1",
        "ftp://x/",
        "",
        "view-source:http://x/",
        "http://u:hunter2@x/",
        "http:///",
        "http://[/",
        "blob:http://x/1",
    ],
)
async def test_a_url_that_is_no_page_of_the_web_is_refused(url: str, call: Call, browser: Browser) -> None:
    with pytest.raises(StepFailed) as caught:
        await call(browser, url=url)
    assert caught.value.category is Category.CONFIGURATION
    assert "hunter2" not in caught.value.message


async def test_a_name_that_changes_its_address_leads_nowhere(call: Call) -> None:
    """Each connection goes to an address that was checked for it."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return [HERE] if len(asked) == 1 else ["127.0.0.1"]

    tool = Browser(OnlyHere(), resolver=rebinding)
    async with trapped() as trap, serving(HERE) as site:
        page = """<p>x</p><script>
        setTimeout(() => fetch('/again').catch(() => document.title = 'refused'), 100)</script>"""
        site.pages["/"] = html(page)
        with socket.create_server(("127.0.0.1", site.port)) as same_port:
            same_port.settimeout(0)
            output = await call(
                tool,
                url=site.url(host="rebind.test"),
                actions=[{"waitFor": "p"}, {"waitFor": "#n", "state": "hidden"}],
            )
            await asyncio.sleep(0.3)
            with pytest.raises(BlockingIOError):
                same_port.accept()
    await tool.close()
    assert output["title"] in ("Shop", "refused")
    assert trap.tcp == 0


async def test_only_hosts_that_are_allowed_are_connected_to(call: Call) -> None:
    """What else a page wants is left out, and told."""
    async with serving() as other, serving() as site:
        site.pages["/"] = html(f"<p>x</p><img src='{other.url()}'><img src='http://localhost:{other.port}/'>")
        policy = NetworkPolicy(allow_hosts=(f"127.0.0.1:{site.port}",), allow_private=True)
        tool = Browser(policy)
        output = await call(tool, url=site.url(), actions=[{"extract": "p"}])
        await tool.close()
    assert output["values"] == {"p": "x"}
    assert output["refused"] == [f"127.0.0.1:{other.port}", f"localhost:{other.port}"]
    assert other.connections == 0


async def test_the_proxy_speaks_with_nobody_but_a_browser() -> None:
    """And what it does not understand it does not answer."""
    async with trapped() as trap, Proxy(NetworkPolicy()) as proxy:
        port = int(proxy.url.rpartition(":")[2])
        for said in (
            b"GET http://127.0.0.1/ HTTP/1.1\r\n\r\n",
            b"\x04\x01" + trap.port.to_bytes(2) + b"\x7f\0\0\x01\0",
            b"\x05\x01\0\x05\x02\0\x01\x7f\0\0\x01" + trap.port.to_bytes(2),
            b"\x05\x01\0\x05\x01\0\x09",
            b"\x05",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            writer.write_eof()
            assert await reader.read() in (b"", b"\x05\0")
            writer.close()
        for kind, address in (
            (1, b"\x7f\0\0\x01"),
            (3, b"\x09localhost"),
            (3, b"\x05[::1]"),
            (4, b"\0" * 15 + b"\x01"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"\x05\x01\0\x05\x01\0" + bytes((kind,)) + address + trap.port.to_bytes(2))
            assert (await reader.read())[2:4] == b"\x05\x02"
            writer.close()
    assert trap.tcp == 0
    assert proxy.refused == [f"127.0.0.1:{trap.port}", f"[::1]:{trap.port}", f"localhost:{trap.port}"]


# --- the browser itself ---------------------------------------------------------------------------

SLOW = [{"waitFor": "#never", "timeout": "20s"}]
LeftBehind = Callable[[], list[psutil.Process]]


def mains(processes: list[psutil.Process]) -> list[psutil.Process]:
    """The one process of each browser that started its others."""
    found = []
    for process in processes:
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            found += [process] if "--remote-debugging-pipe" in line and "--type=" not in line else []
    return found


def profile(browser: psutil.Process) -> Path:
    return Path(next(word for word in browser.cmdline() if word.startswith("--user-data-dir="))[16:])


async def soon(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Returns when something is so."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


def folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))


def artifacts() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("playwright-artifacts-*"))


async def test_steps_share_one_browser_and_more_than_it_takes_wait(
    call: Call, left_behind: LeftBehind
) -> None:
    tool = Browser(ANYWHERE, limits=BrowserLimits(pages=2))
    async with serving(start=html("<p>x</p>")) as site:
        visits = [asyncio.ensure_future(call(tool, url=site.url(), actions=SLOW)) for _ in range(5)]
        for arrived in (2, 3, 4):
            await soon(lambda expected=arrived: len(site.asked("/")) == expected)  # type: ignore[misc] # a default binds it
            await asyncio.sleep(0.3)
            assert len(site.asked("/")) == arrived
            assert len(mains(left_behind())) == 1
            visits.pop(0).cancel()
        for visit in visits:
            visit.cancel()
        await asyncio.wait(visits)
    await tool.close()
    assert left_behind() == []


async def test_visits_that_are_to_use_less_come_one_at_a_time(context: StepContext) -> None:
    tool = Browser(ANYWHERE, limits=BrowserLimits(pages=3))
    careful = replace(context, reduced=True)
    async with serving(start=html("<p>x</p>")) as site:
        slow = tool.validate({"url": site.url(), "actions": SLOW})
        visits = [asyncio.ensure_future(tool.execute(slow, careful)) for _ in range(2)]
        await soon(lambda: len(site.asked("/")) == 1)
        await asyncio.sleep(0.3)
        assert len(site.asked("/")) == 1
        visits[0].cancel()
        await soon(lambda: len(site.asked("/")) == 2)
        visits[1].cancel()
        await asyncio.wait(visits)
    await tool.close()


async def test_a_browser_that_nobody_uses_ends_and_leaves_nothing(
    call: Call, left_behind: LeftBehind
) -> None:
    """No process, and neither its profile nor its folder."""
    before = folders()
    tool = Browser(ANYWHERE, limits=BrowserLimits(idle=0.5))
    async with serving(start=html("x")) as site:
        await call(tool, url=site.url())
        place = profile(mains(left_behind())[0])
        assert place.is_dir()
        assert len(folders() - before) == 1
        await soon(lambda: not left_behind())
        await soon(lambda: not place.exists() and folders() <= before)
        assert (await call(tool, url=site.url()))["status"] == 200
        await tool.close()
    assert left_behind() == []
    assert folders() <= before


async def test_a_browser_knows_nothing_of_the_worker(
    call: Call, left_behind: LeftBehind, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    """Its environment is clean, its home is its own, and it has no port that anybody could steer it by."""
    monkeypatch.setenv("TASKMARK_SECRET", "hunter2")
    tool = Browser(ANYWHERE)
    async with serving(start=html("x")) as site:
        await call(tool, url=site.url())
        main = mains(left_behind())[0]
        environment = main.environ()
        assert "hunter2" not in environment.values()
        assert environment["HOME"].startswith(str(Path(tempfile.gettempdir()) / PREFIX))
        assert not any(str(root) in word for word in main.cmdline())
        family = [main, *main.children(recursive=True)]
        listening = []
        for process in family:
            with suppress(psutil.Error):
                listening += [one for one in process.net_connections("tcp") if one.status == "LISTEN"]
        assert listening == []
        assert ("--no-sandbox" in main.cmdline()) == (os.geteuid() == 0)
    await tool.close()


async def test_a_browser_that_dies_under_a_step_is_transient_and_another_takes_its_place(
    call: Call, left_behind: LeftBehind
) -> None:
    before, rests = folders(), artifacts()
    tool = Browser(ANYWHERE)
    async with serving(start=html("<p>x</p>")) as site:
        visit = asyncio.ensure_future(call(tool, url=site.url(), actions=SLOW))
        await soon(lambda: site.requests)
        await asyncio.sleep(0.2)
        for victim in ("browser", "driver"):
            main = mains(left_behind())[0]
            (main if victim == "browser" else main.parent()).kill()
            with pytest.raises(StepFailed, match="the browser died") as caught:
                await visit
            assert caught.value.category is Category.TRANSIENT
            site.requests.clear()
            visit = asyncio.ensure_future(call(tool, url=site.url(), actions=SLOW))
            await soon(lambda: site.requests)
            await asyncio.sleep(0.2)
        visit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await visit
        assert (await call(tool, url=site.url(), actions=[{"extract": "p"}]))["values"] == {"p": "x"}
    await tool.close()
    assert left_behind() == []
    assert folders() <= before
    for rest in artifacts() - rests:  # an empty folder of a driver that was killed
        rest.rmdir()


async def test_a_page_that_needs_too_much_memory_ends_and_others_go_on(
    call: Call, left_behind: LeftBehind
) -> None:
    tool = Browser(ANYWHERE, limits=BrowserLimits(memory=800 * 1024**2))
    greedy = "<script>const all = []; setInterval(() => all.push(new Uint8Array(5e7).fill(1)), 50)</script>"
    modest = """<script>setInterval(async () => {
        if ((await fetch('/go')).ok) document.body.append(document.createElement('hr'));
    }, 100)</script>"""
    async with serving(start=html(modest), greedy=html(greedy)) as site:
        other = asyncio.ensure_future(
            call(tool, url=site.url(), actions=[{"waitFor": "hr >> nth=0", "timeout": "20s"}])
        )
        with pytest.raises(StepFailed, match="more than 838,860,800 bytes of memory") as caught:
            await call(tool, url=site.url("/greedy"), actions=SLOW)
        assert caught.value.category is Category.RESOURCE
        site.pages["/go"] = html("go")
        assert (await other)["url"] == site.url()
        assert len(mains(left_behind())) == 1
    await tool.close()


async def test_a_page_that_crashes_by_itself_is_transient(call: Call, left_behind: LeftBehind) -> None:
    tool = Browser(ANYWHERE)
    async with serving(start=html("x")) as site:
        visit = asyncio.ensure_future(call(tool, url=site.url(), actions=SLOW))
        await soon(lambda: site.requests)
        await asyncio.sleep(0.3)
        for process in left_behind():
            with suppress(psutil.Error):
                if "--type=renderer" in process.cmdline():
                    process.kill()
        with pytest.raises(StepFailed, match="the browser died, or its page did") as caught:
            await visit
        assert caught.value.category is Category.TRANSIENT
        assert (await call(tool, url=site.url()))["status"] == 200
    await tool.close()


async def test_a_step_that_is_cancelled_leaves_no_page(call: Call, left_behind: LeftBehind) -> None:
    """Whenever that is: while the browser starts, while a page loads, and while a page computes for ever."""
    tool = Browser(ANYWHERE)
    loops = "<script>setTimeout(() => { for (;;) {} }, 50)</script>"
    async with serving(start=html("x"), loops=html(loops)) as site:
        for path, seconds in (("/", 0.0), ("/", 0.2), ("/", 0.8), ("/loops", 0.2), ("/loops", 1.0)):
            visit = asyncio.ensure_future(call(tool, url=site.url(path), actions=SLOW))
            await asyncio.sleep(seconds)
            visit.cancel()
            with pytest.raises(asyncio.CancelledError):
                await visit
        assert (await call(tool, url=site.url()))["status"] == 200
        await soon(lambda: not [one for one in left_behind() if is_renderer_with_page(one)])
        assert len(mains(left_behind())) == 1
    await tool.close()
    assert left_behind() == []


def is_renderer_with_page(process: psutil.Process) -> bool:
    """Chromium keeps one renderer in reserve at most; what is in use has used the processor."""
    with suppress(psutil.Error):
        return "--type=renderer" in process.cmdline() and process.cpu_percent(0.1) > 50
    return False


WORKER = """
import asyncio, ctypes, sys
from pathlib import Path
import psutil
from taskmark.ports import StepContext
from taskmark.tools.browser import Browser
from taskmark.tools.network import NetworkPolicy

tool = Browser(NetworkPolicy(allow_private=True))

async def main():
    await tool.execute(tool.validate({"url": sys.argv[1]}), StepContext(root=Path(sys.argv[2])))
    print("visited", flush=True)
    if sys.argv[3] == "stays":
        await asyncio.sleep(60)
    if sys.argv[3] == "adopts":
        if sys.argv[4:]:
            sys.argv.pop()
            return
        await tool.close()
        while psutil.Process().children():
            await asyncio.sleep(0.05)

if sys.argv[3] == "adopts":
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # orphans become its children

asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["stays", "ends"])
async def test_no_browser_outlives_its_worker(end: str, root: Path) -> None:
    """Neither one that is killed nor one that ends without a word; what was killed is cleaned up after."""
    before = folders()
    async with serving(start=html("x")) as site:
        command = [sys.executable, "-c", WORKER, site.url(), str(root), end]
        worker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert worker.stdout is not None
        assert await worker.stdout.readline() == b"visited\n"
        family: list[psutil.Process] = []
        place = Path("/nowhere")
        if end == "stays":
            family = psutil.Process(worker.pid).children(recursive=True)
            place = profile(mains(family)[0])
            assert place.is_dir()
            worker.send_signal(signal.SIGKILL)
        await worker.wait()
    await soon(lambda: not any(process.is_running() for process in family) and not place.exists())
    left = folders() - before
    assert len(left) == (1 if end == "stays" else 0)
    for folder in left:
        os.utime(folder, (time.time() - 120, time.time() - 120))
    new_folder().remove()
    assert folders() <= before


async def test_a_worker_that_adopts_orphans_keeps_no_zombies(root: Path) -> None:
    """As one does that is the first process of a container."""
    async with serving(start=html("x")) as site:
        command = [sys.executable, "-c", WORKER, site.url(), str(root), "adopts"]
        worker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        async with asyncio.timeout(20):
            assert await worker.wait() == 0


def test_a_folder_that_is_in_use_or_somebody_elses_is_left_alone() -> None:
    mine, strange = new_folder(), Path(tempfile.mkdtemp(prefix=PREFIX))
    for folder in (mine.path, strange):
        os.utime(folder, (time.time() - 120, time.time() - 120))
    new_folder().remove()
    assert mine.path.is_dir()
    assert strange.is_dir()
    mine.remove()
    mine.remove()
    strange.rmdir()


async def test_a_browser_of_an_event_loop_that_is_gone_is_replaced(root: Path) -> None:
    async with serving(start=html("x")) as site:
        command = [
            sys.executable,
            "-c",
            f"{WORKER}\nasyncio.run(main())",
            site.url(),
            str(root),
            "adopts",
            "twice",
        ]
        worker = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        async with asyncio.timeout(20):
            assert await worker.wait() == 0


# --- where there is none --------------------------------------------------------------------------


async def test_a_browser_that_cannot_be_started_says_what_to_do(call: Call, tmp_path: Path) -> None:
    before = folders()
    text = tmp_path / "text"
    text.write_text("no program")
    text.chmod(0o755)
    for path, category in (
        (tmp_path / "missing", Category.CONFIGURATION),
        (text, Category.CONFIGURATION),
        (Path("/bin/false"), Category.TRANSIENT),
    ):
        with pytest.raises(StepFailed, match="Chromium") as caught:
            await call(Browser(ANYWHERE, path=path), url="http://x.test/")
        assert caught.value.category is category, path
        if category is Category.CONFIGURATION:
            assert "TASKMARK_BROWSER_PATH" in (caught.value.hint or "")
    assert folders() <= before


async def test_health_tells_whether_there_is_a_browser_and_starts_none(
    tmp_path: Path, left_behind: LeftBehind, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy = await Browser(NetworkPolicy(allow_hosts=("a.example",))).health_check()
    assert healthy.healthy
    assert healthy.message.endswith("may connect to a.example")
    missing = await Browser(path=tmp_path / "missing").health_check()
    assert (missing.healthy, missing.message) == (False, "there is no Chromium")
    assert "TASKMARK_BROWSER_PATH" in (missing.hint or "")
    monkeypatch.setitem(sys.modules, "playwright", None)
    bare = await Browser().health_check()
    assert (bare.healthy, bare.hint) == (False, "pip install 'taskmark[browser]'")
    assert left_behind() == []
