"""The narrow seams: what the engine asks of tools, agents, artifacts and the recorder."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel

from taskmark.contracts import Usage
from taskmark.errors import Category, StepFailed
from taskmark.records import Record
from taskmark.shared import MemoryShared, Shared
from taskmark.task.model import Agent, Json, StepLimits

Parameters = TypeVar("Parameters", bound=BaseModel)


SAID_LENGTH = 200
"""Characters of what a step says that are kept."""


def _no_heartbeat(*_details: Any) -> None:
    """Heartbeats go nowhere where nobody listens."""


def _no_secret(name: str) -> str:
    """There are no secrets where nobody keeps any."""
    raise StepFailed(f"there is no secret {name} here", Category.CONFIGURATION)


def _unheard(_text: str) -> None:
    """What is said goes nowhere where nobody listens."""


def _unguarded(_what: str, _target: str) -> AbstractAsyncContextManager[None]:
    """Every call is let through where nobody remembers who is down."""
    return nullcontext()


def _uncharged(_usage: Usage) -> None:
    """What is used is charged to nobody where nobody counts."""


@dataclass(frozen=True)
class StepContext:
    """What a tool or agent may know about where it runs."""

    root: Path
    """What file tools may touch and where processes start."""
    execution_id: str = ""
    task_id: str = ""
    phase: str = ""
    step: str = ""
    item: int | None = None
    attempt: int = 1
    idempotency_key: str = ""
    project: str | None = None
    trace_id: str = ""
    worker_id: str = ""
    timeout: float = 600.0
    """Seconds the call may take; the caller ends it then."""
    heartbeat: Callable[..., None] = _no_heartbeat
    """Keeps details that a later attempt gets as `resume`. Liveness is reported without it."""
    say: Callable[[str], None] = _unheard
    """Tells who watches what it does just now: one line, of which the newest is shown while the step runs. It
    costs no call, because it goes with the next sign of life, and no later attempt gets it."""
    resume: Json = None
    reduced: bool = False
    refresh_credentials: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    resources: dict[str, float] = field(default_factory=dict)
    """What it used so far, as who measured it says: `cpu_seconds` of all its processes, `max_rss_bytes` of
    the largest (never below what their launcher needs), `written_bytes` and `printed_bytes` of them,
    `received_bytes` and `sent_bytes` over the network, and `model_calls` of a language model."""
    limits: StepLimits = field(default_factory=StepLimits)
    """What it may use; processes and HTTP clients of Taskmark's own keep to it by themselves."""
    journal: str | None = None
    """Where what its phase changes is remembered (`taskmark.tools.journal`); None: nowhere."""
    shared: Shared = field(default_factory=MemoryShared)
    """What workers remember together."""
    parents: tuple[str, ...] = ()
    """Spans of what it reads."""
    allow: tuple[str, ...] = ()
    """Tools with side effects that an agent may call without asking a person."""
    tools: Toolbox = field(default_factory=lambda: NoTools())  # noqa: PLW0108 - it is defined below
    """What an agent may call while it is asked."""
    guard: Callable[[str, str], AbstractAsyncContextManager[None]] = _unguarded
    """Surrounds a call of a target, such as an agent's provider: it raises `StepFailed` (`circuit_open`)
    while that is known to be down, and learns from how the call ends."""
    charge: Callable[[Usage], None] = _uncharged
    """Tells what this attempt has used so far: if it fails, that is charged all the same."""
    secret: Callable[[str], str] = _no_secret
    """Returns a secret that the task declares, by its name; from then on it is masked wherever it may be
    shown. It may wait for a command: call it in a thread if the tool is `async`. Raises `StepFailed`."""
    hide: Callable[[str], str] = str
    """Takes known secrets out of a text, also what a cut has left of one at its ends. What a call returns,
    says or raises is masked anyway: it is for who cuts a text, or writes it where nobody masks."""
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("taskmark.step"))


@dataclass(frozen=True)
class Health:
    """Whether a component can be used, and if not, why and what to do."""

    healthy: bool
    message: str = ""
    hint: str | None = None


class Tool(ABC, Generic[Parameters]):
    """A tool adapter. What it raises that is not `StepFailed` counts as transient."""

    name: ClassVar[str]
    parameters: type[Parameters]
    effects: ClassVar[bool] = True
    """Whether a call changes anything outside."""
    repeatable: ClassVar[bool] = False
    """Whether a second call with the same parameters and idempotency key changes nothing more, or only who
    wrote what it runs can tell. The linter warns of others in phases that are run again."""
    resumable: ClassVar[bool] = False
    """Whether it goes on from its heartbeat details."""
    stoppable: ClassVar[bool] = True
    """Whether a cancellation ends it; what runs in a thread goes on."""
    timeout: ClassVar[float | None] = None
    """Seconds; absent means the engine's default."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Programs, modules (`python:pandas`) and variables (`$API_KEY`) without which it cannot be used."""
    version: ClassVar[str] = ""
    """With another version a step's `cache` holds nothing: change it with what the tool returns."""

    @abstractmethod
    async def execute(self, parameters: Parameters, context: StepContext) -> Json:
        """Does the work and returns a JSON value. Cancellation must leave nothing running."""

    def validate(self, arguments: Mapping[str, Json]) -> Parameters:
        """Checks arguments against the parameters. Raises `StepFailed` naming each problem."""
        from taskmark.tools.validation import validate_arguments

        return validate_arguments(self.name, self.parameters, arguments)

    def target(self, parameters: Parameters) -> str | None:
        """Returns what the call depends on (a host, a database, a server's name), or None for nothing that
        can be down: calls of a target that fails again and again are held back for a while."""
        return None

    def estimate_duration(self, parameters: Parameters) -> float | None:
        """Seconds the call is expected to take, or None if it cannot be told."""
        return None

    async def health_check(self) -> Health:
        """Whether it can be used now; unless it says more, whether what it `needs` is there."""
        from taskmark.tools.needs import health_of

        return health_of(self.needs)


@dataclass(frozen=True)
class Question:
    """What an agent is asked."""

    instruction: str
    context: Mapping[str, Json]
    """`inputs`, `phases`, `steps` as far as the step's phase reads them, the step's own `with`, and `answers`
    if the agent asked a person: `question`, `value`, `by` of each."""
    schema: Mapping[str, Json] | None = None
    """The JSON Schema that the answer must fit (`taskmark.fitting`)."""


@dataclass(frozen=True)
class Answer:
    """What it says."""

    output: Json
    usage: Usage | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class ToolCall:
    """A tool that an agent calls while it is asked."""

    name: str
    arguments: Mapping[str, Json]
    number: int
    """Counts the calls of one question, from 1."""


class Toolbox(Protocol):
    """Calls tools for an agent as steps do: checked, confined, limited, with a key, and told in history."""

    def find(self, name: str) -> Tool[Any]:
        """Returns a tool. Raises `StepFailed` (configuration)."""
        ...

    async def call(self, call: ToolCall) -> Json:
        """Returns what the tool returns. Raises `StepFailed`, and whatever else the tool raises."""
        ...

    def refused(self, call: ToolCall, reason: str) -> None:
        """Tells of a call that is not made."""
        ...


class NoTools:
    """A `Toolbox` with nothing in it."""

    def find(self, name: str) -> Tool[Any]:
        """As `Toolbox.find`."""
        raise StepFailed(f"there is no tool {name!r} here", Category.CONFIGURATION)

    async def call(self, call: ToolCall) -> Json:
        """As `Toolbox.call`."""
        raise StepFailed(f"there is no tool {call.name!r} here", Category.CONFIGURATION)

    def refused(self, call: ToolCall, reason: str) -> None:
        """Tells nobody."""


class AgentProvider(Protocol):
    """Asks agents whose `model` begins with its prefix.

    It may also have `health(model)`, which returns the `Health` of what answers for a model.
    """

    async def ask(self, agent: Agent, question: Question, context: StepContext) -> Answer:
        """Returns the agent's answer. Cancellation must leave nothing running."""
        ...


class Artifacts(Protocol):
    """Outputs too large for history, by content. Called in threads; safe to call twice."""

    def save(self, content: bytes) -> str:
        """Keeps the content and returns its SHA-256."""
        ...

    def load(self, sha256: str) -> bytes:
        """Returns the content. Raises `KeyError` if it is not there."""
        ...


class Recorder(Protocol):
    """Takes records without ever waiting for the store."""

    def record(self, *records: Record) -> None:
        """Keeps the records for writing and returns at once. Never raises."""
        ...
