"""Problems in a task file: where, what and what to do."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Severity(StrEnum):
    """Errors prevent a start, warnings never do."""

    ERROR = "error"
    WARNING = "warning"


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

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        place = f"{self.file}:{self.line}:{self.column}"
        return f"{place}: {self.severity}[{self.code}] {self.message}{hint}"
