"""Records in threads that are interrupted wherever they are; says whether others can record afterwards.

A process of its own, without coverage: what interrupts a thread may hit coverage's own lock as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
import time
from functools import partial
from pathlib import Path

from taskmark.store.schema import open_store
from taskmark.store.spool import SpoolRecorder


class Interruption(BaseException):
    """What the worker raises inside of a thread; not an error that recording could take for its own."""


def interrupt(thread: threading.Thread) -> None:
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    raise_in(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Interruption))


def keep_recording(recorder: SpoolRecorder) -> None:
    with contextlib.suppress(Interruption):
        while True:
            recorder.record()


def main(folder: Path) -> None:
    store = partial(open_store, f"sqlite:///{folder / 'store.db'}")
    recorder = SpoolRecorder(folder / "spool", store, gather=30)
    for _ in range(30):
        interrupted = threading.Thread(target=keep_recording, args=(recorder,), daemon=True)
        interrupted.start()
        time.sleep(0.002)
        interrupt(interrupted)
        interrupted.join(10)
        assert not interrupted.is_alive()
        other = threading.Thread(target=recorder.record, daemon=True)
        other.start()
        other.join(10)
        assert not other.is_alive(), "the lock was never given back"
    print("all could record")


main(Path(sys.argv[1]))
