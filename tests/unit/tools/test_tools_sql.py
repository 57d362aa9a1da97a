"""Databases are asked, and changed only by who may; on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import psutil
import pytest
from postgresql_cluster import Cluster, require_postgresql
from sqlalchemy import create_engine, text

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.registry import load
from taskmark.tools.built_in import Configured
from taskmark.tools.sql import Sql, SqlWrite

Call = Callable[..., Awaitable[Any]]
ROWS = [{"id": 1, "name": "Ann", "paid": 2.5}, {"id": 2, "name": "Bo:b", "paid": None}]
MAKE = "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, paid NUMERIC(10, 2))"
FILL = "INSERT INTO people VALUES (1, 'Ann', 2.5), (2, 'Bo:b', NULL)"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    require_postgresql()
    found = Cluster()
    yield found
    found.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, root: Path) -> str:
    """A database with a table; SQLite's is a file under the root."""
    if request.param == "sqlite":
        found, place = "sqlite:///shop.db", f"sqlite:///{root / 'shop.db'}"
    else:
        place = request.getfixturevalue("cluster").url("public")
        found = place.replace("+psycopg", "")
    engine = create_engine(place)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS people"))
        connection.execute(text(MAKE))
        connection.execute(text(FILL.replace(":", "\\:")))
    engine.dispose()
    return found


@pytest.fixture
def ask(call: Call, url: str) -> Call:
    async def ask(query: str, tool: type[Sql] = Sql, **more: Any) -> Any:
        return await call(tool({"shop": url}), query=query, **more)

    return ask


async def everything(ask: Call) -> Any:
    return (await ask("SELECT id, name, paid FROM people ORDER BY id"))["rows"]


# --- asking ---------------------------------------------------------------------------------------


async def test_rows_come_as_objects_with_the_columns_names(ask: Call) -> None:
    found = await ask(
        "-- who?\n SELECT id, name, paid FROM people WHERE id < :most ORDER BY id", parameters={"most": 9}
    )
    assert found == {"columns": ["id", "name", "paid"], "rows": ROWS, "truncated": False}


async def test_a_value_is_a_value_whatever_is_in_it(ask: Call) -> None:
    hostile = "x' OR '1'='1'; DROP TABLE people; --"
    assert (await ask("SELECT id FROM people WHERE name = :name", parameters={"name": hostile}))["rows"] == []
    found = await ask("SELECT '100 %' AS percent, 'a\\:b' AS colon, :v AS given", parameters={"v": hostile})
    assert found["rows"] == [{"percent": "100 %", "colon": "a:b", "given": hostile}]


async def test_further_rows_are_left_out_and_that_is_said(ask: Call) -> None:
    found = await ask("SELECT id FROM people ORDER BY id", maxRows=1)
    assert (found["rows"], found["truncated"]) == ([{"id": 1}], True)
    assert not (await ask("SELECT id FROM people", maxRows=2))["truncated"]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_values_of_postgresql_are_json(ask: Call) -> None:
    found = await ask(
        "SELECT DATE '2026-01-31' AS day, TIMESTAMPTZ '2026-01-31 12:00+00' AS at, "
        " 12345678901234567890::numeric AS big,"
        " 0.1::numeric AS tenth, 3.0::numeric AS three, '\\x00ff'::bytea AS raw, ARRAY[1, 2] AS list,"
        " '{\"a\": [1]}'::jsonb AS doc, INTERVAL '90 s' AS span, 'NaN'::numeric AS none,"
        " '5c1b7c3e-9a3e-4d3c-8f0e-6a1f6f1d2b3c'::uuid AS key"
    )
    (row,) = found["rows"]
    assert row.pop("at").startswith("2026-01-31T")
    assert row == {
        "day": "2026-01-31",
        "big": "12345678901234567890",
        "tenth": 0.1,
        "three": 3,
        "raw": "AP8=",
        "list": [1, 2],
        "doc": {"a": [1]},
        "span": 90.0,
        "none": None,
        "key": "5c1b7c3e-9a3e-4d3c-8f0e-6a1f6f1d2b3c",
    }


# --- changing -------------------------------------------------------------------------------------


async def test_what_writes_says_how_many_rows_it_changed(ask: Call) -> None:
    assert await ask("UPDATE people SET paid = :paid", SqlWrite, parameters={"paid": 7}) == {"changed": 2}
    assert [row["paid"] for row in await everything(ask)] == [7, 7]
    found = await ask("INSERT INTO people VALUES (3, 'Cy', 1) RETURNING id", SqlWrite)
    assert found["rows"] == [{"id": 3}]
    assert len(await everything(ask)) == 3


async def test_a_statement_that_fails_changes_nothing(ask: Call) -> None:
    with pytest.raises(StepFailed) as caught:
        await ask("INSERT INTO people VALUES (3, 'Cy', 1), (1, 'again', 1)", SqlWrite)
    assert caught.value.category is Category.LOGIC
    assert await everything(ask) == ROWS


async def test_an_effect_can_be_had_once_by_the_steps_own_key(ask: Call) -> None:
    await ask("CREATE TABLE seen (key TEXT PRIMARY KEY)", SqlWrite)
    insert = "INSERT INTO seen VALUES (:idempotency_key) ON CONFLICT DO NOTHING"
    assert [(await ask(insert, SqlWrite))["changed"] for _ in range(2)] == [1, 0]
    assert (await ask("SELECT key FROM seen"))["rows"] == [{"key": "key-1"}]
    await ask("DROP TABLE seen", SqlWrite)


HOSTILE = [
    FILL,
    "UPDATE people SET name = 'x'",
    "DELETE FROM people",
    "DROP TABLE people",
    "TRUNCATE people",
    "ALTER TABLE people ADD COLUMN x INT",
    "CREATE TABLE other (x INT)",
    "CREATE TEMP TABLE other (x INT)",
    "REPLACE INTO people VALUES (1, 'x', 1)",
    "COMMIT",
    "ROLLBACK",
    "BEGIN",
    "VACUUM",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "ATTACH DATABASE '{elsewhere}' AS other",
    "VACUUM INTO '{elsewhere}'",
    "SET TRANSACTION READ WRITE",
    "SET default_transaction_read_only = off",
    "COPY people TO '{elsewhere}'",
    "COPY people TO PROGRAM 'cat > {elsewhere}'",
    "COPY people FROM PROGRAM 'echo 5'",
    "DO $$ BEGIN DELETE FROM people; END $$",
    "CALL anything()",
    "LISTEN x",
    "SELECT 1; DELETE FROM people",
    "SELECT 1; COMMIT; DELETE FROM people",
    "SELECT 1;; DROP TABLE people; --",
    "COMMIT; DELETE FROM people; BEGIN",
    "/* SELECT */ DELETE FROM people",
    "-- SELECT\nDELETE FROM people",
    "(((DELETE FROM people)))",
    "SELECT 1 /* ; */ ; DELETE FROM people",
    "WITH gone AS (DELETE FROM people RETURNING id) SELECT * FROM gone",
    "WITH x AS (SELECT 1) DELETE FROM people",
    "WITH x AS (SELECT 1) INSERT INTO people SELECT 9, 'x', 1",
    "EXPLAIN ANALYZE DELETE FROM people",
    "SELECT set_config('transaction_read_only', 'off', true)",
    "SELECT set_config('default_transaction_read_only', 'off', false)",
    "SELECT load_extension('{elsewhere}')",
    "SELECT lo_export(1, '{elsewhere}')",
    "SELECT lo_create(0)",
    "SELECT * INTO other FROM people",
    "SELECT * FROM people FOR UPDATE",
    "SELECT writefile('{elsewhere}', 'x')",
    "SELECT * FROM pragma_query_only(0)",
    "EXPLAIN ANALYZE CREATE TABLE other AS SELECT 1 AS x",
    "TABLE people; DELETE FROM people",
    "VALUES (1); DELETE FROM people",
]


BEYOND = {"COMMIT", "ROLLBACK", "BEGIN", "VACUUM", "PRAGMA", "ATTACH", "SET", "COPY", "DO", "CALL", "LISTEN"}
"""What even who writes may not do: end the transaction, open files, run programs."""


@pytest.mark.parametrize("tool", [Sql, SqlWrite])
async def test_no_statement_gets_past_what_the_tool_may(
    tool: type[Sql], ask: Call, root: Path, tmp_path: Path
) -> None:
    """Reading changes nothing; neither opens another file, nor does two things at once."""
    elsewhere = tmp_path / "elsewhere.db"
    for statement in HOSTILE:
        if tool is Sql or ";" in statement or "{" in statement or statement.split()[0] in BEYOND:
            with suppress(StepFailed):
                await ask(statement.replace("{elsewhere}", str(elsewhere)), tool)
            assert await everything(ask) == ROWS, statement
    assert not elsewhere.exists()
    assert os.listdir(root) in (["shop.db"], [])


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_several_statements_are_never_taken_as_one_on_postgresql(ask: Call) -> None:
    with pytest.raises(StepFailed, match="multiple commands"):
        await ask("SELECT 1; COMMIT; DELETE FROM people")
    with pytest.raises(StepFailed, match="multiple commands"):
        await ask("DELETE FROM people; SELECT 1", SqlWrite)
    assert await everything(ask) == ROWS


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "more", "message", "hint"),
    [
        ("UPDATE people SET id = 3", {}, "sql does not take UPDATE", "sql-write"),
        ("", {}, "query", ""),
        ("  -- nothing", {}, "sql does not take this", "select"),
        ("SELECT :a", {}, "parameter a is not given", "`:name`"),
        ("SELECT 1", {"parameters": {"b": 1}}, "parameter b is not used", "`:name`"),
        ("SELECT 1", {"database": "shp"}, "no database 'shp' \\(did you mean \"shop\"", "shop"),
        ("SELECT * FROM nothing", {}, "nothing", ""),
        ("SELECT 1 AS a, 2 AS a", {}, "two columns are named 'a'", "AS"),
    ],
)
async def test_what_is_wrong_with_a_call_is_said(
    query: str, more: dict[str, Any], message: str, hint: str, ask: Call
) -> None:
    with pytest.raises(StepFailed, match=message) as caught:
        await ask(query, **more)
    assert caught.value.category in (Category.LOGIC, Category.CONFIGURATION)
    assert hint in (caught.value.hint or "")


SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
}


async def test_a_statement_that_takes_too_long_is_ended(ask: Call, url: str) -> None:
    begin = time.monotonic()
    with pytest.raises(StepFailed, match="did not answer in time") as caught:
        await ask(SLOW[url.partition(":")[0]], timeout="300ms")
    assert caught.value.category is Category.TRANSIENT
    assert time.monotonic() - begin < 10


async def test_a_step_that_is_cancelled_ends_its_statement(ask: Call, url: str) -> None:
    """The database does not go on for nobody."""
    asking = asyncio.create_task(ask(SLOW[url.partition(":")[0]], timeout="60s"))
    await asyncio.sleep(0.5)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    end = time.monotonic() + 10
    if url.startswith("postgresql"):
        running = "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sl%'"
        running += " AND state = 'active'"
        while (await ask(running))["rows"] != [{"n": 0}]:
            assert time.monotonic() < end
    else:
        while psutil.Process().cpu_percent(0.5) > 50:
            assert time.monotonic() < end


async def test_a_database_that_is_not_there_is_told_apart_from_one_that_does_not_answer(
    call: Call, root: Path
) -> None:
    with pytest.raises(StepFailed, match="unable to open") as caught:
        await call(Sql({"a": "sqlite:///nothing.db"}), query="SELECT 1")
    assert caught.value.category is Category.CONFIGURATION
    assert os.listdir(root) == []
    with pytest.raises(StepFailed) as unreachable:
        await call(Sql({"a": "postgresql://u:geheim@127.0.0.1:1/x"}), query="SELECT 1")
    assert unreachable.value.category is Category.TRANSIENT
    assert "geheim" not in str(unreachable.value)


async def test_a_locked_database_is_tried_again_later(call: Call, root: Path) -> None:
    holder = sqlite3.connect(root / "shop.db", isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StepFailed) as caught:
        await call(SqlWrite({"a": "sqlite:///shop.db"}), query="DELETE FROM t", timeout="200ms")
    holder.close()
    assert caught.value.category is Category.TRANSIENT


async def test_without_a_database_it_says_what_to_set(call: Call) -> None:
    health = await Sql().health_check()
    assert not health.healthy
    assert "TASKMARK_SQL_DATABASES" in (health.hint or "")
    with pytest.raises(StepFailed, match="no database is configured"):
        await call(Sql(), query="SELECT 1")
    with pytest.raises(StepFailed, match="which database is not said"):
        await call(Sql({"a": "sqlite:///a", "b": "sqlite:///b"}), query="SELECT 1")
    assert (
        await load(configured=Configured(databases={"shop": "sqlite:///a"})).tools["sql"].health_check()
    ).message == "knows shop"


async def test_a_call_may_take_no_longer_than_its_step(ask: Call, url: str, context: StepContext) -> None:
    tool = Sql({"shop": url})
    parameters = tool.validate({"query": SLOW[url.partition(":")[0]], "timeout": "60s"})
    begin = time.monotonic()
    with pytest.raises(StepFailed, match="in time"):
        await tool.execute(parameters, changed(context, timeout=0.3))
    assert time.monotonic() - begin < 10
