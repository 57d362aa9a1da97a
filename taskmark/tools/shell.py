"""`shell`: a program with its arguments."""

from __future__ import annotations

from typing import Final, Self

from pydantic import Field, model_validator

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.ports import Health, StepContext, Tool
from taskmark.task.model import Json
from taskmark.tools.processes import Command, Ended, ProcessLimits, launcher_health, run
from taskmark.tools.sizes import json_size, keep_tail
from taskmark.tools.validation import Arguments

NOT_EXECUTABLE, NOT_FOUND = 126, 127
SHORTAGES: Final = (
    *("MemoryError", "std::bad_alloc", "Cannot allocate memory"),
    *("No space left on device", "Disk quota exceeded", "File too large", "Too many open files"),
)
"""What programs print when the system, or a limit of ours that it enforces, refuses them something."""


class ShellParameters(Arguments):
    """What to run."""

    command: list[str] | str = Field(description="A program and its arguments; text only with `shell: true`")
    shell: bool = Field(default=False, description="Let /bin/sh read the command")
    cwd: str = Field(default=".", description="A directory under the root")
    env: dict[str, str] = Field(default_factory=dict, description="Added to a clean environment")
    stdin: str | None = None
    allow_failure: bool = Field(default=False, description="Return a non-zero exit code instead of failing")

    @model_validator(mode="after")
    def _command_fits_shell(self) -> Self:
        """Text is only for a shell, a list only for no shell: nobody gets a shell by accident."""
        if isinstance(self.command, str) and not self.shell:
            raise ValueError('"command" is text: write a list such as [ls, -l], or set "shell: true"')
        if isinstance(self.command, list) and self.shell:
            raise ValueError('"command" is a list: write text, or leave "shell" out')
        if not self.command:
            raise ValueError('"command" is empty')
        return self


class Shell(Tool[ShellParameters]):
    """Runs a program in a process of its own, under limits, and leaves nothing running."""

    name = "shell"
    repeatable = True
    parameters = ShellParameters

    def __init__(self, limits: ProcessLimits | None = None) -> None:
        self._limits = limits

    async def execute(self, parameters: ShellParameters, context: StepContext) -> Json:
        """Returns `exit_code`, `stdout`, `stderr` and `truncated`, the streams whose beginning is missing.

        Raises `StepFailed`: transient for a non-zero exit, resource if it says that it lacked something,
        configuration for 126 and 127.
        """
        ended = await run(_command(parameters), context, self._limits)
        if ended.exit_code and not parameters.allow_failure:
            raise _failed(ended)
        return _output(ended)

    async def health_check(self) -> Health:
        """Whether processes can be started."""
        return await launcher_health()


def _command(parameters: ShellParameters) -> Command:
    """Returns what to start. Raises `StepFailed` (configuration)."""
    words = (
        parameters.command if isinstance(parameters.command, list) else ["/bin/sh", "-c", parameters.command]
    )
    try:
        stdin = None if parameters.stdin is None else parameters.stdin.encode()
    except UnicodeEncodeError as error:
        raise StepFailed("stdin: no text that a program can be given", Category.CONFIGURATION) from error
    return Command(tuple(words), directory=parameters.cwd, environment=parameters.env, stdin=stdin)


def _failed(ended: Ended) -> StepFailed:
    """Returns the error for a non-zero exit."""
    if ended.exit_code in (NOT_EXECUTABLE, NOT_FOUND):
        return StepFailed(
            ended.reason, Category.CONFIGURATION, hint="a program it calls is missing or is not executable"
        )
    if any(word in ended.stderr.text for word in SHORTAGES):
        return StepFailed(ended.reason, Category.RESOURCE, hint="let it do less at one time")
    return StepFailed(ended.reason, hint="set `allowFailure: true` if this exit code is an answer")


def _output(ended: Ended) -> Json:
    """Returns the output, each stream at most half of what an adapter may return."""
    streams = {"stdout": ended.stdout, "stderr": ended.stderr}
    budget = ADAPTER_LIMIT - 1024
    # The quieter stream leaves what it does not need to the other.
    texts: dict[str, str] = {}
    for left, name in enumerate(sorted(streams, key=lambda name: streams[name].total)):
        texts[name] = keep_tail(streams[name].text, budget // (2 - left))
        budget -= json_size(texts[name])
    truncated = [
        name for name in streams if streams[name].truncated or len(texts[name]) < len(streams[name].text)
    ]
    return {
        "exit_code": ended.exit_code,
        "stdout": texts["stdout"],
        "stderr": texts["stderr"],
        "truncated": truncated,
    }
