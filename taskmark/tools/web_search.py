"""`web-search`: pages of the web, from the search provider that the setting names.

What comes back was written by strangers, and goes to people and to models. So it is text: no tags, nothing
invisible, addresses of the web only, and no more of it than was asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import re
import time
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from typing import Annotated, Final, TypeAlias
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed, Unreachable
from taskmark.ports import Health, StepContext, Tool
from taskmark.task.durations import parse_duration
from taskmark.task.model import Json
from taskmark.tools.pace import Limit, Pace
from taskmark.tools.search_providers import (
    BUILT_IN,
    EXAMPLES,
    Address,
    MakeProvider,
    Result,
    Search,
    SearchProvider,
    TimeRange,
    read_address,
)
from taskmark.tools.sharing import Sharing
from taskmark.tools.sizes import json_size
from taskmark.tools.validation import Arguments, Timeout, did_you_mean

Memory: TypeAlias = Annotated[
    float,
    Field(ge=0, le=30 * 86_400),
    BeforeValidator(parse_duration),
    Field(json_schema_extra={"type": ["string", "integer"], "default": "1h", "minimum": 0}),
]
"""Seconds, written as a duration."""

KIND: Final = "web-search"
"""Of what workers share about searches."""
VERSION: Final = 1
"""Of what is kept in the cache; another one if results get another form."""
LONGEST_PAUSE: Final = 10.0
"""Seconds that a provider may ask for and be waited for; after a longer one the step is tried again."""
MOST_TRIES: Final = 3
"""For as many times a provider is asked within one step, as long as it asks for short pauses."""
USUAL_SECONDS: Final = 1.5
"""That a search takes: a call over the network, to somebody who makes calls himself."""
LONGEST_TITLE: Final = 300
LONGEST_SNIPPET: Final = 1_000
LONGEST_URL: Final = 2_000
LONGEST_DATE: Final = 60
_SETTING: Final = f"set TASKMARK_SEARCH_PROVIDER, such as {EXAMPLES}"
_TAG: Final = re.compile(r"<[/!?a-z][^<>]*>", re.IGNORECASE)
_BEGINS_A_TAG: Final = re.compile(r"<(?=[/!?a-z])", re.IGNORECASE)
_URL: Final = re.compile(r"https?://[^\s<>\"\\^`{|}]+", re.IGNORECASE)
_JOINERS: Final = "\u200c\u200d"
"""Invisible, but parts of words in Persian and Hindi, and of emoji."""


class WebSearchParameters(Arguments):
    """What to look for."""

    query: str = Field(max_length=400, description="Words, as people type them")
    limit: int = Field(default=10, ge=1, le=50, description="Results at most; a provider may have fewer")
    language: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})?$",
        description="Preferred, such as `de` or `pt-BR`, as far as the provider knows languages",
    )
    time_range: TimeRange | None = Field(default=None, description="How old results may be")
    site: str | None = Field(
        default=None, pattern=r"^[\w-]+(\.[\w-]+)+$", description="Only pages of this host and those below it"
    )
    cache: Memory = Field(default=3_600.0, description="How old an answer may be; 0 asks anew")
    timeout: Timeout = Field(default=30.0, description="A duration such as 30s, waiting for a turn included")

    @field_validator("query")
    @classmethod
    def _has_words(cls, query: str) -> str:
        """Nothing invisible is asked for."""
        if not (legible := _legible(query)):
            raise ValueError("it has no words")
        return legible


class WebSearch(Tool[WebSearchParameters]):
    """Searches the web by the provider that the setting names."""

    name = "web-search"
    effects = False
    parameters = WebSearchParameters

    def __init__(
        self,
        setting: str = "",
        *,
        rate: float | None = None,
        providers: Mapping[str, MakeProvider] | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        """`setting` says whom to ask (`search_providers.read_address`), `rate` how many searches a second all
        workers may make, if not as many as the provider allows; `providers` are those of plugins, by the name
        that stands first in the setting, and may be filled after this; `sharing` asks what workers
        share."""
        self._setting = setting
        self._given_rate = rate
        self._added = {} if providers is None else providers
        self._sharing = sharing or Sharing()
        self._pace = Pace(self._sharing)

    async def execute(self, parameters: WebSearchParameters, context: StepContext) -> Json:
        """Returns `query`, `provider`, `results` (title, url, snippet, published) and whether they were
        `cached`. Raises `StepFailed`."""
        search = _search(parameters)
        key = _cache_key(self._address, search)
        seconds = min(parameters.timeout, context.timeout)
        ends_at = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                results = await self._remembered(context, key, parameters.cache)
                if results is not None:
                    return self._output(search, results, cached=True)
                results = cleaned(await self._ask(search, context, ends_at), search)
        except TimeoutError as error:
            raise StepFailed(f"{self._address.name}: no answer within {seconds:g} s") from error
        await self._remember(context, key, results, parameters.cache)
        return self._output(search, results, cached=False)

    def target(self, parameters: WebSearchParameters) -> str | None:
        """The provider."""
        with suppress(StepFailed):
            return _place(self._address)
        return None

    def estimate_duration(self, parameters: WebSearchParameters) -> float:
        """Seconds, as they usually are."""
        return USUAL_SECONDS

    async def health_check(self) -> Health:
        """Whether a provider is configured; it is not asked, because each search may cost something."""
        try:
            _ = self._provider
        except StepFailed as error:
            return Health(healthy=False, message=error.message, hint=error.hint)
        return Health(healthy=True, message=f"asks {_place(self._address)}")

    @cached_property
    def _address(self) -> Address:
        """Raises `StepFailed` (configuration)."""
        if not self._setting.strip():
            raise StepFailed("no search provider is configured", Category.CONFIGURATION, hint=_SETTING)
        try:
            return read_address(self._setting)
        except ValueError as error:
            raise _misconfigured(str(error)) from None  # nothing that could repeat the key

    @cached_property
    def _provider(self) -> SearchProvider:
        """Raises `StepFailed` (configuration)."""
        name, known = self._address.name, {**self._added, **BUILT_IN}
        if name not in known:
            raise _misconfigured(f"there is no provider {name!r}{did_you_mean(name, known)}")
        try:
            return known[name](self._address)
        except ValueError as error:
            raise _misconfigured(str(error)) from None  # nothing that could repeat the key

    def _output(self, search: Search, results: list[Json], *, cached: bool) -> Json:
        fitting = _fitting(results)
        return {"query": search.query, "provider": self._address.name, "results": fitting, "cached": cached}

    # --- asking, in turn ---

    async def _ask(self, search: Search, context: StepContext, ends_at: float) -> Iterable[Result]:
        """Returns what the provider found. A pause that it asks for it gets from all workers; if it is a
        short one it is asked again after that. Raises `StepFailed`."""
        asked = 0
        while True:
            await self._pace.turn(self._limit, context, _patience(ends_at))
            try:
                return await self._provider.search(search)
            except StepFailed as error:
                if not error.retry_after:
                    raise
                asked += 1
                await self._pace.hold(self._limit, context, error.retry_after)
                if error.retry_after > min(LONGEST_PAUSE, _patience(ends_at)) or asked == MOST_TRIES:
                    raise

    @cached_property
    def _limit(self) -> Limit:
        """At once may be asked what is allowed in a second."""
        rate = self._given_rate or self._provider.rate
        return Limit(self.name, _place(self._address), 60 * rate, burst=rate)

    # --- remembering ---

    async def _remembered(self, context: StepContext, key: str, most: float) -> list[Json] | None:
        """Returns results that are at most so many seconds old, or None."""
        if not most:
            return None
        try:
            kept = await self._sharing.ask(context.shared, lambda shared: shared.get(KIND, key))
        except Unreachable:
            return None
        if not isinstance(kept, dict) or time.time() - _number(kept.get("at")) > most:
            return None
        results = kept.get("results")
        return results if isinstance(results, list) else None

    async def _remember(self, context: StepContext, key: str, results: list[Json], seconds: float) -> None:
        """Keeps results; finding nothing is not kept, because the next time may be luckier."""
        if not seconds or not results:
            return
        kept = {"at": time.time(), "results": results}
        try:
            await self._sharing.ask(context.shared, lambda shared: shared.put(KIND, key, kept, seconds))
        except Unreachable:
            context.logger.debug("web-search: what workers share does not answer, so nothing is kept")


def _patience(ends_at: float) -> float:
    """Returns the seconds that a turn may be waited for, so that there is time for the search: what we waited
    for ourselves must not look as if the provider were slow."""
    left = max(0.0, ends_at - time.monotonic())
    return max(left - USUAL_SECONDS, left / 2)


def _number(kept: Json | None) -> float:
    return float(kept) if isinstance(kept, (int, float)) else 0.0


def _search(parameters: WebSearchParameters) -> Search:
    site = parameters.site and parameters.site.lower()
    return Search(parameters.query, parameters.limit, parameters.language, parameters.time_range, site)


def _cache_key(address: Address, search: Search) -> str:
    """Returns what stands for a search: whom it asks, in which version, and everything that it says."""
    said = json.dumps([VERSION, _place(address), asdict(search)], sort_keys=True)
    return f"results {hashlib.sha256(said.encode()).hexdigest()}"


def _place(address: Address) -> str:
    """Returns whom an address names, without the secret."""
    return f"{address.name} at {address.url}" if address.url else address.name


def _misconfigured(problem: str) -> StepFailed:
    return StepFailed(f"the search provider: {problem}", Category.CONFIGURATION, hint=_SETTING)


# --- what is returned -----------------------------------------------------------------------------


def cleaned(found: Iterable[Result], search: Search) -> list[Json]:
    """Returns results as text that does nothing, each page once, at most as many as were asked for."""
    kept: dict[str, Json] = {}
    for result in found:
        if len(kept) == search.limit:
            break
        if _is_web(result.url) and _is_of(result.url, search.site):
            kept.setdefault(_page(result.url), _entry(result))
    return list(kept.values())


def _entry(result: Result) -> Json:
    return {
        "title": plain(result.title, LONGEST_TITLE) or result.url,
        "url": result.url,
        "snippet": plain(result.snippet, LONGEST_SNIPPET),
        "published": plain(result.published, LONGEST_DATE) or None if result.published else None,
    }


def plain(text: str, longest: int) -> str:
    """Returns a text without tags, entities and what cannot be seen, cut to so many characters.

    A tag can be hidden in another one or behind entities, so what is left of `<` when the tags are gone gets
    a space behind it: then it begins none.
    """
    text = html.unescape(_without_tags(text[: 4 * longest]))
    text = _legible(_BEGINS_A_TAG.sub("< ", _without_tags(text)))
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def _without_tags(text: str) -> str:
    for _ in range(4):
        before, text = text, _TAG.sub("", text)
        if text == before:
            break
    return text


def _legible(text: str) -> str:
    """Returns a text without what is invisible, with single spaces: control characters, the ones that turn
    its direction, and the ones in which somebody could hide words from people that a model would read."""
    return " ".join("".join(character for character in text if not _is_hidden(character)).split())


def _is_hidden(character: str) -> bool:
    if character.isspace() or character in _JOINERS:
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn")


def _is_web(url: str) -> bool:
    """Whether it is a plain address of the web: no other scheme, no user, nothing hidden."""
    if len(url) > LONGEST_URL or not _URL.fullmatch(url) or any(map(_is_hidden, url)):
        return False
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return False


def _is_of(url: str, site: str | None) -> bool:
    """Whether a page is of a host or of one below it; a provider may not care."""
    host = urlsplit(url).hostname or ""
    return site is None or host == site or host.endswith(f".{site}")


def _page(url: str) -> str:
    """Returns what is the same for two addresses of one page."""
    parts = urlsplit(url)
    return f"{parts.netloc.lower()}{parts.path.rstrip('/')}?{parts.query}"


def _fitting(results: list[Json]) -> list[Json]:
    """Returns the first results, as many as an adapter may return."""
    budget = ADAPTER_LIMIT - 8 * 1024
    for number, result in enumerate(results):
        budget -= json_size(result) + 1
        if budget < 0:
            return results[:number]
    return results
