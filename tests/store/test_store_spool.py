"""The recorder delays nobody and loses nothing, whatever happens to the store or to its process."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from store_records import EVERY_KIND, at, attempt, clear, event, execution, rows

from taskmark.errors import Unreachable
from taskmark.records import Record
from taskmark.store import segment as segments
from taskmark.store import spool as spools
from taskmark.store.engine import make_engine, writing
from taskmark.store.reading import History
from taskmark.store.segment import Segment, left_behind
from taskmark.store.spool import SpoolRecorder
from taskmark.store.writing import apply

EXECUTION = "exec-1-demo"
PROCESS = Path(__file__).with_name("store_recording_process.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def start(folder: Path, open_engine: Callable[[], Engine]) -> Iterator[Callable[..., SpoolRecorder]]:
    """Starts recorders on the same folder and store."""
    recorders: list[SpoolRecorder] = []

    def start_one(open_store: Callable[[], Engine] = open_engine, **options: float) -> SpoolRecorder:
        recorders.append(SpoolRecorder(folder, open_store, **options))  # type: ignore[arg-type]  # limit is an int
        return recorders[-1]

    yield start_one
    for recorder in recorders:
        recorder.close(0)


def unreachable() -> Engine:
    raise Unreachable("the store is down")


def occurrences(history: History) -> list[int]:
    return [one.occurrence for one in history.events(EXECUTION, limit=100_000)]


def spooled(folder: Path) -> list[Path]:
    return left_behind(folder)


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_what_is_recorded_arrives_in_order_and_leaves_no_file(
    start: Callable[..., SpoolRecorder], history: History, folder: Path
) -> None:
    recorder = start()
    for number in range(300):
        recorder.record(event(occurrence=number))

    assert recorder.close(20)
    assert occurrences(history) == list(range(300))
    assert spooled(folder) == []
    assert (recorder.dropped, recorder.rejected) == (0, 0)


def test_records_come_out_of_the_spool_as_they_went_in(
    start: Callable[..., SpoolRecorder], engine: Engine
) -> None:
    apply(engine, EVERY_KIND)
    expected = rows(engine)
    clear(engine)
    recorder = start()
    recorder.record(*EVERY_KIND)

    assert recorder.flush(20)
    assert rows(engine) == expected


def test_many_records_are_written_in_few_transactions(
    start: Callable[..., SpoolRecorder], open_engine: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from taskmark.store import writing as module

    sizes: list[int] = []
    real = module.apply_each

    def counting(engine: Engine, records: Sequence[Record]) -> list[module.Rejected]:
        sizes.append(len(records))
        return real(engine, records)

    monkeypatch.setattr(module, "apply_each", counting)
    recorder = start(gather=0.5)
    for number in range(200):
        recorder.record(event(occurrence=number))

    assert recorder.close(20)
    assert sum(sizes) == 200
    assert len(sizes) <= 5


def test_threads_record_side_by_side(start: Callable[..., SpoolRecorder], history: History) -> None:
    recorder = start()

    def work(worker: int) -> None:
        for number in range(50):
            recorder.record(event(item=worker, occurrence=number))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert recorder.flush(20)
    assert len(history.events(EXECUTION)) == 300


@pytest.fixture
def lock_store(open_engine: Callable[[], Engine]) -> Callable[[float], threading.Thread]:
    """Locks what a writer needs for some seconds, from another connection."""
    other = open_engine()

    def lock(seconds: float) -> threading.Thread:
        locked = threading.Event()

        def hold() -> None:
            with writing(other) as connection:
                if other.dialect.name == "postgresql":
                    connection.execute(text("LOCK TABLE events, executions IN ACCESS EXCLUSIVE MODE"))
                locked.set()
                time.sleep(seconds)

        thread = threading.Thread(target=hold)
        thread.start()
        assert locked.wait(10)
        return thread

    return lock


def test_a_locked_store_delays_no_record_and_gets_them_afterwards(
    start: Callable[..., SpoolRecorder], lock_store: Callable[[float], threading.Thread], history: History
) -> None:
    recorder = start()
    recorder.record(event(occurrence=0))
    assert recorder.flush(20)
    holding = lock_store(1.5)
    took = []
    for number in range(1, 101):
        began = time.perf_counter()
        recorder.record(event(occurrence=number))
        took.append(time.perf_counter() - began)
        time.sleep(0.002)
    still_locked = holding.is_alive()

    assert still_locked
    assert recorder.flush(0.05) is False
    # Some of a hundred may be held up by the machine; what waited for the lock would take a second.
    assert sorted(took)[-10] < 0.05
    holding.join()
    assert recorder.flush(20)
    assert occurrences(history) == list(range(101))


def test_a_store_that_is_down_is_tried_until_it_answers(
    start: Callable[..., SpoolRecorder],
    open_engine: Callable[[], Engine],
    history: History,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "taskmark")
    tries = iter([unreachable, unreachable, open_engine])

    def open_store() -> Engine:
        return next(tries)()

    recorder = start(open_store)
    recorder.record(event())

    assert recorder.flush(0.05) is False
    assert recorder.flush(20)
    assert len(history.events(EXECUTION)) == 1
    assert [one.message for one in caplog.records] == [
        "The history store will be tried again until it answers: the store is down",
        "The history store answers again",
    ]


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_server_that_is_stopped_gets_everything_once_it_is_back(
    start: Callable[..., SpoolRecorder], history: History, request: pytest.FixtureRequest
) -> None:
    cluster = request.getfixturevalue("postgresql")
    recorder = start()
    recorder.record(event(occurrence=0))
    assert recorder.flush(20)
    cluster.stop()
    try:
        for number in range(1, 50):
            recorder.record(event(occurrence=number))
        stopped = recorder.flush(0.3)
    finally:
        cluster.start()

    assert stopped is False
    assert recorder.flush(20)
    assert occurrences(history) == list(range(50))


def record_and_be_killed(folder: Path, url: str, least: int) -> int:
    """Lets another process record, kills it, and returns the last number it said it had recorded."""
    process = subprocess.Popen(
        [sys.executable, str(PROCESS), str(folder), url], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    last = -1
    while last < least:
        last = int(process.stdout.readline())
    process.kill()
    rest = process.stdout.read().split("\n")[:-1]
    process.wait()
    return int(rest[-1]) if rest else last


@pytest.mark.parametrize("least", [10, 3000])
def test_what_a_killed_process_recorded_is_adopted_whole(
    folder: Path, store_url: str, start: Callable[..., SpoolRecorder], history: History, least: int
) -> None:
    last = record_and_be_killed(folder, store_url, least)
    start()

    wait_until(lambda: spooled(folder) == [])
    found = occurrences(history)
    # The one record that was being taken when the process died may be there or not.
    assert found[: last + 1] == list(range(last + 1))
    assert len(found) <= last + 2


def test_what_was_recorded_while_the_store_was_away_outlives_the_process(
    folder: Path, start: Callable[..., SpoolRecorder], history: History
) -> None:
    last = record_and_be_killed(folder, "postgresql://nobody@127.0.0.1:1/none", 500)
    start()

    wait_until(lambda: spooled(folder) == [])
    assert occurrences(history)[: last + 1] == list(range(last + 1))


def test_a_recorder_that_runs_adopts_what_another_leaves_later(
    folder: Path, start: Callable[..., SpoolRecorder], history: History
) -> None:
    start(adopt_every=0.05)
    leaving = start(unreachable)
    leaving.record(event())
    assert leaving.close(0.1) is False

    wait_until(lambda: occurrences(history) == [0])
    wait_until(lambda: spooled(folder) == [])


def test_more_files_than_are_adopted_at_once_are_adopted(
    folder: Path, start: Callable[..., SpoolRecorder], history: History
) -> None:
    for number in range(40):
        left = Segment.create(folder)
        left.append(event(occurrence=number).model_dump_json().encode() + b"\n")
        left.release()
    start(adopt_every=60)

    wait_until(lambda: spooled(folder) == [])
    assert sorted(occurrences(history)) == list(range(40))


def test_an_owned_file_is_not_adopted(
    folder: Path, start: Callable[..., SpoolRecorder], history: History
) -> None:
    owned = Segment.create(folder)
    owned.append(event().model_dump_json().encode() + b"\n")
    recorder = start()
    recorder.record(event(occurrence=1))

    assert recorder.flush(20)
    assert occurrences(history) == [1]
    owned.release()


def test_writing_goes_on_from_the_position_the_dead_owner_reached(
    folder: Path, start: Callable[..., SpoolRecorder], history: History
) -> None:
    lines = [event(occurrence=number).model_dump_json().encode() + b"\n" for number in range(3)]
    left = Segment.create(folder)
    left.append(b"".join(lines))
    left.advance(len(lines[0]))
    left.release()
    start()

    wait_until(lambda: spooled(folder) == [])
    assert occurrences(history) == [1, 2]


def test_beyond_the_limit_records_are_dropped_and_counted_and_said_once(
    start: Callable[..., SpoolRecorder], caplog: pytest.LogCaptureFixture
) -> None:
    recorder = start(unreachable, limit=2000)
    for number in range(100):
        recorder.record(event(occurrence=number))

    kept = 100 - recorder.dropped
    assert 5 < kept < 15
    warnings = [one.message for one in caplog.records if "dropped" in one.message]
    assert len(warnings) == 1
    assert "taskmark backfill" in warnings[0]


def test_there_is_room_again_once_the_store_has_the_records(
    start: Callable[..., SpoolRecorder], history: History
) -> None:
    recorder = start(limit=2000)
    for number in range(30):
        recorder.record(event(occurrence=number))
        assert recorder.flush(20)

    assert recorder.dropped == 0
    assert len(occurrences(history)) == 30


def test_drops_are_said_again_after_the_spool_was_empty(
    start: Callable[..., SpoolRecorder], caplog: pytest.LogCaptureFixture
) -> None:
    recorder = start(limit=300)
    too_large = event(payload={"text": "x" * 400})
    for _ in range(2):
        recorder.record(too_large, too_large)
        recorder.record(event())
        assert recorder.flush(20)

    assert recorder.dropped == 4
    assert len([one for one in caplog.records if "being dropped" in one.message]) == 2


def test_files_that_are_written_are_removed_while_recording_goes_on(
    folder: Path, start: Callable[..., SpoolRecorder], history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "_SEGMENT_BYTES", 1000)
    monkeypatch.setattr(spools, "_BATCH_BYTES", 100)
    recorder = start()
    for number in range(60):
        recorder.record(event(occurrence=number))

    assert recorder.flush(20)
    wait_until(lambda: len(spooled(folder)) <= 1)
    assert occurrences(history) == list(range(60))


def test_a_folder_that_cannot_be_made_fails_nobody(
    folder: Path, start: Callable[..., SpoolRecorder], history: History
) -> None:
    folder.write_text("a file where the folder should be")
    recorder = start()
    recorder.record(event(occurrence=0))
    recorder.record(event(occurrence=1))
    assert recorder.dropped == 2
    folder.unlink()

    def record_again() -> bool:
        recorder.record(event(occurrence=2))
        return folder.is_dir()

    # It is not tried for each record, but once a second.
    wait_until(record_again)
    assert recorder.flush(20)
    assert occurrences(history) == [2]


@pytest.mark.parametrize("room", [100, 400])
def test_a_full_disk_fails_nobody_and_tears_no_record(
    start: Callable[..., SpoolRecorder], history: History, room: int
) -> None:
    recorder = start()
    recorder.record(event(occurrence=0))
    assert recorder.flush(20)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    blocked = start(unreachable)
    blocked.record(event(occurrence=1))
    try:
        # The kernel then writes as much as fits, if anything, and refuses the rest: as a full disk does.
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, old[1]))
        for number in range(2, 8):
            blocked.record(event(occurrence=number, payload={"text": "x" * 100}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert blocked.dropped == 6
    blocked.record(event(occurrence=9))
    blocked.close(0.1)

    adopting = start()
    wait_until(lambda: occurrences(history) == [0, 1, 9])
    assert adopting.rejected == 0


@pytest.mark.parametrize("length", [0, 5, 25])
def test_a_torn_file_is_read_as_far_as_it_goes(
    folder: Path, start: Callable[..., SpoolRecorder], length: int
) -> None:
    folder.mkdir()
    (folder / f"torn{segments.SUFFIX}").write_bytes((b"\0" * 21 + b'{"type": "event"')[:length])
    start()
    wait_until(lambda: spooled(folder) == [])


def test_a_line_that_is_no_record_is_set_aside_with_its_reason(
    folder: Path, start: Callable[..., SpoolRecorder], history: History, caplog: pytest.LogCaptureFixture
) -> None:
    left = Segment.create(folder)
    good = event().model_dump_json().encode()
    left.append(b'{"type": "gossip"}\n' + good + b"\n" + good[:40])
    left.release()
    recorder = start()

    wait_until(lambda: spooled(folder) == [])
    assert occurrences(history) == [0]
    aside = [json.loads(line) for line in (folder / "quarantine.jsonl").read_text().splitlines()]
    assert [one["record"] for one in aside] == ['{"type": "gossip"}', good[:40].decode()]
    assert all(one["reason"] for one in aside)
    assert recorder.rejected == 2
    assert any("set aside in" in one.message for one in caplog.records)


def test_a_record_that_the_database_refuses_is_set_aside_and_the_others_arrive(
    folder: Path, start: Callable[..., SpoolRecorder], history: History
) -> None:
    recorder = start()
    recorder.record(attempt("good"), attempt("bad", tokens=2**70), attempt("better"))

    assert recorder.flush(20)
    assert sorted(one.step for one in history.attempts(EXECUTION)) == ["better", "good"]
    [aside] = map(json.loads, (folder / "quarantine.jsonl").read_text().splitlines())
    assert json.loads(aside["record"])["step"] == "bad"
    assert recorder.rejected == 1


def test_a_record_that_is_no_json_is_set_aside_and_the_others_arrive(
    start: Callable[..., SpoolRecorder], history: History
) -> None:
    recorder = start()
    recorder.record(attempt("bad", output={"thing": object()}), attempt("good"))

    assert recorder.flush(20)
    assert [one.step for one in history.attempts(EXECUTION)] == ["good"]
    assert (recorder.rejected, recorder.dropped) == (1, 0)


def test_a_resumed_execution_reads_as_running(start: Callable[..., SpoolRecorder], history: History) -> None:
    recorder = start()
    for status in ("running", "paused", "running"):
        recorder.record(execution(status=status, started_at=at(0)))

    assert recorder.flush(20)
    assert history.execution(EXECUTION).status == "running"


def test_a_closed_recorder_drops_and_counts(start: Callable[..., SpoolRecorder]) -> None:
    recorder = start()
    assert recorder.close(5)
    recorder.record(event())

    assert recorder.dropped == 1
    assert recorder.flush(1)


def test_recording_nothing_makes_no_file(start: Callable[..., SpoolRecorder], folder: Path) -> None:
    start().record()
    assert not folder.exists()


def test_a_file_that_others_cut_is_left_alone_and_recording_goes_on(
    folder: Path, open_engine: Callable[[], Engine], start: Callable[..., SpoolRecorder], history: History
) -> None:
    asked, answer = threading.Event(), threading.Event()

    def open_late() -> Engine:
        asked.set()
        answer.wait(10)
        return open_engine()

    recorder = start(open_late, gather=0)
    recorder.record(event(occurrence=0))
    assert asked.wait(10)
    recorder.record(event(occurrence=1))
    os.truncate(spooled(folder)[0], 30)
    answer.set()

    assert recorder.flush(20)
    recorder.record(event(occurrence=2))
    assert recorder.flush(20)
    assert occurrences(history) == [0, 2]


def test_a_left_file_that_others_cut_is_left_alone(
    folder: Path,
    open_engine: Callable[[], Engine],
    start: Callable[..., SpoolRecorder],
    history: History,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spools, "_BATCH_BYTES", 100)
    left = Segment.create(folder)
    left.append(b"".join(event(occurrence=n).model_dump_json().encode() + b"\n" for n in range(2)))
    left.release()

    def open_and_cut() -> Engine:
        os.truncate(left.path, 30)
        return open_engine()

    recorder = start(open_and_cut)
    wait_until(lambda: occurrences(history) == [0])
    recorder.record(event(occurrence=2))
    assert recorder.flush(20)
    assert occurrences(history) == [0, 2]
    assert spooled(folder)[0] == left.path


def test_a_folder_whose_files_cannot_be_listed_is_looked_at_again(
    start: Callable[..., SpoolRecorder], history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(spools, "left_behind", refuse)
    recorder = start(adopt_every=0.05)
    recorder.record(event())

    assert recorder.flush(20)
    assert occurrences(history) == [0]


def test_a_fault_in_the_writing_thread_does_not_end_it(
    start: Callable[..., SpoolRecorder],
    history: History,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = iter([RuntimeError("a fault")])

    def look(folder: Path) -> list[Path]:
        for fault in faults:
            raise fault
        return []

    monkeypatch.setattr(spools, "left_behind", look)
    recorder = start()
    recorder.record(event())

    assert recorder.flush(20)
    assert occurrences(history) == [0]
    assert "a fault" in caplog.text


# --- segments -------------------------------------------------------------------------------------


def test_a_segment_gives_whole_lines_however_little_is_asked_for(folder: Path) -> None:
    segment = Segment.create(folder)
    segment.append(b"a long line\nshort\n")

    assert segment.read(1) == b"a long line\n"
    segment.advance(12)
    assert segment.read(100) == b"short\n"
    segment.advance(6)
    assert segment.read(100) == b""
    segment.release()
    assert spooled(folder) == []


def test_a_segment_has_one_owner(folder: Path) -> None:
    segment = Segment.create(folder)
    segment.append(b"line\n")
    assert Segment.adopt(segment.path) is None
    segment.release()
    adopted = Segment.adopt(segment.path)
    assert adopted is not None
    adopted.release()


def test_a_segment_removed_between_opening_and_lock_is_not_owned(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = Segment.create(folder)
    segment.append(b"line\n")
    segment.release()

    def remove_first(descriptor: int, operation: int) -> None:
        segment.path.unlink()
        real(descriptor, operation)

    real = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", remove_first)
    assert Segment.adopt(segment.path) is None


def test_a_new_file_that_another_process_took_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter([BlockingIOError(11, "taken")])

    def refuse_once(descriptor: int, operation: int) -> None:
        error = next(calls, None)
        if error:
            raise error

    monkeypatch.setattr(fcntl, "flock", refuse_once)
    segment = Segment.create(folder)
    assert len(spooled(folder)) == 2
    segment.release()


def test_a_lock_that_fails_for_another_reason_is_told_and_leaks_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No locks available"):
        Segment.create(folder)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_link_in_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (tmp_path / "elsewhere").write_text("precious")
    (folder / f"link{segments.SUFFIX}").symlink_to(tmp_path / "elsewhere")

    assert Segment.adopt(folder / f"link{segments.SUFFIX}") is None
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_the_files_are_for_their_user_only(folder: Path) -> None:
    segment = Segment.create(folder)
    assert segment.path.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0
    segment.release()


# --- quarantine -----------------------------------------------------------------------------------


def test_a_full_quarantine_only_counts(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    from taskmark.store.quarantine import Bad, Quarantine

    quarantine = Quarantine(folder, limit=10)
    quarantine.set_aside([Bad("first", "r")])
    quarantine.set_aside([Bad("second", "r")])

    assert quarantine.count == 2
    assert "second" not in quarantine.path.read_text()
    assert "is full" in caplog.text


def test_a_quarantine_that_cannot_be_written_fails_nobody(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from taskmark.store.quarantine import Bad, Quarantine

    folder.write_text("a file where the folder should be")
    Quarantine(folder).set_aside([Bad("text", "reason")])
    assert "could not be kept" in caplog.text


def test_an_engine_for_a_store_that_was_never_opened_is_not_needed(
    start: Callable[..., SpoolRecorder],
) -> None:
    opened: list[int] = []

    def open_store() -> Engine:
        opened.append(1)
        return make_engine("postgresql://nobody@127.0.0.1:1/none")

    assert start(open_store).close(5)
    assert opened == []


def test_recording_that_is_interrupted_at_any_point_keeps_nobody_else_from_recording(tmp_path: Path) -> None:
    """A worker interrupts workflow code that takes too long, wherever it is; then all others went silent."""
    script = Path(__file__).with_name("store_interrupted_process.py")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    ended = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "all could record\n"), ended.stderr


def test_a_segment_that_refuses_a_record_says_why_and_keeps_what_it_had(folder: Path) -> None:
    segment = Segment.create(folder)
    segment.append(b"kept\n")
    read_only = os.open(segment.path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            segments._pwrite(read_only, b"lost\n", 0)
    finally:
        os.close(read_only)
    assert caught.value.errno == errno.EBADF
    assert segment.read(100) == b"kept\n"
    segment.release()
