"""What a secret may look like when somebody repeats it: as it is, escaped, quoted or encoded."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus

SHORTEST: Final = 4
"""Characters: what is shorter stands in too many texts that have nothing to do with it."""
SHORTEST_LINE: Final = 8
"""Characters of a line, of a secret that has several: many say nothing, such as `{`."""


def forms(secret: str) -> frozenset[str]:
    """Returns the texts that must not be shown."""
    found = {form for part in _parts(secret) for form in _of(part)}
    return frozenset(form for form in found if len(form) >= SHORTEST)


def _parts(secret: str) -> Iterator[str]:
    """Yields the secret, and each line of it: output is shown line by line."""
    yield secret
    if secret.strip() != secret:
        yield secret.strip()
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= SHORTEST_LINE)


def _of(text: str) -> Iterator[str]:
    yield from (text, text.lower(), text.upper(), html.escape(text), shlex.quote(text), repr(text)[1:-1])
    for ascii_only in (True, False):
        once = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield from (once, json.dumps(once, ensure_ascii=ascii_only)[1:-1], once.replace("/", "\\/"))
    raw = text.encode(errors="surrogatepass")
    for quoted in (quote(raw), quote(raw, safe=""), quote_plus(raw)):
        yield from (quoted, re.sub("%..", lambda found: found[0].lower(), quoted))
    yield from (raw.hex(), raw.hex().upper())
    yield from _in_base64(raw)


def _in_base64(raw: bytes) -> Iterator[str]:
    """Yields what Base64 makes of it, wherever in a longer text it begins: of `user:password` as well.

    What depends on the bytes beside it is left out, and with it at most two characters at an end.
    """
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        start = (0, 2, 3)[before]
        end = len(whole) - (1 if (before + len(raw)) % 3 else 0)
        core = whole[start:end]
        if len(core) >= 2 * SHORTEST:
            yield from (core, core.replace("+", "-").replace("/", "_"))
