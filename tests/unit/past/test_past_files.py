"""Files of past results: found, read, and told apart; what is wrong with one is told with its line."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from taskmark.contracts import ExecutionStatus, TaskResult
from taskmark.past import files
from taskmark.past.files import Past, Unread, line_of, read_results, result_files
from taskmark.past.importing import AT_ONCE, take
from taskmark.records import AttemptRecord, EventRecord, ExecutionRecord, PhaseRecord, Record
from taskmark.store.merging import Columns
from taskmark.store.writing import Rejected

OWN: dict[str, Any] = {
    "execution_id": "exec-1767323045000-report",
    "status": "completed",
    "outputs": {"lines": 3},
    "phases": {
        "measure": {
            "status": "completed",
            "outputs": {"lines": 3},
            "name": "Measure",
            "attempts": 1,
            "started_at": "2026-01-02T03:04:05Z",
            "finished_at": "2026-01-02T03:04:07Z",
        }
    },
    "steps": {
        "count": {
            "status": "completed",
            "output": {"stdout": "3"},
            "attempts": 2,
            "kind": "tool",
            "name": "Count",
            "phase": "measure",
            "started_at": "2026-01-02T03:04:05Z",
            "finished_at": "2026-01-02T03:04:06Z",
        }
    },
    "error": None,
    "started_at": "2026-01-02T03:04:05Z",
    "finished_at": "2026-01-02T03:04:07Z",
    "trace_id": "ab" * 16,
}
OTHER = {"task": "tidy", "status": "ok", "completed_at": 1767323045}


def written(folder: Path, name: str, document: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document, indent=2))
    return path


def only(file: Path) -> Past | Unread:
    [found] = read_results(file)
    return found


def problem(file: Path) -> str:
    found = only(file)
    assert isinstance(found, Unread)
    return str(found).removeprefix(f"{file}:")


def test_our_own_result_tells_all_it_knows(tmp_path: Path) -> None:
    """And nothing that it does not: what the store knows of name, inputs and definition stays."""
    found = only(written(tmp_path, "a.json", OWN))
    assert isinstance(found, Past)
    by_type: dict[type[Record], list[Any]] = {}
    for record in found.records:
        by_type.setdefault(type(record), []).append(record)
    [execution] = by_type[ExecutionRecord]
    assert (execution.task_id, execution.status, execution.outputs) == ("report", "completed", {"lines": 3})
    unknown = ("task_name", "definition_sha256", "task_version", "source_path", "inputs", "cause")
    assert {getattr(execution, name) for name in unknown} == {None}
    [phase] = by_type[PhaseRecord]
    assert (phase.phase, phase.name, phase.outputs) == ("measure", "Measure", {"lines": 3})
    [attempt] = by_type[AttemptRecord]
    assert (attempt.step, attempt.attempt, attempt.output) == ("count", 2, {"stdout": "3"})
    assert {one.provenance for one in (execution, phase, attempt)} == {"backfilled"}
    assert all(one.as_of for one in (execution, phase, attempt))
    assert [one.kind for one in by_type[EventRecord]] == [
        "execution_started",
        "phase_started",
        "phase_completed",
        "execution_completed",
    ]


def test_what_taskresult_prints_is_read(tmp_path: Path) -> None:
    """Also one without phases, such as of an execution that was refused; the file tells when it was."""
    result = TaskResult(execution_id="exec-1-a", status=ExecutionStatus.FAILED)
    file = written(tmp_path, "a.json", result.model_dump_json())
    os.utime(file, (1767323045, 1767323045))
    found = only(file)
    assert isinstance(found, Past)
    [execution] = [one for one in found.records if isinstance(one, ExecutionRecord)]
    assert execution.finished_at is not None
    assert execution.finished_at.timestamp() == 1767323045
    assert execution.trace_id is None


def test_a_subtask_has_no_task_in_its_id(tmp_path: Path) -> None:
    found = only(written(tmp_path, "a.json", {**OWN, "execution_id": "exec-1-a/only/sub"}))
    assert isinstance(found, Past)
    [execution] = [one for one in found.records if isinstance(one, ExecutionRecord)]
    assert execution.task_id is None


def test_files_are_looked_for_below_the_folder_in_order(tmp_path: Path) -> None:
    for name in ("b.json", "2026/a.json", "c.txt", "d.jsonl"):
        written(tmp_path, name, OTHER)
    (tmp_path / "folder.json").mkdir()
    found = [str(path.relative_to(tmp_path)) for path in result_files(tmp_path)]
    assert found == ["2026/a.json", "b.json"]
    with pytest.raises(FileNotFoundError):
        result_files(tmp_path / "nowhere")


def test_a_list_holds_several_results_each_with_its_line(tmp_path: Path) -> None:
    file = written(tmp_path, "a.json", [OTHER, {"task": "tidy"}, 7, {**OTHER, "tokens": "x"}])
    found = list(read_results(file))
    assert [type(one) for one in found] == [Past, Unread, Unread, Unread]
    assert [one.line for one in found] == [2, 7, 10, 15]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{\n"task": "a",\n}', "3: this is no JSON"),
        ("", "1: this is no JSON"),
        ("[" * 100_000, "1: it is nested too deeply"),
        ('\n"text"', "2: a result is an object"),
        ('{"task": "a",\n"status": "half"}', "2: `status` is 'half'"),
        ('{\n"usage": {"total": 1},\n\n"total": [\n{"x": 1}],\n"task": "a", "ok": true, "cost": "x"}', "6: "),
        (json.dumps({**OWN, "status": "odd"}, indent=1), "3: status: Input should be"),
        (json.dumps({**OWN, "status": "running"}, indent=1), "3: it has not ended: it is running"),
        (json.dumps({**OWN, "steps": {"s": {}}}, indent=1), "20: steps.s.status: Field required"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, wanted: str) -> None:
    assert problem(written(tmp_path, "a.json", text)).startswith(wanted)


def test_bytes_that_are_no_text_and_files_that_are_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b'{\n"task": "\xff"}')
    assert problem(file) == "2: this is no text in UTF-8"
    monkeypatch.setattr(files, "LARGEST", 10)
    assert problem(file) == "1: it has 14 bytes; 10 are the most"
    file.unlink()
    assert "cannot be read" in problem(file)


def test_a_mark_before_the_text_and_numbers_that_are_none_are_read(tmp_path: Path) -> None:
    """Windows' editors write the one, Python the others."""
    found = only(
        written(tmp_path, "a.json", '\ufeff{"task": "a", "ok": true, "cost": NaN, "output": Infinity}')
    )
    assert isinstance(found, Past)


@pytest.mark.parametrize(
    ("place", "line"), [((), 1), (("b",), 3), (("b", 1, "c"), 5), (("x",), 1), (("a", 0), 2)]
)
def test_a_line_is_that_of_the_value_or_of_what_should_hold_it(
    place: tuple[str | int, ...], line: int
) -> None:
    assert line_of('{\n"a": {"b": 1},\n"b": [\n0,\n{"c": 1}\n]}', place) == line


# --- a folder -------------------------------------------------------------------------------------


def taken(folder: Path) -> tuple[list[Sequence[Columns | Record]], list[str], Any]:
    batches: list[Sequence[Columns | Record]] = []
    problems: list[Unread] = []

    def write(records: Sequence[Columns | Record]) -> list[Rejected[Columns | Record]]:
        batches.append(records)
        bad = [one for one in records if isinstance(one, Columns) and one.values.get("task_id") == "bad"]
        return [Rejected(one, "too large") for one in bad]

    done = take(folder, write, problems.append)
    return batches, [str(one).removeprefix(f"{folder}/") for one in problems], done


def test_a_bad_file_is_told_and_stops_nothing(tmp_path: Path) -> None:
    written(tmp_path, "a.json", "{")
    written(tmp_path, "b.json", OTHER)
    written(tmp_path, "c.json", {**OTHER, "task": "bad"})
    _, problems, done = taken(tmp_path)
    assert problems[0].startswith("a.json:1: this is no JSON")
    assert problems[1:] == ["c.json:1: the store refuses its execution: too large"]
    assert (done.files, done.results, done.problems) == (3, 2, 2)


def test_a_copy_is_taken_once_and_another_result_of_the_same_id_is_told(tmp_path: Path) -> None:
    written(tmp_path, "a.json", OWN)
    written(tmp_path, "b/copy.json", dict(reversed(OWN.items())))
    written(tmp_path, "c.json", {**OWN, "outputs": {"lines": 4}})
    batches, problems, done = taken(tmp_path)
    assert done.results == 1
    assert len(batches) == 1
    assert problems == [
        f"c.json:1: {tmp_path}/a.json:1 has another result of exec-1767323045000-report, which was taken"
    ]


def test_many_results_are_written_in_batches(tmp_path: Path) -> None:
    written(tmp_path, "a.json", [{**OTHER, "output": n} for n in range(2 * AT_ONCE + 1)])
    batches, _, done = taken(tmp_path)
    assert len(batches) == 3
    assert done.results == 2 * AT_ONCE + 1
    assert done.records == sum(map(len, batches))
