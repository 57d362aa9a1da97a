"""`list`, `metrics` and `events` put questions to the history store, without any server."""

import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cli_project import begun

from starter.cli.entry import run
from taskmark.errors import Failure
from taskmark.records import AttemptRecord, EventRecord, ExecutionRecord, Record
from taskmark.store.schema import open_store
from taskmark.store.writing import apply

NOW = datetime.now(UTC)
IDS = ("exec-1-a", "exec-2-b", "exec-3-a", "exec-4-a")


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def one(number: int, status: str, start: datetime, seconds: float, **fields: object) -> ExecutionRecord:
    name = IDS[number]
    told = {"task_id": name[-1], "task_name": name[-1].upper(), "source_path": f"tasks/{name[-1]}.md"}
    end = {} if status == "running" else {"finished_at": start + timedelta(seconds=seconds)}
    return ExecutionRecord.model_validate(
        {"execution_id": name, "status": status, "started_at": start, **told, **end, **fields}
    )


def records() -> list[Record]:
    refused = Failure(type="step_failed", message="connection refused by db.internal")
    return [
        one(0, "failed", ago(40), 2, build_id="b1"),
        one(1, "failed", ago(3), 4, trace_id="t" * 32, error=refused),
        one(2, "completed", ago(2), 8, build_id="b1", project="p", assigned_agent="ann"),
        one(3, "running", ago(1), 0),
        AttemptRecord(
            execution_id=IDS[1],
            phase="x",
            step="call",
            kind="tool",
            name="http",
            status="failed",
            error=refused,
            started_at=ago(3),
            finished_at=ago(3) + timedelta(seconds=1),
        ),
        AttemptRecord(
            execution_id=IDS[2],
            phase="x",
            step="ask",
            agent="bob",
            status="completed",
            tokens=1200,
            cost=0.5,
            started_at=ago(2),
        ),
        *(EventRecord(execution_id=IDS[3], kind="log", occurrence=n, at=ago(1)) for n in range(4)),
        EventRecord(execution_id=IDS[1], kind="execution_failed", at=ago(3)),
    ]


@pytest.fixture
def recorded(project: Path) -> Path:
    (project / ".taskmark").mkdir()
    apply(open_store(f"sqlite:///{project / '.taskmark' / 'taskmark.db'}"), records())
    return project


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    assert run([*words, "-o", "json"]) == 0
    return list(json.loads(capsys.readouterr().out))


# --- list -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["--build", "b1"], [2, 0]),
        (["--file", "tasks/a.md"], [3, 2, 0]),
        (["--file", "./tasks/b.md"], [1]),
        (["--agent", "ann"], [2]),
        (["--project", "p"], [2]),
        (["--trace", "t" * 32], [1]),
        (["--since", "7d"], [3, 2, 1]),
        (["--since", "7d", "--until", "36h"], [2, 1]),
        (["--until", ago(10).isoformat()], [0]),
        (["--since", f"{ago(1.5):%Y-%m-%d %H:%M}+00:00"], [3]),
        (["--search", "CONNECTION db.internal"], [1]),
        (["--search", '"refused" OR'], []),
        (["--status", "failed", "--status", "running"], [3, 1, 0]),
        (["--status", "failed", "--since", "7d", "--search", "refused", "--task", "b"], [1]),
    ],
)
def test_list_finds_what_is_asked_for(recorded, capsys, words, numbers):
    assert [row["execution_id"] for row in rows(capsys, "list", *words)] == [IDS[n] for n in numbers]


def test_the_path_of_a_file_is_taken_from_the_root(recorded, capsys):
    (recorded / "tasks" / "a.md").write_text("# A")
    found = rows(capsys, "list", "--file", str(recorded / "tasks" / "a.md"))
    assert len(found) == 3


def test_pages_go_on_where_the_one_before_ended(recorded, capsys):
    assert run(["list", "--limit", "3"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 4
    cursor = shown.err.partition("the same with --after ")[2].split()[0]
    assert [row["execution_id"] for row in rows(capsys, "list", "--after", cursor)] == [IDS[0]]
    last = rows(capsys, "list", "--limit", "3")[-1]["cursor"]
    assert last == cursor
    assert rows(capsys, "list", "--cursor", str(rows(capsys, "list")[-1]["cursor"])) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["list", "--since", "yesterday"], "how long ago, such as 7d"),
        (["list", "--until", "7"], "how long ago"),
        (["list", "--after", "nowhere"], "is no cursor"),
        (["list", "--search", "?!"], "There is no word"),
        (["metrics", "--since", "soon"], "how long ago"),
        (["metrics", "--since", "2026-02-01", "--until", "2026-01-01"], "no day is between"),
        (["metrics", "--by", "tool", "--task", "a"], "do not go together"),
        (["metrics", "--by", "moon"], "--by"),
        (["events", "exec-"], "Several executions"),
        (["events", "nothing"], "No execution has the id"),
        (["events", "exec-1", "--after", "-1"], "--after"),
    ],
)
def test_what_cannot_be_understood_is_misuse_and_says_why(recorded, capsys, words, told):
    assert run(words) == 2
    assert told in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("words", [["list"], ["metrics"], ["events", "exec-1"]])
def test_a_store_that_cannot_be_reached_is_code_3(project, capsys, monkeypatch, words):
    monkeypatch.setenv("TASKMARK_DATABASE_URL", "sqlite:////proc/nowhere/x.db")
    assert run(words) == 3


@pytest.mark.parametrize("words", [["list", "--search", "x"], ["metrics"], ["metrics", "--by", "tool"]])
def test_where_nothing_was_run_nothing_is_found_and_no_store_made(project, capsys, words):
    assert run(words) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err
    assert not (project / ".taskmark" / "taskmark.db").exists()


def test_what_cannot_be_understood_is_misuse_where_nothing_was_run_too(project, capsys):
    for words in (["--after", "x"], ["--waiting", "--task", "a"], ["--waiting", "--after", ","]):
        assert run(["list", *words]) == 2, words
    assert "it takes no --task" in " ".join(capsys.readouterr().err.split())
    assert not (project / ".taskmark").exists()


# --- metrics --------------------------------------------------------------------------------------


def test_metrics_tell_of_everything(recorded, capsys):
    [whole] = rows(capsys, "metrics", "--since", "all")
    assert (whole["total"], whole["completed"], whole["failed"], whole["in_progress"]) == (4, 1, 2, 1)
    assert (whole["tokens_used"], whole["cost"], whole["before"]) == (1200, 0.5, None)
    assert run(["metrics"]) == 0
    shown = capsys.readouterr().out
    assert "total        3" in shown
    assert "success      50.0% (+50 points; before: 0.0% of 1)" in shown
    assert "6.0s on average" in shown
    assert "\x1b" not in shown
    assert "▁" not in shown


def test_metrics_of_each_are_a_line_of_a_table(recorded, capsys):
    assert run(["metrics", "--by", "task", "--since", "60d"]) == 0
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split()[:6] == ["TASK", "RUNS", "OK", "FAILED", "OPEN", "SUCCESS"]
    assert first.split()[:6] == ["a", "3", "1", "1", "1", "50.0%"]
    assert second.split()[:6] == ["b", "1", "0", "1", "0", "0.0%"]
    assert run(["metrics", "--by", "build", "--limit", "1"]) == 0
    assert run(["metrics", "--by", "task", "--limit", "1"]) == 0
    assert "1 more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "name", "total"),
    [
        (["--task", "a"], "a", 3),
        (["--build", "b1"], "b1", 2),
        (["--project", "p"], "p", 1),
        (["--agent", "bob"], "bob", 1),
        (["--tool", "http"], "http", 1),
        (["--by", "assigned-agent"], "ann", 1),
    ],
)
def test_metrics_of_one_are_found_by_its_name(recorded, capsys, words, name, total):
    [found] = rows(capsys, "metrics", "--since", "all", *words)
    assert (found["name"], found["total"]) == (name, total)
    assert run(["metrics", "--since", "all", *words]) == 0
    assert name in capsys.readouterr().out


def test_the_trend_is_told_by_day_or_by_week(recorded, capsys):
    [days] = rows(capsys, "metrics", "--since", "7d")
    assert [period["total"] for period in days["periods"]][:3] == [1, 1, 1]
    [weeks] = rows(capsys, "metrics", "--since", "60d")
    assert all(datetime.fromisoformat(period["start"]).weekday() == 0 for period in weeks["periods"])
    [one_day] = rows(capsys, "metrics", "--since", "60d", "--per", "day", "--until", "39d")
    assert one_day["total"] == 1


def test_metrics_without_anything_in_their_time_say_so(recorded, capsys):
    assert run(["metrics", "--tool", "nothing", "--since", "7d"]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "--since all" in shown.err


# --- events ---------------------------------------------------------------------------------------


def test_events_are_told_by_number_and_from_any_on(recorded, capsys):
    assert run(["events", IDS[3]]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["1", "2", "3", "4"]
    assert [row["seq"] for row in rows(capsys, "events", IDS[3], "--after", "2")] == [3, 4]
    assert run(["events", IDS[3], "--after", "4"]) == 0
    assert capsys.readouterr().err == "No events after 4.\n"
    assert run(["events", IDS[2]]) == 0
    assert capsys.readouterr().err == "No events yet.\n"


def test_following_events_ends_with_the_execution(recorded, capsys):
    assert run(["events", IDS[1], "--follow", "-o", "jsonl"]) == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [1]


def test_an_interrupted_follower_comes_back_to_where_it_was(recorded):
    """Ctrl-C is code 130, and the number that is told leads to the rest: none missed, none twice."""
    engine = open_store(f"sqlite:///{recorded / '.taskmark' / 'taskmark.db'}")
    follower = begun(recorded, "events", "exec-4", "--follow", "-o", "jsonl", "--after", "1")
    assert follower.stdout is not None
    first = [json.loads(follower.stdout.readline())["seq"] for _ in range(3)]
    follower.send_signal(signal.SIGINT)
    rest, said = follower.communicate(timeout=30)
    assert (follower.returncode, first, rest) == (130, [2, 3, 4], "")
    words = said.partition("Come back with: taskmark ")[2].splitlines()[0].split()
    assert words == ["events", IDS[3], "--follow", "--after", "4"]

    again = begun(recorded, *words, "-o", "jsonl")
    apply(engine, [EventRecord(execution_id=IDS[3], kind="execution_completed", at=NOW)])
    apply(engine, [ExecutionRecord(execution_id=IDS[3], status="completed", finished_at=NOW)])
    told, _ = again.communicate(timeout=30)
    assert [json.loads(line)["seq"] for line in told.splitlines()] == [5]
    assert again.returncode == 0
