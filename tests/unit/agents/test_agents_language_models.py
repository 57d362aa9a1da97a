"""Language models over real HTTP: what they are told, what they answer, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from pathlib import Path
from typing import Any

import pytest
from language_models import PROTOCOLS, Place
from model_server import Asked, ModelServer, Reply

from taskmark.agents.llm.configured import Price, Provider
from taskmark.contracts import Usage
from taskmark.errors import Category, StepFailed

SCHEMA = {
    "type": "object",
    "properties": {"plant": {"type": "string"}, "count": {"type": "integer", "minimum": 1}},
    "required": ["plant", "count"],
    "additionalProperties": False,
}
BEANS = {"plant": "bean", "count": 3}


@pytest.fixture
def place(tmp_path: Path, server: ModelServer) -> Place:
    return Place(tmp_path, server)


async def failing(place: Place, model: str, **options: Any) -> StepFailed:
    """Returns how asking fails."""
    with pytest.raises(StepFailed) as caught:
        await place.ask(model, **options)
    return caught.value


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_model_answers_and_what_it_used_is_counted(
    protocol: str, place: Place, server: ModelServer
) -> None:
    """The prompt is the system's, the instruction the user's; the key goes to the provider."""
    server.say = lambda _: Reply(text=" Beans. ")
    answer = await place.ask(protocol)
    assert answer.output == "Beans."
    assert answer.usage is not None
    assert answer.usage.tokens == 120
    assert 0 < answer.usage.cost < 0.01
    (asked,) = server.asked
    assert asked.key == "sk-secret-one"
    assert "Be ann." in asked.text
    assert "What grows here?" in asked.text
    assert asked.tools == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_answer_fits_the_schema(protocol: str, place: Place, server: ModelServer) -> None:
    """It is given as arguments of the tool that ends the work."""
    server.say = lambda _: Reply(calls=(("final-answer", BEANS),))
    assert (await place.ask(protocol, schema=SCHEMA)).output == BEANS
    assert server.asked[0].tools == ["final-answer"]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer", "minimum": 3}, 4),
        ({"type": "array", "items": {"type": "string"}}, ["a"]),
        ({"enum": ["x"]}, "x"),
    ],
)
async def test_an_answer_need_not_be_an_object(
    schema: dict[str, Any], value: Any, place: Place, server: ModelServer
) -> None:
    server.say = lambda _: Reply(calls=(("final-answer", {"value": value}),))
    assert (await place.ask("openai", schema=schema)).output == value


@pytest.mark.parametrize("text", [json.dumps(BEANS), f"```json\n{json.dumps(BEANS)}\n```"])
async def test_an_answer_that_is_given_as_text_counts_if_it_fits(
    text: str, place: Place, server: ModelServer
) -> None:
    """Small models forget the tool."""
    server.say = lambda _: Reply(text=text)
    assert (await place.ask("openai", schema=SCHEMA)).output == BEANS


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("wrong", [{"plant": "bean"}, '{"plant": ', {"plant": "bean", "count": 0}])
async def test_a_model_is_told_what_does_not_fit_and_asked_again(
    protocol: str, wrong: Any, place: Place, server: ModelServer
) -> None:
    server.say = lambda asked: Reply(calls=(("final-answer", BEANS if asked.turns else wrong),))
    answer = await place.ask(protocol, schema=SCHEMA)
    assert answer.output == BEANS
    assert answer.usage is not None
    assert answer.usage.tokens == 240
    assert "final-answer" in server.asked[1].last or "does not fit" in server.asked[1].last


async def test_a_model_that_never_fits_is_asked_three_times_and_no_more(
    place: Place, server: ModelServer
) -> None:
    """More attempts would cost more and bring the same: it is a failure of logic."""
    server.say = lambda _: Reply(text="I would rather talk.")
    failure = await failing(place, "anthropic", schema=SCHEMA)
    assert failure.category is Category.LOGIC
    assert "was told 2 times" in failure.message
    assert len(server.asked) == 3


async def test_the_schema_of_the_agents_file_counts_where_the_step_has_none(
    place: Place, server: ModelServer
) -> None:
    server.say = lambda _: Reply(calls=(("final-answer", BEANS),))
    agent = {"metadata": {"schema": SCHEMA}}
    assert (await place.ask("openai", agent=agent)).output == BEANS


async def test_who_watches_sees_the_answer_grow(place: Place, server: ModelServer) -> None:
    """A few times a second, the last line of it."""
    server.say = lambda _: Reply(text="First line.\n" + "and more of it " * 20, pause=0.04)
    await place.ask("anthropic")
    assert 1 <= len(place.said) <= 6
    assert "characters: and more of it" in place.said[-1]


async def test_a_long_silence_is_a_failure_that_may_pass(place: Place, server: ModelServer) -> None:
    """Before the first word, and in the middle."""
    place.configure(stall=0.3)
    for reply in (Reply(text="late", before=1.5), Reply(text="slow " * 10, pause=1.5)):
        server.say = lambda _, reply=reply: reply
        began = time.monotonic()
        failure = await failing(place, "openai")
        assert time.monotonic() - began < 1.4
        assert failure.category is Category.TRANSIENT
        assert "fell silent" in failure.message


async def test_slow_but_steady_is_no_silence(place: Place, server: ModelServer) -> None:
    place.configure(stall=0.4)
    server.say = lambda _: Reply(text="steady " * 12, pause=0.15)
    assert str((await place.ask("openai")).output).startswith("steady")


async def test_a_cancelled_question_leaves_no_connection(place: Place, server: ModelServer) -> None:
    """Its stream ends with it."""
    server.say = lambda _: Reply(text="word " * 400, pause=0.02)
    asking = asyncio.create_task(place.ask("anthropic"))
    while not server.asked:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.sleep(0.3)
    assert not server.answered


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("reply", "category", "message"),
    [
        (Reply(status=400, error="no such field"), Category.LOGIC, "HTTP 400: no such field"),
        (Reply(status=404, error="no such model"), Category.LOGIC, "HTTP 404"),
        (Reply(status=401, error="wrong key sk-secret-one"), Category.PERMISSION, r"wrong key \[hidden\]"),
        (Reply(status=403), Category.PERMISSION, "HTTP 403"),
        (Reply(status=402, error_type="billing_error"), Category.CONFIGURATION, "HTTP 402"),
        (Reply(status=408), Category.TRANSIENT, "HTTP 408"),
        (Reply(status=425), Category.TRANSIENT, "HTTP 425"),
        (Reply(status=429), Category.TRANSIENT, "HTTP 429"),
        (Reply(status=500), Category.TRANSIENT, "HTTP 500"),
        (Reply(status=529), Category.TRANSIENT, "HTTP 529"),
        (
            Reply(text="half an answer, no more than that", cut=True),
            Category.TRANSIENT,
            "broke off its answer",
        ),
        (Reply(raw=b"<html>a proxy says hello</html>"), Category.TRANSIENT, "what is no answer"),
        (Reply(raw=b'data: {"type": "mess'), Category.TRANSIENT, "what is no answer"),
        (Reply(raw=b"", status=302, headers={"location": "/there"}), Category.CONFIGURATION, "redirects"),
    ],
)
async def test_what_goes_wrong_has_its_category(
    protocol: str, reply: Reply, category: Category, message: str, place: Place, server: ModelServer
) -> None:
    server.say = lambda _: reply
    with pytest.raises(StepFailed, match=message) as caught:
        await place.ask(protocol)
    assert caught.value.category is category
    assert "sk-secret" not in "".join(traceback.format_exception(caught.value))
    assert len(server.asked) == 1


@pytest.mark.parametrize("wait", ["7", "7.0"])
async def test_how_long_a_provider_wants_to_be_left_alone_is_passed_on(
    wait: str, place: Place, server: ModelServer
) -> None:
    header = {"retry-after": wait} if wait == "7" else {"retry-after-ms": "7000"}
    server.say = lambda _: Reply(status=429, headers=header)
    assert (await failing(place, "anthropic")).retry_after == 7


async def test_nobody_listening_is_a_failure_that_may_pass(tmp_path: Path, server: ModelServer) -> None:
    place = Place(tmp_path, server, openai=Provider("openai", "http://127.0.0.1:9/v1", ("ONE",)))
    assert (await failing(place, "openai")).category is Category.TRANSIENT


@pytest.mark.parametrize(
    "error", ["prompt is too long: 300000 tokens", "maximum context length is 8192 tokens"]
)
async def test_too_much_to_read_is_less_the_next_time(error: str, place: Place, server: ModelServer) -> None:
    """The data are shortened, and say so; the instruction stays."""
    protocol = "anthropic" if "prompt" in error else "openai"
    server.say = lambda asked: (
        Reply(status=400, error=error, error_type="invalid_request_error")
        if len(asked.text) > 40_000
        else Reply(text="ok")
    )
    told = {"inputs": {"text": "x" * 80_000}}
    assert (await failing(place, protocol, told=told)).category is Category.RESOURCE
    answer = await place.ask(protocol, told=told, attempt=2, reduced=True)
    assert answer.output == "ok"
    assert "more characters are left out" in server.asked[-1].text
    assert "What grows here?" in server.asked[-1].text


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_answer_that_is_cut_off_is_asked_for_shorter(
    protocol: str, place: Place, server: ModelServer
) -> None:
    """What it cost is charged all the same."""
    charged: list[Usage] = []
    server.say = lambda _: Reply(text="and so on", finish="length")
    failure = await failing(place, protocol, charge=charged.append)
    assert failure.category is Category.RESOURCE
    assert charged[-1].tokens == 120


async def test_a_key_that_is_not_there_is_named(place: Place, server: ModelServer) -> None:
    """Nothing is sent."""
    place.keys.clear()
    failure = await failing(place, "anthropic")
    assert failure.category is Category.CONFIGURATION
    assert failure.message == "anthropic needs a key, and ONE is not set"
    assert not server.asked


async def test_a_changed_key_is_used_from_then_on(place: Place, server: ModelServer) -> None:
    """Nobody has to start the worker again."""
    from taskmark.agents.llm.provider import LanguageModels

    provider = LanguageModels(place.models)
    server.say = lambda asked: Reply(text="ok") if asked.key == "sk-new" else Reply(status=401)
    assert (await failing(place, "openai", provider=provider)).category is Category.PERMISSION
    place.keys["ONE"] = "sk-new"
    answer = await place.ask("openai", provider=provider, refresh_credentials=True)
    assert answer.output == "ok"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("anthropic:", "names no model"),
        ("pool:gone", "no models are called 'gone'"),
        ("odd:one", "nobody speaks 'odd'"),
    ],
)
async def test_a_model_that_cannot_be_is_refused(
    model: str, message: str, tmp_path: Path, server: ModelServer
) -> None:
    place = Place(tmp_path, server, odd=Provider("odd", server.url, ("ONE",)))
    failure = await failing(place, model)
    assert message in failure.message
    assert failure.category is Category.CONFIGURATION


async def test_an_agent_that_says_nonsense_of_itself_is_refused(place: Place) -> None:
    failure = await failing(place, "openai", agent={"metadata": {"maxTurns": 0}})
    assert "agent ann: maxTurns" in failure.message
    assert failure.category is Category.CONFIGURATION


# --- cost -----------------------------------------------------------------------------------------


async def test_a_price_in_the_settings_counts(tmp_path: Path, server: ModelServer) -> None:
    """100 tokens read at 10 and 20 written at 50 dollars a million."""
    local = Provider("openai", f"{server.url}/v1", ("ONE",), prices={"own": Price(10.0, 50.0)})
    place = Place(tmp_path, server, local=local)
    server.say = lambda _: Reply(text="ok")
    usage = (await place.ask("local:own")).usage
    assert usage is not None
    assert usage.cost == pytest.approx(0.002)


async def test_a_model_of_unknown_price_costs_nothing_and_its_tokens_count(
    tmp_path: Path, server: ModelServer
) -> None:
    place = Place(tmp_path, server, local=Provider("openai", f"{server.url}/v1"))
    assert (await place.ask("local:own")).usage == Usage(tokens=120, cost=0.0)


async def test_what_a_server_does_not_count_is_estimated(tmp_path: Path, server: ModelServer) -> None:
    """Else a budget of tokens would never end."""
    place = Place(tmp_path, server, local=Provider("openai", f"{server.url}/v1"))
    server.say = lambda _: Reply(text="word " * 100, usage=None)
    usage = (await place.ask("local:own", told={"inputs": {"a": "b" * 400}})).usage
    assert usage is not None
    assert 200 < usage.tokens < 400


async def test_a_server_that_wants_no_key_gets_none_of_ours(tmp_path: Path, server: ModelServer) -> None:
    place = Place(tmp_path, server, local=Provider("openai", f"{server.url}/v1"))
    await place.ask("local:own")
    assert server.asked[0].key == "none"


async def test_an_agents_options_reach_the_provider(place: Place, server: ModelServer) -> None:
    await place.ask("anthropic", agent={"metadata": {"maxTokens": 77, "temperature": 0.5}})
    assert (server.asked[0].body["max_tokens"], server.asked[0].body["temperature"]) == (77, 0.5)


def test_asked_reads_a_request() -> None:
    """The server of these tests tells protocols apart."""
    asked = Asked("openai", {"messages": [{"role": "user"}]}, {"authorization": "Bearer k"}, 0.0)
    assert (asked.key, asked.turns) == ("k", 0)
