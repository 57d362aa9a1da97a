"""Codex: `codex exec --json`. Its flags and events are those of the npm packages `@openai/codex` and
`@openai/codex-sdk`, which docs/agents-cli.md lists with the versions that were looked at."""

from __future__ import annotations

import re
from typing import Final

from taskmark.agents.cli.hearing import Heard, Message, last_line, number, objects, part, text, usage
from taskmark.agents.cli.programs import READING, Asked, CliProgram
from taskmark.errors import Category, StepFailed

WRITING: Final = frozenset({"write-file", "edit-file", "shell", "Write", "Edit", "MultiEdit", "Bash"})
NETWORK: Final = frozenset({"http", "WebFetch"})
SEARCH: Final = frozenset({"web-search", "WebSearch"})
KNOWN: Final = frozenset({*READING, "Read", "Grep", "Glob"}) | WRITING | NETWORK | SEARCH
_STATUS: Final = re.compile(r"unexpected status (\d{3})")
_LOG_IN: Final = (
    "log in on the worker's machine (`codex login`), or set CODEX_API_KEY for the worker and let it pass: "
    '`[cli_agents.codex]`, `env = ["CODEX_API_KEY"]`'
)


class Codex(CliProgram):
    """OpenAI's coding agent. It runs commands for whatever it does, in a sandbox of its own."""

    name = "codex"
    executable = "codex"
    install = "npm install -g @openai/codex, on every worker"
    chooses_session = True

    def arguments(self, asked: Asked) -> tuple[str, ...]:
        """The sandbox reads only unless a tool of the agent's changes something; nobody is asked."""
        words = ["exec", *(["resume", asked.session] if asked.resumes else [])]
        words += ["--json", "--skip-git-repo-check", "--ignore-user-config", "--ignore-rules"]
        for setting in _settings(frozenset(asked.tools)):
            words += ["-c", setting]
        if asked.model:
            words += ["--model", asked.model]
        return (*words, "-")

    def hear(self, message: Message, heard: Heard) -> None:
        """`thread.started`, `item.…`, `turn.completed`, `turn.failed` and `error` matter."""
        match message.get("type"):
            case "thread.started":
                heard.session = text(message, "thread_id")
            case "item.started" | "item.updated" | "item.completed":
                _hear_item(part(message, "item"), heard)
            case "turn.completed":
                spent = part(message, "usage")
                tokens = number(spent.get("input_tokens")) + number(spent.get("output_tokens"))
                heard.total, heard.is_over = usage(tokens, 0.0), True
            case "turn.failed":
                heard.failure, heard.is_over = _failure(text(part(message, "error"), "message")), True
            case "error":
                heard.trouble = heard.doing = text(message, "message")

    def lacks_session(self, said: str) -> bool:
        """Its rollout files are its sessions."""
        return "no rollout found" in said


def _settings(tools: frozenset[str]) -> list[str]:
    """Returns the settings that say what it may do."""
    if strange := sorted(tools - KNOWN):
        raise StepFailed(
            f"Codex has nothing like the tool {strange[0]!r}",
            Category.CONFIGURATION,
            hint=f"under `tools` write some of {', '.join(sorted(KNOWN))}",
        )
    writes, network, searches = bool(tools & WRITING), bool(tools & NETWORK), bool(tools & SEARCH)
    if network and not writes:
        raise StepFailed(
            "Codex reaches the network only where it may also change files",
            Category.CONFIGURATION,
            hint="name `write-file` too, and allow it, or ask an agent of another kind",
        )
    return [
        f'sandbox_mode="{"workspace-write" if writes else "read-only"}"',
        f"sandbox_workspace_write.network_access={'true' if network else 'false'}",
        f'web_search="{"live" if searches else "disabled"}"',
        'approval_policy="never"',
        'shell_environment_policy.inherit="core"',  # its commands need no key
    ]


def _hear_item(item: Message, heard: Heard) -> None:
    match item.get("type"):
        case "agent_message":
            heard.output = text(item, "text")
            heard.doing = last_line(text(item, "text")) or heard.doing
        case "command_execution":
            heard.doing = f"runs {text(item, 'command')}"
        case "web_search":
            heard.doing = f"searches {text(item, 'query')}"
        case "file_change":
            paths = [text(change, "path") for change in objects(item.get("changes"))]
            heard.doing = f"changes {', '.join(paths)}"
            for path in paths if item.get("status") == "completed" else ():
                heard.wrote(path)


def _failure(said: str) -> StepFailed:
    found = _STATUS.search(said)
    status = int(found[1]) if found else 0
    if status in (401, 403):
        return StepFailed(said, Category.PERMISSION, hint=_LOG_IN)
    is_passing = not 400 <= status < 500 or status in (408, 425, 429)
    return StepFailed(said or "its turn failed", Category.TRANSIENT if is_passing else Category.LOGIC)
