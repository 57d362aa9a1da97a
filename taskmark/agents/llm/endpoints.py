"""One key of one provider: whom a call finally goes to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from taskmark.agents.llm.configured import Models, Price, Provider
from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.tools.pace import Limit

if TYPE_CHECKING:
    from pydantic_ai.models import Model

EXTRA: Final = "llm"
NO_KEY: Final = "none"
"""What is sent to a server that wants no key, because the library sends something."""
UNLIMITED: Final = 60_000.0
"""Calls per minute where nothing is said; a provider may still ask to be left alone."""
REFUSED_FOR: Final = 60.0
"""Seconds for which a key that was refused is asked after all others."""
CONNECT: Final = 10.0
"""Seconds for a connection."""
PROTOCOLS: Final[Mapping[str, str]] = {"openai": "openai-chat"}
"""What others than OpenAI speak too is its older protocol."""


class Endpoint:
    """A provider with one of its keys. Its client is made at the first call, and again for another key."""

    def __init__(
        self, name: str, provider: Provider, variable: str | None, number: int, models: Models
    ) -> None:
        self.provider = provider
        self.label = name if number == 0 else f"{name}#{number + 1}"
        """What it is called in messages: never its key."""
        self.in_flight = 0
        self.held = 0.0
        """Until when it wants to be left alone, by the monotonic clock, as far as was known …"""
        self.looked_at = -1e9
        """… when that was looked at."""
        self._refused: dict[str, tuple[str | None, float]] = {}
        """By model: the key that may not use it, and until when that counts, by the monotonic clock."""
        self._variable = variable
        self._models = models
        self._places = asyncio.Semaphore(provider.concurrency) if provider.concurrency else None
        self._making = asyncio.Lock()
        self._made_with: str | None = None
        self._made: dict[str, Model] = {}
        """By name, with that key."""
        self._client: Any = None

    @property
    def key(self) -> str | None:
        """The key as it is now, or None."""
        return self._models.lookup(self._variable) if self._variable else NO_KEY

    def refuse(self, model: str, key: str | None) -> None:
        """Remembers for a while that a key may not use a model. Another key may."""
        self._refused[model] = (key, time.monotonic() + REFUSED_FOR)

    def is_refused(self, model: str) -> bool:
        """Whether the key as it is now was refused a moment ago."""
        key, until = self._refused.get(model, (None, 0.0))
        return key == self.key and time.monotonic() < until

    @property
    def variable(self) -> str | None:
        """Where the key is looked up; None: it needs none."""
        return self._variable

    @property
    def limit(self) -> Limit:
        """How often it may be called."""
        per_minute = self.provider.per_minute or UNLIMITED
        return Limit("agent", self.label, per_minute, burst=max(1.0, per_minute / 60))

    def price(self, model: str) -> Price | None:
        """Returns what the settings say that a model costs."""
        return self.provider.prices.get(model)

    @asynccontextmanager
    async def place(self, context: StepContext) -> AsyncIterator[None]:
        """Lends a place among the calls at once."""
        self.in_flight += 1
        try:
            if self._places is None:
                yield
                return
            if self._places.locked():
                context.say(f"waits for its turn: {self.provider.concurrency} calls of {self.label} at once")
            async with self._places:
                yield
        finally:
            self.in_flight -= 1

    async def model(self, name: str, *, anew: bool = False) -> Model:
        """Returns pydantic-ai's model; `anew` with a new client. Raises `StepFailed` (configuration)."""
        key = self.key
        if not key:
            raise _without_key(self)
        if key != self._made_with or anew:
            self._made_with, self._client, self._made = key, None, {}
        async with self._making:
            if name not in self._made:
                # The first of them imports the provider's library, which takes a second or two.
                self._made[name] = await asyncio.to_thread(self._make, name, key)
            return self._made[name]

    def _make(self, name: str, key: str) -> Model:
        from pydantic_ai.models import infer_model

        client = self._client = self._client or _client(self.provider, key, self._models.stall)
        speaks = PROTOCOLS.get(self.provider.speaks, self.provider.speaks)
        return infer_model(f"{speaks}:{name}", provider_factory=lambda _: client)


def endpoints(name: str, models: Models) -> tuple[Endpoint, ...]:
    """Returns an endpoint for each key of a provider."""
    provider = models.providers[name]
    variables: tuple[str | None, ...] = provider.keys or (None,)
    return tuple(Endpoint(name, provider, variable, n, models) for n, variable in enumerate(variables))


def _client(provider: Provider, key: str, stall: float) -> Any:
    """Returns pydantic-ai's provider. Its client follows no redirect: the key would go along."""
    import httpx2
    from pydantic_ai.providers import infer_provider_class

    timeout = httpx2.Timeout(None, connect=CONNECT, read=stall)
    client = httpx2.AsyncClient(timeout=timeout, follow_redirects=False)
    given = {"api_key": key, "http_client": client}
    if provider.base_url:
        given["base_url"] = provider.base_url
    try:
        return infer_provider_class(PROTOCOLS.get(provider.speaks, provider.speaks))(**given)
    except (ValueError, TypeError, ImportError) as error:
        raise StepFailed(
            f"nobody speaks {provider.speaks!r} here: {type(error).__name__}",
            Category.CONFIGURATION,
            hint="`speaks` is `anthropic` or `openai`, or a provider of pydantic-ai whose extra is installed",
        ) from error


def _without_key(endpoint: Endpoint) -> StepFailed:
    return StepFailed(
        f"{endpoint.label} needs a key, and {endpoint.variable} is not set",
        Category.CONFIGURATION,
        hint=f"set {endpoint.variable} for the workers, or name other variables as `keys` of the provider",
    )


__all__ = ["EXTRA", "Endpoint", "endpoints"]
