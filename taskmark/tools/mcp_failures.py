"""What it means that a call of an MCP server failed, decided in one place.

What went wrong below the conversation says more than what the conversation says of it: that the program has
ended, and its last words, more than that the connection is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp import MCPError
from mcp.types import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND
from pydantic import ValidationError

from taskmark.errors import Category, StepFailed

if TYPE_CHECKING:
    from taskmark.tools.mcp_servers import Server
    from taskmark.tools.mcp_sessions import Connection

UNDERSTOOD = frozenset({INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND})
"""Errors of a server that has heard the call and will say the same again."""


def failure(error: BaseException, server: Server, connection: Connection) -> StepFailed:
    """Returns the failure of a step whose call failed, without the server's secrets."""
    found = _cause(error)
    problem = found if isinstance(found, StepFailed) else connection.problem()
    return _told(problem or _of_conversation(found), server)


def late(seconds: float, server: Server, connection: Connection) -> StepFailed:
    """Returns the failure of a step whose call was not answered in time."""
    remark = connection.remark()
    said = f"; the last it said is: {remark}" if remark else ""
    hint = "give it more `timeout`, if it needs longer"
    problem = connection.problem() or StepFailed(f"no answer within {seconds:g} s{said}", hint=hint)
    return _told(problem, server)


def _told(problem: StepFailed, server: Server) -> StepFailed:
    hint = None if problem.hint is None else server.hide(problem.hint)
    message = f"{server.name}: {server.hide(problem.message)}"
    return StepFailed(message, problem.category, hint=hint, retry_after=problem.retry_after)


def _cause(error: BaseException) -> BaseException:
    """Returns the first error of a group: the others are what it led to."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _of_conversation(error: BaseException) -> StepFailed:
    if isinstance(error, MCPError):
        category = Category.LOGIC if error.code in UNDERSTOOD else Category.TRANSIENT
        return StepFailed(f"it answers: {error.message[:2000]}", category)
    if isinstance(error, ValidationError):
        # What it said is not repeated: it may be anything.
        return StepFailed("its answer is none that MCP knows", Category.LOGIC)
    return StepFailed(f"{type(error).__name__}: {error}"[:2000])
