"""What an attempt has read and written, as its own input and output tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taskmark.contracts import is_artifact
from taskmark.task.model import Json

SOURCES = 20
"""So many are named; all are counted."""
_TEXT = 300
_WRITING = frozenset({"write-file", "edit-file", "copy-file", "move-file", "delete-file"})


def retrieval_of(kind: str | None, name: str | None, given: Json, output: Json) -> dict[str, Json] | None:
    """Returns the sources of a completed attempt, or None if it read none, or does not say so."""
    if output is None or is_artifact(output):
        return None
    read = _FOUND.get(name or "") if kind == "tool" else _told
    return read(given if isinstance(given, Mapping) else {}, output) if read else None


def written_by(kind: str, name: str, output: Json) -> tuple[str, ...]:
    """Returns the files that a completed attempt of a tool wrote, if its output tells."""
    told = output if kind == "tool" and isinstance(output, Mapping) else {}
    if name == "browser":
        kept = (file for key in ("screenshots", "downloads") for file in told.get(key) or ())
        return tuple(file for file in map(_path_of, kept) if file)
    path = told.get("path")
    return (path,) if name in _WRITING and isinstance(path, str) else ()


def _path_of(file: Json) -> str | None:
    path = file.get("path") if isinstance(file, Mapping) else file
    return path if isinstance(path, str) else None


def _sources(sources: list[str], **more: Json) -> dict[str, Json]:
    distinct = list(dict.fromkeys(source[:_TEXT] for source in sources))
    return {"sources": distinct[:SOURCES], "count": len(distinct), **more}


def _file(given: Mapping[str, Json], output: Json) -> dict[str, Json] | None:
    """One file that was read, by its name."""
    path = given.get("path")
    if not isinstance(path, str):
        return None
    rows = output.get("rows") if isinstance(output, Mapping) else None
    return _sources([path], rows=len(rows)) if isinstance(rows, list) else _sources([path])


def _matches(given: Mapping[str, Json], output: Json) -> dict[str, Json] | None:
    """Lines or results that were found, each with a place."""
    for key in ("matches", "results"):
        found = output.get(key) if isinstance(output, Mapping) else None
        if isinstance(found, list):
            query = given.get("pattern") or given.get("query")
            asked = {"query": query[:_TEXT]} if isinstance(query, str) else {}
            return _sources(_places(found), results=len(found), **asked)
    return None


def _listed(_given: Mapping[str, Json], output: Json) -> dict[str, Json] | None:
    """Names of files."""
    for key in ("files", "paths"):
        found = output.get(key) if isinstance(output, Mapping) else None
        if isinstance(found, list):
            return _sources(_places(found))
    return None


def _page(given: Mapping[str, Json], output: Json) -> dict[str, Json] | None:
    """One address, and what it answered."""
    url = given.get("url")
    if not isinstance(url, str):
        return None
    status = output.get("status") if isinstance(output, Mapping) else None
    return _sources([url.partition("?")[0]], **({} if status is None else {"status": status}))


def _asked(given: Mapping[str, Json], output: Json) -> dict[str, Json] | None:
    """A database, and how many rows it answered with."""
    rows = output.get("rows") if isinstance(output, Mapping) else None
    name = given.get("database")
    return (
        _sources([name if isinstance(name, str) else "database"], rows=len(rows))
        if isinstance(rows, list)
        else None
    )


def _told(_given: Mapping[str, Json], output: Json) -> dict[str, Json] | None:
    """What an agent says it read: `sources` in its answer."""
    found = output.get("sources") if isinstance(output, Mapping) else None
    return _sources(_places(found)) if isinstance(found, list) and found else None


def _places(found: list[Json]) -> list[str]:
    """Returns where things were found: a name, or what an entry gives as its place."""
    return [place for entry in found if (place := _place(entry))]


def _place(entry: Json) -> str:
    if isinstance(entry, Mapping):
        named = (entry.get(key) for key in ("path", "file", "url", "source", "title"))
        entry = next((place for place in named if place), "")
    return entry if isinstance(entry, str) else ""


_FOUND: Mapping[str, Callable[[Mapping[str, Json], Json], dict[str, Json] | None]] = {
    "read-file": _file,
    "read-csv": _file,
    "json": _file,
    "search-files": _matches,
    "web-search": _matches,
    "list-files": _listed,
    "http": _page,
    "sql": _asked,
}
