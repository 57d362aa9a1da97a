"""`plan`: what a run would do, without a server and without doing any of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_document
from starter.cli.inputs import InputFile, Inputs
from starter.cli.naming import Task
from starter.cli.terminal import say, stdout

if TYPE_CHECKING:
    from starter.wiring import Wiring
    from taskmark.plan.experience import Experience
    from taskmark.task.model import TaskDefinition


def plan(
    task: Task,
    *,
    input: Inputs = None,
    inputs: InputFile = None,
    every: Annotated[
        bool, typer.Option("--all", help="Show every step, also of phases with very many.")
    ] = False,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Show what a run would do, how long, and what is in its way.

    No server is contacted, nothing is started and nothing is written. Inputs may be missing; what depends
    on them is then left open.
    """
    from starter.cli.clients import settings
    from starter.cli.inputs import gather_known
    from starter.foreknowledge import foreknowledge
    from starter.wiring import Wiring
    from taskmark.contracts import StartTask
    from taskmark.plan.previewing import preview

    wiring = Wiring(settings())
    definition = wiring.compiler(confined=False).definition(StartTask(task=task))
    given, missing = gather_known(definition, input or [], inputs)
    known = foreknowledge(wiring, definition, _experience(wiring, definition))
    if output is Format.TABLE:
        from starter.cli.plan_view import FEW_STEPS, show_plan

        found = preview(definition, given, missing, known, detailed=None if every else FEW_STEPS)
        show_plan(found, definition.requirements, stdout(), every=every)
    else:
        whole = preview(definition, given, missing, known)
        write_document(whole.model_dump(mode="json", by_alias=True), output)
    return Exit.OK


def _experience(wiring: Wiring, definition: TaskDefinition) -> Experience:
    """Returns what earlier runs took. A plan needs no store: if one does not answer, that is said."""
    from starter.foreknowledge import experience
    from taskmark.errors import Unreachable
    from taskmark.plan.experience import Experience

    try:
        return experience(wiring, definition)
    except Unreachable as error:
        say(f"earlier runs are left out: {error.message}")
        return Experience()
