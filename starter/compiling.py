"""From a task's name, path or text to a checked definition with checked inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from taskmark.contracts import INLINE_LIMIT, Compiled, Limits, ResumeFrom, StartTask
from taskmark.errors import InvalidTask
from taskmark.task import check_inputs
from taskmark.task.codes import Code
from taskmark.task.definitions import Definitions
from taskmark.task.diagnostics import Diagnostic
from taskmark.task.hints import did_you_mean
from taskmark.task.model import Json, TaskDefinition
from taskmark.task.packing import pack


class Compiler:
    """Compiles tasks with what this process knows of tools, agents and folders."""

    def __init__(
        self, definitions: Definitions, limits: Limits, *, root: Path, tasks_dir: Path, confined: bool = True
    ) -> None:
        """Only a person at this machine, who may read its files anyway, is not `confined` to the root."""
        self._definitions = definitions
        self.limits = limits
        self._root = root
        self._tasks_dir = tasks_dir
        self._confined = confined

    def compile(self, request: StartTask) -> Compiled:
        """Returns what a worker needs to begin. Raises `InvalidTask` or `InvalidInputs`."""
        definition = self.definition(request)
        whole, packed = portable(definition)
        inputs = check_inputs(definition, request.inputs)
        return Compiled(definition=whole, packed=packed, inputs=inputs, limits=self.limits)

    def definition(self, request: StartTask) -> TaskDefinition:
        """Returns the checked definition of a named, given or already checked task."""
        if request.definition is not None:
            return request.definition
        if request.source is not None:
            return self._definitions.parse_text(request.source, file="<source>")
        return self._definitions.parse_file(self.find(request.task or ""))

    def find(self, task: str) -> Path:
        """Returns the file of a task given by id or path. Raises `InvalidTask` if there is none.

        Only files under the root are read: whoever may start tasks may not read the whole machine.
        """
        for candidate in self._candidates(task):
            if self._may_read(candidate):
                return candidate
        raise InvalidTask([self._missing(task)])

    def _missing(self, task: str) -> Diagnostic:
        known = sorted(path.stem for path in self._tasks_dir.glob("*.md"))
        close = did_you_mean(task, known)
        hint = close or (f"known tasks: {', '.join(known)}" if known else f"put it into {self._tasks_dir}")
        code, message = Code.UNKNOWN_TASK, f"there is no task “{task}”"
        if not self._confined and ("/" in task or task.endswith(".md") or os.path.isdir(task)):
            code, message = Code.UNREADABLE_FILE, "there is no such file"
            if os.path.isdir(task):
                message, hint = "this is a folder", "name one of the tasks in it"
        return Diagnostic(file=task, line=1, column=1, code=code, message=message, hint=hint)

    def _may_read(self, path: Path) -> bool:
        try:
            inside = not self._confined or path.resolve().is_relative_to(self._root.resolve())
            return inside and path.is_file()
        except OSError:
            return False  # a name that no file can have

    def _candidates(self, task: str) -> list[Path]:
        if not task or "\0" in task:
            return []
        named = [self._tasks_dir / f"{task}.md"] if "/" not in task else []
        below_root, here = self._root / task, Path.cwd() / task
        return [*named, *((below_root, here) if self._confined else (here, below_root))]


def portable(definition: TaskDefinition) -> tuple[TaskDefinition | None, str | None]:
    """Returns the definition whole, or packed if it is large, because it is written into history."""
    size = len(definition.model_dump_json(exclude_defaults=True))
    return (None, pack(definition)) if size > INLINE_LIMIT else (definition, None)


def start_of(
    compiled: Compiled,
    *,
    project: str | None,
    build_id: str | None,
    inputs: Mapping[str, Json],
) -> StartTask:
    """Returns the start of an execution whose definition and inputs are checked already."""
    return StartTask(
        definition=compiled.definition,
        packed=compiled.packed,
        inputs=dict(inputs),
        project=project,
        build_id=build_id,
        limits=compiled.limits,
    )


def repeating(wanted: ResumeFrom | None) -> dict[str, Json]:
    """Returns what a start says that goes on from an earlier execution."""
    if wanted is None:
        return {}
    plain = wanted.model_dump(exclude_none=True)
    return {"resume_from": plain if len(plain) > 1 else wanted.execution, "retry_of": wanted.execution}
