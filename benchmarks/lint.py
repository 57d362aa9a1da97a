"""How long it takes to check a task file, and how that grows with the file.

    python benchmarks/lint.py [-o json] [--repeat 5]

Every size is checked several times, the sizes in turn, and the best time of each is kept: it is the one that
other programs on the machine disturbed least.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import reporting  # noqa: E402 - found by the path
from taskmark.task import check_text  # noqa: E402 - the path has to be there first
from taskmark.task.files import SIZE_LIMIT  # noqa: E402 - the same

SIZES = (1_250, 2_500, 5_000, 10_000)
PHASES = (20, 40, 60, 80, 100)
"""Steps of a phase, in turn."""

HEAD = """# Measured

```yaml
maxExecutionTime: 40 hours
retry: {maxAttempts: 3, backoffMs: 2000}
requirements:
  file: string
  limit: {type: integer, default: 10}
```
"""


def task(steps: int, step: Callable[[int, int, str], str]) -> str:
    """Returns a task of so many steps in phases that depend on each other and read each other."""
    parts, phase = [HEAD], 0
    while steps > 0:
        size = min(PHASES[phase % len(PHASES)], steps)
        parts.append(f"\n## Phase: Part {phase}\n" + (f"dependsOn: [Part {phase - 1}]\n" if phase else ""))
        parts.append("parallel: true\n" if phase % 4 == 1 else "")
        parts.append("\n### Steps\n" + "".join(_steps(phase, size, step)))
        parts.append(f"\n### Outputs\n- total: steps.p{phase}s0.output.stdout | length\n")
        steps, phase = steps - size, phase + 1
    return "".join(parts)


def _steps(phase: int, size: int, step: Callable[[int, int, str], str]) -> Iterator[str]:
    for index in range(size):
        earlier = f"steps.p{phase}s{index - 1}.output"
        if index % 10 == 9:
            condition = f"{earlier}.exit_code == 0 and inputs.limit > {index}"
            yield f"- validation: {condition} - Part {phase} has failed\n"
        elif index % 10:
            yield step(phase, index, f"{earlier}.stdout")
        else:
            yield step(phase, index, f"phases.part_{phase - 1}.outputs.total" if phase else "inputs.file")


def short(phase: int, index: int, reads: str) -> str:
    """Returns a step of 100 characters: ten thousand of them just fit into a file."""
    return f'- tool: shell - Item {index}\n  id: p{phase}s{index}\n  with: {{stdin: "{{{{ {reads} }}}}"}}\n'


def usual(phase: int, index: int, reads: str) -> str:
    """Returns a step of about 200 characters with a nested mapping and templates."""
    lines = [
        f"- tool: shell - Work on item {index} of part {phase}",
        f"  id: p{phase}s{index}",
        *(["  retry: {maxAttempts: 2}"] if index % 3 == 0 else []),
        "  with:",
        '    command: [wc, -l, "{{ inputs.file }}"]',
        f"    cwd: data/part-{phase}",
        f'    stdin: "{{{{ {reads} }}}}"',
        *([f'    env: {{ITEM: "{{{{ inputs.limit + {index} }}}}"}}'] if index % 2 == 0 else []),
    ]
    return "\n".join(lines) + "\n"


def prose(phase: int, index: int, reads: str) -> str:
    """Returns a step whose mapping only the YAML library can read: a folded text, a comment."""
    return (
        f"- tool: shell - Item {index}\n  id: p{phase}s{index}\n"
        f"  with:\n    stdin: >  # folded\n      {{{{ {reads} }}}}\n      is read\n"
    )


SHAPES = {"usual": usual, "short": short, "folded": prose}


def measure(repeat: int, sizes: Sequence[int]) -> list[dict[str, object]]:
    """Returns one row per shape and size; sizes that make a file too large are left out."""
    texts = {(shape, size): task(size, step) for shape, step in SHAPES.items() for size in sizes}
    texts = {key: text for key, text in texts.items() if len(text) <= SIZE_LIMIT}
    best: dict[tuple[str, int], float] = {}
    for _ in range(repeat):
        for key, text in texts.items():
            best[key] = min(best.get(key, 1e9), _seconds(text))
    return [
        {
            "shape": shape,
            "steps": size,
            "kilobytes": round(len(texts[shape, size]) / 1000),
            "seconds": round(seconds, 3),
            "microseconds_per_step": round(seconds / size * 1e6),
            "ratio": round(seconds / best[shape, sizes[0]] / (size / sizes[0]), 2),
        }
        for (shape, size), seconds in best.items()
    ]


def _seconds(text: str) -> float:
    begin = time.perf_counter()
    checked = check_text(text)
    seconds = time.perf_counter() - begin
    assert checked.definition is not None, checked.errors[0]
    return seconds


def command(steps: int) -> float:
    """Returns the seconds of the whole command `taskmark lint` for a file of usual steps."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "measured.md").write_text(task(steps, usual))
        words = [sys.executable, "-m", "starter.cli.entry", "lint", "measured.md"]
        begin = time.perf_counter()
        subprocess.run(words, cwd=folder, env={"PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
        return time.perf_counter() - begin


def show(results: dict[str, Any]) -> None:
    """Prints the table, and below it what the whole command takes."""
    print(f"{'shape':8}{'steps':>8}{'kB':>8}{'seconds':>10}{'µs/step':>10}{'ratio':>8}")
    for row in results["check"]:
        print(
            f"{row['shape']:8}{row['steps']:>8}{row['kilobytes']:>8}{row['seconds']:>10.3f}"
            f"{row['microseconds_per_step']:>10}{row['ratio']:>8.2f}"
        )
    for steps, seconds in results["command_seconds"].items():
        print(f"taskmark lint, {steps} steps: {seconds:.2f} s with the start of the process")


def main() -> None:
    parser = reporting.arguments(__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="how often each size is measured")
    options = parser.parse_args()
    repeat, sizes = (1, SIZES[:2]) if options.quick else (options.repeat, SIZES)
    rows = measure(repeat, sizes)
    whole = {steps: round(min(command(steps) for _ in range(repeat)), 3) for steps in (1, 5_000)}
    reporting.give({"check": rows, "command_seconds": whole}, options, show)


if __name__ == "__main__":
    main()
