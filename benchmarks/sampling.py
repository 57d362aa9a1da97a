"""Samples of what a process computes, by layer, weighted with the CPU time that each thread really used."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

INTERVAL = 0.002

LAYERS = (
    ("/workflow_sandbox/_importer.py", "sandbox: importing"),
    ("/workflow_sandbox/", "sandbox: guarding"),
    ("/temporalio/contrib/pydantic", "payloads: pydantic and JSON"),
    ("/temporalio/converter", "payloads: pydantic and JSON"),
    ("/site-packages/pydantic", "pydantic: models made and written"),
    ("/workflows/", "our workflow code"),
    ("/taskmark/plan/", "our workflow code"),
    ("/taskmark/task/expressions/", "expressions"),
    ("/jinja2/", "expressions"),
    ("/activities/", "boundary of activities"),
    ("/taskmark/store/", "recorder and store"),
    ("/taskmark/privacy/", "recorder: scrubbing"),
    ("/sqlalchemy/", "recorder and store"),
    ("/sqlmodel/", "recorder and store"),
    ("/taskmark/", "adapters and data"),
    ("/benchmarks/trivial.py", "the work itself"),
    ("/temporalio/", "SDK, Python"),
    ("/google/protobuf/", "SDK, Python"),
)
"""The innermost frame that belongs to one of these decides; what is outside of all belongs to its caller."""

_IDLE = frozenset({"select", "wait", "_worker", "acquire", "get", "read", "_wait_for_tstate_lock", "poll"})


class Sampler(threading.Thread):
    """Looks at all threads again and again. Threads of the SDK's core are not Python's and have no stack."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()
        self._layers: dict[int, Counter[str]] = defaultdict(Counter)
        self._functions: dict[int, Counter[str]] = defaultdict(Counter)
        self._names: dict[int, str] = {}
        self._before: dict[int, float] = {}
        self._cpu: dict[int, float] = {}

    def run(self) -> None:
        sys.setswitchinterval(0.0005)
        self._before = _cpu_of_threads()
        while not self._ended.wait(INTERVAL):
            self._cpu |= _cpu_of_threads()
            natives = {t.ident: (t.native_id, t.name) for t in threading.enumerate() if t is not self}
            for ident, frame in sys._current_frames().items():
                native, name = natives.get(ident, (None, ""))
                if native is not None and not _is_idle(frame):
                    self._names[native] = name
                    self._take(native, frame)

    def _take(self, thread: int, frame: FrameType) -> None:
        stack = list(_stack(frame))
        files = [code.co_filename for code in stack]
        self._layers[thread][_layer(files)] += 1
        ours = dict.fromkeys(_function(code.co_filename, code.co_qualname) for code in stack)
        self._functions[thread].update(ours.keys())

    def stop(self, target: Path) -> None:
        """Writes seconds of CPU as JSON: by layer, and by function together with all that it called."""
        self._ended.set()
        self.join()
        layers: Counter[str] = Counter()
        functions: Counter[str] = Counter()
        for thread, until in (self._cpu | _cpu_of_threads()).items():
            seconds = until - self._before.get(thread, 0.0)
            found = self._layers.get(thread)
            if not found:
                layers["sampler" if thread == self.native_id else "SDK core, Rust"] += seconds
                continue
            share = seconds / found.total()
            for layer, count in found.items():
                layers[layer] += count * share
            for function, count in self._functions[thread].items():
                functions[function] += count * share
        found = {
            "layers": {name: round(seconds, 4) for name, seconds in layers.most_common()},
            "functions": {name: round(seconds, 4) for name, seconds in functions.most_common(120)},
        }
        target.write_text(json.dumps(found))


def _stack(frame: FrameType | None) -> Iterator[object]:
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def _layer(files: list[str]) -> str:
    if any(file.endswith("/workflow_sandbox/_importer.py") for file in files) and any(
        "importlib" in file for file in files
    ):
        return "sandbox: importing"
    for file in files:
        for part, layer in LAYERS:
            if part in file:
                return layer
    return "event loop and other"


def _function(file: str, name: str) -> str:
    parts = Path(file).parts
    return f"{'/'.join(parts[-2:])} {name}"


def _is_idle(frame: FrameType) -> bool:
    return frame.f_code.co_name in _IDLE


def _cpu_of_threads() -> dict[int, float]:
    """Returns seconds of CPU by thread, as Linux counts them in nanoseconds."""
    found = {}
    for entry in os.listdir("/proc/self/task"):
        try:
            ran = Path("/proc/self/task", entry, "schedstat").read_text().split()[0]
        except OSError:
            continue
        found[int(entry)] = int(ran) / 1e9
    return found
