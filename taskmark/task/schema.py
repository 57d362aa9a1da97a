"""The JSON Schema of the YAML in a task file, for editors that complete and check it.

It says less than the parser: which keys there are and what shape their values have, not what the values
mean to each other. Whatever the parser accepts fits it.
"""

from __future__ import annotations

from typing import Any

from taskmark.task import values
from taskmark.task.metadata import METADATA_FIELDS
from taskmark.task.phases import phase_shape
from taskmark.task.steps import step_shape


def task_schema() -> dict[str, Any]:
    """Returns the schema of the metadata; the options of phases and steps are `$defs` of it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Metadata of a Taskmark task",
        **values.shape_of_fields(METADATA_FIELDS),
        "$defs": {"phase": dict(phase_shape()), "step": dict(step_shape())},
    }
