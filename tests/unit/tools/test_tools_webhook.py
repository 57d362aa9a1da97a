"""The tool `webhook` against real servers on loopback."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import hmac
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from receiving import answer, certificate, receiving

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.tools.network import NetworkPolicy
from taskmark.tools.outgoing import Outgoing
from taskmark.tools.webhook import LONGEST_ANSWER, Webhook, signed

Call = Callable[..., Awaitable[Any]]
KEY = b"0123456789abcdef0123456789abcdef"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
LOCAL = NetworkPolicy(allow_private=True)
PATH = "hooks/T0a1B2c3D4e5F6"
FAST = Outgoing(per_minute=60_000)


def told(place: str, **more: str) -> Webhook:
    return Webhook({"billing": {"url": f"http://{place}/{PATH}", **more}}, outgoing=FAST)


def signature(key: bytes, headers: dict[str, str], body: bytes) -> str:
    """As a receiver computes it."""
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


# --- what is sent ---------------------------------------------------------------------------------


async def test_an_endpoint_is_told_and_can_tell_who_told_it(call: Call) -> None:
    """Signed as the Standard Webhooks specification says, of the very bytes that are sent."""
    async with receiving(answer("202 Accepted", {"queued": True})) as receiver:
        payload = {"type": "order.paid", "ü": [1, 2.5]}
        output = await call(told(receiver.place, secret=SECRET), endpoint="billing", payload=payload)
    (got,) = receiver.requests
    assert got.line == f"POST /{PATH} HTTP/1.1"
    assert got.body == '{"type":"order.paid","ü":[1,2.5]}'.encode()
    assert got.headers["content-type"] == "application/json"
    assert got.headers["webhook-signature"] == signature(KEY, got.headers, got.body)
    assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 5
    assert output == {
        "status": 202,
        "id": got.headers["webhook-id"],
        "answer": {"queued": True},
        "signed": True,
        "duplicate": False,
    }


def test_a_signature_is_that_of_the_specification() -> None:
    """The example of its reference libraries."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [key])
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_while_a_secret_is_replaced_both_sign(call: Call) -> None:
    new = b"another key of thirty-two bytes!"
    secrets = f"{SECRET} whsec_{base64.b64encode(new).decode()}"
    async with receiving() as receiver:
        await call(told(receiver.place, secret=secrets), endpoint="billing", payload=None)
    (got,) = receiver.requests
    expected = [signature(key, got.headers, b"null") for key in (KEY, new)]
    assert got.headers["webhook-signature"].split() == expected


async def test_each_attempt_has_the_same_id_and_a_time_of_its_own(call: Call, context: StepContext) -> None:
    """So that a receiver can tell a repetition from another message, and an old one from a new one."""
    async with receiving(answer("503 Busy"), answer()) as receiver:
        tool = told(receiver.place, secret=SECRET)
        with pytest.raises(StepFailed, match="billing answers 503 Busy"):
            await call(tool, endpoint="billing", payload=1)
        await asyncio.sleep(1.1)
        await call(tool, endpoint="billing", payload=1)
        arguments = tool.validate({"endpoint": "billing", "payload": 1})
        await tool.execute(arguments, replace(context, idempotency_key="another"))
    first, second, other = (got.headers for got in receiver.requests)
    assert first["webhook-id"] == second["webhook-id"] != other["webhook-id"]
    assert int(second["webhook-timestamp"]) > int(first["webhook-timestamp"])
    assert "." not in first["webhook-id"]


async def test_what_was_told_is_not_told_again(call: Call) -> None:
    async with receiving(answer("200 OK", b"thanks")) as receiver:
        tool = told(receiver.place)
        first = await call(tool, endpoint="billing", payload=1)
        again = await call(tool, endpoint="billing", payload=1)
    assert again == {**first, "duplicate": True}
    assert len(receiver.requests) == 1


async def test_a_url_of_the_task_is_told_unsigned(call: Call) -> None:
    async with receiving() as receiver:
        tool = Webhook(policy=LOCAL)
        output = await call(tool, url=f"http://{receiver.place}/x", payload={})
    assert not output["signed"]
    assert "webhook-signature" not in receiver.requests[0].headers
    assert receiver.requests[0].headers["webhook-id"].startswith("msg_")


# --- where it may go ------------------------------------------------------------------------------


async def test_a_url_of_the_task_is_checked_and_one_of_the_settings_is_trusted(call: Call) -> None:
    """Nobody has to allow private addresses for all tasks, to tell a server of his own."""
    async with receiving() as receiver:
        with pytest.raises(StepFailed, match="private address") as caught:
            await call(Webhook(), url=f"http://{receiver.place}/", payload=1)
        strict = NetworkPolicy(allow_hosts=("example.com",))
        with pytest.raises(StepFailed, match="not among the allowed hosts"):
            await call(Webhook(policy=strict), url=f"http://{receiver.place}/", payload=1)
        assert not receiver.requests
        endpoints = {"mine": {"url": f"http://{receiver.place}/"}}
        assert (await call(Webhook(endpoints, strict), endpoint="mine", payload=1))["status"] == 200
    assert caught.value.category is Category.CONFIGURATION


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "0.0.0.0"])
async def test_even_the_settings_cannot_name_metadata(host: str, call: Call) -> None:
    with pytest.raises(StepFailed, match="no address for a task"):
        await call(told(host), endpoint="billing", payload=1)


async def test_a_redirect_is_not_followed(call: Call) -> None:
    async with (
        receiving() as other,
        receiving(answer("307 Temporary Redirect", b"", f"Location: http://{other.place}/")) as receiver,
    ):
        with pytest.raises(StepFailed, match="answers 307") as caught:
            await call(told(receiver.place, secret=SECRET), endpoint="billing", payload=1)
    assert (caught.value.category, other.requests) == (Category.LOGIC, [])


# --- what comes back ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "category"),
    [
        *((status, Category.TRANSIENT) for status in (408, 425, 429, 500, 502, 503)),
        *((status, Category.PERMISSION) for status in (401, 403)),
        *((status, Category.LOGIC) for status in (302, 400, 404, 410, 413, 422)),
    ],
)
async def test_each_status_has_its_category(status: int, category: Category, call: Call) -> None:
    async with receiving(answer(f"{status} Sorry", b"because")) as receiver:
        with pytest.raises(StepFailed, match=f"billing answers {status} Sorry; because") as caught:
            await call(told(receiver.place), endpoint="billing", payload=1)
    assert caught.value.category is category


async def test_a_receiver_that_names_a_time_is_left_alone_until_then(context: StepContext) -> None:
    """By every message to it; it may say so in a header or, as some do, in its JSON."""
    busy = [answer("429 Slow Down", b"", "Retry-After: 0.5"), answer()]
    odd = [answer("429 Slow Down", {"parameters": {"retry_after": 0.5}}), answer()]
    for answers in (busy, odd):
        async with receiving(*answers) as receiver:
            tool = told(receiver.place)
            fresh = replace(context, shared=type(context.shared)())
            arguments = tool.validate({"endpoint": "billing", "payload": 1})
            with pytest.raises(StepFailed, match=r"retry after 0\.5 s") as caught:
                await tool.execute(arguments, fresh)
            assert caught.value.retry_after == 0.5
            began = time.monotonic()
            await tool.execute(arguments, fresh)
            assert 0.4 < time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("said", "after"),
    [
        ("120", 120.0),
        ("1" * 12, 900.0),
        ("in 100 s", 100.0),
        ("Tue, 01 Dec 2020 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1e99", None),
        ("9" * 400, None),
    ],
)
async def test_a_time_is_read_as_seconds_or_as_a_date(said: str, after: float | None, call: Call) -> None:
    if said == "in 100 s":
        said = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    async with receiving(answer("503 Busy", b"", f"Retry-After: {said}")) as receiver:
        with pytest.raises(StepFailed, match="billing answers 503") as caught:
            await call(told(receiver.place), endpoint="billing", payload=1)
    assert caught.value.retry_after == (None if after is None else pytest.approx(after, abs=30))


async def test_a_certificate_is_checked_for_the_name(call: Call, tmp_path: Path) -> None:
    """And one that nobody trusts is configuration: another attempt will not help."""
    encrypting, trusting = certificate(tmp_path, "hook.test")

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with receiving(tls=encrypting) as receiver:
        for host, trusted in (("hook.test", None), ("other.test", trusting), ("hook.test", trusting)):
            endpoints = {"billing": {"url": f"https://{host}:{receiver.port}/{PATH}"}}
            tool = Webhook(endpoints, outgoing=FAST, certificates=trusted, resolver=here)
            if (host, trusted) == ("hook.test", trusting):
                assert (await call(tool, endpoint="billing", payload=1))["status"] == 200
                continue
            with pytest.raises(StepFailed, match="billing: ") as caught:
                await call(tool, endpoint="billing", payload=1)
            assert caught.value.category is Category.CONFIGURATION
            assert "certificate" in (caught.value.hint or "")


async def test_an_answer_is_cut_to_what_is_kept(call: Call, context: StepContext) -> None:
    bomb = gzip.compress(b"\0" * 20_000_000)
    for body, header in ((b"x" * 1_000_000, "X: y"), (bomb, "Content-Encoding: gzip")):
        async with receiving(answer("200 OK", body, header)) as receiver:
            tool = told(receiver.place)
            output = await tool.execute(
                tool.validate({"endpoint": "billing", "payload": 1}), replace(context, idempotency_key=header)
            )
            assert len(output["answer"]) == LONGEST_ANSWER + 1


async def test_what_says_json_and_is_not_is_text(call: Call) -> None:
    async with receiving(answer("200 OK", b"{oops", "Content-Type: application/json")) as receiver:
        assert (await call(told(receiver.place), endpoint="billing", payload=1))["answer"] == "{oops"


async def test_a_receiver_that_is_silent_gone_or_odd_is_transient(call: Call) -> None:
    async with receiving(b"nonsense\r\n\r\n") as receiver:
        place = receiver.place
        with pytest.raises(StepFailed, match="billing") as odd:
            await call(told(place), endpoint="billing", payload=1)
    with pytest.raises(StepFailed, match="billing") as gone:
        await call(told(place), endpoint="billing", payload=1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(StepFailed, match=r"within 0\.2 s") as late,
    ):
        await call(
            told(f"127.0.0.1:{silent.getsockname()[1]}"), endpoint="billing", payload=1, timeout="200ms"
        )
    for error in (odd, gone, late):
        assert error.value.category is Category.TRANSIENT
        assert "T0a1" not in error.value.message


async def test_a_receiver_that_trickles_is_left_in_time(call: Call) -> None:
    """And a cancelled call leaves no connection."""
    left = asyncio.Event()

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass
        finally:
            writer.close()
            left.set()

    listener = await asyncio.start_server(trickle, "127.0.0.1", 0)
    async with listener:
        place = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        with pytest.raises(StepFailed, match=r"within 0\.3 s"):
            await call(told(place), endpoint="billing", payload=1, timeout="300ms")
        await asyncio.wait_for(left.wait(), 5)
        left.clear()
        task = asyncio.create_task(call(told(place), endpoint="billing", payload=1))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(left.wait(), 5)


# --- what is not said -----------------------------------------------------------------------------


async def test_neither_url_nor_secret_is_repeated(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    """Not even where the receiver does: in its answer, and in its refusal."""
    echo = f"no such page: /{PATH}, of {SECRET}".encode()
    caplog.set_level(logging.DEBUG, "taskmark")
    caplog.set_level(logging.WARNING, "httpx2")  # as wherever it is logged: `QUIET` of the command line
    async with receiving(answer("404 Not Found", echo), answer("200 OK", echo)) as receiver:
        tool = told(receiver.place, secret=SECRET)
        with pytest.raises(StepFailed) as caught:
            await call(tool, endpoint="billing", payload=1)
        output = await call(tool, endpoint="billing", payload=1)
    for said in (caught.value.message, str(output), caplog.text):
        assert "T0a1" not in said
        assert SECRET not in said
    assert "no such page: /[hidden], of [hidden]" in output["answer"]


async def test_a_secret_in_the_payload_is_not_sent(call: Call) -> None:
    async with receiving() as receiver:
        with pytest.raises(StepFailed, match="in `payload` is what looks like a secret"):
            await call(told(receiver.place), endpoint="billing", payload={"db_password": "hunter2-x"})
        assert not receiver.requests
        await call(
            told(receiver.place), endpoint="billing", payload={"db_password": "hunter2-x"}, allowSecrets=True
        )


# --- arguments and settings -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"payload": 1},
        {"endpoint": "billing"},
        {"endpoint": "billing", "url": "http://x/", "payload": 1},
        {"endpoint": "billing", "payload": 1, "timeout": 0},
        {"endpoint": "billing", "payload": 1, "secret": SECRET},
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(StepFailed) as caught:
        Webhook().validate(arguments)
    assert caught.value.category is Category.CONFIGURATION


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://x/", "file:///etc/passwd", "http://", "http://u:p@127.0.0.1/"]
)
async def test_a_url_that_is_none_is_configuration(url: str, call: Call) -> None:
    with pytest.raises(StepFailed) as caught:
        await call(Webhook(policy=LOCAL), url=url, payload=1)
    assert caught.value.category is Category.CONFIGURATION


@pytest.mark.parametrize(
    "endpoint",
    [
        {},
        {"url": "ftp://secret-place/"},
        {"url": "secret-place"},
        {"url": "https://x/", "secret": "secret-place"},
        {"url": "https://x/", "secret": "whsec_c2VjcmV0LXBsYWNl"},
        {"url": "https://x/", "secret": "whsec_***secret-place"},
        {"url": "https://x/", "headers": "secret-place"},
    ],
)
async def test_a_setting_that_cannot_be_is_named_and_not_repeated(
    endpoint: dict[str, str], call: Call
) -> None:
    tool = Webhook({"billing": endpoint})
    with pytest.raises(StepFailed, match="endpoint 'billing': ") as caught:
        await call(tool, endpoint="billing", payload=1)
    assert caught.value.category is Category.CONFIGURATION
    health = await tool.health_check()
    assert not health.healthy
    assert "secret-place" not in f"{caught.value.message}{health.message}"


async def test_an_endpoint_that_is_not_there_names_those_that_are(call: Call) -> None:
    with pytest.raises(StepFailed, match='did you mean "billing"') as caught:
        await call(told("127.0.0.1:1"), endpoint="biling", payload=1)
    assert caught.value.hint == "the setting webhooks names them: billing"
    with pytest.raises(StepFailed, match="there is no endpoint") as none:
        await call(Webhook(), endpoint="billing", payload=1)
    assert "TASKMARK_WEBHOOKS" in (none.value.hint or "")


async def test_a_payload_that_is_too_large_is_not_sent(call: Call) -> None:
    with pytest.raises(StepFailed, match="are sent") as caught:
        await call(told("127.0.0.1:1"), endpoint="billing", payload="x" * 300_000)
    assert caught.value.category is Category.RESOURCE


async def test_its_health_says_whom_it_knows() -> None:
    health = await told("127.0.0.1:1", secret=SECRET).health_check()
    assert (health.healthy, health.message) == (True, "knows billing")
    assert (await Webhook().health_check()).healthy
    assert Webhook().target(Webhook().validate({"url": "http://x/y", "payload": 1})) == "x:80"
    assert Webhook().target(Webhook().validate({"url": "?", "payload": 1})) is None
    assert Webhook().target(Webhook().validate({"endpoint": "billing", "payload": 1})) == "billing"
    assert Webhook().estimate_duration(Webhook().validate({"url": "http://x/", "payload": 1})) == 1.0
