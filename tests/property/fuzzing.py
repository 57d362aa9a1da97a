"""Hostile, broken and odd task files without end, each from a number; and a process that checks many of them.

    python tests/property/fuzzing.py FIRST COUNT [--room MiB]

Nothing but `InvalidTask` may be raised, within `CPU_SECONDS` of processor time and `ROOM` of memory. Memory
is held by the kernel, not measured: once everything is loaded, the process may take no more than that on
top (RLIMIT_DATA), so that the file that needs more ends in a `MemoryError`. Tracing every allocation would
make the run ten times as long. What is kept between files, such as compiled expressions, counts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import resource
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from taskmark.errors import InvalidTask  # noqa: E402 - the path has to be there first
from taskmark.task import check_text, parse_text  # noqa: E402 - the same
from taskmark.task.model import TaskDefinition  # noqa: E402 - the same

CPU_SECONDS = 0.5
ROOM = 64
"""MiB."""

SOURCES = [
    path.read_text()
    for path in [*sorted((ROOT / "tasks").glob("*.md")), *sorted((ROOT / "tests" / "broken").glob("*"))]
]
BITS = [
    "\t", "  ", "\n", "\n\n", "- ", "* ", "1. ", "```", "~~~~", "```yaml", "```markdown\n", "---\n",
    "## Phase: ", "### Steps\n", "### Outputs\n", "## Outputs\n", ": ", "{{", "}}", "{%", "%}", "[", "]",
    "{", "}", "&a", "*a", "!t", " - ", "  id: x\n", "\u2028", "\x85", "\x00", "\ufeff", "\xe9", "\u093e",
    "'", '"', ">", "#", "<!--", "-->", "forEach: [1]\n", "  with:\n", "steps.", "phases.", "inputs.",
    "true/false", "1e999", "\\", "%", "?", "\r", "\x0b", "approval: ", "wait: ", "retry:\n", "fallback: ",
    "validation: ", "dependsOn: ", "if: ", "<<: *a\n", "!!python/object:os.system", "[[[[", "((((", "|-\n",
    "9" * 400, "-" * 80, "{% for i in inputs.a %}", "{% endfor %}", "| join", ".split()", "**", "\U0001f600",
    "  - a: b\n", "    x: {a: [b, {c: d}]}\n",
]  # fmt: skip


def text_of(number: int) -> str:
    """Returns the file of a number."""
    chance = random.Random(number)
    match number % 8:
        case 0:
            words = chance.choices(BITS, k=chance.randint(1, 120))
            return "".join(words) + chance.choice(SOURCES)[: chance.randint(0, 400)]
        case 1:
            lines = chance.choice(SOURCES).split("\n") + chance.choice(SOURCES).split("\n")
            chance.shuffle(lines)
            return "\n".join(lines[: chance.randint(1, len(lines))])
        case 2:
            one, other = chance.choice(SOURCES), chance.choice(SOURCES)
            return one[: chance.randint(0, len(one))] + other[chance.randint(0, len(other)) :]
        case 3:
            return _with_repeated(chance.choice(SOURCES), chance)
        case _:
            return mutated(chance.choice(SOURCES), chance)


def mutated(text: str, chance: random.Random) -> str:
    """Returns a text with up to twelve pieces put in, left out, doubled or moved."""
    for _ in range(chance.randint(1, 12)):
        start = chance.randint(0, len(text))
        stop = min(len(text), start + chance.randint(0, 20))
        match chance.randint(0, 3):
            case 0:
                text = text[:start] + chance.choice(BITS) + text[start:]
            case 1:
                text = text[:start] + text[stop:]
            case 2:
                text = text[:stop] + text[start:]
            case _:
                other = chance.randint(0, len(text))
                text = text[:other] + text[start:stop] + text[other:]
    return text


def _with_repeated(text: str, chance: random.Random) -> str:
    """Puts a line or a bit in many times: what is quadratic shows itself."""
    lines = text.split("\n")
    at = chance.randrange(len(lines))
    times = chance.choice([10, 100, 300])
    piece = chance.choice(BITS) * times if chance.random() < 0.5 else (lines[at] + "\n") * times
    return "\n".join([*lines[:at], piece, *lines[at:]])


def check(number: int) -> float:
    """Returns the seconds that the file of a number takes. Raises whatever is wrong with that."""
    text = text_of(number)
    begin = time.process_time()
    with contextlib.suppress(InvalidTask):
        assert isinstance(parse_text(text), TaskDefinition)
    return time.process_time() - begin


def _limit_memory(room: int) -> None:
    """Lets this process take so many MiB more than it has."""
    for source in SOURCES:
        check_text(source)
    status = Path("/proc/self/status").read_text()
    taken = int(status.partition("VmData:")[2].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (taken + room * 1024 * 1024,) * 2)
    try:
        bytearray((room + 1) * 1024 * 1024)
    except MemoryError:
        return
    raise OSError("this system does not hold the limit on memory")


def run(first: int, count: int) -> dict[str, float]:
    """Returns how many files were checked, and the slowest. Raises at the first that breaks the promise."""
    begin, slowest, of = time.perf_counter(), 0.0, first
    for number in range(first, first + count):
        try:
            seconds = check(number)
            assert seconds < CPU_SECONDS, f"took {seconds:.2f} s"
        except BaseException:
            print(f"file {number}: {text_of(number)!r}"[:3000], file=sys.stderr)
            raise
        if seconds > slowest:
            slowest, of = seconds, number
    whole = round(time.perf_counter() - begin, 1)
    return {"files": count, "seconds": whole, "slowest": round(slowest, 3), "of": of}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--room", type=int, default=ROOM)
    options = parser.parse_args()
    _limit_memory(options.room)
    try:
        found = run(options.first, options.count)
    except BaseException:
        traceback.print_exc()
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
