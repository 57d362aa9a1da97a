"""Estimates in the store: the first one counts, in any order, and they go with their execution."""

from __future__ import annotations

from itertools import permutations

from sqlalchemy import Engine
from store_records import at, estimate, execution, rows

from taskmark.privacy.detectors import BUILT_IN
from taskmark.privacy.recording import scrubbed
from taskmark.privacy.scrubbing import chosen
from taskmark.retention import ages
from taskmark.store.artifacts import DatabaseArtifacts
from taskmark.store.checking import check
from taskmark.store.cleaning import clean
from taskmark.store.estimates import expected
from taskmark.store.filtering import ExecutionFilter
from taskmark.store.lines import Chosen, exported, imported
from taskmark.store.reading import History
from taskmark.store.writing import apply

ID = "exec-1-demo"


def problems(number: int, words: str) -> None:
    raise AssertionError((number, words))


def test_they_are_read_as_they_were_told_by_how_far_the_execution_was(
    engine: Engine, history: History
) -> None:
    told = [estimate(percent, basis="steps", confidence=0.8, samples=3) for percent in (20, 0, 100, 10)]
    apply(engine, [*told, estimate(id="exec-1-demo-2")])
    assert [one.percent for one in history.estimates(ID)] == [0, 10, 20, 100]
    assert set(history.estimates(ID)) == set(told)


def test_what_was_expected_first_stays_in_whatever_order_it_is_told(engine: Engine, history: History) -> None:
    first, second, last = (estimate(at=at(n), worked=n, low=9.0 - n, samples=n) for n in (1, 2, 3))
    for number, order in enumerate(permutations([last, first, second, first])):
        apply(engine, [one.model_copy(update={"execution_id": f"e-{number}"}) for one in order])
        [found] = history.estimates(f"e-{number}")
        assert found.model_copy(update={"execution_id": ID}) == first


def test_of_two_of_one_moment_the_one_that_rests_on_more_stays_whole(
    engine: Engine, history: History
) -> None:
    blind = estimate(remaining=500.0, low=1.0, high=9000.0)
    known = estimate(basis="steps", confidence=0.8, samples=7)
    for name, order in (("a", [blind, known]), ("b", [known, blind])):
        apply(engine, [one.model_copy(update={"execution_id": name}) for one in order])
        assert history.estimates(name) == (known.model_copy(update={"execution_id": name}),)


def test_telling_them_again_changes_nothing(engine: Engine) -> None:
    apply(engine, [execution(), estimate(), estimate(100)])
    before = rows(engine)
    apply(engine, [estimate(100), estimate()])
    assert rows(engine) == before


def test_they_go_with_their_execution(engine: Engine) -> None:
    done = execution(ID, "completed", started_at=at(0), finished_at=at(9), as_of=at(9))
    apply(engine, [done, estimate()])
    clean(engine, DatabaseArtifacts(engine), ages(["1s"]))
    assert rows(engine)["estimates"] == []


def test_one_without_an_execution_is_found_by_a_check(engine: Engine) -> None:
    apply(engine, [estimate()])
    found = [place for one in check(engine, DatabaseArtifacts(engine)) for place in one.wrong]
    assert found == [f"{ID}: estimates without an execution"]


def test_they_are_exported_and_imported(engine: Engine) -> None:
    apply(engine, [execution(ID, "completed", as_of=at(9)), estimate(), estimate(100)])
    before, lines = rows(engine), list(exported(engine, Chosen()))
    clean(engine, DatabaseArtifacts(engine), ages(["1s"]))
    done = imported(engine, lines, lambda record: record, problems)
    assert (done.records, done.broken) == (3, 0)
    assert rows(engine)["estimates"] == before["estimates"]


def test_nothing_of_them_is_taken_for_personal() -> None:
    told = estimate(worked=4929.1234, remaining=4111_1111_1111_1111.0, samples=192_168_0_1)
    assert scrubbed(told, chosen(["all"], BUILT_IN)) == told


def test_of_executions_that_completed_it_is_known_what_was_expected(engine: Engine) -> None:
    runs = [
        execution(name, status, task_id="demo", started_at=at(place), project=project)
        for place, (name, status, project) in enumerate(
            [
                ("a", "completed", "p"),
                ("b", "completed_with_errors", None),
                ("c", "failed", "p"),
                ("d", "completed", "p"),
            ]
        )
    ]
    apply(engine, [*runs, *(estimate(percent, name) for name in "abc" for percent in (0, 100))])

    found = expected(engine)
    assert {(run.task, run.estimates[0].execution_id, len(run.estimates)) for run in found} == {
        ("demo", "a", 2),
        ("demo", "b", 2),
    }
    assert len(expected(engine, ExecutionFilter(project="p"))) == 1
    assert len(expected(engine, ExecutionFilter(since=at(1)))) == 1
    assert len(expected(engine, limit=3)) == 2
    assert expected(engine, limit=1) == []
