"""What cannot be used before a start, and which steps that concerns."""

import pytest

from taskmark.plan.preview import PlannedAgent, PlannedTool
from taskmark.plan.reach import reach
from taskmark.plan.usability import unusable
from taskmark.task.model import Agent, Fallback, Notification, Phase, Step, TaskDefinition

DOWN = PlannedTool(name="mail", healthy=False, message="nobody answers", hint="look at the server")


def step(id="one", kind="tool", value="mail", **options):
    return Step(id=id, kind=kind, value=value, **options)


def task(*steps, **options):
    phase = Phase(name="Tell", slug="tell", steps=steps, agents=options.pop("agents", ()))
    return TaskDefinition(**{"id": "t", "name": "T", "phases": (phase,)} | options)


def found(definition, *tools, agents=()):
    return unusable(definition, tools, agents)


def test_what_is_healthy_is_not_mentioned():
    assert found(task(step()), PlannedTool(name="mail"), agents=(PlannedAgent(id="ann"),)) == ()


def test_a_tool_is_told_with_its_reason_the_next_step_and_the_steps_that_use_it():
    (told,) = found(task(step(), step("two"), step("three", value="shell")), DOWN)
    assert [use.step for use in told.uses] == ["one", "two"]
    assert str(told) == (
        "tool mail cannot be used: nobody answers; look at the server; it is used by "
        "step one of Tell, which has no fallback; step two of Tell, which has no fallback"
    )


def test_whether_a_step_has_a_fallback_is_told():
    value = step(fallback=Fallback(kind="value", value=1))
    other = step("two", fallback=Fallback(kind="tool", name="chat"))
    (told,) = found(task(value, other), DOWN)
    assert [use.fallback for use in told.uses] == ["a value", "tool chat"]
    assert "which falls back on a value" in told.used_by


def test_a_tool_that_is_only_a_fallback_is_told_as_one():
    (told,) = found(task(step(value="chat", fallback=Fallback(kind="tool", name="mail"))), DOWN)
    assert (told.uses[0].is_fallback, told.used_by) == (True, "step one of Tell, as its fallback")


def test_a_tool_that_a_step_of_a_plug_ins_kind_falls_back_on_is_told():
    odd = step(kind="odd", value="x", fallback=Fallback(kind="tool", name="mail"))
    (told,) = found(task(odd), DOWN)
    assert told.used_by == "step one of Tell, as its fallback"


def test_a_tool_that_only_a_notification_uses_is_told():
    (told,) = found(task(notify=(Notification(on=("failed",), tool="mail"),)), DOWN)
    assert told.used_by == "a notification"


def test_a_step_of_a_sub_task_is_told_with_its_task():
    below = task(step()).model_copy(update={"id": "below", "sha256": "b"})
    (told,) = found(task(step("run", kind="task", value="below"), tasks={"below": below}), DOWN)
    assert told.used_by == "step one of Tell in the sub-task below, which has no fallback"


def test_an_agent_that_nobody_answers_for_is_told_for_each_step_that_asks_it():
    asks = (step("say", kind="plain", value=""), step("ask", kind="agent", value="bob"))
    lost = (PlannedAgent(id="ann", problem="ann names no model"), PlannedAgent(id="bob", problem="no file"))
    ann, bob = found(task(*asks, agents=("ann",)), agents=lost)
    assert (ann.title, [use.step for use in ann.uses]) == (
        "agent ann cannot be asked: ann names no model",
        ["say"],
    )
    assert [use.step for use in bob.uses] == ["ask"]


def test_an_agent_is_named_once():
    own = PlannedAgent(id="ann", problem="agent ann names no model", hint="name one")
    other = PlannedAgent(id="bob", problem="agent bob: claude: command not found")
    ann, bob = found(task(step(kind="agent", value="ann")), agents=(own, other))
    assert str(ann) == (
        "agent ann cannot be asked: it names no model; name one; "
        "it is used by step one of Tell, which has no fallback"
    )
    assert str(bob) == "agent bob cannot be asked: claude: command not found"


@pytest.mark.semantics("S17")
def test_the_fallback_of_an_agents_file_is_told_unless_the_step_has_its_own():
    known = {"ann": Agent(id="ann", metadata={"fallback": "bob"}), "bob": Agent(id="bob")}
    value = Fallback(kind="value", value=1)
    asks = (
        step("ask", kind="agent", value="ann"),
        step("say", kind="plain", value=""),
        step("own", kind="agent", value="ann", fallback=value),
    )
    lost = (PlannedAgent(id="ann", problem="lost"), PlannedAgent(id="bob", problem="lost"))
    ann, bob = found(task(*asks, agents=("ann",)).model_copy(update={"agents": known}), agents=lost)
    assert [use.fallback for use in ann.uses] == ["agent bob", "agent bob", "a value"]
    assert [(use.step, use.is_fallback) for use in bob.uses] == [("ask", True), ("say", True)]


def test_the_agent_that_an_agents_file_falls_back_on_is_reached():
    known = {"ann": Agent(id="ann", metadata={"fallback": "bob"}), "bob": Agent(id="bob")}
    definition = task(step(kind="agent", value="ann")).model_copy(update={"agents": known})
    assert list(reach(definition).agents) == ["ann", "bob"]


def test_what_a_sub_tasks_step_falls_back_on_is_told():
    runs = step("run", kind="task", value="below", fallback=Fallback(kind="tool", name="mail"))
    assert found(task(runs), DOWN)[0].used_by == "step run of Tell, as its fallback"


def test_of_many_uses_the_first_are_named_and_the_others_counted():
    (told,) = found(task(*(step(f"s{number}") for number in range(8))), DOWN)
    assert told.used_by.endswith("step s4 of Tell, which has no fallback; 3 more")
