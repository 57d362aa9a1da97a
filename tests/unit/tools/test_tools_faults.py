"""Real calls of the system that fail, or are the last one of a process: a file stays old or is new.

`strace` makes the n-th call of one kind fail, or kill the process, for every kind and n; below Python, so
that nothing that Python does by itself is left out.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from test_tools_filing import OLD, WORKS, prepared, without_parts

from taskmark.errors import StepFailed
from taskmark.ports import StepContext
from taskmark.tools.files import append, replace

STRACE = shutil.which("strace")
CALLS = (
    *("openat", "close", "write", "pread64", "fsync", "ftruncate", "flock", "fchmod", "mkdirat"),
    *("rename", "renameat", "linkat", "unlinkat", "newfstatat", "fstat", "fstatfs"),
)
END = signal.SIGUSR1
MORE = b" and more" * 100_000

Content = dict[str, bytes]
Act = Callable[[StepContext], Any]
ACTS: dict[str, tuple[Act, list[Content]]] = {
    **WORKS,
    "write": (
        lambda context: replace(context, "v", MORE, True),
        [{"v": OLD, "there": b"t"}, {"v": MORE, "there": b"t"}],
    ),
    "write anew": (
        lambda context: replace(context, "new", MORE, True),
        [{"v": OLD, "there": b"t"}, {"v": OLD, "new": MORE, "there": b"t"}],
    ),
    "append": (
        lambda context: append(context, "v", MORE, True),
        [{"v": OLD, "there": b"t"}, {"v": OLD + MORE, "there": b"t"}],
    ),
}


def can_trace() -> bool:
    """Whether one process may look at another here, which containers often forbid."""
    if STRACE is None:
        return False
    tried = subprocess.run([STRACE, "-qq", "-e", "trace=none", "true"], capture_output=True, check=False)
    return tried.returncode == 0


pytestmark = pytest.mark.skipif(not can_trace(), reason="there is no strace, or it may not look")


def disturbed(act: Act, context: StepContext, disturbance: str, trace: Path) -> str:
    """Acts in a process of its own; returns the call that was disturbed there, nothing if none was."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        os.read(reads, 1)
        with suppress(StepFailed, OSError):
            act(context)
        signal.raise_signal(END)  # nothing else is done: what measures lines would write files before an exit
    name = disturbance.partition(":")[0]
    assert STRACE is not None
    command = [
        STRACE,
        "-o",
        str(trace),
        "-e",
        f"trace={name}",
        "-e",
        f"inject={disturbance}",
        "-p",
        str(child),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        assert "attached" in strace.stderr.readline()
        os.write(writes, b"x")
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(reads)
        os.close(writes)
    if code != -END:
        return f"{disturbance} killed it"
    return next((line for line in trace.read_text().splitlines() if "INJECTED" in line), "")


@pytest.mark.parametrize(
    "how", ["error=ENOSPC", "signal=KILL", pytest.param("error=EIO", marks=pytest.mark.soak)]
)
@pytest.mark.parametrize("what", ACTS)
def test_a_disturbed_call_leaves_old_or_new(
    what: str, how: str, root: Path, tmp_path: Path, context: StepContext
) -> None:
    """What was begun to be written may be left beside, if it is what could not be removed."""
    act, allowed = ACTS[what]
    count = 0
    for name in CALLS:
        for nth in range(1, 100):
            prepared(root)
            hit = disturbed(act, context, f"{name}:{how}:when={nth}", tmp_path / "trace")
            found: Any = without_parts(root)
            assert _is_allowed(what, how, found, allowed), (name, nth, hit)
            if not hit:
                break
            count += 1
            left = len(list(root.iterdir())) > len(found)
            assert not left or "unlinkat" in hit or how == "signal=KILL", (name, nth, hit)
    print(f"{count} calls of the system")
    assert count > 4
    assert found == allowed[-1]


def _is_allowed(what: str, how: str, found: Content, allowed: list[Content]) -> bool:
    """Whether the files are as they were, or as they are to be.

    Of a process that is killed while it appends, a part may be there: the next attempt goes on after it.
    """
    if found in allowed:
        return True
    is_part = found["v"].startswith(OLD) and (OLD + MORE).startswith(found["v"])
    return what == "append" and how == "signal=KILL" and is_part
