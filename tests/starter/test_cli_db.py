"""`taskmark db …` keeps the history store sound, safe and small."""

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import text
from test_cli_history import FIRST, SECOND, records

from starter import tidying
from starter.cli.entry import run
from starter.wiring import Wiring
from taskmark.records import DefinitionRecord
from taskmark.settings import Settings
from taskmark.store.engine import writing
from taskmark.store.reading import History
from taskmark.store.schema import open_store
from taskmark.store.writing import apply
from taskmark.task.packing import digest


def store(project: Path) -> str:
    return f"sqlite:///{project / '.taskmark' / 'taskmark.db'}"


def change(project: Path, statement: str) -> None:
    engine = open_store(store(project))
    with writing(engine) as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def recorded(project: Path) -> Path:
    """A project whose store holds two executions, with nobody at it."""
    (project / ".taskmark").mkdir()
    engine = open_store(store(project))
    apply(engine, records())
    engine.dispose()
    return project


def test_a_sound_store_is_code_0(recorded, capsys):
    assert run(["db", "check"]) == 0
    shown = capsys.readouterr()
    assert "✓ metrics" in shown.out
    assert "is sound" in shown.err


def test_what_is_wrong_is_code_1_with_place_and_fix_and_can_be_mended(recorded, capsys):
    change(recorded, "UPDATE executions SET tokens_used = 7")
    assert run(["db", "check"]) == 1
    shown = capsys.readouterr().out
    assert f"{FIRST}: tokens_used says 7" in shown
    assert "fix: taskmark db check --fix" in shown

    assert run(["db", "check", "-o", "json"]) == 1
    wrong = {one["check"]: one for one in json.loads(capsys.readouterr().out) if not one["ok"]}
    assert wrong["sums"]["count"] == 2

    assert run(["db", "check", "--fix"]) == 0
    assert run(["db", "check"]) == 0


def test_a_vacuum_says_what_it_did(recorded, capsys):
    assert run(["db", "vacuum"]) == 0
    assert "before" in capsys.readouterr().err


def test_a_store_goes_into_a_file_and_comes_back(recorded, capsys):
    assert run(["db", "backup", "kept.zip"]) == 0
    assert "2 executions" in capsys.readouterr().err
    assert run(["db", "backup", "kept.zip"]) == 2
    assert "--force" in capsys.readouterr().err
    assert run(["db", "backup", "kept.zip", "--force"]) == 0

    change(recorded, f"DELETE FROM executions WHERE execution_id = '{FIRST}'")
    assert run(["db", "restore", "kept.zip"]) == 2
    assert "The store has executions" in capsys.readouterr().err
    assert run(["db", "restore", "kept.zip", "--force"]) == 0
    assert run(["db", "check"]) == 0

    engine = open_store(store(recorded))
    assert History(engine).execution(FIRST).outputs == {"lines": 2}
    assert run(["db", "restore", "kept.zip", "--force"]) == 2
    assert "is in use" in capsys.readouterr().err
    engine.dispose()


def test_what_is_no_backup_is_refused(recorded, capsys):
    assert run(["db", "restore", "notes.txt", "--force"]) == 2
    assert "no backup" in capsys.readouterr().err
    assert run(["db", "restore", "missing.zip"]) == 2


def test_what_ended_long_ago_goes_when_said_so(recorded, capsys, monkeypatch):
    monkeypatch.setenv("TASKMARK_RETENTION", "off")
    assert run(["db", "cleanup"]) == 0
    assert "0 executions and 0 artifacts deleted" in capsys.readouterr().err
    monkeypatch.delenv("TASKMARK_RETENTION")

    assert run(["db", "cleanup", "--older-than", "1d", "--status", "failed=off"]) == 0
    assert "0 executions" in capsys.readouterr().err
    assert run(["db", "cleanup", "--dry-run"]) == 0
    assert "1 executions (1 failed) and 0 artifacts would be deleted" in capsys.readouterr().err
    assert run(["db", "cleanup"]) == 0
    assert run(["db", "check"]) == 0
    capsys.readouterr()
    assert run(["list", "-o", "json"]) == 0
    assert [one["execution_id"] for one in json.loads(capsys.readouterr().out)] == [SECOND]


@pytest.mark.parametrize("words", [["--older-than", "soon"], ["--status", "running=3d"]])
def test_an_age_that_means_nothing_is_misuse(recorded, capsys, words):
    assert run(["db", "cleanup", *words]) == 2
    assert "such as 30d" in capsys.readouterr().err


def test_a_setting_that_means_nothing_names_itself(recorded, capsys, monkeypatch):
    monkeypatch.setenv("TASKMARK_RETENTION", "running=3d")
    assert run(["db", "check"]) == 2
    assert "TASKMARK_RETENTION" in capsys.readouterr().err


@pytest.mark.parametrize(("setting", "left"), [("30d", {SECOND}), ("", {FIRST, SECOND})])
async def test_workers_clean_up_if_somebody_set_for_how_long(recorded, monkeypatch, setting, left):
    monkeypatch.setattr(tidying, "FIRST_SECONDS", 0.0)
    monkeypatch.setenv("TASKMARK_RETENTION", setting)
    wiring = Wiring(Settings())
    task = asyncio.create_task(tidying.keep_tidy(wiring))
    for _ in range(100):
        await asyncio.sleep(0.02)
        if task.done() or len(wiring.history.executions()) == 1:
            break
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert {one.execution_id for one in wiring.history.executions()} == left
    wiring.store.dispose()


def test_the_history_goes_out_and_comes_in(recorded, capsys):
    assert run(["db", "export", "history.jsonl"]) == 0
    assert "8 records" in capsys.readouterr().err
    assert run(["db", "export", "history.jsonl"]) == 2
    assert run(["db", "export", "-", "exec-2"]) == 0
    assert [json.loads(line).get("execution_id") for line in capsys.readouterr().out.splitlines()] == [
        None,
        SECOND,
    ]
    assert run(["db", "export", "-", "--since", "2026-01-02T03:05", "--task", "other"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2

    change(recorded, f"DELETE FROM executions WHERE execution_id = '{FIRST}'")
    with (recorded / "history.jsonl").open("a") as file:
        file.write("{\n")
    assert run(["db", "import", "history.jsonl"]) == 1
    shown = capsys.readouterr().err
    assert "line 10 is left out" in shown
    assert "8 records merged, 1 lines left out" in shown
    assert run(["show", FIRST]) == 0


def test_what_cannot_be_exported_or_imported_is_misuse(recorded, capsys):
    assert run(["db", "import", "notes.txt"]) == 2
    assert "no history" in capsys.readouterr().err
    assert run(["db", "import", "missing.jsonl"]) == 2
    assert run(["db", "export", "-", "--since", "soon"]) == 2
    assert "how long ago, such as 7d" in capsys.readouterr().err
    assert run(["db", "export", "-", "nothing"]) == 2


def test_where_there_is_no_store_none_is_made_by_looking(project, capsys):
    assert run(["db", "check", "-o", "json"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("[]\n", "There is no store yet: nothing was run here.\n")
    for words in (["vacuum"], ["cleanup"], ["backup", "a.zip"], ["export", "-"]):
        assert run(["db", *words]) == 2, words
        assert "There is no store yet" in capsys.readouterr().err
    assert sorted(path.name for path in project.iterdir()) == ["notes.txt", "tasks"]


def test_an_export_into_a_file_that_is_called_like_an_execution_is_refused(recorded, capsys):
    assert run(["db", "export", FIRST]) == 2
    assert f"taskmark db export - {FIRST}" in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (recorded / FIRST).exists()
    assert run(["db", "export", f"{FIRST}.jsonl", FIRST]) == 0


def test_versions_are_listed_and_one_that_is_not_there_is_misuse(project, capsys):
    assert run(["versions", "example"]) == 0
    assert "knows no version" in capsys.readouterr().err
    assert not (project / ".taskmark" / "taskmark.db").exists()

    (project / ".taskmark").mkdir(exist_ok=True)
    plain = {"id": "example", "name": "Example", "version": "1.0"}
    used = digest(plain)
    engine = open_store(store(project))
    definition = {"task_id": "example", "name": "Example", "version": "1.0"}
    apply(engine, [DefinitionRecord(sha256=used, definition=plain, **definition)])
    apply(engine, [DefinitionRecord(sha256="cd" * 32, definition=plain, **definition)])
    engine.dispose()

    assert run(["versions", "tasks/example.md"]) == 0
    shown = capsys.readouterr().out
    assert used[:12] in shown
    assert "cannot be started" in shown
    assert run(["versions", "example", "-o", "json"]) == 0
    assert {one["sha256"]: one["whole"] for one in json.loads(capsys.readouterr().out)} == {
        used: True,
        "cd" * 32: False,
    }
    for version, said in (("2.0", "No version"), ("1.0", "Several versions"), ("cdcd", "as it ran")):
        assert run(["start", "example", "--version", version]) == 2
        assert said in capsys.readouterr().err
