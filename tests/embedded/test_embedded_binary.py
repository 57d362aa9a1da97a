"""The `temporal` binary is found wherever it is, got if it is nowhere, and a failure names every way."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from embedded_users import eventually

from starter.embedded import binary
from starter.embedded.binary import Patience
from taskmark.errors import InvalidSettings, Unreachable
from taskmark.settings import Settings

VERSION = "temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)"


def script(path: Path, text: str) -> Path:
    """An executable that stands for a program which is not on this machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def temporal(path: Path, version: str = VERSION) -> Path:
    return script(path, f'echo "{version}"')


def forbidden(message: str) -> None:
    pytest.fail(f"nothing had to be got: {message}")


def ignored(_message: str) -> None:
    """Where messages go that do not matter."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any `temporal`, Go or cache."""
    for name in ("TEMPORAL_CLI_PATH", "GOBIN", "GOPATH", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(binary, "go_command", lambda: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine can reach, the SDK's download finds a proxy that does not exist."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def test_the_chosen_binary_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporal(home / "go/bin/temporal")
    monkeypatch.setenv("TEMPORAL_CLI_PATH", str(temporal(home / "mine")))
    found = binary.find(Settings(), Patience(forbidden))
    assert (found.path, found.server_version) == (home / "mine", "1.29.1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo hello", "not Temporal's command line: 'hello'"),
        ('echo "temporal version 1.1.0 (Server 1.25.0, UI 2.30.3)"', "its server is 1.25.0, but 1.29"),
    ],
)
def test_a_chosen_binary_that_cannot_be_used_is_an_error(
    home: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    monkeypatch.setenv("TEMPORAL_CLI_PATH", str(script(home / "mine", text)))
    with pytest.raises(InvalidSettings, match=reason):
        binary.find(Settings(), Patience(forbidden))


def test_a_chosen_binary_that_is_not_there_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_CLI_PATH", str(home / "nowhere"))
    with pytest.raises(InvalidSettings, match="No such file"):
        binary.find(Settings(), Patience(forbidden))


def test_a_binary_that_hangs_is_not_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "VERSION_SECONDS", 0.2)
    with pytest.raises(binary.Unusable, match="does not tell its version"):
        binary.check(script(home / "slow", "exec sleep 20"), "test")


@pytest.mark.parametrize(
    ("place", "variable", "value"),
    [
        ("bin/temporal", "PATH", "{home}/bin:/usr/bin:/bin"),
        (".cache/taskmark/temporal-v1.5.1", "HOME", "{home}"),
        ("cache/taskmark/temporal-v1.5.1", "XDG_CACHE_HOME", "{home}/cache"),
        ("gobin/temporal", "GOBIN", "{home}/gobin"),
        ("gopath/bin/temporal", "GOPATH", "{home}/gopath"),
        ("go/bin/temporal", "HOME", "{home}"),
    ],
)
def test_it_is_found_in_every_usual_place(
    home: Path, monkeypatch: pytest.MonkeyPatch, place: str, variable: str, value: str
) -> None:
    path = temporal(home / place)
    monkeypatch.setenv(variable, value.format(home=home))
    assert binary.find(Settings(), Patience(forbidden)).path == path


def test_an_old_one_is_passed_over(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporal(home / "bin/temporal", "temporal version 1.0.0 (Server 1.24.2, UI 2.28.0)")
    monkeypatch.setenv("PATH", f"{home}/bin:/usr/bin:/bin")
    good = temporal(home / "go/bin/temporal")
    found, obstacles = binary.look(Settings())
    assert found is not None
    assert found.path == good
    assert "1.24.2" in str(obstacles[0])


@pytest.mark.usefixtures("offline")
def test_when_nothing_works_each_way_is_named_with_its_reason_and_fix(home: Path) -> None:
    said: list[str] = []
    with pytest.raises(Unreachable) as caught:
        binary.find(Settings(), Patience(said.append))
    text = str(caught.value)
    assert "an installed binary: there is none" in text
    assert "the SDK's download: " in text
    assert "`go install`: Go is not installed (install Go" in text
    assert "TEMPORAL_ADDRESS" in str(caught.value.hint)
    assert said == ["Getting the Temporal server: trying the SDK's download."]


@pytest.mark.usefixtures("offline")
def test_without_a_download_it_is_built_once_and_kept_in_the_cache(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = temporal(home / "built")
    go = script(home / "go-command", f'[ "$1" = install ] && sleep 0.3 && cp {built} "$GOBIN/temporal"')
    monkeypatch.setattr(binary, "go_command", lambda: str(go))
    monkeypatch.setattr(binary, "HEARTBEAT_SECONDS", 0.1)
    said: list[str] = []
    found = binary.find(Settings(), Patience(said.append))
    assert found.path == home / ".cache/taskmark/temporal-v1.5.1"
    assert any("2 to 5 minutes" in line for line in said)
    assert any("still building" in line for line in said)
    assert sorted(path.name for path in found.path.parent.iterdir()) == ["temporal-v1.5.1", "temporal.lock"]
    assert binary.find(Settings(), Patience(forbidden)) == found


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo 'dial tcp: no such host' >&2; exit 1", "dial tcp: no such host (needs a Go module proxy"),
        ("exit 1", "it said nothing"),
        ("exec sleep 20", "not done within"),
    ],
)
def test_a_build_that_fails_says_why(
    home: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    monkeypatch.setattr(binary, "go_command", lambda: str(script(home / "go-command", text)))
    monkeypatch.setattr(binary, "BUILD_SECONDS", 0.3)
    with pytest.raises(Unreachable) as caught:
        binary.find(Settings(), Patience(ignored))
    assert reason in str(caught.value)


def test_a_download_that_does_not_answer_is_given_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "DOWNLOAD_SECONDS", 0.01)
    with pytest.raises(Unreachable, match="the SDK's download: no answer within"):
        binary.find(Settings(), Patience(ignored))


def test_what_the_sdk_downloads_goes_to_the_cache(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, _ = binary.look(settings)
    assert real is not None, "`make test` gets the binary first"
    folder = tmp_path / "downloads"
    folder.mkdir()
    # The SDK keeps what it downloaded under this name, and does not download it again.
    (folder / f"temporal-{binary.CLI_VERSION}").symlink_to(real.path)
    got = binary._download(folder, Patience(ignored))
    assert isinstance(got, Path)
    assert binary.check(got, "download").server_version == real.server_version


@pytest.mark.usefixtures("offline")
def test_who_comes_while_another_process_builds_waits_for_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = temporal(home / "built")
    go = script(home / "go-command", f'echo once >> {home}/runs; sleep 0.5; cp {built} "$GOBIN/temporal"')
    monkeypatch.setattr(binary, "go_command", lambda: str(go))
    said: list[str] = []
    threads = [threading.Thread(target=binary.find, args=[Settings(), Patience(said.append)]) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (home / "runs").read_text() == "once\n"
    assert "Another process is getting the Temporal server; waiting for it." in said


@pytest.mark.usefixtures("offline")
def test_a_build_is_ended_when_nobody_waits_any_more(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = script(home / "go-command", f"echo $$ > {home}/pid; exec sleep 60")
    monkeypatch.setattr(binary, "go_command", lambda: str(go))
    patience = Patience(ignored)
    waiting = threading.Thread(target=_expect_given_up, args=[patience])
    second = threading.Thread(target=_expect_given_up, args=[patience])
    waiting.start()
    assert eventually(lambda: (home / "pid").exists() and (home / "pid").read_text())
    second.start()
    patience.given_up.set()
    waiting.join(10)
    second.join(10)
    assert not psutil.pid_exists(int((home / "pid").read_text()))


def _expect_given_up(patience: Patience) -> None:
    with pytest.raises(binary.GivenUp):
        binary.find(Settings(), patience)


def test_a_cache_that_cannot_be_written_is_an_error_with_a_fix(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file"))
    with pytest.raises(InvalidSettings, match="cannot be written") as caught:
        binary.find(Settings(), Patience(ignored))
    assert "XDG_CACHE_HOME" in str(caught.value.hint)


def test_the_set_up_says_where_it_is_or_what_to_do(home: Path) -> None:
    environment = {**os.environ, "TEMPORAL_CLI_PATH": str(temporal(home / "mine"))}
    line = [sys.executable, "-m", "starter.embedded.binary"]
    good = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stderr) == (0, f"Temporal server 1.29.1: {home}/mine\n")
    environment["TEMPORAL_CLI_PATH"] = str(home / "nowhere")
    bad = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert "fix: Set TEMPORAL_CLI_PATH" in bad.stderr


def test_go_is_found_where_its_installer_puts_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(binary, "GO_FOLDERS", str(tmp_path / "go"))
    assert binary.go_command() is None
    go = script(tmp_path / "go" / "go", "true")
    assert binary.go_command() == str(go)
