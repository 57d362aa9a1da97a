"""A project to type commands in, and the console script as another process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

AROUND = (
    "TASKMARK_STATE_DIR",
    "TASKMARK_DATABASE_URL",
    "TASKMARK_ROOT",
    "TASKMARK_LOG_LEVEL",
    "TEMPORAL_ADDRESS",
    "TEMPORAL_PROFILE",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "CI",
)
EXAMPLE = """# Example
```yaml
name: Example
requirements:
  file: string
  count:
    type: integer
    default: 3
```
## Phase: Measure
### Steps
- tool: shell - Count the lines
  id: count
  with:
    command: [wc, -l, "{{ inputs.file }}"]
    env: {COUNT: "{{ inputs.count }}"}
### Outputs
- lines: steps.count.output.stdout.split()[0] | int

## Outputs
- lines: phases.measure.outputs.lines
"""
GATE = """# Gate
## Phase: Ask
### Steps
- approval: release - Release it?
  timeout: 1 hour
- question: region - Which region?
  timeout: 1 hour

## Outputs
- region: steps.region.output
"""
SLOW = """# Slow
## Phase: Sleep
### Steps
- tool: shell - Sleep
  with:
    command: [sleep, "60"]
"""
FAILING = """# Failing
## Phase: Fail
### Steps
- validation: 1 > 2 - One is not above two
"""

HELD = """# Held
## Phase: Look
onFailure: pause
### Steps
- tool: read-file - Read what is not there yet
  id: look
  retry: {maxAttempts: 1}
  with: {path: later.txt}

## Phase: Ask
dependsOn: [Look]
### Steps
- question: count - How many?
  schema: {type: integer}
  timeout: 1 hour

## Outputs
- count: steps.count.output
"""
SIZED = """# Sized

```yaml
requirements:
  size: {type: integer, default: 0}
```

## Phase: Look
onFailure: pause
### Steps
- validation: inputs.size > 1 - It is too small
  id: small
- validation: inputs.size % 2 == 0 - It is odd
  id: odd

## Outputs
- size: inputs.size
"""


def environment() -> dict[str, str]:
    """What a command finds around it."""
    kept = {name: value for name, value in os.environ.items() if name not in AROUND}
    return kept | {"TASKMARK_GRACE_SECONDS": "2"}


def taskmark(project: Path, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Types a command and returns how it went."""
    line = [sys.executable, "-m", "starter.cli.entry", *words]
    given = {"stdin": subprocess.DEVNULL} | options
    return subprocess.run(  # type: ignore[call-overload,no-any-return] # options are those of `run`
        line, cwd=project, env=environment(), capture_output=True, text=True, timeout=90, check=False, **given
    )


def _as_typed() -> None:
    """Lets Ctrl-C mean what it does at a terminal: what runs in the background has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def begun(project: Path, *words: str, **options: object) -> subprocess.Popen[str]:
    """Types a command that stays."""
    line = [sys.executable, "-m", "starter.cli.entry", *words]
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    given["preexec_fn"] = _as_typed
    return subprocess.Popen(line, cwd=project, env=environment(), text=True, **given)  # type: ignore[call-overload,no-any-return] # as above
