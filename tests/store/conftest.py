"""A store on every database there is: SQLite always, PostgreSQL where its binaries are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from taskmark.store.reading import History
from taskmark.store.schema import open_store

sys.path.insert(0, str(Path(__file__).parents[1]))

from postgresql_cluster import Cluster, require_postgresql


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    require_postgresql()
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
