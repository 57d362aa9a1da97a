"""The plan of a run: what is called, decided, expected, waited for, and in the way."""

from datetime import UTC, datetime

import pytest

from taskmark.plan.experience import Experience, Timed
from taskmark.plan.preview import PlannedAgent, PlannedTool
from taskmark.plan.previewing import Knowledge, preview
from taskmark.plan.reach import reach
from taskmark.task.model import Agent, Budget, Fallback, Phase, Step, TaskDefinition
from workflows.state import TaskState
from workflows.views import plan as query

TOOLS = {
    "read-file": PlannedTool(name="read-file", effects=False),
    "shell": PlannedTool(name="shell", effects=True),
}


def tool(id, name="read-file", **options):
    return Step(id=id, kind="tool", value=name, **options)


def phase(slug, *steps, needs=(), **options):
    return Phase(name=slug.title(), slug=slug, depends_on=needs, steps=steps, **options)


def task(*phases, **options):
    return TaskDefinition(**{"id": "t", "name": "T", "phases": phases} | options)


def planned(
    *phases, inputs=None, missing=(), tools=TOOLS, agents=(), experience=None, detailed=None, **options
):
    known = Knowledge(tools, agents, experience or Experience())
    return preview(task(*phases, **options), inputs or {}, missing, known, detailed=detailed)


def decisions(plan):
    return {one.slug: one.decision for one in plan.phases}


# --- what runs ------------------------------------------------------------------------------------


def test_a_phase_whose_if_is_false_is_skipped_and_so_is_what_depends_on_it():
    plan = planned(
        phase("a", tool("x"), condition="inputs.go"),
        phase("b", tool("y"), needs=("a",)),
        phase("c", tool("z"), needs=("a",), condition="true"),
        inputs={"go": False},
    )
    assert decisions(plan) == {"a": "skipped", "b": "skipped", "c": "runs"}
    assert plan.phases[0].steps[0].decision == "skipped"
    assert plan.critical_path == ("c",)
    assert [one.expected_seconds > 0 for one in plan.phases] == [False, False, True]


def test_a_phase_whose_if_needs_a_run_is_open_and_so_is_what_depends_on_it():
    plan = planned(
        phase("a", tool("x")),
        phase("b", tool("y"), needs=("a",), condition="phases.a.outputs.go"),
        phase("c", tool("z"), needs=("b",)),
    )
    assert decisions(plan) == {"a": "runs", "b": "open", "c": "open"}


def test_an_if_that_cannot_be_evaluated_fails_its_phase_unless_a_dependency_is_lost_anyway():
    wrong = "inputs.name > 3"
    plan = planned(
        phase("a", tool("x"), condition=wrong),
        phase("b", tool("y"), needs=("a",)),
        phase("c", tool("z"), needs=("a",), condition=wrong),
        inputs={"name": "x"},
    )
    assert decisions(plan) == {"a": "fails", "b": "skipped", "c": "skipped"}
    assert plan.problems[0].startswith("phase A fails: ")


def test_a_validation_that_inputs_decide_is_checked_now():
    check = Step(id="v", kind="validation", value="inputs.n > 3", description="{{ inputs.n }} is too small")
    assert planned(phase("a", check), inputs={"n": 4}).problems == ()
    plan = planned(phase("a", check), inputs={"n": 1})
    assert plan.phases[0].steps[0].decision == "fails"
    assert plan.problems == ("step v of A fails: 1 is too small",)
    assert planned(phase("a", check), missing=["n"]).problems == ()
    assert "cannot be evaluated" in planned(phase("a", check), inputs={"n": "x"}).problems[0]


def test_a_step_whose_if_is_false_is_skipped_and_takes_no_time():
    plan = planned(phase("a", tool("x", condition="false"), tool("y")))
    skipped, runs = plan.phases[0].steps
    assert (skipped.decision, skipped.expected_seconds) == ("skipped", 0)
    assert plan.expected_seconds == pytest.approx(runs.expected_seconds, abs=0.1)


# --- what is called -------------------------------------------------------------------------------


def test_steps_say_what_they_call_with_what_inputs_make_of_it():
    steps = (
        tool("x", arguments={"path": "{{ inputs.f }}", "rest": "{{ steps.y.output }}"}),
        Step(id="v", kind="validation", value="true"),
        Step(id="say", kind="plain", description="Look at {{ inputs.f }}"),
    )
    found = planned(phase("a", *steps, agents=("ann", "bob")), inputs={"f": "a.txt"}).phases[0].steps
    assert [one.calls for one in found] == [("read-file",), (), ("ann", "bob")]
    assert found[0].arguments == {"path": "a.txt", "rest": "{{ steps.y.output }}"}
    assert found[2].name == "Look at a.txt"


def test_only_the_first_steps_are_filled_in_where_no_more_are_shown():
    steps = [tool(f"s{n}", arguments={"path": "{{ inputs.f }}"}) for n in range(3)]
    found = planned(phase("a", *steps), inputs={"f": "a"}, detailed=2).phases[0].steps
    assert [one.arguments["path"] for one in found] == ["a", "a", "{{ inputs.f }}"]


def test_effects_are_the_tools_word_and_unknown_of_agents_plugins_and_tools_that_are_not_there():
    steps = (
        tool("reads"),
        tool("changes", "shell"),
        tool("lost", "gone"),
        tool("falls_back", fallback=Fallback(kind="tool", name="shell")),
        Step(id="asks", kind="agent", value="ann"),
        Step(id="own", kind="deploy", value="web"),
        Step(id="waits", kind="wait", value="3s"),
        Step(id="note", kind="plain", description="nobody is asked"),
    )
    found = {one.id: one.effects for one in planned(phase("a", *steps)).phases[0].steps}
    assert found == {
        "reads": False,
        "changes": True,
        "lost": None,
        "falls_back": True,
        "asks": None,
        "own": None,
        "waits": False,
        "note": False,
    }


def test_a_sub_task_changes_what_its_steps_change():
    below = task(phase("in", tool("s", "shell")), id="sub", sha256="1")
    quiet = task(phase("in", tool("s")), id="quiet", sha256="2")
    asking = task(phase("in", Step(id="q", kind="agent", value="ann")), id="asking", sha256="3")
    steps = [Step(id=name, kind="task", value=name) for name in ("sub", "quiet", "asking")]
    plan = planned(phase("a", *steps), tasks={"sub": below, "quiet": quiet, "asking": asking})
    assert [one.effects for one in plan.phases[0].steps] == [True, False, None]
    assert (plan.usage.agent_calls, plan.usage.agent_calls_at_least) == (0, True)


def test_everything_reached_is_named_once_with_fallbacks_and_sub_tasks():
    below = task(
        phase("in", tool("s", "shell"), Step(id="q", kind="agent", value="cat")), id="sub", sha256="1"
    )
    steps = (
        tool("a", fallback=Fallback(kind="tool", name="http")),
        Step(id="b", kind="agent", value="ann", fallback=Fallback(kind="agent", name="bob")),
        Step(id="c", kind="task", value="sub"),
        Step(id="d", kind="plain", description="x"),
    )
    whole = task(phase("p", *steps), tasks={"sub": below, "same": below}, default_agents=("dan",))
    whole = whole.model_copy(update={"agents": {"ann": Agent(id="ann")}})
    found = reach(whole)
    assert list(found.tools) == ["read-file", "http", "shell"]
    assert {name: agent is not None for name, agent in found.agents.items()} == {
        "ann": True,
        "bob": False,
        "dan": False,
        "cat": False,
    }


# --- times ----------------------------------------------------------------------------------------


def test_without_earlier_runs_the_time_is_what_the_query_of_a_running_execution_says():
    whole = task(phase("a", tool("x", estimate=3.0)), phase("b", tool("y"), tool("z"), needs=("a",)))
    state = TaskState()
    state.open(whole, {}, datetime(2026, 1, 1, tzinfo=UTC))
    plan, answer = preview(whole, {}), query(state)
    assert plan.expected_seconds == answer["expected_seconds"]
    for mine, theirs in zip(plan.phases, answer["phases"], strict=True):
        told = mine.model_dump(mode="json", by_alias=True)
        assert {name: told[name] for name in theirs if name != "steps"} == {
            name: value for name, value in theirs.items() if name != "steps"
        }
        for step, other in zip(told["steps"], theirs["steps"], strict=True):
            assert {name: step[name] for name in other} == other
    assert [list(wave) for wave in plan.waves] == answer["waves"]


def test_earlier_runs_win_over_declarations_and_the_basis_says_so():
    steps = (tool("x", estimate=100.0), tool("y", estimate=5.0))
    learned = Experience(3, {"x": [1.0, 2.0, 9.0]})
    mixed = planned(phase("a", *steps), experience=learned)
    assert (mixed.basis, mixed.samples) == ("mixed", 3)
    assert [(one.expected_seconds, one.samples) for one in mixed.phases[0].steps] == [(2.0, 3), (5.0, 0)]
    assert planned(phase("a", steps[0]), experience=learned).basis == "history"
    assert planned(phase("a", *steps)).basis == "declared"


def test_what_never_ran_takes_what_its_tools_took_elsewhere():
    steps = (tool("x", estimate=100.0), tool("y", estimate=5.0))
    elsewhere = {("tool", "read-file"): Timed(tuple((n, 2.0) for n in range(8)), (), 8)}
    plan = planned(phase("a", *steps), experience=Experience(others=elsewhere))
    assert [one.expected_seconds for one in plan.phases[0].steps] == [2.0, 2.0]
    assert (plan.basis, plan.samples) == ("tools", 0)
    assert plan.eta is not None
    assert (plan.eta.basis, plan.eta.samples) == ("tools", 8)
    assert plan.eta.remaining_seconds == pytest.approx(4, rel=0.1)


def test_known_items_count_and_unknown_ones_are_said():
    each = tool("x", estimate=1.0, for_each="inputs.files")
    known = planned(phase("a", each), inputs={"files": list(range(160))})
    assert (known.phases[0].steps[0].items, known.phases[0].steps[0].expected_seconds) == (160, 160.0)
    assert known.expected_seconds == pytest.approx(2.0, abs=0.1)
    unknown = planned(phase("a", each), missing=["files"])
    assert unknown.phases[0].steps[0].items is None
    assert unknown.phases[0].steps[0].for_each == "inputs.files"
    assert unknown.at_least_because == ("how many items there are is known only then: x",)


def test_a_phase_runs_its_items_side_by_side_within_its_limit():
    def seconds(items, **options):
        each = phase("a", tool("x", estimate=10.0), for_each="inputs.files", **options)
        return planned(each, inputs={"files": list(range(items))}).phases[0].expected_seconds

    assert seconds(4) == pytest.approx(10, abs=0.1)
    assert seconds(4, max_concurrent=2) == pytest.approx(20, abs=0.1)
    assert seconds(0) == 0


def test_limits_on_concurrency_make_it_longer_or_at_least_not_certain():
    two = (phase("a", tool("x", estimate=10.0)), phase("b", tool("y", estimate=10.0)))
    plan = planned(*two, max_concurrent_phases=1)
    assert plan.expected_seconds == pytest.approx(20, abs=0.1)
    assert plan.at_least_because == ("maxConcurrentPhases is 1, and 2 phases could run side by side",)
    assert planned(*two, max_concurrent_phases=2).at_least_because == ()
    assert planned(*two, max_concurrent_steps=5).at_least_because == ("maxConcurrentSteps is 5",)
    limited = planned(phase("a", tool("x"), max_concurrent=2))
    assert limited.at_least_because == ("maxConcurrent limits A",)
    many = [phase(f"p{n}") for n in range(400)]
    assert "400 phases could" in planned(*many, max_concurrent_phases=2).at_least_because[0]


def test_slack_and_the_critical_path_are_those_of_the_schedule():
    plan = planned(
        phase("a", tool("x", estimate=10.0)),
        phase("b", tool("y", estimate=4.0)),
        phase("c", tool("z", estimate=1.0), needs=("a", "b")),
    )
    assert plan.critical_path == ("a", "c")
    assert [(one.slug, one.critical, one.slack_seconds) for one in plan.phases] == [
        ("a", True, 0),
        ("b", False, 6),
        ("c", True, 0),
    ]
    assert [one.wave for one in plan.phases] == [1, 1, 2]


# --- gates, use, problems -------------------------------------------------------------------------


def test_gates_are_listed_with_who_decides_and_until_when():
    gate = Step(
        id="go",
        kind="approval",
        value="release",
        description="Release {{ inputs.v }}?",
        timeout=60.0,
        approvers=("ann",),
        on_timeout="pause",
    )
    idle = phase("b", Step(id="q", kind="question", value="q"), condition="false")
    plan = planned(phase("a", gate), idle, inputs={"v": 2})
    (found,) = plan.gates
    assert (found.phase, found.step, found.kind, found.name) == ("a", "go", "approval", "release")
    assert (found.prompt, found.timeout_seconds, found.approvers) == ("Release 2?", 60.0, ("ann",))
    assert found.model_dump(by_alias=True)["onTimeout"] == "pause"
    assert plan.at_least_because == ("people decide at gates, which is not counted",)


def test_gates_of_sub_tasks_are_listed_under_the_step_that_runs_them():
    gate = Step(id="go", kind="question", value="region", description="For {{ inputs.v }}?")
    below = task(phase("in", gate), id="sub", sha256="1")
    runs = Step(id="run", kind="task", value="sub")
    plan = planned(phase("a", runs), phase("b", runs, condition="false"), tasks={"sub": below})
    found = [(one.phase, one.step, one.name, one.prompt) for one in plan.gates]
    assert found == [("a", "run/go", "region", "For {{ inputs.v }}?")]


def test_agent_calls_are_counted_over_agents_and_items():
    steps = (
        Step(id="all", kind="plain", description="x"),
        Step(id="one", kind="agent", value="ann", for_each=[1, 2, 3]),
        Step(id="idle", kind="agent", value="ann", condition="false"),
    )
    used = planned(phase("a", *steps, agents=("ann", "bob"))).usage
    assert (used.agent_calls, used.agent_calls_at_least) == (5, False)
    open_ended = Step(id="one", kind="agent", value="ann", for_each="steps.x.output")
    used = planned(phase("a", open_ended)).usage
    assert (used.agent_calls, used.agent_calls_at_least) == (1, True)


def chooser(**options):
    return Step(id="one", kind="agent", value="{{ item }}", **options)


def test_a_step_that_chooses_shows_its_choice_if_inputs_decide_it_else_all_that_it_may():
    listed = {"agents": ("ann", "bob", "cid")}
    known = planned(
        phase("a", chooser(for_each="inputs.who"), **listed), inputs={"who": ["cid", "ann", "cid"]}
    )
    assert known.phases[0].steps[0].calls == ("cid", "ann")
    assert (known.usage.agent_calls, known.usage.agent_calls_at_least) == (3, False)
    unknown = planned(phase("a", chooser(for_each="steps.x.output"), **listed))
    assert unknown.phases[0].steps[0].calls == ("ann", "bob", "cid")
    assert (unknown.usage.agent_calls, unknown.usage.agent_calls_at_least) == (1, True)
    assert unknown.phases[0].steps[0].effects is None
    assert set(reach(task(phase("a", chooser()), default_agents=("ann", "bob"))).agents) == {"ann", "bob"}


def test_a_step_that_chooses_is_expected_to_take_what_its_agents_took():
    took = {("one", "ann"): [1.0, 3.0, 90.0], ("one", "bob"): [9.0]}
    learned = Experience(3, {"one": [1.0, 3.0, 90.0, 9.0]}, by_agent=took)

    def expected(*who):
        one = phase("a", chooser(for_each="inputs.who"), agents=("ann", "bob", "new"))
        return planned(one, inputs={"who": list(who)}, experience=learned).phases[0].steps[0].expected_seconds

    assert (expected("ann"), expected("ann", "bob"), expected("new")) == (3.0, 12.0, 6.0)
    anybody = phase("a", chooser(for_each="steps.x.output"), agents=("ann", "bob"))
    assert planned(anybody, experience=learned).phases[0].steps[0].expected_seconds == 6.0


def test_tokens_and_cost_are_known_only_from_earlier_runs():
    ask = phase("a", Step(id="one", kind="agent", value="ann"))
    assert (planned(ask).usage.tokens, planned(ask).usage.cost) == (None, None)
    used = planned(ask, experience=Experience(3, {}, tokens=(10, 20, 90), cost=(0.5,))).usage
    assert (used.tokens, used.cost, used.samples) == (20, 0.5, 3)


def test_what_is_in_the_way_is_said():
    asks = Step(id="one", kind="agent", value="ann", for_each=[1, 2, 3])
    plan = planned(
        phase("a", asks, tool("x", "shell")),
        tools={"shell": PlannedTool(name="shell", effects=True, healthy=False)},
        agents=(PlannedAgent(id="ann", problem="agent ann names no model"),),
        budget=Budget(agent_calls=2, tokens=100),
    )
    assert plan.problems == (
        "tool shell cannot be used: it gives no reason; it is used by step x of A, which has no fallback",
        "agent ann cannot be asked: it names no model; it is used by step one of A, which has no fallback",
        "the budget has agentCalls: 2, and a run uses about 3",
    )


def test_a_task_without_phases_has_an_empty_plan():
    plan = planned()
    assert (plan.waves, plan.phases, plan.critical_path, plan.expected_seconds) == ((), (), (), 0)


def test_the_document_has_the_names_of_the_file():
    told = planned(phase("a", tool("x", condition="true", for_each=[1]), condition="true"))
    document = told.model_dump(mode="json", by_alias=True)
    assert {"dependsOn", "if", "forEach", "onFailure"} <= set(document["phases"][0])
    assert {"with", "if", "forEach"} <= set(document["phases"][0]["steps"][0])
