"""Searches text for a regular expression.

A script of its own, started by `search.py`: a pattern can take for ever, and no thread of the worker could be
stopped in it. Standard input has one line of JSON, `{"pattern", "most"}`, then per file a line
`{"file", "bytes"}` and so many bytes. Each match is printed as `{"file", "line", "text"}`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

LONGEST_TEXT = 500
"""Characters shown of a line."""


def main(source: BinaryIO) -> None:
    """Prints the matches, the first `most` of them."""
    request = json.loads(source.readline())
    pattern = re.compile(request["pattern"])
    for number, match in enumerate(matches(pattern, source), start=1):
        print(json.dumps(match))
        if number == request["most"]:
            return


def matches(pattern: re.Pattern[str], source: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yields the lines that the pattern is found in."""
    while heading := source.readline():
        file = json.loads(heading)
        text = source.read(file["bytes"]).decode(errors="replace")
        for number, line in enumerate(text.split("\n"), start=1):
            if pattern.search(line.removesuffix("\r")):
                yield {"file": file["file"], "line": number, "text": line[:LONGEST_TEXT].rstrip("\r")}


if __name__ == "__main__":
    main(sys.stdin.buffer)
