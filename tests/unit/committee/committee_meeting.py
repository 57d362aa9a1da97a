"""Holds the meeting as its task file says, step after step in this process, without the engine."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from taskmark.errors import InvalidExpression
from taskmark.plan.aggregates import aggregate
from taskmark.task import parse_file
from taskmark.task.expressions import evaluate, render_value
from taskmark.task.model import Phase, Step, TaskDefinition

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))
"""`tasks` is found from the root, where the engine starts processes."""

TASK = ROOT / "tasks" / "investment-committee-meeting.md"
ANALYSTS = ("trend", "momentum", "volatility", "risk", "drawdown", "liquidity", "correlation", "seasonality")
RED_TEAM = ("stress-tester", "tail-risk-skeptic", "regime-skeptic")


@cache
def definition() -> TaskDefinition:
    """The task, parsed once."""
    return parse_file(TASK)


def function(name: str) -> Callable[..., Any]:
    """The function of that name, `module:function`."""
    module, attribute = name.split(":")
    return getattr(importlib.import_module(module), attribute)


def agent(name: str) -> Callable[..., Any]:
    """The function that an agent's file names as its model."""
    return function(str(definition().agents[name].model).removeprefix("python:"))


@dataclass
class Meeting:
    """A meeting in which the members in `silent` fail and those in `forged` say something else."""

    inputs: dict[str, Any]
    silent: frozenset[str] = frozenset()
    forged: dict[str, Any] = field(default_factory=dict)
    phases: dict[str, Any] = field(default_factory=dict)
    failed_checks: list[str] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)

    def hold(self) -> dict[str, Any]:
        """Runs every phase and returns the task's outputs' verdict."""
        for phase in definition().phases:
            self._run(phase)
        return self.outputs()["verdict"]

    def outputs(self) -> dict[str, Any]:
        """The task's outputs."""
        outputs = definition().outputs
        return {one.name: evaluate(str(one.expression), {"phases": self.phases}) for one in outputs}

    def ask(self, name: str, context: dict[str, Any]) -> Any:
        """One member's answer; None if it fails."""
        if name in self.silent:
            return None
        return self.forged[name] if name in self.forged else agent(name)("", context)

    def _run(self, phase: Phase) -> None:
        steps: dict[str, Any] = {}
        known = {slug: self.phases[slug] for slug in phase.depends_on}
        for step in phase.steps:
            if any(steps[read]["output"] is None for read in step.reads_steps):
                continue
            context = {"inputs": self.inputs, "phases": known, "steps": {} if phase.parallel else dict(steps)}
            context["with"] = render_value(step.arguments, context)
            steps[step.id] = {"output": self._output(phase, step, context), "status": "completed"}
        outputs = {
            one.name: evaluate(one.expression, {"steps": steps})
            if one.expression
            else steps[one.name]["output"]
            for one in phase.outputs
        }
        self.phases[phase.slug] = {"outputs": outputs, "status": "completed"}

    def _check(self, step: Step, context: dict[str, Any]) -> bool:
        try:
            holds = bool(evaluate(step.value, context))
        except InvalidExpression:
            holds = False
        assert holds or not step.is_critical, f"the task fails: {step.description}"
        if not holds:
            self.failed_checks.append(step.description)
        return holds

    def _output(self, phase: Phase, step: Step, context: dict[str, Any]) -> Any:
        arguments = context["with"]
        match step.kind:
            case "agent":
                return self.ask(step.value, context)
            case "plain":
                return {name: self.ask(name, context) for name in phase.agents if name not in self.silent}
            case "aggregate":
                return aggregate(step.value, arguments["over"], arguments)
            case "validation":
                return self._check(step, context)
            case _ if step.value == "write-file":
                self.written[arguments["path"]] = arguments["content"]
                return {"path": arguments["path"]}
        return function(arguments["function"])(**arguments["kwargs"])
