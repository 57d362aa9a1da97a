"""What a program can see in a change: each rule yields findings with file and line."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tasks.code_review.diff import Change, Line
from tasks.code_review.source import Source, sources, suffix

LONG_FUNCTION: Final = 60
"""Lines of a new function above which it is long."""
LONG_LINE: Final = 160
"""Characters."""


class Finding(NamedTuple):
    """Something to look at."""

    file: str
    line: int
    severity: str
    """`high`, `medium` or `low`."""
    message: str


class Sign(NamedTuple):
    """A pattern in a new line, and what it means."""

    pattern: re.Pattern[str]
    severity: str
    message: str
    suffixes: tuple[str, ...] = ()
    """Of the files in which it means that; none: of all."""


PYTHON: Final = (".py",)
SCRIPT: Final = (".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs")


def _sign(pattern: str, severity: str, message: str, suffixes: tuple[str, ...] = ()) -> Sign:
    return Sign(re.compile(pattern), severity, message, suffixes)


def _found(change: Change, line: Line, severity: str, message: str) -> Finding:
    return Finding(change.path, line.number, severity, message)


def _signs(change: Change, signs: Sequence[Sign]) -> Iterator[Finding]:
    """Yields where new code has one of the signs; texts in quotes and comments are no code."""
    here = [sign for sign in signs if not sign.suffixes or suffix(change) in sign.suffixes]
    for source in _new(change):
        for sign in here:
            if sign.pattern.search(source.code):
                yield _found(change, source.line, sign.severity, sign.message)


def _new(change: Change) -> Iterator[Source]:
    return (source for hunk in sources(change) for source in hunk if source.line.kind == "+")


def _is_program(change: Change) -> bool:
    return change.is_code or change.is_test or suffix(change) in (".sh", ".bash")


# --- correctness ----------------------------------------------------------------------------------

CONFLICT: Final = re.compile(r"^(<{7}|>{7})( |$)")
MISTAKES: Final = (
    _sign(
        r"^\s*except\s*:",
        "medium",
        "A bare `except:` also catches KeyboardInterrupt and SystemExit: name what you expect",
        PYTHON,
    ),
    _sign(
        r"^\s*(async\s+)?def\s+\w+\(.*=\s*(\[\]|\{\}|set\(\)|list\(\)|dict\(\))",
        "medium",
        "A mutable default is shared by all calls: use None and make it inside",
        PYTHON,
    ),
    _sign(
        r"\bis\s+(not\s+)?(\d|\"\"|'')",
        "medium",
        "`is` compares identity, and a literal's is chance: use `==`",
        PYTHON,
    ),
    _sign(
        r"^\s*assert\s*\([^()]*,[^()]*\)\s*$",
        "high",
        "This asserts a tuple, which is always true: leave out the brackets",
        PYTHON,
    ),
    _sign(r"[=!]=\s*None\b", "low", "Compare with None by `is`", PYTHON),
    _sign(
        r"\b(breakpoint|(i?pdb|pudb)\.set_trace)\(",
        "high",
        "A breakpoint stops the program here",
        PYTHON,
    ),
    _sign(r"^\s*debugger\s*;?\s*$", "high", "A breakpoint stops the program here", SCRIPT),
    _sign(
        r"\bcatch\s*(\([^)]*\))?\s*\{\s*\}", "medium", "Whatever goes wrong here, nobody learns of it", SCRIPT
    ),
    _sign(r"[^=!<>]==(?!=|\s*null\b)", "low", "`==` converts before it compares: use `===`", SCRIPT),
)
HANDLER: Final = re.compile(r"^\s*except\b[^:]*:\s*(pass)?\s*$")


def correctness(changes: Sequence[Change]) -> Iterator[Finding]:
    """Yields what is probably a mistake."""
    for change in changes:
        for line in change.lines("+"):
            if CONFLICT.match(line.text):
                yield _found(change, line, "high", "A merge conflict was not resolved")
        if _is_program(change):
            yield from _signs(change, MISTAKES)
        if suffix(change) == ".py":
            yield from _swallowed(change)


def _swallowed(change: Change) -> Iterator[Finding]:
    """Yields handlers that do nothing."""
    for hunk in sources(change):
        for at, source in enumerate(hunk):
            head = HANDLER.match(source.code)
            after = hunk[at + 1 : at + 2] if head and not head[1] else []
            passes = head and (head[1] or any(one.code.strip() == "pass" for one in after))
            if passes and any(one.line.kind == "+" for one in (source, *after)):
                yield _found(change, source.line, "medium", "Whatever goes wrong here, nobody learns of it")


# --- security -------------------------------------------------------------------------------------

ISSUED: Final = re.compile(
    r"(?<![A-Za-z0-9])(A(?:KIA|SIA)[A-Z2-7]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{36}"
    r"|glpat-[A-Za-z0-9_-]{20}|xox[abprs]-[0-9A-Za-z]{8,}-[0-9A-Za-z-]{10,}|[sr]k_live_[0-9A-Za-z]{20,}"
    r"|AIza[0-9A-Za-z_-]{35}|npm_[A-Za-z0-9]{36}|sk-ant-[A-Za-z0-9_-]{40,}|SG\.[\w-]{22}\.[\w-]{43})"
)
"""Forms that issuers of keys gave them, so that they can be found."""
PRIVATE_KEY: Final = re.compile(r"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----\s*$")
ASSIGNED: Final = re.compile(
    r"(?i)(?:api_?key|secret|token|passwd|password|credential)[a-z0-9_-]{0,20}[\"']?\s{0,4}(?::=|=>|[:=])\s{0,4}"
    r"[\"'](?P<secret>[^\s\"'$<>{}()\[\]]{12,200})[\"']"
)
PLACEHOLDER: Final = re.compile(
    r"(?i)example|sample|change_?me|placeholder|dummy|fake|your[-_]|test|xxx|\.\.\.|\*\*\*"
)
ENOUGH_ENTROPY: Final = 3.3
"""Bits per character: above words and identifiers, below what a generator makes."""
SQL: Final = re.compile(
    r"\.execute(?:many|script)?\(\s*(?:[fF][\"']|(?P<quote>[\"']).*(?P=quote)\s*(?:%|\+|\.format\b))"
)
DANGERS: Final = (
    _sign(r"(?<![\w.])(eval|exec)\(", "high", "It runs whatever text it is given as a program"),
    _sign(r"\bnew Function\(", "high", "It runs whatever text it is given as a program", SCRIPT),
    _sign(
        r"\bshell\s*=\s*True\b",
        "high",
        "A shell reads this command: give a list of arguments instead",
        PYTHON,
    ),
    _sign(
        r"\bos\.(system|popen)\(", "medium", "A shell reads this command: use subprocess with a list", PYTHON
    ),
    _sign(
        r"\bverify\s*=\s*False\b|\bcheck_hostname\s*=\s*False\b|_create_unverified_context\b"
        r"|\brejectUnauthorized\s*:\s*false\b|\bInsecureSkipVerify\s*:\s*true\b",
        "high",
        "Certificates are not checked: anybody between can read and change what is sent",
    ),
    _sign(
        r"\b(pickle|marshal|dill|shelve)\.(loads?|open)\(",
        "medium",
        "Loading this runs what is in it: never with data from outside",
        PYTHON,
    ),
    _sign(
        r"\byaml\.load\((?!.*Safe)",
        "medium",
        "This can make any object that the text asks for: use safe_load",
        PYTHON,
    ),
    _sign(r"\b(md5|sha1)\(", "low", "No hash to rely on where somebody could gain by a collision"),
    _sign(r"\btempfile\.mktemp\(", "medium", "Somebody else may make this file first: use mkstemp", PYTHON),
    _sign(
        r"\.(innerHTML|outerHTML)\s*\+?=|\bdangerouslySetInnerHTML\b|\bdocument\.write\(",
        "medium",
        "Text becomes HTML here: what users wrote becomes script",
        SCRIPT,
    ),
    _sign(r"\b0o777\b|\bchmod\s+(-R\s+)?0?777\b", "medium", "Everybody on the machine may change this"),
    _sign(
        r"\bdebug\s*=\s*True\b", "low", "Debugging is switched on: never where strangers can reach it", PYTHON
    ),
    _sign(r"\b(curl|wget)\b[^|]*\|\s*(sudo\s+)?(ba)?sh\b", "medium", "It runs whatever that address answers"),
)


def security(changes: Sequence[Change]) -> Iterator[Finding]:
    """Yields what somebody could abuse. No secret is in a message. Tests put together SQL of their own."""
    for change in changes:
        for line in change.lines("+"):
            if (what := _secret(line.text, is_test=change.is_test)) is not None:
                yield _found(
                    change, line, "high", f"{what} is in the code: revoke it, and read it from outside"
                )
        if _is_program(change):
            yield from _signs(change, DANGERS)
        if _is_program(change) and not change.is_test:
            for source in _new(change):
                if ".execute" in source.code and SQL.search(source.line.text):
                    message = "SQL is put together from text: pass values as parameters"
                    yield _found(change, source.line, "high", message)


def _secret(text: str, *, is_test: bool) -> str | None:
    """Returns what kind of secret a line seems to hold. A password in a test is most often one of its own."""
    if ISSUED.search(text):
        return "A key in its issuer's form"
    if PRIVATE_KEY.search(text):
        return "A private key"
    found = None if is_test else ASSIGNED.search(text)
    if found and not PLACEHOLDER.search(found["secret"]) and _entropy(found["secret"]) >= ENOUGH_ENTROPY:
        return "What looks like a password or key"
    return None


def _entropy(value: str) -> float:
    """Returns the bits per character that the frequencies of the characters make."""
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * math.log2(share) for share in shares)


# --- tests and readability ------------------------------------------------------------------------

FUNCTION: Final = re.compile(
    r"^(?P<indent>\s*)(?:export\s+)?(?:default\s+)?(?:pub\s+)?(?:async\s+)?"
    r"(?:def|function|func|fn)\s+(?:\([^)]*\)\s*)?(?P<name>\w+)\s*[(<\[]"
)
MARK: Final = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
PRINTS: Final = (
    _sign(r"^\s*print\(", "low", "A print that looks left from debugging: log it, or leave it out", PYTHON),
    _sign(r"\bconsole\.(log|debug)\(", "low", "A print that looks left from debugging", SCRIPT),
)
SPEAKING: Final = re.compile(
    r"(^|/)(cli|scripts?|bin|tools|examples?)/|(^|/)(cli|__main__|manage|setup)\.\w+$"
)
"""Paths of programs that talk to whoever started them."""


def upkeep(changes: Sequence[Change]) -> Iterator[Finding]:
    """Yields what is not tested, or will be hard to read."""
    yield from _untested(changes)
    for change in changes:
        for source in _new(change):
            if mark := MARK.search(source.comment):
                yield _found(change, source.line, "low", f"{mark[1]}: do it now, or turn it into an issue")
        if change.is_test:
            yield from _removed_tests(change, changes)
        if change.is_code:
            yield from _long(change)
            if not SPEAKING.search(change.path):
                yield from _signs(change, PRINTS)


def _untested(changes: Sequence[Change]) -> Iterator[Finding]:
    code = [change for change in changes if change.is_code and any(change.lines("+"))]
    tests = [line.text for change in changes if change.is_test for line in change.lines("+")]
    if code and not tests:
        first = next(code[0].lines("+"))
        files = "1 file" if len(code) == 1 else f"{len(code)} files"
        yield _found(code[0], first, "medium", f"Code changed in {files} of programs, and no test with it")
    elif tests:
        tested = set(re.findall(r"\w+", "\n".join(tests)))
        for change in code:
            for source in _new(change):
                made = FUNCTION.match(source.code)
                if made and not made["name"].startswith("_") and made["name"] not in tested:
                    name = made["name"]
                    yield _found(
                        change, source.line, "low", f"No new line of a test names the function `{name}`"
                    )


def _removed_tests(change: Change, changes: Sequence[Change]) -> Iterator[Finding]:
    """Yields tests that are gone and have not come back anywhere."""
    kept = {made["name"] for one in changes for line in one.lines("+") if (made := FUNCTION.match(line.text))}
    for line in change.lines("-"):
        made = FUNCTION.match(line.text)
        if made and made["name"].lower().startswith("test") and made["name"] not in kept:
            yield _found(change, line, "medium", f"The test `{made['name']}` is gone: say why")


def _long(change: Change) -> Iterator[Finding]:
    for hunk in sources(change):
        for at, source in enumerate(hunk):
            made = FUNCTION.match(source.code)
            if (
                made
                and source.line.kind == "+"
                and (length := _length(hunk[at:], made["indent"])) > LONG_FUNCTION
            ):
                what = f"`{made['name']}` is new and has {length} lines: part it"
                yield _found(change, source.line, "medium", what)
    wide = [line for line in change.lines("+") if len(line.text) > LONG_LINE]
    if wide:
        more = f", and {len(wide) - 1} more such lines" if len(wide) > 1 else ""
        yield _found(change, wide[0], "low", f"{len(wide[0].text)} characters in one line{more}")


def _length(lines: Sequence[Source], indent: str) -> int:
    """Returns how many new lines in a row belong to the function that begins here."""
    length, blank = 1, 0
    for source in lines[1:]:
        text = source.line.text
        if source.line.kind != "+":
            break
        if not text.strip():
            blank += 1
            continue
        closes = text[len(indent) : len(indent) + 1] in (")", "}", "]")
        if not text.startswith(indent) or not (text[len(indent)].isspace() or closes):
            break
        length, blank = length + 1 + blank, 0
    return length
