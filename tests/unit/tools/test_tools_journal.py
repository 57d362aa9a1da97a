"""What a phase changed is undone to the byte, whatever it was and wherever it was interrupted."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskmark.contracts import journal_of
from taskmark.errors import StepFailed
from taskmark.ports import StepContext, Tool
from taskmark.tools.files import WriteFile
from taskmark.tools.files import replace as replace_file
from taskmark.tools.filing import CopyFile, DeleteFile, EditFile, MoveFile
from taskmark.tools.journal import bring_back, forget

JOURNAL = journal_of("exec-1", "build")
NAMES = ("a.txt", "b.bin", "deep/er/c.txt", "deep/d.txt", "new/e/f.txt", "new/g.txt")


def tree(root: Path) -> dict[str, tuple[Any, ...]]:
    """Returns everything in the root but the engine's own: kind, permissions, time and content."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.startswith(".taskmark"):
            continue
        told = path.lstat()
        kind = stat.S_IFMT(told.st_mode)
        if path.is_symlink():
            found[name] = (kind, os.readlink(path))
        elif path.is_dir():
            found[name] = (kind, stat.S_IMODE(told.st_mode))
        else:
            found[name] = (kind, stat.S_IMODE(told.st_mode), told.st_mtime_ns, path.read_bytes())
    return found


def fill(root: Path) -> None:
    (root / "deep/er").mkdir(parents=True)
    for name, content, mode in (
        ("a.txt", b"first\nsecond\n", 0o644),
        ("b.bin", bytes(range(256)) * 300, 0o600),
        ("deep/er/c.txt", b"", 0o755),
    ):
        (root / name).write_bytes(content)
        (root / name).chmod(mode)
        os.utime(root / name, ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))


@pytest.fixture
def phase(context: StepContext) -> StepContext:
    fill(context.root)
    return replace(context, journal=JOURNAL)


def use(tool: Tool[Any], context: StepContext, **arguments: Any) -> Any:
    return asyncio.run(tool.execute(tool.validate(arguments), context))


_names = st.sampled_from(NAMES)
_changes = st.one_of(
    st.tuples(st.just(WriteFile()), st.fixed_dictionaries({"path": _names, "content": st.text(max_size=20)})),
    st.tuples(
        st.just(WriteFile()),
        st.fixed_dictionaries({"path": _names, "content": st.just("more"), "append": st.just(True)}),
    ),
    st.tuples(
        st.just(EditFile()),
        st.fixed_dictionaries({"path": _names, "find": st.just("first"), "replace": st.just("1.")}),
    ),
    *(
        st.tuples(
            st.just(tool),
            st.fixed_dictionaries({"path": _names, "to": _names, "overwrite": st.booleans()}),
        )
        for tool in (CopyFile(), MoveFile())
    ),
    st.tuples(st.just(DeleteFile()), st.fixed_dictionaries({"path": _names})),
)


@given(changes=st.lists(_changes, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_phase_did_is_undone(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[Tool[Any], dict[str, Any]]]
) -> None:
    """Byte for byte, with permissions and times; nothing is left of the journal."""
    root = tmp_path_factory.mktemp("root")
    fill(root)
    before = tree(root)
    phase = StepContext(root=root, journal=JOURNAL)
    for tool, arguments in changes:
        try:
            use(tool, phase, **arguments)
        except StepFailed:
            continue
    done = bring_back(root, JOURNAL)
    assert tree(root) == before
    assert done.failed == ()
    assert not (root / ".taskmark/rollback").exists()


def test_what_a_phase_that_completed_did_stays(phase: StepContext) -> None:
    use(WriteFile(), phase, path="a.txt", content="new")
    after = tree(phase.root)
    forget(phase.root, JOURNAL)
    assert bring_back(phase.root, JOURNAL) == bring_back(phase.root, "nobody's")
    assert tree(phase.root) == after


def test_it_is_told_what_was_done(phase: StepContext) -> None:
    use(WriteFile(), phase, path="a.txt", content="new")
    use(WriteFile(), phase, path="./a.txt", content="newer")
    use(WriteFile(), phase, path="new/x.txt", content="new")
    done = bring_back(phase.root, JOURNAL)
    assert (done.restored, done.removed) == (("a.txt",), ("new/x.txt",))


def test_without_a_journal_nothing_is_remembered(context: StepContext) -> None:
    use(WriteFile(), context, path="a.txt", content="new")
    assert not (context.root / ".taskmark").exists()


def test_a_link_is_refused_as_before_and_stays(phase: StepContext, tmp_path: Path) -> None:
    (phase.root / "link").symlink_to(tmp_path / "outside")
    before = tree(phase.root)
    for tool, arguments in (
        (WriteFile(), {"path": "link", "content": "x"}),
        (DeleteFile(), {"path": "link"}),
        (CopyFile(), {"path": "a.txt", "to": "link", "overwrite": True}),
    ):
        with pytest.raises(StepFailed, match="link"):
            use(tool, phase, **arguments)
    bring_back(phase.root, JOURNAL)
    assert tree(phase.root) == before


def test_what_somebody_put_into_a_new_directory_stays(phase: StepContext) -> None:
    use(WriteFile(), phase, path="new/x.txt", content="new")
    (phase.root / "new/theirs.txt").write_text("theirs")
    bring_back(phase.root, JOURNAL)
    assert (phase.root / "new/theirs.txt").read_text() == "theirs"
    assert not (phase.root / "new/x.txt").exists()


def test_what_cannot_be_undone_is_told_and_can_be_tried_again(phase: StepContext) -> None:
    before = tree(phase.root)
    use(WriteFile(), phase, path="a.txt", content="new")
    use(WriteFile(), phase, path="b.bin", content="new")
    (phase.root / "a.txt").unlink()
    (phase.root / "a.txt").mkdir()
    done = bring_back(phase.root, JOURNAL)
    assert done.restored == ("b.bin",)
    assert [one.partition(":")[0] for one in done.failed] == ["a.txt"]
    (phase.root / "a.txt").rmdir()
    assert bring_back(phase.root, JOURNAL).failed == ()
    assert tree(phase.root) == before


class Interrupted(BaseException):
    """The process dies here."""


class Dying:
    """Dies at the n-th call of the system that changes something."""

    CALLS = ("open", "link", "rename", "unlink", "fsync", "rmdir", "fchmod", "utime")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.left = at
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._dying(getattr(os, name)))

    def _dying(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self.left == 0:
                raise Interrupted
            self.left -= 1
            return real(*arguments, **options)

        return call


def _at_every_call(act: Callable[[], object], again: Callable[[], object]) -> int:
    """Does something that dies at its first call, at its second, and so on; returns at how many it did."""
    count = 0
    while True:
        with pytest.MonkeyPatch.context() as monkeypatch:
            Dying(monkeypatch, count)
            try:
                act()
                return count
            except Interrupted:
                pass
        again()
        count += 1


def test_undoing_can_be_interrupted_anywhere(tmp_path: Path) -> None:
    """And is finished by whoever tries again."""
    root = tmp_path / "root"
    root.mkdir()
    fill(root)
    before, phase = tree(root), StepContext(root=root, journal=JOURNAL)

    def change() -> None:
        for tool, arguments in (
            (WriteFile(), {"path": "a.txt", "content": "new"}),
            (MoveFile(), {"path": "b.bin", "to": "new/e/b.bin"}),
            (DeleteFile(), {"path": "deep/er/c.txt"}),
        ):
            use(tool, phase, **arguments)

    def again() -> None:
        done = bring_back(root, JOURNAL)
        assert tree(root) == before, done
        change()

    change()
    assert _at_every_call(lambda: bring_back(root, JOURNAL), again) > 10


def test_a_worker_that_dies_while_it_remembers_or_changes_leaves_what_can_be_undone(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    fill(root)
    before, phase = tree(root), StepContext(root=root, journal=JOURNAL)

    def change() -> None:
        for path in ("new/a.txt", "a.txt"):
            replace_file(phase, path, b"new", create_parents=True)

    def again() -> None:
        for draft in root.rglob(".*.tmp"):
            draft.unlink()  # what a killed process leaves beside
        bring_back(root, JOURNAL)
        left = tree(root)
        for name in ("new",):  # a directory may have been made before its file was
            left.pop(name, None)
        assert left == before

    assert _at_every_call(change, again) > 10


def test_the_first_to_remember_wins(phase: StepContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of a phase may change one file side by side."""
    before = tree(phase.root)
    real = os.link

    def late(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(os, "link", real)
        use(WriteFile(), phase, path="a.txt", content="of the other step")
        real(*arguments, **options)

    monkeypatch.setattr(os, "link", late)
    use(WriteFile(), phase, path="a.txt", content="mine")
    bring_back(phase.root, JOURNAL)
    assert tree(phase.root) == before


@pytest.mark.parametrize("link", [".taskmark", ".taskmark/rollback", f".taskmark/rollback/{JOURNAL}"])
def test_a_journal_behind_a_link_is_refused(phase: StepContext, tmp_path: Path, link: str) -> None:
    """A step's program could have put it there, to be written to, or deleted, outside of the root."""
    outside = tmp_path / "outside"
    (outside / "rollback" / JOURNAL).mkdir(parents=True)
    (outside / "rollback" / JOURNAL / "kept.txt").write_text("theirs")
    place = phase.root / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(outside)
    before = sorted(outside.rglob("*"))
    with pytest.raises(StepFailed):
        use(WriteFile(), phase, path="a.txt", content="new")
    assert "cannot be read" in bring_back(phase.root, JOURNAL).failed[0]
    with pytest.raises(NotADirectoryError):
        forget(phase.root, JOURNAL)
    assert sorted(outside.rglob("*")) == before
    assert (phase.root / "a.txt").read_bytes() == b"first\nsecond\n"
