"""A task for each way in which an execution can go, and how it ends."""

from __future__ import annotations

from acceptance_tasks import MANY

PART = "# Part\n\n## Phase: Only\n### Steps\n- tool: effect\n  id: part\n  with: {value: 7}\n"

TASKS = {
    "completed": (MANY, "completed"),
    "failed": (
        """\
# Failed

## Phase: First
### Steps
- tool: flaky
  with: {failures: 9, category: logic}
- tool: effect - Not reached
## Phase: Second
dependsOn: [First]
### Steps
- validation: 1 < 2 - One is not less than two
""",
        "failed",
    ),
    "retried": (
        """\
# Retried

## Phase: Only
retry: {maxAttempts: 2, backoffMs: 10}
### Steps
- validation: 1 < 2 - One is not less than two
- tool: flaky - Fails twice in the first round, and once in the second
  retry: {maxAttempts: 2, backoffMs: 10}
  with: {failures: 3}
""",
        "completed",
    ),
    "each": (
        """\
# Each

## Phase: Phases
forEach: [1, 2]
### Steps
- tool: effect
  id: one
  with: {value: "{{ item }}"}
## Phase: Steps
if: 1 < 2
### Steps
- tool: flaky - Some items fail
  id: some
  forEach: [0, 9, 0]
  critical: false
  with: {failures: "{{ item }}", category: logic}
- tool: effect - Skipped
  if: 1 > 2
""",
        "completed_with_errors",
    ),
    "parent": (
        "# Parent\n\n## Phase: Only\n### Steps\n- task: part - A task of its own\n  id: sub\n",
        "completed",
    ),
    "traced": (
        """# Traced

## Phase: First
### Steps
- tool: effect
  id: a
  with: {value: 3}
- tool: shell - Work
  id: work
  with: {command: [echo, "{{ steps.a.output }}"]}
- tool: write-file - Keep it
  id: keep
  with: {path: kept.txt, content: "{{ steps.work.output.stdout }}"}
- tool: read-file - Look at it
  id: look
  with: {path: kept.txt}
### Outputs
- n: steps.a.output

## Phase: Second
dependsOn: [First]
### Steps
- tool: flaky - Fails once
  id: b
  retry: {maxAttempts: 2, backoffMs: 10}
  if: phases.first.outputs.n == 3
  with: {failures: 1}
- aggregate: count - What was said
  id: all
- validation: steps.look.output.content != '' and steps.b.output - There is something
  id: check
""",
        "completed",
    ),
    "decided": (
        "# Decided\n\n## Phase: Ask\n### Steps\n- approval: go - Shall we go?\n- wait: 10ms - A moment\n",
        "completed",
    ),
    "cancelled": (
        "# Cancelled\n\n## Phase: Only\n### Steps\n- tool: effect\n  id: fast\n"
        "- tool: effect\n  id: slow\n  with: {seconds: 60}\n- tool: effect\n",
        "cancelled",
    ),
}
