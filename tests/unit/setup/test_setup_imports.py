"""The code that the sandbox imports anew for each workflow is read once, and its modules stay apart."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from starter.imports import Remembering, remember_code

NAME = "workflows.test_only"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a module that is found in the package `workflows` while the test runs."""
    import workflows

    monkeypatch.setattr(workflows, "__path__", [*workflows.__path__, str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [Remembering(), *sys.meta_path])
    yield tmp_path / "test_only.py"
    sys.modules.pop(NAME, None)


def imported_anew() -> ModuleType:
    sys.modules.pop(NAME, None)
    return importlib.import_module(NAME)


def test_each_import_is_a_module_of_its_own_so_that_workflows_stay_apart(module: Path) -> None:
    module.write_text("seen = []\n")
    first, second = imported_anew(), imported_anew()
    first.seen.append(1)
    assert second.seen == []
    assert first.__spec__ is not second.__spec__
    assert first.__file__ == second.__file__ == str(module)


def test_a_file_that_is_replaced_does_not_change_what_a_running_worker_does(module: Path) -> None:
    module.write_text("version = 1\n")
    assert imported_anew().version == 1
    module.write_text("version = 22\n")
    assert imported_anew().version == 1


def test_a_module_that_is_not_there_is_missing_as_everywhere(module: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=NAME):
        imported_anew()


def test_modules_of_others_are_left_alone() -> None:
    assert Remembering().find_spec("json", None) is None


def test_to_ask_twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if not isinstance(f, Remembering)])
    remember_code()
    before = list(sys.meta_path)
    remember_code()
    assert sys.meta_path == before
