"""Finding the `temporal` binary, or getting it: the first of many ways that works.

In order: `TEMPORAL_CLI_PATH` (and nothing else if that is set), PATH, our own cache, Go's bin folders; then
the download that Temporal's SDK knows, if it answers; then `go install`, which builds it from source in two
to five minutes. What is got goes to the cache. If no way works, the error names each with its reason.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from starter.embedded.supervise import take
from taskmark.errors import InvalidSettings, Unreachable

if TYPE_CHECKING:
    from taskmark.settings import Settings

Report = Callable[[str], None]


@dataclass(frozen=True)
class Patience:
    """Who waits while a binary is got: told how it goes, and may give up."""

    report: Report
    given_up: threading.Event = field(default_factory=threading.Event)


class GivenUp(Exception):
    """Who waited does so no longer."""


CLI_VERSION = "v1.5.1"
MODULE = f"github.com/temporalio/cli/cmd/temporal@{CLI_VERSION}"
GO_FOLDERS = "/usr/local/go/bin:/opt/homebrew/bin"
"""Where Go's installers put it without changing PATH for everyone."""
OLDEST_SERVER = (1, 29)
VERSION_SECONDS = 20.0
DOWNLOAD_SECONDS = 90.0
BUILD_SECONDS = 1800.0
HEARTBEAT_SECONDS = 15.0
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Binary:
    """A `temporal` binary that runs and whose server is new enough."""

    path: Path
    server_version: str
    source: str
    """How it was found, in words."""


@dataclass(frozen=True)
class Obstacle:
    """Why one way did not lead to a binary, and what would make it."""

    way: str
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.way}: {self.reason} ({self.fix})"


class Unusable(Exception):
    """A file is not a `temporal` binary we can use; the text says why."""


def find(settings: Settings, patience: Patience) -> Binary:
    """Returns a binary, downloading or building it if there is none.

    Raises `InvalidSettings` if `TEMPORAL_CLI_PATH` names something unusable, `Unreachable` if no way works,
    `GivenUp` if nobody waits for it any more.
    """
    found, obstacles = look(settings)
    return found or _get(obstacles, patience)


def look(settings: Settings) -> tuple[Binary | None, list[Obstacle]]:
    """Returns the binary that is already on this machine, if any, and what was wrong with other places."""
    if settings.temporal_cli_path is not None:
        return _chosen(settings.temporal_cli_path), []
    obstacles: list[Obstacle] = []
    for source, path in _places(os.environ):
        try:
            return check(path, source), obstacles
        except Unusable as error:
            obstacles.append(Obstacle(f"{source} ({path})", str(error), "replace or remove it"))
    if not obstacles:
        fix = "put `temporal` on PATH or set TEMPORAL_CLI_PATH"
        obstacles.append(Obstacle("an installed binary", "there is none", fix))
    return None, obstacles


def check(path: Path, source: str) -> Binary:
    """Returns the binary at a path. Raises `Unusable` if it does not run or its server is too old."""
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise Unusable(f"it does not tell its version within {VERSION_SECONDS:.0f} s") from None
    except OSError as error:
        raise Unusable(f"it cannot be run: {error.strerror or error}") from error
    version = re.search(r"Server (\d+)\.(\d+)[\w.+-]*", done.stdout)
    if version is None:
        raise Unusable(f"it is not Temporal's command line: {(done.stdout + done.stderr)[:200].strip()!r}")
    if (int(version[1]), int(version[2])) < OLDEST_SERVER:
        raise Unusable(f"its server is {version[0].split()[1]}, but 1.29 or newer is needed")
    return Binary(path, version[0].split()[1], source)


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Returns the folder for what Taskmark got for itself, shared by all projects of this user."""
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "taskmark"


def go_command() -> str | None:
    """Returns the Go command: from PATH, or where its installer puts it."""
    return shutil.which("go") or shutil.which("go", path=GO_FOLDERS)


def _chosen(path: Path) -> Binary:
    try:
        return check(path, "TEMPORAL_CLI_PATH")
    except Unusable as error:
        raise InvalidSettings(
            f"TEMPORAL_CLI_PATH is {path}, but {error}.",
            hint="Set TEMPORAL_CLI_PATH to a `temporal` binary, or leave it out to have one found or built.",
        ) from error


def _places(environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    candidates = [
        ("PATH", shutil.which("temporal")),
        ("cache", _cached(environment)),
        ("GOBIN", environment.get("GOBIN") and Path(environment["GOBIN"], "temporal")),
        ("Go's bin folder", Path(environment.get("GOPATH") or Path.home() / "go", "bin", "temporal")),
    ]
    for source, path in candidates:
        if path and Path(path).is_file():
            yield source, Path(path)


def _cached(environment: Mapping[str, str]) -> Path:
    return cache_folder(environment) / f"temporal-{CLI_VERSION}"


def _get(obstacles: list[Obstacle], patience: Patience) -> Binary:
    """Downloads or builds the binary into the cache, once for all processes that want it now."""
    target = _cached(os.environ)
    ways: tuple[Callable[[Path, Patience], Path | Obstacle], ...] = (_download, _build)
    with _alone(target.parent, patience):
        with contextlib.suppress(Unusable):
            return check(target, "cache")
        for way in ways:
            with tempfile.TemporaryDirectory(prefix="getting-", dir=target.parent) as folder:
                got = way(Path(folder), patience)
                if isinstance(got, Path):
                    got.replace(target)
                    return check(target, "cache")
                obstacles.append(got)
    raise Unreachable(
        "There is no `temporal` binary for the embedded server, and none could be got:\n"
        + "\n".join(f"    {obstacle}" for obstacle in obstacles),
        hint="One of these is enough. Or set TEMPORAL_ADDRESS to use a Temporal server that runs elsewhere.",
    )


@contextlib.contextmanager
def _alone(folder: Path, patience: Patience) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "temporal.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise InvalidSettings(
            f"The cache folder {folder} cannot be written: {error.strerror or error}.",
            hint="Set XDG_CACHE_HOME to a folder you may write to, or TEMPORAL_CLI_PATH to a binary.",
        ) from error
    try:
        if not take(descriptor, fcntl.LOCK_EX):
            patience.report("Another process is getting the Temporal server; waiting for it.")
            while not take(descriptor, fcntl.LOCK_EX):
                if patience.given_up.wait(POLL_SECONDS):
                    raise GivenUp
        yield
    finally:
        os.close(descriptor)


def _download(folder: Path, patience: Patience) -> Path | Obstacle:
    """Lets the SDK download the command line; it answers at once if there is no network."""
    patience.report("Getting the Temporal server: trying the SDK's download.")
    way = "the SDK's download"
    fix = "needs access to Temporal's download site"
    command = [sys.executable, "-m", "starter.embedded.download", str(folder), CLI_VERSION]
    code, output = _run(command, dict(os.environ), DOWNLOAD_SECONDS, patience, "downloading")
    if code is None:
        return Obstacle(way, f"no answer within {DOWNLOAD_SECONDS:.0f} s", fix)
    got = next((path for path in folder.iterdir() if os.access(path, os.X_OK)), None)
    if code != 0 or got is None:
        return Obstacle(way, _last_line(output), fix)
    return got


def _build(folder: Path, patience: Patience) -> Path | Obstacle:
    """Builds it from source with Go."""
    way = "`go install`"
    go = go_command()
    if go is None:
        return Obstacle(
            way, "Go is not installed", "install Go 1.24 or newer, for example `apt install golang`"
        )
    patience.report(f"Building the Temporal server with Go ({MODULE}). This takes 2 to 5 minutes, once.")
    # The caller's Go flags, such as -mod=vendor, are meant for the caller's own module.
    environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "", "GOWORK": "off", "CGO_ENABLED": "0"}
    code, output = _run([go, "install", MODULE], environment, BUILD_SECONDS, patience, "building")
    if code is None:
        return Obstacle(way, f"not done within {BUILD_SECONDS / 60:.0f} minutes", "try again")
    if code != 0 or not (folder / "temporal").is_file():
        fix = f"needs a Go module proxy (GOPROXY); try it by hand: go install {MODULE}"
        return Obstacle(way, _last_line(output), fix)
    return folder / "temporal"


def _run(
    command: list[str], environment: dict[str, str], limit: float, patience: Patience, doing: str
) -> tuple[int | None, str]:
    """Runs a command with a sign of life now and then; returns its exit code (None: too slow) and output."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            code = _wait(process, limit, patience, doing)
        finally:
            # Also what it started: a compiler, a server.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return code, output.read()


def _wait(process: subprocess.Popen[bytes], limit: float, patience: Patience, doing: str) -> int | None:
    start = said = time.monotonic()
    while (now := time.monotonic()) - start < limit:
        if process.poll() is not None:
            return process.returncode
        if now - said >= HEARTBEAT_SECONDS:
            said = now
            patience.report(f"… still {doing} ({now - start:.0f} s)")
        if patience.given_up.wait(POLL_SECONDS):
            raise GivenUp
    return None


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def main() -> int:
    """Makes sure there is a binary and says where; `make demo` and `make test` call it once."""
    from taskmark.errors import TaskmarkError
    from taskmark.settings import Settings

    try:
        found = find(Settings(), Patience(lambda message: print(message, file=sys.stderr, flush=True)))
    except TaskmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        print(f"  fix: {error.hint}", file=sys.stderr)
        return 1
    print(f"Temporal server {found.server_version}: {found.path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
