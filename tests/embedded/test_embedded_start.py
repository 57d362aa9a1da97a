"""What a start chooses, and what it says when it cannot work."""

import os
import socket
import sqlite3
import stat
from pathlib import Path

import pytest

from starter.embedded import command, ports, supervise
from starter.embedded.server import EmbeddedServer
from taskmark.contracts import SEARCH_ATTRIBUTES
from taskmark.errors import InvalidSettings, Unreachable
from taskmark.settings import Settings


@pytest.fixture
def taken() -> int:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize("field", ["port", "ui_port"])
def test_a_taken_port_that_was_asked_for_is_an_error_with_a_fix(
    settings: Settings, taken: int, field: str
) -> None:
    with pytest.raises(InvalidSettings, match=f"TASKMARK_{field.upper()} is {taken}") as caught:
        EmbeddedServer(settings.model_copy(update={field: taken})).__enter__()
    assert "leave it out" in str(caught.value.hint)


def test_a_port_that_was_asked_for_is_used(settings: Settings) -> None:
    wanted = ports.any_free()
    with EmbeddedServer(settings.model_copy(update={"port": wanted})) as server:
        assert server.address == f"127.0.0.1:{wanted}"


def test_without_a_wish_a_taken_port_is_avoided(settings: Settings, taken: int) -> None:
    chosen = ports.choose(settings, previous=taken)
    assert chosen.grpc != taken
    assert ports.is_free(chosen.grpc)


def test_the_port_of_the_server_before_is_preferred(settings: Settings) -> None:
    free = ports.any_free()
    assert ports.choose(settings, previous=free).grpc == free


def test_the_port_of_a_server_in_use_is_chosen_by_nobody_else_even_while_it_is_down(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its users ask there until it is back, and must not find another project's server."""
    monkeypatch.setattr(ports, "GRPC_PORT", ports.any_free())
    with EmbeddedServer(settings) as server:
        used = int(server.address.rpartition(":")[2])
        assert used == ports.GRPC_PORT
        monkeypatch.setattr(ports, "is_free", lambda port: True)  # as in the moment after it was killed
        assert ports.choose(settings, previous=None).grpc != used
        assert ports.choose(settings, previous=used).grpc == used  # its own project takes it again
    assert not ports.is_reserved(used)


def test_without_a_place_of_our_own_nothing_is_reserved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that somebody else laid there is not followed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"taskmark-ports-{os.getuid()}").symlink_to(tmp_path)
    assert ports.reserve(7233) is None
    assert not ports.is_reserved(7233)


def test_the_command_has_the_measured_tuning_and_all_search_attributes(settings: Settings) -> None:
    full = settings.model_copy(update={"durability": "full"})
    line = command.command(Path("temporal"), full, command.Ports(grpc=1, ui=2, http=3))
    assert "--sqlite-pragma=journal_mode=wal" in line
    assert "--sqlite-pragma=synchronous=full" in line
    assert "--dynamic-config-value=matching.numTaskqueueReadPartitions=1" in line
    assert [item for item in line if "Keyword" in item] == [
        f"--search-attribute={name}=Keyword" for name in SEARCH_ATTRIBUTES
    ]


def test_the_database_is_in_write_ahead_mode(settings: Settings) -> None:
    with EmbeddedServer(settings), sqlite3.connect(settings.state_dir / "temporal.db") as database:
        assert database.execute("pragma journal_mode").fetchone() == ("wal",)


def test_the_state_directory_is_private_and_ignored_by_git(settings: Settings) -> None:
    with EmbeddedServer(settings):
        assert stat.S_IMODE(settings.state_dir.stat().st_mode) == 0o700
        assert (settings.state_dir / ".gitignore").read_text() == "*\n"


def test_a_state_directory_that_cannot_be_made_is_an_error_with_a_fix(settings: Settings) -> None:
    settings.state_dir.write_text("a file is in the way")
    with pytest.raises(InvalidSettings, match="cannot be written") as caught:
        EmbeddedServer(settings).__enter__()
    assert "TASKMARK_STATE_DIR" in str(caught.value.hint)


def test_a_server_that_ends_at_once_is_an_error_with_its_last_words(settings: Settings) -> None:
    settings.state_dir.mkdir()
    (settings.state_dir / "temporal.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(Unreachable, match="file is not a database") as caught:
        EmbeddedServer(settings).__enter__()
    assert "move it away" in str(caught.value.hint)


def test_a_damaged_state_file_is_no_obstacle(settings: Settings) -> None:
    settings.state_dir.mkdir()
    (settings.state_dir / supervise.STATE_FILE).write_text('{"address":')
    with EmbeddedServer(settings) as server:
        assert server.version.startswith("1.")


def test_a_recorded_process_that_is_something_else_by_now_is_left_alone(settings: Settings) -> None:
    settings.state_dir.mkdir()
    (settings.state_dir / supervise.STATE_FILE).write_text(
        f'{{"address": "127.0.0.1:{ports.any_free()}", "ui": "", "health": "", "pid": {os.getpid()},'
        ' "supervisor": 1, "version": "1", "ready": true}'
    )
    with EmbeddedServer(settings) as server:
        assert server.is_last_user()


def test_a_log_that_grows_too_large_is_cut_and_the_full_one_kept(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_bytes(b"x" * (supervise.LOG_LIMIT + 1))
    supervise.bound_log(log)
    assert log.stat().st_size == 0
    assert (tmp_path / "server.log.1").stat().st_size == supervise.LOG_LIMIT + 1


def test_the_supervisor_needs_only_the_standard_library(settings: Settings) -> None:
    import subprocess
    import sys

    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); "
        "print([name for name in ('pydantic', 'temporalio', 'psutil', 'starter') if name in sys.modules])"
    )
    line = [sys.executable, "-I", "-S", "-c", code, supervise.__file__]
    assert subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip() == "[]"
