"""The command lines that are built have only flags that the published programs know."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from taskmark.agents.cli.claude import Claude
from taskmark.agents.cli.codex import Codex
from taskmark.agents.cli.programs import Asked

KNOWN = tomllib.loads(Path(__file__).with_name("cli_flags.toml").read_text())
HIDDEN = set(KNOWN["claude"]["hidden"].split())
FULL = Asked(
    session="5f0c1f2e-1111-5111-8111-111111111111",
    model="m",
    tools=("read-file", "edit-file", "shell"),
    schema={"type": "string"},
    max_turns=3,
    max_cost=0.5,
)
RESUMED = Asked(session=FULL.session, resumes=True)


def flags(words: tuple[str, ...]) -> set[str]:
    return {word for word in words if word.startswith("--")}


def known(command: str) -> set[str]:
    return set(KNOWN[command]["flags"].split())


@pytest.mark.parametrize("asked", [FULL, RESUMED])
def test_claude_knows_every_flag(asked: Asked) -> None:
    assert flags(Claude().arguments(asked)) <= known("claude") | HIDDEN


def test_codex_knows_every_flag() -> None:
    assert flags(Codex().arguments(FULL)) <= known("codex")
    assert flags(Codex().arguments(RESUMED)) <= known("codex-resume")


@pytest.mark.parametrize(
    ("program", "words"), [("claude", ()), ("codex", ("exec",)), ("codex", ("exec", "resume"))]
)
def test_the_program_that_is_installed_knows_every_flag(
    tmp_path: Path, program: str, words: tuple[str, ...]
) -> None:
    """Where there is one."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    environment = {"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    asked = RESUMED if "resume" in words else FULL
    built = Claude() if program == "claude" else Codex()
    helped = subprocess.run(
        [str(shutil.which(program)), *words, "--help"],
        capture_output=True,
        check=True,
        text=True,
        env=environment,
        timeout=60,
    ).stdout
    assert not {flag for flag in flags(built.arguments(asked)) - HIDDEN if flag not in helped}
