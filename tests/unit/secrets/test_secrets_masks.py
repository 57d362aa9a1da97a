"""A secret is shown to nobody, however it is repeated, quoted, encoded or cut."""

from __future__ import annotations

import base64
import html
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from activities.answers import KIND as ANSWER
from activities.circuits import KIND as CIRCUIT
from activities.circuits import Circuits
from activities.sharing import Sharing
from taskmark.agents.cli.sessions import Session, Sessions
from taskmark.agents.llm.conversation import Conversation, Notebook
from taskmark.circuit import Rules
from taskmark.contracts import StepDone, Usage
from taskmark.errors import StepFailed
from taskmark.ports import Answer, Question, StepContext
from taskmark.privacy.recording import STRUCTURAL
from taskmark.records import AttemptRecord
from taskmark.secrets.masks import Masks
from taskmark.secrets.sharing import COUNTED, MaskedShared
from taskmark.shared import MemoryShared
from taskmark.task.model import Agent
from taskmark.tools.pace import PACE, Limit, Pace
from taskmark.tools.sharing import Sharing as PatientSharing
from taskmark.tools.web_search import KIND as WEB_SEARCH


@dataclass
class Told:
    """What a tool may return."""

    text: str


SECRET = 'p4"ss/w&rd+ü=\\x<1>'
TOKEN = "ghp_0123456789abcdefGHIJ"


@pytest.fixture
def masks() -> Masks:
    known = Masks()
    known.add(SECRET, "PASSWORD")
    known.add(TOKEN, "TOKEN")
    return known


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in capitals": str.upper,
    "in small letters": str.lower,
    "JSON": json.dumps,
    "JSON without escapes": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON with escaped slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "repr": repr,
    "HTML": html.escape,
    "a shell's word": shlex.quote,
    "a path of a URL": quote,
    "a part of a URL": lambda text: quote(text, safe=""),
    "a form": quote_plus,
    "a form in small letters": lambda text: quote_plus(text).lower(),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "Base64": lambda text: base64.b64encode(text.encode()).decode(),
    "Base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "Basic, after one": lambda text: base64.b64encode(f"u:{text}".encode()).decode(),
    "Basic, after two": lambda text: base64.b64encode(f"us:{text}!".encode()).decode(),
    "Basic, after three": lambda text: base64.b64encode(f"use:{text}!!".encode()).decode(),
}


@pytest.mark.parametrize("secret", [SECRET, TOKEN])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_secret_is_masked_in_every_usual_encoding(masks: Masks, secret: str, encoding: str) -> None:
    encoded = ENCODINGS[encoding](secret)
    masked = masks.text(f"before {encoded} after")
    assert "[secret " in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    # Of Base64 as many characters may be left at an end as depend on what stands beside the secret.
    assert len(masked) <= len("before [secret PASSWORD] after") + 12


@pytest.mark.parametrize("length", range(4, len(TOKEN)))
def test_what_a_cut_leaves_of_a_secret_is_masked(masks: Masks, length: int) -> None:
    assert masks.text(f"it said {TOKEN[:length]}", cut=True) == "it said [secret TOKEN]"
    assert masks.text(f"{TOKEN[-length:]} it said", cut=True) == "[secret TOKEN] it said"


@pytest.mark.parametrize("length", range(len(TOKEN) // 2, len(TOKEN)))
def test_half_a_long_secret_is_masked_wherever_it_stands(masks: Masks, length: int) -> None:
    assert masks.text(f"exit code 1: {TOKEN[-length:]}; more") == "exit code 1: [secret TOKEN]; more"
    assert masks.text(f"exit code 1: {TOKEN[:length]}… more") == "exit code 1: [secret TOKEN]… more"


def test_other_texts_stay_as_they_are(masks: Masks) -> None:
    text = "ghp is a prefix, and so is p4; [secret TOKEN] has been masked"
    assert masks.text(text, cut=True) == text


def test_each_line_of_a_secret_that_has_several_is_masked_alone() -> None:
    masks = Masks()
    masks.add("-----BEGIN KEY-----\nMIIBVgIBADANBgkq\nhkiG9w0BAQEFAASC\n}\n-----END KEY-----\n", "KEY")
    assert masks.text("line 2 is MIIBVgIBADANBgkq") == "line 2 is [secret KEY]"
    assert masks.text("} is in it as well") == "} is in it as well"


def test_values_are_masked_in_texts_numbers_and_keys(masks: Masks) -> None:
    masks.add("4711081512", "PIN")
    value = {"a": [TOKEN, {"b": (1, None, True)}], TOKEN: 4711081512, "c": 1.5}
    assert masks.value(value) == {
        "a": ["[secret TOKEN]", {"b": [1, None, True]}],
        "[secret TOKEN]": "[secret PIN]",
        "c": 1.5,
    }


def test_what_only_becomes_json_is_masked(masks: Masks) -> None:
    done = StepDone(output={"at": datetime(2026, 1, 2, tzinfo=UTC)}, files=("a",))
    value = [Path(TOKEN), TOKEN.encode(), Told(TOKEN), StepDone(output=TOKEN), done]
    *masked, same = masks.value(value)
    assert TOKEN not in repr(masked)
    assert repr(masked).count("[secret TOKEN]") == 4
    assert same is done, "what holds none stays what it is"
    nothing = object()
    assert masks.value([nothing]) == [nothing]


def test_messages_are_masked_in_all_fields(masks: Masks) -> None:
    done = StepDone(output={"a": TOKEN}, files=(f"{TOKEN}.txt", "b.txt"), resources={"cpu_seconds": 1.0})
    masked = masks.model(done)
    assert masked == done.model_copy(
        update={"output": {"a": "[secret TOKEN]"}, "files": ("[secret TOKEN].txt", "b.txt")}
    )


def test_records_keep_what_they_are_found_by(masks: Masks) -> None:
    masks.add("exec", "SHORT")
    record = AttemptRecord(
        execution_id="exec-1", phase="p", step="s", attempt=1, status="completed", output=f"exec {TOKEN}"
    )
    masked = masks.model(record, keep=STRUCTURAL)
    assert (masked.execution_id, masked.output) == ("exec-1", "[secret SHORT] [secret TOKEN]")


def test_a_longer_secret_is_masked_before_one_that_is_part_of_it() -> None:
    masks = Masks()
    masks.add("abcdef", "PART")
    masks.add("abcdef-and-more", "WHOLE")
    assert masks.text("abcdef-and-more abcdef") == "[secret WHOLE] [secret PART]"


def test_a_value_that_was_replaced_stays_masked(masks: Masks) -> None:
    masks.add("a-new-value-of-it", "TOKEN")
    assert masks.text(f"{TOKEN} a-new-value-of-it") == "[secret TOKEN] [secret TOKEN]"


@pytest.mark.parametrize("short", ["", "a", "abc"])
def test_what_is_too_short_to_be_told_from_other_texts_masks_nothing(short: str) -> None:
    masks = Masks()
    masks.add(short)
    assert masks.text("abcabc") == "abcabc"


def test_a_secret_that_looks_like_its_mask_ends() -> None:
    masks = Masks()
    masks.add("[secret AAAA] [secret AAAA]", "AAAA")
    assert masks.text("[secret AAAA] [secret AAAA] [secret AAAA]", cut=True)


def test_what_workers_share_holds_no_secret(masks: Masks) -> None:
    kept = MemoryShared()
    shared = MaskedShared(kept, masks)
    shared.put("k", "put", {"a": TOKEN}, 60)
    assert shared.add("k", "add", TOKEN, 60)
    assert shared.change("k", "change", lambda before: [before, TOKEN], 60) == [None, "[secret TOKEN]"]
    assert [kept.get("k", key) for key in ("put", "add", "change")] == [
        {"a": "[secret TOKEN]"},
        "[secret TOKEN]",
        [None, "[secret TOKEN]"],
    ]
    assert shared.get("k", "add") == "[secret TOKEN]"


# --- what our own code counts -----------------------------------------------------------------------

PIN = 4711


@pytest.fixture
def pin() -> Masks:
    known = Masks()
    known.add(str(PIN), "PIN")
    return known


async def test_a_circuit_opens_though_a_secret_is_one_of_its_numbers(pin: Masks) -> None:
    kept = MemoryShared()
    shared = MaskedShared(kept, pin)
    rules = Rules(failures=2, seconds=60.0)
    for _ in range(2):  # two workers
        circuits = Circuits(Sharing(shared), rules, clock=lambda: 1_000_000_000.0 + PIN)
        with pytest.raises(StepFailed, match="down"):
            async with circuits.guard("http", "shop", 5):
                raise StepFailed("down")
    known = kept.get(CIRCUIT, "http shop")
    assert known == {"failures": 2, "opened_at": 1_000_004_711.0, "seconds": 60.0, "probe_until": None}
    with pytest.raises(StepFailed, match="failed again and again"):
        async with Circuits(Sharing(shared), rules, lambda: 1_000_004_712.0).guard("http", "shop", 5):
            pass


async def test_a_target_is_left_alone_though_a_secret_is_one_of_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pin: Masks
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000_000.0 + PIN)
    limit = Limit("mail", "example", per_minute=60.0)
    kept = MemoryShared()
    context = StepContext(root=tmp_path, shared=MaskedShared(kept, pin))
    await Pace().hold(limit, context, 100.0)
    assert await Pace().held(limit, context) == 100.0, "another worker finds it so"
    assert kept.get(PACE, limit.key) == {
        "due": 1_000_004_811.0,
        "held": 1_000_004_811.0,
        "at": 1_000_004_711.0,
    }


async def test_a_session_is_found_though_a_secret_is_one_of_its_numbers(tmp_path: Path, pin: Masks) -> None:
    context = StepContext(root=tmp_path, shared=MaskedShared(MemoryShared(), pin))
    session = Session(key="k", id="s", begun=True, total=Usage(tokens=PIN, cost=0.04711), unpriced=PIN)
    session = session.model_copy(update={"attempt": "1?0", "used": Usage(tokens=PIN)})
    await Sessions().keep(session, context)
    assert await Sessions().find("k", Question("Well?", {}), context) == session


def test_every_number_of_a_session_is_among_those_that_stay() -> None:
    """A new field is not forgotten in the table, which is elsewhere."""
    numbers = {name for name, one in Session.model_fields.items() if one.annotation in (int, float, Usage)}
    assert numbers == COUNTED["cli-session"]


async def test_of_an_answer_its_use_stays_and_a_secret_in_it_does_not(tmp_path: Path, pin: Masks) -> None:
    context = StepContext(root=tmp_path, shared=MaskedShared(MemoryShared(), pin))
    question, usage = Question("What is it?", {}), Usage(tokens=PIN)
    await Sessions().keep_answer("k", question, context, Answer({"pin": PIN}, usage))
    found = await Sessions().answered("k", question, context)
    assert found == Answer({"pin": "[secret PIN]"}, usage)


async def test_a_conversation_goes_on_though_a_secret_is_one_of_its_numbers(
    tmp_path: Path, pin: Masks
) -> None:
    shared = MaskedShared(MemoryShared(), pin)
    context = StepContext(root=tmp_path, shared=shared)

    def notebook() -> Notebook:
        return Notebook(PatientSharing(), Agent(id="ann", prompt="p"), Question("Well?", {}), context)

    said = Conversation(turns=PIN, calls=PIN, used={"1?0": Usage(tokens=PIN)}, answer={"output": PIN})
    await notebook().save(said)
    assert await notebook().load() == said.model_copy(update={"answer": {"output": "[secret PIN]"}})


def test_results_of_a_search_are_found_again_though_a_secret_is_in_the_time_of_it(pin: Masks) -> None:
    kept = MemoryShared()
    found = {"at": 1_000_004_711.5, "results": [{"title": f"PIN {PIN}"}]}
    MaskedShared(kept, pin).put(WEB_SEARCH, "k", found, 60)
    assert kept.get(WEB_SEARCH, "k") == {**found, "results": [{"title": "PIN [secret PIN]"}]}


def test_what_a_tool_shares_is_masked_in_texts_numbers_and_keys_whatever_it_is_called(pin: Masks) -> None:
    kept = MemoryShared()
    shared = MaskedShared(kept, pin)
    value = {"at": 1.5, "held": str(PIN), "results": [PIN, {str(PIN): "x"}]}
    for kind in ("of a plug-in", ANSWER, WEB_SEARCH, PACE):
        shared.put(kind, "k", value, 60)
        assert kept.get(kind, "k") == {
            "at": 1.5,
            "held": "[secret PIN]",
            "results": ["[secret PIN]", {"[secret PIN]": "x"}],
        }
    shared.put(PACE, "k", PIN, 60)
    assert kept.get(PACE, "k") == "[secret PIN]", "only the fields that it is known to have are left alone"
