"""Settings come from variables, then taskmark.toml, then defaults, and a wrong one says how to be right."""

import subprocess
from pathlib import Path

import pytest

from taskmark.errors import InvalidSettings
from taskmark.settings import Settings, find_file, unknown_variables, variable


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory and no variable of ours or Temporal's."""
    import os

    for name in list(os.environ):
        if name.startswith(("TASKMARK_", "TEMPORAL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_with_nothing_configured_everything_is_in_the_current_directory(project: Path) -> None:
    settings = Settings()
    assert settings.root == project
    assert settings.state_dir == project / ".taskmark"
    assert settings.tasks_dir == project / "tasks"
    assert settings.agents_dir == project / "agents"
    assert settings.database_url == f"sqlite:///{project}/.taskmark/taskmark.db"
    assert settings.artifacts_folder == project / ".taskmark" / "artifacts"
    assert settings.temporal_address is None


def test_arguments_win_over_variables_and_variables_over_the_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "taskmark.toml").write_text('window = 10\nproject = "file"\ntask_queue = "file"\n')
    monkeypatch.setenv("TASKMARK_PROJECT", "variable")
    monkeypatch.setenv("TASKMARK_TASK_QUEUE", "variable")
    settings = Settings(task_queue="argument")
    assert (settings.window, settings.project, settings.task_queue) == (10, "variable", "argument")


def test_paths_start_where_they_were_written(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    (project / "taskmark.toml").write_text('artifacts_dir = "shared"\n')
    below = project / "deep" / "down"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    monkeypatch.setenv("TASKMARK_ROOT", "here")
    settings = Settings()
    assert settings.artifacts_dir == project / "shared"
    assert settings.state_dir == project / ".taskmark"
    assert settings.root == below / "here"
    assert settings.tasks_dir == below / "here" / "tasks"


def test_the_file_of_a_directory_above_counts_only_inside_a_repository(project: Path) -> None:
    (project / "taskmark.toml").write_text("")
    below = project / "below"
    below.mkdir()
    assert find_file(below) is None
    (project / ".git").mkdir()
    assert find_file(below) == project / "taskmark.toml"
    (below / ".git").mkdir()
    assert find_file(below) is None


def test_a_home_directory_can_be_written_as_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TASKMARK_STATE_DIR", "~/state")
    assert Settings().state_dir == tmp_path / "home" / "state"


def test_lists_are_split_at_commas_in_variables_and_are_lists_in_the_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "taskmark.toml").write_text('http_allow_hosts = ["a.example", "b.example"]')
    monkeypatch.setenv("TASKMARK_PLUGINS", "one, two.three,")
    settings = Settings()
    assert settings.plugins == ("one", "two.three")
    assert settings.http_allow_hosts == ("a.example", "b.example")


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKMARK_PORT", "")
    assert Settings().port is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TASKMARK_PORT", "99999"),
        ("TASKMARK_UI_PORT", "eight"),
        ("TASKMARK_DURABILITY", "strong"),
        ("TASKMARK_WINDOW", "0"),
        ("TASKMARK_HEARTBEAT_SECONDS", "-1"),
        ("TASKMARK_TARGET_CPU", "90"),
        ("TASKMARK_BIND", "everywhere"),
        ("TASKMARK_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_names_the_variable_and_one_that_works(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettings, match=f"{name} is '{value}'") as caught:
        Settings()
    suggestion = str(caught.value.hint).split("for example, ")[1].split(", or leave")[0]
    monkeypatch.setenv(name, suggestion)
    assert Settings()


def test_a_wrong_value_in_the_file_names_the_file(project: Path) -> None:
    (project / "taskmark.toml").write_text("window = 0")
    with pytest.raises(InvalidSettings, match=r"window in taskmark\.toml is 0"):
        Settings()


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKMARK_PORT", "x")
    monkeypatch.setenv("TASKMARK_WINDOW", "y")
    with pytest.raises(InvalidSettings, match=r"TASKMARK_PORT.*TASKMARK_WINDOW"):
        Settings()


def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKMARK_DATABASE_URL", "mysql://me:hunter2@db/x")
    with pytest.raises(InvalidSettings) as caught:
        Settings()
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    monkeypatch.setenv("TASKMARK_DATABASE_URL", "postgresql://me:hunter2@db/x")
    assert "hunter2" not in repr(Settings())


@pytest.mark.parametrize(
    "value",
    ['{"shop": "mysql://me:hunter2@db/x"}', "postgres://me:hunter2@db/x", '["hunter2"]', '{"hunter2": 5}'],
)
def test_databases_that_tools_may_ask_are_checked_and_never_shown(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKMARK_SQL_DATABASES", value)
    with pytest.raises(InvalidSettings, match="TASKMARK_SQL_DATABASES: ") as caught:
        Settings()
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    monkeypatch.setenv("TASKMARK_SQL_DATABASES", '{"shop": "postgres://me:hunter2@db/x"}')
    assert Settings().sql_databases == {"shop": "postgresql://me:hunter2@db/x"}
    assert "hunter2" not in repr(Settings())


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_reached_by_the_driver_we_ship(scheme: str) -> None:
    settings = Settings(database_url=f"{scheme}://me@db/x")
    assert settings.database_url == "postgresql+psycopg://me@db/x"
    assert settings.uses_postgres


def test_another_sqlite_file_can_be_named() -> None:
    settings = Settings(database_url="sqlite:///other.db")
    assert settings.database_url == "sqlite:///other.db"
    assert not settings.uses_postgres


@pytest.mark.parametrize(
    ("values", "store"),
    [
        ({}, "files"),
        ({"database_url": "postgresql://db/x"}, "database"),
        ({"database_url": "postgresql://db/x", "artifacts_dir": "/mnt/shared"}, "files"),
        ({"artifacts": "database"}, "database"),
    ],
)
def test_artifacts_live_where_every_worker_can_read_them(values: dict[str, str], store: str) -> None:
    assert Settings(**values).artifact_store == store


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("window = ", "is not TOML", "window = 80"),
        ("taskQueue = 'x'", "taskQueue is not a setting", "Did you mean task_queue?"),
        ("state-dir = 'x'", "state-dir is not a setting", "Did you mean state_dir?"),
        ("TASKMARK_WINDOW = 3", "TASKMARK_WINDOW is not a setting", "Did you mean window?"),
        ("zzz = 1", "zzz is not a setting", "Known settings: state_dir"),
    ],
)
def test_a_wrong_file_says_what_is_wrong_in_it(project: Path, text: str, message: str, hint: str) -> None:
    (project / "taskmark.toml").write_text(text)
    with pytest.raises(InvalidSettings, match=message) as caught:
        Settings()
    assert hint in str(caught.value.hint)


def test_a_file_that_cannot_be_read_is_an_error(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "taskmark.toml").write_text("")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    # Tests may run as root, who may read everything.
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(InvalidSettings, match="cannot be read: Permission denied"):
        Settings()


def test_unknown_variables_come_with_the_name_that_was_meant() -> None:
    environment = {
        "TASKMARK_WINDWO": "1",
        "TASKMARK_QQQQQQQQQ": "1",
        "TASKMARK_WINDOW": "1",
        "TASKMARK_WORKER_ID": "given to steps",
        "PATH": "/bin",
    }
    assert unknown_variables(environment) == {
        "TASKMARK_WINDWO": "TASKMARK_WINDOW",
        "TASKMARK_QQQQQQQQQ": None,
    }


def test_the_temporal_binary_has_the_variable_it_has_everywhere(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert variable("temporal_cli_path") == "TEMPORAL_CLI_PATH"
    monkeypatch.setenv("TEMPORAL_CLI_PATH", "bin/temporal")
    assert Settings().temporal_cli_path == project / "bin" / "temporal"


def test_a_chosen_address_means_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "cluster.example:7233")
    assert Settings().temporal_address == "cluster.example:7233"


@pytest.mark.parametrize(
    ("profile", "text", "address"),
    [
        (None, '[profile.default]\naddress = "one:1"', "one:1"),
        ("prod", '[profile.prod]\naddress = "two:2"', "two:2"),
        ("prod", "[profile.prod]", "localhost:7233"),
        ("prod", "not toml", "localhost:7233"),
    ],
)
def test_a_chosen_profile_means_a_cluster(
    project: Path, monkeypatch: pytest.MonkeyPatch, profile: str | None, text: str, address: str
) -> None:
    (project / "temporal.toml").write_text(text)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", "temporal.toml")
    if profile:
        monkeypatch.setenv("TEMPORAL_PROFILE", profile)
    assert Settings().temporal_address == address


def test_a_profile_alone_is_looked_up_where_temporal_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "home" / ".config" / "temporalio"
    folder.mkdir(parents=True)
    (folder / "temporal.toml").write_text('[profile.prod]\naddress = "three:3"')
    monkeypatch.setenv("TEMPORAL_PROFILE", "prod")
    assert Settings().temporal_address == "three:3"


def test_limits_carry_the_settings_the_engine_goes_by() -> None:
    settings = Settings(heartbeat_seconds=1, step_timeout_seconds=2, workflow_task_seconds=3)
    limits = settings.model_copy(update={"progress_seconds": 4.0, "window": 5}).limits()
    assert (limits.heartbeat, limits.step_timeout, limits.workflow_task) == (1, 2, 3)
    assert (limits.progress_interval, limits.window) == (4, 5)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(Exception, match="frozen"):
        Settings().window = 3  # type: ignore[misc] # the very point of the test


# --- language models ------------------------------------------------------------------------------


def test_providers_models_and_agents_come_from_the_file_or_a_variable(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "taskmark.toml").write_text(
        "[providers.local]\nbaseUrl = 'http://127.0.0.1:8000/v1'\nkeys = ['KEY']\n"
        "requestsPerMinute = 60\nprices = { own = { input = 1 } }\n"
        "[models]\nfast = ['local:own', 'openai:gpt-5-mini']\nbest = 'local:own'\n"
        "[agents.ann]\ntimeout = '2m'\nmodel = 'fast'\n"
    )
    settings = Settings()
    local = settings.providers["local"]
    assert (local.speaks, local.base_url, local.keys) == ("openai", "http://127.0.0.1:8000/v1", ("KEY",))
    assert (local.requests_per_minute, local.prices["own"].input) == (60, 1)
    assert settings.models == {"fast": ("local:own", "openai:gpt-5-mini"), "best": ("local:own",)}
    assert (settings.agents["ann"].timeout, settings.agents["ann"].model) == (120, "fast")
    monkeypatch.setenv("TASKMARK_MODELS", '{"best": "ollama:qwen3"}')
    assert Settings().models == {"best": ("ollama:qwen3",)}


@pytest.mark.parametrize(
    "value",
    [
        '{"openai": {"keys": ["sk-proj-abcdef"]}}',
        '{"openai": {"baseUrl": "http://user:sk-proj-abcdef@host"}}',
        '{"openai": {"baseUrl": "ftp://sk-proj-abcdef"}}',
        '{"openai": {"key": "sk-proj-abcdef"}}',
        '{"python": {"keys": ["A"]}}',
        '{"openai": {"concurrency": 0}}',
        "sk-proj-abcdef",
    ],
)
def test_a_provider_that_cannot_be_is_refused_and_no_key_is_repeated(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes a key where its variable's name belongs must not read it in a log."""
    monkeypatch.setenv("TASKMARK_PROVIDERS", value)
    with pytest.raises(InvalidSettings) as caught:
        Settings()
    assert "TASKMARK_PROVIDERS" in caught.value.message
    assert "abcdef" not in f"{caught.value} {caught.value.hint}"
