"""A worker searches for garbage less often, and still finds it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, weakref
from taskmark.garbage import search_less

class Cycle:
    def __init__(self):
        self.me = self

search_less()
assert gc.isenabled()
frozen, first = gc.get_freeze_count(), weakref.ref(Cycle())
kept = []
while first() is not None and len(kept) < 100_000:
    kept.append([len(kept)])
print(frozen, len(kept))
"""


def test_what_was_there_is_searched_no_more_and_what_comes_later_is_found() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    frozen, made = map(int, run.stdout.split())

    assert frozen > 1_000
    assert 1_000 < made < 100_000
