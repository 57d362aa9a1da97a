"""The comparison with other engines: what it asks of their programs, and what it says if one cannot do it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import psutil
import pytest

from benchmarks import peers, peers_set_up, servers
from benchmarks.program import Failed, Program, started
from benchmarks.programs.lines import Shape
from tests.unit.setup.test_setup_benchmarks import ROOT, results

SMALL = Shape(1, 2, parallel=False)


def running(body: str, folder: Path) -> AbstractContextManager[Program]:
    """Runs a program whose task is the given body."""
    head = ["import asyncio, os, subprocess", "from lines import serve", "async def task(shape):"]
    text = "\n".join([*head, textwrap.indent(body, "    "), "asyncio.run(serve(task, '1.0'))"])
    (folder / "program.py").write_text(text)
    own = os.environ | {"PYTHONPATH": str(ROOT / "benchmarks/programs")}
    return started([sys.executable, folder / "program.py"], folder, own)


def test_a_round_says_what_it_took(tmp_path: Path) -> None:
    with running("print('to be ignored')\nreturn shape.phases * shape.steps", tmp_path) as program:
        found = program.round(Shape(1, 2, parallel=False, at_once=2, times=2), 30)
    assert program.version == "1.0"
    assert found["seconds"] > 0
    assert found["program_mb"] > 0
    assert found["servers_mb"] == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('wrong')", "ValueError: wrong"),
        ("os.write(2, b'last words'); os._exit(3)", "the program ended:\nlast words"),
        ("await asyncio.sleep(60)", "was not done within 1 s"),
        ("return 1", "did 1 steps instead of 2"),
    ],
)
def test_a_program_that_does_not_do_its_work_is_told_of(
    body: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.servers.STOP_SECONDS", 0.1)
    with running(body, tmp_path) as program, pytest.raises(Failed, match=said):
        program.round(SMALL, 1)


def test_what_a_program_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.servers.CHILD_SECONDS", 0.1)
    with running("subprocess.Popen(['sleep', '60'])\nreturn 2", tmp_path) as program:
        program.round(SMALL, 30)
        below = program.servers()
        assert [one.name() for one in below] == ["sleep"]
        assert program.megabytes()[1] > 0
    _, left = psutil.wait_procs(below, timeout=10)
    assert all(one.status() == psutil.STATUS_ZOMBIE for one in left)


def test_an_engine_that_fails_is_left_out_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> AbstractContextManager[Program]:
        raise servers.Missing("there is no initdb")

    def good() -> AbstractContextManager[Program]:
        return running("return shape.total", tmp_path)

    monkeypatch.setattr(peers, "ENGINES", {"absent": absent, "good": good})
    with ExitStack() as stack:
        comparison = peers.Comparison(stack)
        comparison.start()
        found = comparison.rounds("small", SMALL, 2, time.monotonic() + 60)
    assert comparison.out == {"absent": "its start: there is no initdb"}
    assert len(found["good"]) == 2


def test_without_a_way_to_install_the_peers_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/peers.txt").write_text(f"absent-peer==1 --hash=sha256:{'0' * 64}\n")
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(ROOT / "bootstrap.py", tmp_path)
    program = shutil.copy(ROOT / "benchmarks/peers_set_up.py", tmp_path / "benchmarks")
    offline = os.environ | {"PIP_NO_INDEX": "1"}
    done = subprocess.run([sys.executable, program], env=offline, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DBOS and Prefect could not be installed" in done.stderr
    assert "fix: There seems to be no way to a package index" in done.stderr


def test_the_peers_are_pinned_by_hash_and_name_no_index() -> None:
    text = peers_set_up.REQUIREMENTS.read_text()
    pinned = [line for line in text.splitlines() if not line.startswith(" ")]
    assert {"dbos", "prefect"} <= {line.partition("==")[0] for line in pinned}
    assert all("==" in line and line.endswith("\\") for line in pinned)
    assert "://" not in text


@pytest.mark.soak
def test_all_engines_do_the_same_work(tmp_path: Path) -> None:
    if not peers_set_up.is_made():
        pytest.skip(".venv-peers is not there: `make bench-peers` makes it")
    found = results("peers", tmp_path / "peers.json")
    assert len(found["timed"]) == 4
    assert not set(found["out"]) - {"DBOS, PostgreSQL", "Prefect, PostgreSQL"}  # initdb may be missing
    for one in found["timed"]:
        assert set(one["engines"]) == set(peers.ENGINES) - set(found["out"])
