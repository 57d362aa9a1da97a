"""Traps of markdown and YAML that task files fall into."""

from pathlib import Path

import pytest

from taskmark.task import check_file, check_text, parse_text

STEP = "### Steps\n- tool: shell - x\n"


def codes(text: str) -> list[str]:
    return [found.code for found in check_text(text).diagnostics]


TEMPLATE = """\
# Task Name

```yaml
name: Task Name
requirements:
  field: type
```

## Phase: Template
parallel: true/false

### Steps
- agent: agent-id - Query
"""


@pytest.mark.parametrize("info", ["markdown", "md"])
def test_a_task_shown_in_a_markdown_fence_is_documentation_with_fences_of_its_own(info: str) -> None:
    text = f"# T\n\n```{info}\n{TEMPLATE}```\n\n## Phase: Real\n{STEP}"
    assert [phase.slug for phase in parse_text(text).phases] == ["real"]


@pytest.mark.parametrize("fence", ["````", "~~~", "~~~~ text"])
def test_a_task_shown_in_a_longer_or_other_fence_is_documentation(fence: str) -> None:
    text = f"# T\n\n{fence}\n{TEMPLATE}{fence.split(maxsplit=1)[0]}\n\n## Phase: Real\n{STEP}"
    definition = parse_text(text)
    assert ([phase.slug for phase in definition.phases], definition.requirements) == (["real"], ())


def test_a_markdown_fence_that_is_closed_the_strict_way_ends_there() -> None:
    text = f"# T\n\n```markdown\n```yaml\nname: X\n```\n\n## Phase: Real\n{STEP}"
    definition = parse_text(text)
    assert (definition.name, [phase.slug for phase in definition.phases]) == ("T", ["real"])
    twice = text + "\n```markdown\n```yaml\n```\n"
    assert [phase.slug for phase in parse_text(twice).phases] == ["real"]


def test_the_template_itself_is_refused_where_its_placeholders_stand() -> None:
    found = [(d.line, d.column, d.code) for d in check_text(TEMPLATE).diagnostics]
    assert found == [(6, 10, "placeholder"), (10, 11, "placeholder")]


def test_headings_and_steps_in_fences_and_comments_are_documentation() -> None:
    text = f"# T\n\n## Phase: A\n{STEP}\n```\n## Phase: B\n- x\n```\n\n"
    text += "<!-- ## Phase: C\n- tool: no\n-->\n<!-- x -->\n"
    assert [len(phase.steps) for phase in parse_text(text).phases] == [1]
    assert [phase.slug for phase in parse_text(f"{text}\n<!-- never closed\n## Phase: D\n{STEP}").phases] == [
        "a",
        "d",
    ]


def test_versions_and_names_stay_as_written() -> None:
    text = f"# T\n\n```yaml\nname: 2024\nversion: 1.0\ndescription: on\n```\n\n## Phase: A\n{STEP}"
    definition = parse_text(text)
    assert (definition.name, definition.version, definition.description) == ("2024", "1.0", "on")


def test_words_that_older_yaml_read_as_booleans_are_texts() -> None:
    text = f"# T\n\n## Phase: A\n{STEP}"
    text += "  with: {a: no, b: on, c: 1:30, d: 0o17, e: 2026-01-31, f: ~, g: .5, h: 1e999}\n"
    arguments = parse_text(text).phases[0].steps[0].arguments
    assert arguments == {
        "a": "no", "b": "on", "c": "1:30", "d": "0o17", "e": "2026-01-31", "f": None, "g": 0.5, "h": "1e999",
    }  # fmt: skip


def test_front_matter_is_metadata_and_yaml_after_it_documentation() -> None:
    text = f"---\nname: Front\nversion: 2 # two\n---\n# Title\n```yaml\nname: No\n```\n## Phase: A\n{STEP}"
    definition = parse_text(text)
    assert (definition.name, definition.version, definition.id) == ("Front", "2", "front")


def test_a_file_may_do_without_title_or_without_name() -> None:
    assert parse_text(f"```yaml\nname: Named\n```\n## Phase: A\n{STEP}").name == "Named"
    assert parse_text(f"# Titled ##\n## Phase: A\n{STEP}").name == "Titled"
    assert parse_text(f"# 日本語\n## Phase: A\n{STEP}").id == "日本語"
    assert parse_text(f"# Titled\n## Phase: A\n{STEP}", task_id="given").id == "given"


@pytest.mark.parametrize(
    "heading",
    [
        "Phase: Look",
        "Phase 1: Look",
        "Phase 12 — Look",
        "Phase 1 – Look",
        "Phase 1 - Look",
        "phase: Look",
        "PHASE 2b: Look ##",
    ],
)
def test_the_number_of_a_phase_is_only_a_label(heading: str) -> None:
    assert parse_text(f"# T\n\n## {heading}\n{STEP}").phases[0].name == "Look"


@pytest.mark.parametrize("heading", ["Phased out", "Phase two", "Phases", "Notes"])
def test_other_headings_are_documentation(heading: str) -> None:
    assert (
        parse_text(f"# T\n\n## {heading}\nProse.\n\n## Phase: A\n{STEP}\n### {heading}\n- no step\n")
        .phases[0]
        .slug
        == "a"
    )


def test_sections_of_other_headings_are_documentation() -> None:
    text = "# T\n\n## Background\n### Agents\n- a person\n### Outputs\n- paper\n\n"
    text += f"## Phase: A\n{STEP}#### Detail\n- tool: shell\n"
    definition = parse_text(text)
    assert len(definition.phases[0].steps) == 2
    assert definition.outputs == ()


def test_section_headings_are_read_in_any_case() -> None:
    text = (
        "# T\n\n## PHASE: A\n### STEPS\n- tool: shell\n### agents\n- a\n### OutPuts\n- o\n\n## outputs\n- o\n"
    )
    definition = parse_text(text)
    assert definition.phases[0].agents == ("a",)
    assert [output.expression for output in definition.outputs] == ["phases.a.outputs.o"]


def test_rules_and_prose_between_steps_are_documentation() -> None:
    text = f"# T\n\n## Phase: A\nProse.\n{STEP}\n---\n\n* * *\n\nProse.\n\n    - code\n\n- tool: shell - y\n"
    assert len(parse_text(text).phases[0].steps) == 2


def test_characters_that_only_yaml_counts_as_line_ends_move_no_place() -> None:
    text = "# T\n\n```yaml\ndescription: 'a\u2028b\x85c'\ncolour: red\n```\n"
    assert [(d.line, d.column) for d in check_text(text).diagnostics if d.code == "unknown-key"] == [(5, 1)]


@pytest.mark.parametrize(
    "text", ["", "\n", "\x00", "# T\n```yaml\n\x00\n```\n", "# T\n\ud800", "---", "---\n---\n", "#", "```"]
)
def test_odd_texts_give_diagnostics_and_nothing_else(text: str) -> None:
    assert check_text(text).diagnostics


def test_a_second_document_in_metadata_is_refused() -> None:
    assert codes(f"# T\n\n```yaml\nname: a\n---\nname: b\n```\n## Phase: A\n{STEP}") == ["yaml-syntax"]


def test_metadata_may_be_empty_or_only_comments() -> None:
    assert codes(f"# T\n\n```yaml\n```\n## Phase: A\n{STEP}") == []
    assert codes(f"# T\n\n```yaml\n# nothing\n```\n## Phase: A\n{STEP}") == []
    assert codes(f"# T\n\n```yaml\n- a\n```\n## Phase: A\n{STEP}") == ["wrong-type"]
    assert codes(f"```yaml\na: [\n```\n## Phase: A\n{STEP}- plain\n") == ["yaml-syntax"]


def test_missing_bytes_and_files_are_diagnostics_too(tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "latin.md").write_bytes(b"# T\r\n\r\nGr\xfc\xdfe\n")
    found = [(d.line, d.column, d.code) for d in check_file(folder / "latin.md").diagnostics]
    assert found == [(3, 3, "not-utf8")]
    for path in (folder / "none.md", folder, folder / "nul\0.md"):
        assert [d.code for d in check_file(path).diagnostics] == ["unreadable-file"]
    (folder / "large.md").write_bytes(b"x" * (1024 * 1024 + 1))
    assert [d.code for d in check_file(folder / "large.md").diagnostics] == ["file-too-large"]
    found = [(d.line, d.column, d.code) for d in check_text("# T\nab\ud800").diagnostics]
    assert found == [(2, 3, "not-utf8")]
