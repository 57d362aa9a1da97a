"""A newcomer's set-up works from a clean copy, costs nothing the second time, and says what it lacks."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[3]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A small project that is set up like ours: the same script, requirements without any package."""
    folder = tmp_path / "copy with spaces"
    (folder / "requirements").mkdir(parents=True)
    shutil.copy(PROJECT / "bootstrap.py", folder)
    for kind in ("runtime", "dev"):
        (folder / "requirements" / f"{kind}.txt").write_text("")
    (folder / "pyproject.toml").write_text('[project]\nname = "small"\nversion = "1"\n')
    return folder


@pytest.fixture
def bootstrap(copy: Path) -> ModuleType:
    return load(copy / "bootstrap.py")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_clean_copy_gets_an_environment_once(bootstrap: ModuleType, copy: Path) -> None:
    bootstrap.make_venv()
    bootstrap.pip("-r", str(copy / "requirements" / "runtime.txt"), "--require-hashes")
    Path(bootstrap.stamp("runtime")).write_text(bootstrap.digest("runtime"))
    assert bootstrap.is_made("runtime")
    before = (copy / ".venv" / "pyvenv.cfg").stat().st_mtime_ns
    bootstrap.make_venv()
    assert (copy / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == before


def test_what_is_made_for_development_also_runs(bootstrap: ModuleType) -> None:
    bootstrap.make_venv()
    Path(bootstrap.stamp("dev")).write_text(bootstrap.digest("dev"))
    assert bootstrap.is_made("runtime")
    Path(bootstrap.stamp("dev")).unlink()
    Path(bootstrap.stamp("runtime")).write_text(bootstrap.digest("runtime"))
    assert not bootstrap.is_made("dev")


@pytest.mark.parametrize("changed", ["requirements/runtime.txt", "pyproject.toml"])
def test_a_change_of_what_it_was_made_from_makes_it_anew(
    bootstrap: ModuleType, copy: Path, changed: str
) -> None:
    bootstrap.make_venv()
    Path(bootstrap.stamp("runtime")).write_text(bootstrap.digest("runtime"))
    with (copy / changed).open("a") as file:
        file.write("# changed\n")
    assert not bootstrap.is_made("runtime")


def test_an_environment_whose_python_is_gone_is_made_anew(bootstrap: ModuleType, copy: Path) -> None:
    (copy / ".venv" / "bin").mkdir(parents=True)
    (copy / ".venv" / "bin" / "python").symlink_to("/nowhere/python3.11")
    bootstrap.make_venv()
    assert bootstrap.version_of(bootstrap.IN_VENV) >= (3, 11)


def test_an_old_python_looks_for_a_newer_one(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 8, 10))
    script(tmp_path / "bin" / "python3.13", "exit 1")
    script(tmp_path / "bin" / "python3.12", "echo 3 10")
    newer = script(tmp_path / "bin" / "python3.11", "echo 3 11")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    assert bootstrap.find_python() == str(newer)


def test_an_old_python_alone_is_an_error_with_a_fix(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 8, 10))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bootstrap.main(["dev"]) == 1
    said = capsys.readouterr().err
    assert "Python 3.11 or newer is needed" in said
    assert "fix: Install one (Debian, Ubuntu: apt install python3.11" in said


def test_a_folder_that_cannot_be_written_is_an_error_with_a_fix(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Tests may run as root, to whom every folder is writable.
    monkeypatch.setattr(bootstrap.os, "access", lambda *_: False)
    assert bootstrap.main(["runtime"]) == 1
    assert "fix: Copy the project to a folder of your own" in capsys.readouterr().err


def test_a_python_without_its_venv_module_is_an_error_with_a_fix(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = script(
        tmp_path / "python",
        'case "$*" in *venv*) echo "ensurepip is not available"; exit 1;; *) echo 3 11;; esac',
    )
    monkeypatch.setattr(bootstrap, "find_python", lambda: str(broken))
    assert bootstrap.main(["runtime"]) == 1
    said = capsys.readouterr().err
    assert "ensurepip is not available" in said
    assert "apt install python3.11-venv" in said


@pytest.mark.parametrize(
    ("output", "fix"),
    [
        ("Retrying ... NewConnectionError ... Name or service not known", "check the network"),
        ("ERROR: Could not find a version that satisfies x (from versions: none)", "check the network"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "differs from the one"),
        ("OSError: [Errno 28] No space left on device", "Free some disk space"),
        ("something else", "rm -rf .venv"),
    ],
)
def test_a_failure_of_pip_is_explained(bootstrap: ModuleType, output: str, fix: str) -> None:
    assert fix in bootstrap.reason(output)


def test_without_network_the_set_up_says_so(
    bootstrap: ModuleType, copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "requirements" / "runtime.txt").write_text(
        f"nothing-of-this-name==1.0 --hash=sha256:{'0' * 64}\n"
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert bootstrap.main(["runtime"]) == 1
    said = capsys.readouterr().err
    assert "fix: There seems to be no way to a package index" in said
    assert not Path(bootstrap.stamp("runtime")).exists()


def test_wrong_words_show_the_right_ones(bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap.main([]) == 2
    assert bootstrap.main(["everything"]) == 2
    assert "usage: python3 bootstrap.py runtime|dev" in capsys.readouterr().err


def test_with_a_cluster_no_binary_is_got(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "cluster.example:7233")
    bootstrap.get_temporal()


def test_a_binary_that_cannot_be_got_fails_the_set_up(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEMPORAL_ADDRESS", raising=False)
    monkeypatch.setattr(bootstrap, "IN_VENV", "/bin/false")
    with pytest.raises(bootstrap.SetUpFailed, match="no Temporal server"):
        bootstrap.get_temporal()


def test_it_needs_no_newer_python_to_say_that_it_needs_one() -> None:
    import ast

    source = (PROJECT / "bootstrap.py").read_text()
    assert ast.parse(source, feature_version=(3, 7))
    imported = {
        alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert imported <= set(sys.stdlib_module_names)


def test_when_all_is_made_it_takes_no_time() -> None:
    ours = load(PROJECT / "bootstrap.py")
    if not ours.is_made("runtime"):
        pytest.skip("this environment was not made by `make`")
    start = time.monotonic()
    line = [sys.executable, str(PROJECT / "bootstrap.py"), "runtime"]
    subprocess.run(line, check=True, env={**os.environ}, capture_output=True)
    assert time.monotonic() - start < 10
