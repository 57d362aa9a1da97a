"""What ended long ago goes, with all that belongs to it; what runs, or may be needed, stays."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from store_records import attempt, event, execution, rows

from taskmark.contracts import artifact_reference
from taskmark.records import DefinitionRecord, PhaseRecord, Record
from taskmark.retention import ages
from taskmark.store.artifacts import DatabaseArtifacts, FileArtifacts, KeptArtifacts
from taskmark.store.checking import check
from taskmark.store.cleaning import clean
from taskmark.store.engine import writing
from taskmark.store.writing import apply

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def whole(id: str, status: str, days: float, output: object = "words", **fields: object) -> list[Record]:
    """An execution with a row of each kind, which ended so many days ago."""
    began, ended = ago(days + 0.01), ago(days)
    final = execution(id, status).status.is_final
    times = {"started_at": began, "as_of": ended} | ({"finished_at": ended} if final else {})
    sha256 = str(fields.pop("sha256", "ab" * 32))
    return [
        DefinitionRecord(sha256=sha256, task_id="demo", name="Demo", definition={}),
        execution(id, status, task_id="demo", definition_sha256=sha256, **times),
        PhaseRecord(execution_id=id, phase="measure", status="completed", as_of=ended),
        attempt(
            "a", "completed", execution_id=id, output=output, tokens=5, kind="tool", name="shell", **times
        ),
        attempt("b", "failed", execution_id=id, input={"n": 1}, **times),
        event(id=id),
    ]


@pytest.fixture(params=["files", "database"])
def artifacts(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> KeptArtifacts:
    return FileArtifacts(tmp_path / "artifacts") if request.param == "files" else DatabaseArtifacts(engine)


@pytest.fixture
def nothing(tmp_path: Path) -> KeptArtifacts:
    return FileArtifacts(tmp_path / "none")


def saved(artifacts: KeptArtifacts, content: bytes, days: float, engine: Engine) -> str:
    """Saves an artifact so many days ago."""
    name = artifacts.save(content)
    if isinstance(artifacts, FileArtifacts):
        os.utime(artifacts._path(name), (ago(days).timestamp(),) * 2)
    else:
        with writing(engine) as connection:
            change = text("UPDATE artifacts SET kept_at = :at WHERE sha256 = :name")
            moment = ago(days) if engine.dialect.name == "postgresql" else f"{ago(days):%Y-%m-%d %H:%M:%S.%f}"
            connection.execute(change, {"at": moment, "name": name})
    return name


def names(artifacts: KeptArtifacts) -> set[str]:
    return {name for name, _ in artifacts.kept()}


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        (["30d"], {"completed": 1, "failed": 1, "cancelled": 1}),
        (["30d", "failed=90d"], {"completed": 1, "cancelled": 1}),
        (["off", "failed=30d"], {"failed": 1}),
        (["failed = 1 week"], {"failed": 1}),
        (["30d", "cancelled=off"], {"completed": 1, "failed": 1}),
        (["off"], {}),
    ],
)
def test_each_status_has_its_own_age(
    words: list[str], gone: dict[str, int], engine: Engine, nothing: KeptArtifacts
) -> None:
    for status in ("completed", "failed", "cancelled"):
        apply(engine, whole(f"old-{status}", status, 31))
        apply(engine, whole(f"new-{status}", status, 3))
    done = clean(engine, nothing, ages(words), now=NOW)

    assert +done.executions == gone
    left = {row[1] for row in rows(engine)["executions"]}
    assert len(left) == 6 - len(gone)


@pytest.mark.parametrize("word", ["running=3d", "soon", "failed=soon", "lost=3d"])
def test_an_age_that_means_nothing_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=word.rpartition("=")[2] if "soon" in word else "no status"):
        ages([word])


def test_what_is_left_is_as_if_the_rest_had_never_been(
    engine: Engine, open_engine: Callable[[], Engine], nothing: KeptArtifacts
) -> None:
    apply(engine, whole("new", "completed", 3))
    alone = rows(engine)
    for number in range(45):
        apply(engine, whole(f"old-{number}", "completed", 40, sha256=f"{number:064}"))
    clean(engine, nothing, ages(["30d"]), now=NOW)

    assert rows(engine) == alone
    assert [one.name for one in check(engine, nothing) if one.count] == []


def test_what_has_not_ended_stays_however_old(engine: Engine, nothing: KeptArtifacts) -> None:
    for status in ("pending", "running", "pausing", "paused", "waiting"):
        apply(engine, whole(f"exec-{status}", status, 400))
    before = rows(engine)
    clean(engine, nothing, ages(["0s"]), now=NOW)

    assert rows(engine) == before


def test_a_dry_run_says_the_same_and_changes_nothing(engine: Engine, artifacts: KeptArtifacts) -> None:
    name = saved(artifacts, b"large", 40, engine)
    apply(engine, whole("old", "completed", 40, artifact_reference(name, 5)))
    before = rows(engine)

    said = clean(engine, artifacts, ages(["30d"]), now=NOW, dry_run=True)
    assert rows(engine) == before
    assert said == clean(engine, artifacts, ages(["30d"]), now=NOW)
    assert (said.executions["completed"], said.artifacts) == (1, 1)


def test_artifacts_go_with_the_last_execution_that_refers_to_them(
    engine: Engine, artifacts: KeptArtifacts
) -> None:
    own, shared, fresh = (saved(artifacts, text, 40, engine) for text in (b"own", b"shared", b"fresh"))
    artifacts.save(b"fresh")
    told = [artifact_reference(one, 3) for one in (own, shared)]
    apply(engine, whole("old", "completed", 40, told))
    apply(engine, whole("new", "completed", 3, told[1]))

    assert clean(engine, artifacts, ages(["30d"]), now=NOW).artifacts == 1
    assert names(artifacts) == {shared, fresh}
    assert clean(engine, artifacts, ages(["1d"]), now=NOW).artifacts == 1
    assert names(artifacts) == {fresh}


def test_what_a_running_execution_may_need_stays_though_no_row_tells_of_it(
    engine: Engine, artifacts: KeptArtifacts
) -> None:
    """It may have it in Temporal's history only."""
    before, since = saved(artifacts, b"before", 60, engine), saved(artifacts, b"since", 20, engine)
    apply(engine, whole("exec-paused", "paused", 50))
    done = clean(engine, artifacts, ages(["1d"]), now=NOW)

    assert (names(artifacts), done.artifacts, done.held_by) == ({since}, 1, "exec-paused")
    assert before not in names(artifacts)


def test_an_artifact_saved_again_is_new(engine: Engine, artifacts: KeptArtifacts) -> None:
    """Somebody who runs now refers to it, though it was there long before."""
    name = saved(artifacts, b"the same", 40, engine)
    artifacts.save(b"the same")

    assert artifacts.remove([name], NOW if datetime.now(UTC) > NOW else ago(1)) == 0
    assert artifacts.load(name) == b"the same"


def test_several_at_once_while_others_write_leave_true_sums(
    open_engine: Callable[[], Engine], nothing: KeptArtifacts
) -> None:
    engine = open_engine()
    for number in range(60):
        apply(engine, whole(f"old-{number}", "completed", 40))
    others = [threading.Thread(target=clean, args=(open_engine(), nothing, ages(["30d"]))) for _ in range(2)]
    writers = [open_engine() for _ in range(2)]
    for one in others:
        one.start()
    for number in range(30):
        apply(writers[number % 2], whole(f"new-{number}", "completed", -400))
    for one in others:
        one.join()

    assert [one.name for one in check(engine, nothing) if one.count] == []
    assert len(rows(engine)["executions"]) == 30


def test_it_ends_between_two_transactions_when_told_to(engine: Engine, nothing: KeptArtifacts) -> None:
    apply(engine, whole("old", "completed", 40))
    stop = threading.Event()
    stop.set()
    assert clean(engine, nothing, ages(["30d"]), now=NOW, stop=stop).executions.total() == 0
