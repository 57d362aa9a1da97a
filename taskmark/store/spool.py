"""The recorder of a worker: a bounded spool on the local disk, and one thread that writes to the store.

`record` only appends to a file, so a store that is slow, locked or down delays nobody. The thread takes
batches from the file and tries each until the store has it; while there is much to write it has a process
that does so (`taskmark.store.scribe`). A process that is killed leaves its file
behind, and any recorder on the same folder adopts it. Records may be written twice on the way, which
changes nothing (`taskmark.store.merging`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from taskmark.records import Record
from taskmark.store.blocks import BlockWriter
from taskmark.store.moments import Dating
from taskmark.store.quarantine import Bad, Quarantine
from taskmark.store.scribe import Scribe, ScribeLost
from taskmark.store.segment import Segment, left_behind

if TYPE_CHECKING:
    from sqlalchemy import Engine

_BATCH_BYTES = 256 * 1024
_SEGMENT_BYTES = 4 * 2**20
_ADOPTED_AT_ONCE = 16
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_CREATE_AGAIN_AFTER = 1.0
_MUCH = 96 * 1024
"""Bytes of a batch, and of the one before, that are worth a process: of some forty steps in a second."""
_IDLE = 300.0
"""Seconds without so much after which the process ends."""
_ENGAGE_AGAIN_AFTER = 30.0

_logger = logging.getLogger(__name__)


class SpoolRecorder:
    """A `taskmark.ports.Recorder` that survives the store's absence and its own process's death."""

    def __init__(
        self,
        folder: Path,
        open_store: Callable[[], Engine],
        *,
        scribe: Callable[[], Scribe] | None = None,
        limit: int = 64 * 2**20,
        gather: float = 1.0,
        adopt_every: float = 5.0,
    ) -> None:
        """Starts the writing thread, which adopts what dead processes left in the folder.

        `open_store` is called in that thread, until it succeeds; the engine is the recorder's own, and
        disposed of at its end. `scribe` starts a process that writes to the same store. `limit` is in bytes
        that wait for the store, `gather` the seconds that the first record of a batch waits for more,
        `adopt_every` in seconds.
        """
        self.dropped = 0
        """Records that found no room in the spool or no spool; `taskmark backfill` brings them back."""
        self._folder = folder
        self._writer = BlockWriter(open_store)
        self._engage = scribe
        self._scribe: Scribe | None = None
        self._engage_after = 0.0
        self._is_much = False
        self._much_at = 0.0
        self._limit = limit
        self._gather = gather
        self._adopt_every = adopt_every
        self._quarantine = Quarantine(folder)
        self._lock = threading.RLock()
        """Guards everything below that both sides use. Who records takes it as it is, never by way of the
        condition: workflow code may be interrupted at any point, in the condition's own code after it
        got the lock, which then nobody would ever get again."""
        self._changed = threading.Condition(self._lock)
        self._dating = Dating()
        self._own: list[Segment] = []
        """The last one takes new records."""
        self._recorded = 0
        self._settled = 0
        """Bytes ever recorded, and those of them that need nothing more."""
        self._create_after = 0.0
        self._told_of_drops = False
        self._closed = False
        self._arrived = threading.Event()
        self._hurry = threading.Event()
        self._stop = threading.Event()
        self._adopted: list[Segment] = []
        self._adopt_at = 0.0
        self._thread = threading.Thread(target=self._run, name="taskmark-recorder", daemon=True)
        self._thread.start()

    @property
    def rejected(self) -> int:
        """How many records could not be written and were set aside."""
        return self._quarantine.count

    # --- the recording side: any thread, at once, never raising -----------------------------------

    def record(self, *records: Record) -> None:
        """Keeps the records for writing and returns at once. Never raises."""
        try:
            with self._lock:
                self._append(b"".join(self._lines(map(self._dating.dated, records))))
        except Exception as error:  # a recorder must never fail what it records
            self._drop(len(records), error)

    def _lines(self, records: Iterable[Record]) -> list[bytes]:
        lines, bad = [], []
        for record in records:
            try:
                lines.append(record.model_dump_json().encode() + b"\n")
            except Exception as error:  # whatever a value's serializer may raise
                bad.append(Bad(repr(record), f"{type(error).__name__}: {error}"))
        self._quarantine.set_aside(bad)
        return lines

    def _append(self, lines: bytes) -> None:
        if not lines:
            return
        if self._closed:
            raise OSError("the recorder is closed")
        if self._recorded - self._settled + len(lines) > self._limit:
            raise OSError(f"{self._limit} bytes wait for the store already")
        self._segment_for(len(lines)).append(lines)
        self._recorded += len(lines)
        if not self._arrived.is_set():
            self._arrived.set()

    def _segment_for(self, length: int) -> Segment:
        newest = self._own[-1] if self._own else None
        if newest and (not newest.length or newest.length + length <= _SEGMENT_BYTES):
            return newest
        if time.monotonic() < self._create_after:
            raise OSError(f"the folder {self._folder} could not be written to a moment ago")
        self._create_after = time.monotonic() + _CREATE_AGAIN_AFTER
        self._own.append(Segment.create(self._folder))
        self._create_after = 0.0
        return self._own[-1]

    def _drop(self, count: int, error: Exception) -> None:
        with self._lock:
            self.dropped += count
            tell, self._told_of_drops = not self._told_of_drops, True
        if tell:
            hint = "once this is mended, `taskmark backfill` brings back what is missing"
            _logger.warning("Records for the history store are being dropped: %s; %s", error, hint)

    def flush(self, timeout: float) -> bool:
        """Waits until all that was recorded before is in the store or set aside, at most `timeout`
        seconds; returns whether it is."""
        with self._changed:
            target = self._recorded
            self._hurry.set()
            return self._changed.wait_for(lambda: self._settled >= target, timeout)

    def wait_for_room(self, timeout: float) -> bool:
        """Waits until less than half of the room is taken, at most `timeout` seconds; returns whether it is.
        Whoever records faster than the store writes, and can wait, drops nothing so."""
        with self._changed:
            return self._changed.wait_for(lambda: self._recorded - self._settled < self._limit / 2, timeout)

    def close(self, timeout: float) -> bool:
        """Flushes, then ends the thread, together within about `timeout` seconds; returns whether all
        was written. What was not stays on the disk, for the next recorder on the folder."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._closed = True
        written = self.flush(timeout)
        self._stop.set()
        self._arrived.set()
        self._thread.join(max(deadline - time.monotonic(), _FIRST_PAUSE))
        return written

    # --- the writing side: one thread -------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._run_once()
        finally:
            self._give_up_all()

    def _run_once(self) -> None:
        try:
            self._adopt()
            self._dismiss_if_idle()
            if not (self._write_some() and self._has_backlog()):
                self._await_records()
        except Exception:  # a fault of ours must not end the recording of a worker that lives for weeks
            _logger.exception("Writing to the history store stumbled and goes on")
            self._stop.wait(_FIRST_PAUSE)

    def _has_backlog(self) -> bool:
        """Whether a whole batch waits, or what others left behind. What came while a batch was written is
        gathered first: small batches cost several times as much per record."""
        with self._lock:
            own = [segment.waiting for segment in self._own if segment.waiting]
        return len(own) > 1 or sum(own) >= _BATCH_BYTES or bool(self._adopted)

    def _await_records(self) -> None:
        if self._arrived.wait(max(self._adopt_at - time.monotonic(), 0)):
            self._arrived.clear()
            self._hurry.wait(self._gather)
            self._hurry.clear()

    def _adopt(self) -> None:
        """Takes over what dead processes left; owned segments refuse."""
        if self._adopted or time.monotonic() < self._adopt_at:
            return
        self._adopt_at = time.monotonic() + self._adopt_every
        try:
            segments = (Segment.adopt(path) for path in left_behind(self._folder))
            self._adopted = list(islice((one for one in segments if one), _ADOPTED_AT_ONCE))
        except OSError as error:
            _logger.warning("What other processes left in %s cannot be read: %s", self._folder, error)
        if len(self._adopted) == _ADOPTED_AT_ONCE:
            self._adopt_at = 0.0

    def _write_some(self) -> bool:
        """Writes a batch of the oldest own segment and of the oldest adopted one; returns whether there
        was anything. So what a process recorded is numbered in its order."""
        with self._changed:
            own = [segment for segment in self._own if segment.waiting]
        written = [self._write_batch(segment) for segment in own[:1] + self._adopted[:1]]
        self._drop_finished()
        return any(written)

    def _write_batch(self, segment: Segment) -> bool:
        try:
            block = segment.read(_BATCH_BYTES)
        except OSError as error:
            self._abandon(segment, error)
            return False
        if not block or not self._deliver(block):
            return False
        self._settle(segment, len(block))
        return True

    def _settle(self, segment: Segment, length: int) -> None:
        segment.advance(length)
        with self._changed:
            if segment in self._own:
                self._settled += length
                self._told_of_drops = self._told_of_drops and self._settled < self._recorded
                self._changed.notify_all()

    def _deliver(self, block: bytes) -> bool:
        """Tries until the store has the records; returns False if the recorder ends before."""
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            try:
                self._quarantine.set_aside(self._write(block))
            except Exception as error:  # whatever it is, the thread must live and the records stay
                if pause == _FIRST_PAUSE:
                    _logger.warning("The history store will be tried again until it answers: %s", error)
                self._stop.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                if pause > _FIRST_PAUSE:
                    _logger.info("The history store answers again")
                return True
        return False

    def _write(self, block: bytes) -> list[Bad]:
        is_much, self._is_much = self._is_much, len(block) >= _MUCH
        scribe = self._engaged() if is_much and self._is_much else self._scribe
        if scribe is not None:
            try:
                if scribe.is_ready:
                    return scribe.write(block)
            except ScribeLost as error:
                self._dismiss()
                self._engage_after = time.monotonic() + _ENGAGE_AGAIN_AFTER
                _logger.warning("The process that writes to the history store is lost: %s", error)
        return self._writer.write(block)

    def _engaged(self) -> Scribe | None:
        """Returns the process, which is started if there is none; None if there can be none for now."""
        self._much_at = time.monotonic()
        if self._scribe is None and self._engage is not None and self._much_at >= self._engage_after:
            try:
                self._scribe = self._engage()
            except ScribeLost as error:
                self._engage_after = self._much_at + _ENGAGE_AGAIN_AFTER
                _logger.warning("No process can write to the history store beside this one: %s", error)
        return self._scribe

    def _dismiss_if_idle(self) -> None:
        if self._scribe is not None and time.monotonic() - self._much_at > _IDLE:
            self._dismiss()

    def _dismiss(self) -> None:
        if self._scribe is not None:
            self._scribe.close()
        self._scribe = None

    def _drop_finished(self) -> None:
        with self._changed:
            finished = [segment for segment in self._own[:-1] if not segment.waiting]
            self._own = [segment for segment in self._own if segment not in finished]
        finished += [segment for segment in self._adopted if not segment.waiting]
        self._adopted = [segment for segment in self._adopted if segment.waiting]
        for segment in finished:
            segment.release()

    def _abandon(self, segment: Segment, error: OSError) -> None:
        """Leaves alone a segment that cannot be read any more."""
        hint = "`taskmark backfill` brings back what it held"
        _logger.error("The spool file %s cannot be read and is left alone: %s; %s", segment.path, error, hint)
        with self._changed:
            if segment in self._own:
                self._own.remove(segment)
                self._settled += segment.waiting
                self._changed.notify_all()
            else:
                self._adopted.remove(segment)
        segment.release()

    def _give_up_all(self) -> None:
        with self._changed:
            self._closed = True
            segments, self._own = self._own + self._adopted, []
        for segment in segments:
            segment.release()
        self._dismiss()
        self._writer.close()
