"""A recorder remembers which ends of attempts it has taken."""

from __future__ import annotations

import pytest
from store_records import at, attempt, event, execution

from taskmark.records import DefinitionRecord, Record
from taskmark.store import told
from taskmark.store.memory import MemoryRecorder
from taskmark.store.told import RememberingRecorder


def test_an_end_that_was_told_is_known_and_handed_on() -> None:
    kept = MemoryRecorder()
    recorder = RememberingRecorder(kept)
    recorder.record(attempt(status="completed", finished_at=at(1)), event())

    assert [one.status for one in kept.attempts("exec-1-demo")] == ["completed"]
    assert recorder.has(attempt(status="completed", finished_at=at(2), provenance="backfilled"))


@pytest.mark.parametrize("other", [attempt(status="failed"), attempt(status="completed", attempt=2), event()])
def test_nothing_else_is_known(other: object) -> None:
    recorder = RememberingRecorder(MemoryRecorder())
    recorder.record(attempt(status="running"), attempt(status="completed", finished_at=at(1)), event())

    assert not recorder.has(other)  # type: ignore[arg-type]  # one of the records above


def test_what_was_told_second_hand_is_told_again() -> None:
    recorder = RememberingRecorder(MemoryRecorder())
    recorder.record(attempt(status="completed", finished_at=at(1), provenance="backfilled"))

    assert not recorder.has(attempt(status="completed", finished_at=at(1)))


def test_it_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "REMEMBERED", 10)
    recorder = RememberingRecorder(MemoryRecorder())
    ends = [attempt(item=number, status="completed", finished_at=at(1)) for number in range(30)]
    recorder.record(*ends)

    assert [recorder.has(one) for one in ends] == [False] * 20 + [True] * 10


def test_a_definition_is_handed_on_once() -> None:
    kept: list[Record] = []
    recorder = RememberingRecorder(Taking(kept))
    first = DefinitionRecord(sha256="a" * 64, task_id="demo", name="Demo", definition={})
    recorder.record(first)
    recorder.record(first, execution())
    recorder.record(first.model_copy(update={"sha256": "b" * 64}))

    assert [record.type for record in kept] == ["definition", "execution", "definition"]


class Taking:
    """A recorder that keeps what it is given, doubled or not."""

    def __init__(self, kept: list[Record]) -> None:
        self._kept = kept

    def record(self, *records: Record) -> None:
        self._kept += records
