"""Tasks that other tasks run: found, parsed once each, and held within bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from taskmark.task.catalog import Catalog
from taskmark.task.codes import Code
from taskmark.task.diagnostics import Diagnostic, Severity
from taskmark.task.model import TaskDefinition
from taskmark.task.source_text import Findings, Text, shown

DEPTH_LIMIT = 8
COUNT_LIMIT = 100
"""Definitions that one definition may contain altogether: each is carried along as a whole."""

Parse = Callable[[str, str, "Subtasks", str], tuple[TaskDefinition | None, list[Diagnostic]]]


@dataclass
class Subtasks:
    """The tasks found so far, shared by all files of one parse, and the files that are open."""

    catalog: Catalog
    parse: Parse
    path: tuple[Path, ...] = ()
    """The files from the first task to the one that is being read."""
    _known: dict[Path, TaskDefinition | None] = field(default_factory=dict)
    _sizes: dict[int, int] = field(default_factory=dict)

    def load(self, name: Text, findings: Findings) -> TaskDefinition | None:
        """Returns the task that a step names, or None after noting why there is none."""
        if self.catalog.task is None:
            return None
        found = self.catalog.task(name.value, self.path[-1] if self.path else None)
        if found is None:
            message = f"there is no task `{shown(name.value)}`"
            hint = "name a file in the folder of tasks, or a path from this file"
            findings.add(Code.UNKNOWN_TASK, name.place(), message, hint)
            return None
        path, text = found
        if path in self.path:
            chain = " → ".join(file.stem for file in (*self.path[self.path.index(path) :], path))
            findings.add(Code.TASK_CYCLE, name.place(), f"this task would run itself: {chain}")
            return None
        if len(self.path) > DEPTH_LIMIT:
            message = f"tasks run tasks more than {DEPTH_LIMIT} levels deep here"
            findings.add(Code.TASK_TOO_DEEP, name.place(), message)
            return None
        return self._parsed(path, text, findings)

    def _parsed(self, path: Path, text: str, findings: Findings) -> TaskDefinition | None:
        if path not in self._known:
            inner = Subtasks(self.catalog, self.parse, (*self.path, path), self._known, self._sizes)
            definition, diagnostics = self.parse(text, path.as_posix(), inner, path.stem)
            self._known[path] = definition
            findings.diagnostics.extend(d for d in diagnostics if d.severity is Severity.ERROR)
        return self._known[path]

    def size(self, tasks: dict[str, TaskDefinition]) -> int:
        """Returns how many definitions these contain, themselves included."""
        total = 0
        for task in tasks.values():
            if id(task) not in self._sizes:
                self._sizes[id(task)] = 1 + self.size(task.tasks)
            total += self._sizes[id(task)]
        return total
