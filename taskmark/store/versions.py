"""Versions of tasks side by side: which there were, and each as it was, to be started again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath

from pydantic import ValidationError
from sqlalchemy import Engine, func, select

from taskmark.errors import Conflict
from taskmark.store.engine import reading
from taskmark.store.tables import Definitions, Executions, table
from taskmark.task.model import FORMAT_VERSION, Json, TaskDefinition
from taskmark.task.packing import digest

SHORTEST = 4
"""Digits that name a version by its hash, at least."""
SHOWN = 12
"""Digits that people are shown."""


@dataclass(frozen=True)
class Version:
    """A definition that was run."""

    sha256: str
    version: str
    """The task's own word for it, if its file has one."""
    source_path: str
    executions: int
    first_used: datetime | None
    last_used: datetime | None
    whole: bool
    """Whether the store has exactly what ran, so that it can be started again."""

    def __str__(self) -> str:
        used = f", last used {self.last_used:%Y-%m-%d}" if self.last_used else ""
        return f"{self.sha256[:SHOWN]} ({self.version or 'no version'}{used})"


class Versions:
    """Reads definitions. Every method raises `Unreachable` if the store does not answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, task: str) -> tuple[Version, ...]:
        """Returns the versions of a task given by id or path, the one used last first."""
        definitions, executions = table(Definitions), table(Executions)
        began, sha256 = executions.c.started_at, executions.c.definition_sha256
        used = select(sha256, func.count(), func.min(began), func.max(began))
        with reading(self._engine) as connection:
            uses = {
                row[0]: (row[1], row[2], row[3])
                for row in connection.execute(used.where(executions.c.task_id == _id(task)).group_by(sha256))
            }
            rows = connection.execute(select(definitions).where(definitions.c.task_id == _id(task)))
            found = [
                Version(
                    row.sha256,
                    row.version,
                    row.task_list_path,
                    *uses.get(row.sha256, (0, None, None)),
                    whole=digest(row.definition) == row.sha256,
                )
                for row in rows
            ]
        return tuple(sorted(found, key=_last_used, reverse=True))

    def definition(self, task: str, wanted: str) -> TaskDefinition:
        """Returns the only definition of the task that has this version, or whose hash begins so.

        Raises `Conflict` if there is none or several, or if the store has not exactly what ran.
        """
        known = self.of(task)
        found = [one for one in known if one.version == wanted] or [
            one for one in known if len(wanted) >= SHORTEST and one.sha256.startswith(wanted.lower())
        ]
        if len(found) != 1:
            raise _not_one(_id(task), wanted, found, known)
        return self._as_it_was(found[0])

    def _as_it_was(self, version: Version) -> TaskDefinition:
        definitions = table(Definitions)
        query = select(definitions.c.definition).where(definitions.c.sha256 == version.sha256)
        with reading(self._engine) as connection:
            plain: Json = connection.execute(query).scalar()
        return _checked(version, plain)


def _checked(version: Version, plain: Json) -> TaskDefinition:
    """Returns the definition if it is, to the letter, the one that ran."""
    if digest(plain) != version.sha256:
        reason = "personal data was taken out of it (TASKMARK_SCRUB), or an older Taskmark recorded it"
        hint = "start it from its file, as your version control has it"
        raise Conflict(f"The store does not have version {version} as it ran: {reason}", hint=hint)
    try:
        definition = TaskDefinition.model_validate(plain)
    except ValidationError as error:
        raise Conflict(
            f"This Taskmark cannot read version {version}: {error.error_count()} problems"
        ) from error
    if definition.format_version > FORMAT_VERSION:
        message = f"Version {version} has the format {definition.format_version}"
        raise Conflict(f"{message}, this Taskmark knows {FORMAT_VERSION}", hint="upgrade Taskmark")
    return definition


def _not_one(task: str, wanted: str, found: Sequence[Version], known: Sequence[Version]) -> Conflict:
    if found:
        listed = ", ".join(map(str, found))
        hint = f"name one by its hash: {listed}"
        return Conflict(f"Several versions of {task} are called {wanted!r}", hint=hint)
    if not known:
        return Conflict(f"The store knows no version of {task!r}", hint="it has those that were run")
    hint = f"there are {', '.join(map(str, known))}"
    return Conflict(f"No version of {task} is called {wanted!r}", hint=hint)


def _id(task: str) -> str:
    """Returns the id of a task that is given by it or by its file, which need not be there any more."""
    return PurePath(task).stem if "/" in task or task.endswith(".md") else task


def _last_used(version: Version) -> tuple[bool, float, str]:
    last = version.last_used
    return (last is not None, last.timestamp() if last else 0.0, version.sha256)
