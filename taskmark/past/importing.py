"""Brings a folder of past results into the store: again and again if somebody likes, nothing is doubled.

Each batch is one transaction, and everything has deterministic keys: whoever was interrupted begins anew, and
what is there already is only looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from taskmark.past.beside import Ready, Scrub, as_it_is, read_beside
from taskmark.past.files import Unread, result_files
from taskmark.records import Record
from taskmark.store.keys import batches
from taskmark.store.merging import Columns
from taskmark.store.writing import Rejected

AT_ONCE = 250
"""Results of one transaction."""

Write = Callable[[Sequence[Columns | Record]], Sequence[Rejected[Columns | Record]]]
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


def take(folder: Path, write: Write, tell: Tell, scrub: Scrub = as_it_is) -> Taken:
    """Reads every file in the folder and hands its records to `write`, scrubbed, which happens in another
    process.

    What cannot be understood or written is told and stops nothing. Raises `OSError` if the folder cannot be
    read, and what `write` raises.
    """
    done, files = Taken(), result_files(folder)
    done.files = len(files)

    def problem(found: Unread) -> None:
        done.problems += 1
        tell(found)

    with closing(read_beside(files, scrub, AT_ONCE)) as found:
        for batch in batches(_once(found, problem), AT_ONCE):
            rejected = write([record for past in batch for record in past.records])
            for one in _unwritten(batch, rejected):
                problem(one)
            done.results += len(batch)
            done.records += sum(len(past.records) for past in batch) - len(rejected)
    return done


def _once(found: Iterable[Ready | Unread], problem: Tell) -> Iterator[Ready]:
    """Yields each result once; another one of the same id would be merged into the first, and both lost."""
    known: dict[str, Ready] = {}
    for one in found:
        if isinstance(one, Unread):
            problem(one)
            continue
        first = known.get(one.execution)
        if first is None:
            known[one.execution] = replace(one, records=())
            yield one
        elif first.content != one.content:
            reason = f"{first.file}:{first.line} has another result of {one.execution}, which was taken"
            problem(Unread(Path(one.file), one.line, reason))


def _unwritten(batch: Sequence[Ready], rejected: Sequence[Rejected[Columns | Record]]) -> Iterator[Unread]:
    where = {past.execution: past for past in batch}
    for one in rejected:
        past = where[_execution(one.record)]
        yield Unread(Path(past.file), past.line, f"the store refuses its {one.record.type}: {one.reason}")


def _execution(record: Columns | Record) -> str:
    return str(record.key[0] if isinstance(record, Columns) else getattr(record, "execution_id", ""))
