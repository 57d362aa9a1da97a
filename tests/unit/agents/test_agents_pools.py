"""Several keys or providers under one name: who is asked, and who is left alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from language_models import Place
from model_server import Asked, ModelServer, Reply

from taskmark.agents.llm.configured import Provider
from taskmark.agents.llm.provider import LanguageModels
from taskmark.contracts import CIRCUIT_OPEN
from taskmark.errors import Category, StepFailed
from taskmark.shared import MemoryShared

BOTH = ("anthropic:claude-haiku-4-5", "openai:gpt-4o-mini")


@pytest.fixture
def place(tmp_path: Path, server: ModelServer) -> Place:
    """Two keys of one provider, and two providers under the name `fast`."""
    two = Provider("openai", f"{server.url}/v1", ("ONE", "TWO"))
    found = Place(tmp_path, server, two=two)
    found.configure(names={"fast": BOTH, "mine": ("openai:gpt-4o-mini",)})
    return found


def keys(server: ModelServer) -> Counter[str]:
    """Returns how often each key was used."""
    return Counter(asked.key for asked in server.asked)


async def many(place: Place, model: str, count: int) -> None:
    """Asks so many times at once, as one worker does."""
    provider = LanguageModels(place.models)
    questions = (place.ask(model, provider=provider, item=item) for item in range(count))
    await asyncio.gather(*questions)


async def test_calls_are_shared_out_among_keys(place: Place, server: ModelServer) -> None:
    """Who has least to do is asked."""
    server.say = lambda _: Reply(text="ok", before=0.05)
    await many(place, "two:gpt-4o-mini", 12)
    assert keys(server) == {"sk-secret-one": 6, "sk-secret-two": 6}


async def test_calls_are_shared_out_among_providers(place: Place, server: ModelServer) -> None:
    server.say = lambda _: Reply(text="ok", before=0.05)
    await many(place, "fast", 8)
    assert Counter(asked.protocol for asked in server.asked) == {"anthropic": 4, "openai": 4}


async def test_one_name_for_one_model_is_that_model(place: Place, server: ModelServer) -> None:
    await place.ask("mine")
    assert server.asked[0].body["model"] == "gpt-4o-mini"


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_who_refuses_is_passed_over(status: int, place: Place, server: ModelServer) -> None:
    """The next one answers, in the same attempt."""
    server.say = lambda asked: Reply(status=status) if asked.key == "sk-secret-one" else Reply(text="ok")
    for item in range(2):
        assert (await place.ask("two:gpt-4o-mini", item=item)).output == "ok"


async def refused(place: Place, provider: LanguageModels, server: ModelServer, **context: Any) -> int:
    """Returns how often the first key is used in four calls of one worker."""
    server.asked.clear()
    server.say = lambda asked: Reply(status=401) if asked.key == "sk-secret-one" else Reply(text="ok")
    for item in range(4):
        key = f"{len(context)}-{item}"
        await place.ask("two:gpt-4o-mini", provider=provider, idempotency_key=key, **context)
    return keys(server)["sk-secret-one"]


async def test_a_key_that_was_refused_is_left_alone_for_a_while(place: Place, server: ModelServer) -> None:
    """It is asked again once keys are to be looked at anew."""
    provider = LanguageModels(place.models)
    assert await refused(place, provider, server) == 1
    assert await refused(place, provider, server, refresh_credentials=True) == 2


async def test_a_refused_key_is_asked_again_once_the_while_is_over(
    place: Place, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmark.agents.llm.endpoints.REFUSED_FOR", 0.0)
    assert await refused(place, LanguageModels(place.models), server) == 2


async def test_another_key_or_model_is_not_meant_by_a_refusal(place: Place, server: ModelServer) -> None:
    provider = LanguageModels(place.models)
    await refused(place, provider, server)
    server.asked.clear()
    for item in range(2):
        await place.ask("two:gpt-4o", provider=provider, item=item)
    assert keys(server)["sk-secret-one"] == 1
    place.keys["ONE"] = "sk-new"
    for item in range(2):
        await place.ask("two:gpt-4o-mini", provider=provider, idempotency_key=f"new-{item}")
    assert keys(server)["sk-new"] == 1


async def test_a_refused_key_is_still_asked_if_all_others_fail(place: Place, server: ModelServer) -> None:
    provider = LanguageModels(place.models)
    await refused(place, provider, server)
    server.say = lambda asked: Reply(text="ok") if asked.key == "sk-secret-one" else Reply(status=503)
    assert (await place.ask("two:gpt-4o-mini", provider=provider)).output == "ok"


async def test_what_is_no_ones_fault_is_not_tried_elsewhere(place: Place, server: ModelServer) -> None:
    """A request that is wrong is wrong for all; half an answer was paid for."""
    for reply in (Reply(text="half of an answer that is longer", cut=True), Reply(raw=b"nonsense")):
        server.asked.clear()
        server.say = lambda _, reply=reply: reply
        with pytest.raises(StepFailed):
            await place.ask("fast")
        assert len(server.asked) == 1


async def test_who_asks_to_be_left_alone_is_left_alone_by_all_workers(
    place: Place, server: ModelServer
) -> None:
    """They share it through the store."""
    shared = MemoryShared()
    server.say = lambda asked: (
        Reply(status=429, headers={"retry-after": "60"}) if asked.key == "sk-secret-one" else Reply(text="ok")
    )
    for item in range(6):
        await place.ask("two:gpt-4o-mini", shared=shared, item=item)
    assert keys(server) == {"sk-secret-one": 1, "sk-secret-two": 6}


async def test_if_nobody_can_be_asked_the_attempt_after_waits_for_the_first_that_can(
    place: Place, server: ModelServer
) -> None:
    server.say = lambda asked: Reply(
        status=429, headers={"retry-after": "40" if asked.key == "sk-secret-one" else "20"}
    )
    with pytest.raises(StepFailed, match="none of 2 could be asked") as caught:
        await place.ask("two:gpt-4o-mini")
    assert caught.value.category is Category.TRANSIENT
    assert caught.value.retry_after == 20
    assert len(server.asked) == 2


async def test_who_is_known_to_be_down_is_not_called(place: Place, server: ModelServer) -> None:
    @asynccontextmanager
    async def guard(what: str, target: str) -> AsyncIterator[None]:
        if target == "anthropic":
            raise StepFailed("it is down", type=CIRCUIT_OPEN, retry_after=9)
        yield

    for item in range(4):
        await place.ask("fast", guard=guard, item=item)
    assert {asked.protocol for asked in server.asked} == {"openai"}


async def test_no_more_calls_at_once_than_the_settings_say(tmp_path: Path, server: ModelServer) -> None:
    """With each key; whoever waits says so."""
    narrow = Provider("openai", f"{server.url}/v1", ("ONE",), concurrency=2)
    place = Place(tmp_path, server, narrow=narrow)
    running: list[int] = []
    most: list[int] = []

    def say(asked: Asked) -> Reply:
        running.append(1)
        most.append(len(running))
        import time

        time.sleep(0.05)
        running.pop()
        return Reply(text="ok")

    server.say = say
    await many(place, "narrow:gpt-4o-mini", 8)
    assert max(most) == 2
    assert any("waits for its turn" in one for one in place.said)


async def test_no_more_calls_in_a_minute_than_the_settings_say(tmp_path: Path, server: ModelServer) -> None:
    """600 a minute are one each tenth of a second, after ten at once."""
    paced = Provider("openai", f"{server.url}/v1", ("ONE",), per_minute=600)
    place = Place(tmp_path, server, paced=paced)
    began = asyncio.get_running_loop().time()
    await many(place, "paced:gpt-4o-mini", 14)
    assert asyncio.get_running_loop().time() - began > 0.3
    assert len(server.asked) == 14


async def test_keys_that_are_not_set_are_left_out(place: Place, server: ModelServer) -> None:
    """As long as one is; once one is set, it is used."""
    del place.keys["TWO"]
    provider = LanguageModels(place.models)
    await place.ask("two:gpt-4o-mini", provider=provider, item=1)
    await place.ask("two:gpt-4o-mini", provider=provider, item=2)
    assert keys(server) == {"sk-secret-one": 2}
    place.keys["TWO"] = "sk-late"
    await place.ask("two:gpt-4o-mini", provider=provider, item=3)
    await place.ask("two:gpt-4o-mini", provider=provider, item=4)
    assert keys(server)["sk-late"] == 1


@pytest.mark.parametrize(
    ("missing", "model", "message"),
    [
        ((), "fast", ""),
        (("ONE", "TWO"), "two:gpt", "two:gpt needs a key, and ONE, TWO is not set"),
        ((), "pool:gone", "no models are called 'gone'"),
    ],
)
def test_health_tells_whether_somebody_can_be_asked(
    missing: tuple[str, ...], model: str, message: str, place: Place
) -> None:
    """Before anything is started."""
    for name in missing:
        del place.keys[name]
    health = LanguageModels(place.models).health(place.models.spelled(model))
    assert (health.healthy, health.message) == (not message, message)


def test_health_names_the_extra_that_is_missing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskmark.agents.llm.provider.LIBRARY", "no_such_library")
    health = LanguageModels(place.models).health("openai:gpt")
    assert not health.healthy
    assert "taskmark[llm]" in (health.hint or "")
