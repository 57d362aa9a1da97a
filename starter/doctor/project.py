"""Checks of the project: settings, folders, task and agent files, the history store."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from starter.doctor.check import Check
from taskmark.errors import TaskmarkError
from taskmark.settings import find_file, unknown_variables

if TYPE_CHECKING:
    from taskmark.ports import Health
    from taskmark.settings import Settings

FREE_BYTES = 512 * 1024 * 1024
"""Less free space than this is reported: the server stops when its database cannot grow."""


def variables() -> Check:
    """Whether every `TASKMARK_*` variable is a setting."""
    unknown = unknown_variables(os.environ)
    if not unknown:
        return Check("settings", True, f"From {find_file(Path.cwd()) or 'variables and defaults'}.")
    guesses = " ".join(
        f"Did you mean {meant} instead of {name}?" if meant else f"Remove {name}."
        for name, meant in unknown.items()
    )
    return Check("settings", False, f"Not a setting: {', '.join(unknown)}.", guesses)


def state_directory(settings: Settings) -> Check:
    """Whether the state directory can be written and has room."""
    name, folder = "state directory", settings.state_dir
    place = folder
    while not place.exists():
        place = place.parent
    try:
        # Trying is the only honest way to know; a file of this kind is never listed.
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        fix = "Set TASKMARK_STATE_DIR to a directory you may write to."
        return Check(name, False, f"{place} cannot be written: {error.strerror or error}.", fix)
    free = shutil.disk_usage(place).free
    message = f"{folder}, {free / 2**30:.1f} GiB free"
    if free < FREE_BYTES:
        return Check(name, False, message, "Free some disk space, or set TASKMARK_STATE_DIR to another disk.")
    return Check(name, True, message)


def root(settings: Settings) -> Check:
    """Whether the root, which steps work in, is a directory."""
    if settings.root.is_dir():
        return Check("root", True, str(settings.root))
    return Check("root", False, f"{settings.root} is no directory.", "Set TASKMARK_ROOT to one.")


def store(settings: Settings) -> Check:
    """Whether the history store answers and has the tables this version knows."""
    from taskmark.store.engine import make_engine
    from taskmark.store.schema import current, head

    if (
        settings.database_url == f"sqlite:///{settings.state_dir / 'taskmark.db'}"
        and not (settings.state_dir / "taskmark.db").exists()
    ):
        return Check("store", True, "Not there yet; the first run makes it.")
    engine = make_engine(settings.database_url)
    try:
        revision = current(engine)
    finally:
        engine.dispose()
    where = engine.url.render_as_string(hide_password=True)
    if revision == head():
        return Check("store", True, f"{where}, revision {revision}")
    found = revision or "no tables"
    return Check(
        "store", False, f"{where} has {found}, this version uses {head()}.", "Run `taskmark db upgrade`."
    )


def plugins(settings: Settings) -> Check:
    """Whether every plugin can be imported and everything it registers can be used."""
    from starter.wiring import Wiring

    registry = Wiring(settings).registry
    if registry.broken:
        reasons = "\n".join(f"{name}: {reason}" for name, reason in registry.broken.items())
        fix = "Correct them, or take them out of TASKMARK_PLUGINS. Only steps that use them are affected."
        return Check("plugins", False, reasons, fix)
    return Check("plugins", True, ", ".join(registry.plugins) or "None are named in TASKMARK_PLUGINS.")


def tasks(settings: Settings) -> Check:
    """Whether every task file can be read, with the tools and agents there are."""
    from starter.wiring import Wiring
    from taskmark.task import parse_file

    catalog = Wiring(settings).catalog
    files = sorted(settings.tasks_dir.glob("*.md"))
    readers = [partial(parse_file, file, catalog=catalog) for file in files]
    return _read_all("tasks", settings.tasks_dir, readers)


def agents(settings: Settings) -> Check:
    """Whether every agent file can be read."""
    from taskmark.task.agent_files import agent_ids, load_agent

    folder = settings.agents_dir
    return _read_all("agents", folder, [partial(load_agent, folder, name) for name in agent_ids(folder)])


def models(settings: Settings) -> Check:
    """Whether every agent can be asked on this machine, as far as that can be told without asking, or else
    the one that its file falls back on."""
    from starter.wiring import Wiring
    from taskmark.task.agent_files import agent_ids, load_agent

    asking, folder = Wiring(settings).asking, settings.agents_dir
    known = {name: agent for name in agent_ids(folder) if (agent := load_agent(folder, name))}
    health = {name: asking.health(agent) for name, agent in known.items()}
    silent = [name for name, found in health.items() if not found.healthy]
    lost = [name for name in silent if not _has_healthy(health, known[name].fallback)]
    if lost:
        hints = dict.fromkeys(found.hint for name in lost if (found := health[name]).hint)
        return Check("models", False, "\n".join(health[name].message for name in lost), "; or: ".join(hints))
    if silent:
        others = f"{len(known) - len(silent)} of {len(known)} agents can be asked, as far as can be told."
        return Check("models", True, f"{others} For the others their fallbacks answer: {', '.join(silent)}.")
    return Check("models", True, f"All of {len(known)} agents can be asked, as far as can be told.")


def _has_healthy(health: Mapping[str, Health], name: str | None) -> bool:
    return name is not None and name in health and health[name].healthy


def _read_all(name: str, folder: Path, readers: Sequence[Callable[[], object]]) -> Check:
    problems = [problem for read in readers if (problem := _problem(read))]
    if problems:
        return Check(name, False, "\n".join(problems), "Run `taskmark lint` and follow its hints.")
    return Check(name, True, f"{len(readers)} in {folder}")


def _problem(read: Callable[[], object]) -> str | None:
    try:
        read()
    except TaskmarkError as error:
        return error.message
    return None
