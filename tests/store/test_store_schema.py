"""The schema is made once, whoever starts first, and is what the migrations make."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text

from taskmark.errors import InvalidSettings, Unreachable
from taskmark.store.engine import make_engine, reading, writing
from taskmark.store.schema import current, head, migration_config, open_store, upgrade
from taskmark.store.tables import Stored


def migrate(engine: Engine) -> None:
    from alembic import command

    with writing(engine) as connection:
        command.upgrade(migration_config(connection), "head")


def difference(engine: Engine) -> list[object]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_ours})
        return list(compare_metadata(context, Stored.metadata))


def is_ours(_object: object, name: str | None, _type: str, _reflected: bool, _other: object) -> bool:
    """Whether the metadata know it: what indexes words is the database's own."""
    return not (name or "").startswith(("texts_index", "ix_texts_words"))


def described(engine: Engine) -> dict[str, object]:
    """Everything the database itself says of its tables, with its own words for types."""
    found = inspect(engine)
    triggers = {}
    if engine.dialect.name == "sqlite":
        with reading(engine) as connection:
            rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
            triggers = {str(name): " ".join(str(sql).split()) for name, sql in rows}
    return triggers | {
        name: (
            [{**column, "type": str(column["type"])} for column in found.get_columns(name)],
            sorted(str({**index, "dialect_options": options(index)}) for index in found.get_indexes(name)),
            found.get_pk_constraint(name),
            found.get_unique_constraints(name),
        )
        for name in sorted(found.get_table_names())
    }


def options(index: Any) -> dict[str, str]:
    """What is particular to an index, such as its condition, as text."""
    return {name: str(value) for name, value in index.get("dialect_options", {}).items()}


def test_migrations_make_the_tables_that_the_code_knows(store_url: str) -> None:
    engine = make_engine(store_url)
    migrate(engine)

    assert difference(engine) == []
    assert current(engine) == head()


def test_a_new_file_gets_the_same_schema_as_one_that_was_migrated(tmp_path: Path) -> None:
    migrated = make_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    migrate(migrated)
    created = open_store(f"sqlite:///{tmp_path / 'created.db'}")

    assert described(created) == described(migrated)
    assert current(created) == head()


def test_the_head_is_the_newest_migration(engine: Engine) -> None:
    from alembic.script import ScriptDirectory

    with reading(engine) as connection:
        script = ScriptDirectory.from_config(migration_config(connection))

    assert script.get_heads() == [head()]


def test_the_migrations_can_be_undone(engine: Engine) -> None:
    from alembic import command

    with writing(engine) as connection:
        command.downgrade(migration_config(connection), "base")

    assert inspect(engine).get_table_names() == ["alembic_version"]
    assert current(engine) is None


def test_a_store_without_revision_is_migrated(engine: Engine) -> None:
    from alembic import command

    with writing(engine) as connection:
        command.downgrade(migration_config(connection), "base")
    upgrade(engine)

    assert current(engine) == head()
    assert difference(engine) == []


def test_an_empty_store_has_no_revision(store_url: str) -> None:
    assert current(make_engine(store_url)) is None


def test_upgrading_twice_changes_nothing(engine: Engine) -> None:
    before = described(engine)
    upgrade(engine)
    assert described(engine) == before


def test_first_starts_at_the_same_time_do_not_clash(store_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        engines = list(pool.map(open_store, [store_url] * 8))

    assert [current(engine) for engine in engines] == [head()] * 8
    for engine in engines:
        engine.dispose()


def test_first_starts_of_several_processes_do_not_clash_nor_import_alembic(tmp_path: Path) -> None:
    code = (
        "import sys; from taskmark.store.schema import *; "
        "print(current(open_store(sys.argv[1])), 'alembic' in sys.modules)"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'history.db'}"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]

    assert [process.communicate(timeout=60)[0].strip() for process in processes] == [f"{head()} False"] * 3


def test_a_store_of_a_newer_version_is_refused_with_its_revision(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(InvalidSettings, match="has revision 9999") as refused:
        upgrade(engine)

    assert "TASKMARK_DATABASE_URL" in str(refused.value.hint)
    assert current(engine) == "9999"


def test_a_file_that_is_no_database_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(b"no database at all, but long enough to be read as one" * 40)

    with pytest.raises(Unreachable, match=r"history\.db does not answer"):
        open_store(f"sqlite:///{tmp_path / 'history.db'}")
