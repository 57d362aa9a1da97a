"""From the final state of an execution to what the store must say."""

from datetime import UTC, datetime, timedelta

import pytest

from taskmark.contracts import ExecutionStatus, FinalRecord, PhaseOutcome, StepOutcome, StepStatus, TaskResult
from taskmark.errors import Failure
from taskmark.projection import ended_event, records_of
from taskmark.records import AttemptRecord, EventRecord, ExecutionRecord, PhaseRecord

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(seconds=9)
ERROR = Failure(type="step_failed", message="out of luck")


def final(status="completed", phases=None, steps=None, error=None, **fields):
    result = TaskResult(
        execution_id="e",
        status=ExecutionStatus(status),
        outputs={"o": 1},
        phases=phases or {},
        steps=steps or {},
        error=error,
        started_at=START,
        finished_at=END,
        trace_id="t",
    )
    return FinalRecord(result=result, task_id="id", task_name="Name", inputs={"i": 2}, **fields)


def of_type(kind, records):
    return [record for record in records if isinstance(record, kind)]


def test_an_execution_is_told_with_all_that_is_known_of_it():
    fields = {
        "definition_sha256": "d",
        "source_path": "p",
        "version": "v",
        "project": "x",
        "build_id": "b",
        "parent_id": "m",
        "cause": "schedule",
        "assigned_agent": "a",
        "retry_of": "r",
    }
    (record,) = of_type(ExecutionRecord, records_of(final("failed", error=ERROR, **fields)))
    told = record.model_dump()
    assert (told["status"], told["outputs"], told["inputs"]) == ("failed", {"o": 1}, {"i": 2})
    assert (told["error"]["message"], told["trace_id"]) == ("out of luck", "t")
    assert (told["started_at"], told["finished_at"]) == (START, END)
    assert (told["task_id"], told["task_name"], told["task_version"]) == ("id", "Name", "v")
    assert all(told[name] == value for name, value in fields.items() if name != "version")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("completed", "execution_completed"),
        ("completed_with_errors", "execution_completed"),
        ("failed", "execution_failed"),
        ("timed_out", "execution_timed_out"),
        ("cancelled", "execution_cancelled"),
    ],
)
def test_its_last_event_tells_how_it_ended(status, kind):
    events = of_type(EventRecord, records_of(final(status, error=ERROR)))
    assert [event.kind for event in events] == ["execution_started", kind]
    retry = {"will_retry": False} if status in ("failed", "timed_out") else {}
    told = {"status": status, "success": status.startswith("completed"), **retry}
    assert events[-1].payload == {**told, "error": "out of luck", "output": '{"o": 1}'}
    assert (events[0].at, events[-1].at) == (START, END)
    assert ended_event("e", ExecutionStatus(status), None, END).payload == told


def test_inputs_too_large_for_the_final_record_stay_as_they_were_told_at_the_start():
    large = final().model_copy(update={"inputs": {}})
    (row,) = of_type(ExecutionRecord, records_of(large))
    assert row.inputs is None


def test_a_phase_is_told_with_its_events():
    phases = {
        "ran": PhaseOutcome(
            status=StepStatus.FAILED, name="Ran", attempts=2, error=ERROR, started_at=START, finished_at=END
        ),
        "off": PhaseOutcome(status=StepStatus.SKIPPED, name="Off", finished_at=END),
        "never": PhaseOutcome(status=StepStatus.PENDING),
    }
    records = records_of(final("failed", phases=phases))
    told = {record.phase: record for record in of_type(PhaseRecord, records)}
    assert (told["ran"].name, told["ran"].attempt, told["ran"].error.message) == ("Ran", 2, "out of luck")
    assert (told["off"].attempt, told["off"].status) == (1, "skipped")
    events = [(event.kind, event.phase) for event in of_type(EventRecord, records)[1:-1]]
    assert events == [("phase_started", "ran"), ("phase_failed", "ran"), ("phase_skipped", "off")]
    failed = of_type(EventRecord, records)[2]
    assert failed.payload == {"success": False, "error": "out of luck", "will_retry": False}


def test_a_step_is_told_as_its_last_attempt():
    step = StepOutcome(status=StepStatus.COMPLETED, output=7, attempts=3, kind="tool", name="Do", phase="p")
    (record,) = of_type(AttemptRecord, records_of(final(steps={"s": step})))
    assert (record.step, record.phase, record.attempt, record.kind) == ("s", "p", 3, "tool")
    assert (record.status, record.output, record.description) == ("completed", 7, None)


def test_a_step_that_was_never_told_to_have_ended_was_cancelled():
    step = StepOutcome(status=StepStatus.RUNNING, attempts=1)
    assert of_type(AttemptRecord, records_of(final(steps={"s": step})))[0].status == "cancelled"


def test_what_began_has_told_of_itself_and_is_only_filled_in():
    """A record of somebody who was there must not be replaced by this summary."""
    steps = {
        "ran": StepOutcome(status=StepStatus.COMPLETED, attempts=1, kind="tool", name="x"),
        "off": StepOutcome(status=StepStatus.SKIPPED, kind="tool", name="x"),
    }
    told = {
        record.step: record.provenance for record in of_type(AttemptRecord, records_of(final(steps=steps)))
    }
    assert told == {"ran": "backfilled", "off": "live"}


def test_a_step_of_a_very_large_result_leaves_what_is_known_of_it():
    """There it has no kind and no name: absent fields are not to be written over those in the store."""
    brief = StepOutcome(status=StepStatus.COMPLETED, attempts=1, phase="p")
    (record,) = of_type(AttemptRecord, records_of(final(steps={"s": brief})))
    assert (record.kind, record.description) == (None, None)
    assert brief.model_dump(mode="json") == {"status": "completed", "attempts": 1, "phase": "p"}
    assert StepOutcome.model_validate(brief.model_dump(mode="json")) == brief


def test_what_is_rebuilt_from_history_says_so():
    phases = {"p": PhaseOutcome(status=StepStatus.SKIPPED)}
    records = records_of(
        final(phases=phases, steps={"s": StepOutcome(status=StepStatus.SKIPPED)}), "backfilled"
    )
    rows = of_type((AttemptRecord, PhaseRecord, ExecutionRecord), records)
    assert [row.provenance for row in rows] == ["backfilled"] * 3
