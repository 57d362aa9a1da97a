"""What a run of a command-line agent has told so far, line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from taskmark.contracts import MOST_COST, MOST_TOKENS, Usage
from taskmark.errors import StepFailed
from taskmark.task.model import Json

LONGEST_LINE: Final = 10 * 1024**2
"""Bytes of a line that is read; a longer one is left out."""
HIDDEN: Final = "***"
"""In place of what nobody may read."""
MOST_FILES: Final = 1000
"""Files that are told of one run."""

_SESSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}")

Message = Mapping[str, Any]
"""One line of what a program prints, as JSON."""


class Turn(NamedTuple):
    """The tokens of one message of the model's, as far as they are known."""

    given: int = 0
    """What it had to read."""
    said: int = 0


@dataclass
class Heard:
    """What a run has told. A program's `hear` fills it in."""

    session: str = ""
    """How the session is called, as soon as it is known."""
    output: Json = None
    """What it said last, or answers."""
    is_over: bool = False
    """Whether it has told how it ended."""
    failure: StepFailed | None = None
    """Why it failed, if it did."""
    turns: dict[str, Turn] = field(default_factory=dict)
    """What the model has said so far, by the id of the message; empty if the program does not tell."""
    streamed: int = 0
    """The tokens of all that."""
    speaks: dict[str, str] = field(default_factory=dict)
    """The message that is just being said, by who says it."""
    total: Usage = field(default_factory=Usage)
    """What it says in the end was used: by this run, or by its whole session."""
    tokens: int = 0
    """That this run alone has used, or fewer; by it the two are told apart."""
    retry_after: float | None = None
    """Seconds for which it was told to leave the model alone."""
    doing: str = ""
    """What it does just now, for who watches."""
    trouble: str = ""
    """What kind of error it spoke of last, in the program's own word."""
    files: dict[str, None] = field(default_factory=dict)
    """Files that it has changed, as it names them."""
    intended: dict[str, str] = field(default_factory=dict)
    """Files of changes that have begun, by the id of the call."""

    def spoke(self, name: str, given: int, said: int) -> None:
        """Counts a message of the model's, which is told in pieces, each with what is known by then."""
        before = self.turns.get(name, Turn())
        self.turns[name] = now = Turn(max(before.given, given), max(before.said, said))
        self.streamed += sum(now) - sum(before)

    def used(self, before: Usage, lost: int = 0) -> Usage:
        """Returns what this run has used, since the session's total was the one `before`, and what earlier
        ones have cost that were killed: their tokens, `lost`, are known already, as they are told at once.

        Of killed runs some versions count those in their totals that were ended gently, others none. What
        is not in the total is priced like what is.
        """
        told = self._since(before)
        own = min(max(self.tokens, self.streamed), told.tokens)
        tokens = max(own, told.tokens - lost)
        priced = max(told.tokens, tokens + lost)
        return usage(tokens, told.cost * priced / told.tokens if told.tokens else told.cost)

    def _since(self, before: Usage) -> Usage:
        """Returns what the total has grown by. Some versions count from the beginning of the session, others
        from the beginning of the run."""
        total = self.total
        if total.tokens >= before.tokens + self.tokens and total.cost >= before.cost:
            return usage(total.tokens - before.tokens, total.cost - before.cost)
        return total

    def wrote(self, path: object) -> None:
        """Notes a file that was changed."""
        if isinstance(path, str) and path and len(self.files) < MOST_FILES:
            self.files[path] = None


class Lines:
    """Cuts what is printed into lines and hands on those that are JSON objects."""

    def __init__(self, take: Callable[[Message], None], hidden: tuple[str, ...] = ()) -> None:
        """`hidden` are texts of which no line may tell."""
        self._take = take
        self._hidden = tuple(text.encode() for text in hidden)
        self._rest = bytearray()
        self._skips = False
        self.strange = 0
        """Lines that are none of the protocol."""

    def add(self, chunk: bytes) -> None:
        """Takes what was printed."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._extend(part)
            self._end_line()
        self._extend(rest)

    def close(self) -> None:
        """Takes what came after the last end of a line."""
        self._end_line()

    def _extend(self, part: bytes) -> None:
        self._skips = self._skips or len(self._rest) + len(part) > LONGEST_LINE
        if self._skips:
            self._rest.clear()
        else:
            self._rest += part

    def _end_line(self) -> None:
        line, skipped = bytes(self._rest).strip(), self._skips
        self._rest.clear()
        self._skips = False
        for text in self._hidden:
            line = line.replace(text, HIDDEN.encode())
        message = _object(line)
        if message is not None:
            self._take(message)
        elif line or skipped:
            self.strange += 1


def _object(line: bytes) -> Message | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def is_session(name: str) -> bool:
    """Whether a session can be called so: it is a word of a command line later."""
    return _SESSION.fullmatch(name) is not None


def last_line(text: str) -> str:
    """Returns the last line that is not blank."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def number(value: object) -> float:
    """Returns an amount that is told, or 0 for what is none."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53
    return value if fits else 0  # type: ignore[return-value]  # `fits` says that it is a number


def usage(tokens: float, cost: float) -> Usage:
    """Returns what was used, within what an execution can count."""
    return Usage(tokens=min(int(tokens), MOST_TOKENS), cost=min(round(cost, 9), MOST_COST))


def objects(value: object) -> list[Message]:
    """Returns the objects in a list; nothing of what is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def part(message: Message, name: str) -> Message:
    """Returns an object in an object; an empty one if there is none."""
    value = message.get(name)
    return value if isinstance(value, dict) else {}


def text(message: Message, name: str) -> str:
    """Returns a text in an object; an empty one if there is none."""
    value = message.get(name)
    return value if isinstance(value, str) else ""


def under(root: Path, path: str) -> str:
    """Returns a path relative to the root; one that leads elsewhere as it is."""
    place = Path(path)
    whole = place if place.is_absolute() else root / place
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else path
