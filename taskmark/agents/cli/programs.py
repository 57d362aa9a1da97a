"""What a command-line agent is to us: a program, its command line, and the meaning of what it prints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final

from taskmark.agents.cli.hearing import Heard, Message
from taskmark.task.model import Json

READING: Final = ("read-file", "search-files", "list-files")
"""What an agent may do whose file names no tools."""


@dataclass(frozen=True)
class Asked:
    """What one run is to do, besides what is on its standard input."""

    session: str = ""
    """The id that its session has or is to have; empty if the program is to choose one."""
    resumes: bool = False
    """Whether the session is there already."""
    model: str = ""
    """Empty: as the program is configured."""
    tools: tuple[str, ...] = READING
    """What it may use, as the agent's file names them; none means none."""
    schema: Mapping[str, Json] | None = None
    """What the answer must fit."""
    max_turns: int | None = None
    max_cost: float | None = None
    """In the currency that the program counts in."""


@dataclass(frozen=True)
class CliSetting:
    """What is set for one program."""

    program: str | None = None
    """Where it is, if it is not found by its name."""
    env: tuple[str, ...] = ()
    """Variables of the worker's that it is given."""
    arguments: tuple[str, ...] = ()
    """Words put before those of ours in its command line."""
    max_turns: int | None = None
    max_cost: float | None = None
    """Both of one call, for agents that say nothing of them."""


class CliProgram(ABC):
    """A program that answers. Its prompt comes on standard input; it prints one JSON object a line."""

    name: ClassVar[str]
    """As in `model: cli:<name>`."""
    executable: ClassVar[str]
    install: ClassVar[str]
    """How to get it, for who lacks it."""
    chooses_session: ClassVar[bool] = False
    """Whether the program makes up the session's id, instead of taking ours."""
    environment: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Variables that are always set."""

    @abstractmethod
    def arguments(self, asked: Asked) -> tuple[str, ...]:
        """Returns the words after the program's name. Raises `StepFailed` (configuration) for what it cannot
        do."""

    @abstractmethod
    def hear(self, message: Message, heard: Heard) -> None:
        """Takes in one message. It may be of any shape: what is not understood is left out."""

    def lacks_session(self, said: str) -> bool:
        """Whether a run that was to resume says that there is no such session."""
        return False

    def has_session(self, said: str) -> bool:
        """Whether a run that was to begin says that its session is there already."""
        return False


def built_in() -> dict[str, CliProgram]:
    """Returns the programs that come with Taskmark."""
    from taskmark.agents.cli.claude import Claude
    from taskmark.agents.cli.codex import Codex

    return {program.name: program for program in (Claude(), Codex())}
