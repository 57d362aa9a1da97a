"""What every recorder and every artifact store promises, the doubles as well as the real ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from store_records import EVERY_KIND, at, attempt, event, execution, phase

from taskmark.errors import UnknownExecution, Unreachable
from taskmark.ports import Artifacts, Recorder
from taskmark.store.artifacts import DatabaseArtifacts, FileArtifacts, LateArtifacts
from taskmark.store.engine import make_engine, writing
from taskmark.store.memory import MemoryArtifacts, MemoryRecorder
from taskmark.store.reading import History
from taskmark.store.schema import open_store
from taskmark.store.spool import SpoolRecorder

ID = "exec-1-demo"


# --- recorders ------------------------------------------------------------------------------------


@dataclass
class Recording:
    recorder: Recorder
    read: Callable[[], MemoryRecorder | History]
    """Returns what answers questions, once everything recorded so far can be read."""


@pytest.fixture
def opened(new_database: Callable[[str], str]) -> Iterator[Callable[[str], Engine]]:
    """Opens a new store of a kind."""
    with ExitStack() as stack:

        def open_one(kind: str) -> Engine:
            engine = open_store(new_database(kind))
            stack.callback(engine.dispose)
            return engine

        yield open_one


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def recording(
    request: pytest.FixtureRequest, opened: Callable[[str], Engine], tmp_path: Path
) -> Iterator[Recording]:
    if request.param == "memory":
        memory = MemoryRecorder()
        yield Recording(memory, lambda: memory)
        return
    engine = opened(request.param)
    history = History(engine)
    spool = SpoolRecorder(tmp_path / "spool", lambda: engine)

    def read() -> History:
        assert spool.flush(20)
        return history

    yield Recording(spool, read)
    spool.close(5)


def test_every_kind_of_record_can_be_read_again(recording: Recording) -> None:
    recording.recorder.record(*EVERY_KIND)
    found = recording.read()

    assert found.definition("ab" * 32) == EVERY_KIND[0]
    assert found.execution(ID).status == "completed"
    assert found.execution(ID).inputs == {"n": 1, "deep": {"list": [1, None, "ü"]}}
    assert [(one.phase, one.status, one.outputs) for one in found.phases(ID)] == [
        ("measure", "completed", {"lines": 1})
    ]
    assert {(one.item, one.status, one.cost) for one in found.attempts(ID)} == {
        (None, "completed", 0.25),
        (3, "failed", None),
    }
    assert [one.kind for one in found.events(ID)] == [
        "execution_started",
        "step_started",
        "step_started",
        "execution_completed",
    ]


def test_a_record_taken_twice_is_there_once(recording: Recording) -> None:
    for _ in range(2):
        recording.recorder.record(event(), phase(), attempt(), execution())
    found = recording.read()

    assert len(found.events(ID)) == len(found.phases(ID)) == len(found.attempts(ID)) == 1


def test_without_moments_what_is_recorded_later_is_later(recording: Recording) -> None:
    for status in ("running", "paused", "running", "waiting", "running"):
        recording.recorder.record(execution(status=status, started_at=at(0)))
    assert recording.read().execution(ID).status == "running"


def test_a_final_state_stays(recording: Recording) -> None:
    recording.recorder.record(execution(status="cancelled"))
    recording.recorder.record(execution(status="running"), execution(status="completed"))
    assert recording.read().execution(ID).status == "cancelled"


def test_threads_may_record_at_the_same_time(recording: Recording) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: recording.recorder.record(event(occurrence=number)), range(100)))
    assert {one.occurrence for one in recording.read().events(ID)} == set(range(100))


def test_what_was_never_recorded_is_unknown(recording: Recording) -> None:
    recording.recorder.record(execution("exec-2-other"))
    found = recording.read()

    with pytest.raises(UnknownExecution, match=ID):
        found.execution(ID)
    with pytest.raises(KeyError):
        found.definition("0" * 64)


# --- artifacts ------------------------------------------------------------------------------------


@dataclass
class ArtifactStore:
    artifacts: Artifacts
    damage: Callable[[str], None]
    """Changes what is kept under a name."""


def _damage_file(folder: Path, name: str) -> None:
    [path] = (path for path in folder.rglob("*") if path.parent.name + path.name == name)
    path.write_bytes(b"damaged")


def _damage_row(engine: Engine, name: str) -> None:
    with writing(engine) as connection:
        update = text("UPDATE artifacts SET content = :content WHERE sha256 = :name")
        connection.execute(update, {"content": b"damaged", "name": name})


@pytest.fixture(params=["memory", "files", "sqlite", "postgresql"])
def kept(request: pytest.FixtureRequest, opened: Callable[[str], Engine], tmp_path: Path) -> ArtifactStore:
    if request.param == "memory":
        memory = MemoryArtifacts()
        return ArtifactStore(memory, lambda name: memory._contents.update({name: b"damaged"}))
    if request.param == "files":
        folder = tmp_path / "artifacts"
        return ArtifactStore(FileArtifacts(folder), lambda name: _damage_file(folder, name))
    engine = opened(request.param)
    return ArtifactStore(DatabaseArtifacts(engine), lambda name: _damage_row(engine, name))


@pytest.mark.parametrize("content", [b"", b"text", bytes(range(256)) * 4096])
def test_content_comes_back_under_its_digest(kept: ArtifactStore, content: bytes) -> None:
    name = kept.artifacts.save(content)

    assert name == hashlib.sha256(content).hexdigest()
    assert kept.artifacts.load(name) == content


def test_saving_twice_changes_nothing(kept: ArtifactStore) -> None:
    assert kept.artifacts.save(b"text") == kept.artifacts.save(b"text")
    assert kept.artifacts.load(kept.artifacts.save(b"text")) == b"text"


def test_threads_may_save_the_same_at_the_same_time(kept: ArtifactStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(kept.artifacts.save, [b"text"] * 12))
    assert len(set(names)) == 1
    assert kept.artifacts.load(names[0]) == b"text"


@pytest.mark.parametrize(
    "name", ["0" * 64, "", "../../../etc/passwd", "0" * 63 + "\n", "0" * 63 + "/", "A" * 64, "\x00", "٣" * 64]
)
def test_what_is_not_there_is_a_key_error(kept: ArtifactStore, name: str) -> None:
    with pytest.raises(KeyError):
        kept.artifacts.load(name)


def test_damaged_content_is_never_given_and_can_be_saved_again(kept: ArtifactStore) -> None:
    name = kept.artifacts.save(b"text")
    kept.damage(name)

    with pytest.raises(KeyError):
        kept.artifacts.load(name)
    kept.artifacts.save(b"text")
    assert kept.artifacts.load(name) == b"text"


def test_files_are_spread_over_folders_and_leave_nothing_half_written(tmp_path: Path) -> None:
    name = FileArtifacts(tmp_path).save(b"text")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name[:2] / name[2:]]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"os.{call}", refuse)
    with pytest.raises(Unreachable, match="No space left on device"):
        FileArtifacts(tmp_path).save(b"text")

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_read_is_unreachable_and_not_empty(tmp_path: Path) -> None:
    name = hashlib.sha256(b"text").hexdigest()
    (tmp_path / name[:2] / name[2:]).mkdir(parents=True)

    with pytest.raises(Unreachable, match="Is a directory"):
        FileArtifacts(tmp_path).load(name)


def test_a_database_that_is_away_is_unreachable_and_not_empty() -> None:
    artifacts = DatabaseArtifacts(make_engine("postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(Unreachable):
        artifacts.load("0" * 64)
    with pytest.raises(Unreachable):
        artifacts.save(b"text")


def test_a_store_of_artifacts_is_opened_when_the_first_one_is_kept() -> None:
    """Until then, and after it failed, nothing depends on it."""
    found = MemoryArtifacts()
    tries: list[Exception | None] = [Unreachable("it is down"), None]

    def make() -> Artifacts:
        if (error := tries.pop(0)) is not None:
            raise error
        return found

    late = LateArtifacts(make)
    assert len(tries) == 2
    with pytest.raises(Unreachable):
        late.save(b"x")
    assert found.load(late.save(b"x")) == b"x"
