"""A file of tests to begin with: every step that calls something, with an output of the right shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from starter.simulation.mocks import FALLBACK, Called, plain
from starter.simulation.vocabulary import callees, every_step
from taskmark.errors import InvalidExpression
from taskmark.plan.aggregates import BUILT_IN
from taskmark.task import expressions
from taskmark.task.model import GATES, Json, Output, Phase, Requirement, Step, TaskDefinition

OUTPUTS: dict[str, dict[str, Json]] = {
    "shell": {"exit_code": 0, "stdout": "", "stderr": "", "truncated": []},
    "read-file": {"content": ""},
    "write-file": {"path": "file", "bytes": 0},
    "edit-file": {"path": "file", "bytes": 0, "replaced": 1},
    "copy-file": {"path": "copy", "from": "file", "bytes": 0},
    "move-file": {"path": "moved", "from": "file", "bytes": 0},
    "delete-file": {"path": "file", "deleted": True},
    "list-files": {"files": []},
    "search-files": {"matches": [], "files": 0, "truncated": False},
    "read-csv": {"columns": [], "rows": []},
    "json": {"value": None, "found": True},
    "http": {"status": 200, "headers": {}, "json": {}},
    "sql": {"columns": [], "rows": [], "truncated": False},
    "sql-write": {"changed": 0},
    "web-search": {"query": "", "provider": "", "results": [], "cached": False},
    "mail": {"message_id": "", "accepted": [], "refused": [], "reply": "", "duplicate": False},
    "webhook": {"status": 200, "id": "", "answer": "", "signed": True, "duplicate": False},
    "browser": {
        "url": "",
        "title": "",
        "status": 200,
        "values": {},
        "screenshots": [],
        "downloads": [],
        "refused": 0,
    },
    "mcp": {"content": "", "structured": None, "attachments": []},
    "chat": {"channel": "", "service": "", "status": 200, "id": "", "truncated": False, "duplicate": False},
}
"""What the built-in tools return; `python` returns whatever its function does."""
_INPUTS: dict[str, Json] = {
    "string": "text",
    "number": 1,
    "integer": 1,
    "boolean": True,
    "date": "2026-01-31",
    "duration": "5 minutes",
    "list": [],
    "object": {},
}
_ANSWERS: dict[str, Json] = {
    "string": "text",
    "number": 1,
    "integer": 1,
    "boolean": True,
    "array": [],
    "object": {},
}


def template(definition: TaskDefinition, name: str) -> str:
    """Returns the text of a file with one test; `name` is how the task is named on a command line."""
    lines = [
        f"# Tests of the task “{definition.name}”. Run them: taskmark test {name}",
        "# Nothing outside is called: every step that would call something has a mock here.",
        "tests:",
        "  - name: completes",
        *_inputs(definition),
        *_mocks(definition),
        *_decisions(definition),
        "    expect:",
        "      status: completed",
    ]
    return "\n".join(lines) + "\n"


def mock_lines(definition: TaskDefinition, what: Called) -> list[str]:
    """Returns the lines that mock a call, to be put under `mocks:`."""
    for path, task, phase, step in every_step(definition):
        if path == plain(what.path):
            if what.is_fallback:
                output = _output(
                    task, step.model_copy(update={"kind": what.section.removesuffix("s"), "value": what.name})
                )
                return _section({"steps": {path + FALLBACK: (what.what, output)}})
            return _section(_entries(path, task, phase, step))
    return []


def _inputs(definition: TaskDefinition) -> Iterator[str]:
    needed = [requirement for requirement in definition.requirements if requirement.required]
    if needed:
        yield "    inputs:"
    for requirement in needed:
        yield f"      {_key(requirement.name)}: {_json(sample_input(requirement))}"


def sample_input(requirement: Requirement) -> Json:
    """Returns a value that fits a requirement, as far as its type tells."""
    if requirement.type == "enum":
        return next(iter(requirement.values), None)
    value = _INPUTS[requirement.type]
    if requirement.type in ("number", "integer") and requirement.min is not None:
        return int(requirement.min) if requirement.min.is_integer() else requirement.min
    if requirement.type == "string" and requirement.min is not None:
        return str(value).ljust(int(requirement.min), "x")
    return value


def _mocks(definition: TaskDefinition) -> Iterator[str]:
    entries: dict[str, dict[str, tuple[str, Json]]] = {}
    for path, task, phase, step in every_step(definition):
        for section, found in _entries(path, task, phase, step).items():
            entries.setdefault(section, {}).update(found)
    if entries:
        yield "    mocks:"
        yield from (f"      {line}" for line in _section(entries))


def _section(entries: dict[str, dict[str, tuple[str, Json]]]) -> list[str]:
    lines: list[str] = []
    for section, found in entries.items():
        lines.append(f"{section}:")
        for name, (comment, output) in found.items():
            lines.append(f"  {_key(name)}:{f'  # {comment}' if comment else ''}")
            lines.append(f"    output: {_json(output)}")
    return lines


def _entries(
    path: str, task: TaskDefinition, phase: Phase, step: Step
) -> dict[str, dict[str, tuple[str, Json]]]:
    """Returns the mocks of one step: by section and name a comment and an output."""
    found = callees(task, phase, step)
    if step.kind == "plain":
        answer = _shape(task, step)
        agents = found.get("agents", ())
        shapes = answer if isinstance(answer, dict) else {}
        return {"agents": {agent: ("", shapes.get(agent)) for agent in agents}} if agents else {}
    if not found or (step.kind == "aggregate" and step.value in BUILT_IN):
        return {}
    section = next(iter(found))
    name = found[section][0] if step.agent_expression is None else step.value
    what = f"{section.removesuffix('s')} {name}"
    return {"steps": {path: (what, _output(task, step))}}


def _output(task: TaskDefinition, step: Step) -> Json:
    """Returns an output of the right shape: what the tool returns, and what the task reads of it."""
    known = OUTPUTS.get(step.value) if step.kind == "tool" else None
    shape = _shape(task, step)
    if isinstance(shape, dict):
        return {**shape, **known} if known else shape
    return dict(known) if known else None


def _shape(task: TaskDefinition, step: Step) -> Json:
    """Returns what the task reads of a step's output, as nested keys without values."""
    shape: dict[str, Any] = {}
    for path in _reads(task, step):
        at = shape
        for key in path[:-1]:
            at[key] = at.get(key) or {}
            at = at[key]
        if path:
            at.setdefault(path[-1], None)
    return shape or None


def _reads(task: TaskDefinition, step: Step) -> Iterator[tuple[str, ...]]:
    """Yields the keys of a step's output that something in the task reads, also by an output of its phase."""
    named: dict[tuple[str, ...], tuple[str, ...]] = {
        ("phases", phase.slug, "outputs", output.name): prefix
        for phase in task.phases
        for output in phase.outputs
        if (prefix := _stands_for(output, step)) is not None
    }
    for text in _texts(task.model_dump(exclude={"tasks", "agents"})):
        for path in _paths(text):
            if path[:3] == ("steps", step.id, "output"):
                yield path[3:]
            elif path[:4] in named:
                yield (*named[path[:4]], *path[4:])


def _stands_for(output: Output, step: Step) -> tuple[str, ...] | None:
    """Returns which part of a step's output an output of its phase is, or None if it is none."""
    if output.expression is None:
        return () if output.name in (step.id, step.value) else None
    paths = _paths(output.expression)
    own = [path for path in paths if path[:3] == ("steps", step.id, "output")]
    return own[0][3:] if own and output.expression.strip() == ".".join(own[0]) else None


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _paths(text: str) -> list[tuple[str, ...]]:
    try:
        found = expressions.references(text, template="{{" in text)
    except InvalidExpression:
        return []  # prose
    return [reference.path for reference in found]


def _decisions(definition: TaskDefinition) -> Iterator[str]:
    gates = [(path, step) for path, _, _, step in every_step(definition) if step.kind in GATES]
    if gates:
        yield "    decisions:"
    for path, step in gates:
        decision = "approve" if step.kind == "approval" else f"{{answer: {_json(sample_answer(step))}}}"
        yield f"      {_key(path)}: {decision}"


def sample_answer(step: Step) -> Json:
    """Returns an answer that fits a question, as far as the type in its schema tells."""
    schema = step.answer_schema or {}
    if schema.get("enum"):
        return schema["enum"][0]
    return _ANSWERS.get(str(schema.get("type", "string")))


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and not name.isdigit() else _json(name)


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)
