"""Questions that an agent cannot go on without: an answer that is no answer, but asks a person.

Data and a pure function of it: what an answer means is the same for whoever reads it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from taskmark.task.model import Json

MOST_QUESTIONS = 20
"""Questions that one step may ask."""


class Inquiry(BaseModel):
    """What an agent has to know before it goes on."""

    model_config = ConfigDict(frozen=True)

    question: str
    name: str = ""
    answer_schema: dict[str, Json] | None = None


def inquiry(output: Json) -> Inquiry | None:
    """Returns the question that an agent's answer is, or None: only one that says `blocking: true` waits."""
    if not isinstance(output, dict) or output.get("blocking") is not True:
        return None
    question, name, schema = (output.get(key) for key in ("question", "name", "schema"))
    if not isinstance(question, str) or not question.strip():
        return None
    named = name if isinstance(name, str) else ""
    return Inquiry(question=question, name=named, answer_schema=schema if isinstance(schema, dict) else None)
