"""A store on every database there is: SQLite always, PostgreSQL where its binaries are."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import Engine, create_engine, text

from taskmark.store.reading import History
from taskmark.store.schema import open_store

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def _unprivileged() -> str | None:
    """The server refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else None


class Cluster:
    """A private PostgreSQL server on a Unix socket in a folder of its own."""

    def __init__(self) -> None:
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
            "fsync=off",
            "-c",
            "max_connections=60",
        ]
        self._process = subprocess.Popen(
            [self._bin / "postgres", "-D", self.folder / "data", *settings],
            user=self._user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
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


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    if not BINARIES:
        missing = "PostgreSQL is not installed: no /usr/lib/postgresql/*/bin/postgres"
        if os.environ.get("TASKMARK_REQUIRE_POSTGRES") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    cluster = Cluster()
    yield cluster
    cluster.remove()


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes an empty database of a kind and returns its URL."""

    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / 'history.db'}"
        cluster: Cluster = request.getfixturevalue("postgresql")
        return cluster.new_schema()

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> str:
    """The URL of an empty database."""
    return new_database(request.param)


@pytest.fixture
def open_engine(store_url: str) -> Iterator[Callable[[], Engine]]:
    """Opens the store, each time with an engine of its own."""
    engines: list[Engine] = []

    def open_one() -> Engine:
        engines.append(open_store(store_url))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.dispose()


@pytest.fixture
def engine(open_engine: Callable[[], Engine]) -> Engine:
    return open_engine()


@pytest.fixture
def history(engine: Engine) -> History:
    return History(engine)
