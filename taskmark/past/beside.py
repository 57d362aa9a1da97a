"""Reads files in a process of its own, and makes ready what they tell, while what it read before is written:
each takes about as long.

It only sends, so it ends with whoever started it, however that ends.
"""

from __future__ import annotations

import errno
import pickle
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from taskmark.past.files import TOO_DEEP, Past, Unread, read_results
from taskmark.records import Record
from taskmark.store.keys import batches
from taskmark.store.merging import Columns, in_columns

Scrub: TypeAlias = Callable[[Record], Record]

_FORK: Any = get_context("fork")
"""It starts within milliseconds, and has what could not be sent to it, such as the detectors of plugins."""


@dataclass(frozen=True)
class Ready:
    """A result that can be written as it is."""

    file: str
    """A text, because paths are slow to send."""
    line: int
    execution: str
    content: int
    """As of `Past`."""
    records: tuple[Columns | Record, ...]
    """In columns, but for what cannot be in any: what is wrong with it shows again when it is written."""


def as_it_is(record: Record) -> Record:
    """A `Scrub` that leaves everything."""
    return record


def read_beside(files: Sequence[Path], scrub: Scrub, at_once: int) -> Generator[Ready | Unread]:
    """Yields what the files hold, in order. While so many are used the same number is made ready."""
    here, there = _FORK.Pipe(duplex=False)
    reader = _FORK.Process(target=_send, args=(files, scrub, at_once, here, there), daemon=True)
    reader.start()
    there.close()
    try:
        while message := here.recv():
            yield from map(pickle.loads, message)
    except EOFError as error:
        raise ChildProcessError(errno.ECHILD, "the process that reads them has ended") from error
    finally:
        reader.kill()
        reader.join()
        here.close()


def _send(files: Sequence[Path], scrub: Scrub, at_once: int, here: Connection, there: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asked for all this decides
    here.close()
    found = chain.from_iterable(map(read_results, files))
    with suppress(BrokenPipeError):
        for some in batches((_packed(one, scrub) for one in found), at_once):
            there.send(some)
        there.send([])


def _packed(found: Past | Unread, scrub: Scrub) -> bytes:
    if isinstance(found, Unread):
        return pickle.dumps(found)
    records = tuple(_in_columns(scrub(record)) for record in found.records)
    try:
        return pickle.dumps(Ready(str(found.file), found.line, found.execution, found.content, records))
    except RecursionError:
        return pickle.dumps(Unread(found.file, found.line, TOO_DEEP))


def _in_columns(record: Record) -> Columns | Record:
    try:
        return in_columns(record)
    except Exception:
        return record
