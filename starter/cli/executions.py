"""`run`, `start` and `watch`: begin an execution, follow it, show how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_document, write_line
from starter.cli.inputs import InputFile, Inputs
from starter.cli.loops import run_async
from starter.cli.naming import Execution, Task
from starter.cli.terminal import command, person_present, say

if TYPE_CHECKING:
    from starter.cli.interrupts import Interrupts
    from starter.cli.watching import Watched
    from starter.gateway import TaskClient
    from taskmark.contracts import TaskResult
    from taskmark.settings import Settings
    from taskmark.task.model import Json, TaskDefinition

OwnId = Annotated[
    str | None, typer.Option("--id", help="An id of your own; while it runs, a repeated start returns it.")
]
Key = Annotated[
    str | None,
    typer.Option("--key", help="Names this work among the task's: started twice, it is one execution."),
]
Version = Annotated[
    str | None,
    typer.Option("--version", help="A version of before, as `taskmark versions` shows it, and not the file."),
]
Project = Annotated[str | None, typer.Option("--project", help="The project it belongs to.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Only start it, as `start` does.")]
People = Annotated[
    bool | None,
    typer.Option(
        "--wait/--no-wait",
        help="Whether to go on watching when only a person can go on, or to exit with 5. "
        "As it is by default: wait in a terminal only.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Request:
    """What is to be started, checked."""

    definition: TaskDefinition
    inputs: dict[str, Json]
    id: str | None
    key: str | None
    project: str | None

    @property
    def task(self) -> str:
        """The task's id."""
        return self.definition.id

    async def begin(self, client: TaskClient) -> str:
        """Starts it and returns the execution's id."""
        from starter.cli.forewarning import show

        return await client.start(
            definition=self.definition,
            inputs=self.inputs,
            id=self.id,
            key=self.key,
            project=self.project,
            warn=show,
        )


def run(
    task: Task,
    *,
    input: Inputs = None,
    inputs: InputFile = None,
    version: Version = None,
    id: OwnId = None,
    key: Key = None,
    project: Project = None,
    detach: Detach = False,
    people: People = None,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Run a task: start it, work on it, watch it, show the result.

    On the embedded server this process is also a worker. Ctrl-C leaves the execution as it is, and
    `taskmark watch` comes back to it.
    """
    from starter.cli.clients import settings

    found = settings()
    request = Request(*_checked(found, task, version, input or [], inputs), id, key, project)
    if detach:
        return run_async(started(found, request, output))
    return run_async(followed(found, request, people, output))


def start(
    task: Task,
    *,
    input: Inputs = None,
    inputs: InputFile = None,
    version: Version = None,
    id: OwnId = None,
    key: Key = None,
    project: Project = None,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Start a task and print its execution id.

    Somebody else works on it: a worker has to run, or `dev`, `run` or `watch` on the embedded server.
    """
    from starter.cli.clients import settings

    found = settings()
    request = Request(*_checked(found, task, version, input or [], inputs), id, key, project)
    return run_async(started(found, request, output))


def watch(execution: Execution, people: People = None, output: FormatOption = Format.TABLE) -> Exit:
    """Watch an execution until it ends, and show its result.

    On the embedded server this process also works on it.
    """
    from starter.cli.clients import leave_elsewhere, settings

    found = settings()
    leave_elsewhere(found, execution)
    return run_async(_watch(found, execution, people, output))


def _checked(
    settings: Settings, task: str, version: str | None, pairs: list[str], file: str | None
) -> tuple[TaskDefinition, dict[str, Json]]:
    """Returns what is to be run, before any server is started. Raises `InvalidTask`, `InvalidInputs` and,
    for a version, `Conflict`."""
    from starter.cli.inputs import gather
    from starter.foreknowledge import lacking_secrets
    from starter.wiring import Wiring
    from taskmark.contracts import StartTask

    wiring = Wiring(settings)
    if version is None:
        definition = wiring.compiler(confined=False).definition(StartTask(task=task))
    else:
        definition = wiring.versions.definition(task, version)
    given = gather(definition, pairs, file, ask=True)
    for reason in lacking_secrets(wiring, definition):
        say(f"warning: {reason}")
    return definition, given


class Beginning(Protocol):
    """What can be started."""

    async def begin(self, client: TaskClient) -> str:
        """Starts it and returns the execution's id."""
        ...

    @property
    def task(self) -> str:
        """The task's id; known once it has begun."""
        ...


async def started(settings: Settings, request: Beginning, output: Format) -> Exit:
    """Starts it and says how to watch it."""
    from starter.cli.clients import is_alone, opened

    async with opened(settings, worker=False) as client:
        execution = await request.begin(client)
        if output is Format.TABLE:
            typer.echo(execution)
        else:
            write_line({"execution_id": execution, "task": request.task})
        if await is_alone(client):
            say("It is kept, but work stands still: nobody else uses the embedded server.")
        say(f"  watch it:   {command('watch', execution)}")
    return Exit.OK


async def followed(settings: Settings, request: Beginning, people: bool | None, output: Format) -> Exit:
    """Starts it, works on it, watches it and shows the result."""
    from starter.cli.clients import opened
    from starter.cli.interrupts import interrupts

    with interrupts(settings.grace_seconds) as caught:
        async with opened(settings) as client:
            execution = await request.begin(client)
            await _say_continuing(client, execution)
            watched = await _watched(client, execution, people, caught)
            caught.leave_by(watched.exit)
            return await _finish(client, execution, watched, output)


async def _watch(settings: Settings, prefix: str, people: bool | None, output: Format) -> Exit:
    from starter.cli.clients import opened, resolve
    from starter.cli.interrupts import interrupts

    with interrupts(settings.grace_seconds) as caught:
        async with opened(settings) as client:
            execution = await resolve(client, prefix)
            watched = await _watched(client, execution, people, caught)
            caught.leave_by(watched.exit)
            return await _finish(client, execution, watched, output)


async def _say_continuing(client: TaskClient, execution: str) -> None:
    """Names the executions that this process, being a worker, also works on."""
    if client.server is None:
        return
    others = [one for one in await client.active(limit=20) if one.execution_id != execution]
    for other in others[:5]:
        say(f"continuing {other.execution_id}", style="dim")
    if len(others) > 5:
        say(f"continuing {len(others) - 5} more; `taskmark list` shows them", style="dim")


async def _watched(client: TaskClient, execution: str, people: bool | None, caught: Interrupts) -> Watched:
    from starter.cli import watching

    return await watching.watch(
        client,
        execution,
        caught.await_request(),
        wait_for_people=person_present() if people is None else people,
        view=watching.view(),
    )


async def _finish(client: TaskClient, execution: str, watched: Watched, output: Format) -> Exit:
    from starter.cli.verdict import show_ways_on

    if watched.result is None:
        if watched.progress is not None and output is not Format.TABLE:
            # It has not ended; who asked for a document learns how far it is.
            write_document(watched.progress.model_dump(mode="json"), output)
        await _say_why(client, watched, execution)
    else:
        _show(watched.result, watched.progress.task if watched.progress else execution, output)
        show_ways_on(execution, web_ui=client.server is not None)
    return watched.exit


def _show(result: TaskResult, task: str, output: Format) -> None:
    from starter.cli.verdict import show_outputs, show_verdict

    show_verdict(result, task)
    if output is Format.TABLE:
        show_outputs(result.outputs)
    else:
        write_document(result.model_dump(mode="json"), output)


async def _say_why(client: TaskClient, watched: Watched, execution: str) -> None:
    from starter.cli.clients import is_alone
    from starter.cli.watching import say_why

    grace = client.wiring.settings.grace_seconds if client.server else 0
    say_why(watched, execution, still=await is_alone(client), grace=grace)
