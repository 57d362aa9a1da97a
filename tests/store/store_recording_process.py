"""Records in a loop and says after each record that it was taken; started and killed by a test."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from store_records import event

from taskmark.store.schema import open_store
from taskmark.store.scribe import Scribe
from taskmark.store.spool import SpoolRecorder

folder, url = Path(sys.argv[1]), sys.argv[2]
scribe = partial(Scribe, url) if "scribe" in sys.argv else None
recorder = SpoolRecorder(folder, lambda: open_store(url), scribe=scribe)
number = 0
while True:
    recorder.record(event(occurrence=number))
    print(number, flush=True)
    number += 1
