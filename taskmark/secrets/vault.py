"""Named secrets for steps: found where they are configured, used again until they expire, masked for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from taskmark.errors import Category, StepFailed
from taskmark.secrets.forms import SHORTEST
from taskmark.secrets.masks import Masks
from taskmark.secrets.sources import Found, Source
from taskmark.task.secret_references import NAME

MISSING_SECONDS: Final = 30.0
"""For how long a secret that could not be had is not asked for again only to be masked."""


class Vault:
    """Finds secrets by name. It may wait for a command, so call it in a thread; safe from many at once."""

    def __init__(
        self,
        sources: Sequence[Source] = (),
        masks: Masks | None = None,
        *,
        projects: Mapping[str, Sequence[str]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """The first source that has a secret counts. With `projects` a project may use those names alone that
        one of its patterns, or of `*`, fits."""
        self.masks = masks or Masks()
        self._sources = tuple(sources)
        self._projects = projects or {}
        self._clock = clock
        self._found: dict[str, Found] = {}
        self._missed: dict[str, float] = {}
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def get(self, name: str, *, project: str | None = None, fresh: bool = False) -> str:
        """Returns a secret; a `fresh` one is asked for anew. From now on it is masked.

        Raises `StepFailed`: configuration if it is nowhere or cannot be used, permission if the project may
        not use it, transient if who knows it does not answer.
        """
        self._must_be_allowed(name, project)
        with self._lock_of(name):
            known = self._found.get(name)
            if known is None or fresh or self._clock() >= known.until:
                known = self._found[name] = self._ask(name)
            return known.value

    def learn(self, names: Iterable[str], *, project: str | None = None) -> None:
        """Has secrets masked that a call may come across. What cannot be had is left out, and for a while not
        asked for again. If who knows them does not answer, that counts for all: a call cannot wait for each.
        """
        wanted = [name for name in names if self._clock() >= self._missed.get(name, 0.0)]
        for position, name in enumerate(wanted):
            try:
                self.get(name, project=project)
            except StepFailed as error:
                is_down = error.category is Category.TRANSIENT
                missed = wanted[position:] if is_down else [name]
                self._missed |= dict.fromkeys(missed, self._clock() + MISSING_SECONDS)
                if is_down:
                    return

    def missing(self, names: Iterable[str], *, project: str | None = None) -> list[StepFailed]:
        """Returns why secrets could not be used here, of those that could not."""
        found: list[StepFailed] = []
        for name in names:
            try:
                self.get(name, project=project)
            except StepFailed as error:
                found.append(error)
        return found

    def _ask(self, name: str) -> Found:
        for source in self._sources:
            found = source.find(name)
            if found is not None:
                self._must_be_maskable(name, found.value)
                self.masks.add(found.value, name)
                return found
        places = " or ".join(source.where(name) for source in self._sources)
        hint = f"put it into {places}, on every worker" if places else None
        raise StepFailed(f"there is no secret {name} here", Category.CONFIGURATION, hint=hint)

    def _must_be_maskable(self, name: str, value: str) -> None:
        if len(value) < SHORTEST:
            reason = f"the secret {name} has fewer than {SHORTEST} characters, so nothing could hide it"
            raise StepFailed(reason, Category.CONFIGURATION, hint="use a longer one")

    def _must_be_allowed(self, name: str, project: str | None) -> None:
        if NAME.fullmatch(name) is None:
            raise StepFailed(f"{name!r} names no secret", Category.CONFIGURATION)
        if not self._projects:
            return
        patterns = [*self._projects.get(project or "", ()), *self._projects.get("*", ())]
        if not any(fnmatchcase(name, pattern) for pattern in patterns):
            whose = f"the project {project}" if project else "a task without a project"
            hint = "the setting secrets_projects says who may"
            raise StepFailed(f"{whose} may not use the secret {name}", Category.PERMISSION, hint=hint)

    def _lock_of(self, name: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(name, threading.Lock())
