"""`doctor` says what keeps tasks from running and how to mend it, also where much is broken."""

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from starter.doctor import Check, checks, cluster, diagnose, machine, project
from starter.doctor.check import isolated
from starter.embedded import binary, command, ports
from starter.embedded.server import EmbeddedServer, embedded
from starter.gateway import TaskClient
from taskmark.settings import CliAgentSetting, Settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TASKMARK_") or name in ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE"):
            monkeypatch.delenv(name)


def by_name(found: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in found}


def test_a_new_project_has_nothing_to_mend(settings: Settings) -> None:
    found = diagnose()
    assert [check for check in found if not check.ok] == []
    assert len(by_name(found)) == len(found) >= 14


def test_a_check_that_breaks_hides_no_other(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_settings: Settings) -> Check:
        raise RuntimeError("of all things")

    monkeypatch.setattr(project, "root", broken)
    found = by_name(checks(settings))
    assert "RuntimeError: of all things" in found["broken"].message
    assert found["server"].ok


def test_wrong_settings_are_a_finding_beside_those_about_the_machine(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKMARK_PORT", "many")
    found = diagnose()
    assert found[-1].name == "settings"
    assert "TASKMARK_PORT is 'many'" in found[-1].message
    assert found[0].ok


def test_unknown_variables_come_with_the_one_that_was_meant(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKMARK_WINDWO", "3")
    monkeypatch.setenv("TASKMARK_QQQQQQQQQQ", "3")
    check = project.variables()
    assert not check.ok
    assert check.fix == "Did you mean TASKMARK_WINDOW instead of TASKMARK_WINDWO? Remove TASKMARK_QQQQQQQQQQ."


def test_an_old_python_and_missing_packages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    assert not machine.python().ok
    monkeypatch.setattr(
        machine.importlib.metadata, "requires", lambda _: ["no-such-package>=1", 'pytest>=1; extra == "dev"']
    )
    assert machine.packages().message == "Missing: no-such-package."
    monkeypatch.setattr(machine, "DISTRIBUTION", "taskmark-that-nobody-installed")
    monkeypatch.undo()
    monkeypatch.setattr(machine, "DISTRIBUTION", "taskmark-that-nobody-installed")
    assert machine.packages().message == "Taskmark itself is not installed."


def test_without_binary_and_go_both_are_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOBIN", "GOPATH", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(binary, "GO_FOLDERS", str(tmp_path))
    found = machine.temporal_binary(settings)
    assert (found.ok, "there is none" in found.message) == (False, True)
    assert machine.go(settings).ok is False
    assert machine.git().ok
    monkeypatch.setenv("TEMPORAL_ADDRESS", "cluster.example:7233")
    assert machine.temporal_binary(settings).ok
    assert machine.go(settings).ok
    assert machine.ports(settings).ok


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_taken_port_is_found_with_its_fix(settings: Settings, taken: int) -> None:
    check = isolated(machine.ports, settings.model_copy(update={"port": taken}))
    assert not check.ok
    assert f"TASKMARK_PORT is {taken}" in check.message
    assert check.fix is not None


def test_a_state_directory_that_cannot_be_used_is_found(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "FREE_BYTES", 2**80)
    assert "Free some disk space" in str(project.state_directory(settings).fix)
    settings.state_dir.write_text("a file is in the way")
    assert "cannot be written" in project.state_directory(settings).message


def test_a_root_that_is_no_directory_is_found(settings: Settings) -> None:
    wrong = settings.model_copy(update={"root": settings.root / "nowhere"})
    assert project.root(wrong).fix == "Set TASKMARK_ROOT to one."


def test_files_that_cannot_be_read_are_found_with_line_and_column(settings: Settings) -> None:
    settings.tasks_dir.mkdir()
    (settings.tasks_dir / "good.md").write_text(
        "# Good\n\n## Phase: One\n\n### Steps\n- wait: 1s - A moment\n"
    )
    assert project.tasks(settings).message == f"1 in {settings.tasks_dir}"
    (settings.tasks_dir / "bad.md").write_text("# Bad\n\n## Phase: One\ndependsOn: [Nowhere]\n")
    assert "bad.md:4:" in project.tasks(settings).message
    settings.agents_dir.mkdir()
    (settings.agents_dir / "bad.md").write_text("---\nname: [\n")
    assert not project.agents(settings).ok
    (settings.agents_dir / "bad.md").unlink()


def test_agents_that_nobody_can_be_asked_for_are_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is started, and with what to set."""
    settings.agents_dir.mkdir()
    (settings.agents_dir / "llm.md").write_text("---\nmodel: sonnet\n---\nBe.\n")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert project.agents(settings).ok, "its file can be read"
    check = project.models(settings)
    assert not check.ok
    assert check.message == (
        "agent llm: anthropic:claude-sonnet-5-5 needs a key, and ANTHROPIC_API_KEY is not set"
    )
    assert check.fix == "set ANTHROPIC_API_KEY for the workers"
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk")
    assert project.models(settings).ok


def test_an_agent_whose_fallback_answers_is_nothing_to_repair(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is every agent of the examples, which are made to run without a key."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    settings.agents_dir.mkdir()
    (settings.agents_dir / "llm.md").write_text("---\nmodel: sonnet\nfallback: echo\n---\nBe.\n")
    assert not project.models(settings).ok, "there is no such agent"
    (settings.agents_dir / "echo.md").write_text("---\nmodel: command:echo\n---\n")
    check = project.models(settings)
    assert check.ok
    assert check.message.startswith("1 of 2 agents can be asked")
    assert check.message.endswith("For the others their fallbacks answer: llm.")


def test_agents_that_cannot_be_asked_are_found_with_what_to_do(settings: Settings) -> None:
    settings.agents_dir.mkdir()
    (settings.agents_dir / "echo.md").write_text("---\nmodel: command:echo\n---\n")
    assert project.models(settings).ok
    (settings.agents_dir / "coder.md").write_text("---\nmodel: cli:claude\n---\n")
    (settings.agents_dir / "nobody.md").write_text("Nobody answers.\n")
    gone = {"claude": CliAgentSetting(program="no-such-claude")}
    check = project.models(settings.model_copy(update={"cli_agents": gone}))
    assert not check.ok
    assert "agent coder: no-such-claude: command not found" in check.message
    assert "agent nobody names no model" in check.message
    assert "npm install -g @anthropic-ai/claude-code" in str(check.fix)


def test_broken_plugins_are_found(settings: Settings) -> None:
    check = project.plugins(settings.model_copy(update={"plugins": ("no_such_plugin",)}))
    assert not check.ok
    assert "no_such_plugin" in check.message


def test_a_store_of_another_revision_is_found(settings: Settings) -> None:
    from sqlalchemy import create_engine

    from taskmark.store.schema import head, open_store

    settings.state_dir.mkdir()
    create_engine(settings.database_url).connect().close()
    assert "no tables" in project.store(settings).message
    open_store(settings.database_url).dispose()
    assert project.store(settings).ok
    assert head() in project.store(settings).message


def test_a_store_that_does_not_answer_is_found_without_its_password(settings: Settings) -> None:
    url = f"postgresql+psycopg://me:hunter2@127.0.0.1:{ports.any_free()}/x"
    check = isolated(project.store, settings.model_copy(update={"database_url": url}))
    assert not check.ok
    assert "hunter2" not in check.message


@workflow.defn(name="Idle")
class Idle:
    @workflow.run
    async def run(self) -> None:
        """A worker must offer something."""


async def test_a_running_server_and_its_workers_are_shown(settings: Settings) -> None:
    async with embedded(settings) as server:
        found = by_name(await asyncio.to_thread(checks, settings))
        assert "1.29" in found["server"].message
        assert server.address in found["ports"].message
        assert found["search attributes"].ok
        assert found["worker"].fix == "Run `taskmark worker`."
        client = await Client.connect(server.address, identity="somebody")
        async with Worker(
            client,
            task_queue=settings.task_queue,
            workflows=[Idle],
            workflow_runner=UnsandboxedWorkflowRunner(),
            graceful_shutdown_timeout=timedelta(0),
        ):
            found = by_name(await asyncio.to_thread(_when_polled, settings))
        assert "somebody" in found["worker"].message


def _when_polled(settings: Settings) -> list[Check]:
    for _ in range(50):
        found = cluster.checks(settings)
        if by_name(found)["worker"].ok:
            break
    return found


def test_a_cluster_without_our_search_attributes_is_found(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SEARCH_ATTRIBUTES", ("TaskmarkTask",))
    with EmbeddedServer(settings) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        check = by_name(cluster.checks(settings))["search attributes"]
    assert check.message == "Missing: TaskmarkStatus, TaskmarkProject, TaskmarkBuild."
    assert "--name TaskmarkBuild" in str(check.fix)


def test_a_schedule_whose_file_is_gone_is_found_and_leaves_a_container_healthy(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = settings.tasks_dir / "nightly.md"
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text("# Nightly\n## Phase: A\n### Steps\n- A note\n")

    async def make() -> None:
        async with TaskClient.open(settings, worker=False) as client:
            await client.schedules.set("nightly", cron="0 6 * * *")

    with EmbeddedServer(settings) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        asyncio.run(make())
        assert by_name(cluster.checks(settings))["schedules"].ok
        file.unlink()
        check = by_name(cluster.checks(settings))["schedules"]
    assert check.message == "taskmark-nightly: there is no file of the task nightly here"
    assert not check.ok


def test_an_old_server_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "OLDEST_SERVER", (9, 0))
    with EmbeddedServer(settings):
        assert not by_name(cluster.checks(settings))["server"].ok


def test_a_cluster_that_is_not_there_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{ports.any_free()}")
    check = cluster.checks(settings)[0]
    assert not check.ok
    assert "does not answer" in check.message


def test_a_cluster_that_never_answers_is_not_waited_for(
    settings: Settings, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ALL_SECONDS", 0.2)
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{taken}")
    assert "does not answer" in cluster.checks(settings)[0].message


def test_a_cluster_that_refuses_a_question_is_a_finding(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> Check:
        raise PermissionError("not for you")

    monkeypatch.setattr(cluster, "_version", refuse)
    with EmbeddedServer(settings):
        assert "PermissionError: not for you" in cluster.checks(settings)[0].message


def test_a_container_is_healthy_while_its_cluster_answers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cluster.main() == 0
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{ports.any_free()}")
    assert cluster.main() == 1
    assert "server: Temporal at" in capsys.readouterr().err
