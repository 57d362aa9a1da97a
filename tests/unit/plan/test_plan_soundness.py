"""Whether a definition that somebody hands over is one that the parser could have made."""

import pytest

from taskmark.contracts import ID_LIMIT
from taskmark.plan.soundness import problems, too_long
from taskmark.task import parse_text
from taskmark.task.model import Phase, Step, TaskDefinition


def task(*phases, **options):
    return TaskDefinition(**{"id": "t", "name": "t", "phases": phases, **options})


def phase(slug="a", **options):
    return Phase(name=options.pop("name", slug), slug=slug, **options)


def note(id="s", **options):
    return Step(id=id, kind=options.pop("kind", "plain"), **options)


def test_what_the_parser_makes_is_sound():
    endless = "x" * 2000
    text = f"""\
# Test

## Phase: A
parallel: true
### Steps
- A note that is longer than any name may be: {endless}
- wait: 1h 30m
- validation: "{endless}" != "" - No
- aggregate: count
  id: n
- tool: write-file
  with: {{path: a, content: "{{{{ steps.n.output }}}}"}}

## Phase: B
dependsOn: [A]
if: phases.a.status == "completed"
### Steps
- approval: go
"""
    assert problems(parse_text(text)) == ()


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        (task(id=""), "id is empty"),
        (task(id="x" * 129), "id is too long"),
        (task(name="x" * 1001), "name is too long"),
        (task(version="x" * 1001), "version is too long"),
        (task(source_path="x" * 1001), "path is too long"),
        (task(phase(""), phase("b")), "slug is empty"),
        (task(phase("a" * 129, name="a")), "slug is too long"),
        (task(phase(name="x" * 1001)), "name is too long"),
        (task(phase(), phase()), "2 phases are called “a”"),
        (task(phase(steps=(note(),)), phase("b", steps=(note(),))), "2 steps are called “s”"),
        (task(phase(depends_on=("b",))), "“a” needs “b”"),
        (task(phase(reads_phases=("b",))), "“a” needs “b”"),
        (task(phase(depends_on=("b",)), phase("b", depends_on=("a",))), "circle: a, b"),
        (task(phase(steps=(note("x" * 129),))), "id is too long"),
        (task(phase(steps=(note(kind="x" * 129),))), "kind is too long"),
        (task(phase(steps=(note(kind="tool", value="x" * 1001),))), "names is too long"),
        (task(phase(steps=(note(kind="task", value="child"),))), "runs the task “child”"),
        (task(phase(steps=(note(kind="wait", value="soon"),))), "cannot wait: 'soon'"),
        (task(phase(steps=(note(kind="agent", value="{{ item }}"),))), "no agents are listed"),
        (
            task(phase(parallel=True, steps=(note(reads_steps=("t",)), note("t", reads_steps=("s",))))),
            "wait for each other",
        ),
        (task(phase(parallel=True, steps=(note(reads_steps=("s",)),))), "wait for each other"),
    ],
)
def test_what_it_would_never_make_is_named(definition, words):
    assert words in "; ".join(problems(definition))


def test_a_step_may_choose_its_agent_where_agents_are_listed():
    chooses = note(kind="agent", value="{{ item ~ '" + "x" * 1000 + "' }}")
    assert problems(task(phase(steps=(chooses,), agents=("ann",)))) == ()
    assert problems(task(phase(steps=(chooses,)), default_agents=("ann",))) == ()


def test_steps_in_sequence_may_name_each_other():
    """One that reads a later step is skipped when its turn comes; nobody waits."""
    assert problems(task(phase(steps=(note(reads_steps=("t",)), note("t", reads_steps=("s",)))))) == ()


def test_long_names_are_shown_short():
    assert all(len(problem) < 200 for problem in problems(task(phase("x" * 5000), id="y" * 5000)))


def test_ids_of_workflows_are_counted_in_bytes():
    definition = task(phase("ü" * 100, steps=(note("s", kind="task", value="c"),)), tasks={"c": task()})
    assert too_long(definition, "x" * (ID_LIMIT - 201 - len("/s/99999"))) == ()
    assert len(too_long(definition, "x" * (ID_LIMIT - 201))) == 1
    assert len(too_long(definition, "x" * (ID_LIMIT - 200))) == 2
