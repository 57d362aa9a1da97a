"""Results of other programs: which names and forms are understood, and what becomes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskmark.past.others import STATES, WORK, records_in
from taskmark.past.problems import Misfit
from taskmark.past.told import NAMES, spelled
from taskmark.records import AttemptRecord, EventRecord, ExecutionRecord, PhaseRecord

CHANGED = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
ENDED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LEAST = {"task": "report", "status": "done"}
HISTORY = (Path(__file__).parents[3] / "docs" / "history.md").read_text()


def told(**document: Any) -> tuple[ExecutionRecord, AttemptRecord]:
    """Returns the execution and its one attempt."""
    _, records = records_in({**LEAST, **document}, CHANGED)
    [execution] = [one for one in records if isinstance(one, ExecutionRecord)]
    [attempt] = [one for one in records if isinstance(one, AttemptRecord)]
    return execution, attempt


def test_a_usual_result_becomes_an_execution_with_one_step() -> None:
    document = {
        "task_id": "weekly-report",
        "name": "Weekly report",
        "agent": "writer",
        "status": "success",
        "output": "Sales rose.",
        "started_at": "2026-01-02T03:04:00Z",
        "completed_at": "2026-01-02T03:04:05Z",
        "tokens": 1200,
        "cost": 0.25,
        "files": ["report.md"],
    }
    name, records = records_in(document, CHANGED)
    assert [type(one) for one in records] == [
        ExecutionRecord,
        PhaseRecord,
        AttemptRecord,
        EventRecord,
        EventRecord,
    ]
    execution, attempt = told(**document)
    assert (execution.task_id, execution.task_name, execution.status) == (
        "weekly-report",
        "Weekly report",
        "completed",
    )
    assert (execution.outputs, execution.assigned_agent) == ({"output": "Sales rose."}, "writer")
    assert (execution.provenance, execution.as_of, execution.finished_at) == ("backfilled", ENDED, ENDED)
    assert (attempt.phase, attempt.step, attempt.kind, attempt.agent) == (WORK, WORK, "agent", "writer")
    assert (attempt.output, attempt.tokens, attempt.cost, attempt.files) == (
        "Sales rose.",
        1200,
        0.25,
        ("report.md",),
    )
    assert {getattr(one, "execution_id", "") for one in records} == {name}


SHOWN: dict[str, tuple[Any, str, Any]] = {
    "execution": ("run-7", "execution_id", "run-7"),
    "task": ("tidy", "task_id", "tidy"),
    "name": ("Tidy up", "task_name", "Tidy up"),
    "agent": ("ann", "assigned_agent", "ann"),
    "status": ("failed", "status", "failed"),
    "success": (False, "status", "failed"),
    "exit code": (3, "status", "failed"),
    "output": ({"n": 1}, "outputs", {"n": 1}),
    "inputs": ({"n": 1}, "inputs", {"n": 1}),
    "started": ("2026-01-02T03:04:05Z", "started_at", ENDED),
    "completed": ("2026-01-02T03:04:05Z", "finished_at", ENDED),
    "attempts": (3, "attempts", 3),
    "project": ("shop", "project", "shop"),
    "build": ("b7", "build_id", "b7"),
    "trace": ("ab" * 16, "trace_id", "ab" * 16),
    "parent": ("exec-1-a", "parent_id", "exec-1-a"),
    "retry of": ("exec-1-a", "retry_of", "exec-1-a"),
    "version": ("1.2", "task_version", "1.2"),
    "tokens": (12, "tokens", 12),
    "cost": (0.5, "cost", 0.5),
    "files": (["a.txt"], "files", ("a.txt",)),
    "questions": (2, "questions", 2),
    "worker": ("box", "worker", "box"),
}
BY_ANOTHER_TEST = {"error", "stack", "milliseconds", "duration"}


def test_every_meaning_has_a_test() -> None:
    assert set(SHOWN) | BY_ANOTHER_TEST == set(NAMES)


@pytest.mark.parametrize(
    ("meaning", "name"), [(meaning, name) for meaning in SHOWN for name in NAMES[meaning]]
)
def test_every_name_is_understood(meaning: str, name: str) -> None:
    """Each name of each row, in three spellings."""
    value, field, wanted = SHOWN[meaning]
    base = {"name": "x", "error": None} if meaning in ("status", "success", "exit code") else LEAST
    base = {key: one for key, one in base.items() if key not in NAMES[meaning]}
    base = {"name": "x", **base} if meaning == "task" else base
    camel = name.split("_", maxsplit=1)[0] + "".join(part.title() for part in name.split("_")[1:])
    for spelling in (name, camel, name.replace("_", "-").upper()):
        _, records = records_in({**base, spelling: value}, CHANGED)
        found = [getattr(one, field) for one in (records[0], records[2]) if hasattr(one, field)]
        assert found[0] == wanted, spelling


def test_every_name_and_word_is_in_the_documentation() -> None:
    """docs/history.md shows the whole table."""
    missing = [name for names in NAMES.values() for name in names if f"`{name}`" not in HISTORY]
    missing += [word for words in STATES.values() for word in words if f"`{word}`" not in HISTORY]
    assert missing == []


@pytest.mark.parametrize(("status", "word"), [(status, word) for status in STATES for word in STATES[status]])
def test_every_word_for_an_end_is_understood(status: str, word: str) -> None:
    assert told(status=word.replace("_", " ").title())[0].status == status


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"success": True}, "completed"),
        ({"status": True}, "completed"),
        ({"status": False}, "failed"),
        ({"exit_code": 0}, "completed"),
        ({"error": "it broke"}, "failed"),
        ({"success": True, "status": "timeout"}, "timed_out"),
    ],
)
def test_without_a_word_other_signs_tell_how_it_ended(document: dict[str, Any], status: str) -> None:
    _, records = records_in({"task": "report", **document}, CHANGED)
    assert isinstance(records[0], ExecutionRecord)
    assert records[0].status == status


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ("it broke", "failed", "it broke"),
        ({"type": "KeyError", "message": "'a'"}, "KeyError", "'a'"),
        ({"code": 404, "msg": "gone"}, "404", "gone"),
        ([{"message": "one"}, "two"], "failed", "one; two"),
        (["one"], "failed", "one"),
        ({"why": "unknown"}, "failed", '{"why": "unknown"}'),
        (None, "failed", "it failed, and nobody said why"),
        (True, "failed", "it failed, and nobody said why"),
    ],
)
def test_an_error_is_a_text_an_object_or_a_list(error: Any, kind: str, message: str) -> None:
    execution, attempt = told(status="failed", error=error)
    assert execution.error is not None
    assert (execution.error.type, execution.error.message) == (kind, message)
    assert attempt.error == execution.error


@pytest.mark.parametrize("name", NAMES["error"])
@pytest.mark.parametrize("stack", NAMES["stack"])
def test_a_stack_is_beside_its_error_or_in_it(name: str, stack: str) -> None:
    for document in ({name: "it broke", stack: "at line 7"}, {name: {"message": "x", stack: "at line 7"}}):
        error = told(status="failed", **document)[0].error
        assert error is not None
        assert error.stack == "at line 7"


def test_what_completed_has_no_error() -> None:
    assert told(status="success", error="")[0].error is None
    assert told(status="success", error=[])[0].error is None


SECONDS = ENDED.timestamp()


@pytest.mark.parametrize(
    "moment",
    [
        *("2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", "2026-01-02 03:04:05", "20260102T030405Z"),
        *(SECONDS, int(SECONDS), SECONDS * 1e3, int(SECONDS) * 10**6, int(SECONDS) * 10**9),
        *(str(int(SECONDS)), f"{SECONDS:.3f}"),
    ],
)
def test_moments_are_iso_or_count_since_1970(moment: Any) -> None:
    """Without a zone they are in UTC; seconds, milliseconds, microseconds and nanoseconds differ in size."""
    assert told(completed_at=moment)[0].finished_at == ENDED


@pytest.mark.parametrize("name", [*NAMES["milliseconds"], *NAMES["duration"]])
def test_a_duration_gives_the_start_or_the_end_that_is_missing(name: str) -> None:
    amount = 5000 if name in NAMES["milliseconds"] else 5
    before = ENDED - timedelta(seconds=5)
    assert told(completed_at=SECONDS, **{name: amount})[0].started_at == before
    assert told(started_at=SECONDS - 5, **{name: amount})[0].finished_at == ENDED
    both = told(started_at=SECONDS - 9, completed_at=SECONDS, **{name: amount})[0]
    assert (both.started_at, both.finished_at) == (ENDED - timedelta(seconds=9), ENDED)


@pytest.mark.parametrize(("text", "seconds"), [("1m 30s", 90), ("PT5M", 300), ("2.5", 2.5), (0.25, 0.25)])
def test_a_duration_is_seconds_or_words(text: Any, seconds: float) -> None:
    assert told(completed_at=SECONDS, duration=text)[0].started_at == ENDED - timedelta(seconds=seconds)


def test_without_a_moment_the_file_tells_when() -> None:
    """The end is when the file was changed; nothing tells of a start."""
    execution, _ = told()
    assert (execution.started_at, execution.finished_at) == (None, CHANGED)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"total_tokens": 9, "input_tokens": 4, "output_tokens": 5}, 9),
        ({"inputTokens": 4, "outputTokens": 5}, 9),
        ({"prompt_tokens": 4, "completion_tokens": 5}, 9),
        ({"input": 4, "output": 5}, 9),
        ({"prompt": 4, "completion": 5}, 9),
        ({"total": 9}, 9),
        ({"cached": 1}, None),
        ("1,200", 1200),
    ],
)
def test_tokens_are_a_number_or_what_went_in_and_out(usage: Any, tokens: int | None) -> None:
    assert told(usage=usage)[1].tokens == tokens


def test_files_are_names_or_objects_with_a_path() -> None:
    assert told(files=["a", {"path": "b"}, {"filename": "c"}])[1].files == ("a", "b", "c")
    assert told(files={"d": {"bytes": 1}})[1].files == ("d",)
    assert told(files="e")[1].files == ("e",)


def test_questions_are_a_number_or_a_list() -> None:
    assert told(questions=["why?", "how?"])[1].questions == 2
    assert told(cost="$1.50")[1].cost == 1.5


def test_what_is_an_object_already_stays_one() -> None:
    execution, attempt = told(result={"n": 1}, params=["a"])
    assert (execution.outputs, attempt.output) == ({"n": 1}, {"n": 1})
    assert (execution.inputs, attempt.input) == ({"input": ["a"]}, ["a"])


def test_an_id_follows_from_content_and_time() -> None:
    """It does not depend on the order of keys, and on nothing outside of the document."""
    document = {**LEAST, "completed_at": SECONDS}
    name, _ = records_in(document, CHANGED)
    again, _ = records_in(dict(reversed(document.items())), CHANGED + timedelta(days=1))
    other, _ = records_in({**document, "output": 1}, CHANGED)
    assert name == again != other
    assert name.startswith(f"exec-{SECONDS * 1000:.0f}-report-")
    assert records_in(LEAST, CHANGED)[0].startswith("exec-0-report-")


def test_an_id_of_the_task_is_none_of_an_execution() -> None:
    """`id` names the task where nothing else does."""
    name, records = records_in({"id": "tidy", "status": "ok"}, CHANGED)
    assert name.startswith("exec-0-tidy-")
    assert isinstance(records[0], ExecutionRecord)
    assert (records[0].task_id, records[0].task_name) == ("tidy", "tidy")


def test_a_name_alone_makes_the_id_of_the_task() -> None:
    _, records = records_in({"title": "Tidy Up", "ok": True}, CHANGED)
    assert isinstance(records[0], ExecutionRecord)
    assert (records[0].task_id, records[0].task_name) == ("tidy_up", "Tidy Up")


@pytest.mark.parametrize(
    ("document", "reason", "place"),
    [
        ({"status": "done"}, "names no task", ()),
        ({"task": "a"}, "does not say how it ended", ()),
        ({"task": "a", "status": "running"}, "no word for how a task ended", ("status",)),
        ({"task": "a", "success": "maybe"}, "neither true nor false", ("success",)),
        ({**LEAST, "task": ["a"]}, "is not a text", ("task",)),
        ({**LEAST, "startedAt": "yesterday"}, "is not a moment", ("startedAt",)),
        ({**LEAST, "end": 5}, "between 1980 and 2200", ("end",)),
        ({**LEAST, "tokens": -1}, "is not a number from 0", ("tokens",)),
        ({**LEAST, "cost": "much"}, "is not a number", ("cost",)),
        ({**LEAST, "usage": {"total": True}}, "is not a number", ("usage",)),
        ({**LEAST, "duration": "long"}, "is not a duration", ("duration",)),
        ({**LEAST, "duration": [1]}, "is not a duration", ("duration",)),
        ({**LEAST, "files": 7}, "is not a list of files", ("files",)),
        ({**LEAST, "files": [7]}, "no file's name", ("files",)),
    ],
)
def test_what_cannot_be_understood_says_why_and_where(
    document: dict[str, Any], reason: str, place: tuple[str, ...]
) -> None:
    with pytest.raises(Misfit, match=reason) as refused:
        records_in(document, CHANGED)
    assert refused.value.place == place


def test_spellings_of_a_name_are_one() -> None:
    assert {spelled(name) for name in ("taskId", "TaskID", "task-id", "Task Id", " task_id")} == {"task_id"}
