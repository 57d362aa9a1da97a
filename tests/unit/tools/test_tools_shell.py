from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.tools.processes import ProcessLimits
from taskmark.tools.shell import Shell
from taskmark.tools.sizes import json_size

Call = Callable[..., Awaitable[Any]]


async def test_a_program_runs_with_its_arguments(root: Path, call: Call) -> None:
    """Words are words: numbers become text, and nothing in them is read by a shell."""
    (root / "sub").mkdir()
    output = await call(Shell(), command=["printf", "%s|", 5, "$HOME", ";ls"], cwd="sub")
    assert output == {"exit_code": 0, "stdout": "5|$HOME|;ls|", "stderr": "", "truncated": []}


async def test_a_shell_reads_text_when_asked_to(call: Call) -> None:
    output = await call(Shell(), command='cat; echo "$WHO" >&2', shell=True, stdin="in", env={"WHO": "me"})
    assert (output["stdout"], output["stderr"]) == ("in", "me\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"command": "ls -l"}, 'write a list such as \\[ls, -l\\], or set "shell: true"'),
        ({"command": ["ls"], "shell": True}, "is a list: write text"),
        ({"command": []}, "is empty"),
        ({"command": "", "shell": True}, "is empty"),
    ],
)
def test_nobody_gets_a_shell_by_accident(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(StepFailed, match=reason) as caught:
        Shell().validate(arguments)
    assert caught.value.category is Category.CONFIGURATION


async def test_a_non_zero_exit_is_an_error_with_the_end_of_what_was_said(call: Call) -> None:
    with pytest.raises(StepFailed, match=r"^exit code 3: why$") as caught:
        await call(Shell(), command="echo out; echo why >&2; exit 3", shell=True)
    assert caught.value.category is Category.TRANSIENT
    assert "allowFailure" in (caught.value.hint or "")
    with pytest.raises(StepFailed, match=r"^exit code 1: only out$"):
        await call(Shell(), command="echo only out; false", shell=True)


async def test_a_non_zero_exit_can_be_an_answer(call: Call) -> None:
    assert (await call(Shell(), command=["false"], allowFailure=True))["exit_code"] == 1


@pytest.mark.parametrize("command", ["no-such-program", "./notes.txt", "exit 126"])
async def test_what_is_missing_is_configuration(command: str, root: Path, call: Call) -> None:
    (root / "notes.txt").write_text("")
    with pytest.raises(StepFailed, match=r"exit code 12[67]") as caught:
        await call(Shell(), command=command, shell=True)
    assert caught.value.category is Category.CONFIGURATION


@pytest.mark.parametrize(
    ("script", "truncated"),
    [
        ("head -c 1000000 /dev/zero; echo end", ["stdout"]),
        ("yes ü | head -c 400000; echo end; yes | head -c 400000 >&2", ["stdout", "stderr"]),
        ("seq 30000; echo end; seq 1000 >&2", []),
    ],
)
async def test_output_always_fits_and_what_is_missing_is_said(
    script: str, truncated: list[str], call: Call
) -> None:
    """However it is spelled in JSON; the end is what is kept."""
    output = await call(Shell(), command=script, shell=True)
    assert json_size(output) <= ADAPTER_LIMIT
    assert output["truncated"] == truncated
    assert output["stdout"].endswith("end\n")
    assert not truncated or json_size(output) > ADAPTER_LIMIT * 0.9


async def test_limits_are_passed_on(call: Call) -> None:
    with pytest.raises(StepFailed, match="printed more than 1,000 bytes"):
        await call(Shell(ProcessLimits(output=1000)), command=["yes"])


async def test_a_shell_is_healthy() -> None:
    assert (await Shell().health_check()).healthy
    assert Shell().estimate_duration(Shell().validate({"command": ["ls"]})) is None
