"""The compose file and the image fit the project, as far as that can be told without Docker."""

import fnmatch
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from taskmark.settings import Settings, unknown_variables

PROJECT = Path(__file__).resolve().parents[3]
COMPOSE = PROJECT / "docker-compose.temporal.yml"
SERVICE_KEYS = {
    "image", "build", "command", "init", "depends_on", "environment", "volumes", "ports",
    "healthcheck", "stop_grace_period", "deploy", "restart",
}  # fmt: skip


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(COMPOSE)


def services(compose: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(compose["services"].items())


def stages() -> list[str]:
    """The instructions of the Dockerfile, with continued lines joined."""
    text = (PROJECT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_it_has_only_parts_and_keys_that_compose_knows(compose: dict[str, Any]) -> None:
    assert set(compose) == {"name", "services", "volumes"}
    assert {key for _, service in services(compose) for key in service} <= SERVICE_KEYS


def test_every_image_is_pinned_to_a_version(compose: dict[str, Any]) -> None:
    images = [service["image"] for _, service in services(compose) if "image" in service]
    images += [line.split()[1] for line in stages() if line.startswith("FROM")]
    assert len(images) == 5
    assert [image for image in images if not re.search(r":\d+\.\d+\.?\d*", image)] == []


def test_every_port_is_on_loopback(compose: dict[str, Any]) -> None:
    ports = [port for _, service in services(compose) for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_whoever_is_waited_for_says_whether_it_is_healthy(compose: dict[str, Any]) -> None:
    known = compose["services"]
    for _, service in services(compose):
        for other, wait in service.get("depends_on", {}).items():
            assert wait == {"condition": "service_healthy"}
            assert known[other]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


def test_every_volume_is_declared_or_a_folder_of_ours(compose: dict[str, Any]) -> None:
    sources = [
        volume.split(":")[0] for _, service in services(compose) for volume in service.get("volumes", ())
    ]
    folders = {source for source in sources if source.startswith("./")}
    assert set(sources) - folders == set(compose["volumes"])
    assert [folder for folder in folders if not (PROJECT / folder).is_dir()] == []


def test_no_password_is_written_down(compose: dict[str, Any]) -> None:
    values = [
        value
        for _, service in services(compose)
        for name, value in service.get("environment", {}).items()
        if "PASSWORD" in name or "PWD" in name or name.endswith("_URL")
    ]
    assert len(values) == 3
    assert all("${POSTGRES_PASSWORD:?" in value for value in values)


def test_the_workers_settings_are_settings_and_lead_to_the_other_services(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = compose["services"]["worker"]
    assert worker["deploy"]["replicas"] == 2
    monkeypatch.chdir(tmp_path)
    for name, value in worker["environment"].items():
        monkeypatch.setenv(name, re.sub(r"\$\{[^}]*\}", "secret", value))
    assert unknown_variables(worker["environment"]) == {}
    settings = Settings()
    assert settings.temporal_address == "temporal:7233"
    assert settings.database_url == "postgresql+psycopg://taskmark:secret@postgres:5432/taskmark"
    assert settings.artifact_store == "database"
    assert float(worker["stop_grace_period"].removesuffix("s")) > settings.grace_seconds


def test_containers_that_take_over_records_share_their_place(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]
    targets = {volume.split(":")[1] for volume in worker["volumes"]}
    assert worker["environment"]["TASKMARK_STATE_DIR"] in targets
    assert worker["environment"]["TASKMARK_ROOT"] in targets


def test_a_workers_health_check_can_be_run(compose: dict[str, Any]) -> None:
    line = compose["services"]["worker"]["healthcheck"]["test"]
    assert line[:3] == ["CMD", "python", "-m"]
    assert importlib.util.find_spec(line[3]) is not None


def test_everything_the_image_copies_exists_and_is_let_through() -> None:
    copied = [line.split()[1:-1] for line in stages() if line.startswith("COPY") and "--from" not in line]
    sources = [source.rstrip("/") for line in copied for source in line if not source.startswith("--")]
    let_through = [
        line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    assert sorted(sources) == sorted(let_through)
    assert [source for source in sources if not (PROJECT / source).exists()] == []


def test_the_image_installs_only_hashed_packages_and_runs_as_nobody_special() -> None:
    lines = stages()
    installs = [line for line in lines if "pip install" in line]
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    files = [word for line in installs for word in shlex.split(line) if fnmatch.fnmatch(word, "*.txt")]
    assert [file for file in files if not (PROJECT / file).is_file()] == []
    assert lines.index("USER taskmark") < next(i for i, line in enumerate(lines) if line.startswith("CMD"))


def test_the_image_has_what_the_package_consists_of() -> None:
    text = (PROJECT / "Dockerfile").read_text()
    packages = re.search(r"^packages = \[(.*)\]$", (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)
    assert packages is not None
    names = re.findall(r"\w+", packages[1])
    assert [name for name in names if f"COPY {name}/ {name}/" not in text] == []


def test_the_postgresql_driver_is_the_one_that_is_tested() -> None:
    def pins(kind: str) -> set[str]:
        entries = re.split(r"\n(?=\S)", (PROJECT / "requirements" / f"{kind}.txt").read_text().strip())
        return {entry.strip() for entry in entries}

    assert pins("postgres") == {pin for pin in pins("dev") if pin.startswith("psycopg")}


def test_docker_itself_reads_the_file() -> None:
    docker = shutil.which("docker")
    line = [docker or "docker", "compose", "-f", str(COMPOSE), "config", "--quiet"]
    if (
        docker is None
        or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("there is no `docker compose` on this machine")
    environment = {**os.environ, "POSTGRES_PASSWORD": "secret"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
