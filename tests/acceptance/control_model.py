"""The task that people steer at random, and a small model of what must come of what they said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from taskmark.contracts import TaskResult

CALLS, PAID = 4, 2
"""Calls of agents that it takes, and those that its budget allows before it is raised."""

STEERED = f"""\
# Steered

```yaml
name: Steered
budget: {{agentCalls: {PAID}}}
```

## Phase: Begin
### Steps
- tool: effect - First
  id: first
  with: {{seconds: 0.2}}
- approval: go - Shall we go?
- tool: effect - We went
  id: went
  with: {{seconds: 0.2}}

## Phase: Ask
### Steps
- question: size - Which size?
  schema: {{type: integer, minimum: 1}}
- tool: effect - Of that size
  id: sized
  with: {{seconds: 0.1, value: "{{{{ steps.size.output }}}}"}}

## Phase: Risk
onFailure: pause
### Steps
- tool: effect - Before
  id: before
- tool: fragile - Breaks until it is mended
  id: fragile
  retry: {{maxAttempts: 1}}
- tool: effect - After
  id: after

## Phase: Buy
### Steps
- agent: adviser - What do you think?
  id: advice
  critical: true
  forEach: {list(range(CALLS))}

## Phase: Count
### Steps
- tool: counting - Goes on from its heartbeat
  id: counted
  with: {{items: 6, seconds: 0.1}}

## Phase: Last
dependsOn: [Begin, Ask]
### Steps
- tool: effect - Last
  id: last

## Outputs
- size: steps.sized.output
"""

ALWAYS = {"first", "went", "sized", "before", "counted", "last"}
"""Steps that take effect in every run that is neither stopped nor rejected."""


@dataclass
class Model:
    """What was said to one execution and taken, and so what must come of it."""

    approved: bool | None = None
    size: int | None = None
    limit: int = PAID
    skipped: bool = False
    """The phase that was held is left as it is."""
    gone_on_without: bool = False
    """The step that failed is left out, and its phase goes on."""
    aborted: bool = False
    said: list[str] = field(default_factory=list)
    """Everything that was tried, for whoever has to understand a failure."""

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is to be said: it has been stopped, or will stop."""
        return self.aborted or self.approved is False

    def check(self, result: TaskResult, effects: list[str]) -> None:
        """Fails where the result, or an effect, is not what must have come of it."""
        assert len(effects) == len(set(effects)), f"doubled: {sorted(effects)}"
        self._check_status(result)
        self._check_effects(set(effects), result)
        if result.status.is_success:
            assert result.outputs == {"size": self.size}
            assert result.steps["go"].output["approved"] is True
            assert result.steps["advice"].output == ["fine"] * CALLS
        called = result.usage.agent_calls if result.usage else 0
        assert called <= self.limit, f"{called} calls within a budget of {self.limit}"
        tried = {name: s.attempts for name, s in result.steps.items() if name in ALWAYS and s.attempts > 1}
        assert not tried, f"a pause, a kill or a decision counted as an attempt: {tried}"

    def _check_status(self, result: TaskResult) -> None:
        if self.aborted:
            assert result.status in self._with_abort(), result.error
        elif self.approved is False:
            assert (result.status, result.error and result.error.type) == ("failed", "rejected")
        else:
            assert result.status == ("completed_with_errors" if self.skipped else "completed"), result.error

    def _with_abort(self) -> set[Any]:
        """An abort that crosses with the end comes too late; with a rejection either may be first."""
        over = {"completed", "completed_with_errors"} if self.approved and self.size else set()
        return {"cancelled"} | over | ({"failed"} if self.approved is False else set())

    def _check_effects(self, effects: set[str], result: TaskResult) -> None:
        allowed = set(ALWAYS)
        allowed -= set() if self.approved else {"went", "last"}
        allowed -= set() if self.size is not None else {"sized", "last"}
        allowed |= set() if self.skipped else {"after"}
        allowed |= set() if self.skipped or self.gone_on_without else {"fragile"}
        assert effects <= allowed, f"nobody let these happen: {sorted(effects - allowed)}"
        if result.status.is_success:
            assert effects == allowed, f"lost: {sorted(allowed - effects)}"
