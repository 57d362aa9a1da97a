"""Messages travel without their defaults, and arrive whole."""

from __future__ import annotations

import json

from temporalio.contrib.pydantic import pydantic_data_converter

from taskmark.contracts import Limits, PhaseStart, StepCall
from taskmark.task.model import Phase, Step
from workflows import travelling

_payloads = pydantic_data_converter.payload_converter


def test_a_call_arrives_as_it_was_sent_and_takes_less() -> None:
    call = StepCall(
        execution_id="exec-1",
        task_id="task",
        trace_id="0" * 32,
        phase="part",
        step="one",
        kind="tool",
        name="shell",
        arguments={"text": None, "list": [], "words": "ä\u2028\x00"},
        idempotency_key="key",
        timeout=600,
    )
    payload = travelling.compact(call).payload

    assert _payloads.from_payload(payload, StepCall) == call
    assert len(payload.data) < len(call.model_dump_json())


def test_what_a_phase_is_given_arrives_as_it_was_sent_with_every_limit_written() -> None:
    phase = Phase(name="Part", slug="part", steps=(Step(id="one", kind="tool", value="shell"),))
    start = PhaseStart(execution_id="exec-1", task_id="task", trace_id="0" * 32, phase=phase)
    payload = travelling.with_limits(start).payload

    assert _payloads.from_payload(payload, PhaseStart) == start
    assert json.loads(payload.data)["limits"].keys() == Limits.model_fields.keys()


def test_a_phase_that_read_the_definition_when_defaults_were_written_reads_it_still() -> None:
    start = PhaseStart(execution_id="exec-1", task_id="task", trace_id="0" * 32, limits=Limits(heartbeat=1))

    assert _payloads.from_payload(_payloads.to_payload(start), PhaseStart) == start
