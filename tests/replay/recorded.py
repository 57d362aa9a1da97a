"""Histories as files: one workflow per file, one event per line, nothing in them of where they were made."""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory

FOLDER = Path(__file__).parent / "histories"
SOURCE = Path(__file__).parents[2]

PRIVATE = (
    re.compile(r"\b\d+@(?!worker\b)[\w.-]+"),
    re.compile(r"/(?:home|root|tmp|work|Users|var|private)/"),
    re.compile(rf"\b{re.escape(socket.gethostname())}\b"),
)
"""What must not be in a file: processes and hosts, folders of a machine."""


def load(pattern: str = "*") -> list[WorkflowHistory]:
    """Returns recorded histories whose file names (without `.json`) fit the pattern, in their order."""
    return [_load(path) for path in sorted(FOLDER.glob(f"{pattern}.json"))]


def _load(path: Path) -> WorkflowHistory:
    events = json.loads(path.read_text(encoding="utf-8"))
    started = events["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], events)


def save(history: WorkflowHistory, root: Path, folder: Path = FOLDER, run: int = 1) -> Path:
    """Writes a history without its machine; the name of the file is the workflow's id, and which run of it
    this is if it continued as new."""
    name = history.workflow_id.removeprefix("exec-1-").replace("/", "--").replace("[", "-").replace("]", "")
    events = json.loads(history.to_json())["events"]
    lines = ",\n".join(json.dumps(_neutral(event, root), ensure_ascii=False) for event in events)
    path = folder / (f"{name}.json" if run == 1 else f"{name}--run-{run}.json")
    path.write_text(f'{{"events": [\n{lines}\n]}}\n', encoding="utf-8")
    return path


def _neutral(value: Any, root: Path) -> Any:
    """Returns the value with every text in it, payloads too, about a machine that does not exist.

    Replay compares commands, not texts, so it sees the same history.
    """
    if isinstance(value, list):
        return [_neutral(inner, root) for inner in value]
    if isinstance(value, str):
        return _replaced(value, root)
    if not isinstance(value, dict):
        return value
    if _is_payload(value):
        text = base64.b64decode(value["data"]).decode()
        return {**value, "data": base64.b64encode(_replaced(text, root).encode()).decode()}
    return {key: _neutral(inner, root) for key, inner in value.items() if key != "stackTrace"}


def _replaced(text: str, root: Path) -> str:
    for place, neutral in ((root, "/project"), (SOURCE, "/source"), (Path.home(), "/home-of-nobody")):
        text = text.replace(str(place), neutral)
    host = re.escape(socket.gethostname())
    return re.sub(rf"\b{host}\b", "worker", re.sub(rf"\b\d+@{host}\b", "1@worker", text))


def _is_payload(value: Any) -> bool:
    return isinstance(value, dict) and "metadata" in value and "data" in value


def texts(value: Any) -> Iterator[str]:
    """Yields every text of a recorded file, payloads decoded."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif _is_payload(value):
        yield base64.b64decode(value["data"]).decode()
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)


def kinds(histories: Sequence[WorkflowHistory]) -> set[str]:
    """Returns the kinds of events that occur."""
    return {event.WhichOneof("attributes") or "" for history in histories for event in history.events}
