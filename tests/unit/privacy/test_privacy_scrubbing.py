"""What stands where something was found, and what is left alone."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskmark.errors import InvalidSettings
from taskmark.privacy.detecting import NAMES, Detector
from taskmark.privacy.detectors import BUILT_IN
from taskmark.privacy.scrubbing import LONGEST, UNSEEN, Scrubber, chosen

EVERY = Scrubber(list(BUILT_IN.values()))
CARD = 4111111111111111


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("mail to=alice@example.com, please", "mail to=[email], please"),
        ("from 10.1.2.3:8080", "from [ipv4]:8080"),
        ("[2001:db8::1]:443 and fe80::1%eth0", "[[ipv6]]:443 and [ipv6]"),
        ("item {0f8fad5b-d9cb-469f-a165-70867728950e}", "item {[uuid]}"),
        ("call (212) 555-0100 x12 now", "call [phone] now"),
        ("card 4111 1111 1111 1111 12/27", "card [card] 12/27"),
        ("postgres://shop:geheim@db/shop", "postgres://shop:[secret]@db/shop"),
        ('{"api_key": "abc", "n": 1}', '{"api_key": "[secret]", "n": 1}'),
        ("password=alice@example.com", "password=[secret]"),
        ("listening on 127.0.0.1:7233 and [::1]:7233", "listening on 127.0.0.1:7233 and [::1]:7233"),
    ],
)
def test_what_is_found_is_replaced_by_its_kind(text: str, scrubbed: str) -> None:
    assert EVERY.text(text) == scrubbed


def test_our_own_ids_stay_also_where_the_caller_chose_a_uuid() -> None:
    """The execution's id is told to the scrubber; what only contains it is not ours."""
    ours = "0f8fad5b-d9cb-469f-a165-70867728950e"
    text = f"{ours} of exec-1763712000000-example/measure; 1f8fad5b-d9cb-469f-a165-70867728950e"
    kept = f"{ours} of exec-1763712000000-example/measure; [uuid]"
    assert EVERY.text(text, {ours}) == kept
    assert EVERY.text("exec-1763712000000-a@example.com") == "[email]"


def test_values_keep_their_shape() -> None:
    """Keys are text too; a name can tell what a value is; only a number as long as a card's is one."""
    value = {"a@b.org": 1, "c@d.org": [CARD, 17, True, None, 1.5], "password": {"old": "x"}, "pin": 1234}
    assert EVERY.value(value) == {
        "[email]": 1,
        "[email] 2": ["[card]", 17, True, None, 1.5],
        "password": {"old": "x"},
        "pin": "[secret]",
    }
    named = {"apiKey": "zz", "phone": 2125550100, "tokens": 12, "token": "{{ secrets.db }}", "passwords": []}
    assert EVERY.value(named) == named | {"apiKey": "[secret]", "phone": "[phone]"}


def test_a_text_that_is_too_long_ends_where_nobody_looked() -> None:
    scrubbed = EVERY.text("x " * LONGEST + "alice@example.com")
    assert len(scrubbed) < LONGEST + 50
    assert scrubbed.endswith(f"… [{LONGEST + 17} more characters]")


def test_some_detectors_can_be_chosen_and_a_wrong_name_is_told() -> None:
    text = "alice@example.com 10.1.2.3"
    assert chosen(["all"], BUILT_IN).text(text) == "[email] [ipv4]"
    assert chosen(["ipv4"], BUILT_IN).text(text) == "alice@example.com [ipv4]"
    assert chosen(["none"], BUILT_IN).text(text) == text
    assert chosen(["none"], BUILT_IN).value({"password": "x"}) == {"password": "x"}
    with pytest.raises(InvalidSettings, match="emial"):
        chosen(["emial"], BUILT_IN)


def test_the_names_are_those_of_the_detectors() -> None:
    """The registry knows the names without loading the detectors."""
    assert set(NAMES) == set(BUILT_IN)


def test_what_a_broken_detector_could_not_judge_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    """It is told once, without the text."""

    def broken(text: str) -> list[tuple[int, int]]:
        raise ValueError(text)

    scrubber = Scrubber([Detector("odd", broken, hints=("odd",))])
    assert scrubber.value(["odd secret", "even text", "odd again"]) == [UNSEEN, "even text", UNSEEN]
    assert [record.getMessage() for record in caplog.records] == ["The detector odd failed: ValueError"]


# --- properties -----------------------------------------------------------------------------------

PIECES = [
    *(
        "alice@example.com",
        "10.1.2.3",
        "2001:db8::1",
        "fe80::1%eth0",
        "+49 30 1234567",
        "(212) 555-0100",
        "::",
    ),
    *(
        "4111 1111 1111 1111",
        "password=",
        "token: ",
        "Bearer abcdefgh1",
        "[email]",
        "[secret]",
        "[",
        "]",
        '"',
        "\\",
    ),
    *(
        "exec-1763712000000-a",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "://",
        ":",
        "@",
        ".",
        "-",
        " ",
        "1",
        "a",
        "é",
    ),
    *("-----BEGIN PRIVATE KEY-----", "sk-", "0", "00", "+", "İ", "\n", "tel ", "=", "eyJ", "&", "{{"),
    *(
        '{"value":"',
        '"name":"password",',
        '"value":"',
        "<password>",
        "</",
        "curl -u a:",
        "%40",
        "pass=",
        "pw: ",
    ),
    *("DE89 3704 0044 0532 0130 00", "4111.1111.1111.1111", "postgres://a:b@", "?", "/", "version "),
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=14).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(TEXTS)
@example("a@b.cc@d.ee@f.gg 1.2.3.4.5.6.7.8")
def test_scrubbing_twice_changes_nothing_more(text: str) -> None:
    once = EVERY.text(text)
    assert EVERY.text(once) == once


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [shape(inner) for inner in value.values()]
    return [shape(inner) for inner in value] if isinstance(value, list) else None


@given(JSON)
def test_a_value_keeps_its_structure_and_is_scrubbed_once_for_all(value: Any) -> None:
    once = EVERY.value(value)
    assert shape(once) == shape(value)
    assert repr(EVERY.value(once)) == repr(once)


HOSTILE = [
    *(
        "a",
        "@",
        "a@",
        "a@b.",
        "1",
        "1.",
        "1.1.1.1.",
        ":",
        "a:",
        "1:",
        "::",
        "-",
        "f-",
        "4111 ",
        "+1 ",
        "00",
        "(1",
        "0 1",
    ),
    *(
        "password=",
        "password='",
        'token="',
        "pwd:",
        "Bearer ",
        "authorization: ",
        "cookie=",
        "://a:",
        "://",
        "eyJa.",
    ),
    *(
        "sk-a",
        "-----BEGIN PRIVATE KEY-----",
        "0f8fad5b-",
        "é",
        "İ",
        "?sig=",
        "exec-1763712000000-a/",
        "tel 1-",
        '"a',
        '\\"',
    ),
    *("[email]", "AKIA", "glpat-", "xoxb-", "a.b-", "8(1)", "%a", 'pin\\"', "eyJ"),
    *(
        "pw:",
        "pass=",
        "password:{",
        "name:value:",
        "<a>b</",
        " curl -u a:",
        "://a@b.cc:",
        "%40a.b",
        "1.1.1.1@",
    ),
    *("4111.1111.", "DE89 3704 ", "GB29 NWBK 6016 ", "1//0", "gsk_", "Mabc.", "x://a:b@"),
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_text_takes_no_more_than_its_length(piece: str, cpu_seconds: Callable[[], float]) -> None:
    """A quarter of a megabyte of anything is done with: what is not linear would take minutes. Where each
    line is traced for coverage all takes ten times as long."""
    EVERY.text((piece * 2**18)[: 2**18])
    assert cpu_seconds() < (20 if sys.gettrace() is None else 60)


@pytest.fixture
def cpu_seconds() -> Callable[[], float]:
    """Tells the processor's seconds of this test: other processes do not count."""
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_utime - begin
