"""`record`: tells the history store of work that Temporal does not run, as scripts and CI jobs do it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_line
from starter.cli.naming import Execution, Reason
from starter.cli.terminal import say

if TYPE_CHECKING:
    from starter.store import StoreClient
    from taskmark.store.tries import Use
    from taskmark.task.model import Json

Pairs = list[str] | None
PAIR = "NAME=TEXT"
Told = Callable[["StoreClient", str], None]
"""What is done with the store and the execution's whole id."""

Tokens = Annotated[int | None, typer.Option("--tokens", min=0, help="Tokens that this try used.")]
Cost = Annotated[float | None, typer.Option("--cost", min=0, help="What this try cost.")]
Files = Annotated[
    list[str] | None, typer.Option("--file", metavar="PATH", help="A file that it wrote. Repeat it.")
]
Questions = Annotated[int | None, typer.Option("--questions", min=0, help="Questions it asked people.")]


def start(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="The task's id, or its name.", show_default=False)
    ],
    *,
    input: Annotated[
        Pairs,
        typer.Option("-i", "--input", metavar=PAIR, help="An input; NAME:=JSON for other values. Repeat it."),
    ] = None,
    inputs: Annotated[
        str | None, typer.Option("--inputs", metavar="FILE", help="A JSON file of inputs, or - for stdin.")
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", help="The execution's id: of your own, or to try again.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", help="Names this work among the task's: started twice, it is one execution."),
    ] = None,
    agent: Annotated[str | None, typer.Option("--agent", help="Who does it.")] = None,
    project: Annotated[str | None, typer.Option("--project", help="The project it belongs to.")] = None,
    build: Annotated[str | None, typer.Option("--build", help="The build it belongs to.")] = None,
    path: Annotated[str | None, typer.Option("--path", help="The file that says what is to be done.")] = None,
    trace: Annotated[str | None, typer.Option("--trace", help="The trace's id, 32 hex digits.")] = None,
    retry_of: Annotated[
        str | None,
        typer.Option("--retry-of", metavar="EXECUTION", help="The execution that this one repeats."),
    ] = None,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Begin an execution, or its next try, and print its id."""
    given = _object(input, inputs)
    with _store() as store:
        name = store.elsewhere.start(
            task,
            given,
            id=id,
            idempotency_key=key,
            agent=agent,
            project=project,
            build_id=build,
            task_list_path=path,
            trace_id=trace,
            retry_of=retry_of,
        )
    if output is Format.TABLE:
        typer.echo(name)
    else:
        write_line({"execution_id": name})
    return Exit.OK


def progress(
    execution: Execution,
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="What it does now.", show_default=False)],
    message: Annotated[
        str, typer.Argument(metavar="[MESSAGE]", help="More about it.", show_default=False)
    ] = "",
) -> Exit:
    """Tell how far a running try is."""
    return _tell(execution, lambda store, name: store.elsewhere.progress(name, stage, message))


def complete(
    execution: Execution,
    *,
    result: Annotated[
        Pairs,
        typer.Option(
            "-r", "--result", metavar=PAIR, help="An output; NAME:=JSON for other values. Repeat it."
        ),
    ] = None,
    results: Annotated[
        str | None, typer.Option("--results", metavar="FILE", help="A JSON file of outputs, or - for stdin.")
    ] = None,
    tokens: Tokens = None,
    cost: Cost = None,
    file: Files = None,
    questions: Questions = None,
) -> Exit:
    """Tell that it has completed, with its outputs and what it used."""
    outputs, used = _object(result, results), _used(tokens, cost, file, questions)

    def told(store: StoreClient, id: str) -> None:
        store.elsewhere.complete(id, outputs, **used)
        say(f"{id} is completed")

    return _tell(execution, told)


def fail(
    execution: Execution,
    error: Annotated[
        str,
        typer.Argument(
            metavar="ERROR", help="What went wrong, or - for a failure as JSON on stdin.", show_default=False
        ),
    ],
    *,
    will_retry: Annotated[
        bool, typer.Option("--will-retry", help="It is tried again: `record start --id` begins the next try.")
    ] = False,
    tokens: Tokens = None,
    cost: Cost = None,
    file: Files = None,
    questions: Questions = None,
) -> Exit:
    """Tell that it has failed, and whether it is tried again."""
    failure, used = _failure() if error == "-" else error, _used(tokens, cost, file, questions)

    def told(store: StoreClient, id: str) -> None:
        store.elsewhere.fail(id, failure, will_retry=will_retry, **used)
        say(f"{id} has failed" + ("; it waits for its next try" if will_retry else ""))

    return _tell(execution, told)


def cancel(execution: Execution, reason: Reason = "") -> Exit:
    """Tell that it was given up."""

    def told(store: StoreClient, id: str) -> None:
        store.elsewhere.cancel(id, reason)
        say(f"{id} is cancelled")

    return _tell(execution, told)


def _tell(prefix: str, told: Told) -> Exit:
    with _store() as store:
        told(store, store.history.execution(prefix).execution_id)
    return Exit.OK


@contextmanager
def _store() -> Iterator[StoreClient]:
    from starter.cli.clients import settings
    from starter.store import StoreClient

    with StoreClient.open(settings()) as store:
        yield store


# --- words ----------------------------------------------------------------------------------------


def _object(pairs: Pairs, file: str | None) -> dict[str, Json] | None:
    """Returns what a file and pairs say, or None if there are none. Raises `InvalidInputs`."""
    from starter.cli.inputs import from_file, split_pairs

    if not pairs and file is None:
        return None
    found = from_file(file) if file else {}
    for name, value in split_pairs(pairs or []).items():
        found |= {name[:-1].rstrip(): _json(value)} if name.endswith(":") else {name: value}
    return found


def _json(text: str) -> Any:
    from taskmark.errors import InvalidInputs

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        hint = "write NAME:=JSON, such as rows:=3, or NAME=TEXT"
        raise InvalidInputs([f"`{text[:80]}` is not JSON: {error}"], hint=hint) from error


def _used(tokens: int | None, cost: float | None, files: list[str] | None, questions: int | None) -> Use:
    return {"tokens": tokens, "cost": cost, "files": tuple(files or ()), "questions": questions}


def _failure() -> Any:
    """Returns the failure on the standard input: an object with at least a `message`."""
    from pydantic import ValidationError

    from starter.cli.inputs import from_file
    from taskmark.errors import Failure, InvalidInputs

    try:
        return Failure.model_validate({"type": "step_failed", **from_file("-")})
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors(include_input=False)]
        raise InvalidInputs(problems, hint='such as {"message": "…", "category": "transient"}') from error
