"""`tools`: what steps can use, how it is limited, and whether it can be used now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_document, write_rows, write_table
from starter.cli.printable import duration, one_line

if TYPE_CHECKING:
    from starter.toolbox import ToolView
    from starter.wiring import Wiring
    from taskmark.registry import Registry

_UNLIMITED = "as many as there are steps"


def tools_beginning(incomplete: str) -> list[str]:
    """Returns the names of tools that begin so; none where settings are wrong."""
    from starter.wiring import Wiring
    from taskmark.errors import TaskmarkError
    from taskmark.settings import Settings

    try:
        known = Wiring(Settings()).registry.tools
    except TaskmarkError:
        return []
    return sorted(name for name in known if name.startswith(incomplete))


def tools(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[TOOL]", help="All about this one.", autocompletion=tools_beginning, show_default=False
        ),
    ] = None,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """List tools, limits and health, and what plugins add."""
    from starter.cli.clients import settings
    from starter.toolbox import tools_of
    from starter.wiring import Wiring

    wiring = Wiring(settings())
    if name is not None:
        return _one(wiring, name, output)
    rows = [*map(_row, tools_of(wiring)), *_others(wiring.registry), *_broken(wiring.registry)]
    write_rows(rows, output, lambda: _table(rows))
    return Exit.OK


def _one(wiring: Wiring, name: str, output: Format) -> Exit:
    from starter.toolbox import tools_of
    from taskmark.errors import StepFailed

    try:
        wiring.registry.tool(name)
    except StepFailed as error:
        hint = f"; {error.hint}" if error.hint else ""
        raise typer.BadParameter(f"{error.message}{hint}", param_hint="TOOL") from error
    (found,) = tools_of(wiring, (name,))
    if output is Format.TABLE:
        _page(found)
    else:
        write_document(_row(found), output)
    return Exit.OK


def _row(tool: ToolView) -> dict[str, Any]:
    schema = tool.parameters
    short = {"description": one_line(tool.description.split("\n")[0]), "schema": schema}
    named = {"parameters": schema.get("properties", {}), "required": schema.get("required", [])}
    return {"kind": "tool", **tool.model_dump(mode="json"), **short, **named}


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


# --- for people -----------------------------------------------------------------------------------


def _table(rows: list[dict[str, Any]]) -> None:
    headings = ("KIND", "NAME", "LIMITS", "HEALTH", "PARAMETERS", "")
    write_table(headings, ([row["kind"], row["name"], *_details(row)] for row in rows))


def _details(row: dict[str, Any]) -> tuple[str, str, str, str]:
    names = [name if name in row.get("required", ()) else f"[{name}]" for name in row.get("parameters", {})]
    about = one_line(row.get("reason") or row.get("description") or "")
    return _limits(row.get("limits")), _health(row.get("health")), " ".join(names), about


def _limits(limits: Mapping[str, Any] | None) -> str:
    if limits is None:
        return ""
    at_once = f", {limits['concurrency']} at once" if limits["concurrency"] else ""
    tries = limits["max_attempts"]
    return f"{duration(limits['timeout'])}, {tries} {'try' if tries == 1 else 'tries'}{at_once}"


def _health(health: Mapping[str, Any] | None) -> str:
    if health is None:
        return ""
    return "ok" if health["healthy"] else one_line(health["message"] or "it cannot be used")


def _page(tool: ToolView) -> None:
    for label, text in _facts(tool):
        typer.echo(f"{label:<12} {one_line(text)}")
    typer.echo()
    required, definitions = tool.parameters.get("required", []), tool.parameters.get("$defs", {})
    rows = [
        (name, _type(schema, definitions), _default(name, schema, required), schema.get("description", ""))
        for name, schema in tool.parameters.get("properties", {}).items()
    ]
    write_table(("PARAMETER", "TYPE", "DEFAULT", ""), [tuple(map(one_line, row)) for row in rows])


def _facts(tool: ToolView) -> Iterator[tuple[str, str]]:
    yield "tool", tool.name
    yield "does", tool.description
    yield "from", tool.origin
    health = tool.health
    state = "can be used" if health.healthy else "cannot be used"
    yield "health", f"{state}: {health.message}" if health.message else state
    if health.hint:
        yield "hint", health.hint
    if tool.needs:
        yield "needs", ", ".join(tool.needs)
    yield "changes", _changes(tool)
    limits = tool.limits
    pause = f", the first after {duration(limits.backoff_seconds)}" if limits.max_attempts > 1 else ""
    tries = "1 attempt" if limits.max_attempts == 1 else f"{limits.max_attempts} attempts{pause}"
    for label, key, text in (
        ("timeout", "timeout", duration(limits.timeout)),
        ("heartbeat", "heartbeat", duration(limits.heartbeat)),
        ("retry", "retry", tries),
        ("at once", "concurrency", str(limits.concurrency or _UNLIMITED)),
    ):
        yield label, f"{text} (by {limits.sources[key]})"


def _changes(tool: ToolView) -> str:
    again = "may be called again with the same key" if tool.repeatable else "a second call may do harm"
    effects = f"something outside; {again}" if tool.effects else "nothing"
    return f"{effects}; a pause may interrupt it, and it goes on from there" if tool.resumable else effects


def _type(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Returns the type of a parameter as short as a schema lets one say it."""
    if "$ref" in schema:
        return _type(definitions.get(schema["$ref"].rpartition("/")[2], {}), definitions)
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    several = schema.get("anyOf") or schema.get("oneOf")
    if several:
        return " or ".join(dict.fromkeys(_type(one, definitions) for one in several))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}), definitions)}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _default(name: str, schema: Mapping[str, Any], required: list[str]) -> str:
    import json

    if name in required:
        return "required"
    default = schema.get("default")
    return "" if default is None else default if isinstance(default, str) else json.dumps(default)
