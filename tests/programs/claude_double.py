"""A program that speaks as `claude -p --output-format stream-json` does, and needs no model.

What it plays is in its first prompt, as JSON after `PLAY:` on a line: `turns`, each an object with some of

    say, read, write      what it says and does; `write` only where it may
    seconds               how long the turn takes
    silent                it tells nothing of the turn
    ask                   the question that the run ends with; the turns after it are for a later run
    crash, hang, exit     how it ends in the middle of the turn, the first time that it comes to it
    garbage, long, cut    what it prints besides, or in the end
    fail, stop            the result it ends with instead, the first time that it comes to it

and `answer`, `structured`, `counts` (`run`: totals of this run, as older versions tell them, else those of
all runs of the session that came to their end, as newer ones do), `lingers` and
`unended` (its last line has no end).
Sessions are files under `.double/` in its directory; `paid.jsonl` there has a line for every turn.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from pathlib import Path

HOME = Path(".double")
TOKENS, COST = 100, 0.01
"""Of a turn."""
GIVEN, SAID = TOKENS - 30, 30
"""What the tokens are of."""


def main() -> int:
    given = arguments()
    prompt = sys.stdin.read()
    HOME.mkdir(exist_ok=True)
    session = given.resume or str(uuid.UUID(given.session_id))
    file = HOME / f"{session}.json"
    if given.resume and not file.exists():
        said = f"No conversation found with session ID: {session}"
        print(said, file=sys.stderr)
        result(session, {"subtype": "error_during_execution", "is_error": True, "errors": [said]}, 0, 0)
        return 1
    if not given.resume and file.exists():
        print(f"Error: Session ID {session} is already in use.", file=sys.stderr)
        return 1
    kept = json.loads(file.read_text()) if given.resume else {"play": played(prompt), "done": 0, "struck": []}
    kept.setdefault("prompts", []).append(prompt)
    return Play(given, session, file, kept).run()


def arguments() -> argparse.Namespace:
    """Knows the flags that the real one has, and no others."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-p", "--print", action="store_true", required=True)
    parser.add_argument("--verbose", action="store_true", required=True)
    parser.add_argument("--output-format", choices=["stream-json"], required=True)
    parser.add_argument("--permission-mode", choices=["dontAsk"], required=True)
    parser.add_argument("--setting-sources", required=True)
    for flag in ("--strict-mcp-config", "--disable-slash-commands", "--include-partial-messages"):
        parser.add_argument(flag, action="store_true")
    for flag in ("--tools", "--model", "--json-schema"):
        parser.add_argument(flag, default="")
    parser.add_argument("--allowedTools", nargs="+", default=[])
    parser.add_argument("--disallowedTools", nargs="+", required=True)
    parser.add_argument("--max-turns", type=int)
    parser.add_argument("--max-budget-usd", type=float)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--session-id")
    which.add_argument("--resume")
    return parser.parse_args()


def played(prompt: str) -> dict:
    for line in prompt.splitlines():
        if "PLAY:" in line:
            return json.JSONDecoder().raw_decode(line.partition("PLAY:")[2].strip())[0]
    return {}


def tell(message: dict, end: str = "\n") -> None:
    print(json.dumps(message), end=end, flush=True)


def result(session: str, more: dict, here: int, before: int, end: str = "\n") -> None:
    """`here` are the turns of this run, `before` those that the totals count besides."""
    whole = here + before
    tell(
        {
            "type": "result",
            "subtype": "success",
            "is_error": False,
            "session_id": session,
            "num_turns": here,
            "total_cost_usd": whole * COST,
            "usage": {"input_tokens": here * GIVEN, "output_tokens": here * SAID},
            "modelUsage": {"m": {"inputTokens": whole * GIVEN, "outputTokens": whole * SAID}},
            **more,
        },
        end,
    )


class Play:
    def __init__(self, given: argparse.Namespace, session: str, file: Path, kept: dict) -> None:
        self.given = given
        self.session = session
        self.file = file
        self.kept = kept
        self.turns = kept["play"].get("turns", [{}])
        self.paid = 0

    def run(self) -> int:
        self.keep()
        self.say("system", subtype="init", model=self.given.model, tools=self.given.tools.split(","))
        before = 0 if self.kept["play"].get("counts") == "run" else self.kept.get("counted", 0)
        ended: dict = {}
        if self.kept["done"] == len(self.turns):
            self.pay("again")
        while self.kept["done"] < len(self.turns) and not ended:
            ended = self.turn(self.kept["done"], self.turns[self.kept["done"]])
            self.keep()
        self.kept["counted"] = self.kept.get("counted", 0) + self.paid
        self.keep()
        if not ended:
            ended = {"result": self.kept["play"].get("answer", "done")}
            if "structured" in self.kept["play"]:
                ended["structured_output"] = self.kept["play"]["structured"]
        if ended.pop("cut", False):
            print('{"type": "result", "subtype": "succ', end="", flush=True)
            return 0
        result(self.session, ended, self.paid, before, end="" if "unended" in self.kept["play"] else "\n")
        time.sleep(self.kept["play"].get("lingers", 0))
        return 1 if ended.get("is_error") else 0

    def turn(self, number: int, turn: dict) -> dict:
        """Plays a turn; returns the result that the run ends with, if it does so here."""
        self.pay(number)
        time.sleep(turn.get("seconds", 0))
        self.print_strange(turn)
        if "silent" not in turn:
            tools = [(tool, turn.get(tool)) for tool in ("read", "write")]
            self.speak(tools, turn.get("say", "I go on."))
        is_first = number not in self.kept["struck"]
        if is_first and {"crash", "hang", "exit", "fail", "stop", "cut"} & turn.keys():
            self.kept["struck"].append(number)
            self.keep()
            return self.strike(turn)
        self.kept["done"] += 1
        if "ask" in turn:
            return {"result": json.dumps({"blocking": True, **turn["ask"]})}
        return {}

    def strike(self, turn: dict) -> dict:
        if "hang" in turn:
            time.sleep(600)
        if "crash" in turn or "exit" in turn:
            print(turn.get("exit", "crashed"), file=sys.stderr)
            sys.exit(3)
        if "cut" in turn:
            return {"cut": True}
        if "stop" in turn:
            return {"subtype": turn["stop"], "is_error": True}
        if "retry_after" in turn["fail"]:
            self.say("system", subtype="api_retry", retry_delay_ms=turn["fail"]["retry_after"] * 1000)
        content = [{"type": "text", "text": "API Error"}]
        self.say("assistant", message={"content": content}, error=turn["fail"].get("error"))
        return {"is_error": True, "result": "API Error", **turn["fail"]}

    def speak(self, tools: list[tuple[str, str | None]], text: str) -> None:
        """Says something and uses tools. Its length is told last, and nothing else tells what is paid."""
        name = f"msg_{uuid.uuid4()}"
        usage = {"input_tokens": GIVEN, "output_tokens": 1}
        said = {"id": name, "usage": usage}
        self.piece("message_start", message=said)
        self.message("assistant", [{"type": "text", "text": text}], **said)
        used = [(f"toolu_{number}", tool, path) for number, (tool, path) in enumerate(tools) if path]
        for call, tool, path in used:
            self.message("assistant", [_tool_use(call, tool, path)], **said)
        self.piece("message_delta", usage={"output_tokens": SAID})
        self.piece("message_stop")
        for call, tool, path in used:
            self.use(call, tool, path)

    def use(self, call: str, tool: str, path: str) -> None:
        may = tool.title() in self.given.tools.split(",") and (
            tool == "read" or "Edit(./**)" in self.given.allowedTools
        )
        if may and tool == "write":
            Path(path).write_text("written")
        self.message(
            "user", [{"type": "tool_result", "tool_use_id": call, "content": "", "is_error": not may}]
        )

    def piece(self, kind: str, **event: object) -> None:
        if self.given.include_partial_messages:
            self.say("stream_event", event={"type": kind, **event}, parent_tool_use_id=None)

    def print_strange(self, turn: dict) -> None:
        if "garbage" in turn:
            sys.stdout.buffer.write(b'\xff\xfe not json\n[1, 2]\n\n{"type": 7}\n' + b"[" * 5000 + b"\n")
            sys.stdout.flush()
        if "long" in turn:
            self.message("assistant", [{"type": "text", "text": "x" * turn["long"]}])

    def message(self, kind: str, content: list, **more: object) -> None:
        self.say(kind, message={"role": kind, "content": content, **more})

    def say(self, kind: str, **more: object) -> None:
        tell({"type": kind, "session_id": self.session, **more})

    def pay(self, turn: object) -> None:
        self.paid += 1
        line = {"session": self.session, "turn": turn, "words": sys.argv[1:], "at": time.time()}
        with (HOME / "paid.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def keep(self) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(self.kept))
        fresh.replace(self.file)


def _tool_use(call: str, tool: str, path: str) -> dict:
    return {"type": "tool_use", "id": call, "name": tool.title(), "input": {"file_path": path}}


sys.exit(main())
