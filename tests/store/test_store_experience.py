"""What earlier runs took is read from few rows, the same from both databases."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine
from store_records import at, attempt, execution

import taskmark.store.experience as module
from taskmark.store.engine import make_engine
from taskmark.store.experience import experience
from taskmark.store.schema import existing, open_store
from taskmark.store.writing import apply


def ran(id: str, status: str = "completed", task: str = "demo", started: float = 0.0):
    return execution(id, status, task_id=task, started_at=at(started))


def took(id: str, seconds: float, step: str = "count", status: str = "completed", **fields):
    times = {"started_at": at(0), "finished_at": at(seconds)}
    return attempt(step, status, **{"execution_id": id, "kind": "tool", **times, **fields})


def test_durations_are_those_of_completed_steps_of_completed_executions_of_the_task(engine: Engine) -> None:
    runs = [ran("a"), ran("b", "completed_with_errors"), ran("c", "failed"), ran("d", task="other")]
    attempts = [took(name, seconds) for name, seconds in (("a", 2), ("b", 4), ("c", 100), ("d", 100))]
    failed = took("a", 50, attempt=2, step="broken", status="failed")
    gate = took("a", 50, step="release", kind="approval")
    apply(engine, [*runs, *attempts, failed, gate, took("b", 50, step="open", finished_at=None)])

    found = experience(engine, "demo")
    assert found.executions == 2
    assert {step: sorted(seconds) for step, seconds in found.seconds.items()} == {"count": [2.0, 4.0]}
    assert (found.typical("count"), found.typical("broken")) == (3.0, None)


def test_of_a_step_with_items_single_items_count_and_of_an_instruction_the_whole(engine: Engine) -> None:
    each = [took("a", 30), took("a", 5, item=0), took("a", 7, item=1)]
    lanes = [took("a", 3, step="lane[0]"), took("a", 4, step="lane[11]")]
    plain = [took("a", 9, step="say", kind="plain"), took("a", 6, step="say", kind="plain", item=0)]
    apply(engine, [ran("a"), *each, *lanes, *plain])

    found = {step: sorted(seconds) for step, seconds in experience(engine, "demo").seconds.items()}
    assert found == {"count": [5.0, 7.0], "lane": [3.0, 4.0], "say": [9.0]}


def test_of_a_step_that_asks_several_agents_one_by_one_each_has_its_own_durations(engine: Engine) -> None:
    asked = [
        took("a", 5, "ask", kind="agent", agent="ann", item=0),
        took("a", 9, "ask", kind="agent", agent="bob", item=1),
    ]
    apply(engine, [ran("a"), *asked, took("a", 2)])

    found = experience(engine, "demo")
    assert found.by_agent == {("ask", "ann"): [5.0], ("ask", "bob"): [9.0]}
    assert found.typical_of("ask", ("ann", "bob", "ann")) == pytest.approx(19 / 3)
    assert found.typical_of("ask", ("ann", "new")) == 6.0
    assert found.typical_of("count", ()) == 2.0


def test_what_was_used_is_known_of_executions_that_tell_it(engine: Engine) -> None:
    told = [took("a", 1, tokens=100, cost=0.5), took("a", 1, step="more", tokens=20)]
    apply(engine, [ran("a"), ran("b"), *told, took("b", 1)])

    found = experience(engine, "demo")
    assert (found.tokens, found.cost) == ((120,), (0.5,))


def test_only_the_latest_executions_and_so_many_rows_are_read(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [ran(f"run-{n:02}", started=n) for n in range(30)]
    attempts = [took(f"run-{n:02}", n, step=step) for n in range(30) for step in ("first", "second")]
    apply(engine, [*runs, *attempts])
    assert sorted(experience(engine, "demo").seconds["first"]) == list(range(10, 30))

    monkeypatch.setattr(module, "ROWS", 3)
    few = experience(engine, "demo")
    assert sum(len(seconds) for seconds in few.seconds.values()) == 3
    assert few.executions == 2


def test_a_task_that_never_ran_teaches_nothing(engine: Engine) -> None:
    assert experience(engine, "demo").seconds == {}


def test_looking_for_a_store_makes_none(tmp_path: Path) -> None:
    assert existing(f"sqlite:///{tmp_path}/folder/history.db") is None
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_read_only_if_its_tables_are_those_of_this_version(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/history.db"
    with make_engine(url).connect():
        assert existing(url) is None
    open_store(url).dispose()
    found = existing(url)
    assert found is not None
    assert experience(found, "demo").executions == 0
