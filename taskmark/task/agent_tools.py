"""What agents' files call tools: ours by their names, and those of Claude Code that we have too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def unknown_tools(written: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Returns the tools in an agent's file that there are not."""
    found = {*known, ASK_PERSON}
    return tuple(name for name in written if tool_name(name) not in found)
