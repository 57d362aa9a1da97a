"""New tasks from templates: each runs as it is written, and brings tests of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from taskmark.errors import TaskmarkError
from taskmark.settings import Settings
from taskmark.task.hints import did_you_mean
from taskmark.task.slugs import slug

FOLDER = Path(__file__).with_name("templates")
TEMPLATES: Mapping[str, str] = {
    "minimal": "two phases: look at something, tell of it",
    "pipeline": "fetch, validate, transform, report; retries and an early end",
    "agents": "three agents review a text and vote; runs without a key",
    "approval": "prepare, ask a person, carry out",
    "fan-out": "the same for each of many files, side by side",
}
LONGEST_NAME = 80
_PLAIN = re.compile(r"[^\W\d_][\w-]*( [\w-]+)*")
_WORDS = frozenset({"true", "false", "null"})


class CannotCreate(TaskmarkError):
    """The files cannot be made from what was given."""


def template_of(word: str) -> str:
    """Returns the template of that name. Raises `CannotCreate`."""
    if word in TEMPLATES:
        return word
    raise CannotCreate(f"there is no template “{word}”", hint=did_you_mean(word, TEMPLATES))


def id_of(name: str) -> str:
    """Returns the id of a task that is called so: its file's stem. Raises `CannotCreate`."""
    if "/" in name or "\\" in name or name.endswith(".md"):
        hint = "the file gets it, in the folder of tasks: taskmark new report"
        raise CannotCreate(f"“{name}” is a path; give the task's name", hint=hint)
    found = slug(name).replace("_", "-")
    if not found or len(name) > LONGEST_NAME or not name.isprintable():
        raise CannotCreate(f"“{name[:LONGEST_NAME]}” is no name for a task: letters and digits, on one line")
    return found


def files(settings: Settings, template: str, name: str) -> dict[Path, str]:
    """Returns what a template writes, the task first: file and text. Raises `CannotCreate`."""
    stem = id_of(name)
    folder, tasks = FOLDER / template, settings.tasks_dir
    module = tasks / f"{stem.replace('-', '_')}_reviewers.py"
    targets = {
        folder / "task.md": tasks / f"{stem}.md",
        folder / "tests.yaml": tasks / f"{stem}.tests.yaml",
        folder / "reviewers.py": module,
    }
    for agent in sorted(folder.glob("agents/*.md")):
        targets[agent] = settings.agents_dir / f"{stem}-{agent.name}"
    words = {"__ID__": stem, "__NAME__": title(name)}
    if (folder / "reviewers.py").is_file():
        words |= _module(settings, module)
    return {
        target: _filled(source.read_text(encoding="utf-8"), words)
        for source, target in targets.items()
        if source.is_file()
    }


def title(name: str) -> str:
    """Returns the name as a heading: `weekly-report` becomes `Weekly report`, others stay as they are."""
    return name if slug(name) not in (name, name.replace("-", "_")) else _spaced(name)


def _spaced(name: str) -> str:
    words = name.replace("-", " ").replace("_", " ")
    return words[:1].upper() + words[1:]


def write(contents: Mapping[Path, str], *, force: bool) -> None:
    """Writes the files. Raises `CannotCreate` before the first one if one is there, unless forced."""
    there = [path for path in contents if path.exists() or path.is_symlink()]
    if there and not force:
        found = ", ".join(str(path) for path in there)
        raise CannotCreate(f"already there: {found}", hint="choose another name, or overwrite with --force")
    for path, text in contents.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CannotCreate(f"{path} cannot be written: {error.strerror or error}") from error


def _module(settings: Settings, file: Path) -> dict[str, str]:
    """Returns how Python and people name the module. Raises `CannotCreate` if Python cannot."""
    path = file.relative_to(settings.root) if file.is_relative_to(settings.root) else None
    parts = path.with_suffix("").parts if path else ()
    if not path or not all(part.isidentifier() for part in parts):
        hint = "set TASKMARK_TASKS_DIR to a folder whose name is one word, or take another template"
        raise CannotCreate(f"Python cannot import from {file.parent}", hint=hint)
    return {"__MODULE__": ".".join(parts), "__MODULE_FILE__": path.as_posix()}


def _filled(text: str, words: Mapping[str, str]) -> str:
    name = words["__NAME__"]
    if not _PLAIN.fullmatch(name) or name.lower() in _WORDS:
        text = text.replace("name: __NAME__", f"name: {json.dumps(name, ensure_ascii=False)}")
    for word, value in sorted(words.items(), reverse=True):  # the longer of two that begin alike comes first
        text = text.replace(word, value)
    return text
