"""What of the past a task may learn from."""

from taskmark.plan.experience import others_of
from taskmark.task.model import Phase, Step, TaskDefinition


def phase(*steps, **options):
    return Phase(name="p", slug="p", steps=steps, **options)


def task(*phases, **options):
    return TaskDefinition(id="t", name="t", phases=phases, **options)


def test_the_tools_and_agents_of_a_task_are_those_of_its_steps_each_once():
    steps = (
        Step(id="a", kind="tool", value="shell"),
        Step(id="b", kind="tool", value="shell"),
        Step(id="c", kind="agent", value="ann"),
        Step(id="d", kind="approval", value="release"),
        Step(id="e", kind="validation", value="true"),
    )
    assert others_of(task(phase(*steps))) == (("tool", "shell"), ("agent", "ann"))


def test_instructions_go_to_the_agents_of_the_phase_or_else_of_the_task():
    plain = Step(id="say", kind="plain", description="Say it.")
    own, default = phase(plain, agents=("ann", "bob")), phase(plain)
    assert others_of(task(own, default_agents=("eve",))) == (("agent", "ann"), ("agent", "bob"))
    assert others_of(task(default, default_agents=("eve",))) == (("agent", "eve"),)
    assert others_of(task(default)) == ()


def test_a_step_that_chooses_its_agent_may_ask_any_that_is_listed():
    chosen = Step(id="ask", kind="agent", value="{{ inputs.who }}")
    assert others_of(task(phase(chosen, agents=("ann", "bob")))) == (("agent", "ann"), ("agent", "bob"))
