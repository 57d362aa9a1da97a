"""Definitions as short text: compressed JSON without defaults, for what travels above 32 KiB."""

from __future__ import annotations

import base64
import zlib
from typing import TypeVar

from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)

UNPACKED_LIMIT = 8 * 1024 * 1024
"""Bytes of JSON that a packed model may have at most: a small text must not become gigabytes, and
workflow code, which unpacks it, has two seconds."""


def pack(model: BaseModel) -> str:
    """Returns the model as base64 of compressed JSON; the same model always gives the same text."""
    data = model.model_dump_json(exclude_defaults=True).encode()
    return base64.b64encode(zlib.compress(data, 6)).decode("ascii")


def unpack(text: str, type: type[Model]) -> Model:
    """Returns what `pack` packed. Raises `ValueError` for anything else and above `UNPACKED_LIMIT`."""
    try:
        inflate = zlib.decompressobj()
        data = inflate.decompress(base64.b64decode(text, validate=True), UNPACKED_LIMIT)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"this is no packed {type.__name__}: {error}") from error
    if not inflate.eof:
        raise ValueError(f"the packed {type.__name__} is cut off, or larger than {UNPACKED_LIMIT} bytes")
    return type.model_validate_json(data)
