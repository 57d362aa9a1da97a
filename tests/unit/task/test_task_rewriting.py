"""A changed text goes back into its file whole or not at all."""

from pathlib import Path

import pytest

from taskmark.task.rewriting import rewrite


def test_a_link_goes_on_leading_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("old\r\n", newline="")
    (tmp_path / "link.md").symlink_to(tmp_path / "a.md")
    assert rewrite(tmp_path / "link.md", "old\r\n", "new\r\n")
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "a.md").read_bytes() == b"new\r\n"


def test_a_file_that_was_changed_in_the_meantime_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("newer")
    assert not rewrite(tmp_path / "a.md", "old", "new")
    assert (tmp_path / "a.md").read_text() == "newer"


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    (tmp_path / "a.md").write_text("old")
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        rewrite(tmp_path / "a.md", "old", "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
