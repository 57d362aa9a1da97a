"""The process that reads: everything comes, in order and scrubbed, and it never outlives whoever asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from multiprocessing import active_children
from pathlib import Path

import psutil
import pytest

from taskmark.past.beside import Ready, as_it_is, read_beside
from taskmark.past.files import TOO_DEEP, Past, Unread, read_results
from taskmark.records import ExecutionRecord, Record
from taskmark.store.merging import Columns, in_columns

AT_ONCE = 100
OTHER = {"task": "tidy", "status": "ok", "completed_at": 1767323045}


def written(folder: Path, number: int, **more: object) -> Path:
    path = folder / f"{number}.json"
    path.write_text(json.dumps({**OTHER, "execution_id": f"exec-{number}", **more}))
    return path


def test_everything_comes_in_order_and_scrubbed(tmp_path: Path) -> None:
    """Also by what cannot be sent to another process."""
    mark = object()
    files = [written(tmp_path, number) for number in range(2 * AT_ONCE + 1)]
    files.insert(1, tmp_path / "none.json")

    def scrub(record: Record) -> Record:
        assert mark
        return record.model_copy(update={"task_name": "scrubbed"})

    first, unread, *rest = read_beside(files, scrub, AT_ONCE)
    assert isinstance(unread, Unread)
    found = [one for one in (first, *rest) if isinstance(one, Ready)]
    assert [one.execution for one in found] == [f"exec-{number}" for number in range(2 * AT_ONCE + 1)]
    wholes = [one.records[0] for one in found]
    assert {one.values["task_name"] for one in wholes if isinstance(one, Columns)} == {"scrubbed"}


def test_what_comes_is_what_the_records_are_in_columns(tmp_path: Path) -> None:
    """But for what can be in none, which shows again when it is written."""
    file = written(
        tmp_path, 1, error={"type": "E", "message": "a\0b"}, started_at=1767323040.5, files=["é"], cost=0.1
    )
    [past], [ready] = read_results(file), read_beside([file], as_it_is, AT_ONCE)
    assert isinstance(past, Past)
    assert isinstance(ready, Ready)
    assert ready.records == tuple(map(in_columns, past.records))
    file.write_text(f'{{"task": "a", "status": "ok", "output": {"[" * 300}{"]" * 300}}}')
    [deep] = read_beside([file], as_it_is, AT_ONCE)
    assert isinstance(deep, Ready)
    assert isinstance(deep.records[0], ExecutionRecord)


def test_what_is_nested_too_deeply_is_told_and_stops_nothing(tmp_path: Path) -> None:
    """Of documents that can be read some cannot be sent, and some cannot be written down again."""
    bad, good, told = tmp_path / "bad.json", written(tmp_path, 1), set()
    for depth in (300, 600, 900, 985, 990, 995, 100_000):
        bad.write_text(f'{{"task": "a", "status": "ok", "output": {"[" * depth}{"]" * depth}}}')
        deep, after = read_beside([bad, good], as_it_is, AT_ONCE)
        told |= {deep.reason} if isinstance(deep, Unread) else set()
        assert isinstance(after, Ready)
    assert told == {TOO_DEEP}


def test_whoever_stops_early_leaves_no_process(tmp_path: Path) -> None:
    files = [written(tmp_path, number, output="x" * 10_000) for number in range(50)]
    with closing(read_beside(files, as_it_is, AT_ONCE)) as found:
        next(found)
    assert active_children() == []


def test_a_process_that_ends_in_the_midst_is_an_error(tmp_path: Path) -> None:
    """It was killed for its memory, perhaps: what it did not send was not read."""

    def end(_record: Record) -> Record:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    with pytest.raises(ChildProcessError, match="has ended"):
        list(read_beside([written(tmp_path, 1)], end, AT_ONCE))


_READS = """
import multiprocessing, pathlib, sys
from taskmark.past import beside
found = beside.read_beside(sorted(pathlib.Path(sys.argv[1]).iterdir()), beside.as_it_is, 100)
next(found)
print(multiprocessing.active_children()[0].pid, flush=True)
sys.stdin.read()
"""


def test_it_ends_with_whoever_was_killed(tmp_path: Path) -> None:
    for number in range(3 * AT_ONCE):
        written(tmp_path, number, output="x" * 10_000)
    with subprocess.Popen(
        [sys.executable, "-c", _READS, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as asking:
        assert asking.stdout
        reader = psutil.Process(int(asking.stdout.readline()))
        asking.kill()
    gone, _ = psutil.wait_procs([reader], timeout=30)
    assert gone
