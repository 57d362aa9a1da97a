"""Everything that can go wrong, as one tree and one record.

    TaskmarkError
    ├── InvalidTask         the file is wrong; carries every diagnostic
    ├── InvalidDefinition   a definition holds something that no task file can say
    ├── InvalidInputs       the inputs do not fit the requirements
    ├── InvalidExpression   an expression or template cannot be read or evaluated
    ├── InvalidSettings     a setting is wrong or contradicts another
    ├── InvalidQuery        a question to the history store cannot be understood
    ├── Unreachable         Temporal or the store does not answer
    ├── UnknownExecution    no execution has that id, or several share the prefix
    ├── Refused             the state that something is in does not allow what was asked
    │   └── DoneElsewhere   Temporal does not run this execution
    ├── Conflict            what is there does not allow what was asked for; nothing was changed
    └── StepFailed          a tool, an agent or a validation failed; carries a category

Data only: this module is passed through Temporal's sandbox.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskmark.task.diagnostics import Diagnostic


class Category(StrEnum):
    """What kind of failure it is; this alone decides whether and how it is retried."""

    TRANSIENT = "transient"
    CONFIGURATION = "configuration"
    PERMISSION = "permission"
    RESOURCE = "resource"
    LOGIC = "logic"


class Failure(BaseModel):
    """One failure as people and programs read it: in results, progress, events and the store."""

    model_config = ConfigDict(frozen=True)

    type: str
    """A name from a fixed list, such as `step_failed`, `validation_failed`, `timed_out`."""
    message: str
    category: Category = Category.LOGIC
    step: str | None = None
    phase: str | None = None
    will_retry: bool = False
    retry_in_seconds: float | None = None
    affects: tuple[str, ...] = ()
    """Steps skipped and outputs missing because of it."""
    hint: str | None = None
    """What to do about it."""
    stack: str | None = None
    stack_hash: str | None = None
    """Of the stack without what differs from run to run (`taskmark.stack_hash`): one per bug."""


def worker_lost(said: str, *, step: str, phase: str) -> Failure:
    """Returns what it means that the server waited in vain for an attempt; `said` is what it says of that."""
    return Failure(
        type="worker_lost",
        message=f"no worker finished it: {said}; its workers died or were cut off each time",
        category=Category.TRANSIENT,
        hint="look at the workers' logs for what kills them",
        step=step,
        phase=phase,
    )


class TaskmarkError(Exception):
    """Base of every error Taskmark raises on purpose: what happened, and what to do next."""

    category = Category.LOGIC

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidTask(TaskmarkError):
    """The task file has errors; `diagnostics` holds every problem found in one pass."""

    category = Category.CONFIGURATION

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(str(diagnostic) for diagnostic in self.diagnostics))


class InvalidDefinition(TaskmarkError):
    """A definition, made by hand or by a program, holds something that no task file can say."""


class InvalidInputs(TaskmarkError):
    """The inputs do not fit the task's requirements; `problems` has one line per problem."""

    category = Category.CONFIGURATION

    def __init__(self, problems: Sequence[str], *, hint: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems), hint=hint)


class InvalidExpression(TaskmarkError):
    """An expression or template cannot be read, names something unknown, or passes a limit.

    `offset` is the character in the source where it went wrong, where that is known.
    """

    category = Category.LOGIC

    def __init__(self, message: str, *, hint: str | None = None, offset: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.offset = offset


class InvalidSettings(TaskmarkError):
    """A setting is wrong; the hint names the variable and a value that works."""

    category = Category.CONFIGURATION


class InvalidQuery(TaskmarkError):
    """A question to the history store cannot be understood: a cursor, or words to search for."""


class Unreachable(TaskmarkError):
    """Temporal or the store does not answer."""

    category = Category.TRANSIENT


class UnknownExecution(TaskmarkError):
    """No execution has this id, or an abbreviated id fits several."""


class Refused(TaskmarkError):
    """What was asked makes no sense as things are; the message says why."""


class DoneElsewhere(Refused):
    """Temporal does not run this execution, so it cannot be watched or steered there."""

    def __init__(self, execution: str) -> None:
        super().__init__(
            f"{execution} is done elsewhere, not by Temporal: only whoever does it can steer it",
            hint="`taskmark wait` waits for its end, `taskmark record cancel` tells that it was given up",
        )


class Conflict(TaskmarkError):
    """What is there does not allow what was asked for: a file, a store or a version. Nothing was changed."""


class StepFailed(TaskmarkError):
    """A tool, an agent or a check failed, and `category` says what kind of failure it is.

    Adapters raise it when they can tell the kind; what they cannot classify is transient.
    `reduce` says that a retry should ask for less (a smaller batch, fewer tokens).
    """

    def __init__(
        self,
        message: str,
        category: Category = Category.TRANSIENT,
        *,
        hint: str | None = None,
        type: str = "step_failed",
        retry_after: float | None = None,
    ) -> None:
        """`retry_after` is in seconds: another attempt before is of no use."""
        super().__init__(message, hint=hint)
        self.category = category
        self.type = type
        self.retry_after = retry_after
