"""The web is searched by real servers on loopback that answer as the providers do, and as none should."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from receiving import certificate

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed, Unreachable
from taskmark.ports import StepContext
from taskmark.retrieval import retrieval_of
from taskmark.shared import Change, MemoryShared
from taskmark.task.model import Json
from taskmark.tools import search_providers, web_search
from taskmark.tools.pace import HeldOff
from taskmark.tools.search_providers import Address, Brave, Result, Search, read_address
from taskmark.tools.sharing import Sharing
from taskmark.tools.sizes import json_size
from taskmark.tools.web_search import WebSearch, cleaned, plain

Call = Callable[..., Awaitable[Any]]
KEY = "hunter2-very-secret"
PAGE = {"title": "Rain", "url": "https://rain.example/today", "content": "It rains."}
FOUND = {"query": "rain", "results": [PAGE]}


@dataclass
class Server:
    """A search service: it keeps what it is asked, and answers in turn, the last answer again and again."""

    answers: list[bytes] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    ended: int = 0
    port: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        self.requests.append(head + await reader.readexactly(size))
        self.times.append(time.monotonic())
        given = self.answers[min(len(self.requests), len(self.answers)) - 1]
        writer.write(given)
        if given:
            writer.close()
        else:  # silent until the other side goes
            await reader.read()
            self.ended += 1
            writer.close()

    def setting(self, name: str = "searxng", secret: str = "") -> str:
        return f"{name}+http://{secret}{'@' if secret else ''}127.0.0.1:{self.port}"

    def asked(self, number: int = -1) -> tuple[str, dict[str, str], dict[str, str], Any]:
        """Path, query, headers and JSON body of a request."""
        head, _, body = self.requests[number].partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        target = urlsplit(first.split(" ")[1])
        headers = dict(line.lower().split(": ", 1) for line in lines)
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        return target.path, query, headers, json.loads(body) if body else None


def answer(document: Any, status: str = "200 OK", *headers: str) -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def serving(*answers: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(list(answers) or [answer(FOUND)])
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


# --- the providers --------------------------------------------------------------------------------


async def test_a_metasearch_is_asked_by_its_url(call: Call) -> None:
    page = {**PAGE, "publishedDate": "2026-11-30T00:00:00", "engine": "x", "score": 3.0}
    async with serving(answer({"results": [page], "unresponsive_engines": []})) as server:
        tool = WebSearch(server.setting(secret="ann:pass"))
        output = await call(tool, query=" rain \n tomorrow ", language="pt-BR", timeRange="week")
    assert output == {
        "query": "rain tomorrow",
        "provider": "searxng",
        "results": [
            {
                "title": "Rain",
                "url": "https://rain.example/today",
                "snippet": "It rains.",
                "published": "2026-11-30T00:00:00",
            }
        ],
        "cached": False,
    }
    path, query, headers, _ = server.asked()
    assert path == "/search"
    assert query == {"q": "rain tomorrow", "format": "json", "language": "pt-BR", "time_range": "week"}
    sent = base64.b64decode(server.requests[0].split(b"asic ")[1].split(b"\r\n")[0])
    assert sent == b"ann:pass"
    assert headers["accept"] == "application/json"


async def test_brave_is_asked_with_its_key(call: Call) -> None:
    page = {
        "title": "Rain <strong>now</strong>",
        "url": "https://rain.example/",
        "description": "It&#x27;s raining.",
        "age": "2 days ago",
        "page_age": "2026-11-29T10:00:00",
    }
    async with serving(answer({"type": "search", "web": {"type": "search", "results": [page]}})) as server:
        tool = WebSearch(server.setting("brave", KEY))
        output = await call(tool, query="rain", limit=30, language="ja", timeRange="month")
    assert output["results"] == [
        {
            "title": "Rain now",
            "url": "https://rain.example/",
            "snippet": "It's raining.",
            "published": "2026-11-29T10:00:00",
        }
    ]
    path, query, headers, _ = server.asked()
    assert (path, headers["x-subscription-token"]) == ("/res/v1/web/search", KEY)
    assert (query["q"], query["count"], query["search_lang"], query["freshness"]) == (
        "rain",
        "20",
        "jp",
        "pm",
    )


async def test_tavily_is_asked_with_its_key(call: Call) -> None:
    page = {"title": "Rain", "url": "https://www.rain.example/", "content": "It rains.", "score": 0.9}
    async with serving(answer({"query": "rain", "results": [page], "response_time": 1.2})) as server:
        tool = WebSearch(server.setting("tavily", KEY))
        output = await call(tool, query="rain", limit=3, timeRange="day", site="Rain.example")
    assert [one["url"] for one in output["results"]] == ["https://www.rain.example/"]
    assert output["results"][0]["published"] is None
    path, _, headers, body = server.asked()
    assert (path, headers["authorization"]) == ("/search", f"bearer {KEY}")
    assert body == {
        "query": "rain",
        "max_results": 3,
        "time_range": "day",
        "include_domains": ["rain.example"],
    }


async def test_serper_is_asked_with_its_key(call: Call) -> None:
    page = {"title": "Rain", "link": "https://rain.example/", "snippet": "It rains.", "date": "Nov 5, 2026"}
    async with serving(answer({"searchParameters": {}, "organic": [page]})) as server:
        tool = WebSearch(server.setting("serper", KEY))
        output = await call(tool, query="rain", language="de-AT", timeRange="year")
    assert output["results"][0]["published"] == "Nov 5, 2026"
    path, _, headers, body = server.asked()
    assert (path, headers["x-api-key"]) == ("/search", KEY)
    assert body == {"q": "rain", "num": 10, "hl": "de", "gl": "at", "tbs": "qdr:y"}


async def test_nothing_found_is_an_answer(call: Call) -> None:
    """Also where a provider leaves out what it has none of."""
    for name, document in (("brave", {"type": "search"}), ("searxng", {"results": []})):
        async with serving(answer(document)) as server:
            output = await call(WebSearch(server.setting(name, KEY)), query="rain")
            assert output["results"] == []


async def test_a_metasearch_that_did_not_hear_from_its_engines_has_not_found_nothing(call: Call) -> None:
    silent = {"results": [], "unresponsive_engines": [["google", "CAPTCHA"], ["bing", "timeout"]]}
    async with serving(answer(silent)) as server:
        with pytest.raises(StepFailed, match="did not hear from google, bing") as caught:
            await call(WebSearch(server.setting()), query="rain")
    assert caught.value.category is Category.TRANSIENT


async def test_a_provider_of_ones_own_is_named_in_the_setting(call: Call) -> None:
    """It may be added after the tool was made, and what it finds is cleaned like everybody's."""
    made: list[Address] = []

    class Own:
        rate = 100.0

        async def search(self, search: Search) -> list[Result]:
            return [Result(f"<b>{search.query}</b>", "https://own.example/"), Result("x", "javascript:x")]

    def make(address: Address) -> Own:
        made.append(address)
        return Own()

    providers: dict[str, Any] = {}
    tool = WebSearch("own://k%40y", providers=providers)
    assert not (await tool.health_check()).healthy
    providers["own"] = make
    output = await call(tool, query="rain")
    assert (output["provider"], [one["title"] for one in output["results"]]) == ("own", ["rain"])
    await call(tool, query="snow")
    assert made == [Address("own", "", "k@y")]


# --- the setting ----------------------------------------------------------------------------------


async def test_without_a_provider_it_is_unavailable_and_says_what_to_set(call: Call) -> None:
    health = await WebSearch().health_check()
    assert (health.healthy, health.message) == (False, "no search provider is configured")
    assert "TASKMARK_SEARCH_PROVIDER" in str(health.hint)
    with pytest.raises(StepFailed, match="no search provider is configured") as caught:
        await call(WebSearch(), query="rain")
    assert (caught.value.category, caught.value.hint) == (Category.CONFIGURATION, health.hint)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        (KEY, "no address"),
        (f"https://{KEY}", "there is no provider 'https'"),
        (f"brav://{KEY}", 'did you mean "brave"'),
        ("brave://", "brave needs a key"),
        ("brave+https://api.example.org", "brave needs a key"),
        (f"brave://{KEY} {KEY}", "characters"),
        (f"brave://{KEY}%0d%0ax", "characters"),
        (f"searxng://{KEY}", "searxng needs an address"),
        (f"searxng+https://{KEY}@", "no place"),
        (f"searxng+https://{KEY}@host:{KEY}", "no place"),
        (f"searxng+https://host/?key={KEY}", "no place"),
        (f"searxng+ftp://{KEY}@host", "no address"),
    ],
)
async def test_a_setting_that_cannot_be_is_told_without_its_key(
    setting: str, problem: str, call: Call
) -> None:
    tool = WebSearch(setting)
    health = await tool.health_check()
    assert not health.healthy
    with pytest.raises(StepFailed) as caught:
        await call(tool, query="rain")
    assert caught.value.category is Category.CONFIGURATION
    for said in (health.message, caught.value.message):
        assert problem in said
        assert KEY not in said


async def test_its_health_says_whom_it_asks_and_asks_nobody() -> None:
    async with serving() as server:
        tool = WebSearch(server.setting("brave", KEY))
        health = await tool.health_check()
    assert (health.healthy, health.message) == (True, f"asks brave at http://127.0.0.1:{server.port}")
    assert server.requests == []
    assert (await WebSearch(f"tavily://{KEY}").health_check()).message == "asks tavily"
    assert tool.estimate_duration(tool.validate({"query": "x"})) > 0
    assert tool.target(tool.validate({"query": "x"})) == f"brave at http://127.0.0.1:{server.port}"
    assert WebSearch().target(tool.validate({"query": "x"})) is None
    assert KEY not in repr(read_address(server.setting("brave", KEY)))


# --- results are text -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <b>bold</b> &amp; <i class='x'>new</i> day", "a bold & new day"),
        ("<scr<script>ipt>alert(1)</scr</script>ipt>", "alert(1)"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;", "alert(1)"),
        ("<<<<<<a>a>a>a>a>a> b", None),
        ("an open <img src=x onerror=alert(1)", "an open < img src=x onerror=alert(1)"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("line\r\n\tother\x00\x1b[31m\x7f line", "line other[31m line"),
        ("turned \u202etxt.exe\u202c", "turned txt.exe"),
        ("hidden\U000e0068\U000e0069 words\ufeff\u200b", "hidden words"),
        ("half \ud800 a character", "half a character"),
        ("می\u200cروم", "می\u200cروم"),
    ],
)
def test_text_has_no_tags_and_nothing_invisible(text: str, expected: str | None) -> None:
    found = plain(text, 300)
    assert expected is None or found == expected
    assert not web_search._BEGINS_A_TAG.search(found)


def test_text_is_cut_and_takes_no_time_however_it_is_made() -> None:
    assert plain("x" * 50, 20) == "x" * 19 + "…"
    before = time.monotonic()
    for text in ("<a" * 100_000, "<" * 100_000 + ">" * 100_000, "&lt;" * 100_000, "<a " * 50_000 + ">" * 9):
        assert len(plain(text, 1000)) <= 1000
    assert time.monotonic() - before < 5


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "//rain.example/",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://rain.example/",
        "https://",
        "https://user:pass@rain.example/",
        "https://rain.example:99999/",
        "https://rain.example/<script>",
        "https://rain.example/a b",
        "https://rain.example/\r\nx",
        "https://rain.example/\u202egpj",
        "https://[::1/",
        "https://rain.example/" + "x" * 2000,
    ],
)
def test_what_is_no_plain_address_of_the_web_is_left_out(url: str) -> None:
    good = Result("Good", "https://good.example/")
    assert [one["url"] for one in cleaned([Result("Bad", url), good], Search("x"))] == [good.url]


def test_each_page_is_there_once_and_no_more_than_were_asked_for() -> None:
    places = (
        "https://a.example/p",
        "http://A.example/p/#part",
        "https://a.example/p?q=1",
        "https://b.example",
    )
    found = cleaned([Result("", place) for place in places], Search("x"))
    assert [one["url"] for one in found] == [places[0], places[2], places[3]]
    assert found[0]["title"] == places[0]
    assert len(cleaned([Result("", f"https://a.example/{n}") for n in range(9)], Search("x", limit=4))) == 4


async def test_only_pages_of_the_site_are_returned_whatever_the_provider_does(call: Call) -> None:
    hosts = ("rain.example", "www.rain.example", "terrain.example", "rain.example.evil.test")
    pages = [{"title": "", "url": f"https://{host}/"} for host in hosts]
    async with serving(answer({"results": pages})) as server:
        output = await call(WebSearch(server.setting()), query="rain", site="rain.example")
    assert [one["url"] for one in output["results"]] == ["https://rain.example/", "https://www.rain.example/"]
    assert server.asked()[1]["q"] == "rain site:rain.example"


async def test_the_output_is_bounded_whatever_was_found(call: Call) -> None:
    pages = [
        {"title": "😀" * 1000, "url": f"https://a.example/{n}{'ü' * 1900}", "content": "😀" * 5000}
        for n in range(50)
    ]
    body = json.dumps({"results": pages}, ensure_ascii=False).encode()
    async with serving(answer(body)) as server:
        output = await call(WebSearch(server.setting()), query="rain", limit=50)
    assert ADAPTER_LIMIT * 0.9 < json_size(output) <= ADAPTER_LIMIT


async def test_odd_entries_are_left_out(call: Call) -> None:
    pages = [None, "x", {}, {"url": 7}, {"url": "https://a.example/", "title": 5, "content": ["x"]}, PAGE]
    async with serving(answer({"results": pages})) as server:
        output = await call(WebSearch(server.setting()), query="rain")
    assert [one["url"] for one in output["results"]] == ["https://a.example/", PAGE["url"]]


async def test_history_is_told_what_was_found(call: Call) -> None:
    async with serving() as server:
        output = await call(WebSearch(server.setting()), query="rain")
    assert retrieval_of("tool", "web-search", {"query": "rain"}, output) == {
        "sources": [PAGE["url"]],
        "count": 1,
        "results": 1,
        "query": "rain",
    }


# --- the cache ------------------------------------------------------------------------------------


async def test_what_was_found_is_found_again_without_asking(call: Call) -> None:
    """By every worker that has the same provider; another question is asked."""
    async with serving() as server:
        first = await call(WebSearch(server.setting()), query="rain")
        second = await call(WebSearch(server.setting()), query="rain")
        assert second == {**first, "cached": True}
        for other in ({"limit": 3}, {"language": "de"}, {"timeRange": "day"}, {"site": "rain.example"}):
            assert not (await call(WebSearch(server.setting(), rate=99), query="rain", **other))["cached"]
        assert len(server.requests) == 5


async def test_how_old_an_answer_may_be_is_up_to_who_asks(call: Call) -> None:
    async with serving() as server:
        tool = WebSearch(server.setting(), rate=99)
        await call(tool, query="rain", cache="1 day")
        await asyncio.sleep(0.1)
        assert not (await call(tool, query="rain", cache="50ms"))["cached"]
        assert not (await call(tool, query="rain", cache=0))["cached"]
        assert len(server.requests) == 3


async def test_another_provider_or_version_has_a_cache_of_its_own(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as server, serving() as other:
        await call(WebSearch(server.setting()), query="rain")
        assert not (await call(WebSearch(other.setting()), query="rain"))["cached"]
        monkeypatch.setattr(web_search, "VERSION", 2)
        assert not (await call(WebSearch(server.setting()), query="rain"))["cached"]


async def test_finding_nothing_and_failing_are_not_kept(call: Call) -> None:
    async with serving(answer({"results": []}), answer({}, "500 Oops"), answer(FOUND)) as server:
        tool = WebSearch(server.setting(), rate=99)
        assert (await call(tool, query="rain"))["results"] == []
        with pytest.raises(StepFailed):
            await call(tool, query="rain")
        assert len((await call(tool, query="rain"))["results"]) == 1


# --- the rate -------------------------------------------------------------------------------------


async def test_all_workers_together_keep_to_the_rate(context: StepContext) -> None:
    """And who watches is told what they wait for."""
    said: list[str] = []
    watched = changed(context, say=said.append)
    async with serving() as server:
        tools = [WebSearch(server.setting(), rate=2) for _ in range(2)]
        before = time.monotonic()
        searches = (
            tool.execute(tool.validate({"query": f"rain {number}"}), watched)
            for number, tool in enumerate(tools * 2)
        )
        await asyncio.gather(*searches)
    assert len(server.times) == 4
    assert server.times[-1] - before > 0.95
    place = f"searxng at http://127.0.0.1:{server.port}"
    assert said[-1].endswith(f"for its turn at {place}: {place} is asked 120 times a minute")


async def test_a_turn_that_would_come_too_late_is_not_waited_for(call: Call) -> None:
    async with serving() as server:
        tool = WebSearch(server.setting(), rate=0.01)
        await call(tool, query="rain")
        with pytest.raises(HeldOff, match=r"the next turn is in (100|99)\.") as caught:
            await call(tool, query="snow")
    assert 70 < (caught.value.retry_after or 0) < 73
    assert len(server.requests) == 1


class Broken(MemoryShared):
    """A memory that does not answer, or only after a while."""

    def __init__(self, seconds: float | None = None) -> None:
        super().__init__()
        self.seconds = seconds

    def get(self, kind: str, key: str) -> Json | None:
        self._stall()
        return None

    def change(self, kind: str, key: str, change: Change, ttl: float) -> Json | None:
        self._stall()
        return super().change(kind, key, change, ttl)

    def _stall(self) -> None:
        if self.seconds is None:
            raise Unreachable("the store does not answer")
        time.sleep(self.seconds)


@pytest.mark.parametrize("seconds", [None, 0.4])
async def test_a_shared_memory_that_does_not_answer_stops_no_search(
    seconds: float | None, context: StepContext
) -> None:
    """Then each worker keeps to the rate for itself."""
    broken = changed(context, shared=Broken(seconds))
    async with serving() as server:
        tool = WebSearch(server.setting(), rate=1, sharing=Sharing(patience=0.1))
        before = time.monotonic()
        for query in ("rain", "snow"):
            output = await tool.execute(tool.validate({"query": query}), broken)
            assert (len(output["results"]), output["cached"]) == (1, False)
    assert server.times[1] - before > 0.95


async def test_a_short_pause_that_a_provider_asks_for_is_made(call: Call) -> None:
    busy = answer({}, "429 Too Many Requests", "Retry-After: 1")
    async with serving(busy, answer(FOUND)) as server:
        output = await call(WebSearch(server.setting(), rate=99), query="rain")
    assert len(output["results"]) == 1
    assert server.times[1] - server.times[0] > 0.95


async def test_a_provider_is_not_asked_for_ever(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_search, "MOST_TRIES", 2)
    for after, requests in (("1", 2), ("0", 1), ("soon", 1)):
        async with serving(answer({}, "429 Too Many Requests", f"Retry-After: {after}")) as server:
            with pytest.raises(StepFailed, match=f"retry after {after}"):
                await call(WebSearch(server.setting(), rate=99), query="rain")
        assert len(server.requests) == requests


async def test_a_long_pause_is_for_the_next_attempt_and_for_all_workers(call: Call) -> None:
    busy = answer({}, "503 Busy", "Retry-After: 100")
    async with serving(busy, answer(FOUND)) as server:
        with pytest.raises(StepFailed, match="retry after 100"):
            await call(WebSearch(server.setting()), query="rain")
        with pytest.raises(HeldOff, match=r"in (100|99)\.\d s only, .*: it asked to be left alone"):
            await call(WebSearch(server.setting()), query="snow")
        assert len(server.requests) == 1


# --- what can go wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "category"),
    [
        *((status, Category.TRANSIENT) for status in (408, 425, 429, 500, 502, 503)),
        *((status, Category.PERMISSION) for status in (401, 402, 403, 432)),
        *((status, Category.LOGIC) for status in (204, 400, 404, 422)),
        *((status, Category.CONFIGURATION) for status in (301, 302, 307)),
    ],
)
async def test_each_status_has_its_category_and_the_key_is_not_repeated(
    status: int, category: Category, call: Call
) -> None:
    async with serving(answer({"error": f"bad {KEY}\x1b"}, f"{status} Sorry", "Location: /x")) as server:
        with pytest.raises(StepFailed, match=f"127.0.0.1 answers {status} Sorry") as caught:
            await call(WebSearch(server.setting("brave", KEY)), query="rain")
    assert caught.value.category is category
    assert KEY not in f"{caught.value.message} {caught.value.hint} {caught.value!r}"
    assert len(server.requests) == 1


async def test_a_metasearch_that_does_not_speak_json_says_how_to_change_it(call: Call) -> None:
    async with serving(answer(b"", "403 Forbidden")) as server:
        with pytest.raises(StepFailed) as caught:
            await call(WebSearch(server.setting()), query="rain")
    assert "settings.yml" in str(caught.value.hint)


BOMB = gzip.compress(b" " * 50_000_000)


@pytest.mark.parametrize(
    "given",
    [
        answer(b"<html>hello</html>"),
        answer(b""),
        answer(b"\xff\xfe\xff"),
        answer([PAGE]),
        answer({"hits": []}),
        answer({"results": {"a": PAGE}}),
        answer(b"[" * 100_000),
        answer(b"x" * (search_providers.LARGEST_ANSWER + 1)),
        answer(BOMB, "200 OK", "Content-Encoding: gzip"),
        answer(b"no gzip", "200 OK", "Content-Encoding: gzip"),
        answer(FOUND, "200 OK", "Content-Encoding: br"),
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    ],
)
async def test_an_answer_that_is_none_of_a_search_is_transient(given: bytes, call: Call) -> None:
    async with serving(given) as server:
        with pytest.raises(StepFailed, match=r"127\.0\.0\.1") as caught:
            await call(WebSearch(server.setting()), query="rain")
    assert caught.value.category is Category.TRANSIENT


async def test_an_answer_may_be_packed(call: Call) -> None:
    packed = gzip.compress(json.dumps(FOUND).encode())
    async with serving(answer(packed, "200 OK", "Content-Encoding: gzip")) as server:
        assert len((await call(WebSearch(server.setting()), query="rain"))["results"]) == 1


async def test_a_redirect_is_not_followed(call: Call) -> None:
    """The key stays with whom it is for, and nothing else of the network is reached."""
    async with serving() as there:
        away = answer(b"", "302 Found", f"Location: http://127.0.0.1:{there.port}/")
        async with serving(away) as here:
            with pytest.raises(StepFailed, match="answers 302"):
                await call(WebSearch(here.setting("serper", KEY)), query="rain")
    assert there.requests == []


async def test_a_private_address_is_reached_only_if_it_is_configured(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public service whose name leads into the network is not asked."""
    async with serving() as server:
        monkeypatch.setattr(Brave, "home", f"http://127.0.0.1:{server.port}")
        with pytest.raises(StepFailed, match="private address"):
            await call(WebSearch(f"brave://{KEY}"), query="rain")
    with pytest.raises(StepFailed, match="no address for a task"):
        await call(WebSearch("searxng+http://169.254.169.254"), query="rain")
    assert server.requests == []


async def test_the_machines_proxies_are_not_used(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as proxy, serving() as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        await call(WebSearch(server.setting()), query="rain")
    assert (len(proxy.requests), len(server.requests)) == (0, 1)


# --- networks that hang, reset and trickle --------------------------------------------------------


@asynccontextmanager
async def behaving(
    behave: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    listener = await asyncio.start_server(behave, "127.0.0.1", 0)
    yield f"searxng+http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    listener.close()


async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says a byte now and then, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not reader.at_eof() and not writer.is_closing():
        writer.write(b" ")
        await asyncio.sleep(0.02)


async def trickle_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not reader.at_eof() and not writer.is_closing():
        writer.write(b"X-A: b\r\n")
        await asyncio.sleep(0.02)


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def hang_in_the_middle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"results": [')
    await reader.read()
    writer.close()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    await writer.drain()
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.close()


@pytest.mark.parametrize("behave", [trickle, trickle_headers, hang, hang_in_the_middle, reset])
async def test_whatever_the_network_does_it_ends_in_time(
    behave: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], call: Call
) -> None:
    async with behaving(behave) as setting:
        before = time.monotonic()
        with pytest.raises(StepFailed) as caught:
            await call(WebSearch(setting), query="rain", timeout="300ms")
        assert time.monotonic() - before < 5
    assert caught.value.category is Category.TRANSIENT


async def test_nobody_there_is_transient(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for place in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid"):
        with pytest.raises(StepFailed) as caught:
            await call(WebSearch(f"searxng+{place}"), query="rain")
        assert caught.value.category is Category.TRANSIENT


async def test_a_provider_that_cannot_be_trusted_or_named_is_configuration(
    call: Call, tmp_path: Path
) -> None:
    """Another attempt would not help."""
    context, _ = certificate(tmp_path, "localhost")
    async with serving(tls=context) as server:
        for place, hint in ((f"127.0.0.1:{server.port}", "not trusted"), ("☃.invalid", "search_provider")):
            with pytest.raises(StepFailed) as caught:
                await call(WebSearch(f"serper+https://{KEY}@{place}"), query="rain")
            assert caught.value.category is Category.CONFIGURATION
            assert hint in str(caught.value.hint)
    assert server.requests == []


async def test_a_search_that_is_cancelled_leaves_no_call_behind(context: StepContext) -> None:
    async with serving(b"") as server:
        tool = WebSearch(server.setting())
        task = asyncio.ensure_future(tool.execute(tool.validate({"query": "rain"}), context))
        while not server.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(2):
            while not server.ended:
                await asyncio.sleep(0.01)


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"query": ""},
        {"query": " \u200b\n"},
        {"query": "x" * 401},
        {"query": "x", "limit": 0},
        {"query": "x", "limit": 51},
        {"query": "x", "language": "de&q=y"},
        {"query": "x", "timeRange": "hour"},
        {"query": "x", "site": "a.example OR b"},
        {"query": "x", "site": "localhost"},
        {"query": "x", "cache": "-1s"},
        {"query": "x", "cache": "1 year"},
        {"query": "x", "timeout": 0},
        {"query": "x", "provider": "brave"},
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(StepFailed) as caught:
        WebSearch().validate(arguments)
    assert caught.value.category is Category.CONFIGURATION


def test_its_schema_can_be_shown() -> None:
    schema = WebSearch.parameters.model_json_schema(by_alias=True)
    assert set(schema["properties"]) == {
        "query",
        "limit",
        "language",
        "timeRange",
        "site",
        "cache",
        "timeout",
    }
    assert schema["required"] == ["query"]
