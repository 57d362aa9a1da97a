"""`taskmark doctor`: what on this machine, in this project or in the cluster keeps tasks from running.

Each check stands alone: one that breaks reports itself and hides no other.
"""

from __future__ import annotations

from starter.doctor.check import Check, Checker, isolated
from taskmark.errors import InvalidSettings
from taskmark.settings import Settings


def diagnose() -> list[Check]:
    """Returns every check for the settings as they are found, also when they are wrong."""
    try:
        settings = Settings()
    except InvalidSettings as error:
        return [*_of_the_machine(), Check("settings", False, error.message, error.hint)]
    return [*_of_the_machine(), *checks(settings)]


def checks(settings: Settings) -> list[Check]:
    """Returns every check that depends on settings, in the order a newcomer would fix what they find.

    Runs an event loop of its own: async code calls it in a thread.
    """
    # Imported here, so that what one of them needs and lacks is no obstacle for the others.
    from starter.doctor import cluster, machine, project

    checkers: list[Checker] = [
        machine.temporal_binary,
        machine.go,
        machine.ports,
        project.state_directory,
        project.root,
        project.plugins,
        project.tasks,
        project.agents,
        project.models,
        project.store,
    ]
    return [*(isolated(checker, settings) for checker in checkers), *cluster.checks(settings)]


def _of_the_machine() -> list[Check]:
    from starter.doctor import machine, project

    return [machine.python(), machine.packages(), machine.git(), project.variables()]


__all__ = ["Check", "checks", "diagnose"]
