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

SECONDS: Final = 30.0
MOST_FILES: Final = 100
UNKNOWN: Final = "unknown"
LICENCE_FILE: Final = re.compile(r"^(licen[cs]e|copying|unlicense)([.-][\w.-]+)?$", re.IGNORECASE)
LOCK_FILES: Final = re.compile(
    r"(uv|poetry|pdm|yarn|Cargo|composer|Gemfile|Pipfile)\.lock|pylock\.toml|package-lock\.json|"
    r"pnpm-lock\.yaml|go\.sum"
)
COPYLEFT: Final = re.compile(r"\bA?GPL|General Public License", re.IGNORECASE)
LESSER: Final = re.compile(r"\bLGPL|Lesser", re.IGNORECASE)
REQUIREMENT: Final = re.compile(
    r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(?P<limit>[^;#]*)"
)
EXAMPLES: Final = re.compile(r"(^|/)(tests?|examples?|fixtures?|vendor|node_modules|third_party)/")


@dataclass(frozen=True, order=True)
class Dependency:
    """Something that a file of the repository asks for."""

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
    own = any(LICENCE_FILE.match(one.path) for one in files)
    has_lock = any(LOCK_FILES.fullmatch(one.name) for one in files)
    return Area(
        "Dependencies",
        score(dependencies, licences, own, has_lock),
        summary(dependencies, licences, own, unreadable),
        advice(dependencies, licences, own, has_lock),
        ("dependency", "versions", "licence", "declared in"),
        **table(
            [
                (
                    shown(one.name, 60),
                    shown(one.limit, 40) or "any",
                    shown(licences[one], 40),
                    shown(one.source, 60),
                )
                for one in dependencies
            ]
        ),
        cut=deadline.cut,
        facts={
            "dependencies": len(dependencies),
            "unknown_licences": sum(found == UNKNOWN for found in licences.values()),
            "own_licence": own,
            "unreadable": unreadable[:20],
        },
    )


def distinct(found: set[Dependency]) -> list[Dependency]:
    """Returns each dependency once, as the first file by name declares it with a version."""
    best: dict[tuple[str, str], Dependency] = {}
    for one in sorted(found, key=lambda one: (not one.limit, one.source, one.limit)):
        best.setdefault((one.ecosystem, normal(one.name)), one)
    return sorted(best.values())


def normal(name: str) -> str:
    """Returns a name in the spelling in which two of the same package are equal."""
    return re.sub(r"[-_.]+", "-", name).lower()


# --- what is declared -----------------------------------------------------------------------------


def reader(blob: Blob) -> Callable[[str], Iterator[tuple[str, str, str]]] | None:
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
    for ecosystem, name, limit in reading(text):
        yield Dependency(ecosystem, name, limit.strip(), blob.path)


def requirements(text: str) -> Iterator[tuple[str, str, str]]:
    """Reads pip's requirement lines; options and addresses are left out."""
    for line in text.replace("\\\n", " ").splitlines():
        found = REQUIREMENT.match(line.strip())
        if found and "://" not in line:
            yield "Python", found["name"], re.sub(r"\s*--.*", "", found["limit"])


def pyproject(text: str) -> Iterator[tuple[str, str, str]]:
    """Reads the dependencies, extras and groups of a Python project."""
    data = tomllib.loads(text)
    project = data.get("project", {})
    groups = [project.get("dependencies", []), *project.get("optional-dependencies", {}).values()]
    groups += data.get("dependency-groups", {}).values()
    for group in groups:
        yield from requirements("\n".join(line for line in group if isinstance(line, str)))
    for name, limit in data.get("tool", {}).get("poetry", {}).get("dependencies", {}).items():
        if name != "python":
            yield "Python", name, limit if isinstance(limit, str) else str(limit.get("version", ""))


def package_json(text: str) -> Iterator[tuple[str, str, str]]:
    """Reads the dependencies of a Node package."""
    data = json.loads(text)
    for group in ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies"):
        for name, limit in data.get(group, {}).items():
            yield "Node", name, str(limit)


def go_mod(text: str) -> Iterator[tuple[str, str, str]]:
    """Reads the modules that a Go module requires."""
    for line in re.findall(r"^[ \t]*(?:require[ \t]+)?([\w.~/-]+\.[\w.~/-]+\s+v\S+)", text, re.MULTILINE):
        name, version = line.split()
        yield "Go", name, version


def cargo(text: str) -> Iterator[tuple[str, str, str]]:
    """Reads the dependencies of a Rust crate."""
    data = tomllib.loads(text)
    for group in ("dependencies", "dev-dependencies", "build-dependencies"):
        for name, limit in data.get(group, {}).items():
            yield "Rust", name, limit if isinstance(limit, str) else str(limit.get("version", ""))


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
    dependencies: list[Dependency], licences: Mapping[Dependency, str], own: bool, unreadable: list[str]
) -> str:
    """Returns it in a sentence."""
    unknown = sum(found == UNKNOWN for found in licences.values())
    parts = [
        counted(len(dependencies), "dependency", "dependencies") + " declared",
        f"the licences of {unknown:,} unknown here" if dependencies else "",
        "a licence file of its own" if own else "no licence file",
        f"not understood: {', '.join(unreadable[:5])}" if unreadable else "",
    ]
    return "; ".join(part for part in parts if part)


def advice(
    dependencies: list[Dependency], licences: Mapping[Dependency, str], own: bool, has_lock: bool
) -> list[str]:
    """Returns what to do about it."""
    found = []
    if not own:
        found.append("Add a LICENSE file: without one nobody may use this")
    if any(not one.limit for one in dependencies) and not has_lock:
        found.append("Limit the versions of what is declared without, or keep a lock file")
    if any(strong_copyleft(text) for text in licences.values()):
        found.append("Check that dependencies under the GPL or AGPL suit the way this is distributed")
    return found
