"""Records are scrubbed before anything keeps them: nothing of what was in them is on the disk."""

from __future__ import annotations

import io
import logging
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from taskmark.contracts import ExecutionStatus, StepStatus
from taskmark.errors import Failure
from taskmark.privacy.detectors import BUILT_IN
from taskmark.privacy.logs import ScrubbingFormatter, scrub_logs
from taskmark.privacy.recording import STRUCTURAL, ScrubbingRecorder, scrubbed
from taskmark.privacy.scrubbing import Scrubber
from taskmark.records import (
    AttemptRecord,
    DefinitionRecord,
    EventRecord,
    ExecutionRecord,
    PhaseRecord,
    Record,
)
from taskmark.secrets.masks import Masks
from taskmark.store.memory import MemoryRecorder
from taskmark.store.schema import open_store
from taskmark.store.spool import SpoolRecorder

EVERY = Scrubber(list(BUILT_IN.values()))
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
MARKERS = (
    "marker@example.com",
    "198.51.100.77",
    "2001:db8:77::5",
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    "+49 30 77712345",
    "4111 1111 1111 1111",
    "ghp_0123456789abcdefABCDEF0123456789abcd",
    "hunter2-marker",
)
TEXT = "of {} by {} from {} as {} at {} with {} and {}, password={}".format(*MARKERS)
FREE = {"definition", "inputs", "outputs", "input", "output", "payload", "message", "hint", "stack"} | {
    *("description", "error", "files")
}
NAME = "exec-1763712000000-example"
FAILURE = Failure(type="step_failed", message=TEXT, hint=TEXT, stack=f"Traceback\n{TEXT}", step="count")
RECORDS: tuple[Record, ...] = (
    DefinitionRecord(sha256="a" * 64, task_id="example", name="Example", definition={"prose": [TEXT]}),
    ExecutionRecord(
        execution_id=NAME,
        status=ExecutionStatus.FAILED,
        inputs={"to": TEXT, MARKERS[0]: {"password": MARKERS[7]}},
        outputs={"n": 4111111111111111},
        error=FAILURE,
        finished_at=NOW,
    ),
    PhaseRecord(execution_id=NAME, phase="measure", status=StepStatus.FAILED, error=FAILURE, finished_at=NOW),
    AttemptRecord(
        execution_id=NAME,
        phase="measure",
        step="count",
        status=StepStatus.FAILED,
        description=TEXT,
        input={"headers": {"Authorization": f"Bearer {MARKERS[7]}"}},
        output=[TEXT, {"deep": TEXT}],
        error=FAILURE,
        files=(f"reports/{MARKERS[0]}.csv",),
        idempotency_key="b" * 64,
        finished_at=NOW,
    ),
    EventRecord(execution_id=NAME, kind="log", at=NOW, payload={"message": TEXT}),
)


def text_fields(model: type[BaseModel]) -> Iterator[str]:
    """Yields the fields that hold text or JSON."""
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        if not {datetime, int, float, bool, ExecutionStatus, StepStatus} & set(kinds):
            yield name


@pytest.mark.parametrize("model", [*map(type, RECORDS), Failure])
def test_every_field_is_known_as_structure_or_as_text(model: type[BaseModel]) -> None:
    """A new field is scrubbed until somebody decides that it is structure: this asks for the decision."""
    assert set(text_fields(model)) - STRUCTURAL - FREE == set()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.type)
def test_a_record_keeps_its_structure_and_loses_what_is_personal(record: Record) -> None:
    clean = scrubbed(record, EVERY)
    left = clean.model_dump_json()
    assert [marker for marker in (*MARKERS, "4111111111111111") if marker in left] == []
    kept = {name: value for name, value in record if name in STRUCTURAL}
    assert {name: value for name, value in clean if name in STRUCTURAL} == kept
    assert type(clean).model_validate_json(left) == clean
    assert scrubbed(clean, EVERY) == clean


def test_a_live_and_a_later_record_are_scrubbed_to_the_same() -> None:
    """So merging them leaves one value, whichever came first."""
    live = AttemptRecord(
        execution_id=f"{NAME}/measure/child",
        phase="p",
        step="s",
        status=StepStatus.COMPLETED,
        output=f"{TEXT} {NAME}",
        finished_at=NOW,
        trace_id="c" * 32,
    )
    later = live.model_copy(update={"provenance": "backfilled"})
    outputs = set()
    for order in ((live, later), (later, live)):
        memory = MemoryRecorder()
        ScrubbingRecorder(memory, EVERY).record(*order)
        outputs |= {attempt.output for attempt in memory.attempts(live.execution_id)}
    assert len(outputs) == 1
    assert NAME in outputs.pop()


def test_a_recorder_never_raises_for_what_it_cannot_scrub() -> None:
    """What is too deep to be looked at is not kept."""
    deep: Any = TEXT
    for _ in range(100_000):
        deep = [deep]
    memory = MemoryRecorder()
    record = AttemptRecord.model_construct(
        execution_id=NAME, phase="p", step="s", item=None, attempt=1, status=StepStatus.RUNNING, as_of=NOW,
        provenance="live", output=deep, input={"x": object()},
    )  # fmt: skip
    clean = scrubbed(record, EVERY)
    ScrubbingRecorder(memory, EVERY).record()
    assert clean.output == "[not scrubbed: a detector failed]"
    assert isinstance(clean.input["x"], str)


def test_nothing_of_it_is_in_the_store_nor_in_the_spool(tmp_path: Path) -> None:
    """Every byte of every file is looked at, while the store is away and after it took the records."""
    url = f"sqlite:///{tmp_path / 'history.db'}"
    down = True

    def opened() -> Any:
        if down:
            raise OSError("the store is away")
        return open_store(url)

    spool = SpoolRecorder(tmp_path / "spool", opened, gather=0.0)
    ScrubbingRecorder(spool, EVERY).record(*RECORDS)
    waiting = bytes_below(tmp_path)
    assert b"[email]" in waiting
    assert found_in(waiting) == []
    down = False
    assert spool.flush(20)
    spool.close(5)
    with sqlite3.connect(tmp_path / "history.db") as database:
        assert "[email]" in database.execute("SELECT payload FROM events").fetchone()[0]
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert found_in(bytes_below(tmp_path)) == []


def test_what_is_set_aside_is_scrubbed_too(tmp_path: Path) -> None:
    """The quarantine holds the record that could not be written, as it was scrubbed."""
    spool = SpoolRecorder(tmp_path / "spool", partial(open_store, f"sqlite:///{tmp_path / 'history.db'}"))
    huge = RECORDS[3].model_copy(update={"tokens": 2**70})
    ScrubbingRecorder(spool, EVERY).record(huge)
    assert spool.flush(20)
    spool.close(5)
    assert spool.rejected == 1
    assert found_in(bytes_below(tmp_path)) == []


def bytes_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def found_in(content: bytes) -> list[str]:
    return [marker for marker in MARKERS if marker.encode() in content]


# --- logs -----------------------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger as ours are, and what it writes."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    form = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
    handler.setFormatter(ScrubbingFormatter(form, lambda: EVERY))
    logger = logging.getLogger("taskmark.scrubbed")
    logger.addHandler(handler)
    logging.getLogger().addHandler(handler)
    logger.propagate = False
    yield logger, written
    logger.removeHandler(handler)
    logging.getLogger().removeHandler(handler)


def test_log_lines_are_scrubbed_with_their_tracebacks(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    try:
        raise ValueError(TEXT)
    except ValueError:
        logger.exception("%s failed: %s", NAME, {"password": MARKERS[7]})
    line = written.getvalue()
    assert found_in(line.encode()) == []
    assert NAME in line
    assert "ValueError: of [email]" in line
    assert logging.Formatter().formatTime(logging.makeLogRecord({"created": 0.0}))[:2] == "19"
    assert line.split(" ERROR ")[0][:2] == "20", "the time is told"


def test_logs_take_over_the_detectors_of_plugins(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    scrub_logs(Scrubber(()), str)
    logger.warning("as it is: %s", MARKERS[0])
    assert MARKERS[0] in written.getvalue()


def test_logs_and_records_hold_no_secret_though_nothing_else_is_scrubbed(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, written = log
    masks, recorder = Masks(), MemoryRecorder()
    masks.add("planted-secret", "TOKEN")
    scrub_logs(Scrubber(()), masks.text)
    try:
        raise ValueError("it is planted-secret")
    except ValueError:
        logger.exception("failed with %s", "planted-secret")
    told = AttemptRecord(
        execution_id="exec-1",
        phase="p",
        step="s",
        attempt=1,
        status=StepStatus.COMPLETED,
        output="a planted-secret",
    )
    ScrubbingRecorder(recorder, Scrubber(()), masks).record(told)
    assert "planted-secret" not in written.getvalue(), "nor in the line of code that the traceback shows"
    assert written.getvalue().count("[secret TOKEN]") >= 3
    assert [attempt.output for attempt in recorder.attempts("exec-1")] == ["a [secret TOKEN]"]
