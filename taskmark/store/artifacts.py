"""Outputs too large for history, kept by their SHA-256: in a folder, or in the database."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from taskmark.errors import Unreachable
from taskmark.ports import Artifacts

if TYPE_CHECKING:
    from sqlalchemy import Engine

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_REMOVED_AT_ONCE = 100


class KeptArtifacts(Artifacts, Protocol):
    """An artifact store that can be looked through and tidied up."""

    def kept(self) -> Iterator[tuple[str, datetime]]:
        """Yields what is there, with when it was last saved. Raises `Unreachable`."""
        ...

    def remove(self, names: Iterable[str], before: datetime) -> int:
        """Removes those that were not saved again since, and returns how many. Raises `Unreachable`."""
        ...


class FileArtifacts:
    """`taskmark.ports.Artifacts` in a folder: `ab/cdef…`, each file written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, content: bytes) -> str:
        """Keeps the content and returns its SHA-256. Raises `Unreachable` if the folder refuses it."""
        name = digest(content)
        path = self._path(name)
        try:
            if self._read(path) != content or not self._renewed(path):
                self._write(path, content)
        except OSError as error:
            hint = "Free some space, or check who may write to the folder"
            raise Unreachable(
                f"The artifact folder {self._folder} refuses {name}: {error.strerror}", hint=hint
            ) from error
        return name

    def load(self, sha256: str) -> bytes:
        """Returns the content. Raises `KeyError` if it is not there, also if it was damaged since,
        and `Unreachable` if the folder can't be read."""
        content = None
        if _SHA256.fullmatch(sha256):
            try:
                content = self._read(self._path(sha256))
            except OSError as error:
                raise Unreachable(f"The artifact {sha256} cannot be read: {error.strerror}") from error
        return checked(sha256, content)

    def kept(self) -> Iterator[tuple[str, datetime]]:
        """Yields what is there, with when it was last saved. Raises `Unreachable`."""
        try:
            for path in sorted(self._folder.glob("??/*")):
                name = path.parent.name + path.name
                if _SHA256.fullmatch(name):
                    with suppress(FileNotFoundError):  # somebody else tidies up too
                        yield name, _saved_at(path)
        except OSError as error:
            raise Unreachable(f"The artifact folder {self._folder} cannot be read: {error}") from error

    def remove(self, names: Iterable[str], before: datetime) -> int:
        """Removes those that were not saved again since, and returns how many. Raises `Unreachable`."""
        try:
            return sum(self._removed(self._path(name), before) for name in names)
        except OSError as error:
            raise Unreachable(f"The artifact folder {self._folder} cannot be changed: {error}") from error

    def _removed(self, path: Path, before: datetime) -> bool:
        """Removes a file unless it was saved again, also in the very moment before."""
        aside = path.with_name(f".old-{uuid.uuid4().hex}")
        try:
            if _saved_at(path) >= before:
                return False
            path.rename(aside)
        except FileNotFoundError:
            return False
        if _saved_at(aside) >= before:
            aside.replace(path)
            return False
        aside.unlink()
        return True

    def _renewed(self, path: Path) -> bool:
        """Says that the file is in use, and whether it is still there."""
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256[2:]

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                # Temporal's history refers to it from now on, and that outlives a power failure.
                os.fsync(descriptor)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


class DatabaseArtifacts:
    """`taskmark.ports.Artifacts` in the store, for workers that share no folder."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def save(self, content: bytes) -> str:
        """Keeps the content and returns its SHA-256. Raises `Unreachable`."""
        from taskmark.store.engine import writing
        from taskmark.store.inserting import inserting
        from taskmark.store.tables import ArtifactContents, table
        from taskmark.store.writing import replacing

        row = {
            "sha256": digest(content),
            "size": len(content),
            "content": content,
            "kept_at": datetime.now(UTC),
        }
        with writing(self._engine) as connection:
            contents = table(ArtifactContents)
            # What is there is replaced: should the stored content be damaged, it is whole again.
            replace = replacing(contents, ("sha256",))
            connection.execute(replace(inserting(connection.dialect.name, contents)), row)
        return str(row["sha256"])

    def load(self, sha256: str) -> bytes:
        """Returns the content. Raises `KeyError` if it is not there or damaged, and `Unreachable`."""
        from sqlalchemy import select

        from taskmark.store.engine import reading
        from taskmark.store.tables import ArtifactContents, table

        if not _SHA256.fullmatch(sha256):
            raise KeyError(sha256)
        artifacts = table(ArtifactContents)
        with reading(self._engine) as connection:
            query = select(artifacts.c.content).where(artifacts.c.sha256 == sha256)
            return checked(sha256, connection.execute(query).scalar())

    def kept(self) -> Iterator[tuple[str, datetime]]:
        """Yields what is there, with when it was last saved. Raises `Unreachable`."""
        from sqlalchemy import select

        from taskmark.store.engine import snapshot
        from taskmark.store.tables import ArtifactContents, table

        artifacts = table(ArtifactContents)
        with snapshot(self._engine) as connection:
            for row in connection.execute(select(artifacts.c.sha256, artifacts.c.kept_at)):
                yield row[0], row[1]

    def remove(self, names: Iterable[str], before: datetime) -> int:
        """Removes those that were not saved again since, and returns how many. Raises `Unreachable`."""
        from taskmark.store.engine import writing
        from taskmark.store.keys import batches
        from taskmark.store.tables import ArtifactContents, table

        artifacts, count = table(ArtifactContents), 0
        for some in batches(names, _REMOVED_AT_ONCE):
            old = artifacts.delete().where(artifacts.c.sha256.in_(some), artifacts.c.kept_at < before)
            with writing(self._engine) as connection:
                count += connection.execute(old).rowcount
        return count


def _saved_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


class LateArtifacts:
    """`taskmark.ports.Artifacts` that are made when they are first needed: a worker starts without its store,
    and most steps never have an output that goes there."""

    def __init__(self, make: Callable[[], Artifacts]) -> None:
        self._make = make

    def save(self, content: bytes) -> str:
        """Keeps the content and returns its SHA-256. Raises `Unreachable`."""
        return self._make().save(content)

    def load(self, sha256: str) -> bytes:
        """Returns the content. Raises `KeyError` if it is not there or damaged, and `Unreachable`."""
        return self._make().load(sha256)


def digest(content: bytes) -> str:
    """Returns the name of a content."""
    return hashlib.sha256(content).hexdigest()


def checked(sha256: str, content: bytes | None) -> bytes:
    """Returns the content if it is the one of that name. Raises `KeyError` if not."""
    if content is None or digest(content) != sha256:
        raise KeyError(sha256)
    return content
