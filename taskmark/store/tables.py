"""The tables. Their columns have the names by which people ask for them in SQL; in code they have those of
the fields of the records they keep (`taskmark.records`). docs/history.md tells what each one means."""

from __future__ import annotations

from collections.abc import Sequence
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
    text,
)
from sqlmodel import Field, SQLModel

from taskmark.store.moments import utc
from taskmark.task.model import Json

NO_ITEM = -1


ELSEWHERE = "provenance = 'elsewhere'"
"""The rows of work that Temporal does not run, as a condition that an index can have too."""


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

NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database gives: only of this type is it the row's own on SQLite."""

DOCUMENT = JSON(none_as_null=True)
"""`json`, not `jsonb`, on PostgreSQL: the former keeps every text, also with escaped NUL characters."""


def column(name: str) -> dict[str, str]:
    """Returns what names a column apart from its field, for `sa_column_kwargs`."""
    return {"name": name, "key": _FIELDS[name]}


_FIELDS = {
    "task_list_path": "source_path",
    "completed_at": "finished_at",
    "output": "outputs",
    "tokens_used": "tokens",
    "files_written": "files",
    "questions_asked": "questions",
}
"""The fields whose columns have another name."""


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
    source_path: str = Field(sa_type=Text, sa_column_kwargs=column("task_list_path"))
    definition: Json = Field(sa_type=DOCUMENT, nullable=False)


class Executions(Merged, table=True):
    """Executions of tasks."""

    __tablename__ = "executions"
    __table_args__ = (
        Index(None, "started_at", "execution_id"),
        # each with what it is listed by, so that the newest of some are read and not sorted out of all
        *(Index(None, one, "started_at", "execution_id") for one in ("status", "task_id", "build_id")),
        *(Index(None, one, "started_at", "execution_id") for one in ("project", "source_path")),
        *(Index(None, one, "started_at", "execution_id") for one in ("assigned_agent", "trace_id")),
        Index(None, "parent_id"),
        Index(None, "retry_of"),
    )

    execution_id: str = Field(primary_key=True, sa_type=BYTEWISE)
    task_id: str | None = Field(default=None, sa_type=Text)
    task_name: str | None = Field(default=None, sa_type=Text)
    definition_sha256: str | None = Field(default=None, sa_type=Text)
    task_version: str | None = Field(default=None, sa_type=Text)
    source_path: str | None = Field(default=None, sa_type=Text, sa_column_kwargs=column("task_list_path"))
    project: str | None = Field(default=None, sa_type=Text)
    build_id: str | None = Field(default=None, sa_type=Text)
    status: str = Field(sa_type=Text)
    inputs: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    outputs: Json = Field(default=None, sa_type=DOCUMENT, nullable=True, sa_column_kwargs=column("output"))
    error: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(
        default=None, sa_type=UtcDateTime, sa_column_kwargs=column("completed_at")
    )
    trace_id: str | None = Field(default=None, sa_type=Text)
    parent_id: str | None = Field(default=None, sa_type=Text)
    cause: str | None = Field(default=None, sa_type=Text)
    provenance: str = Field(sa_type=Text)
    as_of: datetime | None = Field(default=None, sa_type=UtcDateTime)
    assigned_agent: str | None = Field(default=None, sa_type=Text)
    retry_of: str | None = Field(default=None, sa_type=Text)
    attempts: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    task_slug: str | None = Field(default=None, sa_type=Text)
    duration_ms: int | None = Field(default=None, sa_type=BigInteger)
    tokens_used: int | None = Field(default=None, sa_type=BigInteger)
    cost: float | None = Field(default=None, sa_type=Double)
    questions_asked: int | None = None
    files_modified: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)


class Phases(Merged, table=True):
    """Phases of executions, each as its latest attempt left it."""

    __tablename__ = "phases"
    __table_args__ = (Index(None, "trace_id"),)

    execution_id: str = Field(primary_key=True, sa_type=BYTEWISE)
    phase: str = Field(primary_key=True, sa_type=BYTEWISE)
    name: str | None = Field(default=None, sa_type=Text)
    status: str = Field(sa_type=Text)
    attempt: int
    outputs: Json = Field(default=None, sa_type=DOCUMENT, nullable=True, sa_column_kwargs=column("output"))
    error: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(
        default=None, sa_type=UtcDateTime, sa_column_kwargs=column("completed_at")
    )
    provenance: str = Field(sa_type=Text)
    as_of: datetime | None = Field(default=None, sa_type=UtcDateTime)
    trace_id: str | None = Field(default=None, sa_type=Text)
    span_id: str | None = Field(default=None, sa_type=Text)
    retry_of: str | None = Field(default=None, sa_type=Text)
    duration_ms: int | None = Field(default=None, sa_type=BigInteger)
    error_category: str | None = Field(default=None, sa_type=Text)
    error_type: str | None = Field(default=None, sa_type=Text)
    error_message: str | None = Field(default=None, sa_type=Text)
    stack: str | None = Field(default=None, sa_type=Text)
    stack_hash: str | None = Field(default=None, sa_type=Text)
    parents: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    cause: str | None = Field(default=None, sa_type=Text)
    causes: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)


class Attempts(Merged, table=True):
    """Tries of steps and of their items. The primary key begins with the execution, which indexes it."""

    __tablename__ = "attempts"
    __table_args__ = (
        Index(None, "trace_id", "started_at"),
        Index(None, "span_id"),
        Index(None, "started_at"),
        Index(None, "tool", "started_at"),
        # what Temporal does not run is found by its key
        Index(None, "idempotency_key", sqlite_where=text(ELSEWHERE), postgresql_where=text(ELSEWHERE)),
        # most attempts have none of these, and then cost nothing here
        *(
            Index(None, name, "started_at", sqlite_where=text(known), postgresql_where=text(known))
            for name, known in (("agent", "agent IS NOT NULL"), ("stack_hash", "stack_hash IS NOT NULL"))
        ),
    )

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
    finished_at: datetime | None = Field(
        default=None, sa_type=UtcDateTime, sa_column_kwargs=column("completed_at")
    )
    idempotency_key: str | None = Field(default=None, sa_type=Text)
    trace_id: str | None = Field(default=None, sa_type=Text)
    worker: str | None = Field(default=None, sa_type=Text)
    tokens: int | None = Field(default=None, sa_type=BigInteger, sa_column_kwargs=column("tokens_used"))
    cost: float | None = Field(default=None, sa_type=Double)
    files: Json = Field(
        default=None, sa_type=DOCUMENT, nullable=True, sa_column_kwargs=column("files_written")
    )
    provenance: str = Field(sa_type=Text)
    as_of: datetime | None = Field(default=None, sa_type=UtcDateTime)
    questions: int | None = Field(default=None, sa_column_kwargs=column("questions_asked"))
    resources: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    parents: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    cause: str | None = Field(default=None, sa_type=Text)
    span_id: str | None = Field(default=None, sa_type=Text)
    retry_of: str | None = Field(default=None, sa_type=Text)
    causes: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    tool: str | None = Field(default=None, sa_type=Text)
    duration_ms: int | None = Field(default=None, sa_type=BigInteger)
    retrieval: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    error_category: str | None = Field(default=None, sa_type=Text)
    error_type: str | None = Field(default=None, sa_type=Text)
    error_message: str | None = Field(default=None, sa_type=Text)
    stack: str | None = Field(default=None, sa_type=Text)
    stack_hash: str | None = Field(default=None, sa_type=Text)
    reused_from: str | None = Field(default=None, sa_type=Text)


class Checkpoints(Merged, table=True):
    """What a later execution may reuse of a phase; with an empty phase, how the execution began."""

    __tablename__ = "checkpoints"

    execution_id: str = Field(primary_key=True, sa_type=BYTEWISE)
    phase: str = Field(primary_key=True, sa_type=BYTEWISE)
    part: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    label: str | None = Field(default=None, sa_type=Text)
    status: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime)
    inputs: Json = Field(default=None, sa_type=DOCUMENT, nullable=True)
    trace_id: str | None = Field(default=None, sa_type=Text)
    outputs: Json = Field(default=None, sa_type=DOCUMENT, nullable=True, sa_column_kwargs=column("output"))
    definition: str | None = Field(default=None, sa_type=Text)
    withheld: int
    steps: Json = Field(default_factory=dict, sa_type=DOCUMENT, nullable=False)
    undone: bool | None = Field(default=None)


class Estimates(Merged, table=True):
    """What was expected to remain at tens of percent of executions; at 100 what they had worked in all."""

    __tablename__ = "estimates"

    execution_id: str = Field(primary_key=True, sa_type=BYTEWISE)
    percent: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(sa_type=UtcDateTime)
    worked: float = Field(sa_type=Double)
    remaining: float = Field(sa_type=Double)
    low: float = Field(sa_type=Double)
    high: float = Field(sa_type=Double)
    confidence: float | None = Field(default=None, sa_type=Double)
    basis: str = Field(sa_type=Text)
    samples: int
    stretch: float = Field(default=1.0, sa_type=Double, sa_column_kwargs={"server_default": "1"})


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


class Metrics(Stored, table=True):
    """Counts and sums over executions and attempts, kept by the writer, so that nobody has to read a million
    rows to know them. Each row is for one value of one dimension; see `taskmark.store.summing`."""

    __tablename__ = "metrics"
    __table_args__: ClassVar[Any] = {"sqlite_with_rowid": False}
    """Rows of a dimension are read together, so they lie together: in a third of the time."""

    dimension: str = Field(primary_key=True, sa_type=BYTEWISE)
    name: str = Field(primary_key=True, sa_type=BYTEWISE)
    day: str = Field(primary_key=True, sa_type=BYTEWISE)
    status: str = Field(primary_key=True, sa_type=BYTEWISE)
    count: int = Field(sa_type=BigInteger)
    ended: int = Field(sa_type=BigInteger)
    """How many of them have a duration."""
    retries: int = Field(sa_type=BigInteger)
    duration_ms: int = Field(sa_type=BigInteger)
    tokens_used: int = Field(sa_type=BigInteger)
    cost_billionths: int = Field(sa_type=BigInteger)
    questions_asked: int = Field(sa_type=BigInteger)


class Durations(Stored, table=True):
    """How many rows of one value of one dimension, of one day, month or year, took about so long."""

    __tablename__ = "durations"
    __table_args__: ClassVar[Any] = {"sqlite_with_rowid": False}

    dimension: str = Field(primary_key=True, sa_type=BYTEWISE)
    period: str = Field(primary_key=True, sa_type=BYTEWISE)
    """`2026-01-31`, `2026-01` or `2026`."""
    name: str = Field(primary_key=True, sa_type=BYTEWISE)
    bucket: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    count: int = Field(sa_type=BigInteger)


class Texts(Stored, table=True):
    """What can be searched for in an attempt or execution that has ended: its input, output and error,
    shortened. The index over the words is the database's own (`taskmark.store.searching`)."""

    __tablename__ = "texts"
    __table_args__ = (UniqueConstraint("span_id", name="uq_texts_span_id"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=NUMBER)
    span_id: str = Field(sa_type=Text)
    words: str = Field(sa_type=Text)


class ArtifactContents(Stored, table=True):
    """Outputs too large for history, by content."""

    __tablename__ = "artifacts"

    sha256: str = Field(primary_key=True, sa_type=Text)
    size: int = Field(sa_type=BigInteger)
    content: bytes = Field(sa_type=LargeBinary)
    kept_at: datetime = Field(sa_type=UtcDateTime)


class SharedValues(Stored, table=True):
    """What workers share beyond one call (`taskmark.shared`), until its time is over."""

    __tablename__ = "shared_values"

    kind: str = Field(primary_key=True, sa_type=BYTEWISE)
    key: str = Field(primary_key=True, sa_type=BYTEWISE)
    value: Json = Field(sa_type=DOCUMENT, nullable=False)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


def fields(target: Table, row: Sequence[Any]) -> dict[str, Any]:
    """Returns a whole row by the names of its fields; what is absent is left out."""
    named = zip(target.columns.keys(), row, strict=True)
    return {name: value for name, value in named if value is not None}


def table(model: type[Stored]) -> Table:
    """Returns the table behind a model, for statements that SQLModel has no words for."""
    found: Any = model
    assert isinstance(found.__table__, Table)
    return found.__table__
