"""What failed calls over the network mean, and who is called."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from taskmark.errors import Category, StepFailed
from taskmark.tools.call_failures import category_of, distrust, is_wrong_call, pause_asked
from taskmark.tools.http_client import checked_client, configured_place, host_of, trusted
from taskmark.tools.masking import masked


@pytest.mark.parametrize(
    ("status", "category"),
    [
        *((status, Category.TRANSIENT) for status in (408, 425, 429, 500, 502, 503, 599)),
        *((status, Category.PERMISSION) for status in (401, 403)),
        *((status, Category.LOGIC) for status in (302, 400, 402, 404, 410, 413, 422)),
    ],
)
def test_each_status_has_its_category(status: int, category: Category) -> None:
    assert category_of(status) is category


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("Tue, 01 Dec 2020 00:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("1e99", None),
        ("²", None),
        ("9" * 400, None),
        ("Tue, 99 Dec 2020 00:00:00 GMT", None),
    ],
)
def test_a_pause_is_in_seconds_or_until_a_date(said: str | None, seconds: float | None) -> None:
    found = pause_asked(said)
    assert found == (None if seconds is None else pytest.approx(seconds, abs=0.01))


@pytest.mark.parametrize("written", [format_datetime, lambda at: at.strftime("%a, %d %b %Y %H:%M:%S")])
def test_a_date_is_so_many_seconds_away(written: Callable[[datetime], str]) -> None:
    found = pause_asked(written(datetime.now(UTC) + timedelta(seconds=100)))
    assert found == pytest.approx(100, abs=30)


def test_a_certificate_that_is_not_trusted_is_found_behind_other_errors() -> None:
    reason = ssl.SSLCertVerificationError(1, "failed")
    reason.verify_message = "self-signed certificate"
    error = httpx2.ConnectError("no")
    error.__cause__ = OSError("no")
    error.__cause__.__context__ = reason
    assert distrust(error) == "self-signed certificate"
    assert distrust(httpx2.ConnectError("no")) is None


@pytest.mark.parametrize(
    ("error", "is_wrong"),
    [
        (httpx2.InvalidURL("x"), True),
        (httpx2.UnsupportedProtocol("x"), True),
        (httpx2.LocalProtocolError("x"), True),
        (UnicodeError("x"), True),
        (httpx2.RemoteProtocolError("x"), False),
        (httpx2.ConnectError("x"), False),
    ],
)
def test_a_call_that_could_not_be_sent_is_told_from_one_without_an_answer(
    error: Exception, is_wrong: bool
) -> None:
    assert is_wrong_call(error) is is_wrong


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://Example.com/x", "example.com:443"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]:81/", "::1:81"),
        ("ftp://example.com", ""),
        ("https:///x", ""),
        ("http://h:port", ""),
    ],
)
def test_a_url_names_host_and_port(url: str, place: str) -> None:
    assert host_of(url) == place


def test_a_configured_place_is_reached_and_no_other() -> None:
    policy = configured_place("http://[::1]:81/x")
    policy.check_url(httpx2.URL("http://[::1]:81/y"))
    policy.check_addresses("::1", ["::1"])
    for url in ("http://[::1]:82/", "http://example.com:81/"):
        with pytest.raises(StepFailed, match="refused"):
            policy.check_url(httpx2.URL(url))
    with pytest.raises(StepFailed, match="private"):
        configured_place("http://h", allow_private=False).check_addresses("h", ["127.0.0.1"])


async def test_a_client_follows_no_redirects_and_trusts_whom_everybody_trusts() -> None:
    async with checked_client(configured_place("http://h")) as client:
        assert (client.follow_redirects, client.trust_env) == (False, False)
    assert trusted() is trusted()


def test_what_is_hidden_is_not_repeated() -> None:
    hidden = ("", "T0/B0/XXXX", "XXXX")
    assert masked("/T0/B0/XXXX is gone, XXXX too", hidden) == "/[hidden] is gone, [hidden] too"
