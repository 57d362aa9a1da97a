"""Lists of executions: what is wanted, in order, page by page, the same from both databases."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import Engine
from store_records import at, attempt, clear, execution, failure

from taskmark.errors import InvalidQuery
from taskmark.records import Record
from taskmark.store import searching
from taskmark.store.filtering import ExecutionFilter
from taskmark.store.reading import History
from taskmark.store.writing import apply


def ids(history: History, limit: int = 50, after: str | None = None, **wanted: Any) -> list[str]:
    return [one.execution_id for one in history.executions(ExecutionFilter(**wanted), limit, after)]


def pages(history: History, size: int, **wanted: Any) -> list[list[str]]:
    """Every page, each asked for with the cursor of the one before."""
    found: list[list[str]] = []
    cursor = None
    while page := history.executions(ExecutionFilter(**wanted), size, cursor):
        found.append([one.execution_id for one in page])
        cursor = page[-1].cursor
    return found


@pytest.fixture
def several(engine: Engine) -> None:
    """Five executions, of which the last two began at the same moment, and two that have not begun."""
    told = {"source_path": "tasks/a.md", "build_id": "b1", "assigned_agent": "ann", "trace_id": "t1"}
    apply(
        engine,
        [
            execution("e1", "completed", started_at=at(1), task_id="a", project="p", finished_at=at(9)),
            execution("e2", "failed", started_at=at(2), task_id="b", project="p", finished_at=at(9)),
            execution("e3", "running", started_at=at(3), task_id="a", **told),
            execution("e4", "running", started_at=at(4), task_id="b"),
            execution("e5", "paused", started_at=at(4), task_id="b", project="q"),
            execution("e0", "pending", task_id="a", **told),
            execution("e00", "pending"),
        ],
    )


@pytest.mark.usefixtures("several")
def test_executions_are_listed_from_the_latest_on(history: History) -> None:
    assert ids(history) == ["e00", "e0", "e5", "e4", "e3", "e2", "e1"]
    assert ids(history, limit=3) == ["e00", "e0", "e5"]
    assert ids(history, limit=0) == []


@pytest.mark.usefixtures("several")
def test_executions_are_filtered_by_what_they_are(history: History) -> None:
    assert ids(history, status=("running",)) == ["e4", "e3"]
    assert ids(history, status=("failed", "paused", "pending", "failed")) == ["e00", "e0", "e5", "e2"]
    assert ids(history, task="a") == ["e0", "e3", "e1"]
    assert ids(history, project="p", task="b") == ["e2"]
    for wanted in ({"build": "b1"}, {"file": "tasks/a.md"}, {"agent": "ann"}, {"trace": "t1"}):
        assert ids(history, **wanted) == ["e0", "e3"]
    for nobodys in ("\x00", "\ud800", "' OR 1=1 --", "%", ""):
        assert ids(history, project=nobodys) == []


@pytest.mark.usefixtures("several")
def test_a_time_holds_its_first_moment_and_not_its_last(history: History) -> None:
    assert ids(history, since=at(2), until=at(4)) == ["e3", "e2"]
    assert ids(history, until=at(2)) == ["e1"]
    assert ids(history, since=at(4), status=("running",)) == ["e4"]
    assert ids(history, since=at(2).replace(tzinfo=None), until=at(3)) == ["e2"]


def test_a_misspelt_filter_is_refused() -> None:
    with pytest.raises(ValidationError):
        ExecutionFilter(taks="a")  # type: ignore[call-arg] # that is what is tested


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("wanted", [{}, {"task": "a"}, {"status": ("pending", "running", "paused")}])
def test_pages_together_are_the_whole_list(history: History, size: int, wanted: dict[str, Any]) -> None:
    found = [one for page in pages(history, size, **wanted) for one in page]
    assert found == ids(history, **wanted)


_arrivals = st.lists(
    st.tuples(st.none() | st.integers(0, 3), st.sampled_from(["running", "failed"])), max_size=12
)


@given(there=_arrivals, arriving=_arrivals, size=st.integers(1, 4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages_miss_and_repeat_nothing_while_executions_arrive(
    engine: Engine, history: History, there: list[Any], arriving: list[Any], size: int
) -> None:
    """What was there when the first page was read is on one page, in order, whatever comes in between."""
    clear(engine)
    number = count()
    records = [
        execution(f"e{next(number)}", status, started_at=None if start is None else at(start))
        for start, status in there + arriving
    ]
    apply(engine, records[: len(there)])
    first = ids(history)
    waiting = records[len(there) :]
    found: list[str] = []
    cursor = None
    while page := history.executions(ExecutionFilter(status=("running", "failed")), size, cursor):  # type: ignore[arg-type] # validated
        found += [one.execution_id for one in page]
        cursor = page[-1].cursor
        apply(engine, waiting[:2])
        waiting = waiting[2:]
    assert [one for one in found if one in first] == first
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "cursor", ["", "nothing", "2026,", "x,exec-1", "2026-01-02T00:00:00", "0001-01-01T00:00+23:59,e"]
)
def test_what_is_no_cursor_is_an_error(history: History, cursor: str) -> None:
    with pytest.raises(InvalidQuery, match="is no cursor"):
        history.executions(after=cursor)


# --- words ----------------------------------------------------------------------------------------


@pytest.fixture
def told(engine: Engine) -> None:
    """Executions whose attempts say something."""
    said: dict[str, dict[str, Any]] = {
        "e1": {
            "status": "completed",
            "output": {"stdout": "first line\nTimeout reached", "path": "out/report.md"},
        },
        "e2": {"status": "failed", "error": failure("connection timeout after 3 s"), "input": {"url": "x"}},
        "e3": {"status": "completed", "input": {"company": "Größe AG"}, "output": "md report"},
        "e4": {"status": "running", "input": {"company": "timeout"}},
    }
    records: list[Record] = []
    for number, (name, values) in enumerate(said.items()):
        records.append(execution(name, started_at=at(number), task_id="a" if number % 2 else "b"))
        records.append(attempt(execution_id=name, finished_at=at(9), **values))
    apply(engine, records)


@pytest.mark.usefixtures("told")
def test_words_are_found_in_inputs_outputs_and_errors_of_what_has_ended(history: History) -> None:
    assert ids(history, search="timeout") == ["e2", "e1"]
    assert ids(history, search="TIMEOUT connection") == ["e2"]
    assert ids(history, search="größe") == ["e3"]
    assert ids(history, search="unheard") == []


@pytest.mark.usefixtures("told")
def test_words_are_found_where_a_line_begins(history: History) -> None:
    """JSON writes a new line as a letter, which is no part of the word."""
    assert ids(history, search="Timeout reached") == ["e1"]
    assert ids(history, search="ntimeout") == []


def test_accents_do_not_matter_and_signs_of_chinese_are_words(engine: Engine, history: History) -> None:
    said = {"e1": "un café à Zürich", "e2": "東京タワーの写真", "e3": "cafe\u0301 dehors", "e4": "한국어"}
    ended = {"status": "completed", "finished_at": at(9)}
    apply(
        engine, [execution(n, started_at=at(i), outputs={"x": said[n]}, **ended) for i, n in enumerate(said)]
    )
    assert ids(history, search="cafe") == ids(history, search="CAFÉ") == ["e3", "e1"]
    assert ids(history, search="zurich") == ids(history, search="Zu\u0308rich") == ["e1"]
    assert ids(history, search="東京") == ids(history, search="タワー") == ["e2"]
    assert ids(history, search="京東") == []
    assert ids(history, search="한국어") == ["e4"]


@pytest.mark.usefixtures("told")
def test_words_that_stand_together_are_found_together(history: History) -> None:
    assert ids(history, search="report.md") == ["e1"]
    assert ids(history, search="out/report.md") == ["e1"]
    assert ids(history, search="report md") == ["e3", "e1"]


@pytest.mark.usefixtures("told")
def test_words_are_searched_for_along_with_other_filters_and_in_pages(history: History) -> None:
    assert ids(history, search="timeout", task="a") == ["e2"]
    assert ids(history, search="timeout", since=at(1)) == ["e2"]
    assert pages(history, 1, search="timeout") == [["e2"], ["e1"]]


@pytest.mark.usefixtures("told")
def test_what_is_met_often_is_found_as_well(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many hits the list is walked instead of the hits: with the same answer."""
    monkeypatch.setattr(searching, "RARE", 0)
    assert ids(history, search="timeout") == ["e2", "e1"]
    assert ids(history, search="report.md") == ["e1"]
    assert ids(history, search="timeout", limit=1) == ["e2"]
    assert ids(history, search="unheard") == []


OWN = {
    "whole": {"status": "completed", "inputs": {"ticker": "SP500"}, "outputs": {"advice": "Buy capacitors"}},
    "broken": {"status": "failed", "error": failure("it took longer than its capacitors")},
    "running": {"status": "running", "inputs": {"advice": "capacitors"}},
}


@pytest.mark.parametrize("rare", [searching.RARE, 0])
def test_an_execution_is_found_by_what_it_was_given_itself_and_by_what_came_of_it(
    engine: Engine, history: History, monkeypatch: pytest.MonkeyPatch, rare: int
) -> None:
    """Its inputs, outputs and error, once it has ended; no attempt needs to have said so."""
    monkeypatch.setattr(searching, "RARE", rare)
    apply(engine, [execution(name, started_at=at(n), **own) for n, (name, own) in enumerate(OWN.items())])
    assert ids(history, search="capacitors") == ["broken", "whole"]
    assert ids(history, search="sp500 capacitors") == ["whole"]


HOSTILE = ['"', '"timeout', 'timeout" OR "x', "NEAR(a b)", "words:timeout", "time*", "^timeout", "- timeout"]
HOSTILE += ["a AND", "timeout & !x", "x | timeout", "<-> timeout", ":*", "'; DROP TABLE texts; --"]
HOSTILE += ["\x00timeout", "\ud800 timeout"]


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("searched", HOSTILE)
def test_nothing_in_what_is_searched_for_is_a_language(history: History, searched: str) -> None:
    if any(character.isalnum() for character in searched):
        assert set(ids(history, search=searched)) <= {"e1", "e2"}
        return
    with pytest.raises(InvalidQuery, match="There is no word"):
        ids(history, search=searched)


@given(searched=st.text(max_size=20))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_can_be_searched_for(history: History, searched: str) -> None:
    try:
        assert ids(history, search=searched) == []
    except InvalidQuery:
        assert not any(character.isalnum() for character in searched)
