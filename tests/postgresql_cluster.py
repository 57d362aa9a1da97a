"""A PostgreSQL of the tests' own, wherever its programs are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from sqlalchemy import create_engine, text

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def _unprivileged() -> str | None:
    """The server refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else None


class Cluster:
    """A private PostgreSQL server on a Unix socket in a folder of its own."""

    def __init__(self, *, fsync: bool = False) -> None:
        """With `fsync` it writes as one that people trust; tests of everything else need not wait for it."""
        self._fsync = fsync
        self._bin = BINARIES[-1].parent
        self._user = _unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="tm-pg-", dir="/tmp"))
        if self._user:
            shutil.chown(self.folder, self._user)
        initdb: list[str | Path] = [
            self._bin / "initdb",
            "-D",
            self.folder / "data",
            "-U",
            "taskmark",
            "-A",
            "trust",
            "-N",
        ]
        subprocess.run(
            [*initdb, "-E", "UTF8", "--locale=C.UTF-8"], user=self._user, check=True, capture_output=True
        )
        self.start()

    def start(self) -> None:
        settings: list[str | Path] = [
            "-k",
            self.folder,
            "-c",
            "listen_addresses=",
            "-c",
            f"fsync={'on' if self._fsync else 'off'}",
            "-c",
            "max_connections=60",
        ]
        self._process = subprocess.Popen(
            [self._bin / "postgres", "-D", self.folder / "data", *settings],
            user=self._user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 30
        while subprocess.run([self._bin / "pg_isready", "-q", "-h", self.folder], check=False).returncode:
            assert self._process.poll() is None, "the PostgreSQL server ended"
            assert time.monotonic() < deadline, "the PostgreSQL server does not answer"
            time.sleep(0.1)

    def stop(self) -> None:
        self._process.terminate()
        self._process.send_signal(2)  # a fast shutdown, which does not wait for clients
        self._process.wait(30)

    def kill(self) -> None:
        """Kills all of its processes as the kernel does; the next start recovers from its log."""
        server = psutil.Process(self._process.pid)
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(30)
        psutil.wait_procs(processes, 30)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def url(self, schema: str) -> str:
        host, options = quote(str(self.folder)), quote(f"-csearch_path={schema}")
        # by its name a store's connections are told from those of others in the same database
        return f"postgresql://taskmark@/postgres?host={host}&options={options}&application_name={schema}"

    def new_schema(self) -> str:
        """Makes an empty schema, as good as a database of its own, and returns its URL."""
        name = f"s{uuid.uuid4().hex}"
        engine = create_engine(self.url("public").replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {name}"))
        engine.dispose()
        return self.url(name)


def require_postgresql() -> None:
    """Skips the test without PostgreSQL's programs, or fails it where they are required."""
    if not BINARIES:
        missing = "PostgreSQL is not installed: no /usr/lib/postgresql/*/bin/postgres"
        if os.environ.get("TASKMARK_REQUIRE_POSTGRES") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
