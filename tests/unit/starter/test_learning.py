"""What earlier executions took is told at once, and read beside whoever asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from temporalio.worker import WorkflowInterceptorClassInput

from starter import learning
from starter.learning import Learning, LearningInterceptor
from starter.wiring import Wiring
from taskmark.contracts import EXPERIENCE_EXTERN
from taskmark.errors import Unreachable
from taskmark.plan.eta.known import Past
from taskmark.plan.eta.pace import Pace
from taskmark.records import ExecutionRecord
from taskmark.settings import Settings
from taskmark.store.writing import apply
from taskmark.task.model import TaskDefinition

PATIENCE = 5.0


def task(id: str = "demo", sha256: str = "a") -> TaskDefinition:
    return TaskDefinition(id=id, name=id, sha256=sha256)


def until(holds: Callable[[], object]) -> None:
    ends = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.005)


def is_idle() -> bool:
    return "taskmark-learning" not in {thread.name for thread in threading.enumerate()}


class Store:
    """Counts what is read of it, each time something else; it can be slow, and down."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.is_down = False

    def __call__(self, definition: TaskDefinition) -> Past:
        self.read.append(definition.id)
        assert self.open.wait(PATIENCE)
        if self.is_down:
            raise Unreachable("it does not answer")
        return Past({}, {}, Pace(), len(self.read), 0.0, {})


@pytest.fixture
def store() -> Store:
    return Store()


def executions(learning: Learning, definition: TaskDefinition) -> int | None:
    found = learning(definition)
    return None if found is None else found.executions


def test_who_asks_first_gets_nothing_and_later_what_was_read(store: Store) -> None:
    learning = Learning(store)
    assert learning(task()) is None
    until(lambda: executions(learning, task()) == 1)
    assert store.read == ["demo"]


def test_a_slow_store_holds_up_nobody_and_is_asked_once(store: Store) -> None:
    learning = Learning(store)
    store.open.clear()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: learning(task()), range(100))) == [None] * 100
    assert store.read == ["demo"]
    store.open.set()
    until(lambda: learning(task()))


def test_what_is_old_is_told_while_it_is_read_again(store: Store) -> None:
    learning = Learning(store, fresh_seconds=0.0)
    learning(task())
    until(lambda: learning(task()))
    store.open.clear()
    before = executions(learning, task())
    assert [executions(learning, task()) for _ in range(10)] == [before] * 10
    store.open.set()
    until(lambda: (executions(learning, task()) or 0) > (before or 0))


def test_what_has_just_ended_is_read_soon_and_not_before_the_store_has_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "STORED_SECONDS", 0.2)
    learns = Learning(store)
    learns.ended(task())
    learns(task())
    until(lambda: learns(task()))
    learns.ended(task())
    assert (executions(learns, task()), len(store.read)) == (1, 1)
    until(lambda: executions(learns, task()) == 2)


def test_whoever_knows_nothing_yet_comes_before_those_who_want_it_newer(store: Store) -> None:
    learns = Learning(store, fresh_seconds=0.0)
    for name in ("a", "b"):
        learns(task(name))
        until(lambda name=name: learns._known.get((name, "a")))
    until(is_idle)
    store.open.clear()
    asked = len(store.read)
    learns(task("a"))
    until(lambda: len(store.read) > asked)
    for name in ("b", "new"):
        learns(task(name))
    store.open.set()
    until(lambda: len(store.read) > asked + 2)
    assert store.read[asked:] == ["a", "new", "b"]


def test_while_the_store_is_down_what_is_known_stays_and_it_is_tried_again(store: Store) -> None:
    learning = Learning(store, fresh_seconds=0.0)
    learning(task())
    until(lambda: learning(task()))
    until(is_idle)
    store.is_down, before, asked = True, executions(learning, task()), len(store.read)
    until(lambda: executions(learning, task()) == before and len(store.read) > asked + 3)
    store.is_down = False
    until(lambda: executions(learning, task()) != before)


def test_a_store_that_is_down_is_not_asked_again_before_it_is_time(store: Store) -> None:
    learning = Learning(store, fresh_seconds=60.0)
    store.is_down = True
    learning(task())
    until(is_idle)
    assert [executions(learning, task()) for _ in range(10)] == [0] * 10
    assert is_idle()
    assert store.read == ["demo"]


def test_a_task_that_was_edited_is_another_one(store: Store) -> None:
    learning = Learning(store)
    learning(task())
    until(lambda: learning(task()))
    assert learning(task(sha256="b")) is None
    until(lambda: learning(task(sha256="b")))


def test_so_many_tasks_are_remembered_those_that_were_asked_for_last(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "KEPT", 2)
    found = Learning(store)
    for name in ("a", "b", "a", "c"):
        found(task(name))
        until(lambda name=name: found(task(name)))
    assert store.read == ["a", "b", "c"]
    assert found(task("a")) is not None
    assert found(task("b")) is None


def test_the_thread_ends_once_there_is_nothing_to_read(store: Store) -> None:
    learning = Learning(store)
    for name in ("a", "b", "c"):
        learning(task(name))
    until(lambda: len(store.read) == 3)
    until(is_idle)
    learning(task("d"))
    until(lambda: learning(task("d")))


def test_workflows_of_a_worker_ask_its_store(tmp_path: Path) -> None:
    wiring = Wiring(Settings(root=tmp_path, state_dir=tmp_path / "state"))
    apply(wiring.store, [ExecutionRecord.model_validate(_ran())])
    lent = WorkflowInterceptorClassInput(unsafe_extern_functions={})
    assert LearningInterceptor(wiring.learning).workflow_interceptor_class(lent) is None
    ask = lent.unsafe_extern_functions[EXPERIENCE_EXTERN]
    ask(task())
    until(lambda: ask(task()))
    assert ask(task()).executions == 1
    wiring.store.dispose()


def _ran() -> dict[str, str]:
    return {
        "execution_id": "e",
        "task_id": "demo",
        "status": "completed",
        "started_at": "2026-01-01T00:00:00Z",
    }
