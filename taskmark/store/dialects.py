"""What one database's insertions can do and plain SQL's cannot: say what becomes of rows that are there
already."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any


@cache
def insertion_of(dialect_name: str) -> Callable[..., Any]:
    """Returns SQLAlchemy's `insert` of a database.

    Only the dialect that is used is imported: PostgreSQL's takes a tenth of a second. Who opens a database
    asks first, because who writes may be where nothing can be imported any more (a workflow's thread).
    """
    insert: Callable[..., Any] = import_module(f"sqlalchemy.dialects.{dialect_name}").insert
    return insert
