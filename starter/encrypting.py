"""Encrypts payloads before they reach Temporal: what workflows, activities, signals, queries, memos,
summaries, heartbeats and failures carry. Ids, names of types, search attributes and types of failures stay
readable.

Each payload is bound to the namespace that it was made for, and to the id of its key.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

from starter.converting import data_converter
from taskmark.secrets.keyring import read_keyring

if TYPE_CHECKING:
    from taskmark.secrets.keyring import Keyring
    from taskmark.settings import Settings

ENCODING: Final = b"binary/encrypted"
CIPHER: Final = b"AES-256-GCM"
KEY_ID: Final = "encryption-key-id"
BESIDE: Final = 256 * 1024
"""Bytes from which on a thread does it: what is smaller is done before a thread has begun."""


class EncryptionCodec(PayloadCodec):
    """Encrypts each payload, and decrypts those that are encrypted: old executions, and starts by other
    clients, can be read as well."""

    def __init__(self, keyring: Keyring, namespace: str) -> None:
        self._keyring = keyring
        self._namespace = namespace

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypts payloads that are not encrypted."""
        if sum(len(payload.data) for payload in payloads) > BESIDE:
            return await asyncio.to_thread(self._all_encrypted, payloads)
        return self._all_encrypted(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypts payloads that are encrypted. Raises `UnreadableText`."""
        if sum(len(payload.data) for payload in payloads) > BESIDE:
            return await asyncio.to_thread(self._all_decrypted, payloads)
        return self._all_decrypted(payloads)

    def _all_encrypted(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [payload if is_encrypted(payload) else self.encrypted(payload) for payload in payloads]

    def _all_decrypted(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self.decrypted(payload) if is_encrypted(payload) else payload for payload in payloads]

    def encrypted(self, payload: Payload) -> Payload:
        """Encrypts a payload."""
        key = self._keyring.current
        data = self._keyring.encrypt(payload.SerializeToString(), self._about(key))
        metadata = {"encoding": ENCODING, "encryption-cipher": CIPHER, KEY_ID: key.encode()}
        return Payload(metadata=metadata, data=data)

    def decrypted(self, payload: Payload) -> Payload:
        """Decrypts an encrypted payload. Raises `UnreadableText`."""
        key = payload.metadata[KEY_ID].decode(errors="replace")
        return Payload.FromString(self._keyring.decrypt(key, payload.data, self._about(key)))

    def _about(self, key: str) -> bytes:
        return b"\0".join((b"taskmark payload 1", self._namespace.encode(), key.encode()))


def is_encrypted(payload: Payload) -> bool:
    """Whether we, or somebody who does it in the same way, have encrypted a payload."""
    return payload.metadata.get("encoding") == ENCODING


def keyring_of(settings: Settings) -> Keyring | None:
    """Returns the keys that are set. Raises `InvalidSettings`."""
    return read_keyring(settings.encryption_keys, settings.encryption_keys_file)


def codec_of(settings: Settings, namespace: str) -> EncryptionCodec | None:
    """Returns what encrypts, if keys are set. Raises `InvalidSettings`."""
    keyring = keyring_of(settings)
    return None if keyring is None else EncryptionCodec(keyring, namespace)


def converter_with(codec: PayloadCodec | None) -> DataConverter:
    """Returns how values travel: encrypted if there is a codec, messages and stacks of failures as well."""
    if codec is None:
        return data_converter
    return dataclasses.replace(
        data_converter,
        payload_codec=codec,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
