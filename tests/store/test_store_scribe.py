"""Where there is much to write a process does it, and whatever happens to that nothing is lost."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from store_records import attempt, event

from taskmark.errors import Unreachable
from taskmark.store import spool as spools
from taskmark.store.quarantine import FILE
from taskmark.store.reading import History
from taskmark.store.schema import open_store
from taskmark.store.scribe import Scribe, ScribeLost
from taskmark.store.spool import SpoolRecorder

PROCESS = Path(__file__).with_name("store_recording_process.py")
EXECUTION = "exec-1-demo"
MUCH = 1_200
"""Records of which each half is a batch that is worth a process."""


class Watched(Scribe):
    """Remembers those that were started."""

    started: list[Watched]
    begins = True

    def __init__(self, url: str) -> None:
        super().__init__(url)
        if not self.begins:
            os.kill(self.pid, signal.SIGSTOP)
        self.started.append(self)


@pytest.fixture
def scribes(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    monkeypatch.setattr(Watched, "started", [], raising=False)
    return Watched.started


@pytest.fixture
def recorder(tmp_path: Path, store_url: str, scribes: list[Watched]) -> Iterator[SpoolRecorder]:
    """Gathers for so long that all a test records is one batch."""
    found = SpoolRecorder(
        tmp_path / "spool", partial(open_store, store_url), scribe=partial(Watched, store_url), gather=0.3
    )
    yield found
    found.close(10)


def lines(count: int, first: int = 0) -> bytes:
    return b"".join(
        event(occurrence=number).model_dump_json().encode() + b"\n" for number in range(first, first + count)
    )


def much(recorder: SpoolRecorder, first: int = 0) -> None:
    """Records so much, in two batches."""
    for start in (first, first + MUCH // 2):
        recorder.record(*(event(occurrence=number) for number in range(start, start + MUCH // 2)))
        assert recorder.flush(20)


def occurrences(history: History) -> list[int]:
    return [one.occurrence for one in history.events(EXECUTION, limit=100_000)]


def eventually(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_little_is_written_by_the_worker_itself(
    recorder: SpoolRecorder, history: History, scribes: list[Watched]
) -> None:
    recorder.record(*(event(occurrence=number) for number in range(20)))
    assert recorder.flush(20)
    assert occurrences(history) == list(range(20))
    assert scribes == []


def test_much_that_comes_once_is_no_reason_for_a_process(
    recorder: SpoolRecorder, history: History, scribes: list[Watched]
) -> None:
    recorder.record(*(event(occurrence=number) for number in range(MUCH)))
    assert recorder.flush(20)
    assert (len(occurrences(history)), scribes) == (MUCH, [])


def test_much_is_written_by_a_process_which_ends_with_the_recorder(
    recorder: SpoolRecorder, history: History, scribes: list[Watched]
) -> None:
    much(recorder)
    [scribe] = scribes
    eventually(lambda: scribe.is_ready)
    recorder.record(event(occurrence=MUCH))
    assert recorder.flush(20)
    assert psutil.Process(scribe.pid).ppid() == os.getpid()
    assert recorder.close(20)
    assert occurrences(history) == list(range(MUCH + 1))
    assert scribe._process.returncode == 0


def test_a_process_that_does_not_get_to_begin_holds_up_nothing(
    recorder: SpoolRecorder, history: History, scribes: list[Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where work leaves it no time: until it is ready the worker writes by itself."""
    monkeypatch.setattr(Watched, "begins", False)
    much(recorder)
    [scribe] = scribes
    much(recorder, MUCH)
    assert not scribe.is_ready
    assert occurrences(history) == list(range(2 * MUCH))
    os.kill(scribe.pid, signal.SIGCONT)
    eventually(lambda: scribe.is_ready)
    much(recorder, 2 * MUCH)
    assert occurrences(history) == list(range(3 * MUCH))


def test_a_process_that_never_began_is_gone_with_the_recorder(
    recorder: SpoolRecorder, scribes: list[Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watched, "begins", False)
    much(recorder)
    assert recorder.close(20)
    assert scribes[0]._process.returncode == -signal.SIGKILL


def test_a_process_with_nothing_to_do_ends(
    recorder: SpoolRecorder, history: History, scribes: list[Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next time there is much to write there is another one."""
    recorder._adopt_every = 0.1
    for turn in range(2):
        monkeypatch.setattr(spools, "_IDLE", 600)
        much(recorder, turn * MUCH)
        eventually(lambda turn=turn: scribes[turn].is_ready)
        monkeypatch.setattr(spools, "_IDLE", 0.1)
        eventually(lambda turn=turn: scribes[turn]._process.returncode == 0)
    assert occurrences(history) == list(range(2 * MUCH))
    assert len(scribes) == 2


def test_what_a_killed_process_did_not_write_is_written_all_the_same(
    recorder: SpoolRecorder, history: History, scribes: list[Watched], caplog: pytest.LogCaptureFixture
) -> None:
    much(recorder)
    eventually(lambda: scribes[0].is_ready)
    with caplog.at_level(logging.WARNING):
        os.kill(scribes[0].pid, signal.SIGKILL)
        much(recorder, MUCH)
        assert recorder.flush(20)
    assert occurrences(history) == list(range(2 * MUCH))
    assert "The process that writes to the history store is lost" in caplog.text
    much(recorder, 2 * MUCH)
    assert recorder.flush(20)
    assert len(scribes) == 1, "another one is not started at once: whatever kills it may do so again"


def test_where_no_process_can_be_started_the_worker_writes(
    tmp_path: Path, history: History, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmark.store.scribe.sys.executable", str(tmp_path / "nowhere"))
    found = SpoolRecorder(
        tmp_path / "spool", partial(open_store, store_url), scribe=partial(Scribe, store_url)
    )
    much(found)
    assert found.close(20)
    assert occurrences(history) == list(range(MUCH))


def test_a_process_ends_with_a_worker_that_is_killed(tmp_path: Path, store_url: str) -> None:
    """And whoever comes next writes what the worker left."""
    command = [sys.executable, str(PROCESS), str(tmp_path / "spool"), store_url, "scribe"]
    worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=PROCESS.parent)
    try:
        eventually(lambda: bool(psutil.Process(worker.pid).children()))
        [scribe] = psutil.Process(worker.pid).children()
    finally:
        worker.kill()
        worker.wait()
    eventually(lambda: not scribe.is_running() or scribe.status() == psutil.STATUS_ZOMBIE)


def test_what_it_cannot_write_is_set_aside_and_holds_up_nothing(
    recorder: SpoolRecorder, history: History, tmp_path: Path, scribes: list[Watched]
) -> None:
    """A number that no column takes is wrong for every database."""
    much(recorder)
    eventually(lambda: scribes[0].is_ready)
    recorder.record(attempt("odd", tokens=2**70))
    assert recorder.flush(20)
    assert len(scribes) == 1
    assert recorder.rejected == 1
    assert "odd" in (tmp_path / "spool" / FILE).read_text()
    assert occurrences(history) == list(range(MUCH))


def test_a_store_that_does_not_answer_is_told_from_a_process_that_does_not() -> None:
    scribe = Scribe("postgresql://nobody@127.0.0.1:1/none")
    try:
        for _ in range(2):
            with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
                scribe.write(lines(1))
    finally:
        scribe.close()
    with pytest.raises(ScribeLost):
        scribe.write(lines(1))


def test_nobody_can_read_the_address_of_the_store_off_the_process(store_url: str) -> None:
    """It may hold a password."""
    scribe = Scribe(store_url)
    try:
        assert scribe.write(lines(3)) == []
        process = psutil.Process(scribe.pid)
        assert store_url not in " ".join([*process.cmdline(), *process.environ().values()])
    finally:
        scribe.close()
