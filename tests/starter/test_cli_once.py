"""`--key`: starts from several processes, at the same time and later, are one execution."""

import json
from pathlib import Path

import pytest
from cli_project import begun, taskmark


@pytest.mark.semantics("S9")
def test_a_key_makes_the_starts_of_several_processes_one_execution(project: Path) -> None:
    words = ("example", "-i", "file=notes.txt", "--key", "2026-01-31")
    several = [begun(project, "start", *words) for _ in range(3)]
    told = [process.communicate(timeout=60)[0] for process in several]
    assert [process.returncode for process in several] == [0, 0, 0], told
    assert len(set(told)) == 1
    name = told[0].strip()

    first = taskmark(project, "run", *words)
    again = taskmark(project, "run", *words)
    assert (first.stdout, again.stdout) == ("lines: 2\n", "lines: 2\n"), first.stderr + again.stderr
    listed = json.loads(taskmark(project, "list", "-o", "json").stdout)
    assert [one["execution_id"] for one in listed] == [name]
    assert listed[0]["status"] == "completed"

    other = taskmark(project, "start", "example", "-i", "file=other.txt", "--key", "2026-01-31")
    assert other.returncode == 2
    assert "with other inputs (file)" in other.stderr
    assert taskmark(project, "start", *words, "--id", "mine").returncode == 2
