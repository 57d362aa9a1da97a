"""Thousands of generated and mutated files: `InvalidTask` and nothing else, soon, in little memory."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fuzzing
import pytest

SUITE = 2_000
SOAK = int(os.environ.get("TASKMARK_SOAK_FILES", "1000000"))
CHUNK = 10_000
"""Files of one process: its limit on memory counts from its start."""

linux = pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is the kernel's")


def checked(first: int, count: int, *options: str) -> dict[str, float]:
    """Checks files in a process of their own, which its limits hold."""
    words = [sys.executable, fuzzing.__file__, str(first), str(count), *options]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-6000:]
    found: dict[str, float] = json.loads(ended.stdout)
    return found


@linux
def test_two_thousand_files_raise_nothing_but_invalid_task_within_their_bounds() -> None:
    assert checked(0, SUITE)["files"] == SUITE


@pytest.mark.soak
@linux
def test_a_million_files_raise_nothing_but_invalid_task_within_their_bounds() -> None:
    """Begins at a number that no run had before, and prints it; `TASKMARK_SOAK_FILES` sets how many."""
    first, begin, done = int(time.time()) << 24, time.perf_counter(), 0
    print(f"files {first} to {first + SOAK - 1}", flush=True)
    chunks = [(first + at, min(CHUNK, SOAK - at)) for at in range(0, SOAK, CHUNK)]
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for found in pool.map(lambda chunk: checked(*chunk), chunks):
            done += int(found["files"])
            rate = done / (time.perf_counter() - begin)
            slowest = f"slowest {found['slowest']:.3f} s (file {found['of']})"
            print(f"{done:,} files, {rate:,.0f} a second, {slowest}", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    assert done == SOAK


def test_the_files_are_of_every_sort() -> None:
    """Some can be run, most have errors, and some are long."""
    texts = [fuzzing.text_of(number) for number in range(300)]
    found = [fuzzing.check_text(text) for text in texts]
    assert sum(checked.definition is not None for checked in found) > 10
    assert len({error.code for checked in found for error in checked.errors}) > 30
    assert max(map(len, texts)) > 10_000
    assert texts == [fuzzing.text_of(number) for number in range(300)]


@linux
def test_a_file_that_takes_more_memory_than_it_may_is_noticed(tmp_path: Path) -> None:
    script = tmp_path / "hungry.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(fuzzing.__file__).parent)!r})\n"
        "import fuzzing\n"
        f"fuzzing._limit_memory({fuzzing.ROOM})\n"
        "kept = []\n"
        "fuzzing.parse_text = lambda text: kept.append('x' * 40_000_000)\n"
        "fuzzing.isinstance = lambda *_: True\n"
        "fuzzing.run(0, 2)\n"
    )
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert "MemoryError" in ended.stderr
    assert "file 1:" in ended.stderr
