"""Which artifacts the rows of the store refer to."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Column, Connection, Text, cast, select

from taskmark.contracts import ARTIFACT_KEY, is_artifact
from taskmark.store.tables import Attempts, Checkpoints, Events, Executions, Phases, table
from taskmark.task.model import Json

_COLUMNS = (
    (Executions, ("inputs", "outputs")),
    (Phases, ("outputs",)),
    (Attempts, ("input", "output")),
    (Events, ("payload",)),
    (Checkpoints, ("inputs", "outputs", "steps")),
)


def references(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yields artifacts, each with the execution whose row refers to it; as often as one does."""
    for model, names in _COLUMNS:
        for name in names:
            yield from _in_column(connection, table(model).c.execution_id, table(model).c[name])


def _in_column(
    connection: Connection, execution: Column[str], document: Column[Json]
) -> Iterator[tuple[str, str]]:
    query = select(execution, document).where(
        cast(document, Text).contains(f'"{ARTIFACT_KEY}"', autoescape=True)
    )
    for name, value in connection.execute(query):
        for sha256 in _in_value(value):
            yield sha256, name


def _in_value(value: Json) -> Iterator[str]:
    rest = [value]
    while rest:
        one = rest.pop()
        if is_artifact(one):
            yield one[ARTIFACT_KEY]
        elif isinstance(one, dict):
            rest.extend(one.values())
        elif isinstance(one, list):
            rest.extend(one)
