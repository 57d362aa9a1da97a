"""What earlier runs took is read from few rows, the same from both databases."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import Engine
from store_records import at, attempt, estimate, event, execution

import taskmark.store.experience as module
from taskmark.plan.experience import Timed
from taskmark.store import lessons
from taskmark.store.engine import make_engine
from taskmark.store.experience import experience
from taskmark.store.schema import existing, open_store
from taskmark.store.writing import apply


def ran(id: str, status: str = "completed", task: str = "demo", started: float = 0.0, **fields):
    return execution(id, status, task_id=task, started_at=at(started), **fields)


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


def test_each_step_has_the_durations_of_single_tries_with_the_number_of_their_execution(
    engine: Engine,
) -> None:
    again = [took("b", 9, status="failed"), took("b", 3, attempt=2)]
    last = [took("b", 4, "odd", status="failed"), took("a", 7)]
    nothing = [took("a", 5, "old", attempt=0, reused_from="x"), took("a", 5, "wait", kind="wait")]
    apply(engine, [ran("a"), ran("b", started=9), *again, *last, *nothing])

    found = experience(engine, "demo").steps
    assert found == {"count": Timed(((0, 3.0), (1, 7.0)), (9.0,), 2), "odd": Timed((), (), 1)}


def test_of_a_phase_with_items_single_items_are_told_and_not_all_of_them_together(engine: Engine) -> None:
    lanes = [took("a", 3, step="count[0]"), took("a", 4, step="count[1]"), took("a", 7)]
    apply(engine, [ran("a"), *lanes])

    found = experience(engine, "demo")
    assert found.steps == {"count": Timed(((0, 3.0), (0, 4.0)), (), 2)}
    assert (found.seconds, found.items) == ({"count": [3.0, 4.0]}, {"measure": [2]})


def test_items_are_counted_in_each_execution_also_where_there_were_none(engine: Engine) -> None:
    each = [took("a", 1, item=number) for number in range(3)]
    none = took("b", 0, attempt=0)
    apply(engine, [ran("a"), ran("b", started=9), ran("c", started=99), *each, took("a", 3), none])

    assert experience(engine, "demo").items == {"count": [0, 3], "measure": [0]}


def test_of_a_step_with_very_many_items_so_many_are_kept_of_each_execution_alike(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lessons, "MOST", 12)
    many = [took(name, number, item=number) for name in ("a", "b") for number in range(50)]
    apply(
        engine, [ran("a"), ran("b", started=9), ran("c", started=99), *many, took("c", 1), took("c", 2, "x")]
    )

    found = experience(engine, "demo").steps["count"]
    assert Counter(number for number, _ in found.took) == {0: 1, 1: 5, 2: 6}
    assert found.asked == 101


def test_people_are_told_apart_by_gate_and_by_the_phase_that_asked_before_it_began(engine: Engine) -> None:
    gates = [took("a", 60, "release", kind="approval"), took("a", 30, "which", kind="question", questions=1)]
    refused = took("b", 99, "release", kind="approval", status="failed")
    opened = {"phase": "measure", "payload": {"kind": "approval", "name": "measure-fan-out"}}
    asked = [
        event("waiting", "a", at=at(0), **opened),
        event("decided", "a", at=at(45), phase="measure", step="measure-fan-out"),
        event("waiting", "a", at=at(50), phase="measure", step="release", occurrence=2),
        event("decided", "a", at=at(110), phase="measure", step="release", occurrence=2),
    ]
    apply(engine, [ran("a"), ran("b"), *gates, refused, *asked])

    found = experience(engine, "demo")
    assert found.people == {"release": [60.0], "which": [30.0], "measure": [45.0]}
    assert found.steps == {}


def test_what_executions_worked_is_known_of_those_that_never_stood_still(engine: Engine) -> None:
    names = ("worked", "paused", "waited", "whole")
    runs = [ran(name, finished_at=at(40 + place)) for place, name in enumerate(names)]
    stood = [event("execution_paused", "paused"), event("waiting", "waited")]
    apply(engine, [*runs, *stood, took("whole", 5, "sub", kind="task")])
    assert list(experience(engine, "demo").worked.values()) == [40.0]

    apply(engine, [estimate(100, "paused", worked=31.0), estimate(90, "waited", worked=9.0)])
    assert sorted(experience(engine, "demo").worked.values()) == [31.0, 40.0]


def test_the_past_of_tools_and_agents_is_that_of_every_task(engine: Engine) -> None:
    apply(engine, [ran("a", task="first"), ran("b", "failed", task="second")])
    calls = [
        took("a", 3, name="shell", attempt=1, status="failed"),
        took("a", 5, name="shell", attempt=2),
        attempt(
            execution_id="b",
            kind="tool",
            name="shell",
            status="completed",
            started_at=at(9),
            finished_at=at(11),
        ),
        took("a", 7, "ask", kind="agent", agent="ann"),
        took("a", 99, "whole", kind="elsewhere", agent="ann", provenance="elsewhere"),
    ]
    apply(engine, calls)

    wanted = {("tool", "shell"), ("agent", "ann"), ("agent", "new")}
    assert experience(engine, "demo", wanted).others == {
        ("tool", "shell"): Timed(((0, 2.0), (1, 5.0)), (3.0,), 2),
        ("agent", "ann"): Timed(((0, 7.0),), (), 1),
    }


def test_so_many_tries_of_a_tool_are_looked_at(engine: Engine) -> None:
    apply(engine, [took("a", 1, item=number, name="shell") for number in range(200)])

    assert len(experience(engine, "demo", [("tool", "shell")]).others["tool", "shell"].took) == module.TRIES


def test_executions_are_looked_for_among_the_latest_ones(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PASSED", 2)
    apply(engine, [ran("old"), *(ran(f"new-{n}", "failed", started=9 + n) for n in range(2))])

    assert experience(engine, "demo").executions == 0
