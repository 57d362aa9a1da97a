"""Every setting, in one place: `TASKMARK_*` variables, then `taskmark.toml`, then defaults.

`taskmark.toml` is looked for in the current directory and, inside a git repository, in the directories
above it up to the repository's root. The directory it is found in is the project's; without a file that
is the current directory. Relative paths in the file and relative defaults start at the project's
directory, those in variables at the current directory, and `tasks_dir` and `agents_dir` at `root`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from taskmark.contracts import ENGINE, HISTORY_EVENTS, TASK_QUEUE, Limits
from taskmark.errors import InvalidSettings
from taskmark.task.amounts import parse_rate, parse_size
from taskmark.task.durations import parse_duration

FILE_NAME = "taskmark.toml"
PREFIX = "TASKMARK_"
TEMPORAL_DEFAULT = "localhost:7233"
"""What Temporal's own configuration means when a profile names no address."""

GIVEN_TO_STEPS = frozenset(
    {
        *("TASKMARK_IDEMPOTENCY_KEY", "TASKMARK_EXECUTION_ID", "TASKMARK_PROJECT_ID", "TASKMARK_WORKER_ID"),
        *("TASKMARK_ATTEMPT", "TASKMARK_REDUCED", "TASKMARK_REFRESH_CREDENTIALS"),
    }
)
"""Variables that processes started by steps find in their environment; they are not settings."""

Names = Annotated[tuple[str, ...], NoDecode]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]
"""Seconds, written as a duration."""
Size = Annotated[int, BeforeValidator(parse_size), Field(gt=0)]
"""Bytes, written as a size."""
Rate = Annotated[int, BeforeValidator(parse_rate), Field(gt=0)]
"""Bytes per second, written as a rate."""
ByName = Annotated[dict[str, str], NoDecode]
"""A table in `taskmark.toml`, a JSON object in the environment."""
Port = Annotated[int, Field(ge=1, le=65535)]
PositiveSeconds = Annotated[float, Field(gt=0, le=86400)]
OneOrSeveral = Annotated[
    tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)
]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of a variable of the environment: never what it holds."""
Share = Annotated[float, Field(gt=0, le=1)]

_PATHS = (
    "state_dir",
    "root",
    "artifacts_dir",
    "temporal_cli_path",
    "secrets_folder",
    "encryption_keys_file",
)
SECRET_PREFIX = "TASKMARK_SECRET_"  # noqa: S105 - the beginning of names
"""Variables that hold what tasks name under `secrets`, unless another prefix is set."""


class ProjectFile(InitSettingsSource):
    """The values of `taskmark.toml`, with their paths made absolute.

    Raises `InvalidSettings` if it is not TOML or has a key that is no setting.
    """

    def __init__(self, settings: type[BaseSettings], path: Path | None) -> None:
        values = {} if path is None else _read_file(path, settings.model_fields)
        super().__init__(settings, init_kwargs=values)


class _Set(BaseModel):
    """Base of settings within settings: camelCase, as in task files."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class ToolRetry(_Set):
    """How often a tool is tried."""

    max_attempts: int = Field(default=3, ge=1)
    backoff_ms: int = Field(default=1000, ge=0)


class ToolLimitSetting(_Set):
    """What one attempt of a tool may use; a task file can only ask for less."""

    memory: Size | None = None
    cpu: Duration | None = None
    output: Size | None = None
    open_files: int | None = Field(default=None, ge=1)
    processes: int | None = Field(default=None, ge=1)
    disk: Size | None = None
    network: Rate | None = None
    nice: int | None = Field(default=None, ge=0, le=19)


class ToolSetting(_Set):
    """What is set for one tool."""

    timeout: Duration | None = None
    heartbeat: Duration | None = None
    retry: ToolRetry | None = None
    concurrency: int | None = Field(default=None, ge=1)
    limits: ToolLimitSetting | None = None


class PriceSetting(_Set):
    """What a model costs, in US dollars per million tokens."""

    input: float = Field(default=0.0, ge=0)
    output: float = Field(default=0.0, ge=0)


class ProviderSetting(_Set):
    """Who provides language models."""

    speaks: str = "openai"
    """The protocol: `anthropic`, `openai`, or a provider of pydantic-ai."""
    base_url: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    keys: tuple[VariableName, ...] = ()
    """Variables of the environment that hold a key each."""
    concurrency: int | None = Field(default=None, ge=1)
    """Calls at once with one key, of one worker."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Calls with one key, of all workers together."""
    prices: dict[str, PriceSetting] = Field(default_factory=dict)
    """By model, where they are not publicly known."""


class AgentSetting(_Set):
    """What is set for one agent."""

    model: str | None = None
    timeout: Duration | None = None


class CliAgentSetting(_Set):
    """What is set for one command-line agent."""

    program: str | None = Field(default=None, min_length=1)
    env: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    max_turns: int | None = Field(default=None, ge=1)
    max_cost: float | None = Field(default=None, gt=0)


class Settings(BaseSettings):
    """What can be set. Built by `Settings()`, which raises `InvalidSettings` for a wrong value."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")

    # where things are
    state_dir: Path = Field(default=Path(".taskmark"), examples=[".taskmark"])
    """The embedded server's data, the SQLite history store, logs and artifacts."""
    root: Path = Field(default=Path(), examples=["."])
    """What file tools may touch and where processes start."""
    tasks_dir: Path = Field(default=Path("tasks"), examples=["tasks"])
    agents_dir: Path = Field(default=Path("agents"), examples=["agents"])
    database_url: str = Field(
        default="", repr=False, examples=["postgresql://taskmark@localhost/taskmark", "sqlite:///history.db"]
    )
    """Of the history store; SQLite in `state_dir` by default."""
    artifacts: Literal["auto", "files", "database"] = Field(default="auto", examples=["auto"])
    artifacts_dir: Path | None = Field(default=None, examples=[".taskmark/artifacts"])
    """A folder that all workers see, if artifacts are files."""

    # what runs
    project: str | None = Field(default=None, examples=["web-shop"])
    plugins: Names = Field(default=(), examples=["mytools,mycompany.agents"])
    """Modules that register tools, agent providers, aggregates and step kinds."""
    default_model: str | None = Field(default=None, examples=["cli:claude"])
    """Of agents that name no model."""
    providers: Annotated[dict[str, ProviderSetting], NoDecode] = Field(
        default_factory=dict,
        repr=False,
        examples=['{"local": {"baseUrl": "http://127.0.0.1:8000/v1"}, "openai": {"requestsPerMinute": 500}}'],
    )
    """Who provides language models, by the prefix of the model: `anthropic`, `openai`, `openrouter`,
    `deepseek` and `ollama` are known, and what is said of one here replaces what is known of it."""
    models: Annotated[dict[str, OneOrSeveral], NoDecode] = Field(
        default_factory=dict,
        examples=['{"sonnet": "anthropic:claude-sonnet-5-5", "fast": ["openai:gpt-5-mini", "local:qwen3"]}'],
    )
    """Short names of models; several under one name are a pool, of which one is asked."""
    agents: Annotated[dict[str, AgentSetting], NoDecode] = Field(
        default_factory=dict, examples=['{"reviewer": {"model": "fast", "timeout": "2m"}}']
    )
    """What counts for an agent in place of what its file says."""
    agent_stall_seconds: PositiveSeconds = Field(default=120.0, examples=[120])
    """Seconds in which not a byte comes of a language model's answer, after which it counts as lost."""
    task_queue: str = Field(default=TASK_QUEUE, min_length=1, examples=[TASK_QUEUE])

    # the embedded server
    port: Port | None = Field(default=None, examples=[7233])
    """Absent: 7233 if it is free, else any free port."""
    ui_port: Port | None = Field(default=None, examples=[8233])
    """Absent: 8233 if it is free, else any free port."""
    bind: str = Field(default="127.0.0.1", examples=["127.0.0.1"])
    """The address our own doors listen on; the embedded server, without authentication, keeps to loopback."""
    durability: Literal["normal", "full"] = Field(default="normal", examples=["full"])
    """`normal` survives a kill, `full` also a power cut at about two thirds of the throughput."""
    temporal_cli_path: Path | None = Field(
        default=None, validation_alias="temporal_cli_path", examples=["/usr/local/bin/temporal"]
    )
    """The `temporal` binary, from `TEMPORAL_CLI_PATH` as everywhere in Temporal's world."""

    # times
    heartbeat_seconds: PositiveSeconds = Field(default=6.0, examples=[6])
    step_timeout_seconds: PositiveSeconds = Field(default=600.0, examples=[600])
    workflow_task_seconds: PositiveSeconds = Field(default=4.0, examples=[4])
    """How long a worker has for one workflow task. One killed in the middle of it is missed only then."""
    health_seconds: float = Field(default=2.0, ge=0, le=60, examples=[2])
    """How long a start waits at most to hear whether the tools it uses can be used; 0 asks nobody."""
    progress_seconds: PositiveSeconds = Field(default=2.0, examples=[2])
    catch_up_seconds: PositiveSeconds = Field(default=10.0, examples=[10])
    """How often a worker asks whether Temporal ended an execution without a word to the store."""
    grace_seconds: float = Field(default=10.0, ge=0, le=3600, examples=[10])
    """How long a worker that is told to stop lets running steps go on."""

    # a worker
    window: int = Field(default=80, ge=1, le=500, examples=[80])
    """Steps in flight per phase when nothing else limits them."""
    history_events: int = Field(default=HISTORY_EVENTS, ge=50, le=20_000, examples=[10_000])
    """About how many events a phase's history in Temporal has when it continues as new."""
    max_concurrent_activities: int = Field(default=200, ge=1, examples=[200])
    max_concurrent_workflow_tasks: int = Field(default=16, ge=2, examples=[16])
    """Python computes one at a time anyway; with more at once each takes longer, until all take too long."""
    least_concurrent_activities: int = Field(default=80, ge=1, examples=[8])
    """Steps that a worker runs at once however little CPU and memory there is. Most steps are short: with
    fewer, those of a busy worker take longer to begin."""
    tuner: Literal["fixed", "resource"] = Field(default="resource", examples=["fixed"])
    """`resource`: as many steps as CPU and memory allow, up to `max_concurrent_activities`; `fixed`: always
    that many."""
    target_cpu: Share = Field(default=0.9, examples=[0.9])
    target_memory: Share = Field(default=0.8, examples=[0.8])
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", examples=["info"])

    # what is kept
    scrub: Names = Field(default=("all",), examples=["all", "none", "email,card,secret"])
    """Detectors whose findings are taken out of the history store and the logs: `all`, `none` or names."""
    retention: Names = Field(default=(), examples=["30d", "completed=30d,failed=90d", "off"])
    """For how long workers keep what has ended in the history store. Without it they delete nothing."""

    # what steps call
    tools: Annotated[dict[str, ToolSetting], NoDecode] = Field(
        default_factory=dict,
        examples=['{"http": {"timeout": "30s", "retry": {"maxAttempts": 5}, "concurrency": 4}}'],
    )
    """Per tool: `timeout`, `heartbeat`, `retry` for tasks that say nothing of them, and how many calls of it
    a worker makes at once (`concurrency`), and what one may use (`limits`)."""
    project_concurrency: int | None = Field(default=None, ge=1, examples=[20])
    """Steps of one project that a worker runs at once."""
    circuit_failures: int = Field(default=5, ge=1, examples=[5])
    """So many failures in a row, of all workers together, and a tool's target is left alone for a while."""
    circuit_seconds: PositiveSeconds = Field(default=30.0, examples=[30])
    """How long at first; after each probe that fails twice as long, at most twenty times."""

    # where secrets are that tasks name
    secrets_prefix: str = Field(
        default=SECRET_PREFIX, pattern=r"^[A-Za-z0-9_]*$", examples=["TASKMARK_SECRET_", "MYAPP_"]
    )
    """The secret NAME is the variable of this prefix and NAME; with none every variable can be named."""
    secrets_folder: Path | None = Field(default=None, examples=["/run/secrets"])
    """A folder with a file for each secret."""
    secrets_command: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), examples=['["pass", "show", "taskmark/{name}"]']
    )
    """Prints a secret, or JSON with `value` and `expires_at` or `expires_in`."""
    secrets_timeout: PositiveSeconds = Field(default=10.0, examples=[10])
    """Of the command."""
    secrets_cache: PositiveSeconds = Field(default=300.0, examples=[300])
    """How long what the command printed is used again, unless it expires before."""
    secrets_projects: Annotated[dict[str, tuple[str, ...]], NoDecode] = Field(
        default_factory=dict, examples=['{"web-shop": ["SHOP_*"], "*": ["MAIL_TOKEN"]}']
    )
    """Which secrets a project may use, as patterns; `*` is for all. Without it each may use any."""

    # encryption of what Temporal keeps
    encryption_keys: Names = Field(default=(), repr=False, examples=["2026-02:BASE64,2025-08:BASE64"])
    """Keys as `id:Base64 of 32 bytes`. The first encrypts, all decrypt."""
    encryption_keys_file: Path | None = Field(default=None, examples=["/run/secrets/taskmark-keys"])
    """A file with a key on each line, in place of the setting."""
    codec_port: Port = Field(default=8234, examples=[8234])
    """Where `taskmark codec` listens."""
    codec_origins: Names = Field(default=(), examples=["https://temporal.example.com"])
    """Whose pages may ask it; by default the embedded Web UI."""
    codec_token: str = Field(default="", repr=False, examples=["a long random text"])
    """What whoever asks has to present; without it `taskmark codec` listens on loopback alone."""

    # what programs that steps run may use; 0 is no limit
    process_memory: int = Field(default=4 * 1024**3, ge=0, examples=[4294967296])
    """Bytes, of a command and all that it starts."""
    process_cpu_seconds: int = Field(default=3600, ge=0, examples=[3600])
    """Of each process."""
    process_file_size: int = Field(default=4 * 1024**3, ge=0, examples=[4294967296])
    """Bytes of each file that is written."""
    process_open_files: int = Field(default=4096, ge=0, examples=[4096])
    """Of each process."""
    process_processes: int = Field(default=512, ge=0, examples=[512])
    """At one time."""
    process_written: int = Field(default=256 * 1024**3, ge=0, examples=[274877906944])
    """Bytes to disks, also of what is deleted again."""
    process_free_disk: int = Field(default=1024**3, ge=0, examples=[1073741824])
    """Bytes that stay free: with less, a command that writes much is ended."""
    process_output: int = Field(default=64 * 1024**2, ge=0, examples=[67108864])
    """Bytes that are printed."""
    process_nice: int = Field(default=5, ge=0, le=19, examples=[5])
    """How far programs make way for other processes, the worker above all: 0 is not at all."""
    network_rate: Rate | None = Field(default=None, examples=["10 MB/s"])
    """What all steps of a worker together may send and receive per second, where Taskmark itself does it."""

    # what steps may reach
    http_allow_hosts: Names = Field(default=(), examples=["api.example.com,*.example.org"])
    http_allow_private: bool = Field(default=False, examples=["false"])
    browser_path: Path | None = Field(default=None, examples=["/usr/bin/chromium"])
    """The Chromium of the tool `browser`; else `chromium` or `google-chrome` on the PATH."""
    browser_pages: int = Field(default=4, ge=1, examples=[4])
    """Pages that a worker has open at once."""
    browser_memory: int = Field(default=2 * 1024**3, ge=256 * 1024**2, examples=[2147483648])
    """Bytes that the browser of a worker may use; above it the largest page is closed, and its step fails."""
    search_provider: str = Field(
        default="", repr=False, examples=["searxng+https://search.example.org", "brave://KEY"]
    )
    """Whom `web-search` asks: a SearXNG, or `brave`, `tavily` or `serper` with a key, or a plugin's."""
    search_rate: float | None = Field(default=None, gt=0, examples=[1])
    """Searches per second of all workers together, if not as many as the provider allows."""
    sql_databases: ByName = Field(
        default_factory=dict, repr=False, examples=['{"shop": "postgresql://reader@localhost/shop"}']
    )
    """URLs of databases that the tools `sql` and `sql-write` know, by name: SQLite, relative to `root`, or
    PostgreSQL. Give them a role that may do no more than tasks should."""

    mcp_servers: Annotated[dict[str, dict[str, Any]], NoDecode] = Field(
        default_factory=dict,
        repr=False,
        examples=['{"notes": {"command": "npx", "args": ["-y", "notes-mcp"], "env": {"KEY": "${KEY}"}}}'],
    )
    """MCP servers by name, in the form people keep under `mcpServers`: `command`, `args` and `env`, or `url`
    and `headers`; `${NAME}` is a variable of the worker's."""

    cli_agents: Annotated[dict[str, CliAgentSetting], NoDecode] = Field(
        default_factory=dict,
        examples=['{"claude": {"env": ["ANTHROPIC_API_KEY"], "maxTurns": 40, "maxCost": 2.5}}'],
    )
    """Per command-line agent: `program` (where it is), `env` (variables of the worker's that it is given),
    `arguments` (added to its command line), and `maxTurns` and `maxCost` of a call."""

    # whom steps may tell
    smtp_url: str | None = Field(
        default=None, repr=False, examples=["smtp://user:password@mail.example.com:587", "smtps://…"]
    )
    """The server that takes mail."""
    mail_from: str | None = Field(default=None, examples=["Taskmark <taskmark@example.com>"])
    webhooks: Annotated[dict[str, dict[str, str]], NoDecode] = Field(
        default_factory=dict,
        repr=False,
        examples=['{"billing": {"url": "https://example.com/hook", "secret": "whsec_…"}}'],
    )
    """Endpoints by name: `url`, and a `secret` to sign with."""
    chat_channels: ByName = Field(
        default_factory=dict, repr=False, examples=['{"team": "slack://hooks.slack.com/services/T0/B0/XX"}']
    )
    """Channels by name: `slack`, `discord`, `teams`, `mattermost`, `telegram` and `ntfy`."""
    outgoing_per_minute: float = Field(default=60.0, gt=0, examples=[60])
    """Messages to one receiver, of all workers together."""
    outgoing_refuse: Names = Field(default=(), examples=["card,phone"])
    """Detectors of personal data: what they find is not sent."""

    _given: dict[str, Any] = PrivateAttr(default_factory=dict)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _explain(error, type(self).model_fields) from error
        self._given = values

    def again(self) -> Settings:
        """Returns what the settings are by now, made from the same values. Raises `InvalidSettings`."""
        return type(self)(**self._given)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is fixed
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is fixed
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over variables, variables over the file."""
        return (init_settings, env_settings, ProjectFile(settings_cls, find_file(Path.cwd())))

    @field_validator(
        "plugins", "http_allow_hosts", "scrub", "retention", "encryption_keys", "codec_origins", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)

    @field_validator("scrub")
    @classmethod
    def _all_or_none_or_some(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if (len(names) != 1 and {"all", "none"} & set(names)) or not names:
            raise ValueError("it is `all`, or `none`, or a list of names of detectors")
        return names

    @field_validator("retention")
    @classmethod
    def _known_ages(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        from taskmark.retention import ages

        ages(words)
        return words

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        if not url or url.startswith("sqlite:///"):
            return url
        scheme, separator, rest = url.partition("://")
        if separator and scheme in ("postgres", "postgresql", "postgresql+psycopg"):
            return f"postgresql+psycopg://{rest}"
        # The URL is not repeated: it may hold a password.
        raise ValueError("the store is SQLite or PostgreSQL")

    @field_validator("secrets_command", mode="before")
    @classmethod
    def _read_words(cls, value: object) -> object:
        words = value
        if isinstance(value, str):
            try:
                words = json.loads(value)
            except ValueError:
                words = None
        if not isinstance(words, list | tuple):
            raise ValueError('it is no list of words, such as ["pass", "show", "{name}"]')
        if words and not any("{name}" in str(word) for word in words[1:]):
            raise ValueError("none of its arguments has {name} in it, where the secret's name goes")
        return words

    @field_validator(
        "tools",
        "sql_databases",
        "mcp_servers",
        "cli_agents",
        "webhooks",
        "chat_channels",
        "providers",
        "models",
        "agents",
        "secrets_projects",
        mode="before",
    )
    @classmethod
    def _read_object(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            read = json.loads(value)
            return read.get("mcpServers", read) if isinstance(read, dict) else read
        except ValueError:
            raise ValueError("it is no JSON object") from None  # whose text would be repeated

    @field_validator("providers")
    @classmethod
    def _no_other_kind_of_model(cls, given: dict[str, ProviderSetting]) -> dict[str, ProviderSetting]:
        taken = sorted(given.keys() & {"python", "command", "cli", "pool"})
        if taken:
            raise ValueError(f"{', '.join(taken)} cannot be the name of a provider: it means something else")
        return given

    @field_validator("search_provider")
    @classmethod
    def _is_search_provider(cls, value: str) -> str:
        if value:
            from taskmark.tools.search_providers import read_address

            read_address(value)
        return value

    @field_validator("sql_databases")
    @classmethod
    def _known_databases(cls, urls: dict[str, str]) -> dict[str, str]:
        for name, url in urls.items():
            if not url.startswith(("sqlite:///", "postgres://", "postgresql://")):
                # The URL is not repeated: it may hold a password.
                raise ValueError(f"{name} is neither SQLite (sqlite:///file) nor PostgreSQL (postgresql://…)")
        return {name: url.replace("postgres://", "postgresql://", 1) for name, url in urls.items()}

    @field_validator("bind")
    @classmethod
    def _is_address(cls, value: str) -> str:
        from ipaddress import ip_address

        return str(ip_address(value))

    @model_validator(mode="after")
    def _fill_in(self) -> Settings:
        start = find_file(Path.cwd())
        project = Path.cwd() if start is None else start.parent
        # Frozen for everyone else: these values are part of building it.
        values = self.__dict__
        for name in ("state_dir", "root"):
            values[name] = _absolute(values[name], Path.cwd() if name in self.model_fields_set else project)
        for name in ("artifacts_dir", "temporal_cli_path", "secrets_folder", "encryption_keys_file"):
            values[name] = values[name] and _absolute(values[name], Path.cwd())
        for name in ("tasks_dir", "agents_dir"):
            values[name] = _absolute(values[name], self.root)
        values["database_url"] = self.database_url or f"sqlite:///{self.state_dir / 'taskmark.db'}"
        return self

    @property
    def temporal_address(self) -> str | None:
        """Address of the Temporal cluster that somebody chose, or None for the embedded server.

        It is chosen by `TEMPORAL_ADDRESS`, `TEMPORAL_PROFILE` or `TEMPORAL_CONFIG_FILE`; how to connect to
        it (TLS, API key, namespace) is for Temporal's own environment configuration to read.
        """
        return _chosen_cluster(os.environ)

    @property
    def encrypts(self) -> bool:
        """Whether what Temporal keeps is encrypted."""
        return bool(self.encryption_keys) or self.encryption_keys_file is not None

    @property
    def uses_postgres(self) -> bool:
        """Whether the history store is a PostgreSQL that other machines share."""
        return self.database_url.startswith("postgresql")

    @property
    def artifact_store(self) -> Literal["files", "database"]:
        """Where artifacts live: with PostgreSQL in the database unless a shared folder is configured."""
        if self.artifacts != "auto":
            return self.artifacts
        return "database" if self.uses_postgres and self.artifacts_dir is None else "files"

    @property
    def artifacts_folder(self) -> Path:
        """The folder of artifacts that are files."""
        return self.artifacts_dir or self.state_dir / "artifacts"

    def limits(self) -> Limits:
        """Returns the times and sizes that are frozen into an execution at its start."""
        return Limits(
            heartbeat=self.heartbeat_seconds,
            step_timeout=self.step_timeout_seconds,
            workflow_task=self.workflow_task_seconds,
            progress_interval=self.progress_seconds,
            window=self.window,
            history_events=self.history_events,
            engine=ENGINE,
        )


def find_file(start: Path) -> Path | None:
    """Returns the `taskmark.toml` that counts for a directory, or None."""
    if (start / FILE_NAME).is_file():
        return start / FILE_NAME
    repository = next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), start)
    folders = (folder for folder in start.parents if folder == repository or repository in folder.parents)
    return next((folder / FILE_NAME for folder in folders if (folder / FILE_NAME).is_file()), None)


def unknown_variables(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Returns every `TASKMARK_*` variable that is no setting, with the name that was probably meant."""
    known = {variable(name) for name in Settings.model_fields}
    unknown = (
        name
        for name in environment
        if name.upper().startswith(PREFIX)
        and not name.upper().startswith(SECRET_PREFIX)
        and name.upper() not in known | GIVEN_TO_STEPS
    )
    return {name: next(iter(difflib.get_close_matches(name.upper(), known, 1)), None) for name in unknown}


def variable(field: str) -> str:
    """Returns the environment variable of a setting."""
    return field.upper() if field == "temporal_cli_path" else f"{PREFIX}{field.upper()}"


def _absolute(path: Path, start: Path) -> Path:
    return Path(os.path.normpath(start / path.expanduser()))


def _read_file(path: Path, fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path} is not TOML: {error}", hint="Lines look like: window = 80") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidSettings(
            f"{path} cannot be read: {reason}", hint="Make it readable or move it."
        ) from error
    for key in values:
        if key not in fields:
            raise _unknown_key(path, key, fields)
    for name in _PATHS:
        if isinstance(values.get(name), str):
            values[name] = _absolute(Path(values[name]), path.parent)
    return values


def _unknown_key(path: Path, key: str, fields: Mapping[str, FieldInfo]) -> InvalidSettings:
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).replace("-", "_").lower()
    close = difflib.get_close_matches(snake.removeprefix(PREFIX.lower()), fields, 1)
    hint = f"Did you mean {close[0]}?" if close else "Known settings: " + ", ".join(fields)
    return InvalidSettings(f"{path}: {key} is not a setting.", hint=hint)


def _explain(error: ValidationError, fields: Mapping[str, FieldInfo]) -> InvalidSettings:
    problems: list[str] = []
    hints: list[str] = []
    for item in error.errors():
        name = str(item["loc"][0])
        examples = fields[name].examples or []
        # What is not shown, such as the URL of a database, may hold a password.
        shown = f" is {item['input']!r}" if fields[name].repr else ""
        place = variable(name)
        if place not in {key.upper() for key in os.environ} and find_file(Path.cwd()):
            place = f"{name} in {FILE_NAME}"
        problems.append(f"{place}{shown}: {item['msg']}")
        hints.append(f"Set {variable(name)} to, for example, {examples[0]}")
    return InvalidSettings("; ".join(problems), hint="; ".join(hints) + ", or leave it out.")


def _chosen_cluster(environment: Mapping[str, str]) -> str | None:
    if address := environment.get("TEMPORAL_ADDRESS"):
        return address
    profile = environment.get("TEMPORAL_PROFILE")
    file = environment.get("TEMPORAL_CONFIG_FILE")
    if not profile and not file:
        return None
    path = Path(file) if file else Path.home() / ".config" / "temporalio" / "temporal.toml"
    return _profile_address(path, profile or "default") or TEMPORAL_DEFAULT


def _profile_address(path: Path, profile: str) -> str | None:
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8")).get("profile", {})
    except (OSError, ValueError):
        # Who connects reads the same file by Temporal's own rules and reports what is wrong with it.
        return None
    address = profiles.get(profile, {}).get("address")
    return str(address) if address else None
