"""Makes `.venv-peers`, where `peers.py` has DBOS and Prefect: pinned, hashed, apart from our own packages.

    python benchmarks/peers_set_up.py

What is there already is left alone.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import bootstrap  # noqa: E402 - found by the path above

VENV = ROOT / ".venv-peers"
PYTHON = VENV / "bin/python"
REQUIREMENTS = ROOT / "requirements/peers.txt"
INSTALL_SECONDS = 900
_STAMP = VENV / "made-for"


def is_made() -> bool:
    """Whether the peers are installed, as the requirements want them now."""
    return PYTHON.exists() and _STAMP.exists() and _STAMP.read_text() == _digest()


def make() -> None:
    """Installs the peers. Raises `bootstrap.SetUpFailed` with pip's last words."""
    bootstrap.say("Installing DBOS and Prefect into .venv-peers. This takes about a minute, once.")
    _run(sys.executable, "-m", "venv", "--clear", str(VENV))
    _run(
        *(str(PYTHON), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"),
        *("--require-hashes", "--no-deps", "-r", str(REQUIREMENTS)),
    )
    _STAMP.write_text(_digest())


def _digest() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()


def _run(*words: str) -> None:
    try:
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise _failed(f"nothing for {INSTALL_SECONDS} seconds; timed out") from None
    if done.returncode:
        raise _failed(done.stdout)


def _failed(output: str) -> bootstrap.SetUpFailed:
    words = "DBOS and Prefect could not be installed, so there is nothing to compare with:\n"
    fix = bootstrap.reason(output).replace(".venv`", ".venv-peers`")
    return bootstrap.SetUpFailed(words + bootstrap.indented(output), fix)


def main() -> int:
    try:
        if not is_made():
            make()
    except bootstrap.SetUpFailed as error:
        bootstrap.say(f"error: {error}\n  fix: {error.fix}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
