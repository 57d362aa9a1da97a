"""Tools, aggregates, agents and other tasks are looked up in the catalog."""

from pathlib import Path
from typing import Any

import pytest

from taskmark.errors import InvalidTask
from taskmark.task import check_file, check_text, parse_file, parse_text
from taskmark.task.agent_files import agent_ids, load_agent
from taskmark.task.catalog import Catalog
from taskmark.task.model import Agent, TaskDefinition

HEAD = "# T\n\n## Phase: A\n### Steps\n"
SCHEMA: dict[str, Any] = {"properties": {"command": {}, "cwd": {}}, "required": ["command"]}


def found(text: str, catalog: Catalog) -> list[tuple[int, int, str]]:
    return [(d.line, d.column, d.code) for d in check_text(text, catalog=catalog).diagnostics]


# --- tools ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ("  with: {command: [a]}\n", []),
        ("  with: {command: [a], cdw: b}\n", [(6, 24, "unknown-argument")]),
        ("  with: {cwd: b}\n", [(5, 3, "missing-argument")]),
        ("", [(5, 3, "missing-argument")]),
    ],
)
def test_what_a_tool_takes_and_needs_is_checked(mapping: str, expected: list[Any]) -> None:
    assert found(f"{HEAD}- tool: run - x\n{mapping}", Catalog(tools={"run": SCHEMA})) == expected


def test_a_tool_with_open_or_unknown_parameters_takes_anything() -> None:
    catalog = Catalog(tools={"open": {**SCHEMA, "additionalProperties": True}, "any": None})
    assert found(f"{HEAD}- tool: open - x\n  with: {{command: a, z: 1}}\n- tool: any\n", catalog) == []


def test_a_fallback_tool_is_checked_with_its_own_arguments_or_the_steps() -> None:
    catalog = Catalog(tools={"run": SCHEMA, "any": None})
    text = f"{HEAD}- tool: any\n  with: {{x: 1}}\n  fallback: run\n"
    assert found(text, catalog) == [(6, 10, "unknown-argument"), (7, 13, "missing-argument")]
    text = f"{HEAD}- tool: any\n  with: {{x: 1}}\n  fallback: {{tool: run, with: {{command: a}}}}\n"
    assert found(text, catalog) == []


def test_registered_aggregates_and_kinds_are_known() -> None:
    catalog = Catalog.for_folders(
        Path(), Path(), None, aggregates=frozenset({"median"}), kinds=frozenset({"do"})
    )
    assert found(f"{HEAD}- aggregate: median\n- aggregate: sum\n- do: it\n", catalog) == []
    assert catalog.agent is None
    assert list(catalog.agent_ids()) == []


# --- agents ---------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    (tmp_path / "agents").mkdir()
    (tmp_path / "tasks").mkdir()
    agent(
        tmp_path,
        "reviewer",
        "---\nname: Reviewer\nmodel: small\ntools: Read, Grep\ncolor: red\n---\n\nReview.\n",
    )
    agent(tmp_path, "plain", "Just a prompt.\n")
    return tmp_path


def agent(root: Path, id: str, text: str) -> None:
    (root / "agents" / f"{id}.md").write_text(text)


def task(root: Path, name: str, text: str) -> Path:
    path = root / "tasks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def catalog(root: Path) -> Catalog:
    return Catalog.for_folders(root, root / "tasks", root / "agents")


def test_every_agent_a_task_names_anywhere_travels_with_it(folders: Path) -> None:
    for name in ("step", "phase", "fall", "default"):
        agent(folders, name, f"I am {name}.")
    text = (
        "# T\n\n```yaml\nagents: [default]\n```\n\n## Phase: A\n### Steps\n- agent: step - x\n- Say it\n"
        "  fallback: fall\n\n### Agents\n- phase\n"
    )
    definition = parse_text(text, catalog=catalog(folders))
    assert {name: found.prompt for name, found in definition.agents.items()} == {
        name: f"I am {name}." for name in ("default", "phase", "step", "fall")
    }


def test_an_unknown_agent_is_an_error_at_every_place_that_names_it(folders: Path) -> None:
    text = (
        "# T\n\n```yaml\nagents: [reviewr]\n```\n\n## Phase: A\n### Steps\n- agent: plian - x\n"
        "  fallback: ghost\n\n### Agents\n- ghost\n"
    )
    checked = check_text(text, catalog=catalog(folders))
    assert [(d.line, d.column, d.code) for d in checked.diagnostics] == [
        (4, 10, "unknown-agent"),
        (9, 10, "unknown-agent"),
        (10, 13, "unknown-agent"),
        (13, 3, "unknown-agent"),
    ]
    assert [d.hint for d in checked.diagnostics][:2] == ["did you mean `reviewer`?", "did you mean `plain`?"]


def test_a_folder_without_agents_says_where_to_write_one(tmp_path: Path) -> None:
    checked = check_text(f"{HEAD}- agent: one - x\n", catalog=catalog(tmp_path))
    assert [d.hint for d in checked.diagnostics] == ["write agents/one.md"]


def test_an_agent_file_is_front_matter_and_prompt_and_keeps_what_is_not_ours(folders: Path) -> None:
    assert load_agent(folders / "agents", "reviewer") == Agent(
        id="reviewer",
        name="Reviewer",
        model="small",
        tools=("Read", "Grep"),
        prompt="Review.",
        metadata={"color": "red"},
    )
    assert load_agent(folders / "agents", "plain") == Agent(id="plain", prompt="Just a prompt.")
    assert agent_ids(folders / "agents") == ("plain", "reviewer")


def test_front_matter_that_is_not_quite_yaml_is_read_line_by_line(folders: Path) -> None:
    agent(
        folders,
        "loose",
        '---\nname: l\ndescription: Use it when: <example> "x"\ntools: [a, b]\nmodel:\n---\nHi\n',
    )
    loose = load_agent(folders / "agents", "loose")
    assert loose == Agent(
        id="loose", name="l", description='Use it when: <example> "x"', tools=("a", "b"), prompt="Hi"
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("---\nname: a\n", "unclosed-front-matter"),
        ("---\nname: a\nname: b\n---\n", "duplicate-key"),
        ("---\nname: [a]\n---\n", "wrong-type"),
        ("---\na: [\n---\n", "yaml-syntax"),
        ("---\na: &x b\n---\n", "yaml-alias"),
        ("x" * (1024 * 1024 + 1), "file-too-large"),
    ],
)
def test_a_broken_agent_file_is_reported_as_itself(folders: Path, text: str, code: str) -> None:
    agent(folders, "broken", text)
    with pytest.raises(InvalidTask):
        load_agent(folders / "agents", "broken")
    checked = check_text(f"{HEAD}- agent: broken - x\n- agent: broken - y\n", catalog=catalog(folders))
    assert [(d.code, d.file) for d in checked.diagnostics] == [(code, str(folders / "agents" / "broken.md"))]


@pytest.mark.parametrize(
    "id", ["../secret", "a/b", "..", "", ".a", "a..b", "a\\b", "/etc/passwd", "a" * 200, "nul\0"]
)
def test_an_id_that_is_no_plain_name_names_no_agent(folders: Path, id: str) -> None:
    (folders / "secret.md").write_text("secret")
    assert load_agent(folders / "agents", id) is None


def test_a_link_out_of_the_folder_names_no_agent(folders: Path) -> None:
    (folders / "secret.md").write_text("secret")
    (folders / "agents" / "link.md").symlink_to(folders / "secret.md")
    (folders / "agents" / "loop.md").symlink_to(folders / "agents" / "loop.md")
    assert load_agent(folders / "agents", "link") is None
    assert load_agent(folders / "agents", "loop") is None


def test_a_file_alone_finds_agents_in_or_next_to_its_folder(folders: Path, tmp_path: Path) -> None:
    path = task(folders, "t.md", f"{HEAD}- agent: reviewer - x\n")
    assert list(parse_file(path).agents) == ["reviewer"]
    path.write_text(f"{HEAD}- agent: ghost - x\n")
    assert [d.code for d in check_file(path).diagnostics] == ["unknown-agent"]
    alone = tmp_path / "a" / "b" / "t.md"
    alone.parent.mkdir(parents=True)
    alone.write_text(path.read_text())
    assert parse_file(alone).agents == {}


# --- other tasks ----------------------------------------------------------------------------------

CHILD = "# Child\n\n```yaml\nrequirements:\n  file: string\n  n: {type: number, default: 1}\n```\n\n"
CHILD += "## Phase: A\n### Steps\n- tool: shell - x\n"


def test_a_sub_task_is_found_by_id_or_path_and_travels_whole(folders: Path) -> None:
    task(folders, "child.md", CHILD)
    task(folders, "deep/other.md", f"{HEAD}- task: sibling\n")
    task(folders, "deep/sibling.md", f"{HEAD}- tool: shell\n")
    path = task(folders, "main.md", f"{HEAD}- task: child - x\n  with: {{file: a}}\n- task: deep/other.md\n")
    main = parse_file(path, catalog=catalog(folders))
    assert main.source_path == "tasks/main.md"
    assert main.tasks["child"] == parse_text(CHILD, task_id="child").model_copy(
        update={"source_path": "tasks/child.md"}
    )
    other = main.tasks["deep/other.md"]
    assert (other.id, other.tasks["sibling"].source_path) == ("other", "tasks/deep/sibling.md")


@pytest.mark.parametrize(
    ("mapping", "code"),
    [
        ("", "missing-argument"),
        ("  with: {file: a, m: 2}\n", "unknown-argument"),
        ("  with: {file: a, n: 2}\n", None),
    ],
)
def test_the_inputs_of_a_sub_task_are_checked(folders: Path, mapping: str, code: str | None) -> None:
    task(folders, "child.md", CHILD)
    checked = check_text(f"{HEAD}- task: child - x\n{mapping}", catalog=catalog(folders))
    assert [d.code for d in checked.diagnostics] == ([code] if code else [])


@pytest.mark.parametrize(
    "reference", ["nowhere", "../../secret", "/etc/passwd", "../secret.md", "link", "a\0b"]
)
def test_nothing_outside_of_the_root_is_a_task(folders: Path, reference: str) -> None:
    root = folders / "tasks"
    (folders / "secret.md").write_text(CHILD)
    (root / "link.md").symlink_to(folders / "secret.md")
    inside = Catalog.for_folders(root, root, None)
    assert found(f"{HEAD}- task: {reference}\n", inside) == [(5, 9, "unknown-task")]


def test_a_file_that_is_no_text_is_no_task(folders: Path) -> None:
    (folders / "tasks" / "binary.md").write_bytes(b"\xff\xfe")
    assert found(f"{HEAD}- task: binary\n", catalog(folders)) == [(5, 9, "unknown-task")]


def test_tasks_in_a_circle_are_shown_as_their_path(folders: Path) -> None:
    path = task(folders, "a.md", f"{HEAD}- task: b\n")
    task(folders, "b.md", f"{HEAD}- task: c\n")
    task(folders, "c.md", f"{HEAD}- task: a\n")
    checked = check_file(path, catalog=catalog(folders))
    assert [(d.file, d.line, d.column, d.code) for d in checked.diagnostics] == [
        ("tasks/c.md", 5, 9, "task-cycle")
    ]
    assert checked.diagnostics[0].message.endswith("a → b → c → a")


def test_errors_of_a_sub_task_are_reported_in_its_file_once_and_its_warnings_not(folders: Path) -> None:
    task(folders, "child.md", f"{HEAD}- tool: shel\n- note\n")
    checked = check_text(f"{HEAD}- task: child\n- task: child.md\n", catalog=catalog(folders))
    assert [(d.file, d.code) for d in checked.diagnostics] == [("tasks/child.md", "unknown-tool")]
    assert checked.definition is None


def test_tasks_may_be_eight_levels_deep(folders: Path) -> None:
    for level in range(12):
        task(
            folders,
            f"t{level}.md",
            f"{HEAD}- task: t{level + 1}\n" if level < 11 else f"{HEAD}- tool: shell\n",
        )
    deep = check_file(folders / "tasks" / "t2.md", catalog=catalog(folders))
    assert [d.code for d in deep.diagnostics] == ["task-too-deep"]
    assert depth(parse_file(folders / "tasks" / "t3.md", catalog=catalog(folders))) == 8


def depth(definition: TaskDefinition) -> int:
    return max((1 + depth(task) for task in definition.tasks.values()), default=0)


def test_tasks_that_multiply_are_refused_before_they_fill_the_memory(folders: Path) -> None:
    for level in range(8):
        steps = "".join(f"- task: {'./' * i}t{level + 1}\n" for i in range(10))
        task(folders, f"t{level}.md", HEAD + (steps if level < 7 else "- tool: shell\n"))
    checked = check_file(folders / "tasks" / "t0.md", catalog=catalog(folders))
    assert {d.code for d in checked.errors} == {"task-too-deep"}


def test_without_a_catalog_agents_and_tasks_are_not_looked_up() -> None:
    definition = parse_text(f"{HEAD}- agent: anyone - x\n- task: anything\n")
    assert (definition.agents, definition.tasks) == ({}, {})


def test_the_source_path_is_relative_as_given_or_to_the_root(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = task(folders, "t.md", f"{HEAD}- tool: shell\n")
    assert parse_file(path, catalog=catalog(folders)).source_path == "tasks/t.md"
    assert parse_file(path, catalog=Catalog.default()).source_path == "t.md"
    monkeypatch.chdir(folders / "tasks")
    assert parse_file(path, catalog=Catalog.default()).source_path == "t.md"
    assert parse_file("t.md").source_path == "t.md"
