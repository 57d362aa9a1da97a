"""What was parsed before is not parsed again, unless anything it rests on has changed."""

import threading
from pathlib import Path

import pytest

from taskmark.errors import InvalidTask
from taskmark.task import parse_file, parse_text
from taskmark.task.catalog import Catalog
from taskmark.task.definitions import Definitions

TASK = "# T\n\n## Phase: A\n### Steps\n- agent: critic - Read it\n- task: inner - Do it\n"
INNER = "# Inner\n\n## Phase: A\n### Steps\n- agent: helper - Help\n"
PLAIN = "# T\n\n## Phase: A\n### Steps\n- tool: shell - Do it\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "critic.md").write_text("Be strict.\n")
    (tmp_path / "agents" / "helper.md").write_text("---\nname: Helper\n---\nHelp.\n")
    (tmp_path / "outer.md").write_text(TASK)
    (tmp_path / "inner.md").write_text(INNER)
    return tmp_path


@pytest.fixture
def definitions(root: Path) -> Definitions:
    return Definitions(Catalog.for_folders(root, root, root / "agents"))


def test_the_same_file_is_parsed_once(definitions: Definitions, root: Path) -> None:
    first = definitions.parse_file(root / "outer.md")
    assert definitions.parse_file(root / "outer.md") is first
    assert first == parse_file(root / "outer.md", catalog=Catalog.for_folders(root, root, root / "agents"))


def test_the_same_text_is_parsed_once(definitions: Definitions) -> None:
    first = definitions.parse_text(TASK)
    assert definitions.parse_text(TASK) is first
    assert definitions.parse_text(TASK.replace("\n", "\r\n")) is first
    assert definitions.parse_text(TASK + "\n") is not first


def test_a_text_and_a_file_of_the_same_text_are_different_tasks(definitions: Definitions, root: Path) -> None:
    assert definitions.parse_file(root / "outer.md").id == "outer"
    assert definitions.parse_text(TASK).id == "t"


@pytest.mark.parametrize("name", ["outer.md", "inner.md", "agents/critic.md", "agents/helper.md"])
def test_a_change_of_any_file_it_rests_on_is_seen(definitions: Definitions, root: Path, name: str) -> None:
    first = definitions.parse_file(root / "outer.md")
    path = root / name
    path.write_text(path.read_text() + "\nOne more line.\n")
    changed = definitions.parse_file(root / "outer.md")
    assert changed != first
    assert definitions.parse_file(root / "outer.md") is changed


@pytest.mark.parametrize("name", ["inner.md", "agents/helper.md", "outer.md"])
def test_a_file_that_is_gone_or_broken_is_noticed_and_so_is_its_repair(
    definitions: Definitions, root: Path, name: str
) -> None:
    first = definitions.parse_file(root / "outer.md")
    text = (root / name).read_text()
    (root / name).unlink()
    with pytest.raises(InvalidTask):
        definitions.parse_file(root / "outer.md")
    (root / name).write_text("---\nnot closed")
    with pytest.raises(InvalidTask):
        definitions.parse_file(root / "outer.md")
    (root / name).write_text(text)
    assert definitions.parse_file(root / "outer.md") == first


def test_a_file_that_now_comes_first_is_noticed(definitions: Definitions, root: Path) -> None:
    """A sub-task is looked for beside the file that names it, before the folder of tasks."""
    (root / "deep").mkdir()
    (root / "deep" / "outer.md").write_text(TASK)
    first = definitions.parse_file(root / "deep" / "outer.md")
    (root / "deep" / "inner.md").write_text(INNER.replace("Help", "Nearer"))
    assert definitions.parse_file(root / "deep" / "outer.md") != first


def test_errors_are_told_every_time(definitions: Definitions) -> None:
    for text in (TASK.replace("critic", "nobody"), "", "\udc80" + PLAIN):
        for _ in range(2):
            with pytest.raises(InvalidTask):
                definitions.parse_text(text)


def test_text_that_is_no_unicode_is_not_taken_for_another(definitions: Definitions) -> None:
    definitions.parse_text(PLAIN + "?")
    with pytest.raises(InvalidTask):
        definitions.parse_text(PLAIN + "\udc80")


def test_what_is_remembered_is_bounded_by_the_texts_and_the_oldest_goes_first() -> None:
    definitions = Definitions(Catalog.default(), room=3 * len(PLAIN) + 3)
    texts = [PLAIN + "#" * 1, PLAIN.replace("Do", "Redo")[:-2] + "\n", PLAIN + " "]
    first = definitions.parse_text(texts[0])
    for text in texts[1:]:
        definitions.parse_text(text)
    assert definitions.parse_text(texts[0]) is first
    definitions.parse_text(PLAIN + "  ")
    assert definitions.parse_text(texts[0]) is first
    large = PLAIN + "x" * 1000
    assert definitions.parse_text(large) is not definitions.parse_text(large)


def test_without_look_ups_it_agrees_with_the_parser() -> None:
    assert Definitions(Catalog.default()).parse_text(TASK) == parse_text(TASK)


def test_threads_may_share_it(definitions: Definitions, root: Path) -> None:
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(definitions.parse_file(root / "outer.md")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [found[0]] * 8
