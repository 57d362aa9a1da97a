"""Credentials in tracked files. No more of one is ever returned than its public prefix."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import Final

from tasks.repo_health.area import Area, counted, table
from tasks.repo_health.git import LARGEST_TEXT, Blob, Deadline, Repository, shown

SECONDS: Final = 60.0
MOST_PER_FILE: Final = 100
ALLOWED: Final = re.compile(r"pragma: allowlist secret|gitleaks:allow", re.IGNORECASE)
"""Marks of other scanners for a line that a person has looked at."""
LOCK_FILES: Final = ("*.lock", "*-lock.json", "*-lock.yaml", "go.sum", "*.svg", "*.min.js", "*.map")
"""Full of checksums and coordinates: only the patterns of known issuers are looked for there."""
LONGEST_LINE: Final = 2000
"""Characters; what stands in a longer line is data or was made by a program."""

ISSUED: Final = {
    "AWS access key": r"(?P<prefix>A(?:KIA|SIA))[A-Z2-7]{16}",
    "GitHub token": r"(?P<prefix>gh[pousr]_|github_pat_)[A-Za-z0-9_]{36,255}",
    "GitLab token": r"(?P<prefix>glpat-)[A-Za-z0-9_-]{20,}",
    "Slack token": r"(?P<prefix>xox[abprs]-)[0-9A-Za-z]{8,}-[0-9A-Za-z-]{10,}",
    "Stripe key": r"(?P<prefix>[sr]k_live_)[0-9A-Za-z]{20,}",
    "Google API key": r"(?P<prefix>AIza)[0-9A-Za-z_-]{35}",
    "npm token": r"(?P<prefix>npm_)[A-Za-z0-9]{36}",
    "PyPI token": r"(?P<prefix>pypi-)AgE[A-Za-z0-9_-]{50,}",
    "Anthropic key": r"(?P<prefix>sk-ant-)[A-Za-z0-9_-]{40,}",
    "OpenAI key": r"(?P<prefix>sk-(?:proj-)?)[A-Za-z0-9_-]{16,}T3BlbkFJ[A-Za-z0-9_-]{16,}",
    "SendGrid key": r"(?P<prefix>SG\.)[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
    "Hugging Face token": r"(?P<prefix>hf_)[A-Za-z]{34}",
}
"""What issuers gave a form of its own, so that it can be found."""
ISSUED_PATTERNS: Final = {
    kind: re.compile(rf"(?P<secret>{pattern})(?![A-Za-z0-9])") for kind, pattern in ISSUED.items()
}
"""They begin with letters as they stand, for those are found ten times as fast as anything else."""
PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN (?:[A-Z]{2,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----(?:\\n|\s){1,4}"
    r"(?:[\w-]{1,40}: [^\n]{0,200}\s){0,4}\s?[\"'+ ]{0,8}[A-Za-z0-9+/=]{40}"
)
"""Its first line and one of the key: the first line alone is how programs and documents speak of keys."""
IN_ADDRESS: Final = re.compile(
    r"://(?P<user>[^\s:/@'\"]{1,64}):(?P<secret>[^\s:/@'\"]{8,128})@(?P<host>[\w.-]+)"
)
THIS_MACHINE: Final = ("localhost", "127.0.0.1", "0.0.0.0")  # noqa: S104 - compared with, not listened on
"""Hosts whose passwords are those of somebody's tests."""
ASSIGNED: Final = re.compile(
    r"(?i)(?:api_?key|api-key|secret|token|passwd|password|credential|private_?key|auth)[a-z0-9_-]{0,20}"
    r"[\"']?\s{0,4}(?:[:=]|=>|:=)\s{0,4}[\"'](?P<secret>[^\s\"'$<>{}()\[\]]{16,200})[\"']"
)
PLACEHOLDER: Final = re.compile(
    r"(?i)example|sample|change_?me|placeholder|dummy|fake|your[-_]|password|secret|token|test|foo|xxx|"
    r"\*\*\*|\.\.\.|0123456|123456789|abcdef|deadbeef|[{}<>$%]"
)
ENOUGH_ENTROPY: Final = 3.6
"""Bits per character: above words and identifiers, below what a generator makes of 20 letters and digits."""


@dataclass(frozen=True)
class Finding:
    """Where something that looks like a secret is, and what of it may be shown."""

    kind: str
    path: str
    line: int
    masked: str


def examine(repo: str, commit: str, ignore: Sequence[str] = ()) -> Area:
    """Looks for secrets in the files of the commit, except for paths that match a pattern of `ignore`."""
    repository, deadline = Repository.open(repo, commit), Deadline(SECONDS)
    wanted = [one for one in repository.files() if not matches(one.path, ignore)]
    found = [
        finding
        for blob, text in repository.texts(wanted, deadline)
        for finding in islice(scan(blob, text), MOST_PER_FILE)
    ]
    left_out = f", {counted(len(ignore), 'pattern')} of paths left out" if ignore else ""
    large = sum(one.size > LARGEST_TEXT for one in wanted)
    left_out += f", {counted(large, 'file')} above 1 MiB not searched" if large else ""
    return Area(
        "Secrets",
        None if deadline.cut and not found else max(100 - 50 * len(found), 0),
        f"{counted(len(found), 'possible secret')} in {counted(len(wanted), 'tracked file')}{left_out}; "
        "the history before this commit was not searched",
        advice(found),
        ("where", "what", "masked"),
        **table([(f"{shown(one.path)}:{one.line}", one.kind, one.masked) for one in found]),
        cut=deadline.cut,
        facts={"found": len(found)},
    )


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether a path matches one of the patterns; `*` also stands for `/`."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def scan(blob: Blob, text: str) -> Iterator[Finding]:
    """Yields what looks like a secret in one file, each place once."""
    seen: set[tuple[int, str]] = set()
    for kind, masked, place in places(text, generic=not matches(blob.name, LOCK_FILES)):
        line = text.count("\n", 0, place) + 1
        if (line, masked) not in seen and not ALLOWED.search(line_at(text, place)):
            seen.add((line, masked))
            yield Finding(kind, blob.path, line, masked)


def places(text: str, *, generic: bool) -> Iterator[tuple[str, str, int]]:
    """Yields kind, mask and offset of everything that looks like a secret."""
    for kind, pattern in ISSUED_PATTERNS.items():
        for found in pattern.finditer(text):
            whole = not re.match(r"\w", text[max(found.start() - 1, 0) : found.start()])
            if whole and plausible(found["secret"], found["prefix"]):
                yield kind, mask(found["secret"], found["prefix"]), found.start()
    for found in PRIVATE_KEY.finditer(text):
        yield "private key", "-----BEGIN …", found.start()
    if not generic:
        return
    for found in IN_ADDRESS.finditer(text):
        if found["host"] not in THIS_MACHINE and not guessable(found["secret"], found["user"]):
            yield "password in an address", mask(found["secret"]), found.start("secret")
    for found in ASSIGNED.finditer(text):
        if random_looking(found["secret"]) and len(line_at(text, found.start())) <= LONGEST_LINE:
            yield "random value under a secret's name", mask(found["secret"]), found.start("secret")


def line_at(text: str, place: int) -> str:
    """Returns the line around an offset."""
    end = text.find("\n", place)
    return text[text.rfind("\n", 0, place) + 1 : end if end >= 0 else len(text)]


def plausible(secret: str, prefix: str) -> bool:
    """Whether what follows the prefix could have been issued: no `EXAMPLE`, no row of one letter."""
    return not PLACEHOLDER.search(secret[len(prefix) :]) and entropy(secret[len(prefix) :]) >= 2.8


def guessable(password: str, user: str) -> bool:
    """Whether a password is only there to show where one goes."""
    return password == user or bool(PLACEHOLDER.search(password)) or entropy(password) < 2.5


def random_looking(value: str) -> bool:
    """Whether a value looks made by a generator: letters and digits mixed, and no words or paths."""
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    pathlike = "/" in value and "." in value
    return mixed and not pathlike and not PLACEHOLDER.search(value) and entropy(value) >= ENOUGH_ENTROPY


def entropy(value: str) -> float:
    """Returns the bits per character that the frequencies of the characters make."""
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * math.log2(share) for share in shares)


def mask(secret: str, prefix: str = "") -> str:
    """Returns what may be shown: the issuer's prefix, which is no secret, and the length."""
    return f"{prefix}… ({len(secret)} characters)"


def advice(found: Sequence[Finding]) -> list[str]:
    """Returns what to do about it."""
    if not found:
        return []
    return [
        "Revoke each real one first: whoever cloned this has it, and deleting the line does not take it back",
        "Mark a line that is none with “pragma: allowlist secret”, or leave out its path by “ignore”",
    ]
