"""`format_text`: what it changes, and what it never touches."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from taskmark.errors import InvalidTask, TaskmarkError
from taskmark.task import formatting
from taskmark.task.catalog import Catalog
from taskmark.task.fences import Fences
from taskmark.task.files import replace_text
from taskmark.task.formatting import format_file, format_text
from taskmark.task.yaml_layout import lay_out

ROOT = Path(__file__).parents[3]
PAGES = [
    page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.stem != "diagnostics"
]
MESSY = """

#   Messy   ##
Prose with a hard break.··
```yaml
name:   Messy
# about retries
retry: {maxAttempts :   3,backoffMs: 10 }   # keep me
requirements:
      file:    'string'
      # before mode
      mode:
            type:   enum···
            values: [ a,b ,'c' ]
onComplete:
    -   to: team
        on:
          -   failed
          - 'it''s "x"'
    - |
        two···
          lines
    -
        a: >
          folded
          text

        # about b
        b: "one
  two"
agents: [
  reviewer,   writer
  ]
```
##   phase 1 -  First   Look ##


dependsOn:   []

parallel:  true
retry:
    maxAttempts:   2
Some prose: here.

```text

  - kept··

```
###   steps


*   tool:   shell   -   Run   it
      id:   x
      with:
          command:   [make,"test"]
          env:·
              A: |+
                 text


+ agent: reviewer  - Ask
    them things,

      nothing
    timeout:   5m


- [ ]   Plain    text
1.  validation:   1 > 0   -    Fine
    critical:   false

    Prose under the step.
2. wait:  5s
  * plain
 right below
* - -

<!-- comment

   kept··-->
### agents
* reviewer -   the   one
### OUTPUTS
* name:    steps.x.output
* other
## outputs ##
* name···


""".replace("·", " ")
NEAT = """# Messy
Prose with a hard break.··

```yaml
name: Messy
# about retries
retry: {maxAttempts: 3, backoffMs: 10}   # keep me
requirements:
  file: "string"
  # before mode
  mode:
    type: enum
    values: [a, b, "c"]
onComplete:
  - to: team
    on:
      - failed
      - 'it''s "x"'
  - |
      two···
        lines
  -
    a: >
      folded
      text

    # about b
    b: "one
  two"
agents: [
  reviewer, writer
  ]
```

## Phase 1 - First   Look
dependsOn: []
parallel: true
retry:
  maxAttempts: 2
Some prose: here.

```text

  - kept··

```

### Steps
- tool: shell - Run   it
  id: x
  with:
    command: [make, "test"]
    env:
      A: |+
         text


- agent: reviewer - Ask
    them things,

      nothing
  timeout: 5m

- [ ] Plain    text
1. validation: 1 > 0 - Fine
   critical: false

   Prose under the step.
2. wait: 5s
  - plain
 right below
* - -

<!-- comment

   kept··-->

### Agents
- reviewer -   the   one

### Outputs
- name: steps.x.output
- other

## Outputs
- name
""".replace("·", " ")


def step(*lines: str) -> str:
    return "\n".join(["# T", "", "## Phase: A", "", "### Steps", *lines, ""])


def test_what_is_known_is_spaced_and_everything_else_stays() -> None:
    assert format_text(MESSY) == NEAT


def test_formatting_twice_is_formatting_once() -> None:
    assert format_text(NEAT) == NEAT


def test_a_text_with_errors_is_not_formatted_and_says_why() -> None:
    with pytest.raises(InvalidTask) as refused:
        format_text("# T\n## Phase: A\n### Steps\n- tool: nothing\n", file="a.md")
    assert [problem.code for problem in refused.value.diagnostics] == ["unknown-tool"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# T\r\n##  Phase: A\n", "# T\r\n\r\n## Phase: A\r\n"),
        ("# T\n##  Phase: A\r\n", "# T\n\n## Phase: A\n"),
        ("# T\r##  Phase: A\r\n", "# T\n\n## Phase: A\n"),
        ("\ufeff# T", "\ufeff# T\n"),
    ],
)
def test_line_ends_are_those_of_the_first_line_and_a_byte_order_mark_stays(before: str, after: str) -> None:
    assert format_text(before) == after


def test_front_matter_is_formatted_and_a_rule_at_the_top_does_not_become_one() -> None:
    assert format_text("---\nname:  T\n---\n## Phase: A\n") == "---\nname: T\n---\n\n## Phase: A\n"
    ruled = "\n---\nversion:   1\n---\n\n# T\n"
    assert format_text(ruled) == ruled


def test_an_empty_block_of_metadata_stays_empty() -> None:
    assert format_text("# T\n```yaml\n```\n") == "# T\n\n```yaml\n```\n"


def test_a_block_under_a_phase_is_formatted_where_it_stands() -> None:
    text = "# T\n\n## Phase: A\n```yaml\n    if:   1 > 0\n```\n"
    assert format_text(text) == "# T\n\n## Phase: A\n```yaml\nif: 1 > 0\n```\n"


@pytest.mark.parametrize(
    "lines",
    [
        ("- x", "  if: >2", "    1 > 0"),  # how far a text is indented is said by itself
        ("- tool: shell", "  with:", "    command: [ls]", "    ? cwd", "    : ."),
        ("- x", "\tand a tab"),
        ("- x", "lazily"),
        ("- see `a`  ", "  ```", "    code   ", "  ```"),
        ("- validation: 1 >", "  0 - It is"),
        ("- tool: shell", "  with:", "    a:"),
        ("- tool: shell", "  with:", "    a: |", "      b", "    c:"),
        ("  - x", "  id: said to belong to nobody"),
        (" - x", "  - y", "    id: z", "", "  prose that would belong to y at the margin"),
    ],
)
def test_what_cannot_be_moved_safely_stays(lines: tuple[str, ...]) -> None:
    text = step(*lines)
    assert format_text(text) == text.replace("`a`  ", "`a`")


def test_items_go_to_the_margin_with_what_is_under_them() -> None:
    text = step(
        "  * x", "    more", "     id: y", " + z", "   id: u", "", "  ### Outputs", "  * a", "    about a"
    )
    neat = step("- x", "  more", "  id: y", "- z", "  id: u", "", "### Outputs", "- a", "  about a")
    assert format_text(text) == neat


def test_a_list_in_brackets_moves_along_with_its_key() -> None:
    text = step("- tool: shell", "     with:", "          command: [", "            ls", "     ]")
    moved = step("- tool: shell", "  with:", "    command: [", "      ls", "    ]")
    assert format_text(text) == moved


def test_comments_of_a_mapping_stand_beside_what_they_are_about() -> None:
    text = step(
        "- x",
        "    # one",
        "    timeout: 5s # two",
        "      # three",
        "",
        "    # four",
        "    id: y",
        "    # five",
    )
    neat = step(
        "- x", "    # one", "  timeout: 5s # two", "    # three", "", "  # four", "  id: y", "  # five"
    )
    assert format_text(text) == neat


def test_yaml_that_is_none_is_left_to_whoever_reads_it() -> None:
    assert lay_out(["a: [", "  b:   c: d"], 0).lines == ["a: [", "  b:   c: d"]


def test_a_mistake_of_the_formatter_leaves_the_text_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formatting, "_formatted", lambda text, _: text.replace("wait: 5s", "wait: 6s"))
    with pytest.raises(
        TaskmarkError, match=r"would change what a\.md means, at `phases\[0\]\.steps\[0\]\.value`"
    ):
        format_text(step("- wait: 5s"), file="a.md")
    monkeypatch.setattr(formatting, "_formatted", lambda text, _: text.replace("# T", ""))
    with pytest.raises(TaskmarkError, match="at `everything`"):
        format_text(step("- wait: 5s"))


def test_agents_and_other_tasks_of_a_text_are_not_looked_up(tmp_path: Path) -> None:
    text = step("- agent: nobody - Speak", "- task: nothing")
    assert format_text(text, catalog=Catalog.for_folders(tmp_path, tmp_path, tmp_path)) == text


# --- files ----------------------------------------------------------------------------------------


def test_a_file_whose_references_are_wrong_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(step("- task: nothing"))
    with pytest.raises(InvalidTask):
        format_file(path)


def test_a_file_is_written_only_if_something_changes_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_bytes(step("-   x").replace("\n", "\r\n").encode())
    path.chmod(0o640)
    format_file(path).write()
    assert path.read_bytes() == step("- x").replace("\n", "\r\n").encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    number = path.stat().st_ino
    again = format_file(path)
    again.write()
    assert not again.changes
    assert path.stat().st_ino == number


def test_a_file_that_changes_meanwhile_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.md"
    path.write_text(step("-   x"))
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"# Another\n")
    with pytest.raises(TaskmarkError, match="was changed"):
        format_file(path)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.md").write_text("old")
    (tmp_path / "link.md").symlink_to("real.md")
    replace_text(tmp_path / "link.md", "new")
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "real.md").read_text() == "new"


def test_a_file_that_cannot_be_replaced_is_whole_and_nothing_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.md"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_may_not_be_written_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.md"
    path.write_text("old")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PermissionError):
        replace_text(path, "new")
    assert path.read_text() == "old"


# --- this project ---------------------------------------------------------------------------------


def tasks_shown(page: Path) -> list[str]:
    lines, found, row = page.read_text().split("\n"), [], 0
    fences = Fences(lines)
    while row < len(lines):
        fence = fences.at(row)
        if fence is not None and fence.info == "markdown" and lines[fence.start].startswith("# "):
            found.append("\n".join(lines[fence.start : fence.stop]) + "\n")
        row = row + 1 if fence is None else fence.stop + 1
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "tasks").glob("*.md")), ids=lambda path: path.name)
def test_the_tasks_of_this_project_are_formatted(path: Path) -> None:
    assert not format_file(path).changes


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tasks_that_readme_and_docs_show_are_formatted(page: Path) -> None:
    """But for those on the page of mistakes."""
    for text in tasks_shown(page):
        assert format_text(text) == text


def test_readme_and_docs_show_tasks() -> None:
    assert sum(len(tasks_shown(page)) for page in PAGES) >= 4
