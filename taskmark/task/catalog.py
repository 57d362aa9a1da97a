"""What names exist outside of a task file: tools, kinds, aggregates, agents and other tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from taskmark.task.files import contained, read_source
from taskmark.task.model import Agent
from taskmark.task.source_text import Findings

BUILT_IN_TOOLS = (
    "shell",
    "python",
    "read-file",
    "write-file",
    "edit-file",
    "copy-file",
    "move-file",
    "delete-file",
    "list-files",
    "search-files",
    "read-csv",
    "json",
    "http",
    "sql",
    "sql-write",
    "web-search",
    "mail",
    "webhook",
    "chat",
    "browser",
    "mcp",
)
_PLAIN = ("list", "merge", "average", "min", "max", "sum", "count")
AGGREGATE_OPTIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_PLAIN, ("field",)),
    "vote": ("by", "field", "weight"),
    "consensus": ("by", "field", "weight", "threshold"),
}
"""What the `with` of each built-in aggregate takes besides `over`."""
BUILT_IN_AGGREGATES = frozenset(AGGREGATE_OPTIONS)


class Misfit(NamedTuple):
    """What is wrong with one argument."""

    path: tuple[str | int, ...]
    """Keys and positions that lead to it; empty if it is about several arguments together."""
    message: str


def _built_in_tools() -> dict[str, dict[str, Any] | None]:
    return dict.fromkeys(BUILT_IN_TOOLS)


@dataclass(frozen=True)
class Catalog:
    """What a task file may name."""

    tools: Mapping[str, dict[str, Any] | None] = field(default_factory=_built_in_tools)
    """The JSON Schema of each tool's parameters; None leaves its `with` unchecked."""
    misfits: Callable[[str, Mapping[str, Any]], Sequence[Misfit]] | None = None
    """What does not fit in a tool's `with`, as the tool itself would say. Absent: values are not checked."""
    effects: frozenset[str] = frozenset()
    """Tools of which a second call may do harm."""
    kinds: frozenset[str] = frozenset()
    """Registered step kinds."""
    aggregates: frozenset[str] = BUILT_IN_AGGREGATES
    agent: Callable[[str], Agent | None] | None = None
    """Finds an agent by id; raises `InvalidTask` if its file is wrong. Absent: agents are not looked up."""
    agent_ids: Callable[[], Sequence[str]] = tuple
    """All ids, for hints."""
    task: Callable[[str, Path | None], tuple[Path, str] | None] | None = None
    """Finds the file and text of another task by what a step says and the file that says it.
    Absent: other tasks are not looked up."""
    root: Path | None = None
    """What source paths are relative to."""

    @classmethod
    def default(cls) -> Catalog:
        """Returns the built-in names; agents and other tasks are not looked up."""
        return cls()

    @classmethod
    def for_folders(
        cls,
        root: Path,
        tasks_dir: Path,
        agents_dir: Path | None,
        *,
        tools: Mapping[str, dict[str, Any] | None] | None = None,
        misfits: Callable[[str, Mapping[str, Any]], Sequence[Misfit]] | None = None,
        effects: frozenset[str] = frozenset(),
        kinds: frozenset[str] = frozenset(),
        aggregates: frozenset[str] = frozenset(),
    ) -> Catalog:
        """Returns a catalog that finds agents and other tasks in folders.

        Without `agents_dir` agents are not looked up. `aggregates` come on top of the built-in ones.
        """
        from taskmark.task.agent_files import agent_ids, load_agent

        return cls(
            tools=_built_in_tools() if tools is None else tools,
            misfits=misfits,
            effects=effects,
            kinds=kinds,
            aggregates=BUILT_IN_AGGREGATES | aggregates,
            agent=partial(load_agent, agents_dir) if agents_dir else None,
            agent_ids=partial(agent_ids, agents_dir) if agents_dir else tuple,
            task=partial(find_task, root, tasks_dir),
            root=root,
        )

    @classmethod
    def beside(cls, path: Path) -> Catalog:
        """Returns the catalog of a file that stands alone: other tasks in its folder, agents in the
        folder `agents` in or next to that folder; if there is none, agents are not looked up."""
        folder = path.resolve().parent
        agents = next(
            (found for found in (folder / "agents", folder.parent / "agents") if found.is_dir()), None
        )
        return cls.for_folders(folder, folder, agents)


def find_task(root: Path, tasks_dir: Path, reference: str, referrer: Path | None) -> tuple[Path, str] | None:
    """Returns the file (relative to the root) and text of a task named by id or path, or None.

    A path is tried from the file that names it, from the folder of tasks, and from the root; nothing
    outside of the root is ever found.
    """
    name = reference if reference.endswith(".md") else f"{reference}.md"
    bases = [tasks_dir, root] if referrer is None else [(root / referrer).parent, tasks_dir, root]
    for base in bases:
        path = contained(root, base / name)
        if path is not None and path.is_file():
            text = read_source(path, Findings(name))
            return None if text is None else (path.relative_to(root.resolve()), text)
    return None
