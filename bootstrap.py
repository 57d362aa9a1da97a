"""Sets the project up: `python3 bootstrap.py runtime` or `python3 bootstrap.py dev`.

Makes `.venv` with the pinned, hashed requirements and this project in it, then makes sure that there is a
`temporal` binary. Everything that is already done is left alone, so it costs nothing to call it each time.
Standard library only, and in words that Python 3.6 can read: it must be able to say that it is too old.
"""

import hashlib
import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
CANDIDATES = ("python3.13", "python3.12", "python3.11", "python3.14", "python3", "python")
HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(HERE, ".venv")
IN_VENV = os.path.join(VENV, "bin", "python")
KINDS = ("runtime", "dev")
VERSION_CODE = "import sys; print(sys.version_info[0], sys.version_info[1])"


class SetUpFailed(Exception):
    """The set-up cannot go on; carries what happened and what to do."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


def say(message: str) -> None:
    """Shows progress where messages belong."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def find_python() -> str:
    """Returns the command of a Python that is new enough: this one, or one on PATH."""
    if sys.version_info >= OLDEST:
        return sys.executable
    for name in CANDIDATES:
        command = shutil.which(name)
        if command and version_of(command) >= OLDEST:
            return command
    raise SetUpFailed(
        f"Python 3.11 or newer is needed, but {sys.executable} is {sys.version_info[0]}.{sys.version_info[1]}"
        " and PATH has no other.",
        "Install one (Debian, Ubuntu: apt install python3.11 python3.11-venv; macOS: brew install python)"
        " and run the command again, or name it: make PYTHON=/path/to/python3.12 demo",
    )


def version_of(command: str) -> "tuple[int, int]":
    """Returns (major, minor) of a Python, or (0, 0) if it does not run."""
    try:
        answer = subprocess.check_output([command, "-c", VERSION_CODE], stderr=subprocess.DEVNULL)
        major, minor = answer.split()
        return int(major), int(minor)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return 0, 0


def digest(kind: str) -> str:
    """Returns what the environment depends on: the requirements, the project's definition, its place."""
    found = hashlib.sha256(HERE.encode())
    for name in (os.path.join("requirements", kind + ".txt"), "pyproject.toml"):
        with open(os.path.join(HERE, name), "rb") as file:
            found.update(file.read())
    return found.hexdigest()


def stamp(kind: str) -> str:
    """Returns the file that remembers the digest a kind of environment was made for."""
    return os.path.join(VENV, "made-for-" + kind)


def is_made(kind: str) -> bool:
    """Whether the environment is there and up to date; the one for development has all that runs."""
    kinds = KINDS[KINDS.index(kind) :]
    return version_of(IN_VENV) >= OLDEST and any(read(stamp(one)) == digest(one) for one in kinds)


def read(path: str) -> str:
    """Returns a file's text, or nothing if there is none."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def make_venv() -> None:
    """Makes `.venv`, unless a usable one is there."""
    if version_of(IN_VENV) >= OLDEST:
        return
    if not os.access(HERE, os.W_OK):
        raise SetUpFailed(
            f"{HERE} cannot be written, and the set-up needs to make .venv in it.",
            "Copy the project to a folder of your own, or make this one writable.",
        )
    python = find_python()
    say(f"Making .venv with {python}.")
    done = subprocess.run(
        [python, "-m", "venv", "--clear", VENV],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,  # noqa: UP021 - `text` is newer than Python 3.6
        check=False,
    )
    if done.returncode != 0 or not os.path.exists(os.path.join(VENV, "bin", "pip")):
        major, minor = version_of(python)
        raise SetUpFailed(
            f"{python} cannot make a virtual environment:\n{indented(done.stdout)}",
            f"Install its venv module (Debian, Ubuntu: apt install python{major}.{minor}-venv) and retry.",
        )


def install(kind: str) -> None:
    """Installs the pinned requirements, each checked by its hash, then the project itself in place.

    The files name everything, so pip need not look for dependencies. Older pips (23.2) would: for a package
    with extras they try its newest release before the pinned one, and refuse it for want of a hash.
    """
    say(f"Installing the pinned requirements ({kind}). This takes about a minute, once.")
    pip("-r", os.path.join(HERE, "requirements", kind + ".txt"), "--require-hashes", "--no-deps")
    pip("--no-deps", "--no-build-isolation", "-e", HERE)


def pip(*arguments: str) -> None:
    """Runs `pip install`. Raises `SetUpFailed` with its last words and, if it can be told, the reason."""
    command = [IN_VENV, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run(
        command + list(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,  # noqa: UP021 - `text` is newer than Python 3.6
        check=False,
    )
    if done.returncode != 0:
        raise SetUpFailed("pip could not install:\n" + indented(done.stdout), reason(done.stdout))


def reason(output: str) -> str:
    """Returns what to do about a failure of pip."""
    if "HASH" in output.upper() and "DO NOT MATCH" in output.upper():
        return (
            "A package differs from the one that was checked. Do not install it; clear pip's cache and retry."
        )
    if "No space left" in output:
        return "Free some disk space and run the command again."
    network = (
        "NewConnectionError",
        "Name or service not known",
        "name resolution",
        "Max retries",
        "timed out",
    )
    if any(sign in output for sign in network) or "from versions: none" in output:
        return "There seems to be no way to a package index: check the network, or pip's own settings."
    return "See the lines above; `rm -rf .venv` and the same command again start from nothing."


def indented(text: str) -> str:
    """Returns the last lines of a program's output, set off."""
    return "\n".join("    " + line for line in text.strip().splitlines()[-12:])


def make(kind: str) -> None:
    """Makes the environment for a kind of use, and remembers what for."""
    make_venv()
    try:
        install(kind)
        with open(stamp(kind), "w") as file:
            file.write(digest(kind))
    except OSError as error:
        raise SetUpFailed(f"{VENV} cannot be written: {error}", "Make it writable or remove it.") from error


def get_temporal() -> None:
    """Makes sure that there is a `temporal` binary; what it says goes to the terminal as it comes."""
    if os.environ.get("TEMPORAL_ADDRESS"):
        return
    if subprocess.call([IN_VENV, "-m", "starter.embedded.binary"], cwd=HERE) != 0:
        raise SetUpFailed("There is no Temporal server to run.", "Follow one of the fixes above.")


def main(arguments: "list[str]") -> int:
    """Sets up what the argument names. Returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in KINDS:
        say("usage: python3 bootstrap.py runtime|dev")
        return 2
    try:
        if not is_made(arguments[0]):
            make(arguments[0])
        get_temporal()
    except SetUpFailed as error:
        say(f"error: {error}")
        say(f"  fix: {error.fix}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
