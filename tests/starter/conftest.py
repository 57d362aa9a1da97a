import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_project import AROUND, EXAMPLE


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project with one task, as the current directory, untouched by the caller's environment."""
    for name in AROUND:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "example.md").write_text(EXAMPLE)
    (tmp_path / "notes.txt").write_text("one\ntwo\n")
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield tmp_path
    for handler in [h for h in root.handlers if h not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
