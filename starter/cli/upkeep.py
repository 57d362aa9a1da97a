"""`doctor`: what is wrong here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_rows
from starter.cli.terminal import say, stdout

if TYPE_CHECKING:
    from starter.doctor import Check


def doctor(output: FormatOption = Format.TABLE) -> Exit:
    """Check what keeps tasks from running, and say how to repair it."""
    from starter.doctor import diagnose

    found = diagnose()
    write_rows([check.model_dump(mode="json") for check in found], output, lambda: _checks(found))
    wrong = [check.name for check in found if not check.ok]
    if not wrong:
        say("Nothing is wrong.")
        return Exit.OK
    say(f"{len(wrong)} of {len(found)} checks found something to repair.")
    return Exit.UNREACHABLE if {"server", "store"} & set(wrong) else Exit.USAGE


def _checks(found: list[Check]) -> None:
    from rich.text import Text

    from starter.cli.printable import printable

    console = stdout()
    width = max(len(check.name) for check in found)
    for check in found:
        mark = Text("✓ ", "green") if check.ok else Text("✗ ", "bold red")
        lines = printable(check.message).split("\n")
        console.print(Text.assemble(mark, (f"{check.name:<{width}}  ", "bold"), lines[0]), soft_wrap=True)
        for line in [*lines[1:], *([f"fix: {printable(check.fix)}"] if check.fix and not check.ok else [])]:
            console.print(" " * (width + 4) + line, soft_wrap=True)
