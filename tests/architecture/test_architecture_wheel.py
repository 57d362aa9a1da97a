"""What is installed elsewhere works there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and installed into a folder of its own."""
    built, target = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("elsewhere")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(built), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=100)
    wheel = next(built.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("store/migrations/env.py") for name in names), "migrations are missing"
    install = [*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=100)
    return target


def run(installed: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed), "TASKMARK_STATE_DIR": str(cwd / "state")}
    command = [sys.executable, str(installed / "bin" / "taskmark"), *words]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_console_script_runs_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    """It finds its own modules, not those of this folder."""
    where = "import taskmark, starter; print(taskmark.__file__, starter.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(str(installed) in path for path in found.stdout.split())
    assert "run" in run(installed, "--help", cwd=tmp_path).stdout


def test_a_task_runs_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    """Server, worker, launcher of processes and migrations are all in it."""
    (tmp_path / "t.md").write_text(
        "# T\n\n## Phase: A\n### Steps\n- tool: shell - Say\n  with: {command: [echo, hi]}\n"
    )
    done = run(installed, "run", "t.md", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
