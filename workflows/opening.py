"""How an execution begins: from whatever it was given to a checked definition and checked inputs.

Anyone may start it, with anything. Whatever is wrong fails the workflow at once and says what and
where; an exception here would fail only the workflow task, which Temporal repeats for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from taskmark.contracts import (
    CHECKPOINTS_ACTIVITY,
    COMPILE_ACTIVITY,
    ENGINE,
    ID_LIMIT,
    RESULT_LIMIT,
    Compiled,
    Limits,
    PhaseStart,
    Resumed,
    ResumeFrom,
    Resuming,
    Reuse,
    StartTask,
    is_artifact,
)
from taskmark.errors import InvalidInputs
from taskmark.plan import soundness
from taskmark.plan.reuse import asked_anew, over
from taskmark.task.inputs import check_inputs
from taskmark.task.model import Json, TaskDefinition
from taskmark.task.packing import unpack
from workflows import travelling
from workflows.artifacts import size_of

MESSAGE_LIMIT = 4_000
SCHEDULED_BY = "TemporalScheduledById"
"""The search attribute that Temporal gives to what a schedule has started."""
EXAMPLE = '{"task": "repo-health", "inputs": {}}'


def read(given: Sequence[Any]) -> StartTask:
    """Returns the start as a message. Raises `ApplicationError` (`invalid_start`) if it is none."""
    if len(given) != 1 or not isinstance(given[0], dict):
        raise refused("invalid_start", f"the input has to be one object such as {EXAMPLE}")
    start = given[0]
    try:
        request = StartTask.model_validate(start)
    except ValidationError as error:
        problems = "; ".join(_problem(e) for e in error.errors(include_url=False))
        raise refused("invalid_start", f"the input does not fit: {problems}") from None
    unknown = [str(key)[:64] for key in start if key not in StartTask.model_fields]
    if unknown:
        known = "`task` or `source`, `inputs`, `project`, `build_id`"
        raise refused("invalid_start", f"unknown: {', '.join(unknown)[:200]}; a start takes {known}")
    named = [request.task, request.source, request.definition, request.packed]
    given_ones = sum(value is not None for value in named)
    if given_ones > 1 or (given_ones == 0 and request.resume_from is None):
        message = f"give exactly one of `task`, `source` and `definition`, such as {EXAMPLE}"
        raise refused("invalid_start", message)
    if request.resume_from is not None and request.retry_of is None:
        request = request.model_copy(update={"retry_of": resume_from(request).execution})
    if workflow.info().parent is None:
        request = request.model_copy(update={"budgets": ()})  # nobody above it answers
    return request if "cause" in start else request.model_copy(update={"cause": _cause(request)})


def resume_from(request: StartTask) -> ResumeFrom:
    """Returns from where the execution is to go on. Raises `ApplicationError` (`invalid_start`)."""
    try:
        return ResumeFrom.model_validate(request.resume_from)
    except ValidationError as error:
        problems = "; ".join(_problem(e) for e in error.errors(include_url=False))
        message = (
            f"`resume_from` is an execution's id, or `execution` with `phase` or `checkpoint`: {problems}"
        )
        raise refused("invalid_start", message) from None


def _cause(request: StartTask) -> str:
    """Returns what started it, of which the start itself says nothing."""
    if request.retry_of is not None:
        return "retry"
    return "schedule" if SCHEDULED_BY in workflow.info().search_attributes else "user"


def read_phase(given: Sequence[Any]) -> PhaseStart:
    """Returns what a task gave one of its phases. Raises `ApplicationError` (`invalid_start`) for anything
    that a task does not give."""
    if workflow.info().parent is None:
        raise refused(
            "invalid_start", f"a phase is started by its task; start a task instead, with {EXAMPLE}"
        )
    try:
        return PhaseStart.model_validate(*given)
    except (TypeError, ValidationError) as error:
        raise refused("invalid_start", f"a task of another version started this phase: {error}") from None


async def resumed(request: StartTask) -> Resumed | None:
    """Returns what is needed to go on from an earlier execution, if this one is to.

    The activity also compiles what has to be compiled: it needs to know which inputs there are. Raises
    `ApplicationError` (`invalid_start`, and what `compiled` raises).
    """
    if request.resume_from is None:
        return None
    wanted = resume_from(request)
    asked = Resuming(
        wanted=wanted,
        task=request.task,
        source=request.source,
        brought=request.definition is not None or request.packed is not None,
        inputs=request.inputs,
        subtask=request.report_to is not None,
    )
    found: Resumed = await _activity(
        CHECKPOINTS_ACTIVITY,
        travelling.compact(asked),
        Resumed,
        f"what can be reused of {wanted.execution}",
        wanted.execution,
    )
    return found


async def compiled(
    request: StartTask, earlier: Resumed | None = None
) -> tuple[TaskDefinition, dict[str, Json], Limits]:
    """Returns the definition, the checked inputs and the limits, compiling the text if need be.

    Raises `ApplicationError` (`invalid_task`, `invalid_inputs`) with every problem.
    """
    if earlier is not None and (earlier.definition is not None or earlier.packed is not None):
        definition = earlier.definition or unpack(earlier.packed or "", TaskDefinition)
        inputs, limits = dict(earlier.inputs), earlier.limits or Limits()
    elif request.task is not None or request.source is not None:
        found = await _compile(request)
        definition = found.definition or unpack(found.packed or "", TaskDefinition)
        inputs, limits = dict(found.inputs), found.limits
    else:
        definition, inputs = _checked(request, earlier)
        limits = request.limits or _usual_limits()
    _check_sizes(definition, inputs)
    return definition, inputs, limits


def _usual_limits() -> Limits:
    """Who starts a definition by hand says nothing of limits, and wants what everybody gets. What began
    before that was so goes on as it began."""
    return Limits(engine=ENGINE) if workflow.patched("definitions-by-hand") else Limits()


def check_place(request: StartTask, definition: TaskDefinition) -> None:
    """Raises `ApplicationError` (`invalid_start`) if the phase to go on from is none of the task's."""
    if request.resume_from is None:
        return
    phase, slugs = resume_from(request).phase, [phase.slug for phase in definition.phases]
    if phase is not None and phase not in slugs:
        known = ", ".join(slugs)
        raise refused("invalid_start", f"`resume_from`: there is no phase “{phase}”; there are {known}")


def offered(
    request: StartTask, earlier: Resumed | None, definition: TaskDefinition, phase: str
) -> Reuse | None:
    """Returns what a phase may reuse, if the execution goes on from an earlier one."""
    if earlier is None:
        return None
    wanted = resume_from(request)
    if why := earlier.missing.get(phase) or asked_anew(definition, wanted, phase):
        return Reuse(execution=wanted.execution, why_not=why)
    steps = earlier.phases.get(phase)
    if steps is None:
        return Reuse(execution=wanted.execution, why_not="its phase left no checkpoint")
    if is_artifact(steps) or isinstance(steps, list):
        return Reuse(execution=wanted.execution, kept=steps)
    return Reuse(execution=wanted.execution, steps=steps)


def _checked(request: StartTask, earlier: Resumed | None) -> tuple[TaskDefinition, dict[str, Json]]:
    try:
        definition = request.definition or unpack(request.packed or "", TaskDefinition)
    except ValueError as error:
        raise refused("invalid_start", f"the packed definition cannot be read: {error}"[:2000]) from None
    if found := soundness.problems(definition):
        raise refused("invalid_start", f"the definition is not sound: {'; '.join(found[:10])}")
    try:
        given = request.inputs if earlier is None else over(definition, earlier.inputs, request.inputs)
        return definition, check_inputs(definition, given)
    except InvalidInputs as error:
        raise refused("invalid_inputs", error.message, {"problems": list(error.problems)}) from None


def _check_sizes(definition: TaskDefinition, inputs: dict[str, Json]) -> None:
    """Raises `ApplicationError` for what would not fit Temporal's limits later, where nobody could say so."""
    if size_of(inputs) > RESULT_LIMIT:
        problem = f"the inputs have {size_of(inputs) // 1024} KiB, and {RESULT_LIMIT // 1024} are allowed"
        problem += "; put large data into a file and give its path"
        raise refused("invalid_inputs", problem, {"problems": [problem]})
    if found := soundness.too_long(definition, workflow.info().workflow_id):
        message = (
            f"ids of workflows have at most {ID_LIMIT} bytes; start it with a shorter id: {found[0][:60]}…"
        )
        raise refused("invalid_start", message)


async def _compile(request: StartTask) -> Compiled:
    name = request.task or "the given text"
    found: Compiled = await _activity(COMPILE_ACTIVITY, request, Compiled, f"check {name}", name)
    return found


async def _activity(name: str, asked: Any, result: type[Any], summary: str, about: str) -> Any:
    """Returns what an activity finds out before anything begins. Raises `ApplicationError` if it cannot."""
    try:
        return await workflow.execute_activity(
            name,
            asked,
            result_type=result,
            start_to_close_timeout=timedelta(seconds=60),
            retry_policy=RetryPolicy(maximum_attempts=20, maximum_interval=timedelta(seconds=10)),
            summary=summary[:200],
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        cause = error.cause
        if isinstance(cause, ApplicationError):
            raise refused(cause.type or "invalid_task", cause.message, *cause.details) from None
        raise refused("invalid_task", f"{about} could not be checked: {cause}") from None


def refused(kind: str, message: str, *details: Any) -> ApplicationError:
    """Returns the failure of an execution that cannot begin."""
    return ApplicationError(message[:MESSAGE_LIMIT], *details, type=kind, non_retryable=True)


def _problem(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    return f"`{place}`: {error['msg'].lower()}"[:500]
