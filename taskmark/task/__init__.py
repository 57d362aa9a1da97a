"""The task format: text in, checked definition or diagnostics out.

Everything here is loaded on first use, because every workflow instance pays for what this imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskmark.task.agent_files import render_agent as render_agent
    from taskmark.task.durations import parse_duration as parse_duration
    from taskmark.task.inputs import check_inputs as check_inputs
    from taskmark.task.inputs import input_schema as input_schema
    from taskmark.task.parser import Checked as Checked
    from taskmark.task.parser import check_file as check_file
    from taskmark.task.parser import check_text as check_text
    from taskmark.task.parser import parse_file as parse_file
    from taskmark.task.parser import parse_text as parse_text
    from taskmark.task.rendering import render as render

_HOMES = {
    "parse_duration": "durations",
    "check_inputs": "inputs",
    "input_schema": "inputs",
    "Checked": "parser",
    "check_file": "parser",
    "check_text": "parser",
    "parse_file": "parser",
    "parse_text": "parser",
    "render": "rendering",
    "render_agent": "agent_files",
}

__all__ = [
    "Checked",
    "check_file",
    "check_inputs",
    "check_text",
    "input_schema",
    "parse_duration",
    "parse_file",
    "parse_text",
    "render",
    "render_agent",
]


def __getattr__(name: str) -> object:
    """Loads a public name from the module it lives in. Raises `AttributeError` for any other name."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
