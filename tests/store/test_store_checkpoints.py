"""Checkpoints in the store: the latest counts, parts are read as one, and they go with their execution."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from store_records import at, execution

from taskmark.contracts import artifact_reference
from taskmark.privacy.detectors import BUILT_IN
from taskmark.privacy.recording import scrubbed
from taskmark.privacy.scrubbing import chosen
from taskmark.records import CheckpointRecord
from taskmark.retention import ages
from taskmark.store.artifacts import DatabaseArtifacts
from taskmark.store.checking import check
from taskmark.store.checkpoints import KeptCheckpoints, as_old, listed, merged
from taskmark.store.cleaning import clean
from taskmark.store.engine import reading
from taskmark.store.lines import Chosen, exported, imported
from taskmark.store.references import references
from taskmark.store.tables import Checkpoints, table
from taskmark.store.writing import apply

ID = "exec-1-demo"


def checkpoint(phase: str = "measure", **fields: Any) -> CheckpointRecord:
    told = {"execution_id": ID, "phase": phase, "status": "completed", "at": at(5), **fields}
    return CheckpointRecord.model_validate(told)


def step(output: Any = 1, **fields: Any) -> dict[str, Any]:
    return {"status": "completed", "definition": "d" * 16, "output": output, **fields}


def test_of_a_phase_that_ran_again_the_later_checkpoint_counts(engine: Engine) -> None:
    early, late = checkpoint(steps={"a": step(1)}), checkpoint(at=at(9), steps={"a": step(2)})
    for order in ([early, late], [late, early], [late, late]):
        apply(engine, order)
        [found] = KeptCheckpoints(engine).of(ID)
        assert found == late


def test_parts_are_read_as_one_and_the_last_that_knows_a_step_counts(engine: Engine) -> None:
    first = checkpoint(part=0, status="running", steps={"a": step(1), "b": {"status": "running"}})
    last = checkpoint(part=1, label="here", at=at(7), steps={"a": {"status": "completed"}, "b": step(2)})
    apply(engine, [last, first, checkpoint("", status="running", at=at(0), inputs={"n": 1})])
    found = KeptCheckpoints(engine).of(ID)
    assert [record.phase for record in found] == ["", "measure", "measure"]
    assert {name: one["output"] for name, one in merged(found[1:]).items()} == {"a": 1, "b": 2}
    [shown] = listed(found)
    assert (shown.phase, shown.label, shown.steps, shown.completed) == ("measure", "here", 2, 2)
    assert as_old(found)["measure"].steps["b"].output == 2


@pytest.mark.semantics("K14")
def test_checkpoints_go_with_their_execution_and_keep_their_artifacts_until_then(engine: Engine) -> None:
    artifacts = DatabaseArtifacts(engine)
    name = artifacts.save(b"much")
    done = execution(ID, "completed", started_at=at(0), finished_at=at(9), as_of=at(9))
    apply(engine, [done, checkpoint(steps={"a": step(artifact_reference(name, 4))})])
    with reading(engine) as connection:
        assert list(references(connection)) == [(name, ID)]
    assert not [one for one in check(engine, artifacts) if one.count]
    clean(engine, artifacts, ages(["1s"]))
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(table(Checkpoints))).scalar() == 0


def test_one_without_an_execution_is_found_by_a_check(engine: Engine) -> None:
    apply(engine, [checkpoint()])
    found = [place for one in check(engine, DatabaseArtifacts(engine)) for place in one.wrong]
    assert found == [f"{ID}: checkpoints without an execution"]


def test_they_are_exported_and_imported(engine: Engine) -> None:
    apply(engine, [execution(ID, "completed", as_of=at(9)), checkpoint(steps={"a": step()})])
    lines = list(exported(engine, Chosen()))
    before = KeptCheckpoints(engine).of(ID)
    done = imported(engine, lines, lambda record: record, lambda *problem: pytest.fail(str(problem)))
    assert (done.records, done.broken) == (2, 0)
    assert KeptCheckpoints(engine).of(ID) == before


@pytest.mark.semantics("K14")
def test_what_is_personal_is_left_out_and_the_rest_is_as_it_was() -> None:
    scrubber = chosen(["all"], BUILT_IN)
    record = checkpoint(
        inputs={"to": "ann@example.com"},
        outputs={"n": 1},
        steps={"a": step({"to": "ann@example.com"}, items=["x"]), "b": step({"n": [1, "words"]})},
    )
    found = scrubbed(record, scrubber)
    assert isinstance(found, CheckpointRecord)
    assert (found.inputs, found.outputs, found.withheld) == (None, {"n": 1}, 2)
    assert found.steps["a"] == {"status": "completed", "definition": "d" * 16, "withheld": True}
    assert found.steps["b"] == record.steps["b"]
    again = scrubbed(found, scrubber)
    assert isinstance(again, CheckpointRecord)
    assert again.steps == found.steps
