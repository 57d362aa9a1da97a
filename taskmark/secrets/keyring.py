"""Keys that encrypt what others keep for us: AES-256-GCM. One is in use, older ones still decrypt."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taskmark.errors import InvalidSettings
from taskmark.secrets.private_files import read_private

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
"""Random for each text. So a key should encrypt fewer than four thousand million of them."""
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOW: Final = "a key is ID:BASE64, of 32 bytes such as `openssl rand -base64 32` prints"


class UnreadableText(InvalidSettings):
    """Something cannot be decrypted here: its key is not known, or it is not what was encrypted."""


class Keyring:
    """Encrypts with one key and decrypts with any. Safe to use from many threads."""

    def __init__(self, keys: Mapping[str, AESGCM]) -> None:
        """The first key encrypts."""
        self._keys = dict(keys)
        self.current = next(iter(self._keys))
        """The id of the key that encrypts."""

    def encrypt(self, text: bytes, about: bytes) -> bytes:
        """Returns a text that only who has the key can read, and only together with the same `about`."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._keys[self.current].encrypt(nonce, text, about)

    def decrypt(self, id: str, text: bytes, about: bytes) -> bytes:
        """Returns what was encrypted with a key. Raises `UnreadableText`."""
        from cryptography.exceptions import InvalidTag

        key = self._keys.get(id)
        if key is None:
            raise UnreadableText(
                f"it is encrypted with the key {id!r}, which is not in TASKMARK_ENCRYPTION_KEYS"
            )
        try:
            return key.decrypt(text[:NONCE_BYTES], text[NONCE_BYTES:], about)
        except (InvalidTag, ValueError):
            reason = f"it is not what was encrypted with the key {id!r} for this namespace"
            raise UnreadableText(reason, hint="see whether all processes have the same keys") from None


def read_keyring(keys: Sequence[str], file: Path | None) -> Keyring | None:
    """Returns the keys that are set, or those in a file with one on each line; None if there are none.

    Raises `InvalidSettings`, without any key.
    """
    if keys and file is not None:
        raise InvalidSettings(
            "TASKMARK_ENCRYPTION_KEYS and TASKMARK_ENCRYPTION_KEYS_FILE are both set.", hint="set one of them"
        )
    lines = keys if file is None else _lines(file)
    if not lines:
        return None
    found = [_read(line) for line in lines]
    if len({name for name, _ in found}) < len(found):
        raise InvalidSettings("Two encryption keys have one id.", hint="give the newer one another id")
    return Keyring(dict(found))


def _lines(file: Path) -> list[str]:
    text = read_private(file)
    lines = [line.strip() for line in (text or "").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise InvalidSettings(f"{file} has no encryption key.", hint=f"{_HOW}; the first line encrypts")
    return keys


def _read(line: str) -> tuple[str, AESGCM]:
    name, separator, encoded = line.partition(":")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not separator or _ID.fullmatch(name) is None or len(key) != KEY_BYTES:
        shown = f" {name}" if separator and _ID.fullmatch(name) else ""
        raise InvalidSettings(f"The encryption key{shown} is no key.", hint=_HOW)
    return name, _cipher(key)


def _cipher(key: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise InvalidSettings(
            "Encryption needs the extra `encryption`.", hint="pip install 'taskmark[encryption]'"
        ) from error
    return AESGCM(key)
