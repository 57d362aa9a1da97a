"""The files a newcomer and CI begin with fit each other and the code."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
def gate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_gate", PROJECT / ".ci" / "coverage_gate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(path: Path, lines: int, branches: int) -> str:
    totals = {
        "num_statements": 100,
        "covered_lines": lines,
        "num_branches": 100,
        "covered_branches": branches,
    }
    path.write_text(json.dumps({"totals": totals}))
    return str(path)


def test_covered_lines_do_not_hide_branches(
    gate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert gate.main(report(tmp_path / "good", 95, 95), "95") == 0
    assert gate.main(report(tmp_path / "bad", 100, 94), "95") == 1
    assert "branches below 95 %" in capsys.readouterr().err


def test_ci_runs_exactly_what_people_run() -> None:
    assert (PROJECT / ".ci" / "run").read_text().rstrip().endswith("exec make test")
    assert (PROJECT / ".ci" / "run").stat().st_mode & 0o111


def test_the_scripts_are_valid_shell() -> None:
    subprocess.run(["sh", "-n", str(PROJECT / ".ci" / "run")], check=True)


def test_make_help_lists_every_command() -> None:
    listed = subprocess.run(
        ["make", "-C", PROJECT, "help"], capture_output=True, text=True, check=True
    ).stdout
    targets = re.findall(r"^\.PHONY: (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)[0].split()
    assert [target for target in targets if f"make {target} " not in listed] == []


def test_without_python_make_says_what_to_install() -> None:
    line = ["make", "-C", str(PROJECT), "PYTHON=no-such-python", "demo"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "fix: install Python 3.11 or newer" in done.stderr


@pytest.mark.parametrize("kind", ["runtime", "dev"])
def test_every_requirement_is_pinned_with_hashes_and_names_no_index(kind: str) -> None:
    text = (PROJECT / "requirements" / f"{kind}.txt").read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    packages = [entry for entry in entries if not entry.startswith("#")]
    assert packages
    assert [
        entry.split()[0] for entry in packages if "==" not in entry or "--hash=sha256:" not in entry
    ] == []


def test_all_that_runs_is_also_there_for_development() -> None:
    def pins(kind: str) -> set[str]:
        text = (PROJECT / "requirements" / f"{kind}.txt").read_text()
        return set(re.findall(r"^([\w.-]+==[\w.]+)", text, re.MULTILINE))

    assert pins("runtime") <= pins("dev")
