"""Definitions as short text: compressed JSON without defaults, for what travels above 32 KiB; as a digest."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from typing import TypeVar

from pydantic import BaseModel

from taskmark.task.model import Json

Model = TypeVar("Model", bound=BaseModel)

UNPACKED_LIMIT = 8 * 1024 * 1024
"""Bytes of JSON that a packed model may have at most: a small text must not become gigabytes, and
workflow code, which unpacks it, has two seconds."""


def pack(model: BaseModel) -> str:
    """Returns the model as base64 of compressed JSON; the same model always gives the same text."""
    data = model.model_dump_json(exclude_defaults=True).encode()
    return base64.b64encode(zlib.compress(data, 6)).decode("ascii")


def unpack(text: str, type: type[Model], limit: int | None = None) -> Model:
    """Returns what `pack` packed. Raises `ValueError` for anything else and above the limit in bytes of
    JSON, which is `UNPACKED_LIMIT` unless given."""
    limit = UNPACKED_LIMIT if limit is None else limit
    try:
        inflate = zlib.decompressobj()
        data = inflate.decompress(base64.b64decode(text, validate=True), limit)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"this is no packed {type.__name__}: {error}") from error
    if not inflate.eof:
        raise ValueError(f"the packed {type.__name__} is cut off, or larger than {limit} bytes")
    return type.model_validate_json(data)


def unpacked(model: BaseModel) -> dict[str, Json]:
    """Returns the model as JSON without what is as usual, as the history store keeps it."""
    return model.model_dump(mode="json", exclude_defaults=True)


def digest(plain: Json) -> str:
    """Returns the SHA-256 of a JSON value, in whatever order its keys are."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
