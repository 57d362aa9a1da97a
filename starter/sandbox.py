"""The workflow runner, the same in workers and replays.

Workflow code runs in Temporal's sandbox, which imports its modules anew for each instance. What is
passed through is imported once per process, which is fast and keeps one identity for each type, but
loses the guard; so only data and pure functions of data are. The modules that decide, `workflows` and
`taskmark.plan`, are not.
"""

from __future__ import annotations

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from starter.imports import remember_code

PASSED_THROUGH = (
    "jinja2",  # imports lazily at run time; a second copy of it loses strict undefined without a word
    "markupsafe",  # of jinja2
    "taskmark.contracts",  # data; one identity for every message
    "taskmark.errors",  # data; raised on one side and caught on the other
    "taskmark.records",  # data, handed to the recorder outside
    "taskmark.task.model",  # data; thirty models would cost every instance 15 ms
    "taskmark.task.diagnostics",  # data
    "taskmark.task.expressions",  # one environment and one compile cache per process
    "taskmark.task.packing",  # a pure function of text
    "taskmark.task.durations",  # a pure function of text
    "taskmark.task.inputs",  # a pure function of data
    "taskmark.task.hints",  # of inputs
    "taskmark.task.values",  # of inputs
)


def workflow_runner() -> SandboxedWorkflowRunner:
    """Returns the runner."""
    remember_code()
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    return SandboxedWorkflowRunner(restrictions=restrictions)
