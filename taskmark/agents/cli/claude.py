"""Claude Code: `claude -p` with streaming JSON.

Its flags and messages are those of the npm packages `@anthropic-ai/claude-code` and
`@anthropic-ai/claude-agent-sdk`, which docs/agents-cli.md lists with the versions that were looked at.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final

from taskmark.agents.cli.hearing import Heard, Message, last_line, number, objects, part, text, usage
from taskmark.agents.cli.programs import Asked, CliProgram
from taskmark.errors import Category, StepFailed
from taskmark.task.model import Json
from taskmark.tools.confinement import STATE_DIRECTORY

OURS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "read-file": "Read",
        "search-files": "Grep",
        "list-files": "Glob",
        "write-file": "Write",
        "edit-file": "Edit",
        "shell": "Bash",
        "web-search": "WebSearch",
        "http": "WebFetch",
    }
)
"""Our tools' names, and what Claude Code calls tools for the same."""
EDITING: Final = frozenset({"Write", "Edit", "MultiEdit", "NotebookEdit"})
UNASKED: Final = frozenset({"Read", "Grep", "Glob", "LS", "NotebookRead"})
"""Need no rule: below its directory they may read, elsewhere nothing."""
EDITS_BELOW: Final = "Edit(./**)"
"""The rule that lets every editing tool change files below its directory, and nowhere else."""
ENGINES_OWN: Final = tuple(f"{tool}(**/{STATE_DIRECTORY}/**)" for tool in ("Read", "Edit"))
"""What is denied whatever else is allowed: the engine's own state, as to our file tools."""
LONGEST_WAIT: Final = 6 * 3600.0
_TOOL: Final = re.compile(r"([A-Z][A-Za-z]*)(\(.+\))?")

_LOG_IN: Final = (
    "log in on the worker's machine (`claude`, then /login), or set ANTHROPIC_API_KEY for the worker and let "
    'it pass: `[cli_agents.claude]`, `env = ["ANTHROPIC_API_KEY"]`'
)
_PAY: Final = "look at the account's plan, credit and limits"
_TROUBLES: Final[Mapping[str, tuple[Category, str | None]]] = MappingProxyType(
    {
        "authentication_failed": (Category.PERMISSION, _LOG_IN),
        "oauth_org_not_allowed": (Category.PERMISSION, _LOG_IN),
        "cloud_credential_error": (Category.PERMISSION, _LOG_IN),
        "account_on_hold": (Category.PERMISSION, _PAY),
        "verification_required": (Category.PERMISSION, _PAY),
        "billing_error": (Category.PERMISSION, _PAY),
        "model_not_found": (Category.CONFIGURATION, "name a model that it knows: `model: cli:claude:sonnet`"),
        "invalid_request": (Category.LOGIC, None),
        "max_output_tokens": (Category.RESOURCE, "ask for a shorter answer"),
    }
)
"""What a kind of error means; others are transient, as is `rate_limit`."""
_STOPS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "error_max_turns": ("it was not done after its turns", "raise `maxTurns`, or ask for less"),
        "error_max_budget_usd": ("it was not done when its money was spent", "raise `maxCost`"),
        "error_max_structured_output_retries": (
            "its answer never fitted the schema",
            "make the schema simpler, or say in the prompt what is wanted",
        ),
    }
)


_OWN: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
_OF_MODELS: Final = ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens", "outputTokens")
"""Both: what was read, and last what was written."""


class Claude(CliProgram):
    """Anthropic's coding agent."""

    name = "claude"
    executable = "claude"
    install = "npm install -g @anthropic-ai/claude-code, on every worker"
    environment: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            # A worker's program must not change under it, and nobody needs what else it would send.
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            # A `@/etc/passwd` in a prompt, which may come from anywhere, would be read without a question.
            "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",
        }
    )

    def arguments(self, asked: Asked) -> tuple[str, ...]:
        """Least permissions: what no rule allows is denied (`dontAsk`), tools that are not named are not
        there, and settings, hooks and servers that a repository brings are not read."""
        tools, rules = _permissions(asked.tools)
        words = ["--print", "--output-format", "stream-json", "--verbose", "--include-partial-messages"]
        words += ["--permission-mode", "dontAsk"]
        words += ["--strict-mcp-config", "--setting-sources", "user", "--disable-slash-commands"]
        words += ["--tools", ",".join(tools)]
        words += ["--resume" if asked.resumes else "--session-id", asked.session]
        words += ["--disallowedTools", *ENGINES_OWN]
        if rules:
            words += ["--allowedTools", *rules]
        if asked.model:
            words += ["--model", asked.model]
        if asked.schema is not None:
            words += ["--json-schema", json.dumps(wrapped(asked.schema))]
        if asked.max_turns is not None:
            words += ["--max-turns", str(asked.max_turns)]
        if asked.max_cost is not None:
            words += ["--max-budget-usd", f"{asked.max_cost:f}"]
        return tuple(words)

    def hear(self, message: Message, heard: Heard) -> None:
        """`system`, `stream_event`, `assistant`, `user`, `rate_limit_event` and `result` matter."""
        heard.session = heard.session or text(message, "session_id")
        match message.get("type"):
            case "system":
                _hear_system(message, heard)
            case "stream_event":
                _hear_event(part(message, "event"), text(message, "parent_tool_use_id"), heard)
            case "assistant":
                _count(part(message, "message"), heard)
                _hear_assistant(message, heard)
            case "user":
                _hear_results(message, heard)
            case "rate_limit_event":
                _hear_rate_limit(part(message, "rate_limit_info"), heard)
            case "result":
                _hear_end(message, heard)

    def lacks_session(self, said: str) -> bool:
        """Its words since the first versions that could resume."""
        return "No conversation found with session ID" in said

    def has_session(self, said: str) -> bool:
        """As above."""
        return "Session ID" in said and "already in use" in said


# --- the command line -----------------------------------------------------------------------------


def _permissions(named: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the tools that are there at all, and the rules that allow what needs one."""
    tools: dict[str, None] = {}
    rules: dict[str, None] = {}
    for name in named:
        tool, pattern = _tool(name)
        tools[tool] = None
        if pattern:
            rules[tool + pattern] = None
        elif tool in EDITING:
            rules[EDITS_BELOW] = None
        elif tool not in UNASKED:
            rules[tool] = None
    return list(tools), list(rules)


def _tool(name: str) -> tuple[str, str]:
    """Returns Claude Code's name of a tool, and the pattern behind it, such as `(git log *)`."""
    match = _TOOL.fullmatch(OURS.get(name, name))
    if match is None:
        raise StepFailed(
            f"Claude Code has no tool {name!r}",
            Category.CONFIGURATION,
            hint=f"under `tools` write {', '.join(OURS)}, or its own names, such as `Bash(git log *)`",
        )
    return match[1], match[2] or ""


def wrapped(schema: Mapping[str, Json]) -> dict[str, Json]:
    """Returns the schema of an object that holds the answer, or else a question for a person."""
    asks = {"blocking": {"const": True}, "question": {"type": "string"}, "name": {"type": "string"}}
    question = {"type": "object", "properties": asks, "required": ["blocking", "question"]}
    return {"type": "object", "properties": {"answer": dict(schema), "question": question}}


# --- what it prints -------------------------------------------------------------------------------


def _hear_system(message: Message, heard: Heard) -> None:
    if message.get("subtype") == "api_retry":
        heard.retry_after = number(message.get("retry_delay_ms")) / 1000
        heard.doing = f"waits for the model ({text(message, 'error') or 'no answer'})"
    elif message.get("subtype") == "permission_denied":
        heard.doing = f"was refused {text(message, 'tool_name')}"


def _hear_event(event: Message, speaker: str, heard: Heard) -> None:
    """Takes in a piece of a message. Only its last piece tells how long it has become."""
    match event.get("type"):
        case "message_start":
            heard.speaks[speaker] = text(part(event, "message"), "id")
            _count(part(event, "message"), heard)
        case "message_delta":
            _count({"id": heard.speaks.get(speaker), "usage": event.get("usage")}, heard)


def _count(said: Message, heard: Heard) -> None:
    if name := text(said, "id"):
        *read, written = _tokens(part(said, "usage"), *_OWN)
        heard.spoke(name, sum(read), written)


def _hear_assistant(message: Message, heard: Heard) -> None:
    heard.trouble = text(message, "error")
    for block in objects(part(message, "message").get("content")):
        if block.get("type") == "text":
            heard.doing = last_line(text(block, "text")) or heard.doing
        elif block.get("type") == "tool_use":
            _hear_tool(block, heard)


def _hear_tool(block: Message, heard: Heard) -> None:
    name, given = text(block, "name"), part(block, "input")
    path = text(given, "file_path") or text(given, "notebook_path")
    about = path or text(given, "path") or text(given, "pattern") or text(given, "command")
    heard.doing = f"{name} {about}".strip()
    if name in EDITING:
        heard.intended[text(block, "id")] = path


def _hear_results(message: Message, heard: Heard) -> None:
    for block in objects(part(message, "message").get("content")):
        path = heard.intended.pop(text(block, "tool_use_id"), "")
        if not block.get("is_error"):
            heard.wrote(path)


def _hear_rate_limit(info: Message, heard: Heard) -> None:
    if info.get("status") == "rejected" and info.get("resetsAt"):
        seconds = number(info.get("resetsAt")) - time.time()
        heard.retry_after = min(max(seconds, 0.0), LONGEST_WAIT)


def _hear_end(message: Message, heard: Heard) -> None:
    heard.is_over = True
    heard.tokens = sum(_tokens(part(message, "usage"), *_OWN))
    models = [one for one in part(message, "modelUsage").values() if isinstance(one, dict)]
    total = sum(sum(_tokens(one, *_OF_MODELS)) for one in models)
    heard.total = usage(total or heard.tokens, number(message.get("total_cost_usd")))
    heard.output = _answer(message)
    heard.failure = _failure(message, heard) if _has_failed(message) else None


def _tokens(counts: Message, *names: str) -> Iterator[int]:
    """Yields what is counted under these names."""
    yield from (int(number(counts.get(name))) for name in names)


def _answer(message: Message) -> Json:
    """Returns the answer: what fits the schema if there was one, else the text."""
    structured = message.get("structured_output")
    if isinstance(structured, dict):
        return structured.get("answer", structured.get("question", structured))
    return text(message, "result")


def _has_failed(message: Message) -> bool:
    return bool(message.get("is_error")) or text(message, "subtype") in _STOPS


def _failure(message: Message, heard: Heard) -> StepFailed:
    subtype = text(message, "subtype")
    if subtype in _STOPS:
        what, advice = _STOPS[subtype]
        return StepFailed(what, Category.LOGIC, hint=advice)
    errors = message.get("errors")
    said = "; ".join(str(one) for one in errors) if isinstance(errors, list) else text(message, "result")
    category, hint = _meaning(heard.trouble, int(number(message.get("api_error_status"))), said)
    after = heard.retry_after if category is Category.TRANSIENT else None
    return StepFailed((said or subtype)[:2000], category, hint=hint, retry_after=after)


def _meaning(trouble: str, status: int, said: str) -> tuple[Category, str | None]:
    """Returns what an error means: its kind if it is told, else the HTTP status, else the words."""
    if trouble in _TROUBLES:
        return _TROUBLES[trouble]
    if status in (401, 403) or "/login" in said:
        return _TROUBLES["authentication_failed"]
    if "redit balance is too low" in said:
        return _TROUBLES["billing_error"]
    if 400 <= status < 500 and status not in (408, 425, 429):
        return _TROUBLES["model_not_found" if status == 404 else "invalid_request"]
    return Category.TRANSIENT, None
