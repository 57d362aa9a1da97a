"""Blocks of the spool, lines of records, into the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from taskmark.records import Record
from taskmark.store.merging import bare
from taskmark.store.quarantine import Bad

if TYPE_CHECKING:
    from sqlalchemy import Engine


class BlockWriter:
    """Writes in this process."""

    def __init__(self, open_store: Callable[[], Engine]) -> None:
        """`open_store` is called with the first block, until it succeeds; the engine is then its own."""
        self._open_store = open_store
        self._engine: Engine | None = None

    def write(self, block: bytes) -> list[Bad]:
        """Writes the records of all lines that can be written, and returns the others.

        Raises whatever kept it from that; then some may be written, and all can be written again.
        """
        from taskmark.store.writing import apply_each

        records, bad = _parsed(block)
        if self._engine is None:
            self._engine = self._open_store()
        rejected = apply_each(self._engine, records)
        return bad + [Bad(bare(one.record).model_dump_json(), one.reason) for one in rejected]

    def close(self) -> None:
        """Disposes of the engine."""
        if self._engine is not None:
            self._engine.dispose()


def _parsed(block: bytes) -> tuple[Sequence[Record], list[Bad]]:
    records, bad = [], []
    for line in block.splitlines():
        try:
            records.append(_reader().validate_json(line))
        except ValidationError as error:
            reasons = "; ".join(problem["msg"] for problem in error.errors(include_input=False))
            bad.append(Bad(line.decode(errors="replace"), reasons))
    return records, bad


@cache
def _reader() -> TypeAdapter[Record]:
    return TypeAdapter(Record)
