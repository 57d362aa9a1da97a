"""Brings a folder of past results into the store: again and again if somebody likes, nothing is doubled.

Each batch is one transaction, and everything has deterministic keys: whoever was interrupted begins anew, and
what is there already is only looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from taskmark.past.files import Past, Unread, read_results, result_files
from taskmark.records import Record
from taskmark.store.keys import batches
from taskmark.store.merging import bare
from taskmark.store.writing import Rejected

AT_ONCE = 250
"""Results of one transaction."""

Write = Callable[[Sequence[Record]], Sequence[Rejected]]
"""Writes records, and returns those that cannot be written."""
Tell = Callable[[Unread], None]
"""Gets to know of each result that cannot be taken."""


@dataclass
class Taken:
    """What was done."""

    files: int = 0
    results: int = 0
    records: int = 0
    problems: int = 0


def take(folder: Path, write: Write, tell: Tell) -> Taken:
    """Reads every file in the folder and hands its records to `write`.

    What cannot be understood or written is told and stops nothing. Raises `OSError` if the folder cannot be
    read, and what `write` raises.
    """
    done, files = Taken(), result_files(folder)
    done.files = len(files)

    def problem(found: Unread) -> None:
        done.problems += 1
        tell(found)

    found = batches(_once(chain.from_iterable(map(read_results, files)), problem), AT_ONCE)
    for batch, rejected in _written(found, write):
        for one in _unwritten(batch, rejected):
            problem(one)
        done.results += len(batch)
        done.records += sum(len(past.records) for past in batch) - len(rejected)
    return done


def _written(found: Iterator[list[Past]], write: Write) -> Iterator[tuple[list[Past], Sequence[Rejected]]]:
    """Yields each batch with what could not be written of it. While one is written the next one is read."""
    with ThreadPoolExecutor(1, "taskmark-writer") as writer:
        before: tuple[list[Past], Future[Sequence[Rejected]]] | None = None
        for batch in found:
            if before is not None:
                yield before[0], before[1].result()
            before = batch, writer.submit(write, [record for past in batch for record in past.records])
        if before is not None:
            yield before[0], before[1].result()


def _once(found: Iterator[Past | Unread], problem: Tell) -> Iterator[Past]:
    """Yields each result once; another one of the same id would be merged into the first, and both lost."""
    known: dict[str, Past] = {}
    for one in found:
        if isinstance(one, Unread):
            problem(one)
            continue
        first = known.setdefault(one.execution, one)
        if first is one:
            yield one
            known[one.execution] = Past(one.file, one.line, one.execution, (), one.content)
        elif first.content != one.content:
            reason = f"{first.file}:{first.line} has another result of {one.execution}, which was taken"
            problem(Unread(one.file, one.line, reason))


def _unwritten(batch: Sequence[Past], rejected: Sequence[Rejected]) -> Iterator[Unread]:
    where = {past.execution: past for past in batch}
    for one in rejected:
        past = where[getattr(bare(one.record), "execution_id", "")]
        yield Unread(past.file, past.line, f"the store refuses its {bare(one.record).type}: {one.reason}")
