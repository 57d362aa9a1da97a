"""What Temporal keeps is encrypted, bound to its namespace, and readable with every key that is set."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.exceptions import ApplicationError

from starter.encrypting import BESIDE, EncryptionCodec, codec_of, converter_with, is_encrypted
from starter.fetching import reveal
from taskmark.errors import InvalidSettings
from taskmark.secrets.keyring import UnreadableText, read_keyring
from taskmark.settings import Settings


def key(name: str, byte: bytes = b"k") -> str:
    """Returns a key as it is set."""
    return f"{name}:{base64.b64encode(byte * 32).decode()}"


def codec(*keys: str, namespace: str = "default") -> EncryptionCodec:
    """Returns a codec with these keys."""
    keyring = read_keyring(keys or (key("k1"),), None)
    assert keyring is not None
    return EncryptionCodec(keyring, namespace)


def payload(text: str = "planted text") -> Payload:
    """Returns a payload of plain JSON."""
    return Payload(metadata={"encoding": b"json/plain"}, data=f'"{text}"'.encode())


# --- payloads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "planted text", "x" * (BESIDE + 1)], ids=["empty", "small", "large"])
async def test_a_payload_is_unreadable_until_it_is_decrypted(text: str) -> None:
    [hidden] = await codec().encode([payload(text)])
    assert text.encode() not in hidden.SerializeToString() or not text
    assert b"json/plain" not in hidden.SerializeToString()
    assert await codec().decode([hidden]) == [payload(text)]


async def test_the_same_payload_is_never_encrypted_to_the_same() -> None:
    one, other = await codec().encode([payload(), payload()])
    assert one.data != other.data
    assert one.data[:12] != other.data[:12]


async def test_what_is_not_encrypted_stays_as_it_is() -> None:
    assert await codec().decode([payload()]) == [payload()]
    hidden = await codec().encode([payload()])
    assert await codec().encode(hidden) == hidden, "and nothing is encrypted twice"


@pytest.mark.semantics("Z5")
async def test_the_first_key_encrypts_and_older_ones_decrypt() -> None:
    old = await codec(key("k1")).encode([payload()])
    rotated = codec(key("k2", b"n"), key("k1"))
    assert await rotated.decode(old) == [payload()]
    [new] = await rotated.encode([payload()])
    assert new.metadata["encryption-key-id"] == b"k2"
    with pytest.raises(UnreadableText, match="'k2', which is not in TASKMARK_ENCRYPTION_KEYS"):
        await codec(key("k1")).decode([new])


@pytest.mark.parametrize("change", ["namespace", "key", "id", "nonce", "text", "tag", "short", "metadata"])
async def test_what_was_changed_or_moved_is_refused(change: str) -> None:
    [hidden] = await codec(key("k1")).encode([payload()])
    reader = codec(key("k1"), key("k2"))
    if change == "namespace":
        reader = codec(key("k1"), namespace="other")
    elif change == "key":
        reader = codec(key("k1", b"w"))
    elif change == "id":
        hidden.metadata["encryption-key-id"] = b"k2"
    elif change == "metadata":
        del hidden.metadata["encryption-key-id"]
    elif change == "short":
        hidden.data = hidden.data[:8]
    else:
        at = {"nonce": 0, "text": 14, "tag": -1}[change]
        data = bytearray(hidden.data)
        data[at] ^= 1
        hidden.data = bytes(data)
    with pytest.raises(UnreadableText):
        await reader.decode([hidden])


# --- failures and histories -----------------------------------------------------------------------


async def test_a_failure_hides_its_message_and_stack_and_tells_them_again() -> None:
    converter = converter_with(codec())
    hidden = await _hidden_failure()
    assert b"planted" not in hidden.SerializeToString()
    assert hidden.application_failure_info.type == "logic", "types are names from a list, and stay"
    read = await converter.decode_failure(hidden)
    assert isinstance(read, ApplicationError)
    assert read.message == "planted message"
    assert isinstance(read.__cause__, ApplicationError)
    assert read.__cause__.message == "ValueError: planted cause" or "planted cause" in read.__cause__.message


async def _hidden_failure():  # type: ignore[no-untyped-def]  # the protobuf type says nothing here
    from temporalio.api.failure.v1 import Failure

    failure = Failure()
    try:
        try:
            raise ValueError("planted cause")
        except ValueError as cause:
            raise ApplicationError("planted message", {"planted": 1}, type="logic") from cause
    except ApplicationError as error:
        await converter_with(codec()).encode_failure(error, failure)
    return failure


async def test_a_history_is_readable_after_it_was_fetched() -> None:
    event = HistoryEvent(event_id=1)
    started = event.workflow_execution_started_event_attributes
    started.input.payloads.extend(await codec().encode([payload()]))
    started.memo.fields["a"].CopyFrom((await codec().encode([payload("memo")]))[0])
    started.search_attributes.indexed_fields["TaskmarkTask"].CopyFrom(payload("task"))
    started.continued_failure.CopyFrom(await _hidden_failure())
    await reveal([event], codec())
    assert started.input.payloads[0] == payload()
    assert started.memo.fields["a"] == payload("memo")
    assert started.search_attributes.indexed_fields["TaskmarkTask"] == payload("task")
    assert started.continued_failure.message == "planted message"
    assert "planted cause" in started.continued_failure.cause.message
    assert "raise ApplicationError" in started.continued_failure.stack_trace


async def test_without_keys_nothing_is_encrypted() -> None:
    assert codec_of(Settings(), "default") is None
    assert converter_with(None).payload_codec is None
    event = HistoryEvent()
    await reveal([event], None)
    assert event == HistoryEvent()


async def test_an_encrypted_history_without_keys_is_told_of() -> None:
    event = HistoryEvent(event_id=1)
    event.workflow_execution_started_event_attributes.input.payloads.extend(await codec().encode([payload()]))
    with pytest.raises(UnreadableText, match="there are no keys"):
        await reveal([event], None)


# --- keys -----------------------------------------------------------------------------------------


async def test_keys_come_from_a_file_that_only_we_can_read(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# the newest first\n{key('k2', b'n')}\n\n{key('k1')}\n")
    file.chmod(0o600)
    found = codec_of(Settings(encryption_keys_file=file), "default")
    assert found is not None
    [hidden] = await found.encode([payload()])
    assert hidden.metadata["encryption-key-id"] == b"k2"
    file.chmod(0o622)
    with pytest.raises(InvalidSettings, match="open to others"):
        codec_of(Settings(encryption_keys_file=file), "default")


@pytest.mark.parametrize(
    "keys",
    [
        "k1",
        "k1:",
        ":AAAA",
        "k1:AAAA",
        f"k1:{base64.b64encode(bytes(16)).decode()}",
        f"k 1:{'A' * 43}=",
        f"k1:{'!' * 44}",
        f"{key('k1')},{key('k1', b'n')}",
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(keys: str) -> None:
    with pytest.raises(InvalidSettings) as raised:
        codec_of(Settings(encryption_keys=keys), "default")
    secret = keys.rpartition(":")[2]
    assert len(secret) < 10 or secret not in f"{raised.value} {raised.value.hint}"


def test_keys_in_two_places_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").touch(0o600)
    with pytest.raises(InvalidSettings, match="both set"):
        codec_of(Settings(encryption_keys=key("k1"), encryption_keys_file=tmp_path / "keys"), "default")
    with pytest.raises(InvalidSettings, match="has no encryption key"):
        codec_of(Settings(encryption_keys_file=tmp_path / "keys"), "default")
    with pytest.raises(InvalidSettings, match="has no encryption key"):
        codec_of(Settings(encryption_keys_file=tmp_path / "absent"), "default")


def test_an_encrypted_payload_says_how(tmp_path: Path) -> None:
    assert not is_encrypted(payload())
    hidden = codec().encrypted(payload())
    assert is_encrypted(hidden)
    assert dict(hidden.metadata) == {
        "encoding": b"binary/encrypted",
        "encryption-cipher": b"AES-256-GCM",
        "encryption-key-id": b"k1",
    }
