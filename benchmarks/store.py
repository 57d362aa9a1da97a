"""The history store with a million attempts: questions, writes, backfill, and what it adds to the engine.

    python benchmarks/store.py [-o json] [--rows 1000000] [--database sqlite] [--part questions] [--quick]

SQLite and a real PostgreSQL with `fsync`, each filled through the real writer (`past.py`). Questions are
asked one after the other, by chance, of a store that nobody writes to; their plans must use an index.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sqlalchemy import Engine, text  # noqa: E402 - found by the path above

from benchmarks import bringing_back, past, recording_cost, reporting  # noqa: E402 - the same
from benchmarks.asking import QUESTIONS, Question, found_by  # noqa: E402 - the same
from benchmarks.servers import Missing, postgresql  # noqa: E402 - the same
from starter.wiring import Wiring  # noqa: E402 - the same
from taskmark.contracts import StepStatus, idempotency_key  # noqa: E402 - the same
from taskmark.records import AttemptRecord, EventRecord, Record  # noqa: E402 - the same
from taskmark.settings import Settings  # noqa: E402 - the same
from taskmark.store.schema import open_store  # noqa: E402 - the same
from taskmark.store.writing import apply  # noqa: E402 - the same

DATABASES = ("sqlite", "postgresql")
PARTS = ("questions", "backfill", "engine")
REPEATS = 200
WARM = 5
SECONDS = 20
"""A question is asked no longer than that."""
WRITE_TARGET_MS = 2.0
PATIENCE = 60.0


@contextmanager
def database(kind: str) -> Iterator[str]:
    """Yields the URL of an empty database. Raises `Missing` without PostgreSQL's programs."""
    if kind == "postgresql":
        with postgresql() as server:
            yield server.url
        return
    with tempfile.TemporaryDirectory(prefix="taskmark-bench-") as folder:
        yield f"sqlite:///{folder}/history.db"


def measure_database(kind: str, rows: int, repeats: int) -> dict[str, Any]:
    """Fills a database and returns what its questions and writes take."""
    with database(kind) as url:
        engine = open_store(url)
        reporting.say(f"{kind}: {rows} attempts are written")
        empty = writes(engine, "before", repeats)
        seconds = past.fill(engine, rows)
        _settle(engine)
        count = max(1, rows // past.ATTEMPTS)
        found = {
            "database": kind,
            "version": _version(engine),
            "attempts": count * past.ATTEMPTS,
            "fill_seconds": round(seconds, 1),
            "megabytes": round(_megabytes(engine), 1),
            "questions": _all_answered(engine, count, repeats),
            "writes_empty": empty,
            "writes": [waits(url, repeats), *writes(engine, "after", repeats)],
        }
        engine.dispose()
        return found


def _settle(engine: Engine) -> None:
    """PostgreSQL's own autovacuum would do the same within minutes; SQLite needs nothing of it."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def _all_answered(engine: Engine, count: int, repeats: int) -> list[dict[str, Any]]:
    found = []
    for question in QUESTIONS:
        found.append(_answered(engine, question, count, repeats))
        reporting.say(f"{question.name}: {found[-1]['p50_ms']} / {found[-1]['p95_ms']} ms")
    return found


def _answered(engine: Engine, question: Question, count: int, repeats: int) -> dict[str, Any]:
    used, whole = found_by(engine, question, count)
    chance, took, rows = Random(7), [], 0
    end = time.monotonic() + SECONDS
    while len(took) < WARM + repeats and (len(took) < 2 * WARM or time.monotonic() < end):
        begin = time.perf_counter()
        rows = question.ask(engine, chance, count)
        took.append((time.perf_counter() - begin) * 1e3)
    return {
        "question": question.name,
        **reporting.percentiles(took[WARM:]),
        "target_ms": question.target_ms,
        "rows": rows,
        "indexes": sorted(used),
        "indexed": not whole and bool(used & set(question.indexes)),
        "read_whole": whole,
    }


def _version(engine: Engine) -> str:
    query = "SELECT sqlite_version()" if engine.dialect.name == "sqlite" else "SHOW server_version"
    with engine.connect() as connection:
        return str(connection.execute(text(query)).scalar())


def _megabytes(engine: Engine) -> float:
    if engine.dialect.name == "sqlite":
        return sum(file.stat().st_size for file in Path(str(engine.url.database)).parent.iterdir()) / 1e6
    with engine.connect() as connection:
        query = text("SELECT pg_database_size(current_database())")
        return int(connection.execute(query).scalar_one()) / 1e6


# --- writes ---------------------------------------------------------------------------------------

STEPS_TOGETHER = {"a step alone": 1, "of 5 steps together": 5, "of 25 steps together": 25}


def writes(engine: Engine, name: str, repeats: int) -> list[dict[str, Any]]:
    """Returns what one step costs: its beginning and its end, as attempt and as event, committed."""
    found = []
    for what, together in STEPS_TOGETHER.items():
        took = []
        for number in range(max(3, repeats // together)):
            ids = [f"{name}-{together}-{number}-{n}" for n in range(together)]
            records = [record for one in ids for record in a_step(one)]
            begin = time.perf_counter()
            apply(engine, records)
            took.append((time.perf_counter() - begin) * 1e3 / together)
        found.append({"write": what, **reporting.percentiles(took), "target_ms": WRITE_TARGET_MS})
    return found


def waits(url: str, repeats: int) -> dict[str, Any]:
    """Returns how long a step waits until what it records is scrubbed and kept for the writer, which writes
    beside it."""
    took = []
    with tempfile.TemporaryDirectory(prefix="taskmark-bench-") as folder:
        wiring = Wiring(Settings(state_dir=Path(folder), root=Path(folder), database_url=url))
        for number in range(WARM + repeats):
            records = a_step(f"waits-{number}")
            begin = time.perf_counter()
            wiring.recorder.record(*records[:2])
            wiring.recorder.record(*records[2:])
            took.append((time.perf_counter() - begin) * 1e3)
            time.sleep(0.01)
        assert wiring.close(PATIENCE), "the store did not take it"
    return {"write": "what a step waits", **reporting.percentiles(took[WARM:]), "target_ms": WRITE_TARGET_MS}


def a_step(id: str) -> list[Record]:
    """Returns what a step records in its life."""
    now = datetime.now(UTC)
    place: dict[str, Any] = {"execution_id": f"exec-{id}", "phase": "part", "step": "step", "attempt": 1}
    begun: dict[str, Any] = {
        **place,
        "kind": "tool",
        "name": "shell",
        "input": {"command": ["wc", "-l", f"{id}.txt"]},
        "started_at": now,
        "idempotency_key": idempotency_key(f"exec-{id}", "part", "step", None),
        "trace_id": idempotency_key(id, "", "", None)[:32],
        "worker": "1@bench",
    }
    ended = {"output": {"exit_code": 0, "stdout": f"12 {id}.txt"}, "finished_at": now}
    return [
        AttemptRecord(**begun, status=StepStatus.RUNNING, as_of=now),
        EventRecord(**place, kind="step_started", at=now),
        AttemptRecord(**begun, **ended, status=StepStatus.COMPLETED, as_of=datetime.now(UTC)),
        EventRecord(**place, kind="step_completed", at=now, payload={"success": True}),
    ]


# --- all of it ------------------------------------------------------------------------------------


def measure(options: Any) -> dict[str, Any]:
    """Returns the results of the parts that are wanted."""
    begun = reporting.machine()
    repeats, rows = (5, 2_000) if options.quick else (REPEATS, options.rows)
    found: dict[str, Any] = {}
    if "questions" in options.part:
        found["databases"] = [
            one for kind in options.database if (one := _if_there(measure_database, kind, rows, repeats))
        ]
    if "backfill" in options.part:
        files, executions = (100, 5) if options.quick else (5_000, 400)
        found["backfill"] = [
            one for kind in options.database if (one := _if_there(measure_backfill, kind, files, executions))
        ]
    if "engine" in options.part:
        rounds = 1 if options.quick else options.rounds
        found["recording"] = asyncio.run(recording_cost.measure(rounds, quick=options.quick))
    return {"machine": begun | {"load_after": reporting.machine()["load"]}, **found}


def measure_backfill(kind: str, files: int, executions: int) -> dict[str, Any]:
    """Returns the rates of backfill into empty stores."""
    with database(kind) as url:
        found = bringing_back.from_files(url, files)
    with database(kind) as url:
        temporal = asyncio.run(bringing_back.from_temporal(url, executions))
    return {"database": kind, "files": found, "temporal": temporal}


def _if_there(act: Callable[..., dict[str, Any]], kind: str, *given: Any) -> dict[str, Any] | None:
    try:
        return act(kind, *given)
    except Missing as missing:
        reporting.say(f"{kind} is left out: {missing}")
        return None


def show(results: dict[str, Any]) -> None:
    """Prints the tables."""
    print(f"machine: {results['machine']}")
    for one in results.get("databases", ()):
        print(
            f"\n{one['database']} {one['version']}: {one['attempts']:,} attempts in"
            f" {one['megabytes']:,.0f} MB, written in {one['fill_seconds']:,.0f} s"
        )
        reporting.table("Questions", [_question_row(row) for row in one["questions"]])
        for title, key in (
            ("Writes into an empty store", "writes_empty"),
            ("Writes into that store", "writes"),
        ):
            reporting.table(f"{title}, ms per step", one[key])

    for one in results.get("backfill", ()):
        reporting.table(f"backfill into {one['database']}", one["files"])
        reporting.table("from Temporal, 3 × 3 steps", [one["temporal"]])
    recording = results.get("recording", ())
    reporting.table("The engine with its recorder and without", [_recording_row(row) for row in recording])


def _recording_row(row: dict[str, Any]) -> dict[str, Any]:
    ratio = row["ratio"]
    spread = f"{ratio['least']:.2f}-{ratio['most']:.2f}"
    return {**row, "ratio": float(ratio["median"]), "range": spread}


def _question_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        **{key: row[key] for key in ("question", "p50_ms", "p95_ms", "target_ms", "rows")},
        "by": ", ".join(row["indexes"]),
    }


def main() -> None:
    parser = reporting.arguments(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="attempts in the store")
    parser.add_argument("--database", nargs="+", choices=DATABASES, default=DATABASES)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of rounds with the recorder and without")
    options = parser.parse_args()
    reporting.give(measure(options), options, show)


if __name__ == "__main__":
    main()
