"""The tool `chat`, against real servers on loopback that stand for each service."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from receiving import Received, answer, receiving

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.tools.chat import Chat
from taskmark.tools.outgoing import Outgoing

Call = Callable[..., Awaitable[Any]]
FAST = Outgoing(per_minute=60_000)
WORD_JOINER = "\u2060"
URLS = {
    "slack": "slack+http://{place}/services/T0a1B2c3/B0d4E5f6/s3cr3tS3cr3t",
    "discord": "discord+http://{place}/api/webhooks/1234567890/s3cr3tS3cr3t",
    "teams": "teams+http://{place}/workflows/a1b2c3d4/invoke?sig=s3cr3tS3cr3t",
    "mattermost": "mattermost+http://{place}/hooks/s3cr3tS3cr3t",
    "telegram": "telegram+http://1234567890:AAs3cr3tS3cr3t@{place}/-1001234567",
    "ntfy": "ntfy+http://tk_s3cr3tS3cr3t@{place}/alerts",
}
HOSTILE = "<!channel> @here *now* [click](http://evil.test) & <@U123> | `x` ann@example.com #1\n# head"


def chat(service: str, place: str) -> Chat:
    return Chat({"team": URLS[service].format(place=place)}, outgoing=FAST)


async def said(call: Call, service: str, **arguments: Any) -> Received:
    """What a service gets."""
    async with receiving() as receiver:
        await call(chat(service, receiver.place), **arguments)
    (got,) = receiver.requests
    return got


def texts(value: Any) -> list[str]:
    """Every text that a card shows."""
    if isinstance(value, dict):
        return [text for key, one in value.items() for text in ([one] if key == "text" else texts(one))]
    return [text for one in value for text in texts(one)] if isinstance(value, list) else []


# --- what each service gets -----------------------------------------------------------------------


async def test_slack_shows_a_text_as_it_is_and_calls_nobody(call: Call) -> None:
    got = await said(call, "slack", title="Done", text=HOSTILE)
    assert got.line == "POST /services/T0a1B2c3/B0d4E5f6/s3cr3tS3cr3t HTTP/1.1"
    text = got.json.pop("text")
    assert text.startswith("Done\n&lt;!channel&gt; @here *now*")
    assert not set("<>") & set(text)
    assert {key: value for key, value in got.json.items() if key != "text"} == {
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


async def test_discord_shows_a_text_as_it_is_and_calls_nobody(call: Call) -> None:
    got = await said(call, "discord", title="Done", text=f"{HOSTILE} https://example.com/a_b*c*")
    assert got.line == "POST /api/webhooks/1234567890/s3cr3tS3cr3t?wait=true HTTP/1.1"
    content = got.json["content"]
    assert content.startswith("**Done**\n\\<!channel\\> @here \\*now\\* \\[click\\]\\(http://evil.test\\)")
    assert content.endswith("\n\\# head https://example.com/a_b*c*")
    assert got.json["allowed_mentions"] == {"parse": []}


async def test_teams_gets_a_card_whose_text_is_no_markup(call: Call) -> None:
    got = await said(call, "teams", title="Done", text=HOSTILE)
    assert got.line == "POST /workflows/a1b2c3d4/invoke?sig=s3cr3tS3cr3t HTTP/1.1"
    (attachment,) = got.json["attachments"]
    card = attachment["content"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert (got.json["type"], card["type"]) == ("message", "AdaptiveCard")
    assert texts(card["body"]) == ["Done", *HOSTILE.split("\n")]
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}


async def test_mattermost_shows_a_text_as_it_is_and_calls_nobody(call: Call) -> None:
    got = await said(call, "mattermost", title="@all", text=HOSTILE)
    text = got.json["text"]
    assert text.startswith(f"**@{WORD_JOINER}all**\n\\<{WORD_JOINER}!channel\\> @{WORD_JOINER}here \\*now\\*")
    assert "ann@example.com" in text


async def test_telegram_gets_plain_text_with_a_bold_title(call: Call) -> None:
    got = await said(call, "telegram", title="Done 🎉", text=HOSTILE)
    assert got.line == "POST /bot1234567890:AAs3cr3tS3cr3t/sendMessage HTTP/1.1"
    assert got.json["chat_id"] == "-1001234567"
    assert "parse_mode" not in got.json
    assert "*now* [click](http://evil.test)" in got.json["text"]
    assert f"@{WORD_JOINER}here" in got.json["text"]
    assert got.json["entities"] == [{"type": "bold", "offset": 0, "length": 7}]


async def test_ntfy_gets_a_message_for_its_topic(call: Call) -> None:
    got = await said(call, "ntfy", title="Done", text=HOSTILE)
    assert got.line == "POST / HTTP/1.1"
    assert got.json == {"topic": "alerts", "title": "Done", "message": HOSTILE}
    assert got.headers["authorization"] == "Bearer tk_s3cr3tS3cr3t"


async def test_ntfy_takes_a_user_and_a_password_or_nobody(call: Call, context: StepContext) -> None:
    async with receiving() as receiver:
        for user in ("ann:pass%2Fword@", ""):
            tool = Chat({"team": f"ntfy+http://{user}{receiver.place}/alerts"}, outgoing=FAST)
            await tool.execute(tool.validate({"text": "hi"}), replace(context, idempotency_key=user))
    first, second = receiver.requests
    assert first.headers["authorization"] == "Basic YW5uOnBhc3Mvd29yZA=="
    assert "authorization" not in second.headers


@pytest.mark.parametrize("service", URLS)
async def test_markup_is_left_and_still_calls_nobody(service: str, call: Call) -> None:
    text = "*bold* <!channel> <@U1> @all <https://example.com|here> <a href='tg://user?id=1'>x</a>"
    got = await said(call, service, title="Done", text=text, markup=True)
    body = str(texts(got.json) or got.json)
    assert "*bold*" in body
    if service in ("slack", "mattermost", "telegram"):
        assert not any(one in body for one in ("<!channel>", "<@U1>"))
    if service in ("mattermost", "telegram"):
        assert "@all" not in body
        assert "tg://user" not in body
    if service == "discord":
        assert got.json["allowed_mentions"] == {"parse": []}
    if service == "slack":
        assert "<https://example.com|here>" in body


async def test_a_title_is_one_line(call: Call) -> None:
    got = await said(call, "discord", title="Done\n\n now", text="x")
    assert got.json["content"] == "**Done now**\nx"


# --- how much -------------------------------------------------------------------------------------

LONGEST = {"slack": 40_000, "discord": 2_000, "mattermost": 16_000, "telegram": 4_096}


@pytest.mark.parametrize("service", URLS)
@pytest.mark.parametrize("text", ["<&*🎉" * 12_000, "ordinary text, " * 4_000, "line\n" * 10_000])
async def test_a_text_that_is_too_long_is_cut_to_what_the_service_takes(
    service: str, text: str, call: Call
) -> None:
    """As it counts: units of UTF-16, bytes, or the whole message; and what is missing is said."""
    async with receiving() as receiver:
        output = await call(chat(service, receiver.place), title="Done", text=text)
    (got,) = receiver.requests
    assert output["truncated"]
    assert "more characters" in got.body.decode()
    if service == "teams":
        assert 20_000 < len(got.body) <= 27_000
    elif service == "ntfy":
        assert 4_000 < len(got.json["message"].encode()) <= 4_096
    else:
        sent = got.json["content" if service == "discord" else "text"]
        units = len(sent.encode("utf-16-le")) // 2
        assert LONGEST[service] - 100 < units <= LONGEST[service]


@pytest.mark.parametrize("service", URLS)
async def test_a_text_that_fits_is_whole(service: str, call: Call) -> None:
    async with receiving() as receiver:
        assert not (await call(chat(service, receiver.place), text="x" * 1_900))["truncated"]


# --- what comes back ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "response", "id"),
    [
        ("slack", answer("200 OK", b"ok"), None),
        ("discord", answer("200 OK", {"id": "99", "content": "…"}), "99"),
        ("teams", answer("202 Accepted"), None),
        ("telegram", answer("200 OK", {"ok": True, "result": {"message_id": 7}}), "7"),
        ("ntfy", answer("200 OK", {"id": "hwQ2YpKdmg", "event": "message"}), "hwQ2YpKdmg"),
    ],
)
async def test_what_a_service_confirms_is_told(
    service: str, response: bytes, id: str | None, call: Call
) -> None:
    async with receiving(response) as receiver:
        output = await call(chat(service, receiver.place), channel="team", text="hi")
    assert output == {
        "channel": "team",
        "service": service,
        "status": 202 if service == "teams" else 200,
        "id": id,
        "truncated": False,
        "duplicate": False,
    }


async def test_what_was_said_is_not_said_again(call: Call) -> None:
    async with receiving() as receiver:
        tool = chat("slack", receiver.place)
        await call(tool, text="hi")
        assert (await call(tool, text="hi"))["duplicate"]
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("response", "category", "message"),
    [
        (answer("429 Too Many", {"retry_after": 1.5}), Category.TRANSIENT, r"retry after 1\.5 s"),
        (answer("429 Too Many", b"", "Retry-After: 30"), Category.TRANSIENT, "retry after 30 s"),
        (answer("500 Oops", b"rollup_error"), Category.TRANSIENT, "rollup_error"),
        (answer("403 Forbidden", b"action_prohibited"), Category.PERMISSION, "action_prohibited"),
        (answer("404 Not Found", b"no_service"), Category.LOGIC, "no_service"),
        (answer("400 Bad", {"ok": False, "description": "chat not found"}), Category.LOGIC, "chat not found"),
    ],
)
async def test_what_a_service_refuses_has_its_category(
    response: bytes, category: Category, message: str, call: Call
) -> None:
    async with receiving(response) as receiver:
        with pytest.raises(StepFailed, match=message) as caught:
            await call(chat("slack", receiver.place), text="hi")
    assert caught.value.category is category


# --- what is not said -----------------------------------------------------------------------------


@pytest.mark.parametrize("service", URLS)
async def test_the_url_of_a_channel_is_not_repeated(
    service: str, call: Call, context: StepContext, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even where the service repeats what it was called by."""
    caplog.set_level(logging.DEBUG, "taskmark")
    async with receiving() as receiver:
        tool = chat(service, receiver.place)
        await tool.execute(tool.validate({"text": "hi"}), replace(context, idempotency_key="first"))
        echo = f"{receiver.requests[0].line} {receiver.requests[0].headers}".encode()
        receiver.answers = [answer("404 Not Found", echo)]
        with pytest.raises(StepFailed) as refused:
            await call(tool, text="hi")
    assert "s3cr3t" not in f"{refused.value.message}{refused.value.hint}{caplog.text}{tool!r}"


async def test_a_secret_is_not_said(call: Call) -> None:
    async with receiving() as receiver:
        with pytest.raises(StepFailed, match="in `text` is what looks like a secret"):
            await call(chat("slack", receiver.place), text="password: hunter2-and-more")
        with pytest.raises(StepFailed, match="in `title` is what looks like a secret"):
            await call(chat("slack", receiver.place), title="password: hunter2-and-more", text="x")
    assert not receiver.requests


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "secret-place",
        "https://hooks.slack.com/services/secret-place",
        "slack://",
        "slack://hooks.slack.com/",
        "slack+ftp://hooks.slack.com/secret-place",
        "slack://hooks.slack.com:port/secret-place",
        "slack://[/secret-place",
        "telegram://api.telegram.org/secret-place",
        "ntfy://secret-place",
    ],
)
async def test_a_channel_that_cannot_be_is_named_and_not_repeated(url: str, call: Call) -> None:
    tool = Chat({"team": url})
    with pytest.raises(StepFailed, match="channel 'team': its URL ") as caught:
        await call(tool, text="hi")
    health = await tool.health_check()
    assert (caught.value.category, health.healthy) == (Category.CONFIGURATION, False)
    assert "secret-place" not in f"{caught.value.message}{caught.value.hint}{health.message}"


async def test_which_channel_has_to_be_clear(call: Call) -> None:
    both = Chat({"team": "slack://x/y", "night": "slack://x/z"})
    for tool, arguments, message in (
        (Chat(), {}, "no channel is configured"),
        (both, {}, "which channel is not said"),
        (both, {"channel": "nihgt"}, 'did you mean "night"'),
    ):
        with pytest.raises(StepFailed, match=message) as caught:
            await call(tool, text="hi", **arguments)
        assert caught.value.category is Category.CONFIGURATION


@pytest.mark.parametrize(
    "arguments", [{}, {"text": ""}, {"text": "x", "title": "x" * 151}, {"text": "x", "chanel": "team"}]
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(StepFailed) as caught:
        Chat().validate(arguments)
    assert caught.value.category is Category.CONFIGURATION


async def test_its_health_says_whether_it_is_configured() -> None:
    health = await Chat().health_check()
    assert (health.healthy, health.message) == (False, "no channel is configured")
    assert "TASKMARK_CHAT_CHANNELS" in (health.hint or "")
    assert (await Chat({"team": "slack://x/y"}).health_check()).message == "knows team"
    one, hello = Chat({"team": "slack://x/y"}), Chat().validate({"text": "x"})
    assert (Chat().target(hello), one.target(hello)) == (None, "team")
    assert Chat().estimate_duration(Chat().validate({"text": "x"})) == 1.0
