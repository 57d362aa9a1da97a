"""Who `web-search` can ask: one setting says which provider, where it is, and its key.

    searxng+https://search.example.org        a metasearch of one's own; `user:password@` before the host
    brave://KEY  tavily://KEY  serper://KEY   a service that wants a key, at its own address
    brave+https://KEY@proxy.example.org       the same, at another address

What has a meaning in URLs (`@`, `/`, `%`) is written in a key as URLs have it (`%40`, `%2F`, `%25`).

A provider is called at the address that is configured and nowhere else: redirects are not followed, so that
an answer cannot lead into a private network, or carry the key to another host.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

from taskmark.errors import Category, StepFailed
from taskmark.task.model import Json
from taskmark.tools.call_failures import category_of, distrust, is_wrong_call, pause_asked
from taskmark.tools.http_client import checked_client, configured_place
from taskmark.tools.masking import masked

if TYPE_CHECKING:
    import httpx2

TimeRange: TypeAlias = Literal["day", "week", "month", "year"]
LARGEST_ANSWER: Final = 2 * 1024**2
"""Bytes of an answer: that of a metasearch says more about each result than is returned."""
EXAMPLES: Final = "searxng+https://search.example.org or brave://KEY"
_SETTING: Final = re.compile(r"([a-z][a-z0-9-]*)(?:\+(https?))?://(.*)", re.DOTALL)
_USED_UP: Final = frozenset({402, 432, 433})
"""A plan is used up: payment required, and Tavily's own numbers for it."""
_HEADERS: Final = {"user-agent": "taskmark", "accept": "application/json", "accept-encoding": "gzip"}


@dataclass(frozen=True)
class Search:
    """What is looked for."""

    query: str
    limit: int = 10
    """At most so many results are wanted; a provider may have fewer."""
    language: str | None = None
    """Such as `de` or `pt-BR`; a wish, which not every provider can fulfil."""
    time_range: TimeRange | None = None
    site: str | None = None
    """A host whose pages alone are wanted, with those of the hosts below it."""

    @property
    def words(self) -> str:
        """The query for a provider that reads `site:` in it."""
        return f"{self.query} site:{self.site}" if self.site else self.query


@dataclass(frozen=True)
class Result:
    """One page that was found, in the provider's own words: nothing of it is to be trusted."""

    title: str
    url: str
    snippet: str = ""
    published: str | None = None
    """As the provider says it: a date, a time, or how long ago."""


class SearchProvider(Protocol):
    """Finds pages. One object serves all searches of a worker, many at once."""

    rate: float
    """Searches a second that it allows, over all workers."""

    async def search(self, search: Search) -> Sequence[Result]:
        """Returns what it found, the best first. Cancellation must leave nothing running.

        Raises `StepFailed`, with `retry_after` if it asks for a pause.
        """
        ...


@dataclass(frozen=True)
class Address:
    """What a setting says."""

    name: str
    """Of the provider."""
    url: str = ""
    """Where it is, without a slash at the end; empty means its own address."""
    secret: str = field(default="", repr=False)
    """A key, or a user and a password with a colon between them."""


MakeProvider: TypeAlias = Callable[[Address], SearchProvider]
"""Makes a provider; raises `ValueError` if the address lacks something, without repeating the secret."""


def read_address(setting: str) -> Address:
    """Returns what the setting says. Raises `ValueError`, which does not repeat it: it may hold a key."""
    found = _SETTING.fullmatch(setting.strip())
    if found is None:
        raise ValueError(f"it is no address of a search provider, such as {EXAMPLES}")
    name, scheme, rest = found.groups()
    secret, place = (rest.rstrip("/"), "") if scheme is None else _parted(rest)
    secret = unquote(secret)
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ValueError("its key has characters that no key has")
    return Address(name, f"{scheme}://{place}" if scheme else "", secret)


def _parted(rest: str) -> tuple[str, str]:
    """Returns the secret and the place of an address. Raises `ValueError`."""
    secret, _, place = rest.rstrip("/").rpartition("@")
    try:
        parts = urlsplit(f"http://{place}")
        is_place = bool(parts.hostname) and not (parts.query or parts.fragment) and parts.port != 0
    except ValueError:
        is_place = False
    if not is_place or not place.isprintable() or " " in place:
        raise ValueError(f"it names no place that can be asked, such as {EXAMPLES}")
    return secret, place


# --- services that answer with JSON ---------------------------------------------------------------


@dataclass(frozen=True)
class _Call:
    """One request, relative to where the service is."""

    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    """Sent as JSON, by POST, if there is one."""


class _Service(ABC):
    """A service that is asked by HTTP and answers with JSON."""

    home: ClassVar[str] = ""
    """Where it is unless the setting says otherwise; empty if it has no address of its own."""
    keyed: ClassVar[bool] = True
    listed: ClassVar[str] = "results"
    """Where its results are."""
    fields: ClassVar[tuple[str, str, str, tuple[str, ...]]]
    """What it calls the title, the URL, the snippet and the date; of several dates the first counts."""
    denied: ClassVar[str] = "check the key in the setting search_provider"
    """What to do if it lets nobody in."""
    rate: float = 1.0

    def __init__(self, address: Address) -> None:
        if not (address.url or self.home):
            raise ValueError(f"{address.name} needs an address, such as {EXAMPLES}")
        if self.keyed and not address.secret:
            raise ValueError(f"{address.name} needs a key: {address.name}://KEY")
        self._url = address.url or self.home
        self._secret = address.secret
        self._is_own_choice = bool(address.url)

    async def search(self, search: Search) -> Sequence[Result]:
        """As `SearchProvider.search`."""
        return list(self._results(await self._ask(self._call(search))))

    @abstractmethod
    def _call(self, search: Search) -> _Call:
        """Returns how it is asked."""

    async def _ask(self, call: _Call) -> Mapping[str, Json]:
        """Returns its answer. Raises `StepFailed`."""
        import httpx2

        method = "GET" if call.body is None else "POST"
        headers = {**_HEADERS, **call.headers}
        params = dict(call.parameters) or None
        try:
            async with (
                self._client() as client,
                client.stream(
                    method, f"{self._url}{call.path}", params=params, json=call.body, headers=headers
                ) as response,
            ):
                return self._document(response, await self._content(response))
        except (httpx2.InvalidURL, httpx2.HTTPError, UnicodeError, zlib.error) as error:
            raise self._unanswered(error) from error

    def _client(self) -> httpx2.AsyncClient:
        """Returns a client for one call, which reaches the configured host and no other. One that somebody
        configured may be a private one."""
        return checked_client(configured_place(self._url, allow_private=self._is_own_choice))

    @property
    def _host(self) -> str:
        """For messages."""
        return urlsplit(self._url).hostname or self._url

    async def _content(self, response: httpx2.Response) -> bytes:
        """Returns the body. Raises `StepFailed` as soon as it is larger than any answer is.

        It is unpacked here, because what is small on the wire can be large unpacked.
        """
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            raise self._malformed(f"in the encoding {encoding[:40]!r}")
        unzip = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding == "gzip" else None
        content, arrived = bytearray(), 0
        async for chunk in response.aiter_raw():
            arrived += len(chunk)
            content += unzip.decompress(chunk, LARGEST_ANSWER + 1 - len(content)) if unzip else chunk
            if max(arrived, len(content)) > LARGEST_ANSWER:
                raise StepFailed(f"{self._host} answers with more than {LARGEST_ANSWER:,} bytes")
        return bytes(content)

    def _document(self, response: httpx2.Response, content: bytes) -> Mapping[str, Json]:
        """Returns what an answer says. Raises `StepFailed`."""
        if response.status_code != 200:
            raise self._refused(response, content)
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self._malformed("no JSON") from error
        if not isinstance(document, Mapping):
            raise self._malformed("no object")
        return document

    def _results(self, document: Mapping[str, Json]) -> Iterator[Result]:
        """Yields what it found. Raises `StepFailed` if the answer is not one of such a service."""
        entries = self._entries(document)
        if not isinstance(entries, list):
            raise self._malformed(f"without {self.listed!r}")
        title, url, snippet, dates = self.fields
        for entry in entries:
            if isinstance(entry, Mapping):
                published = next((date for name in dates if (date := _text(entry.get(name)))), None)
                place, said = _text(entry.get(url)), _text(entry.get(snippet))
                yield Result(_text(entry.get(title)), place, said, published)

    def _entries(self, document: Mapping[str, Json]) -> Json:
        return document.get(self.listed)

    # --- what can go wrong ---

    def _refused(self, response: httpx2.Response, content: bytes) -> StepFailed:
        """Returns the error for a status that is not 200."""
        status, message = response.status_code, self._said(response, content)
        category = category_of(status)
        if category is Category.TRANSIENT:
            return StepFailed(message, retry_after=pause_asked(response.headers.get("retry-after")))
        if category is Category.PERMISSION:
            return StepFailed(message, category, hint=self.denied)
        if status in _USED_UP:
            return StepFailed(message, Category.PERMISSION, hint="its plan is used up")
        if 300 <= status < 400:
            hint = "it redirects, which is not followed: set search_provider to where it is"
            return StepFailed(message, Category.CONFIGURATION, hint=hint)
        return StepFailed(message, category)

    def _said(self, response: httpx2.Response, content: bytes) -> str:
        """Returns the status and what it says about it; a service may repeat the key that it refuses."""
        after = response.headers.get("retry-after")
        text = " ".join(content[:2000].decode(errors="replace").split())
        parts = [f"{self._host} answers {response.status_code} {response.reason_phrase}".rstrip()]
        parts += [f"retry after {after[:40]}"] if after else []
        parts += [text] if text else []
        told = "".join(character for character in "; ".join(parts) if character.isprintable())
        return masked(told, (self._secret,))[:400]

    def _malformed(self, what: str) -> StepFailed:
        return StepFailed(f"{self._host} gives an answer that is none of a search: {what}")

    def _unanswered(self, error: Exception) -> StepFailed:
        """Returns the error for a call that got no answer."""
        told = f"{self._host}: {type(error).__name__}"
        if is_wrong_call(error):  # what it says may be the key
            return StepFailed(told, Category.CONFIGURATION, hint="check the setting search_provider")
        if (why := distrust(error)) is not None:
            hint = "its certificate is not trusted here"
            return StepFailed(f"{told}: {why}", Category.CONFIGURATION, hint=hint)
        return StepFailed(f"{told}: {error}" if str(error) else told)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _given(**values: str | None) -> dict[str, str]:
    """Returns those that are there."""
    return {name: value for name, value in values.items() if value is not None}


# --- the providers --------------------------------------------------------------------------------


class Searxng(_Service):
    """A metasearch of one's own. https://docs.searxng.org/dev/search_api.html"""

    keyed = False
    fields = ("title", "url", "content", ("publishedDate", "pubdate"))
    denied = "let it answer with JSON: `formats: [html, json]` under `search` in its settings.yml"
    rate = 2.0

    def _call(self, search: Search) -> _Call:
        wishes = _given(language=search.language, time_range=search.time_range)
        headers = {}
        if self._secret:
            headers["authorization"] = f"Basic {base64.b64encode(self._secret.encode()).decode()}"
        return _Call("/search", {"q": search.words, "format": "json", **wishes}, headers)

    def _entries(self, document: Mapping[str, Json]) -> Json:
        """An empty list counts only if nobody whom it asked kept silent: else nothing can be told from it."""
        entries = document.get(self.listed)
        silent = document.get("unresponsive_engines")
        if entries == [] and isinstance(silent, list) and silent:
            names = [str(one[0] if isinstance(one, list) and one else one)[:40] for one in silent[:5]]
            raise StepFailed(f"{self._host} found nothing, but did not hear from {', '.join(names)}")
        return entries


class Brave(_Service):
    """https://api-dashboard.search.brave.com/app/documentation/web-search/get-started"""

    home = "https://api.search.brave.com"
    fields = ("title", "url", "description", ("page_age", "age"))
    listed = "web"
    languages: ClassVar[Mapping[str, str]] = {
        "ja": "jp",
        "pt": "pt-pt",
        "pt-br": "pt-br",
        "zh": "zh-hans",
        "zh-tw": "zh-hant",
        "zh-hant": "zh-hant",
        "en-gb": "en-gb",
    }
    """Those that it calls otherwise than everybody; of others it takes what is before the hyphen."""

    def _call(self, search: Search) -> _Call:
        wishes = _given(
            search_lang=self._language(search.language),
            freshness=search.time_range and f"p{search.time_range[0]}",
        )
        count = str(min(search.limit, 20))
        fixed = {"count": count, "result_filter": "web", "text_decorations": "false"}
        headers = {"x-subscription-token": self._secret}
        return _Call("/res/v1/web/search", {"q": search.words, **fixed, **wishes}, headers)

    def _language(self, language: str | None) -> str | None:
        lower = (language or "").lower()
        base = lower.partition("-")[0]
        return self.languages.get(lower) or self.languages.get(base) or base or None

    def _entries(self, document: Mapping[str, Json]) -> Json:
        """It leaves out what it has no results of."""
        web = document.get(self.listed, {"results": []})
        return web.get("results") if isinstance(web, Mapping) else None


class Tavily(_Service):
    """https://docs.tavily.com/documentation/api-reference/endpoint/search. It takes no language."""

    home = "https://api.tavily.com"
    fields = ("title", "url", "content", ("published_date",))
    rate = 1.5

    def _call(self, search: Search) -> _Call:
        body: dict[str, Json] = {"query": search.query, "max_results": min(search.limit, 20)}
        if search.time_range:
            body["time_range"] = search.time_range
        if search.site:
            body["include_domains"] = [search.site]
        return _Call("/search", headers={"authorization": f"Bearer {self._secret}"}, body=body)


class Serper(_Service):
    """What Google finds. https://serper.dev"""

    home = "https://google.serper.dev"
    fields = ("title", "link", "snippet", ("date",))
    listed = "organic"
    rate = 5.0

    def _call(self, search: Search) -> _Call:
        language, _, region = (search.language or "").lower().partition("-")
        wishes = _given(
            hl=language or None,
            gl=region if len(region) == 2 else None,
            tbs=search.time_range and f"qdr:{search.time_range[0]}",
        )
        body: dict[str, Json] = {"q": search.words, "num": search.limit, **wishes}
        return _Call("/search", headers={"x-api-key": self._secret}, body=body)


BUILT_IN: Final[Mapping[str, MakeProvider]] = {
    "searxng": Searxng,
    "brave": Brave,
    "tavily": Tavily,
    "serper": Serper,
}
