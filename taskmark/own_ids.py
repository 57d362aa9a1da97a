"""The ids that callers give their executions, instead of ours."""

from __future__ import annotations

from taskmark.errors import InvalidInputs

LONGEST_OWN_ID = 200


def check_own_id(id: str | None) -> None:
    """Raises `InvalidInputs` for an id that would be taken for one of a phase, or could not be typed."""
    if id is not None and not (id.isprintable() and "/" not in id and 0 < len(id) <= LONGEST_OWN_ID):
        hint = f"1 to {LONGEST_OWN_ID} printable characters, without `/`: that leads to an execution's phases"
        raise InvalidInputs([f"an execution cannot have the id {id[:80]!r}"], hint=hint)
