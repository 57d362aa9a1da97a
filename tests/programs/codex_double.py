"""A program that speaks as `codex exec --json` does, and needs no model.

What it plays is in its first prompt, as JSON after `PLAY:` on a line: `answer`, `change` (a file), `fail` (a
message) and `crash` (the first time only). Threads are files under `.double/` in its directory.
"""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from pathlib import Path

HOME = Path(".double")


def thread_named() -> str:
    """Knows the words that the real one has, and no others; returns the thread to resume, if one is named."""
    first, *words = sys.argv[1:]
    thread = words[1] if words[0] == "resume" else ""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for flag in ("--json", "--skip-git-repo-check", "--ignore-user-config", "--ignore-rules"):
        parser.add_argument(flag, action="store_true", required=True)
    parser.add_argument("-c", action="append")
    parser.add_argument("--model")
    parser.parse_args(words[2 if thread else 0 : -1])
    if (first, words[-1]) != ("exec", "-"):
        parser.error("it is no `exec` that reads its prompt from standard input")
    return thread


def tell(kind: str, **more: object) -> None:
    print(json.dumps({"type": kind, **more}), flush=True)


def main() -> int:
    resumed, prompt = thread_named(), sys.stdin.read()
    HOME.mkdir(exist_ok=True)
    thread = resumed or str(uuid.uuid4())
    file = HOME / f"{thread}.json"
    if resumed and not file.exists():
        print(f"Error: thread/resume failed: no rollout found for thread id {thread}", file=sys.stderr)
        return 1
    play = json.loads(file.read_text()) if file.exists() else played(prompt)
    play["turns"] = play.get("turns", 0) + 1
    play.setdefault("words", []).append(sys.argv[1:])
    play.setdefault("prompts", []).append(prompt)
    file.write_text(json.dumps(play))
    tell("thread.started", thread_id=thread)
    tell("turn.started")
    if play.get("crash") and play["turns"] == 1:
        return 9
    if "fail" in play:
        tell("error", message=play["fail"])
        tell("turn.failed", error={"message": play["fail"]})
        return 1
    if "change" in play:
        changes = [{"path": play["change"], "kind": "add"}]
        tell(
            "item.completed",
            item={"id": "1", "type": "file_change", "changes": changes, "status": "completed"},
        )
        tell(
            "item.completed",
            item={"id": "2", "type": "file_change", "changes": [{"path": "no"}], "status": "failed"},
        )
    tell(
        "item.started",
        item={"id": "3", "type": "command_execution", "command": "ls", "status": "in_progress"},
    )
    tell("item.completed", item={"id": "4", "type": "agent_message", "text": play.get("answer", "done")})
    used = {"input_tokens": 80 * play["turns"], "cached_input_tokens": 5, "output_tokens": 20 * play["turns"]}
    tell("turn.completed", usage=used)
    return 0


def played(prompt: str) -> dict:
    for line in prompt.splitlines():
        if "PLAY:" in line:
            return json.JSONDecoder().raw_decode(line.partition("PLAY:")[2].strip())[0]
    return {}


sys.exit(main())
