"""Agents: markdown files in the form people already keep for coding agents."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Mapping_
from functools import lru_cache
from pathlib import Path
from typing import Any

from taskmark.errors import InvalidTask
from taskmark.task import values
from taskmark.task.answer_schemas import check_answer_schema
from taskmark.task.codes import Code
from taskmark.task.files import contained, read_source
from taskmark.task.model import Agent
from taskmark.task.slugs import is_agent_id
from taskmark.task.source_text import Findings, Place
from taskmark.task.yaml_nodes import Items, Mapping, Node, Scalar, YamlSource, read_mapping

_SHORT = 32 * 1024
_REMEMBERED = 128
"""Agents remembered by their text, if it is short: many tasks name the same few, again and again."""

_PLAIN_KEY = re.compile(r"[A-Za-z][\w-]*")
_LOOSE_LINE = re.compile(r"([A-Za-z][\w-]*):[ \t]+(.+)")


def agent_ids(folder: Path) -> tuple[str, ...]:
    """Returns the ids of all agents in a folder, in order; none if there is no such folder."""
    return tuple(sorted(path.stem for path in folder.glob("*.md") if is_agent_id(path.stem)))


def load_agent(folder: Path, id: str) -> Agent | None:
    """Returns the agent in `<folder>/<id>.md`, or None if there is none.

    An id that is no plain name, and a link that leads out of the folder, name no agent.
    Raises `InvalidTask` if the file cannot be read.
    """
    path = contained(folder, folder / f"{id}.md") if is_agent_id(id) else None
    if path is None or not path.is_file():
        return None
    findings = Findings(str(folder / f"{id}.md"))
    text = read_source(path, findings)
    if text is None:
        raise InvalidTask(findings.diagnostics)
    read = _known_agent if len(text) <= _SHORT else _agent
    return read(text, id, findings.file)


def _agent(text: str, id: str, file: str) -> Agent:
    findings = Findings(file)
    agent = parse_agent(text, id, findings)
    if findings.has_errors:
        raise InvalidTask(findings.diagnostics)
    return agent


_known_agent = lru_cache(maxsize=_REMEMBERED)(_agent)


def parse_agent(text: str, id: str, findings: Findings) -> Agent:
    """Returns the agent that a text describes: front matter, then the prompt."""
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return Agent(id=id, prompt=text.strip())
    end = next((row for row, line in enumerate(lines) if row and line.rstrip() in ("---", "...")), None)
    if end is None:
        hint = "end it with a line `---`"
        findings.add(Code.UNCLOSED_FRONT_MATTER, Place(1, 1), "the front matter does not end", hint)
        return Agent(id=id)
    mapping = _front_matter(lines[1:end], findings)
    fields = _fields(mapping, findings) if mapping else {}
    return Agent(id=id, prompt="\n".join(lines[end + 1 :]).strip(), **fields)


def render_agent(agent: Agent) -> str:
    """Returns the text of an agent's file: what is read of it is the agent again, unknown keys and all."""
    ours = {
        "name": agent.name,
        "description": agent.description,
        "model": agent.model,
        "tools": list(agent.tools),
    }
    front = {key: value for key, value in ours.items() if value} | agent.metadata
    lines = [f"{_key(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items()]
    return "\n".join(["---", *lines, "---", agent.prompt, ""])


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _front_matter(lines: Sequence[str], findings: Findings) -> Mapping | None:
    """Reads front matter as YAML; where it is none, as the loose lines that agents' files often have.

    Descriptions such as `Use it when: …` are no YAML, and the tools they were written for accept them.
    """
    strict = Findings(findings.file)
    mapping = read_mapping(YamlSource(lines, 2), strict)
    if any(diagnostic.code == Code.YAML_SYNTAX for diagnostic in strict.diagnostics):
        strict = Findings(findings.file)
        mapping = read_mapping(YamlSource([_quoted(line) for line in lines], 2), strict)
    findings.diagnostics.extend(strict.diagnostics)
    return mapping


def _quoted(line: str) -> str:
    match = _LOOSE_LINE.fullmatch(line)
    if match is None or match[2][0] in "[{\"'|>":
        return line
    return f"{match[1]}: {json.dumps(match[2].strip(), ensure_ascii=False)}"


def _tools(node: Node, findings: Findings) -> tuple[str, ...]:
    if isinstance(node, Scalar):
        return tuple(part.strip() for part in node.text.split(",") if part.strip())
    return values.texts(node, findings)


_FIELDS: values.Fields = {
    "name": ("name", values.text),
    "description": ("description", values.text),
    "model": ("model", values.text),
    "tools": ("tools", _tools),
}


def _schema(node: Node, findings: Findings) -> None:
    schema = values.mapping(node, findings)
    if schema is not None:
        check_answer_schema(schema, findings)


_CHECKED: Mapping_[str, Callable[[Node, Findings], object]] = {
    "timeout": values.duration(),
    "maxTurns": values.whole(1),
    "maxTokens": values.whole(1),
    "fallback": values.text,
    "schema": _schema,
}
"""Keys that say how a language model is asked. They are kept as they are."""


def _fields(mapping: Mapping, findings: Findings) -> dict[str, Any]:
    ours = Mapping(
        tuple(e for e in mapping.entries if e.key.text in _FIELDS and not _is_empty(e.node)), mapping.at
    )
    fields = values.read_fields(ours, _FIELDS, findings)
    others = {e.key.text: e.node.value for e in mapping.entries if e.key.text not in _FIELDS}
    for entry in mapping.entries:
        if entry.key.text in _CHECKED and not _is_empty(entry.node):
            _CHECKED[entry.key.text](entry.node, findings)
    return {**fields, "metadata": others}


def _is_empty(node: Node) -> bool:
    return node.value is None or (isinstance(node, Items) and not node.nodes)
