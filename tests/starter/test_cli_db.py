"""`taskmark db …` keeps the history store sound, safe and small."""

import json
from pathlib import Path

import pytest
from sqlalchemy import text
from test_cli_history import FIRST, records

from starter.cli.entry import run
from taskmark.store.engine import writing
from taskmark.store.reading import History
from taskmark.store.schema import open_store
from taskmark.store.writing import apply


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
