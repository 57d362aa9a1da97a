"""The tables. Columns are named as the fields of the records they keep (`taskmark.records`)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlmodel import Field, SQLModel

from taskmark.store.moments import utc
from taskmark.task.model import Json

NO_ITEM = -1


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, on every database. A value without a zone counts as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite keeps no zone, so the value is made UTC before the zone gets lost."""
        return None if value is None else utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """PostgreSQL answers in the zone of its session."""
        return None if value is None else utc(value)


class ItemNumber(TypeDecorator[int]):
    """The number of an item, or -1 for none: NULL is never equal to itself, so it can't be in a key."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int:
        """Writes none as -1."""
        return NO_ITEM if value is None else value

    def process_result_value(self, value: int | None, dialect: Dialect) -> int | None:
        """Reads -1 as none."""
        return None if value == NO_ITEM else value


BYTEWISE = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that sorts by its bytes on every database, so that prefixes and cursors mean the same."""

DOCUMENT = JSON(none_as_null=True)
"""`json`, not `jsonb`, on PostgreSQL: the former keeps every text, also with escaped NUL characters."""


class Stored(SQLModel):
    """Base of the tables, with metadata of their own."""

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Merged(Stored):
    """Base of the tables whose rows are merged from several records."""

    stamps: Json = Field(default_factory=list, sa_type=DOCUMENT, nullable=False)
    """Which column was set by how late a record; see `taskmark.store.merging`."""


class Definitions(Merged, table=True):
    """Versions of tasks."""

    __tablename__ = "definitions"
    __table_args__ = (Index(None, "task_id"),)

    sha256: str = Field(primary_key=True, sa_type=Text)
    task_id: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    version: str = Field(sa_type=Text)
    source_path: str = Field(sa_type=Text)
    definition: Json = Field(sa_type=DOCUMENT, nullable=False)


class Executions(Merged, table=True):
    """Executions of tasks."""

    __tablename__ = "executions"
    __table_args__ = (
        Index(None, "task_id"),
        Index(None, "status"),
        Index(None, "started_at", "execution_id"),
        Index(None, "trace_id"),
        Index(None, "build_id"),
        Index(None, "source_path"),
        Index(None, "project"),
    )

    execution_id: str = Field(primary_key=True, sa_type=BYTEWISE)
    task_id: str | None = Field(default=None, sa_type=Text)
    task_name: str | None = Field(default=None, sa_type=Text)
    definition_sha256: str | None = Field(default=None, sa_type=Text)
    task_version: str | None = Field(default=None, sa_type=Text)
    source_path: str | None = Field(default=None, sa_type=Text)
    project: str | None = Field(default=None, sa_type=Text)
    build_id: str | None = Field(default=None, sa_type=Text)
    status: str = Field(sa_type=Text)
    inputs: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    outputs: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    error: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    trace_id: str | None = Field(default=None, sa_type=Text)
    parent_id: str | None = Field(default=None, sa_type=Text)
    cause: str | None = Field(default=None, sa_type=Text)
    provenance: str = Field(sa_type=Text)
    as_of: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Phases(Merged, table=True):
    """Phases of executions, each as its latest attempt left it."""

    __tablename__ = "phases"

    execution_id: str = Field(primary_key=True, sa_type=BYTEWISE)
    phase: str = Field(primary_key=True, sa_type=BYTEWISE)
    name: str | None = Field(default=None, sa_type=Text)
    status: str = Field(sa_type=Text)
    attempt: int
    outputs: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    error: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    provenance: str = Field(sa_type=Text)
    as_of: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Attempts(Merged, table=True):
    """Tries of steps and of their items. The primary key begins with the execution, which indexes it."""

    __tablename__ = "attempts"
    __table_args__ = (Index(None, "agent"), Index(None, "trace_id"))

    execution_id: str = Field(primary_key=True, sa_type=BYTEWISE)
    phase: str = Field(primary_key=True, sa_type=BYTEWISE)
    step: str = Field(primary_key=True, sa_type=BYTEWISE)
    item: int | None = Field(primary_key=True, sa_type=ItemNumber, nullable=False)
    attempt: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    kind: str | None = Field(default=None, sa_type=Text)
    name: str | None = Field(default=None, sa_type=Text)
    agent: str | None = Field(default=None, sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    status: str = Field(sa_type=Text)
    input: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    output: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    error: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    idempotency_key: str | None = Field(default=None, sa_type=Text)
    trace_id: str | None = Field(default=None, sa_type=Text)
    worker: str | None = Field(default=None, sa_type=Text)
    tokens: int | None = Field(default=None, sa_type=BigInteger)
    cost: float | None = Field(default=None, sa_type=Double)
    files: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    provenance: str = Field(sa_type=Text)
    as_of: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Events(Stored, table=True):
    """What happened, numbered per execution from 1 without gaps in the order it became known."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint(
            "execution_id", "kind", "phase", "step", "item", "attempt", "occurrence", name="uq_events_key"
        ),
    )

    execution_id: str = Field(primary_key=True, sa_type=BYTEWISE)
    seq: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    kind: str = Field(sa_type=Text)
    phase: str = Field(sa_type=BYTEWISE)
    step: str = Field(sa_type=BYTEWISE)
    item: int | None = Field(sa_type=ItemNumber, nullable=False)
    attempt: int
    occurrence: int
    at: datetime = Field(sa_type=UtcDateTime)
    payload: Json = Field(sa_type=DOCUMENT, nullable=False)


class ArtifactContents(Stored, table=True):
    """Outputs too large for history, by content."""

    __tablename__ = "artifacts"

    sha256: str = Field(primary_key=True, sa_type=Text)
    size: int = Field(sa_type=BigInteger)
    content: bytes = Field(sa_type=LargeBinary)


def table(model: type[Stored]) -> Table:
    """Returns the table behind a model, for statements that SQLModel has no words for."""
    found: Any = model
    assert isinstance(found.__table__, Table)
    return found.__table__
