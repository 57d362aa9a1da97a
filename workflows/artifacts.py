"""Outputs kept in the artifact store: how workflow code puts them there and gets at them.

An output that is only passed on stays a reference, which the activity resolves, so its content never
enters history. An expression that looks into one needs it here, because it is evaluated here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

from taskmark.contracts import (
    ARTIFACT_KEY,
    LOAD_ARTIFACT_ACTIVITY,
    SAVE_ARTIFACT_ACTIVITY,
    is_artifact,
)
from taskmark.errors import Category, StepFailed
from taskmark.plan.sources import bare, texts_in
from taskmark.task import expressions
from taskmark.task.model import Json
from workflows.effort import Effort

TIMEOUT = timedelta(seconds=30)
RETRY = RetryPolicy(maximum_attempts=10, maximum_interval=timedelta(seconds=5))

Path = tuple[str, ...]
"""Of an output, from the name that expressions begin with: `("steps", "count", "output")`."""


class Sources(NamedTuple):
    """What is evaluated together: expressions, templates, and values whose texts are templates.

    A text in such a value that is nothing but one output passes it on and does not look into it.
    """

    expressions: Sequence[Json] = ()
    templates: Sequence[Json] = ()
    values: Sequence[Json] = ()

    def looked_into(self) -> list[Path]:
        """Returns what is read and not just passed on, as far as it is written down.

        Raises `InvalidExpression` for a source that cannot be read.
        """
        found = [path for text in texts_in(self.expressions) for path in _read(bare(text), template=False)]
        found += [path for text in texts_in(self.templates) for path in _read(text, template=True)]
        for text in texts_in(self.values):
            found += [path for path in _read(text, template=True) if not _passes_on(text, path)]
        return found

    def read(self) -> list[Path]:
        """Returns everything that is read, also what is passed on. Raises `InvalidExpression`."""
        passed_on = [path for text in texts_in(self.values) for path in _read(text, template=True)]
        return [*self.looked_into(), *passed_on]


class Shelf:
    """What one workflow keeps in the artifact store, and what it has fetched from there."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self._loaded: dict[str, Json] = {}
        self._at_work = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way to the artifact store or from there."""
        return self._at_work == 0

    async def prepare(self, names: dict[str, Any], sources: Sources) -> dict[str, Any]:
        """Returns the names with every artifact filled in that one of the sources looks into.

        Raises `InvalidExpression` for a source that cannot be read, `StepFailed` if an artifact is gone.
        """
        wanted = dict.fromkeys(kept for path in sources.looked_into() for kept in _kept(names, path))
        for path in wanted:
            names = _replaced(names, path, await self.load(_at(names, path)))
        return names

    async def load(self, value: Json) -> Json:
        """Returns the value, or what it refers to, fetched once. Raises `StepFailed` if it is gone."""
        if not is_artifact(value):
            return value
        key = value[ARTIFACT_KEY]
        if key not in self._loaded:
            with self._working():
                self._loaded[key] = await self._activity(
                    LOAD_ARTIFACT_ACTIVITY, value, "fetch an output that an expression looks into"
                )
        return self._loaded[key]

    async def filled(self, value: Json) -> Json:
        """Returns the value with everything in it that it refers to. Raises `StepFailed` if that is gone."""
        if is_artifact(value):
            return await self.load(value)
        if isinstance(value, dict):
            return {key: await self.filled(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [await self.filled(inner) for inner in value]
        return value

    async def keep(self, value: Json, limit: int) -> Json:
        """Returns the value, or a reference to it if it is larger than the limit.

        Raises `StepFailed` for one that is too large even for the way to the artifact store.
        """
        size = size_of(value)
        if size <= limit or is_artifact(value):
            return value
        with self._working():
            await self._effort.send(size, "an output")
            return await self._activity(SAVE_ARTIFACT_ACTIVITY, value, "keep a large output")

    @contextmanager
    def _working(self) -> Iterator[None]:
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1

    async def _activity(self, name: str, value: Json, summary: str) -> Json:
        try:
            return await workflow.execute_activity(
                name, value, start_to_close_timeout=TIMEOUT, retry_policy=RETRY, summary=summary
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            message = f"the artifact store does not give or take an output: {error.cause}"
            raise StepFailed(message, Category.RESOURCE, type="artifact_failed") from error


def absent(names: Mapping[str, Any], sources: Sources) -> list[str]:
    """Returns the outputs that are read and not there, as they are written.

    Raises `InvalidExpression` for a source that cannot be read.
    """
    found = dict.fromkeys(output for path in sources.read() for output in _output_of(path))
    return [".".join(path) for path in found if not _is_there(names, path)]


def size_of(value: Json) -> int:
    """Returns the bytes of the value as JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode())


# --- what is kept, and what reads it --------------------------------------------------------------


_OUTPUTS = {"inputs": 1, "steps": 3, "phases": 4}
"""How long the path of an output is, by the name it begins with."""


def _kept(names: Mapping[str, Any], path: Path) -> Iterator[Path]:
    """Yields the path of each output that is a reference, and that a path leads to, into, or over."""
    found: list[Path] = [path[: _OUTPUTS.get(path[0], 0)]]
    while found:
        place = found.pop()
        if not place or not _is_there(names, place):
            continue
        value = _at(names, place)
        if is_artifact(value):
            yield place
        elif len(place) < _OUTPUTS[place[0]] and isinstance(value, dict):
            found += [(*place, key) for key in reversed(value)]


def _passes_on(text: str, path: Path) -> bool:
    """Whether a template is nothing but the output that the path leads to."""
    return len(path) == _OUTPUTS.get(path[0]) and bare(text) == ".".join(path)


def _read(text: str, *, template: bool) -> list[Path]:
    return [reference.path for reference in expressions.references(text, template=template)]


def _output_of(path: Path) -> Iterator[Path]:
    """Yields the output that a path leads to or into, if it does."""
    if path[0] == "steps" and len(path) > 1:
        yield (*path[:2], "output")
    elif path[0] == "phases" and len(path) > 3:
        yield path[:4]


def _is_there(names: Mapping[str, Any], path: Path) -> bool:
    try:
        _at(names, path)
    except (KeyError, TypeError):
        return False
    return True


def _at(names: Mapping[str, Any], path: Path) -> Any:
    value: Any = names
    for key in path:
        value = value[key]
    return value


def _replaced(names: dict[str, Any], path: Path, value: Json) -> dict[str, Any]:
    head, *rest = path
    return {**names, head: _replaced(names[head], tuple(rest), value) if rest else value}
