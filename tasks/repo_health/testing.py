"""How a repository is tested: by which frameworks, how much, and whether a machine runs it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tasks.repo_health.area import Area, counted, points
from tasks.repo_health.git import Blob, Deadline, Repository

SECONDS: Final = 45.0
CODE: Final = re.compile(
    r"\.(py|jsx?|tsx?|[mc]js|go|rs|java|kt|rb|php|cs|[ch]|cc|[ch]pp|swift|scala)$", re.IGNORECASE
)
TEST_PATH: Final = re.compile(
    r"(^|/)(tests?|__tests__|specs?|testing)/|(^|/)test_[^/]+$|(_test|_spec|\.test|\.spec)\.\w+$|(^|/)conftest\.py$"
    r"|Tests?\.(java|kt|cs|swift|scala)$"
)
VENDORED: Final = re.compile(r"(^|/)(vendor|third_party|node_modules|dist|build)/|\.min\.js$")
FRAMEWORKS: Final = {
    "pytest": (".py", r"^[ \t]*(?:import|from) pytest\b|^def test_\w+\("),
    "unittest": (".py", r"\bunittest\.(?:TestCase|IsolatedAsyncioTestCase)\b"),
    "hypothesis": (".py", r"^[ \t]*(?:import|from) hypothesis\b"),
    "jest": (".js", r"@jest/globals|\bjest\.(?:fn|mock|spyOn)\("),
    "vitest": (".js", r"from ['\"]vitest['\"]"),
    "node:test": (".js", r"['\"]node:test['\"]"),
    "mocha or alike": (".js", r"^[ \t]*describe\("),
    "go test": (".go", r"^func Test\w*\(\w+ \*testing\.T\)"),
    "cargo test": (".rs", r"^[ \t]*#\[(?:\w+::)?test\]"),
    "JUnit": (".java", r"\borg\.junit\b"),
    "RSpec": (".rb", r"^[ \t]*(?:RSpec\.)?describe\b"),
    "PHPUnit": (".php", r"\bPHPUnit\\"),
}
"""By a sign in files of a language."""
SIGNS: Final = {name: (suffix, re.compile(sign, re.MULTILINE)) for name, (suffix, sign) in FRAMEWORKS.items()}
DIALECTS: Final = dict.fromkeys((".jsx", ".ts", ".tsx", ".mjs", ".cjs"), ".js") | {".kt": ".java"}
ANY_OTHER: Final = {"mocha or alike": {"jest", "vitest", "node:test"}}
"""Signs that others share: they count only where none of those is found."""
RUST_TESTS: Final = re.compile(r"^[ \t]*#\[cfg\(test\)\]", re.MULTILINE)
"""Where the tests begin in a file of Rust that has both: they stand at its end."""
CI: Final = re.compile(
    r"^(\.github/workflows/[^/]+\.ya?ml|\.gitlab-ci\.yml|\.circleci/config\.yml|azure-pipelines\.yml|"
    r"Jenkinsfile|\.travis\.yml|\.ci/.+|\.buildkite/.+|\.forgejo/workflows/.+|\.woodpecker.*)$"
)


def examine(repo: str, commit: str) -> Area:
    """Counts lines of code and of tests, and finds frameworks and continuous integration."""
    repository, deadline = Repository.open(repo, commit), Deadline(SECONDS)
    files = repository.files()
    code = [one for one in files if CODE.search(one.name) and not VENDORED.search(one.path)]
    frameworks: set[str] = set()
    lines = {True: 0, False: 0}
    for blob, text in repository.texts(code, deadline):
        is_test = bool(TEST_PATH.search(blob.path))
        own, tests = ("", text) if is_test else parted(blob, text)
        lines[False] += counted_lines(own)
        lines[True] += counted_lines(tests)
        frameworks |= found_in(blob, tests)
    frameworks -= {name for name, others in ANY_OTHER.items() if others & frameworks}
    ci = any(CI.search(one.path) for one in files)
    ratio = lines[True] / lines[False] if lines[False] else 0.0
    return Area(
        "Tests",
        score(ratio, frameworks, ci) if lines[False] else None,
        summary(ratio, frameworks, ci, lines) if lines[False] else "No source code in a language known here",
        advice(ratio, frameworks, ci) if lines[False] else [],
        cut=deadline.cut,
        facts={
            "ratio": round(ratio, 3),
            "frameworks": sorted(frameworks),
            "ci": ci,
            "test_lines": lines[True],
        },
    )


def parted(blob: Blob, text: str) -> tuple[str, str]:
    """Returns the code of a file, and the tests that stand in it."""
    begin = RUST_TESTS.search(text) if blob.suffix == ".rs" else None
    return (text[: begin.start()], text[begin.start() :]) if begin else (text, "")


def counted_lines(text: str) -> int:
    """Returns how many lines have something in them."""
    return sum(1 for line in text.splitlines() if line.strip())


def found_in(blob: Blob, text: str) -> set[str]:
    """Returns the frameworks that a test file shows signs of."""
    suffix = DIALECTS.get(blob.suffix, blob.suffix)
    return {name for name, (language, sign) in SIGNS.items() if language == suffix and sign.search(text)}


def score(ratio: float, frameworks: set[str], ci: bool) -> int:
    """Sixty points for half as many lines of tests as of code, the rest for a framework and a machine."""
    return points(ratio, none_at=0, all_at=0.5, most=60) + 20 * bool(frameworks) + 20 * ci


def summary(ratio: float, frameworks: set[str], ci: bool, lines: dict[bool, int]) -> str:
    """Returns it in a sentence."""
    by = ", ".join(sorted(frameworks)) or "no framework that is known here"
    return (
        f"{counted(lines[True], 'line')} of tests for {lines[False]:,} of code ({ratio:.2f} per line), "
        f"by {by}; {'a' if ci else 'no'} configuration of continuous integration"
    )


def advice(ratio: float, frameworks: Sequence[str] | set[str], ci: bool) -> list[str]:
    """Returns what to do about it."""
    found = []
    if not frameworks:
        found.append("Begin with one test of the most used path")
    elif ratio < 0.3:
        found.append("There is little test code for so much code: begin where mistakes cost most")
    if not ci:
        found.append("Let a machine run the tests on every push")
    return found
