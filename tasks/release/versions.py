"""Version numbers, and the files that they are written in."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tasks.release.git import Refused

SEMVER: Final = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})")


@dataclass(frozen=True, order=True)
class Version:
    """A version of three numbers, as semantic versioning has it."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """Reads `1.2.3`. Raises `Refused` for anything else."""
        found = SEMVER.fullmatch(text)
        if found is None:
            raise Refused(
                f"{text!r} is no version of three numbers", "write it as 1.2.3; pre-releases are left to you"
            )
        return cls(*(int(part) for part in found.groups()))

    def bumped(self, part: str) -> Version:
        """Returns the next version: the part raised by one, and what stands behind it at zero."""
        match part:
            case "major":
                return Version(self.major + 1, 0, 0)
            case "minor":
                return Version(self.major, self.minor + 1, 0)
            case "patch":
                return Version(self.major, self.minor, self.patch + 1)
        raise Refused(f"{part!r} is no part of a version", "give patch, minor or major")

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True)
class Manifest:
    """A file that may say which version a project has."""

    name: str
    read: Callable[[str], Any]
    """Returns the version in the file's text, or nothing."""
    place: re.Pattern[str]
    """Finds the version's text, as the group `version`."""


def _in_package_json(text: str) -> Any:
    return json.loads(text).get("version")


def _in_toml(section: str) -> Callable[[str], Any]:
    return lambda text: tomllib.loads(text).get(section, {}).get("version")


def _toml_place(section: str) -> re.Pattern[str]:
    """Finds `version = "…"` in a section, before the next one begins."""
    return re.compile(
        rf"^\[{section}\]\n(?:(?!\[).*\n)*?version\s*=\s*[\"'](?P<version>[^\"']+)", re.MULTILINE
    )


MANIFESTS: Final = (
    Manifest("pyproject.toml", _in_toml("project"), _toml_place("project")),
    Manifest("Cargo.toml", _in_toml("package"), _toml_place("package")),
    Manifest("package.json", _in_package_json, re.compile(r"\"version\"\s*:\s*\"(?P<version>[^\"]+)\"")),
    Manifest("VERSION", str.strip, re.compile(r"(?P<version>\S+)")),
)


def written(folder: Path) -> dict[str, str]:
    """Returns the version that each manifest has, by the file's name. Raises `Refused` for a broken one."""
    found = {manifest.name: _read(folder, manifest) for manifest in MANIFESTS}
    return {name: version for name, version in found.items() if version}


def write(folder: Path, name: str, version: str) -> None:
    """Puts a version in the place of the old one and changes nothing else. Raises `Refused`."""
    manifest = next(one for one in MANIFESTS if one.name == name)
    path = folder / name
    text = path.read_bytes().decode()
    found = manifest.place.search(text)
    if found is None:
        raise Refused(f"{name}: the line with the version was not found")
    start, end = found.span("version")
    path.write_bytes((text[:start] + version + text[end:]).encode())
    if _read(folder, manifest) != version:
        raise Refused(f"{name}: the version stands in a place that this task cannot change")


def _read(folder: Path, manifest: Manifest) -> str:
    path = folder / manifest.name
    if path.is_symlink() or not path.is_file():
        return ""
    try:
        version = manifest.read(path.read_text(encoding="utf-8"))
    except (ValueError, AttributeError) as error:
        raise Refused(f"{manifest.name} cannot be read: {error}") from error
    return version if isinstance(version, str) else ""
