"""Commands as people type them, in processes of their own, on a real embedded server."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from cli_project import EXAMPLE, FAILING, GATE, HELD, SIZED, SLOW, begun, environment, taskmark

from starter.cli.pool import TOO_SOON_SECONDS
from starter.embedded.server import running
from taskmark.settings import Settings


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A project of its own, whose server is gone at the end."""
    (tmp_path / "tasks").mkdir()
    for name, text in {
        "example": EXAMPLE,
        "gate": GATE,
        "slow": SLOW,
        "failing": FAILING,
        "held": HELD,
    }.items():
        (tmp_path / "tasks" / f"{name}.md").write_text(text)
    (tmp_path / "notes.txt").write_text("one\ntwo\n")
    yield tmp_path
    assert eventually(lambda: not server_of(tmp_path)), "the embedded server was left behind"


def server_of(project: Path) -> bool:
    return running(Settings(state_dir=project / ".taskmark")) is not None


def eventually(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def executions(project: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in taskmark(project, "list", "-o", "jsonl").stdout.splitlines()]


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Waits for a process that was told to end; returns its code and what it said."""
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def test_run_shows_progress_on_stderr_and_data_on_stdout(project):
    done = taskmark(project, "run", "example", "-i", "file=notes.txt")
    assert (done.returncode, done.stdout) == (0, "lines: 2\n")
    assert "phase Measure completed" in done.stderr
    assert "Traceback" not in done.stderr
    execution = str(executions(project)[0]["execution_id"])
    assert f"taskmark show {execution}" in done.stderr
    assert "http://" not in done.stderr
    shown = taskmark(project, "show", execution[:-3], "-o", "json")
    assert json.loads(shown.stdout)["execution"]["outputs"] == {"lines": 2}
    assert "step completed" in taskmark(project, "logs", execution, "--follow").stdout


def test_run_gives_programs_the_whole_result(project):
    done = taskmark(
        project,
        "run",
        "tasks/example.md",
        "--inputs",
        "-",
        "-o",
        "json",
        input='{"file": "notes.txt"}',
        stdin=None,
    )
    result = json.loads(done.stdout)
    assert (result["status"], result["outputs"]) == ("completed", {"lines": 2})
    assert result["steps"]["count"]["attempts"] == 1


def test_a_failed_task_is_code_1_with_the_reason(project):
    done = taskmark(project, "run", "failing")
    assert done.returncode == 1
    assert "One is not above two" in done.stderr


@pytest.mark.semantics("G12")
def test_without_a_person_a_gate_ends_the_command_with_5_and_decisions_go_on_from_anywhere(project):
    done = taskmark(project, "run", "gate", "--id", "gate-1")
    assert done.returncode == 5
    assert "taskmark approve gate-1 release" in done.stderr
    waiting = taskmark(project, "list", "--waiting", "-o", "json")
    assert [wait["name"] for one in json.loads(waiting.stdout) for wait in one["waiting"]] == ["release"]
    assert json.loads(waiting.stdout)[0]["waiting"][0]["commands"][0] == "taskmark approve gate-1 release"
    listed = taskmark(project, "list", "--waiting")
    assert "Release it?" in listed.stdout
    assert "UNTIL" in listed.stdout
    assert "taskmark approve gate-1 release" in listed.stderr
    wrong = taskmark(project, "approve", "gate-1", "relase")
    assert wrong.returncode == 2
    assert "no approval is called “relase”" in wrong.stderr
    assert taskmark(project, "approve", "gate-1", "release", "--comment", "fine").returncode == 0
    standing = taskmark(project, "watch", "gate-1", "--no-wait", "-o", "jsonl")
    told = json.loads(standing.stdout)  # who asks for a document learns how far it is
    assert (standing.returncode, told["execution_id"], told["status"]) == (5, "gate-1", "waiting")
    assert [wait["name"] for wait in told["waiting"]] == ["region"]
    assert taskmark(project, "answer", "gate-1", "region", "eu").returncode == 0
    watched = taskmark(project, "watch", "gate-1", "-o", "jsonl")
    assert (watched.returncode, json.loads(watched.stdout)["outputs"]) == (0, {"region": "eu"})
    assert taskmark(project, "list", "--waiting").stderr == "Nothing waits for a person.\n"


def test_a_rejection_fails_the_task_with_its_comment(project):
    assert taskmark(project, "run", "gate", "--id", "gate-1").returncode == 5
    assert taskmark(project, "reject", "gate-1", "release", "--comment", "too early").returncode == 0
    watched = taskmark(project, "watch", "gate-1")
    assert watched.returncode == 1
    assert "too early" in watched.stderr


def test_a_held_phase_is_retried_or_left_and_answers_are_typed(project):
    held = taskmark(project, "run", "held", "--id", "held-1")
    assert held.returncode == 5
    assert "taskmark retry held-1 look" in held.stderr
    (project / "later.txt").write_text("here")
    assert taskmark(project, "skip", "held-1", "ask").returncode == 2
    assert taskmark(project, "retry", "held-1", "look").returncode == 0
    assert taskmark(project, "watch", "held-1").returncode == 5
    refused = taskmark(project, "answer", "held-1", "count", "many")
    assert refused.returncode == 2
    assert "integer" in refused.stderr
    assert taskmark(project, "answer", "held-1", "count", "7").returncode == 0
    assert taskmark(project, "watch", "held-1").stdout == "count: 7\n"


def test_a_held_phase_is_corrected_with_other_inputs_or_goes_on_without_a_step(project):
    (project / "tasks" / "sized.md").write_text(SIZED)
    assert taskmark(project, "run", "sized", "--id", "sized-1").returncode == 5
    waiting = taskmark(project, "list", "--waiting", "-o", "json")
    (one,) = json.loads(waiting.stdout)
    assert one["waiting"][0]["failed"] == ["small"]
    wrong = taskmark(project, "retry", "sized-1", "look", "--input", "size=many", "--input", "nope=1")
    assert wrong.returncode == 2
    assert all(name in wrong.stderr for name in ("`size`", "`nope`"))
    assert taskmark(project, "retry", "sized-1").returncode == 2
    again = taskmark(project, "retry", "sized-1", "look", "-i", "size=3")
    assert (again.returncode, again.stderr.splitlines()[0]) == (0, "phase look runs again")
    assert "sized-1 --step odd" in taskmark(project, "watch", "sized-1").stderr
    left = taskmark(project, "skip", "sized-1", "--step", "odd", "--comment", "odd is fine")
    assert (left.returncode, left.stderr.splitlines()[0]) == (0, "step odd is left out")
    assert taskmark(project, "watch", "sized-1").stdout == "size: 3\n"


def test_a_decision_may_name_what_was_shown(project):
    assert taskmark(project, "run", "gate", "--id", "gate-1").returncode == 5
    (one,) = json.loads(taskmark(project, "list", "--waiting", "-o", "json").stdout)
    shown = next(wait["shown"] for wait in one["waiting"] if wait["name"] == "release")
    refused = taskmark(project, "approve", "gate-1", "release", "--shown", "0000")
    assert refused.returncode == 2
    assert "asks something else by now" in refused.stderr
    approved = taskmark(project, "approve", "gate-1", "release", "--shown", shown)
    assert approved.returncode == 0
    assert "“release” is approved: " in approved.stderr


def test_a_held_phase_takes_no_words_that_it_would_leave_out(project):
    """Above all not `--dry-run`, which would run it."""
    assert taskmark(project, "run", "held", "--id", "held-1").returncode == 5
    (project / "later.txt").write_text("here")
    for words in (
        ("look", "--dry-run"),
        ("look", "--inputs", "none.json", "--from", "look", "--file", "held", "--id", "other"),
        ("--step", "look", "--dry-run", "--checkpoint", "x"),
        ("--step", "look", "--project", "x", "--detach"),
        ("--dry-run", "--comment", "x"),
    ):
        refused = taskmark(project, "retry", "held-1", *words)
        assert refused.returncode == 2, words
        assert "nothing was done" in " ".join(refused.stderr.replace("│", " ").split()), refused.stderr
    (one,) = json.loads(taskmark(project, "list", "--waiting", "-o", "json").stdout)
    assert [wait["name"] for wait in one["waiting"]] == ["look"]


def test_a_decision_about_a_held_phase_may_name_what_was_shown(project):
    assert taskmark(project, "run", "held", "--id", "held-1").returncode == 5
    (one,) = json.loads(taskmark(project, "list", "--waiting", "-o", "json").stdout)
    for words in (("retry", "held-1", "--step", "look"), ("skip", "held-1", "look")):
        refused = taskmark(project, *words, "--shown", "0000")
        assert (refused.returncode, "asks something else by now" in refused.stderr) == (2, True), (
            refused.stderr
        )
    shown = one["waiting"][0]["shown"]
    assert taskmark(project, "skip", "held-1", "--step", "look", "--shown", shown).returncode == 0


def test_a_held_phase_can_be_left_as_it_is(project):
    assert taskmark(project, "run", "held", "--id", "held-1").returncode == 5
    assert taskmark(project, "skip", "held-1", "look").returncode == 0
    watched = taskmark(project, "watch", "held-1")
    assert watched.returncode == 0
    assert "completed with errors" in watched.stderr


def test_run_says_what_else_it_continues_and_does_not_wait_for_it(project):
    assert taskmark(project, "start", "slow", "--id", "open-1").returncode == 0
    begun_at = time.monotonic()
    done = taskmark(project, "run", "example", "-i", "file=notes.txt")
    assert done.returncode == 0
    assert "continuing open-1" in done.stderr
    assert time.monotonic() - begun_at < 30
    assert taskmark(project, "abort", "open-1").returncode == 0


def test_what_is_started_stands_still_until_somebody_works_and_can_be_aborted(project):
    started = taskmark(project, "start", "slow", "--id", "slow-1")
    assert started.stdout == "slow-1\n"
    assert "work stands still" in started.stderr
    assert taskmark(project, "run", "slow", "--id", "slow-2", "--detach", "-o", "json").stdout.startswith("{")
    assert "stands still" in taskmark(project, "pause", "slow-1", "--reason", "later", "--now").stderr
    assert taskmark(project, "watch", "slow-1", "--no-wait").returncode == 5
    assert taskmark(project, "resume", "slow-1").returncode == 0
    aborted = taskmark(project, "abort", "slow-1", "--reason", "enough")
    assert (aborted.returncode, aborted.stderr) == (0, "slow-1 is cancelled\n")
    assert taskmark(project, "abort", "slow-2").returncode == 0
    assert {one["status"] for one in executions(project)} == {"cancelled"}


def test_an_execution_that_nobody_knows_is_misuse(project):
    done = taskmark(project, "pause", "exec-nope")
    assert done.returncode == 2
    assert "No execution has the id" in done.stderr


def test_ctrl_c_leaves_the_execution_and_says_how_to_come_back(project):
    process = begun(project, "run", "slow", "--id", "left")
    assert process.stderr is not None
    assert any("phase Sleep started" in line for line in iter(process.stderr.readline, ""))
    process.send_signal(signal.SIGINT)
    code, said = ended(process)
    assert code == 130
    assert "taskmark watch left" in said
    assert "work stands still until you come back" in said
    assert "Traceback" not in said
    assert taskmark(project, "abort", "left").returncode == 0


def test_a_second_ctrl_c_leaves_at_once(project):
    process = begun(project, "run", "slow", "--id", "left")
    assert process.stderr is not None
    assert any("phase Sleep started" in line for line in iter(process.stderr.readline, ""))
    process.send_signal(signal.SIGINT)
    assert any("Left left" in line for line in iter(process.stderr.readline, ""))
    told = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130
    assert time.monotonic() - told < 5  # the grace that it did not wait for is 10 s
    assert taskmark(project, "abort", "left").returncode == 0


def test_dev_works_for_others_until_it_is_told_to_end(project):
    process = begun(project, "dev")
    assert process.stderr is not None
    said = [process.stderr.readline()]
    while "Working" not in said[-1]:
        said.append(process.stderr.readline())
    assert "temporal:" in said[0]
    assert "web ui:      http://127.0.0.1:" in said[1]
    assert taskmark(project, "start", "example", "-i", "file=notes.txt").stderr.count("still") == 0
    assert eventually(lambda: [one["status"] for one in executions(project)] == ["completed"])
    process.send_signal(signal.SIGINT)
    code, rest = ended(process)
    assert (code, "stands still" in rest) == (0, False)


def test_a_worker_ends_in_order_when_it_is_told_to(project):
    process = begun(project, "worker")
    assert process.stderr is not None
    assert "task queue taskmark" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    code, said = ended(process)
    assert (code, "running steps have 2 s" in said) == (0, True)


def test_several_workers_end_together(project):
    process = begun(project, "worker", "--workers", "2")
    assert process.stderr is not None
    assert [process.stderr.readline().startswith("worker on") for _ in range(2)] == [True, True]
    process.send_signal(signal.SIGTERM)
    code, said = ended(process)
    assert (code, "ending 2 workers" in said) == (0, True)


def test_a_worker_that_dies_is_replaced(project):
    process = begun(project, "worker", "--workers", "2")
    assert process.stderr is not None
    assert [process.stderr.readline().startswith("worker on") for _ in range(2)] == [True, True]
    time.sleep(TOO_SOON_SECONDS)
    psutil.Process(process.pid).children()[0].kill()
    assert "starting another" in process.stderr.readline()
    assert process.stderr.readline().startswith("worker on")
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 0


def test_workers_whose_parent_was_killed_end_too(project):
    process = begun(project, "worker", "--workers", "2")
    assert process.stderr is not None
    assert [process.stderr.readline().startswith("worker on") for _ in range(2)] == [True, True]
    children = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    assert psutil.wait_procs(children, timeout=20)[1] == []


def test_workers_that_cannot_start_end_with_the_reason(project):
    line = [sys.executable, "-m", "starter.cli.entry", "worker", "--workers", "2"]
    around = environment() | {"TEMPORAL_ADDRESS": "127.0.0.1:1"}
    done = subprocess.run(
        line,
        cwd=project,
        env=around,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 3
    assert "does not answer" in done.stderr


def test_the_web_ui_is_kept_open_and_its_address_is_data(project):
    assert taskmark(project, "run", "example", "-i", "file=notes.txt", "--id", "mine").returncode == 0
    process = begun(project, "ui", "mine")
    assert process.stdout is not None
    assert re.fullmatch(
        r"http://127\.0\.0\.1:\d+/namespaces/default/workflows/mine\n", process.stdout.readline()
    )
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 0


def test_in_a_terminal_the_tree_is_drawn_in_place_and_left_standing(project):
    code, shown = in_terminal(project, "run", "example", "-i", "file=notes.txt")
    assert code == 0
    assert "✓ Measure" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert "\x1b[?25l" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert "lines: " in shown


def test_a_terminal_asks_for_inputs_that_are_missing(project):
    code, shown = in_terminal(project, "run", "example", typed=b"\nnotes.txt\n")
    assert "file (string)" in shown
    assert "file needs a value" in shown
    assert "lines: 2" in re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert code == 0


def test_who_leaves_a_question_starts_nothing(project):
    code, shown = in_terminal(project, "start", "example", typed=b"\x04")
    assert code == 130
    assert "nothing was started" in shown
    assert not (project / ".taskmark" / "temporal.db").exists()


def in_terminal(project: Path, *words: str, typed: bytes = b"") -> tuple[int, str]:
    """Types a command in a terminal of 80 columns and 24 lines, and then what it asks for."""
    parent, child = pty.openpty()
    line = [sys.executable, "-m", "starter.cli.entry", *words]
    around = environment() | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(line, cwd=project, env=around, stdin=child, stdout=child, stderr=child)
    os.close(child)
    os.write(parent, typed)
    shown = b""
    try:
        while select.select([parent], [], [], 60)[0] and (data := os.read(parent, 65536)):
            shown += data
    except OSError:
        pass  # the other end is closed
    os.close(parent)
    return process.wait(30), shown.decode()


def test_a_tool_that_cannot_be_used_is_told_before_and_its_fallback_after(project):
    """Its attempts failed, the step did not."""
    step = "- tool: shell\n  id: odds\n  retry: {maxAttempts: 1}\n  fallback: {value: 7}\n"
    text = f"# Saved\n\n## Phase: Try\n### Steps\n{step}  with: {{command: ['false']}}\n"
    text += "- tool: chat\n  id: say\n  with: {text: done}\n  fallback: {value: untold}\n"
    (project / "tasks" / "saved.md").write_text(text)
    ran = taskmark(project, "run", "saved", "--id", "saved")
    assert (ran.returncode, ran.stdout) == (0, "")
    warned, _, rest = ran.stderr.partition("phase Try started")
    assert "warning: tool chat cannot be used: no channel is configured" in warned
    assert "used by: step say of Try, which falls back on a value" in warned
    assert "hint: set TASKMARK_CHAT_CHANNELS" in warned
    assert "try / say used its fallback: no channel is configured" in rest
    rows = [line.split() for line in taskmark(project, "show", "saved").stdout.splitlines() if "odds" in line]
    assert [row[1] for row in rows] == ["failed", "completed"]
    assert rows[1][2:5] == ["with", "its", "fallback:"]
    assert "fallback=true" in taskmark(project, "logs", "saved").stdout


def test_the_graph_of_a_running_execution_has_the_states_of_this_moment(project):
    process = begun(project, "run", "gate", "--id", "open", "--wait")
    assert process.stderr is not None
    assert any("waiting for approval" in line for line in iter(process.stderr.readline, ""))
    drawn = taskmark(project, "graph", "open")
    assert drawn.stdout == "Gate · waiting\n└─ Wave 1\n   └─ ⏸ Ask · 0/2 steps\n"
    assert taskmark(project, "abort", "open").returncode == 0
    assert ended(process)[0] == 1
    assert "⊘ Ask" in taskmark(project, "graph", "open").stdout
