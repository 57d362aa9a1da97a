"""The composition root: the only place that reads settings and builds adapters."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from starter.compiling import Compiler
from taskmark.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from temporalio.client import Client
    from temporalio.worker import Worker, WorkerTuner

    from starter.learning import Learning
    from starter.resuming import Earliers
    from taskmark.agents.asking import Asking
    from taskmark.agents.llm.configured import Models
    from taskmark.contracts import Limits, ToolLimits
    from taskmark.past.importing import Write
    from taskmark.plan.eta.known import Past
    from taskmark.ports import Recorder
    from taskmark.privacy.scrubbing import Scrubber
    from taskmark.records import Record
    from taskmark.registry import Registry
    from taskmark.secrets.masks import Masks
    from taskmark.secrets.vault import Vault
    from taskmark.store.artifacts import FileArtifacts, KeptArtifacts
    from taskmark.store.elsewhere import Elsewhere
    from taskmark.store.reading import History
    from taskmark.store.spool import SpoolRecorder
    from taskmark.store.told import RememberingRecorder
    from taskmark.store.versions import Versions
    from taskmark.store.waiting import Completions
    from taskmark.task.catalog import Catalog
    from taskmark.task.definitions import Definitions
    from taskmark.task.model import StepLimits, TaskDefinition
    from taskmark.tools.built_in import Configured
    from taskmark.tools.health import Checkup
    from taskmark.tools.processes import ProcessLimits

POLLERS = 20
"""Of each kind; fewer make single tasks stall behind busy ones."""
STICKY = timedelta(seconds=1)
"""How long a dead worker's cached workflows wait before another worker takes them."""
HEARTBEATS = timedelta(seconds=1)
EAGER = 100
RAMP = timedelta(0)
"""Between two places that are handed out: steps are mostly short, and a pause would cost each of many."""

_log = logging.getLogger("taskmark.worker")


class Wiring:
    """Builds each part once, when it is first wanted: a command pays only for what it uses."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def registry(self) -> Registry:
        """Tools, agent providers, aggregates and kinds: ours, and the plugins'."""
        from taskmark.registry import load

        settings = self.settings
        self._told = self._configured(settings)
        return load(settings.plugins, path=(settings.root,), configured=self._told)

    def renew_credentials(self) -> None:
        """Reads the settings again, and makes the tools anew that are told passwords, keys and tokens, if any
        of it is another. Wrong settings change nothing."""
        from taskmark.errors import InvalidSettings
        from taskmark.secrets.configured import secrets_in

        registry = self.registry
        try:
            settings = self.settings.again()
            told = self._configured(settings)
        except InvalidSettings as error:
            _log.warning("credentials are as they were: %s", error.message)
            return
        if told != self._told:
            self.masks.add_all(secrets_in(settings))
            self._told = told
            registry.renew(told, (self.settings.root,))
            _log.info("the settings have changed, and with them what tools are told")

    @cached_property
    def checkup(self) -> Checkup:
        """What asks tools how they are before a start."""
        from taskmark.tools.health import Checkup

        return Checkup(self.settings.health_seconds)

    def _process_limits(self) -> ProcessLimits:
        from taskmark.tools.processes import ProcessLimits

        settings = self.settings
        return ProcessLimits(
            memory=settings.process_memory,
            cpu_seconds=settings.process_cpu_seconds,
            file_size=settings.process_file_size,
            open_files=settings.process_open_files,
            processes=settings.process_processes,
            written=settings.process_written,
            free_disk=settings.process_free_disk,
            output=settings.process_output,
            nice=settings.process_nice,
        )

    def _configured(self, settings: Settings) -> Configured:
        from taskmark.agents.cli.programs import CliSetting
        from taskmark.tools.built_in import Configured
        from taskmark.tools.network import NetworkPolicy

        return Configured(
            network=NetworkPolicy(
                allow_hosts=settings.http_allow_hosts, allow_private=settings.http_allow_private
            ),
            limits=self._process_limits(),
            databases=settings.sql_databases,
            smtp_url=settings.smtp_url,
            mail_from=settings.mail_from,
            webhooks=settings.webhooks,
            chat_channels=settings.chat_channels,
            outgoing_per_minute=settings.outgoing_per_minute,
            outgoing_refuse=settings.outgoing_refuse,
            search_provider=settings.search_provider,
            search_rate=settings.search_rate,
            browser_path=settings.browser_path,
            browser_pages=settings.browser_pages,
            browser_memory=settings.browser_memory,
            mcp_servers=settings.mcp_servers,
            models=self._models,
            cli_agents={name: CliSetting(**one.model_dump()) for name, one in settings.cli_agents.items()},
            variable=self._variable,
        )

    @cached_property
    def _models(self) -> Models:
        from taskmark.agents.llm.configured import BUILT_IN, SHORT_NAMES, Models, Price, Provider

        settings = self.settings
        providers = {
            name: Provider(
                # What is not said of a known one stays as it is known.
                speaks=one.speaks if "speaks" in one.model_fields_set or name not in BUILT_IN else name,
                base_url=one.base_url or (BUILT_IN[name].base_url if name in BUILT_IN else None),
                keys=one.keys or (BUILT_IN[name].keys if name in BUILT_IN else ()),
                concurrency=one.concurrency,
                per_minute=one.requests_per_minute,
                prices={model: Price(price.input, price.output) for model, price in one.prices.items()},
            )
            for name, one in settings.providers.items()
        }
        return Models(
            providers={**BUILT_IN, **providers},
            names={**SHORT_NAMES, **settings.models},
            stall=settings.agent_stall_seconds,
            lookup=self._variable,
        )

    @cached_property
    def asking(self) -> Asking:
        """Returns what asks agents."""
        from taskmark.agents.asking import Asking

        settings = self.settings
        chosen = {name: one.model for name, one in settings.agents.items() if one.model}
        return Asking(self.registry.provider, settings.default_model, chosen, self._models.spelled)

    @cached_property
    def catalog(self) -> Catalog:
        """What names a task file may use."""
        from taskmark.task.catalog import Catalog

        settings, registry = self.settings, self.registry
        return Catalog.for_folders(
            settings.root,
            tasks_dir=settings.tasks_dir,
            agents_dir=settings.agents_dir,
            tools=registry.schemas() | dict.fromkeys(registry.broken),
            misfits=registry.misfits,
            effects=registry.repeating(),
            kinds=frozenset(registry.kinds) | frozenset(registry.broken),
            aggregates=frozenset(registry.aggregates),
        )

    @cached_property
    def definitions(self) -> Definitions:
        """What parses task files, and remembers those that did not change."""
        from taskmark.task.definitions import Definitions

        return Definitions(self.catalog)

    @cached_property
    def limits(self) -> Limits:
        """What executions go by that are started here, where neither task nor step say anything."""
        settings = self.settings
        of_tools = {
            "tool_timeouts": self._tool_timeouts(),
            "tools": self._tool_limits(),
            "resuming": self.registry.resuming(),
            "agent_timeouts": {name: one.timeout for name, one in settings.agents.items() if one.timeout},
        }
        return settings.limits().model_copy(update=of_tools)

    def compiler(self, *, confined: bool = True) -> Compiler:
        """Returns what turns a task's name or text into a definition."""
        root, tasks_dir = self.settings.root, self.settings.tasks_dir
        return Compiler(self.definitions, self.limits, root=root, tasks_dir=tasks_dir, confined=confined)

    def _tool_timeouts(self) -> dict[str, float]:
        declared = {name: tool.timeout for name, tool in self.registry.tools.items() if tool.timeout}
        return declared | {name: one.timeout for name, one in self.settings.tools.items() if one.timeout}

    def _tool_limits(self) -> dict[str, ToolLimits]:
        from taskmark.contracts import ToolLimits

        return {
            name: ToolLimits(heartbeat=one.heartbeat, retry=one.retry and one.retry.model_dump())
            for name, one in self.settings.tools.items()
            if one.heartbeat or one.retry
        }

    def _limits_of_steps(self) -> StepLimits:
        """Returns the limits of processes once more, for plugins that start some."""
        from taskmark.task.model import StepLimits

        settings = self.settings
        return StepLimits(
            memory=settings.process_memory or None,
            output=settings.process_output or None,
            open_files=settings.process_open_files or None,
            processes=settings.process_processes or None,
            disk=settings.process_written or None,
            nice=settings.process_nice,
        )

    def _limits_of_tools(self) -> dict[str, StepLimits]:
        from taskmark.task.model import StepLimits

        given = {name: one.limits for name, one in self.settings.tools.items() if one.limits}
        return {name: StepLimits(**limits.model_dump()) for name, limits in given.items()}

    @cached_property
    def masks(self) -> Masks:
        """The secrets that this process knows, and shows nobody: those of the settings from the start."""
        from taskmark.secrets.configured import secrets_in
        from taskmark.secrets.masks import Masks

        masks = Masks()
        masks.add_all(secrets_in(self.settings))
        return masks

    def _variable(self, name: str) -> str | None:
        """Returns what agents are given of the environment, masked from then on: it may have changed."""
        from taskmark.secrets.configured import secrets_of_agents

        value = os.environ.get(name)
        if value is not None:
            self.masks.add_all(secrets_of_agents(self.settings, {name: value}))
        return value

    @cached_property
    def vault(self) -> Vault:
        """What finds the secrets that tasks name."""
        from taskmark.secrets.sources import Command, Folder, Source, Variables
        from taskmark.secrets.vault import Vault

        settings = self.settings
        sources: list[Source] = [Variables(settings.secrets_prefix)]
        if settings.secrets_folder is not None:
            sources.append(Folder(settings.secrets_folder))
        if settings.secrets_command:
            command = Command(settings.secrets_command, settings.secrets_timeout, settings.secrets_cache)
            sources.append(command)
        return Vault(sources, self.masks, projects=settings.secrets_projects)

    @cached_property
    def scrubber(self) -> Scrubber:
        """What takes personal data out of records and logs. Raises `InvalidSettings`."""
        from taskmark.privacy.detectors import BUILT_IN
        from taskmark.privacy.logs import scrub_logs
        from taskmark.privacy.scrubbing import chosen

        plugged = self.registry.detectors if self.settings.plugins else {}
        found = chosen(self.settings.scrub, {**BUILT_IN, **plugged})
        scrub_logs(found, self.masks.text)
        return found

    @property
    def scrub(self) -> Callable[[Record], Record]:
        """Returns a record without secrets and personal data. Raises `InvalidSettings`."""
        from taskmark.privacy.recording import scrubbed

        return partial(scrubbed, scrubber=self.scrubber, masks=self.masks)

    @cached_property
    def recorder(self) -> Recorder:
        """What takes this process's records: masked and scrubbed, then spooled; `close` ends it."""
        from taskmark.privacy.recording import ScrubbingRecorder

        return ScrubbingRecorder(self.spool, self.scrubber, self.masks)

    @cached_property
    def remembering(self) -> RememberingRecorder:
        """The recorder of a worker, which tells the end of an attempt once."""
        from taskmark.store.told import RememberingRecorder

        return RememberingRecorder(self.recorder)

    @cached_property
    def spool(self) -> SpoolRecorder:
        """The spool of this process, which nothing but the recorder writes to."""
        from taskmark.store.scribe import Scribe
        from taskmark.store.spool import SpoolRecorder

        scribe = partial(Scribe, self.settings.database_url)
        return SpoolRecorder(self.settings.state_dir / "spool", self._open_store, scribe=scribe)

    def _open_store(self) -> Engine:
        """Imports a third of a second, which a worker's start need not wait for."""
        from taskmark.store.schema import open_store

        return open_store(self.settings.database_url)

    def writer(self) -> Write:
        """Returns what writes many records at once, which somebody scrubbed before (`scrub`), and returns
        those that the store refuses.

        It raises `Unreachable`.
        """
        from taskmark.store.writing import apply_each

        return partial(apply_each, self.store)

    @cached_property
    def store(self) -> Engine:
        """The history store, up to date, for all but the recorder. Raises `Unreachable`."""
        return self._open_store()

    @cached_property
    def history(self) -> History:
        """The history store for readers. Raises `Unreachable`."""
        from taskmark.store.reading import History

        return History(self.store)

    @cached_property
    def versions(self) -> Versions:
        """The versions of tasks that the history store knows. Raises `Unreachable`."""
        from taskmark.store.versions import Versions

        return Versions(self.store)

    @cached_property
    def earliers(self) -> Earliers:
        """What finds earlier executions for those that go on from them."""
        from starter.resuming import Earliers
        from taskmark.store.checkpoints import KeptCheckpoints

        return Earliers(lambda: KeptCheckpoints(self.store))

    @cached_property
    def elsewhere(self) -> Elsewhere:
        """What takes what is told of work that Temporal does not run, scrubbed. Raises `Unreachable`."""
        from taskmark.store.elsewhere import Elsewhere

        return Elsewhere(self.store, self.scrub)

    @cached_property
    def completions(self) -> Completions:
        """What tells everybody in this process of the ends of executions. Raises `Unreachable`."""
        from taskmark.store.waiting import Completions

        return Completions(self.store)

    @cached_property
    def learning(self) -> Learning:
        """What tells a worker's workflows what earlier executions took."""
        from starter.learning import Learning

        return Learning(self._past)

    def _past(self, definition: TaskDefinition) -> Past:
        """Raises `Unreachable`."""
        from taskmark.plan.eta.known import learn
        from taskmark.plan.experience import others_of
        from taskmark.store.experience import experience

        return learn(definition, experience(self.store, definition.id, others_of(definition)))

    @cached_property
    def artifacts(self) -> KeptArtifacts:
        """Where large outputs live."""
        from taskmark.store.artifacts import DatabaseArtifacts

        return self.artifacts_folder or DatabaseArtifacts(self.store)

    @property
    def artifacts_folder(self) -> FileArtifacts | None:
        """The folder where they live, unless that is the database."""
        from taskmark.store.artifacts import FileArtifacts

        settings = self.settings
        return FileArtifacts(settings.artifacts_folder) if settings.artifact_store == "files" else None

    def activities(self) -> Sequence[Any]:
        """Returns every activity, with its adapters."""
        from activities.places import Places
        from activities.steps import StepActivities
        from activities.tasks import TaskActivities
        from starter.forewarning import Forewarning
        from starter.resuming import Resumption
        from taskmark.circuit import Rules
        from taskmark.store.artifacts import LateArtifacts
        from taskmark.store.sharing import StoredShared
        from taskmark.tools.traffic import Throttle

        settings = self.settings
        agents = self.asking
        artifacts, recorder = LateArtifacts(lambda: self.artifacts), self.remembering
        steps = StepActivities(
            self.registry,
            agents.ask,
            artifacts,
            recorder,
            root=settings.root,
            shared=StoredShared(lambda: self.store),
            renew=self.renew_credentials,
            rules=Rules(settings.circuit_failures, settings.circuit_seconds),
            vault=self.vault,
            places=Places(
                {name: one.concurrency for name, one in settings.tools.items() if one.concurrency},
                settings.project_concurrency,
            ),
            limits=self._limits_of_steps(),
            limits_of_tools=self._limits_of_tools(),
            throttle=Throttle(settings.network_rate) if settings.network_rate else None,
        )
        compiler = self.compiler()
        resumption = Resumption(self.earliers, compiler, artifacts)
        tasks = TaskActivities(
            compiler.compile,
            artifacts,
            recorder,
            resumption.resume,
            recorder.has,
            forewarn=Forewarning(self).begin,
            root=settings.root,
        )
        return [*steps.all(), *tasks.all()]

    def worker(self, client: Client) -> Worker:
        """Returns a worker on the client's cluster. It has to be run."""
        from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

        from starter.blocking import allow_blocking
        from starter.learning import LearningInterceptor
        from starter.recording import RecordingInterceptor
        from starter.sandbox import evicting, workflow_runner
        from workflows.phase import PhaseWorkflow
        from workflows.task import TaskWorkflow

        settings = self.settings
        pollers = PollerBehaviorSimpleMaximum(maximum=POLLERS)
        runner = workflow_runner()
        worker = Worker(
            client,
            task_queue=settings.task_queue,
            workflows=[TaskWorkflow, PhaseWorkflow],
            activities=self.activities(),
            interceptors=[RecordingInterceptor(self.remembering), LearningInterceptor(self.learning)],
            workflow_runner=runner,
            workflow_task_poller_behavior=pollers,
            activity_task_poller_behavior=pollers,
            sticky_queue_schedule_to_start_timeout=STICKY,
            max_heartbeat_throttle_interval=HEARTBEATS,
            default_heartbeat_throttle_interval=HEARTBEATS,
            max_eager_activity_reservations_per_workflow_task=EAGER,
            graceful_shutdown_timeout=timedelta(seconds=settings.grace_seconds),
            **self._slots(),
        )
        runner.evict = evicting(worker)
        return allow_blocking(worker)

    def _slots(self) -> dict[str, Any]:
        settings = self.settings
        if settings.tuner == "resource":
            return {"tuner": self._tuner()}
        return {
            "max_concurrent_activities": settings.max_concurrent_activities,
            "max_concurrent_workflow_tasks": settings.max_concurrent_workflow_tasks,
        }

    def _tuner(self) -> WorkerTuner:
        """Returns what hands out places for steps as CPU and memory allow.

        Workflow tasks keep their number: they are short, and all that has begun waits for them.
        """
        from temporalio.worker import (
            FixedSizeSlotSupplier,
            ResourceBasedSlotConfig,
            ResourceBasedSlotSupplier,
            ResourceBasedTunerConfig,
            WorkerTuner,
        )

        settings = self.settings
        slots = ResourceBasedSlotConfig(
            minimum_slots=min(settings.least_concurrent_activities, settings.max_concurrent_activities),
            maximum_slots=settings.max_concurrent_activities,
            ramp_throttle=RAMP,
        )
        targets = ResourceBasedTunerConfig(settings.target_memory, settings.target_cpu)
        unused = FixedSizeSlotSupplier(1)
        return WorkerTuner.create_composite(
            workflow_supplier=FixedSizeSlotSupplier(settings.max_concurrent_workflow_tasks),
            activity_supplier=ResourceBasedSlotSupplier(slots, targets),
            local_activity_supplier=unused,
            nexus_supplier=unused,
        )

    def close(self, seconds: float = 5.0) -> bool:
        """Ends what this process built; returns whether every record reached the store.

        What did not is on disk, and the next process takes it from there.
        """
        if "spool" in self.__dict__:
            return self.spool.close(seconds)
        return True
