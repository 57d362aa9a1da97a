"""A segment of the spool: a file of JSON lines that one process owns while it holds the file's lock.

The first line is the position up to which the lines were written to the store. The lock ends with the
process however that ends, and then another process may adopt the file. Writes go to the operating
system at once, so they outlive a killed process; nothing is synchronised to the disk per record.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SUFFIX = ".spool"

_HEADER = len(f"{0:020d}\n")


def _pwrite_without_a_turn() -> Callable[[int, bytes, int], int]:
    """Returns `os.pwrite` that does not give its thread's turn away.

    Python lets other threads run while it writes. A few hundred bytes are copied in microseconds, but then
    the thread waits its turn, milliseconds where there is much to do, and all that record wait for it: that
    cost a worker several times as much as all else about a record. The price: should the disk be so slow
    that even a copy to the system's memory waits, the whole process waits, not this thread alone.
    """
    library = ctypes.PyDLL(None, use_errno=True)
    write = getattr(library, "pwrite64", None) or library.pwrite
    write.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int64)
    write.restype = ctypes.c_ssize_t

    def pwrite(descriptor: int, data: bytes, at: int) -> int:
        written: int = write(descriptor, data, len(data), at)
        if written < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return written

    return pwrite


_pwrite = _pwrite_without_a_turn()


class Segment:
    """An owned segment. One thread appends while another reads and advances."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self.size = max(os.fstat(descriptor).st_size, _HEADER)
        """Where the next record goes."""
        self.position = self._read_position()
        """Everything before it is in the store."""

    @classmethod
    def create(cls, folder: Path) -> Segment:
        """Makes a new segment and owns it. Raises `OSError`."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            path = folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}{SUFFIX}"
            segment = cls._own(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            # Another process may have taken the new file for one left behind.
            if segment is not None:
                return segment

    @classmethod
    def adopt(cls, path: Path) -> Segment | None:
        """Owns a segment that a dead process left; None if it is owned, gone or can't be opened."""
        try:
            return cls._own(path, os.O_RDWR)
        except OSError:
            return None

    @classmethod
    def _own(cls, path: Path, flags: int) -> Segment | None:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The owner before may have removed the file between the opening and the lock.
            if os.fstat(descriptor).st_nlink:
                return cls(path, descriptor)
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    @property
    def waiting(self) -> int:
        """Bytes that are not in the store yet."""
        return self.size - self.position

    @property
    def length(self) -> int:
        """Bytes of records it holds, also those that are in the store."""
        return self.size - _HEADER

    def append(self, lines: bytes) -> None:
        """Adds whole lines, or nothing of them. Raises `OSError`."""
        try:
            written = _pwrite(self._descriptor, lines, self.size)
        except OSError:
            self._cut()
            raise
        if written < len(lines):
            self._cut()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += written

    def _cut(self) -> None:
        os.ftruncate(self._descriptor, self.size)

    def read(self, at_most: int) -> bytes:
        """Returns whole lines from the position on: about so many bytes, but at least one line.

        The last line of a segment whose owner was killed within a write may lack its end. Raises
        `OSError`, also if somebody else cut the file.
        """
        wanted = at_most
        while True:
            left = self.waiting
            block = os.pread(self._descriptor, min(wanted, left), self.position)
            if len(block) < min(wanted, left):
                raise OSError(errno.EIO, f"{self.path.name} is shorter than what was written to it")
            end = len(block) if len(block) == left else block.rfind(b"\n") + 1
            if end or not left:
                return block[:end]
            wanted *= 2

    def advance(self, length: int) -> None:
        """Moves the position on by so many bytes, also for whoever owns the segment next.

        Should the file refuse that, the next owner writes some records again, which changes nothing.
        """
        self.position += length
        with suppress(OSError):
            os.pwrite(self._descriptor, f"{self.position:020d}\n".encode(), 0)

    def release(self) -> None:
        """Gives up the segment; one without anything left to write is removed."""
        if not self.waiting:
            with suppress(OSError):
                self.path.unlink()
        os.close(self._descriptor)

    def _read_position(self) -> int:
        header = os.pread(self._descriptor, _HEADER, 0)
        told = int(header) if header.strip().isdigit() else 0
        return min(max(told, _HEADER), self.size)


def left_behind(folder: Path) -> list[Path]:
    """Returns the segments in the folder, owned or not, the oldest first. Raises `OSError`."""
    if not folder.is_dir():
        return []
    return [folder / name for name in sorted(os.listdir(folder)) if name.endswith(SUFFIX)]
