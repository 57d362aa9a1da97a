"""Lends workflows what earlier executions took: read beside them, from a store that nobody waits for."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from starter.lending import LendingInterceptor
from taskmark.contracts import EXPERIENCE_EXTERN
from taskmark.errors import Unreachable

if TYPE_CHECKING:
    from taskmark.plan.eta.known import Past
    from taskmark.task.model import TaskDefinition

FRESH_SECONDS = 60.0
"""What is older is read again when somebody asks; if the store does not answer, so much later."""
STORED_SECONDS = 3.0
"""So long after its end the store has all of an execution, as a rule."""
PATIENCE = 20.0
"""By so much longer than a look takes the next one waits: of a task with thousands of steps one takes half a
second, and executions may end all the time."""
REST = 4.0
"""After each look it rests so many times as long as it computed: threads take turns, and work comes first."""
KEPT = 200
"""Tasks whose past is remembered."""
STEPS = 20_000
"""Steps that they have in all: each takes six kilobytes."""

_Key: TypeAlias = tuple[str, str]
_log = logging.getLogger("taskmark.worker")


@dataclass(frozen=True)
class _Known:
    """What is known of a task, and when somebody last looked."""

    looked_at: float
    past: Past
    took: float = 0.0
    """Seconds that the look took."""


class Learning:
    """Remembers what tasks taught. Whoever asks gets what is known by then, from whatever thread, at once.

    What is not known, or is old, is read by one thread, which is there only while there is something to read.
    Its imports are its own: who asks may be workflow code, whose imports are guarded.
    """

    def __init__(
        self, read: Callable[[TaskDefinition], Past], *, fresh_seconds: float = FRESH_SECONDS
    ) -> None:
        self._read = read
        self._fresh_seconds = fresh_seconds
        self._lock = threading.Lock()
        self._known: OrderedDict[_Key, _Known] = OrderedDict()
        self._wanted: OrderedDict[_Key, TaskDefinition] = OrderedDict()
        """What is to be read, the one that is being read among them."""
        self._reads = False

    def __call__(self, definition: TaskDefinition) -> Past | None:
        """Returns what is known of the task's past, or None if that is nothing yet. Never waits or raises."""
        key = (definition.id, definition.sha256)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
            if known is None or time.monotonic() - known.looked_at >= self._fresh_seconds:
                self._want(key, definition)
        return None if known is None else known.past

    def ended(self, definition: TaskDefinition) -> None:
        """An execution of it has ended, so there is more to learn once the store has it."""
        key = (definition.id, definition.sha256)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                wait = max(STORED_SECONDS, PATIENCE * known.took)
                soon = time.monotonic() - self._fresh_seconds + wait
                self._known[key] = replace(known, looked_at=min(known.looked_at, soon))

    def _want(self, key: _Key, definition: TaskDefinition) -> None:
        if key not in self._wanted and len(self._wanted) < KEPT:
            self._wanted[key] = definition
            if key not in self._known:
                # Somebody waits for it, not just for something newer.
                self._wanted.move_to_end(key, last=False)
        if self._wanted and not self._reads:
            self._reads = _started(self._read_all)

    def _read_all(self) -> None:
        while (found := self._next()) is not None:
            key, definition = found
            began, computed = time.monotonic(), time.thread_time()
            past = self._taught(definition)
            self._keep(key, past, time.monotonic() - began)
            time.sleep(REST * (time.thread_time() - computed))

    def _next(self) -> tuple[_Key, TaskDefinition] | None:
        with self._lock:
            self._reads = bool(self._wanted)
            return next(iter(self._wanted.items()), None)

    def _taught(self, definition: TaskDefinition) -> Past | None:
        try:
            return self._read(definition)
        except Unreachable as error:
            _log.debug("what %s took before cannot be read: %s", definition.id, error)
        except Exception:  # whatever it is, estimates do without
            _log.exception("nothing can be learned of what %s took before", definition.id)
        return None

    def _keep(self, key: _Key, found: Past | None, took: float) -> None:
        with self._lock:
            del self._wanted[key]
            before = self._known.get(key)
            past = found or (before.past if before is not None else _nothing())
            self._known[key] = _Known(time.monotonic(), past, took)
            self._known.move_to_end(key)
            while len(self._known) > KEPT or (len(self._known) > 1 and self._steps > STEPS):
                self._known.popitem(last=False)

    @property
    def _steps(self) -> int:
        return sum(len(known.past.steps) for known in self._known.values())


def _nothing() -> Past:
    """Returns what is known of a task as long as the store does not answer: that is said, not waited for."""
    from taskmark.plan.eta.known import Past
    from taskmark.plan.eta.pace import Pace

    return Past(steps={}, phases={}, pace=Pace(), executions=0, overhead=0.0, people={})


def _started(work: Callable[[], None]) -> bool:
    """Whether a thread does the work from now on; none begins any more in a process that ends."""
    try:
        threading.Thread(target=work, name="taskmark-learning", daemon=True).start()
    except RuntimeError:
        return False
    return True


class LearningInterceptor(LendingInterceptor):
    """Lends what tells of earlier executions."""

    def __init__(self, learning: Learning) -> None:
        super().__init__(EXPERIENCE_EXTERN, learning)
