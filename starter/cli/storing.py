"""`db …`: what keeps the history store sound, safe and small."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from starter.cli.exits import Exit
from starter.cli.filters import Since, moment
from starter.cli.formats import Format, FormatOption, write_rows
from starter.cli.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from taskmark.settings import Settings
    from taskmark.store.artifacts import FileArtifacts, KeptArtifacts
    from taskmark.store.checking import Checked
    from taskmark.store.cleaning import Cleaned

SHOWN = 5
"""Places that people are shown of each check; `-o json` has some more."""

Archive = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.", show_default=False)]


def upgrade() -> Exit:
    """Bring the history store's tables up to date."""
    from taskmark.store.schema import current, head
    from taskmark.store.schema import upgrade as bring_up

    with _engine(make=True) as engine:
        before = current(engine)
        bring_up(engine)
    say(f"The store is at revision {head()}" + (", as it was." if before == head() else f", from {before}."))
    return Exit.OK


def check(
    fix: Annotated[bool, typer.Option("--fix", help="Make anew what follows from rows.")] = False,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Check that the history store is sound and its sums are true.

    Exits with 1 if something is wrong, and says where and what to do.
    """
    from starter.cli.clients import has_store, settings
    from taskmark.store.checking import REPAIR, repair

    if not has_store(settings()):
        write_rows([], output, lambda: None)
        say(NO_STORE)
        return Exit.OK
    with _engine() as engine:
        where = engine.url.set(query={}).render_as_string(hide_password=True)
        found = _checked(engine)
        if fix and any(one.count and REPAIR in one.fix for one in found):
            say("Making anew what follows from rows; who writes waits.")
            repair(engine)
            found = _checked(engine)
    write_rows([_as_json(one) for one in found], output, lambda: _show(found))
    wrong = sum(bool(one.count) for one in found)
    say(f"{where}: {wrong} of {len(found)} checks found something wrong" if wrong else f"{where} is sound")
    return Exit.FAILED if wrong else Exit.OK


def _checked(engine: Engine) -> list[Checked]:
    from starter.cli.clients import settings
    from taskmark.store.checking import check

    return list(check(engine, _artifacts(engine, settings())))


def _as_json(one: Checked) -> dict[str, object]:
    found = {"check": one.name, "ok": not one.count, "promise": one.promise}
    return found | ({"count": one.count, "wrong": list(one.wrong), "fix": one.fix} if one.count else {})


def _show(found: list[Checked]) -> None:
    from rich.text import Text

    from starter.cli.printable import printable
    from starter.cli.terminal import stdout

    console = stdout()
    for one in found:
        mark = Text("✗ ", "bold red") if one.count else Text("✓ ", "green")
        console.print(Text.assemble(mark, (f"{one.name:<12}", "bold"), one.promise), soft_wrap=True)
        more = [f"… and {one.count - SHOWN} more"] if one.count > SHOWN else []
        fix = [f"fix: {one.fix}"] if one.count else []
        for line in [*one.wrong[:SHOWN], *more, *fix]:
            console.print(" " * 14 + printable(line), soft_wrap=True)


def vacuum() -> Exit:
    """Give back room that deleted rows took.

    It works beside workers: it waits for its turn, and on SQLite their records wait in the spool meanwhile.
    """
    from taskmark.store.schema import current_only
    from taskmark.store.vacuuming import size
    from taskmark.store.vacuuming import vacuum as tidy_up

    with _engine() as engine:
        current_only(engine)
        before = size(engine)
        tidy_up(engine)
        after = size(engine)
        kept = " PostgreSQL keeps the room for new rows." if engine.dialect.name == "postgresql" else ""
    say(f"{_bytes(before)} before, {_bytes(after)} now.{kept}")
    return Exit.OK


def backup(
    file: Archive, force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False
) -> Exit:
    """Write the whole store, with its artifacts, into one file, while workers go on."""
    from starter.cli.clients import settings
    from taskmark.store.backup import back_up

    with _engine() as engine:
        done = back_up(engine, file.absolute(), _folder(settings()), force=force)
    rows = f"{done.counts['executions']} executions, {done.counts['attempts']} attempts"
    say(f"{file}: {_bytes(file.stat().st_size)}, {rows}, {done.artifacts} files of artifacts")
    return Exit.OK


def restore(
    file: Archive,
    force: Annotated[bool, typer.Option("--force", help="Replace a store that has executions.")] = False,
) -> Exit:
    """Put a backup in the store's place, all of it or nothing.

    Nobody else may use the store meanwhile. What a SQLite file held before is kept beside it, as `….bak`.
    """
    from starter.cli.clients import settings
    from taskmark.store.restoring import restore as put_back

    found = settings()
    done = put_back(found.database_url, file, _folder(found), force=force)
    made = f"{done.made_at:%Y-%m-%d %H:%M} UTC by Taskmark {done.taskmark}"
    say(f"The store is as it was on {made}: {done.counts['executions']} executions")
    say("What Temporal still has of later ones comes back with: taskmark backfill")
    return Exit.OK


def cleanup(
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", help="For all statuses that no other option names; 30d by default."),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status", metavar="STATUS=AGE", help="For one status, such as failed=90d or failed=off."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing, say what would be.")] = False,
) -> Exit:
    """Delete executions that ended long ago, with all that belongs to them.

    What has not ended stays. Without options the ages are those of TASKMARK_RETENTION, or 30 days. Metrics
    then no longer count what was deleted. It works beside workers.
    """
    from starter.cli.clients import settings
    from taskmark.errors import InvalidInputs
    from taskmark.retention import USUAL, ages
    from taskmark.store.cleaning import clean
    from taskmark.store.schema import current_only

    found = settings()
    general = [older_than] if older_than else found.retention or [USUAL]
    try:
        wanted = ages([*general, *(status or [])])
    except ValueError as error:
        hint = "an age is such as 30d, 12h or off; --status takes failed=90d"
        raise InvalidInputs([str(error)], hint=hint) from error
    with _engine() as engine:
        current_only(engine)
        _say_cleaned(clean(engine, _artifacts(engine, found), wanted, dry_run=dry_run), dry_run=dry_run)
    return Exit.OK


def _say_cleaned(done: Cleaned, *, dry_run: bool) -> None:
    verb = "would be deleted" if dry_run else "deleted"
    by_status = ", ".join(f"{count} {name}" for name, count in sorted(done.executions.items()) if count)
    detail = f" ({by_status})" if by_status else ""
    say(f"{done.executions.total()} executions{detail} and {done.artifacts} artifacts {verb}")
    if done.held_by:
        say(f"Artifacts from {done.held_by} on stay: it has not ended, and may need them.")
    if by_status and not dry_run:
        say("The room is given back by: taskmark db vacuum")


def export(
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="Where to; - is stdout.")] = "-",
    executions: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EXECUTION...]", help="Only these; enough of an id will do."),
    ] = None,
    since: Since = None,
    task: Annotated[str | None, typer.Option("--task", help="Only executions of this task.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> Exit:
    """Write the history as JSON Lines, one record a line, while workers go on."""
    from taskmark.store.lines import Chosen, exported
    from taskmark.store.reading import History
    from taskmark.store.schema import current_only
    from taskmark.store.whole_file import whole_file

    if file.startswith("exec-") and not Path(file).suffix:
        message = f"{file} looks like an execution: say where to first, such as `taskmark db export - {file}`"
        raise typer.BadParameter(message, param_hint="FILE")
    began = moment(since, "--since")
    with _engine() as engine:
        current_only(engine)
        names = tuple(History(engine).execution(one).execution_id for one in executions or ())
        lines = exported(engine, Chosen(began, task, names))
        if file == "-":
            sys.stdout.writelines(lines)
            return Exit.OK
        with whole_file(Path(file).absolute(), force=force) as out:
            for count, line in enumerate(lines):
                out.write(line.encode())
                records = count  # without the first line, which is none
    say(f"{file}: {records} records")
    return Exit.OK


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `export` wrote; - is stdin.")],
) -> Exit:
    """Merge exported records into the history store; doing it again changes nothing.

    A line that cannot be read is told with its number, the others are merged, and the exit code is 1.
    """
    from starter.cli.clients import settings
    from starter.wiring import Wiring
    from taskmark.store.lines import imported

    wiring = Wiring(settings())
    with _lines_of(file) as lines:
        done = imported(wiring.store, lines, wiring.scrub, _leave_out)
    left = f", {done.broken} lines left out" if done.broken else ""
    say(f"{done.records} records merged{left}")
    return Exit.FAILED if done.broken else Exit.OK


@contextmanager
def _lines_of(file: str) -> Iterator[IO[str]]:
    """Opens what is read line by line; bytes that are no text spoil their line only."""
    from taskmark.errors import Conflict

    stdin = file == "-"
    try:
        with open(
            0 if stdin else file, encoding="utf-8", errors="surrogateescape", closefd=not stdin
        ) as lines:
            yield lines
    except OSError as error:
        raise Conflict(f"{file} cannot be read: {error.strerror}") from error


def _leave_out(line: int, reason: str) -> None:
    say(f"line {line} is left out: {reason}")


COMMANDS = (
    ("upgrade", upgrade, ("upgrade",)),
    ("check", check, ("check", "check --fix", "check -o json")),
    ("vacuum", vacuum, ("vacuum",)),
    ("cleanup", cleanup, ("cleanup --dry-run", "cleanup --older-than 30d --status failed=90d")),
    ("backup", backup, ("backup history-2026-01-31.zip",)),
    ("restore", restore, ("restore history-2026-01-31.zip",)),
    ("export", export, ("export history.jsonl", "export - --since 7d --task example | gzip > week.jsonl.gz")),
    ("import", import_, ("import history.jsonl", "import - < history.jsonl")),
)
"""What `db` carries out, with examples."""


NO_STORE = "There is no store yet: nothing was run here."


@contextmanager
def _engine(*, make: bool = False) -> Iterator[Engine]:
    """Opens the store as it is. Raises `Conflict` if there is none that it may `make`."""
    from starter.cli.clients import has_store, settings
    from taskmark.errors import Conflict
    from taskmark.store.engine import make_engine

    found = settings()
    if not (make or has_store(found)):
        raise Conflict(NO_STORE)
    engine = make_engine(found.database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def _artifacts(engine: Engine, settings: Settings) -> KeptArtifacts:
    from taskmark.store.artifacts import DatabaseArtifacts

    return _folder(settings) or DatabaseArtifacts(engine)


def _folder(settings: Settings) -> FileArtifacts | None:
    from starter.wiring import Wiring

    return Wiring(settings).artifacts_folder


def _bytes(count: int) -> str:
    if count < 10_000:
        return f"{count} bytes"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"
