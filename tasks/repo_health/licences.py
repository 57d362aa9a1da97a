"""The licence that a repository is under: what its licence files read like, and what its manifests say."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tasks.repo_health.git import Blob, Repository, shown

LICENCE_FILE: Final = re.compile(r"^(licen[cs]e|copying|unlicense)([.-][\w.-]+)?$", re.IGNORECASE)
READS_LIKE: Final = {
    "AGPL": r"GNU AFFERO GENERAL PUBLIC LICENSE",
    "LGPL": r"GNU LESSER GENERAL PUBLIC LICENSE",
    "GPL": r"GNU GENERAL PUBLIC LICENSE",
    "MPL": r"Mozilla Public License",
    "Apache": r"Apache License,?\s+Version",
    "BSD": r"Redistribution and use in source and binary forms",
    "ISC": r"Permission to use, copy, modify,? and/or distribute",
    "MIT": r"Permission is hereby granted, free of charge",
    "Unlicense": r"free and unencumbered software",
}
"""The families of licences by a phrase near the beginning; the first that fits."""
SIGNS: Final = {name: re.compile(phrase, re.IGNORECASE) for name, phrase in READS_LIKE.items()}
BEGINNING: Final = 2000
"""Characters of a licence file that are looked at: later ones speak of other licences."""


@dataclass
class Own:
    """What the repository says of its own licence, at its top."""

    files: dict[str, str] = field(default_factory=dict)
    """The licence files, and the families they read like; nothing for those unknown here."""
    declared: dict[str, str] = field(default_factory=dict)
    """The manifests of packages, and the licence each names, if it does."""

    def summary(self) -> str:
        """Returns it in a few words."""
        if not self.files:
            return "no licence file"
        named = [f"{text} by {path}" for path, text in self.declared.items() if text]
        read = " and ".join(sorted(set(filter(None, self.files.values()))))
        return f"under {', '.join(named) or read or 'a licence of its own'}"

    def advice(self) -> Iterator[str]:
        """Yields what to do about it."""
        named = {path: text for path, text in self.declared.items() if text}
        if not self.files:
            yield from (
                f"Add the text of the licence: {path} names {text}, and its terms are nowhere"
                for path, text in list(named.items())[:1]
            )
            if not named:
                yield "Add a LICENSE file: without one nobody may use this"
        silent = [path for path in self.declared if path not in named]
        if silent and (self.files or named):
            yield f"Name the licence in {' and '.join(silent)}, where registries and tools look for it"
        known = [(path, family) for path, family in self.files.items() if family]
        for path, text in named.items():
            if known and not any(family.lower() in text.lower() for _, family in known):
                yield f"{known[0][0]} reads like {known[0][1]}, but {path} says {text}: say the same in both"


def own(repository: Repository, files: Sequence[Blob]) -> Own:
    """Returns what the files at the top of the repository say of its licence."""
    found = Own()
    for blob in files:
        if LICENCE_FILE.match(blob.path):
            text = repository.text(blob.path, files)[:BEGINNING]
            family = next((name for name, sign in SIGNS.items() if sign.search(text)), "")
            found.files[shown(blob.path, 60)] = family
        elif blob.path in MANIFESTS:
            said = declared(blob.path, repository.text(blob.path, files))
            if said is not None:
                found.declared[blob.path] = shown(said, 60)
    return found


def declared(path: str, text: str) -> str | None:
    """Returns the licence that a manifest names, nothing at all if it is of no package for others."""
    try:
        said = MANIFESTS[path](text)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return said if isinstance(said, str) else None


def pyproject(text: str) -> Any:
    """Reads the licence of a Python project: expression, table, or classifiers."""
    data = tomllib.loads(text)
    project = data.get("project") or data.get("tool", {}).get("poetry")
    if project is None:
        return None
    licence = project.get("license") or ""
    if isinstance(licence, dict):
        licence = licence.get("text", "").strip().split("\n")[0] or licence.get("file", "")
    classes = [one for one in project.get("classifiers", []) if one.startswith("License ::")]
    return licence or ", ".join(one.rpartition(" :: ")[2] for one in classes)


def package_json(text: str) -> Any:
    """Reads the licence of a Node package; a private one is published nowhere."""
    data = json.loads(text)
    licence = data.get("license") or ""
    named = licence.get("type", "") if isinstance(licence, dict) else licence
    return None if data.get("private") and not named else named


def cargo(text: str) -> Any:
    """Reads the licence of a Rust crate, or of all crates of a workspace."""
    data = tomllib.loads(text)
    package = data.get("package")
    if package is None or package.get("publish") is False:
        return None
    licence = package.get("license") or package.get("license-file") or ""
    if isinstance(licence, dict):
        licence = data.get("workspace", {}).get("package", {}).get("license") or ""
    return licence


MANIFESTS: Final[dict[str, Callable[[str], Any]]] = {
    "pyproject.toml": pyproject,
    "package.json": package_json,
    "Cargo.toml": cargo,
}
"""Those that can name a licence; a Go module has nothing but its licence file."""
