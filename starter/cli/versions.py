"""`versions`: the versions of a task that the history store knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_rows, write_table
from starter.cli.naming import Task
from starter.cli.terminal import say

if TYPE_CHECKING:
    from datetime import datetime

    from taskmark.store.versions import Version


def versions(task: Task, output: FormatOption = Format.TABLE) -> Exit:
    """List the versions of a task that were run.

    The one used last comes first. `start` and `run` take a version, or enough of its hash, by `--version`.
    """
    from dataclasses import asdict

    from starter.cli.clients import history, settings
    from starter.wiring import Wiring

    wiring = Wiring(settings())
    found = wiring.versions.of(task) if history(wiring) else ()
    rows = [{name: _plain(value) for name, value in asdict(one).items()} for one in found]
    write_rows(rows, output, lambda: _table(found))
    if not found:
        say(f"The store knows no version of {task}: it has those that were run.")
    return Exit.OK


def _plain(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _table(found: tuple[Version, ...]) -> None:
    from taskmark.store.versions import SHOWN

    if not found:
        return
    headings = ("HASH", "VERSION", "FIRST USED", "LAST USED", "EXECUTIONS", "FILE", "")
    lines = [
        (
            one.sha256[:SHOWN],
            one.version or "-",
            _day(one.first_used),
            _day(one.last_used),
            str(one.executions),
            one.source_path or "-",
            "" if one.whole else "not as it ran: cannot be started",
        )
        for one in found
    ]
    write_table(headings, lines)


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"
