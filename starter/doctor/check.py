"""What a check says, and how one is kept from hurting the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from taskmark.errors import TaskmarkError

if TYPE_CHECKING:
    from taskmark.settings import Settings


class Check(BaseModel):
    """One thing that was looked at."""

    model_config = ConfigDict(frozen=True)

    name: str
    ok: bool
    message: str
    fix: str | None = None
    """What to do, if it is not ok."""

    def __init__(self, name: str, ok: bool, message: str, fix: str | None = None) -> None:
        super().__init__(name=name, ok=ok, message=message, fix=fix)


Checker = Callable[["Settings"], Check]


def isolated(checker: Checker, settings: Settings) -> Check:
    """Returns what the checker says; if it breaks, a check that failed with the reason."""
    name = checker.__name__.replace("_", " ")
    try:
        return checker(settings)
    except TaskmarkError as error:
        return Check(name, False, error.message, error.hint)
    except Exception as error:
        return Check(name, False, f"This could not be checked: {type(error).__name__}: {error}")
