"""`tools` and `doctor`: what steps can use, and what is wrong here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_rows, write_table
from starter.cli.printable import one_line
from starter.cli.terminal import say, stdout

if TYPE_CHECKING:
    from starter.doctor import Check
    from taskmark.registry import Registry


def tools(output: FormatOption = Format.TABLE) -> Exit:
    """List the tools, and what else plugins add."""
    from starter.cli.clients import settings
    from starter.wiring import Wiring

    registry = Wiring(settings()).registry
    rows = [*_tools(registry), *_others(registry), *_broken(registry)]
    write_rows(rows, output, lambda: _tools_table(rows))
    return Exit.OK


def _tools(registry: Registry) -> list[dict[str, Any]]:
    return [
        {
            "kind": "tool",
            "name": name,
            "description": (type(tool).__doc__ or "").strip().split("\n")[0],
            "parameters": schema.get("properties", {}),
            "required": schema.get("required", []),
            "origin": registry.origins.get(("tool", name), ""),
        }
        for name, schema in registry.schemas().items()
        for tool in [registry.tools[name]]
    ]


def _others(registry: Registry) -> list[dict[str, Any]]:
    others = [
        (kind, name) for kind, name in registry.origins if kind != "tool" and name not in registry.broken
    ]
    return [
        {"kind": kind, "name": name, "origin": registry.origins[kind, name]} for kind, name in sorted(others)
    ]


def _broken(registry: Registry) -> list[dict[str, Any]]:
    return [
        {"kind": "broken", "name": name, "reason": reason} for name, reason in sorted(registry.broken.items())
    ]


def _tools_table(rows: list[dict[str, Any]]) -> None:
    write_table(
        ("KIND", "NAME", "PARAMETERS", ""), ([row["kind"], row["name"], *_details(row)] for row in rows)
    )


def _details(row: dict[str, Any]) -> tuple[str, str]:
    names = [name if name in row.get("required", ()) else f"[{name}]" for name in row.get("parameters", {})]
    return " ".join(names), one_line(row.get("reason") or row.get("description") or "")


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
