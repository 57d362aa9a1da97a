"""How help is laid out: commands in groups, and an example under each."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

_NEGATIVE = re.compile(r"-\.?\d")
_MARK = "\0"
"""Before a number that is no option; nobody can type it."""


class TakesNumbers(TyperCommand):
    """Takes `-5` as a value: no option of ours is called so."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the words of the command."""
        marked = [f"{_MARK}{word}" if _NEGATIVE.match(word) else word for word in args]
        rest = super().parse_args(ctx, marked)
        for name, value in ctx.params.items():
            if isinstance(value, str):
                ctx.params[name] = value.removeprefix(_MARK)
        return rest


class Grouped(TyperGroup):
    """Lists the commands of each group under its title, in the order they were added."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes one section per group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            title = getattr(command, "rich_help_panel", None)
            title = title if isinstance(title, str) else "Commands"
            groups.setdefault(title, []).append((name, command.get_short_help_str(formatter.width - 16)))
        width = max(len(name) for name in self.commands)
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{width}}", text) for name, text in rows])


def example(*lines: str) -> str:
    """Returns the text under a command's options: examples that can be copied."""
    # The backspace character keeps the lines as they are.
    title = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", title, *(f"  {line}" for line in lines)])
