"""The files a newcomer and CI begin with fit each other and the code."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[3]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, PROJECT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gate() -> ModuleType:
    return script("coverage_gate")


def report(path: Path, lines: int, branches: int, name: str = "taskmark/a.py") -> str:
    whole = {"num_statements": 100, "covered_lines": 100, "num_branches": 100, "covered_branches": 100}
    part = {**whole, "covered_lines": lines, "covered_branches": branches}
    files = {name: {"summary": part}, "taskmark/b.py": {"summary": {**whole, "percent_covered": 99.5}}}
    path.write_text(json.dumps({"files": files}))
    return str(path)


def test_covered_lines_do_not_hide_branches(
    gate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert gate.main(report(tmp_path / "good", 90, 90), "95") == 0
    assert gate.main(report(tmp_path / "bad", 100, 89), "95") == 1
    assert "branches below 95 %" in capsys.readouterr().err


@pytest.mark.parametrize("browser", [None, "/usr/bin/chromium"])
def test_without_a_browser_what_uses_one_is_left_out(
    gate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: str | None
) -> None:
    monkeypatch.setattr(gate.shutil, "which", lambda _: browser)
    of_browsing = report(tmp_path / "report", 0, 0, "taskmark/tools/browsing_proxy.py")
    assert gate.main(of_browsing, "95") == (0 if browser is None else 1)


FAILING = "def test_fault() -> None:\n    assert False\n"
UNSTEADY = """from pathlib import Path

def test_now_and_then(seen=Path("seen")) -> None:
    known = seen.exists()
    seen.touch()
    assert known
"""
MANY = "\n".join(UNSTEADY.replace("now_and_then", f"{n}").replace('seen"', f'{n}"') for n in range(4))


@pytest.mark.parametrize(
    ("tests", "code"),
    [(UNSTEADY, 0), (FAILING, 1), (UNSTEADY + FAILING, 1), (MANY, 1)],
    ids=["one passes alone", "one fails again", "one of two fails again", "more than three"],
)
def test_a_second_look_forgives_only_what_passes_alone(
    tests: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = soak\n")
    (tmp_path / "test_it.py").write_text(tests)
    run = [sys.executable, "-m", "pytest", "-q"]
    assert subprocess.run(run, capture_output=True, check=False).returncode == 1
    assert script("second_look").main("3") == code


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
