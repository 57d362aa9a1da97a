"""Definition to text: the canonical markdown of a task.

`parse_text(render(definition), task_id=definition.id)` gives the definition again, except for what does
not stand in a task's own file: `sha256` and `source_path`, and the texts in `agents` and `tasks`, which
come from the catalog.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from taskmark.errors import InvalidDefinition
from taskmark.task.agent_tools import tool_name
from taskmark.task.amounts import rate_text, size_text
from taskmark.task.catalog import Catalog
from taskmark.task.durations import duration_text
from taskmark.task.model import (
    BUILT_IN_KINDS,
    GATES,
    Fallback,
    Json,
    Notification,
    Output,
    Phase,
    Requirement,
    Retry,
    Step,
    StepLimits,
    TaskDefinition,
    TaskLimits,
)
from taskmark.task.parser import check_text
from taskmark.task.resolution import derived_id
from taskmark.task.slugs import slug
from taskmark.task.step_text import item_lines
from taskmark.task.yaml_text import entries, inline, scalar

NOT_IN_THE_FILE = frozenset({"sha256", "source_path", "agents", "tasks"})
"""Fields of a definition that its own file does not say."""

_NAMED_OUTPUT = re.compile(r"[^\W\d][\w-]*")


def render(definition: TaskDefinition) -> str:
    """Returns the canonical markdown of a definition.

    Raises `InvalidDefinition` if it holds something that no task file can say, naming it: every definition
    that came from a file can be rendered, one that was put together otherwise perhaps not.
    """
    text = "\n\n".join(_parts(definition)) + "\n"
    _refuse_loss(definition, text)
    return text


def heading(level: int, text: str) -> str:
    """Returns the line of a heading. Marks that end a text are part of it only if others close it."""
    unmarked = text.rstrip("#")
    closing = " #" if unmarked != text and unmarked[-1:] in ("", " ", "\t") else ""
    return f"{'#' * level} {text}{closing}".rstrip()


def _parts(definition: TaskDefinition) -> Iterator[str]:
    yield heading(1, " ".join(definition.name.split()))
    yield _fenced(entries(dict(_metadata(definition))))
    for phase in definition.phases:
        yield from _phase_parts(phase, {other.slug: other.name for other in definition.phases})
    if definition.outputs:
        yield _section("## Outputs", map(_output, definition.outputs))


def _fenced(lines: list[str]) -> str:
    longest = max((len(run) for line in lines for run in re.findall(r"^ *(`{3,})", line)), default=2)
    marker = "`" * (longest + 1)
    return "\n".join([f"{marker}yaml", *lines, marker])


def _section(title: str, items: Iterator[str] | map[str]) -> str:
    return "\n".join([title, *(f"- {item}" for item in items)])


# --- metadata -------------------------------------------------------------------------------------


def _metadata(task: TaskDefinition) -> Iterator[tuple[str, Json]]:
    """Yields the keys of the metadata that differ from what their absence means."""
    yield "name", task.name
    yield from _given(description=task.description, version=task.version)
    if task.max_execution_time is not None:
        yield "maxExecutionTime", duration_text(task.max_execution_time)
    if task.retry != Retry():
        yield "retry", _retry(task.retry)
    if task.requirements:
        yield "requirements", {one.name: _requirement(one) for one in task.requirements}
    yield from _given(
        agents=task.default_agents,
        maxConcurrentPhases=task.max_concurrent_phases,
        maxConcurrentSteps=task.max_concurrent_steps,
        project=task.project,
        secrets=task.secrets,
        allow=task.allow,
    )
    yield from _limits(task)
    if task.notify:
        yield "notify", [_notification(one) for one in task.notify]
    if task.on_complete is not None:
        yield "onComplete", task.on_complete


def _notification(notification: Notification) -> Json:
    arguments = {"with": notification.arguments} if notification.arguments else {}
    return {"on": list(notification.on), "tool": notification.tool, **arguments}


def _given(**values: Json) -> Iterator[tuple[str, Json]]:
    """Yields what is neither absent nor empty."""
    return ((key, value) for key, value in values.items() if value is not None and value not in ("", ()))


def _limits(task: TaskDefinition) -> Iterator[tuple[str, Json]]:
    if task.budget is not None:
        budget, ask = task.budget, task.budget.ask_above
        above = None if ask is None else dict(_given(agentCalls=ask.agent_calls, cost=ask.cost))
        limits = _given(tokens=budget.tokens, cost=budget.cost, agentCalls=budget.agent_calls, askAbove=above)
        yield "budget", dict(limits)
    if task.limits is not None:
        yield "limits", _task_limits(task.limits)
    if task.paused_timeout is not None:
        yield (
            "pausedTimeout",
            {
                "after": duration_text(task.paused_timeout.after),
                "then": task.paused_timeout.then,
            },
        )
    if task.schedule is not None:
        schedule = task.schedule
        catch_up = None if schedule.catch_up is None else duration_text(schedule.catch_up)
        overlap = None if schedule.overlap == "skip" else schedule.overlap
        zone = None if schedule.timezone == "UTC" else schedule.timezone
        others = _given(timezone=zone, overlap=overlap, catchUp=catch_up)
        yield "schedule", {"cron": schedule.cron, **dict(others)}


def _task_limits(limits: TaskLimits) -> Json:
    each = None if limits.per_step is None else _step_limits(limits.per_step)
    sizes = _sizes(disk=limits.disk, received=limits.received, sent=limits.sent)
    return dict([*_durations(cpu=limits.cpu), *sizes, *_given(perStep=each)])


def _step_limits(limits: StepLimits) -> Json:
    return dict(
        [
            *_sizes(memory=limits.memory),
            *_durations(cpu=limits.cpu),
            *_sizes(output=limits.output),
            *_given(openFiles=limits.open_files, processes=limits.processes),
            *_sizes(disk=limits.disk),
            *_given(network=None if limits.network is None else rate_text(limits.network), nice=limits.nice),
        ]
    )


def _sizes(**sizes: int | None) -> Iterator[tuple[str, Json]]:
    return ((key, size_text(amount)) for key, amount in sizes.items() if amount is not None)


def _retry(retry: Retry) -> Json:
    return {"maxAttempts": retry.max_attempts, "backoffMs": retry.backoff_ms}


def _requirement(requirement: Requirement) -> Json:
    long = {
        **dict(_given(description=requirement.description)),
        **({"optional": True} if requirement.optional else {}),
        **({} if requirement.default is None else {"default": requirement.default}),
        **dict(_given(min=_whole(requirement.min), max=_whole(requirement.max), values=requirement.values)),
    }
    return {"type": requirement.type, **long} if long else requirement.type


def _whole(number: float | None) -> float | None:
    return int(number) if number is not None and number.is_integer() else number


# --- phases ---------------------------------------------------------------------------------------


def _phase_parts(phase: Phase, names: dict[str, str]) -> Iterator[str]:
    options = (f"{key}: {value}" for key, value in _phase_options(phase, names))
    yield "\n".join([heading(2, f"Phase: {phase.name}"), *options])
    if phase.steps:
        steps = (_step_lines(step, position, phase) for position, step in enumerate(phase.steps, start=1))
        yield "\n".join(["### Steps", *(line for lines in steps for line in lines)])
    if phase.agents:
        yield _section("### Agents", iter(phase.agents))
    if phase.outputs:
        yield _section("### Outputs", map(_output, phase.outputs))


def _phase_options(phase: Phase, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yields option lines. Each stays on its line: under a heading a blank line would end it."""
    if phase.depends_on:
        yield "dependsOn", inline([names.get(other, other) for other in phase.depends_on])
    if phase.parallel:
        yield "parallel", "true"
    if phase.condition is not None:
        yield "if", scalar(phase.condition)
    if phase.for_each is not None:
        yield "forEach", _for_each(phase.for_each)
    if phase.max_concurrent is not None:
        yield "maxConcurrent", str(phase.max_concurrent)
    if phase.timeout is not None:
        yield "timeout", duration_text(phase.timeout)
    if phase.retry is not None:
        yield "retry", inline(_retry(phase.retry))
    if phase.on_failure != "fail":
        yield "onFailure", phase.on_failure
    if phase.rollback:
        yield "rollback", "true"
    if phase.checkpoint is not None:
        yield "checkpoint", scalar(phase.checkpoint)


def _for_each(value: Json) -> str:
    return scalar(value) if isinstance(value, str) else inline(value)


def _output(output: Output) -> str:
    # A name that is none in `name: expression` came from words alone, which give the expression again.
    if output.expression is None or not _NAMED_OUTPUT.fullmatch(output.name):
        return output.name
    return f"{output.name}: {output.expression}"


# --- steps ----------------------------------------------------------------------------------------


def _step_lines(step: Step, position: int, phase: Phase) -> Iterator[str]:
    yield from item_lines(step)
    own = step.value if step.kind in GATES else ""
    if step.id != (slug(own) or derived_id(phase.slug, step.kind, position)):
        yield from _entry_lines("id", step.id)
    for key, value in _step_options(step):
        yield from _entry_lines(key, value)


def _entry_lines(key: str, value: Json) -> list[str]:
    """Returns a key of a step as it stands under the step."""
    if key in ("retry", "fallback", "limits") and _is_short(value):
        return [f"  {key}: {inline(value)}"]
    return entries({key: value}, 2)


def _is_short(value: Any) -> bool:
    simple = not isinstance(value, dict) or not any(isinstance(one, dict | list) for one in value.values())
    return simple and len(inline(value)) <= 60 and "\n" not in inline(value)


def _step_options(step: Step) -> Iterator[tuple[str, Json]]:
    """Yields the keys of a step that differ from what their absence means; what it is given comes last."""
    yield from _given(**{"if": step.condition}, forEach=_listed(step.for_each))
    yield from _durations(timeout=step.timeout, heartbeat=step.heartbeat)
    yield from _given(retry=None if step.retry is None else _retry(step.retry), critical=step.critical)
    if step.fallback is not None:
        yield "fallback", _fallback(step.fallback, step.kind)
    yield from _durations(cache=step.cache)
    if step.circuit != "retry":
        yield "circuit", step.circuit
    if step.idempotency_key is not None:
        yield "idempotencyKey", step.idempotency_key
    yield from _given(complexity=step.complexity)
    yield from _durations(estimate=step.estimate)
    if step.limits is not None:
        yield "limits", _step_limits(step.limits)
    if step.on_timeout != "fail":
        yield "onTimeout", step.on_timeout
    if step.on_reject != "fail":
        yield "onReject", step.on_reject
    yield from _given(approvers=step.approvers, allow=step.allow, schema=step.answer_schema)
    if step.arguments:
        yield "with", step.arguments


def _listed(value: Json) -> Json:
    return list(value) if isinstance(value, tuple) else value


def _durations(**durations: float | None) -> Iterator[tuple[str, Json]]:
    return ((key, duration_text(seconds)) for key, seconds in durations.items() if seconds is not None)


def _fallback(fallback: Fallback, kind: str) -> Json:
    if fallback.kind == "value":
        return {"value": fallback.value}
    if fallback.arguments is not None:
        return {fallback.kind: fallback.name, "with": fallback.arguments}
    implied = {"tool": "tool", "agent": "agent", "plain": "agent"}.get(kind)
    return fallback.name if implied == fallback.kind else {fallback.kind: fallback.name}


# --- what no file can say -------------------------------------------------------------------------


def _refuse_loss(definition: TaskDefinition, text: str) -> None:
    """Reads the text again: whatever it lost or cannot say is refused, known to us or not."""
    checked = check_text(text, catalog=_vocabulary(definition), task_id=definition.id)
    if checked.definition is None:
        problem = checked.errors[0]
        raise InvalidDefinition(
            f"no task file can say this definition: {problem.message}, in `{_line(text, problem.line)}`",
            hint=problem.hint,
        )
    given, read = (one.model_dump(exclude=set(NOT_IN_THE_FILE)) for one in (definition, checked.definition))
    place = difference(given, read)
    if place is not None:
        raise InvalidDefinition(
            f"no task file can say this definition: `{place}` would be read back as something else"
        )


def _line(text: str, number: int) -> str:
    line = text.split("\n")[number - 1].strip()
    return line if len(line) <= 60 else line[:59] + "…"


def _vocabulary(definition: TaskDefinition) -> Catalog:
    """Returns a catalog in which whatever the definition names exists."""
    steps = [step for phase in definition.phases for step in phase.steps]
    fallbacks = [step.fallback.name for step in steps if step.fallback and step.fallback.kind == "tool"]
    told = [notification.tool for notification in definition.notify or ()]
    allowed = map(tool_name, (*definition.allow, *(name for step in steps for name in step.allow)))
    return Catalog(
        tools=dict.fromkeys(
            [*(step.value for step in steps if step.kind == "tool"), *fallbacks, *told, *allowed]
        ),
        kinds=frozenset(step.kind for step in steps) - BUILT_IN_KINDS,
        aggregates=frozenset(step.value for step in steps if step.kind == "aggregate"),
    )


def difference(one: Any, other: Any, place: str = "") -> str | None:
    """Returns where two pieces of data differ, types and order of keys included; None if nowhere."""
    if type(one) is not type(other):
        return place
    if isinstance(one, dict):
        if list(one) != list(other):
            return place
        pairs = [(f"{place}.{key}".lstrip("."), one[key], other[key]) for key in one]
    elif isinstance(one, list | tuple):
        if len(one) != len(other):
            return place
        pairs = [(f"{place}[{index}]", a, b) for index, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return None if one == other else place
    return next((found for key, a, b in pairs if (found := difference(a, b, key)) is not None), None)
