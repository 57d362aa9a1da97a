"""The queries of docs/probes.sql run on both databases and tell what is known to be so."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from store_records import at, attempt, execution

from taskmark.contracts import span_id
from taskmark.errors import Category, Failure
from taskmark.store.engine import reading
from taskmark.store.writing import apply

PROBES = Path(__file__).parents[2] / "docs/probes.sql"
DAY = 86_400


def probes(dialect: str) -> dict[str, str]:
    """The statements for a database, by their names."""
    found: dict[str, str] = {}
    for part in re.split(r"^-- probe: ", PROBES.read_text(), flags=re.MULTILINE)[1:]:
        name, _, statement = part.partition("\n")
        only = re.search(r"^-- on: (\w+)$", statement, re.MULTILINE)
        if only is None or only[1] == dialect:
            assert name not in found, f"{name} is there twice"
            found[name] = statement
    return found


def broken(message: str, stack: str | None = None) -> Failure:
    kind = "step_failed" if stack else "exit_code"
    return Failure(type=kind, message=message, category=Category.TRANSIENT, stack=stack, stack_hash=stack)


def tool(run: str, step: str, name: str, start: float, seconds: float, **fields: Any) -> Any:
    """A try of a tool."""
    told = {"kind": "tool", "name": name, "status": "completed", "execution_id": run, **fields}
    return attempt(step, started_at=at(start), finished_at=at(start + seconds), **told)


@pytest.fixture
def known(engine: Engine) -> Engine:
    """Three runs of one task: one succeeds, one fails, and is repeated with a new build."""
    read = [span_id("e1", "measure", "read")]
    lost, reset = broken("lost", "s" * 8), broken("reset", "s" * 8)
    apply(
        engine,
        [
            execution("e1", "completed", task_id="demo", build_id="b1", started_at=at(0), finished_at=at(10)),
            execution("e2", "failed", task_id="demo", build_id="b1", started_at=at(60), finished_at=at(90)),
            execution(
                "e3",
                "completed",
                task_id="demo",
                build_id="b2",
                started_at=at(DAY),
                finished_at=at(DAY + 20),
                retry_of="e2",
            ),
            tool("e1", "read", "read-file", 1, 2, input={"path": "a.csv"}, output={"content": "x"}),
            attempt(
                "ask",
                "completed",
                execution_id="e1",
                kind="agent",
                agent="ann",
                parents=read,
                tokens=10,
                cost=0.5,
                started_at=at(4),
                finished_at=at(8),
            ),
            tool("e2", "call", "http", 61, 1, status="failed", error=lost),
            tool("e2", "call", "http", 63, 1, attempt=2, status="failed", error=broken("exit code 1")),
            tool("e3", "call", "http", DAY + 1, 1, status="failed", error=reset),
            tool("e3", "call", "http", DAY + 3, 3, attempt=2),
            tool("e3", "find", "search-files", DAY + 8, 1, input={"pattern": "x+"}, output={"matches": []}),
        ],
    )
    return engine


TOLD: dict[str, list[dict[str, Any]]] = {
    "success rate by task": [{"task": "demo", "runs": 3, "completed": 2, "failed": 1, "success": 66.7}],
    "success rate by day": [
        {"day": "2026-01-02", "runs": 2, "success": 50.0},
        {"day": "2026-01-03", "runs": 1, "success": 100.0},
    ],
    "builds against each other": [
        {"build": "b1", "runs": 2, "success": 50.0, "average_ms": 20_000},
        {"build": "b2", "runs": 1, "success": 100.0, "average_ms": 20_000},
    ],
    "durations of tasks": [{"runs": 3, "average_ms": 20_000, "p50_ms": 20_000, "p95_ms": 30_000}],
    "where the time goes": [
        {"step": "call", "tries": 4, "total_ms": 6_000, "average_ms": 1_500},
        {"step": "ask", "total_ms": 4_000},
        {"step": "read", "total_ms": 2_000},
        {"step": "find", "total_ms": 1_000},
    ],
    "waiting before the start": [{"execution_id": "e3"}, {"execution_id": "e2"}, {"execution_id": "e1"}],
    "errors by stack": [{"stack_hash": "s" * 8, "times": 2, "executions": 2, "a_message": "reset"}],
    "errors without a stack": [{"of_what": "http", "error_type": "exit_code", "times": 1}],
    "where a bug happened": [
        {"execution_id": "e3", "error_message": "reset"},
        {"execution_id": "e2", "error_message": "lost"},
    ],
    "what retries bring": [
        {"of_what": "http", "steps_retried": 2, "tries": 4, "succeeded_at_last": 1, "lost_ms": 3_000}
    ],
    "retries one by one": [
        {"execution_id": "e3", "attempt": 1, "error_message": "reset", "next_status": "completed"},
        {"execution_id": "e2", "attempt": 1, "error_message": "lost", "next_status": "failed"},
    ],
    "executions that repeat others": [{"execution_id": "e3", "retry_of": "e2", "status_before": "failed"}],
    "what it costs": [{"task": "demo", "runs": 3, "tokens": 10, "cost": 0.5}],
    "what was read": [{"source": "a.csv", "times": 1, "executions": 1}],
    "who read nothing": [{"execution_id": "e3", "step": "find", "query": "x+"}],
    "what an answer is based on": [{"step": "ask", "based_on": "read", "status": "completed"}],
}


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_every_probe_is_for_both_databases_and_tried(dialect: str) -> None:
    assert set(probes(dialect)) == set(TOLD)


@pytest.mark.parametrize("name", TOLD)
def test_a_probe_tells_what_is_known(known: Engine, name: str) -> None:
    with reading(known) as connection:
        found = connection.execute(text(_escaped(probes(known.dialect.name)[name]))).mappings().all()
    assert len(found) == len(TOLD[name])
    for row, told in zip(found, TOLD[name], strict=True):
        assert {key: _number(row[key]) for key in told} == told


def _escaped(statement: str) -> str:
    """A colon is SQL here, and no parameter of ours."""
    return statement.replace(":", r"\:")


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value
