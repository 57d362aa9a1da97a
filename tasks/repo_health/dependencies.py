"""What a repository depends on, and under which licences as far as that is written down somewhere."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

from tasks.repo_health.area import Area, counted, table
from tasks.repo_health.git import Blob, Deadline, Repository, shown
from tasks.repo_health.licences import Own, own

SECONDS: Final = 30.0
MOST_FILES: Final = 100
UNKNOWN: Final = "unknown"
LOCK_FILES: Final = re.compile(
    r"(uv|poetry|pdm|yarn|Cargo|composer|Gemfile|Pipfile)\.lock|pylock\.toml|package-lock\.json|"
    r"pnpm-lock\.yaml|go\.sum"
)
COPYLEFT: Final = re.compile(r"\bA?GPL|General Public License", re.IGNORECASE)
LESSER: Final = re.compile(r"\bLGPL|Lesser", re.IGNORECASE)
REQUIREMENT: Final = re.compile(
    r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(?P<limit>[^;#]*)"
)
FOR_DEVELOPERS: Final = re.compile(r"dev|test|doc|lint|type|build|ci\b|bench|peer", re.IGNORECASE)
"""In the name of a file or group: those who only use the repository do without what is in it."""
EXAMPLES: Final = re.compile(r"(^|/)(tests?|examples?|fixtures?|vendor|node_modules|third_party)/")


Declared = tuple[str, str, str, str]
"""Ecosystem, name, versions as written, and the group that it stands in, if that has a name."""


@dataclass(frozen=True, order=True)
class Dependency:
    """Something that a file of the repository asks for."""

    for_developers: bool
    """Whether only those need it who work on the repository."""
    ecosystem: str
    name: str
    limit: str = ""
    """Versions that will do, as written."""
    source: str = ""


def examine(repo: str, commit: str) -> Area:
    """Reads what is declared, and looks up licences in lock files and in packages installed here."""
    repository, deadline = Repository.open(repo, commit), Deadline(SECONDS)
    files = [one for one in repository.files() if not EXAMPLES.search(one.path)]
    declared = [one for one in files if reader(one) is not None][:MOST_FILES]
    found: set[Dependency] = set()
    unreadable: list[str] = []
    for blob, text in repository.texts(declared, deadline):
        try:
            found |= set(read(blob, text))
        except (ValueError, TypeError, AttributeError, RecursionError):
            unreadable.append(shown(blob.path, 60))
    dependencies = distinct(found)
    locked = locked_licences(repository, files)
    licences = {one: licence(one, locked) for one in dependencies}
    licensed = own(repository, files)
    has_lock = any(LOCK_FILES.fullmatch(one.name) for one in files)
    return Area(
        "Dependencies",
        score(dependencies, licences, bool(licensed.files), has_lock),
        summary(dependencies, licences, licensed, unreadable),
        advice(dependencies, licences, licensed, has_lock),
        ("dependency", "versions", "licence", "needed to", "declared in"),
        **table(
            [
                (
                    shown(one.name, 60),
                    shown(one.limit, 40) or "any",
                    shown(licences[one], 40),
                    "develop" if one.for_developers else "run",
                    shown(one.source, 60),
                )
                for one in dependencies
            ]
        ),
        cut=deadline.cut,
        facts={
            "dependencies": len(dependencies),
            "unknown_licences": sum(found == UNKNOWN for found in licences.values()),
            "own_licence": bool(licensed.files),
            "unreadable": unreadable[:20],
        },
    )


def distinct(found: set[Dependency]) -> list[Dependency]:
    """Returns each dependency once, as the first file by name declares it with a version, what is needed to
    run before the rest."""
    best: dict[tuple[str, str], Dependency] = {}
    for one in sorted(found, key=lambda one: (one.for_developers, not one.limit, one.source, one.limit)):
        best.setdefault((one.ecosystem, normal(one.name)), one)
    return sorted(best.values())


def normal(name: str) -> str:
    """Returns a name in the spelling in which two of the same package are equal."""
    return re.sub(r"[-_.]+", "-", name).lower()


# --- what is declared -----------------------------------------------------------------------------


def reader(blob: Blob) -> Callable[[str], Iterator[Declared]] | None:
    """Returns what reads such a file, if anything does."""
    if re.fullmatch(r"requirements[\w.-]*\.txt|[\w.-]+requirements\.txt", blob.name) or (
        blob.path.startswith("requirements/") and blob.suffix in (".txt", ".in")
    ):
        return requirements
    return READERS.get(blob.name)


def read(blob: Blob, text: str) -> Iterator[Dependency]:
    """Yields what a file declares. Raises `ValueError` and its kin for a file that is not what it seems."""
    reading = reader(blob)
    assert reading is not None
    by_name = reading is requirements and bool(FOR_DEVELOPERS.search(blob.path))
    for ecosystem, name, limit, group in reading(text):
        for_developers = by_name or bool(FOR_DEVELOPERS.search(group))
        yield Dependency(for_developers, ecosystem, name, limit.strip(), blob.path)


def requirements(text: str, group: str = "") -> Iterator[Declared]:
    """Reads pip's requirement lines; options and addresses are left out."""
    for line in text.replace("\\\n", " ").splitlines():
        found = REQUIREMENT.match(line.strip())
        if found and "://" not in line:
            yield "Python", found["name"], re.sub(r"\s*--.*", "", found["limit"]), group


def pyproject(text: str) -> Iterator[Declared]:
    """Reads the dependencies, extras and groups of a Python project."""
    data = tomllib.loads(text)
    project = data.get("project", {})
    groups = [("", project.get("dependencies", [])), *project.get("optional-dependencies", {}).items()]
    groups += [(f"dev {name}", lines) for name, lines in data.get("dependency-groups", {}).items()]
    for group, lines in groups:
        yield from requirements("\n".join(line for line in lines if isinstance(line, str)), group)
    for name, limit in data.get("tool", {}).get("poetry", {}).get("dependencies", {}).items():
        if name != "python":
            yield "Python", name, version(limit), ""


def package_json(text: str) -> Iterator[Declared]:
    """Reads the dependencies of a Node package."""
    data = json.loads(text)
    for group in ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies"):
        for name, limit in data.get(group, {}).items():
            yield "Node", name, str(limit), group if group == "devDependencies" else ""


def go_mod(text: str) -> Iterator[Declared]:
    """Reads the modules that a Go module requires."""
    for line in re.findall(r"^[ \t]*(?:require[ \t]+)?([\w.~/-]+\.[\w.~/-]+\s+v\S+)", text, re.MULTILINE):
        name, limit = line.split()
        yield "Go", name, limit, ""


def cargo(text: str) -> Iterator[Declared]:
    """Reads the dependencies of a Rust crate."""
    data = tomllib.loads(text)
    for group in ("dependencies", "dev-dependencies", "build-dependencies"):
        for name, limit in data.get(group, {}).items():
            yield "Rust", name, version(limit), group


def version(limit: Any) -> str:
    """Returns the versions of a dependency that is a text, or a table with one."""
    return limit if isinstance(limit, str) else str(limit.get("version", ""))


READERS: Final = {
    "pyproject.toml": pyproject,
    "package.json": package_json,
    "go.mod": go_mod,
    "Cargo.toml": cargo,
}


# --- licences -------------------------------------------------------------------------------------


def locked_licences(repository: Repository, files: list[Blob]) -> dict[tuple[str, str], str]:
    """Returns licences that lock files tell; of those known here, only npm's does."""
    text = repository.text("package-lock.json", files)
    try:
        packages = json.loads(text or "{}").get("packages", {})
        return {
            ("Node", path.rpartition("node_modules/")[2]): str(about["license"])
            for path, about in packages.items()
            if path and "license" in about
        }
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {}


def licence(one: Dependency, locked: Mapping[tuple[str, str], str]) -> str:
    """Returns the licence as written in a lock file or in the package's metadata, if it is installed here."""
    if one.ecosystem != "Python":
        return locked.get((one.ecosystem, one.name), UNKNOWN)
    try:
        about: Any = metadata.metadata(one.name)
    except (metadata.PackageNotFoundError, ValueError):
        return UNKNOWN
    classes = [
        line.rpartition(" :: ")[2] for line in about.get_all("Classifier", []) if line.startswith("License")
    ]
    text = about.get("License-Expression") or (about.get("License") or "").strip().split("\n")[0]
    return (text if 0 < len(text) <= 40 else "") or ", ".join(classes) or UNKNOWN


def strong_copyleft(text: str) -> bool:
    """Whether a licence asks that what links to it be under it too."""
    return bool(COPYLEFT.search(text)) and not LESSER.search(text)


# --- what to make of it ---------------------------------------------------------------------------


def score(
    dependencies: list[Dependency], licences: Mapping[Dependency, str], own: bool, has_lock: bool
) -> int:
    """Half for a licence of its own, the rest for known versions and licences without surprises.

    A licence that is unknown costs nothing: it says more about this machine than about the repository.
    """
    if not dependencies:
        return 100 if own else 50
    limited = sum(bool(one.limit) for one in dependencies) / len(dependencies)
    calm = not any(strong_copyleft(found) for found in licences.values())
    return 50 * own + round(30 * (1.0 if has_lock else limited)) + 20 * calm


def summary(
    dependencies: list[Dependency], licences: Mapping[Dependency, str], licensed: Own, unreadable: list[str]
) -> str:
    """Returns it in a sentence."""
    unknown = sum(found == UNKNOWN for found in licences.values())
    running = sum(not one.for_developers for one in dependencies)
    parts = [
        licensed.summary(),
        counted(len(dependencies), "dependency", "dependencies")
        + (f" declared, {running:,} of them needed to run it" if dependencies else " declared"),
        f"the licences of {unknown:,} could not be looked up here, where they are not installed"
        if unknown
        else "",
        f"not understood: {', '.join(unreadable[:5])}" if unreadable else "",
    ]
    return "; ".join(part for part in parts if part)


def advice(
    dependencies: list[Dependency], licences: Mapping[Dependency, str], licensed: Own, has_lock: bool
) -> list[str]:
    """Returns what to do about it."""
    found = list(licensed.advice())
    if any(not one.limit for one in dependencies) and not has_lock:
        found.append("Limit the versions of what is declared without, or keep a lock file")
    if any(strong_copyleft(text) for text in licences.values()):
        found.append("Check that dependencies under the GPL or AGPL suit the way this is distributed")
    return found
