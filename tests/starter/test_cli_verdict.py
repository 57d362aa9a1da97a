"""The verdict: outputs as people read them, failures with what to do, and the commands that lead on."""

import pytest

from starter.cli.exits import Exit, of_status
from starter.cli.verdict import show_outputs, show_verdict, show_ways_on
from starter.cli.watching import Watched, _end, say_why
from taskmark.contracts import (
    ExecutionStatus,
    Progress,
    StepOutcome,
    StepStatus,
    TaskResult,
    artifact_reference,
)
from taskmark.errors import Failure, Unreachable


def result(status: str, **fields: object) -> TaskResult:
    return TaskResult.model_validate({"execution_id": "exec-1-t", "status": status, **fields})


def outputs(capsys: pytest.CaptureFixture[str], **values: object) -> str:
    show_outputs(values)
    return capsys.readouterr().out


def test_simple_outputs_stand_in_line(capsys):
    shown = outputs(capsys, headline="Buy [bold]now[/]", count=3, ok=True, none=None, path="reports/x.md")
    assert shown.splitlines() == [
        "headline: Buy [bold]now[/]",
        "count:    3",
        "ok:       true",
        "none:     null",
        "path:     reports/x.md",
    ]


def test_long_texts_are_not_broken(capsys):
    assert "word " * 100 + "end" in outputs(capsys, text="word " * 100 + "end")


def test_rows_become_a_table(capsys):
    shown = outputs(capsys, rows=[{"name": "a", "n": 1}, {"name": "bb", "n": 20}, {"name": "c" * 300}])
    lines = [line.split() for line in shown.splitlines()]
    assert ["name", "n"] in lines
    assert ["bb", "20"] in lines
    assert "…" in shown


def test_no_line_in_a_pipe_is_filled_up_with_blanks(capsys):
    long = {"what": "long", "why": "x" * 400}
    shown = outputs(capsys, rows=[{"what": "short", "why": "y"}, long], pairs={"a": "1", "b": "z" * 400})
    assert max(map(len, shown.splitlines())) > 300
    assert not [line for line in shown.splitlines() if line != line.rstrip()]


def test_objects_are_laid_out_and_deep_ones_are_json(capsys):
    shown = outputs(
        capsys, verdict={"flat": 1, "list": ["a", "b"], "empty": [], "in": {"in": {"in": {"x": 1}}}}
    )
    assert "flat  1" in shown
    assert "- a\n" in shown.replace("  ", "").replace(" \n", "\n")
    assert "(none)" in shown
    assert '"x": 1' in shown


def test_texts_of_several_lines_keep_them_and_endless_ones_are_cut(capsys):
    assert "one\n  two" in outputs(capsys, text="one\ntwo").replace(" \n", "\n").replace("  \n", "\n")
    assert "… 20 more lines" in outputs(capsys, text="\n".join(map(str, range(100))))


def test_a_mixed_list_is_json(capsys):
    assert '"a"' in outputs(capsys, mixed=[{"a": {"b": 1}}, 2])


def test_a_step_that_completed_without_some_of_its_items_says_why(capsys):
    error = Failure(type="agent_not_listed", message="`{{ item }}` gives 7")
    steps = {"it": StepOutcome(status=StepStatus.COMPLETED, phase="a", error=error, output=[1, None])}
    show_verdict(result("completed_with_errors", steps=steps), "Ask")
    assert "✗ a / it, in part: `{{ item }}` gives 7" in capsys.readouterr().err


def test_a_large_output_says_where_it_is(capsys):
    assert "512 KiB, kept as artifact abc" in outputs(capsys, big=artifact_reference("abc", 512 * 1024))


def test_outputs_cannot_move_the_cursor(capsys):
    shown = outputs(capsys, **{"a\x1b[2J": "b\x1b[2J", "c": {"d\x1b": "e\x1b"}, "f": ["\x1b"]})
    assert "\x1b" not in shown


def test_no_outputs_show_nothing(capsys):
    assert outputs(capsys) == ""


def test_a_failure_says_where_why_what_else_and_what_to_do(capsys):
    error = Failure(
        type="step_failed",
        message="exit code 1",
        phase="build",
        step="compile",
        affects=("test", "ship"),
        hint="fix",
    )
    show_verdict(result("failed", error=error), "Build")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[1:] == [
        "failed: Build",
        "  build / compile: exit code 1",
        "  affected: test, ship",
        "  hint: fix",
    ]


def test_failed_steps_are_listed_but_no_flood(capsys):
    failed = StepOutcome(
        status=StepStatus.FAILED, phase="p", attempts=3, error=Failure(type="step_failed", message="no")
    )
    steps = {f"s{n}": failed for n in range(30)} | {"last": StepOutcome(status=StepStatus.FAILED, phase="p")}
    show_verdict(
        result(
            "completed_with_errors",
            steps=steps,
            started_at="2026-01-01T00:00:00Z",
            finished_at="2026-01-01T00:00:12Z",
        ),
        "T",
    )
    shown = capsys.readouterr().err
    assert "completed with errors after 12 s: T" in shown
    assert "✗ p / s0 after 3 attempts: no" in shown
    assert "… and 21 more failed steps" in shown


def test_a_step_without_a_reason_says_so(capsys):
    show_verdict(result("failed", steps={"x": StepOutcome(status=StepStatus.FAILED, phase="p")}), "T")
    assert "✗ p / x: no reason was given" in capsys.readouterr().err


def test_the_ways_on_are_commands_never_links(capsys):
    show_ways_on("exec-1-t", web_ui=True)
    show_ways_on("exec-2-t", web_ui=False)
    shown = capsys.readouterr().err
    assert "taskmark show exec-1-t" in shown
    assert "taskmark logs exec-1-t" in shown
    assert "taskmark ui exec-1-t" in shown
    assert "taskmark ui exec-2-t" not in shown
    assert "http" not in shown


@pytest.mark.parametrize(
    ("status", "code"),
    [("completed", 0), ("completed_with_errors", 0), ("failed", 1), ("cancelled", 1), ("timed_out", 6)],
)
def test_each_end_has_its_exit_code(status, code):
    assert of_status(ExecutionStatus(status)) == code


def test_leaving_says_how_to_come_back_and_that_work_stands_still(capsys):
    running = Progress(execution_id="e", task="T", status=ExecutionStatus.RUNNING, in_flight=2)
    say_why(Watched(Exit.DETACHED, None, running), "e", still=True, grace=10)
    shown = capsys.readouterr().err
    assert "work stands still until you come back" in shown
    assert "taskmark watch e" in shown
    assert "Letting 2 running steps end, for 10 s" in shown
    say_why(Watched(Exit.DETACHED), "e", still=False, grace=0)
    shown = capsys.readouterr().err
    assert "stands still" not in shown
    assert "Letting" not in shown


def test_a_paused_execution_says_how_to_resume(capsys):
    paused = Progress(execution_id="e", task="T", status=ExecutionStatus.PAUSED)
    say_why(Watched(Exit.WAITING, None, paused), "e", still=False, grace=0)
    assert "taskmark resume e" in capsys.readouterr().err


class Away:
    """A client whose Temporal is away for some calls."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    async def wait(self, execution: str) -> TaskResult:
        self.calls -= 1
        if self.calls >= 0:
            raise Unreachable("away")
        return result("completed")


async def test_a_short_outage_of_temporal_does_not_end_watching():
    assert (await _end(Away(1), "e")).status == "completed"


async def test_a_long_outage_of_temporal_does(monkeypatch):
    monkeypatch.setattr("starter.cli.watching.OUTAGE_SECONDS", 0.5)
    with pytest.raises(Unreachable):
        await _end(Away(9), "e")
