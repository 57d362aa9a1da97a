"""Problems in a task file: where, what and what to do."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Severity(StrEnum):
    """Errors prevent a start, warnings never do."""

    ERROR = "error"
    WARNING = "warning"


class Edit(BaseModel):
    """Text of one line and what stands there instead. The text is kept to be sure that it is the one meant;
    where it is empty, something is inserted."""

    model_config = ConfigDict(frozen=True)

    line: int
    column: int
    old: str
    new: str


class Fix(BaseModel):
    """Edits that belong together and mend one problem, without changing what the author meant."""

    model_config = ConfigDict(frozen=True)

    edits: tuple[Edit, ...]


class Diagnostic(BaseModel):
    """One problem, with the place of the offending token. Lines and columns count from 1."""

    model_config = ConfigDict(frozen=True)

    file: str
    line: int
    column: int
    code: str
    """Stable, such as `unknown-key`; documented in docs/task-format.md."""
    severity: Severity = Severity.ERROR
    message: str
    hint: str | None = None
    fix: Fix | None = Field(default=None, exclude=True, repr=False)
    """What `lint --fix` would do; for this process only, and no part of what others read."""

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        place = f"{self.file}:{self.line}:{self.column}"
        return f"{place}: {self.severity}[{self.code}] {self.message}{hint}"
