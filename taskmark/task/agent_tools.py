"""What agents' files call tools: ours by their names, and those of Claude Code that we have too; and which of
them somebody has to allow."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

ASK_PERSON: Final = "ask-person"
"""No tool of a step's: an agent that lists it may ask a person."""

_OF_CLAUDE_CODE: Final[Mapping[str, str]] = {
    "Read": "read-file",
    "Write": "write-file",
    "Edit": "edit-file",
    "MultiEdit": "edit-file",
    "Glob": "list-files",
    "LS": "list-files",
    "Grep": "search-files",
    "Bash": "shell",
    "WebFetch": "http",
    "WebSearch": "web-search",
    "AskUserQuestion": ASK_PERSON,
}


def tool_name(written: str) -> str:
    """Returns our name of a tool. What stands in brackets behind one, as in `Bash(git log:*)`, limits it in
    ways that we do not know: such a tool is none of ours."""
    return _OF_CLAUDE_CODE.get(written.strip(), written.strip())


_ALSO_EDITS: Final = "NotebookEdit"
"""Of a program that is an agent: we have no such tool, but who may edit files may do that."""
_HARMLESS: Final = frozenset(
    {"read-file", "search-files", "list-files", "web-search", "NotebookRead", ASK_PERSON}
)
"""Tools of programs that change nothing outside. Of all others it counts as unknown what they do."""


def permission(written: str) -> str:
    """Returns what `allow` has to name for a tool, whatever limits it: `shell` for `Bash(git log *)`."""
    base = written.partition("(")[0].strip()
    return "edit-file" if base == _ALSO_EDITS else tool_name(base)


def is_allowed(written: str, allow: Iterable[str]) -> bool:
    """Returns whether a step or its task allows a tool with side effects: by any of its names, or exactly as
    the agent's file writes it."""
    allowed = {name.strip() for name in allow}
    return written.strip() in allowed or permission(written) in map(tool_name, allowed)


def held_back(written: Iterable[str], allow: Collection[str]) -> tuple[str, ...]:
    """Returns the tools in the file of an agent that is a program which it is not given: all that may have
    side effects and that nobody allowed."""
    return tuple(
        name for name in written if permission(name) not in _HARMLESS and not is_allowed(name, allow)
    )


def unknown_tools(written: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Returns the tools in an agent's file that there are not."""
    found = {*known, ASK_PERSON}
    return tuple(name for name in written if tool_name(name) not in found)
