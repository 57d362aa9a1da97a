"""What each area of `repo-health` finds, on real repositories, some of them hostile."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from example_repository import GitRepository

from tasks.repo_health import dependencies, history, links, report, secrets, size, testing, todos
from tasks.repo_health.area import Area
from tasks.repo_health.git import Blob, Deadline, NotARepository, Repository, shown

LETTERS = "q7Zp2LxV9bKr4TnW8sYd3MfH6jQc5GvB1uRe0NaX"


def places(area: Area) -> list[str]:
    return [row[0] for row in area.rows]


# --- repositories and git -------------------------------------------------------------------------


def test_a_folder_without_a_repository_or_without_a_commit_is_refused(repository: GitRepository, root: Path):
    with pytest.raises(NotARepository, match="no git repository with a commit"):
        Repository.open("project")
    with pytest.raises(NotARepository, match="no folder"):
        Repository.open("nothing")
    (root / "plain").mkdir()
    with pytest.raises(NotARepository, match="no git repository"):
        Repository.open("plain")


def test_a_repository_outside_of_the_root_is_refused_also_through_a_link(root: Path):
    GitRepository(root.parent / "outside").commit("one", {"a": "1"})
    (root / "link").symlink_to(root.parent / "outside")
    for path in ("../outside", "link", str(root.parent / "outside")):
        with pytest.raises(NotARepository, match="outside of the root"):
            Repository.open(path)


def test_a_repository_whose_history_is_outside_of_the_root_is_refused(root: Path):
    GitRepository(root.parent / "outside").commit("one", {"a": "1"})
    (root / "here").mkdir()
    (root / "here" / ".git").write_text(f"gitdir: {root.parent}/outside/.git\n")
    with pytest.raises(NotARepository, match="history outside"):
        Repository.open("here")


def test_nothing_that_the_repository_configures_is_run(repository: GitRepository, root: Path):
    """Pagers, monitors, filters, hooks and converters that a hostile repository brings stay unused."""
    script = root / "trap.sh"
    script.write_text(f"#!/bin/sh\ntouch {root}/trapped\ncat\n")
    script.chmod(0o755)
    repository.commit("one", {"a.py": "# TODO: now\n", ".gitattributes": "* diff=trap filter=trap\n"})
    for name in ("core.pager", "core.fsmonitor", "diff.external", "diff.trap.textconv", "filter.trap.clean",
                 "filter.trap.smudge", "core.sshCommand", "gpg.program"):  # fmt: skip
        repository.git("config", name, str(script))
    repository.git("config", "log.showSignature", "true")
    (root / "trapped").unlink(missing_ok=True)
    commit = Repository.open("project").commit
    for examine in (history, testing, dependencies, secrets, todos, links):
        examine.examine("project", commit)
    size.examine("project", commit, 1)
    assert not (root / "trapped").exists()


def test_odd_names_links_and_binaries_are_no_obstacle(repository: GitRepository, root: Path):
    (root / "password").write_text("outside")
    odd = os.fsdecode(b"bad\xff\nname.py")
    repository.write({"line\nbreak.py": "# TODO: odd\n", "data.bin": b"\0" * 100, odd: "# FIXME: odder\n"})
    (repository.folder / "escape.py").symlink_to(root / "password")
    commit = repository.commit("odd")
    area = todos.examine("project", commit)
    assert places(area) == ["bad\\udcff\\nname.py:1", "line\\nbreak.py:1"]
    assert [row[1] for row in area.rows] == ["less than a day"] * 2
    assert "escape.py" not in [blob.path for blob in Repository.open("project").files()]
    rendered = report.render(report.describe("project"), {"todos": json.loads(json.dumps(vars(area)))}, None)
    assert "line\\\\nbreak.py:1" in rendered["markdown"]


def test_a_commit_made_meanwhile_changes_nothing(repository: GitRepository):
    first = repository.commit("one", {"a.md": "[gone](gone.md)\n"})
    repository.commit("two", {"a.md": "fine\n"})
    assert links.examine("project", first).facts["broken"] == 1
    assert links.examine("project", "HEAD").facts["broken"] == 0


def test_a_look_that_has_no_time_left_says_so(repository: GitRepository):
    repository.commit("one", {"a": "text", "b": "text"})
    opened, deadline = Repository.open("project"), Deadline(0.0)
    assert list(opened.texts(opened.files(), deadline)) == []
    assert deadline.cut


def test_texts_are_shown_on_one_line_and_bounded():
    assert shown("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert len(shown("x" * 1000)) == 120


# --- history --------------------------------------------------------------------------------------


def test_history_counts_people_and_old_branches(repository: GitRepository):
    repository.commit("old", {"a": "1"}, date="2019-01-01T00:00:00Z")
    repository.git("branch", "forgotten")
    for author in ("Bo", "Bo", "Bo", "Cy", "robot[bot]", "robot[bot]", "robot[bot]", "robot[bot]"):
        mail = f"{author.lower()}@example.org"
        repository.git("commit", "--quiet", "--allow-empty", "-m", "x", f"--author={author} <{mail}>")
    area = history.examine("project", "HEAD")
    assert area.facts["commits"] == 9
    assert area.facts["bus_factor"] == 1
    assert [row[:2] for row in area.rows] == [("forgotten", "2019-01-01")]
    assert any("review" in line for line in area.advice)


@pytest.mark.parametrize("count", [4_000, pytest.param(60_000, marks=pytest.mark.soak)])
def test_a_long_history_is_read_in_bounded_time(repository: GitRepository, count: int):
    """The history is made with `git fast-import`, as an import from elsewhere would make it."""
    lines = []
    for number in range(count):
        who = f"P{number % 40} <p{number % 40}@example.org> {1_500_000_000 + number * 5000} +0000"
        lines.append(f"commit refs/heads/main\ncommitter {who}\ndata 1\nx\n")
    command = ["git", "-C", str(repository.folder), "fast-import", "--quiet"]
    subprocess.run(command, input="".join(lines).encode(), check=True, timeout=60)
    began = time.monotonic()
    area = history.examine("project", "HEAD")
    assert time.monotonic() - began < 30
    assert area.facts["commits"] == count
    assert area.facts["bus_factor"] == (17 if count == 4_000 else 20)  # of the newest hundred, or of a year


def test_branches_that_are_kept_on_purpose_are_not_stale(repository: GitRepository):
    """Pages and the lines of older versions are to be neither merged nor deleted."""
    repository.commit("old", {"a": "1"}, date="2019-01-01T00:00:00Z")
    for name in ("gh-pages", "release/2.x", "v1.6.x", "2.0", "stable-3", "fix-319", "version-func"):
        repository.git("branch", name)
    repository.commit("new", {"a": "2"})
    assert places(history.examine("project", "HEAD")) == ["fix-319", "version-func"]


def test_few_commits_of_a_year_say_little_about_who_works_on_it(repository: GitRepository):
    """Then the newest hundred say it, however old they are."""
    for number in range(6):
        who = f"--author=P{number % 3} <p{number % 3}@example.org>"
        repository.git("commit", "--quiet", "--allow-empty", "-m", "x", who, "--date=2019-01-01T00:00:00Z")
    repository.git("commit", "--quiet", "--allow-empty", "-m", "x", "--author=Last <last@example.org>")
    area = history.examine("project", "HEAD")
    assert area.facts["bus_factor"] == 2
    assert "half of the newest 7 commits" in area.summary


# --- tests, dependencies, size --------------------------------------------------------------------


def test_tests_are_measured_against_code(repository: GitRepository):
    repository.commit(
        "one",
        {
            "src/a.py": "x = 1\n" * 10,
            "tests/test_a.py": "import pytest\n" * 5,
            "web/a.test.ts": "import { it } from 'vitest'\n",
            ".github/workflows/ci.yml": "on: push\n",
        },
    )
    area = testing.examine("project", "HEAD")
    assert area.facts["frameworks"] == ["pytest", "vitest"]
    assert (area.facts["ratio"], area.facts["ci"], area.score) == (0.6, True, 100)


def test_tests_within_a_file_of_rust_count_as_tests(repository: GitRepository):
    code, tests = "fn one() {}\n" * 4, "#[cfg(test)]\nmod tests {\n    #[test]\n    fn two() {}\n}\n"
    repository.commit("one", {"src/lib.rs": code + "\n" + tests})
    area = testing.examine("project", "HEAD")
    assert (area.facts["test_lines"], area.facts["ratio"]) == (5, 1.25)
    assert area.facts["frameworks"] == ["cargo test"]


def test_a_framework_is_not_taken_for_another_that_reads_alike(repository: GitRepository):
    text = "import test from 'node:test';\ndescribe('x', () => {});\n"
    repository.commit("one", {"a.js": "x\n", "tests/a.test.js": text})
    assert testing.examine("project", "HEAD").facts["frameworks"] == ["node:test"]


def test_a_repository_without_code_has_no_score_for_tests(repository: GitRepository):
    repository.commit("one", {"README": "words"})
    assert testing.examine("project", "HEAD").score is None


def test_dependencies_of_four_languages_are_read(repository: GitRepository):
    repository.commit(
        "one",
        {
            "pyproject.toml": "[project]\ndependencies = ['pydantic[email]>=2 ; extra', 'nowhere-known']\n",
            "requirements-dev.txt": "-r other.txt\npytest==8.0 --hash=sha256:00\n# no\nhttps://example.org/x.whl\n",
            "package.json": '{"dependencies": {"left": "^1.0.0"}, "devDependencies": {"right": "*"}}',
            "package-lock.json": '{"packages": {"": {}, "node_modules/left": {"license": "GPL-3.0"}}}',
            "go.mod": "module x\n\nrequire (\n\tgolang.org/x/text v0.3.0\n)\n",
            "Cargo.toml": '[dependencies]\nserde = { version = "1" }\n',
        },
    )
    area = dependencies.examine("project", "HEAD")
    rows = {row[0]: row[1:3] for row in area.rows}
    assert rows == {
        "pydantic": (">=2", "MIT"),
        "nowhere-known": ("any", "unknown"),
        "pytest": ("==8.0", "MIT"),
        "left": ("^1.0.0", "GPL-3.0"),
        "right": ("*", "unknown"),
        "golang.org/x/text": ("v0.3.0", "unknown"),
        "serde": ("1", "unknown"),
    }
    assert [line.split()[0] for line in area.advice] == ["Add", "Check"]


def test_what_is_needed_to_run_comes_before_what_developers_need(repository: GitRepository):
    repository.commit(
        "one",
        {
            "pyproject.toml": "[project]\ndependencies = ['z-runs']\n"
            "[project.optional-dependencies]\nfast = ['y-optional']\ntests = ['c-tests']\n"
            "[dependency-groups]\nwhatever = ['b-group']\n",
            "package.json": '{"devDependencies": {"a-dev": "1"}, "dependencies": {"x-node": "1"}}',
            "requirements/docs.txt": "d-docs==1\n",
        },
    )
    rows = [(row[0], row[3]) for row in dependencies.examine("project", "HEAD").rows]
    assert [name for name, needed in rows if needed == "run"] == ["x-node", "y-optional", "z-runs"]
    assert [name for name, _ in rows[3:]] == ["a-dev", "b-group", "c-tests", "d-docs"]


MIT = "Permission is hereby granted, free of charge, to any person"
APACHE = "Apache License\n     Version 2.0, January 2004"


@pytest.mark.parametrize(
    ("files", "summary", "advice"),
    [
        ({"LICENSE": MIT, "package.json": '{"license": "MIT"}'}, "under MIT by package.json", []),
        ({"LICENSE": MIT, "go.mod": "module x\n"}, "under MIT", []),
        (
            {
                "LICENSE-MIT": MIT,
                "LICENSE-APACHE": APACHE,
                "Cargo.toml": "[package]\nlicense='MIT OR Apache-2.0'",
            },
            "under MIT OR Apache-2.0 by Cargo.toml",
            [],
        ),
        ({"COPYING": "All mine."}, "under a licence of its own", []),
        ({"LICENSE": MIT, "package.json": "{}"}, "under MIT", ["Name the licence in package.json"]),
        ({"LICENSE": MIT, "package.json": '{"private": true}'}, "under MIT", []),
        ({"LICENSE": MIT, "pyproject.toml": "[tool.ruff]\n"}, "under MIT", []),
        (
            {
                "LICENSE": MIT,
                "pyproject.toml": "[project]\nclassifiers=['License :: OSI Approved :: MIT License']",
            },
            "under MIT License by pyproject.toml",
            [],
        ),
        (
            {"LICENSE": MIT, "pyproject.toml": "[project]\nlicense={text='Apache-2.0'}"},
            "under Apache-2.0 by pyproject.toml",
            ["LICENSE reads like MIT, but pyproject.toml says Apache-2.0"],
        ),
        (
            {"pyproject.toml": "[project]\nlicense='Apache-2.0'"},
            "no licence file",
            ["Add the text of the licence: pyproject.toml names Apache-2.0"],
        ),
        ({"a": "1"}, "no licence file", ["Add a LICENSE file"]),
    ],
)
def test_the_licence_is_named_and_compared_with_the_manifest(
    repository: GitRepository, files: dict[str, str], summary: str, advice: list[str]
):
    repository.commit("one", files)
    area = dependencies.examine("project", "HEAD")
    assert area.summary.startswith(f"{summary};")
    assert [line[: len(start)] for line, start in zip(area.advice, advice, strict=True)] == advice


def test_a_manifest_that_is_none_is_named_and_hides_nothing(repository: GitRepository):
    repository.commit(
        "one", {"pyproject.toml": "= no", "package.json": "[" * 100_000, "requirements.txt": "pytest\n"}
    )
    area = dependencies.examine("project", "HEAD")
    assert area.facts["unreadable"] == ["package.json", "pyproject.toml"]
    assert places(area) == ["pytest"]


def test_large_and_generated_files_are_named(repository: GitRepository):
    repository.commit(
        "one", {"big.dat": b"\1" * 2_500_000, "pkg/__pycache__/a.cpython-311.pyc": b"\0", "a": "1"}
    )
    area = size.examine("project", "HEAD", 2)
    assert places(area) == ["big.dat", "pkg/__pycache__/a.cpython-311.pyc"]
    assert (area.score, area.facts["files"]) == (80, 3)


# --- secrets --------------------------------------------------------------------------------------

REAL = {
    "aws": "AKIA" + "Q7ZP2LXVBK" + "R4TNWS",
    "github": "ghp_" + LETTERS[:36],
    "stripe": "sk_" + "live_" + LETTERS[:24],
    "assigned": 'api_key = "' + LETTERS[:32] + '"',
    "address": "postgres://app:" + LETTERS[:14] + "@db.internal/app",
    "key": "-----BEGIN " + "RSA PRIVATE KEY-----\n" + LETTERS + LETTERS + "\n",
}
HARMLESS = (
    'api_key = "YOUR_API_KEY_HERE_PLEASE"',
    'password = "correct-horse-battery-staple"',
    'token: "${GITHUB_TOKEN_1234567890}"',
    'secret = "{{ inputs.secret_123456789 }}"',
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "x" * 36,
    "redis://user:password@db.internal:6379",
    "postgresql://postgres:postgres@db.internal/x",
    "mysql://app:" + LETTERS[:14] + "@localhost/x",
    "prefixed_ghp_" + LETTERS[:36],
    'if line.startswith("-----BEGIN RSA PRIVATE KEY-----"):',
    '"integrity": "sha512-' + LETTERS + '"',
    'secret_name = "projects/app/config.production.v2"',
    'auth_function = "tasks.investment_committee.market:describe"',
)


@pytest.mark.parametrize("kind", REAL)
def test_a_secret_is_found_and_never_shown(repository: GitRepository, kind: str):
    repository.commit("one", {"config.txt": f"first\n{REAL[kind]}\n"})
    area = secrets.examine("project", "HEAD")
    assert places(area) == ["config.txt:2"]
    assert LETTERS[:8] not in json.dumps(vars(area))
    assert REAL["aws"][4:] not in json.dumps(vars(area))


@pytest.mark.parametrize("line", HARMLESS)
def test_what_is_no_secret_is_not_taken_for_one(line: str):
    assert list(secrets.scan(Blob("a.py", "0", 1), line)) == []


def test_untracked_files_ignored_paths_and_marked_lines_are_left_out(repository: GitRepository):
    marked = REAL["assigned"] + "  # pragma: allowlist secret\n"
    repository.commit("one", {"tests/deep/key.pem": REAL["key"], "marked.py": marked})
    repository.write({".env": REAL["assigned"]})
    assert secrets.examine("project", "HEAD", ["tests/*"]).facts["found"] == 0
    assert places(secrets.examine("project", "HEAD")) == ["tests/deep/key.pem:1"]


def test_hostile_text_is_scanned_in_bounded_time():
    """No pattern backtracks without end."""
    began = time.monotonic()
    for unit in (
        "a" * 1000,
        "-----BEGIN RSA PRIVATE KEY-----\n\n\n",
        "x-a: b ",
        "secret=" + " " * 50,
        "\n",
        "a://a:",
    ):
        list(secrets.scan(Blob("a.py", "0", 1), unit * (500_000 // len(unit))))
    assert time.monotonic() - began < 30


# --- to-dos and links -----------------------------------------------------------------------------


def test_todos_have_the_age_that_git_tells(repository: GitRepository):
    repository.commit("old", {"a.py": "# TODO: first\n"}, date="2020-01-01T00:00:00Z")
    repository.commit("new", {"a.py": "# TODO: first\nx = 'TODO not this'\n// FIXME second\ntodo()\n"})
    area = todos.examine("project", "HEAD")
    assert places(area) == ["a.py:1", "a.py:3"]
    assert area.facts["older_than_a_year"] == 1
    assert area.rows[0][1].endswith("years")


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ('write("# TODO: now")', False),
        ("x = '// FIXME it'", False),
        ("const x = `# TODO`", False),
        ('x = "a"  # TODO: now', True),
        ("it isn't done  # TODO: now", True),
        ("fn f<'a>(x: &'a str) // TODO", True),
        ("char c = '\"'; // TODO: now", True),
        ('# TODO: "quoted" things', True),
    ],
)
def test_a_to_do_that_a_program_writes_is_none(line: str, is_one: bool):
    assert bool(list(todos.marks("a.py", line))) == is_one


def test_a_broken_anchor_is_readable_and_the_nearest_heading_is_named(repository: GitRepository):
    """As in a table of contents that keeps the comma which the heading's anchor drops."""
    link = "#%E9%80%89%E9%A1%B9%EF%BC%8C%E9%80%89%E9%A1%B9-harmony"
    repository.commit("one", {"a.md": f"[x]({link})\n\n# 选项，选项 harmony\n"})
    (row,) = links.examine("project", "HEAD").rows
    assert row[1:] == ("#选项，选项-harmony", "no such heading; #选项选项-harmony is")


def test_links_and_anchors_are_checked(repository: GitRepository):
    readme = """# Top & Bottom
[good](docs/a.md#the-same-1) [up](../../issues) [folder](docs) [self](#top--bottom) [abs](/docs/a.md)
[gone](docs/gone.md) [no heading](docs/a.md#nope) [code](src/a.py#L10) <img src="gone.png">
[web](https://www.python.org/x) [near](http://localhost:1) [template]({{ url }}) `[not](a-link)`
"""
    repository.commit(
        "one",
        {
            "README.md": readme,
            "docs/a.md": "## The same\n\n## The `same`\n\n<a id='x'></a>\n",
            "src/a.py": "x\n",
        },
    )
    area = links.examine("project", "HEAD")
    assert [(row[1], row[2]) for row in area.rows] == [
        ("docs/gone.md", "no such file"),
        ("docs/a.md#nope", "no such heading"),
        ("gone.png", "no such file"),
    ]
    assert {row[0] for row in area.rows} == {"README.md:3"}
    assert area.facts["urls"] == ["https://www.python.org/x"]


# --- the report -----------------------------------------------------------------------------------


def about(**changes: object) -> dict[str, object]:
    return {"name": "x", "commit": "0" * 40, "date": "2026-01-01", "shallow": False} | changes


def test_a_report_with_nothing_in_it_says_so():
    rendered = report.render(about(shallow=True), {}, None)
    assert rendered["score"] is None
    assert "No score" in rendered["markdown"]
    assert "shallow" in rendered["markdown"]
    assert len(rendered["missing"]) == 7


def test_what_a_repository_says_stays_text_in_the_report():
    area = vars(Area("Size", 50, "a|b <img src=x> [c](d) `e`", ["*f*"], ("g",), [("h|i",)]))
    markdown = report.render(about(name="<b>"), {"size": area}, None)["markdown"]
    assert "a\\|b &lt;img src=x&gt; \\[c\\](d) \\`e\\`" in markdown
    assert "| h\\|i |" in markdown


def test_the_report_begins_with_what_to_do_first():
    """The first advice of the worst areas, the worst one first."""
    names = {"history": 90, "size": None, "todos": 20, "links": 50, "tests": 70}
    areas = {name: vars(Area(name, score, "s", [f"mend {name}", "more"])) for name, score in names.items()}
    markdown = report.render(about(), areas, None)["markdown"]
    assert (
        "What to do first:\n\n- todos: mend todos.\n- links: mend links.\n- tests: mend tests.\n\n#"
        in markdown
    )


def test_dead_links_are_those_that_are_gone_or_silent():
    facts = {"urls": ["https://a", "https://b", "https://c", "https://d"], "addresses": 300}
    answers = [{"status": 200}, {"status": 404}, {"status": 403}, {"status": 0}]
    area = vars(Area("Links", 100, "s", facts=facts))
    rendered = report.render(about(), {"links": area}, answers)
    assert rendered["dead_links"] == 2
    assert "| https://b | status 404 |" in rendered["markdown"]
    assert "| https://d | no answer |" in rendered["markdown"]
    assert "4 of 300 addresses of the web were asked for." in rendered["markdown"]


def test_a_machine_without_the_web_calls_no_link_dead():
    area = vars(Area("Links", 100, "s", facts={"urls": ["https://a", "https://b"], "addresses": 2}))
    rendered = report.render(about(), {"links": area}, [{"status": 0}, None])
    assert rendered["dead_links"] == 0
    assert "None answered: this machine may not reach the web" in rendered["markdown"]
