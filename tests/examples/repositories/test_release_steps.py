"""Each step of `release`, on real repositories: what it refuses, and that it does nothing twice."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from example_repository import GitRepository
from hypothesis import given
from hypothesis import strategies as st

from tasks.release import plan, publish, worktree
from tasks.release.git import Busy, Refused
from tasks.release.versions import Version, write, written

numbers = st.integers(0, 10**8)


@pytest.fixture
def project(repository: GitRepository, monkeypatch: pytest.MonkeyPatch) -> GitRepository:
    """A project of version 0.9.0 with one commit since its last release, in an execution."""
    monkeypatch.setenv("TASKMARK_EXECUTION_ID", "exec-1")
    monkeypatch.setenv("TASKMARK_IDEMPOTENCY_KEY", "key-1")
    repository.commit("feat: begin", {"VERSION": "0.9.0\n"})
    repository.git("tag", "-m", "v0.9.0", "v0.9.0")
    repository.commit("fix: mend it")
    return repository


def prepared(bump: str = "patch") -> tuple[dict[str, Any], dict[str, str]]:
    made = plan.plan("project", bump)
    return made, worktree.prepare("project", made)


# --- versions -------------------------------------------------------------------------------------


@given(numbers, numbers, numbers, st.sampled_from(["major", "minor", "patch"]))
def test_a_bumped_version_is_the_next_greater_one(major: int, minor: int, patch: int, part: str):
    version = Version(major, minor, patch)
    bumped = version.bumped(part)
    assert bumped > version
    assert sum(1 for name in ("major", "minor", "patch") if getattr(bumped, name)) <= 3
    assert getattr(bumped, part) == getattr(version, part) + 1
    assert Version.parse(str(version)) == version


@pytest.mark.parametrize("text", ["1.2", "1.2.3-rc1", "v1.2.3", "01.2.3", "", "1.2.3\n", "1.2.٣"])
def test_what_is_no_version_of_three_numbers_is_refused(text: str):
    with pytest.raises(Refused, match="no version"):
        Version.parse(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "pyproject.toml",
            '[build-system]\nrequires = []\n\n[project]\nname = "x"\nversion = "1.0.0"  # kept\n',
        ),
        (
            "Cargo.toml",
            "[package]\nname = 'x'\nversion = '1.0.0'\n\n[dependencies]\ny = { version = '1.0.0' }\n",
        ),
        ("package.json", '{\n  "name": "x",\n  "version": "1.0.0",\n  "dependencies": {"y": "1.0.0"}\n}\n'),
        ("VERSION", "1.0.0\n"),
    ],
)
def test_only_the_version_of_a_file_is_changed(root: Path, name: str, text: str):
    (root / name).write_text(text)
    write(root, name, "1.1.0")
    assert (root / name).read_text() == text.replace("1.0.0", "1.1.0", 1)
    assert written(root) == {name: "1.1.0"}


def test_a_version_in_a_place_that_is_not_found_is_refused(root: Path):
    """The first `version` of this file is that of something else."""
    (root / "package.json").write_text('{"engine": {"version": "9.0.0"}, "version": "1.0.0"}')
    with pytest.raises(Refused, match="cannot change"):
        write(root, "package.json", "1.1.0")


# --- the plan -------------------------------------------------------------------------------------


def test_the_plan_says_what_comes_and_changes_nothing(project: GitRepository):
    before = project.state()
    made = plan.plan("project", "minor")
    assert (made["previous"], made["version"], made["branch"]) == ("0.9.0", "0.10.0", "main")
    assert made["summary"] == "project 0.10.0 (before: 0.9.0) with 1 change, none of them breaking"
    assert "### Fixes\n\n- Mend it\n" in made["changelog"]
    assert project.state() == before


def test_without_files_and_tags_the_first_version_follows_zero(repository: GitRepository):
    repository.commit("Begin")
    assert plan.plan("project", "minor")["version"] == "0.1.0"


@pytest.mark.parametrize(
    ("subject", "body", "entry"),
    [
        ("feat(api): add it", "", ("Features", "**api:** Add it")),
        ("fix!: drop it", "", ("Breaking changes", "Drop it")),
        ("fix: drop it", "why\n\nBREAKING CHANGE: gone", ("Breaking changes", "Drop it")),
        ("chore: tidy", "", ("Changes", "Tidy")),
        ("Say it: plainly", "", ("Changes", "Say it: plainly")),
    ],
)
def test_commits_are_sorted_by_their_subjects(subject: str, body: str, entry: tuple[str, str]):
    found = plan.change(subject, body)
    assert (found.section, found.text) == entry


def test_a_changelog_of_thousands_of_commits_is_bounded():
    text = plan.changelog("1.0.0", [plan.Change("Changes", "x" * 200)] * 5000)
    assert "… and 4,800 earlier commits." in text
    assert len(text) < 50_000


def test_what_cannot_be_released_is_refused_with_the_reason(project: GitRepository, root: Path):
    def refused(reason: str, bump: str = "patch") -> None:
        with pytest.raises(Refused, match=reason):
            plan.plan("project", bump)

    project.write({"VERSION": "0.9.1\n"})
    refused("not committed")
    project.git("checkout", "--quiet", "--", ".")
    project.git("tag", "-m", "x", "v0.9.1", "HEAD~1")
    refused("exists already")
    project.git("tag", "--delete", "v0.9.1")
    project.commit("two versions", {"package.json": '{"version": "2.0.0"}'})
    refused("do not agree")
    project.git("switch", "--quiet", "--detach")
    refused("no branch")
    (root / "plain").mkdir()
    for path, reason in {
        "plain": "no git repository",
        "../..": "no folder under",
        "absent": "no folder",
    }.items():
        with pytest.raises(Refused, match=reason):
            plan.plan(path, "patch")


def test_nothing_new_is_nothing_to_release(project: GitRepository):
    project.git("tag", "-m", "x", "v0.9.5")
    with pytest.raises(Refused, match=r"nothing was committed since v0\.9\.5"):
        plan.plan("project", "minor")


# --- the working tree -----------------------------------------------------------------------------


def test_preparing_twice_makes_one_commit_and_leaves_the_repository_alone(project: GitRepository):
    before = project.state()
    made, first = prepared()
    tree = Path(first["folder"])
    (tree / "built").write_text("since")
    assert worktree.prepare("project", made) == first
    assert (tree / "built").exists()
    assert project.state() == before
    assert (tree / "VERSION").read_text() == "0.9.1\n"
    assert project.git("rev-parse", f"{first['commit']}^") == made["head"]


def test_a_working_tree_that_a_crash_left_half_made_is_made_anew(project: GitRepository):
    made = plan.plan("project", "patch")
    tree = worktree.place()
    tree.mkdir(parents=True)
    (tree / "half").write_text("made")
    assert worktree.prepare("project", made)["folder"] == str(tree)
    assert not (tree / "half").exists()


def test_a_working_tree_that_git_still_locks_is_made_anew(project: GitRepository):
    """As a kill in the middle of `git worktree add` leaves it."""
    made, first = prepared()
    tree = Path(first["folder"])
    project.git("worktree", "lock", "--reason", "initializing", str(tree.resolve()))
    shutil.rmtree(tree)
    assert worktree.prepare("project", made)["folder"] == str(tree)
    assert (tree / "VERSION").read_text() == "0.9.1\n"


def test_clean_up_leaves_nothing_and_may_be_repeated(project: GitRepository, root: Path):
    prepared()
    assert worktree.clean_up("project") == {"removed": True}
    assert worktree.clean_up("project") == {"removed": False}
    assert not (root / ".release").exists()
    assert len(project.git("worktree", "list").splitlines()) == 1


def test_a_new_section_stands_above_the_older_ones(root: Path):
    path = root / "CHANGELOG.md"
    worktree.add_to_changelog(path, "## 1.0.0 - today\n\n- One\n")
    worktree.add_to_changelog(path, "## 1.1.0 - today\n\n- Two\n")
    text = path.read_text()
    assert text.startswith("# Changelog\n\n## 1.1.0 - today\n\n- Two\n\n## 1.0.0")
    assert text.endswith("- One\n")


def test_a_build_that_leaves_nothing_is_refused(project: GitRepository):
    made, tree = prepared()
    with pytest.raises(Refused, match="nothing in dist"):
        worktree.artefacts(tree["folder"])
    worktree.archive(tree["folder"], made)
    assert [Path(one["path"]).name for one in worktree.artefacts(tree["folder"])] == ["project-0.9.1.tar.gz"]


# --- publishing -----------------------------------------------------------------------------------


def test_branch_tag_and_upload_are_done_once_however_often_they_are_tried(project: GitRepository, root: Path):
    made, tree = prepared()
    worktree.archive(tree["folder"], made)
    built = worktree.artefacts(tree["folder"])
    done = [
        (
            publish.advance_branch("project", made, tree["commit"])["moved"],
            publish.tag("project", made, tree["commit"])["made"],
            publish.upload(built, made, "registry")["uploaded"],
        )
        for _ in range(3)
    ]
    assert done == [(True, True, True), (False, False, False), (False, False, False)]
    assert project.state() == (tree["commit"], "refs/heads/main", "v0.9.0\nv0.9.1", "")
    index = json.loads((root / "registry" / "index.json").read_text())
    assert index == {"project": {"0.9.1": {"project-0.9.1.tar.gz": built[0]["sha256"]}}}


def test_a_commit_made_meanwhile_is_not_run_over(project: GitRepository):
    made, tree = prepared()
    head = project.commit("meanwhile")
    with pytest.raises(Refused, match="commits that the release does not have"):
        publish.advance_branch("project", made, tree["commit"])
    assert project.git("rev-parse", "HEAD") == head


def test_a_tag_on_another_commit_is_left_where_it_is(project: GitRepository):
    made, tree = prepared()
    project.git("tag", "-m", "mine", "v0.9.1", "HEAD~1")
    with pytest.raises(Refused, match="on another commit"):
        publish.tag("project", made, tree["commit"])


def test_another_git_at_work_is_a_reason_to_try_again(project: GitRepository):
    made, tree = prepared()
    lock = project.folder / ".git" / "index.lock"
    lock.touch()
    with pytest.raises(Busy, match=r"index\.lock"):
        publish.advance_branch("project", made, tree["commit"])
    lock.unlink()
    assert publish.advance_branch("project", made, tree["commit"])["moved"]


def test_an_upload_waits_for_the_registry_s_lock_and_never_replaces(project: GitRepository, root: Path):
    made, tree = prepared()
    worktree.archive(tree["folder"], made)
    built = worktree.artefacts(tree["folder"])
    (root / "registry").mkdir()
    with (root / "registry" / ".lock").open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="somebody else"):
            publish.upload(built, made, "registry")
    publish.upload(built, made, "registry")
    with pytest.raises(Refused, match="other contents"):
        publish.upload([built[0] | {"sha256": "0" * 64}], made, "registry")
    with pytest.raises(Refused, match="changed since"):
        publish.upload([built[0] | {"sha256": "0" * 64}], made | {"version": "0.9.2"}, "registry")


def test_a_registry_that_is_none_is_refused(project: GitRepository, root: Path):
    made, _ = prepared()
    (root / "file").touch()
    (root / "broken").mkdir()
    (root / "broken" / "index.json").write_text("[")
    for registry, reason in {"../x": "outside", "file": "no folder", "broken": "no JSON"}.items():
        with pytest.raises(Refused, match=reason):
            publish.upload([], made, registry)
