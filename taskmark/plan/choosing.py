"""Agents that an expression chooses: why one that was chosen may not be asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from taskmark.errors import Category, Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskmark.task.model import Json, Step

_LONGEST = 60
_MOST = 20


def refusal(step: Step, chosen: Json, listed: Sequence[str], where: str) -> Failure:
    """Returns the failure of a step, or one item of it, that chose none of the agents listed; `where` they
    are listed is said in the hint."""
    more = f" and {len(listed) - _MOST} more" if len(listed) > _MOST else ""
    allowed = ", ".join(listed[:_MOST]) + more
    return Failure(
        type="agent_not_listed",
        message=f"`{step.value}` gives {_shown(chosen)}, and only these agents may be chosen: {allowed}",
        category=Category.CONFIGURATION,
        hint=f"the expression has to give one of these names; others can be added to {where}",
    )


def _shown(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
