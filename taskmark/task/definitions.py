"""Definitions that were parsed before, for processes that start the same tasks again and again.

A definition is remembered under the SHA-256 of its text, together with everything that parsing it looked
up: its agents and its sub-tasks, whose files may have changed since. It is used again only if every
look-up gives what it gave then; that reads those files, and parses nothing. What has errors is never
remembered, so that somebody who repairs a file is always told the truth about it.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from taskmark.errors import InvalidTask
from taskmark.task.catalog import Catalog
from taskmark.task.files import normalised, read_source
from taskmark.task.model import Agent, Json, TaskDefinition
from taskmark.task.parser import parse_file, parse_text
from taskmark.task.source_text import Findings

ROOM = 2 * 1024 * 1024
"""Characters of the texts of everything remembered, sub-tasks included; a definition takes about 30 times
its text."""

LookUp = Callable[[], Json]
FindTask = Callable[[str, Path | None], tuple[Path, str] | None]


class Definitions:
    """Parses with one catalog, and remembers. Safe to use from several threads."""

    def __init__(self, catalog: Catalog, *, room: int = ROOM) -> None:
        self._catalog = catalog
        self._room = room
        self._known: OrderedDict[tuple[str, ...], _Remembered] = OrderedDict()
        self._lock = threading.Lock()

    def parse_text(self, text: str, *, file: str = "<text>") -> TaskDefinition:
        """Returns the task that a text describes. Raises `InvalidTask` with every diagnostic."""
        key = ("text", file, _digest(normalised(text)))
        return self._recall(key) or self._parsed(
            key, len(text), lambda catalog: parse_text(text, file=file, catalog=catalog)
        )

    def parse_file(self, path: Path) -> TaskDefinition:
        """Returns the task in a file. Raises `InvalidTask` with every diagnostic."""
        text = read_source(path, Findings(str(path))) or ""
        # What a path is relative to depends on the current folder, and the definition says it.
        key = ("file", str(path), str(Path.cwd()), _digest(text))
        return self._recall(key) or self._parsed(
            key, len(text), lambda catalog: parse_file(path, catalog=catalog)
        )

    def _recall(self, key: tuple[str, ...]) -> TaskDefinition | None:
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
        return found.definition if found is not None and found.is_current() else None

    def _parsed(
        self, key: tuple[str, ...], size: int, parse: Callable[[Catalog], TaskDefinition]
    ) -> TaskDefinition:
        watched = _Watched(self._catalog, size)
        definition = parse(watched.catalog)
        # The file may have been written between two readings: then its text is not that of the key.
        if definition.sha256 == key[-1]:
            self._remember(key, _Remembered(definition, tuple(watched.seen), watched.size))
        return definition

    def _remember(self, key: tuple[str, ...], remembered: _Remembered) -> None:
        with self._lock:
            self._known.pop(key, None)
            self._known[key] = remembered
            while sum(known.size for known in self._known.values()) > self._room:
                self._known.popitem(last=False)


@dataclass(frozen=True)
class _Remembered:
    """A definition, what its parsing looked up with what came of it, and how much text that was."""

    definition: TaskDefinition
    seen: tuple[tuple[LookUp, Json], ...]
    size: int

    def is_current(self) -> bool:
        """Whether every look-up still gives what it gave."""
        try:
            return all(look_up() == before for look_up, before in self.seen)
        except InvalidTask:
            return False


class _Watched:
    """A catalog that notes what is looked up in it."""

    def __init__(self, catalog: Catalog, size: int) -> None:
        self.seen: list[tuple[LookUp, Json]] = []
        self.size = size
        self.catalog = replace(
            catalog,
            agent=None if catalog.agent is None else partial(self._agent, catalog.agent),
            task=None if catalog.task is None else partial(self._task, catalog.task),
        )

    def _agent(self, find: Callable[[str], Agent | None], id: str) -> Agent | None:
        found = find(id)
        self.seen.append((partial(find, id), found))
        self.size += 0 if found is None else len(found.prompt)
        return found

    def _task(self, find: FindTask, name: str, referrer: Path | None) -> tuple[Path, str] | None:
        found = find(name, referrer)
        self.seen.append((lambda: _identity(find(name, referrer)), _identity(found)))
        self.size += 0 if found is None else len(found[1])
        return found


def _identity(found: tuple[Path, str] | None) -> Json:
    """Returns the path of another task and the digest of its text, which need not be kept."""
    return None if found is None else (found[0], _digest(found[1]))


def _digest(text: str) -> str:
    """Returns the SHA-256 of a text, also of one that cannot be written as UTF-8."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
