"""The trivial work of both engines: a tool for task files, and the texts of the tasks that call it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from taskmark.ports import StepContext
from taskmark.registry import tool
from taskmark.task.model import Json


class Number(BaseModel):
    """What the tool is given."""

    model_config = ConfigDict(extra="forbid")

    n: int


@tool("trivial")
async def trivial(parameters: Number, _context: StepContext) -> Json:
    """Returns what it was given."""
    return {"n": parameters.n}


def task(name: str, phases: int, steps: int, *, parallel: bool) -> str:
    """Returns a task whose phases follow each other, each with so many trivial steps."""
    return f"# {name}\n" + "".join(_phase(number, steps, parallel) for number in range(phases))


def _phase(number: int, steps: int, parallel: bool) -> str:
    options = (["parallel: true"] if parallel else []) + (
        [f"dependsOn: [Part {number - 1}]"] if number else []
    )
    lines = [f"- tool: trivial\n  id: p{number}s{n}\n  with: {{n: {n}}}\n" for n in range(steps)]
    return "\n".join(["", f"## Phase: Part {number}", *options, "", "### Steps", "".join(lines)])
