"""Claude Code as an agent, played by a program that speaks as it does: what becomes of what it prints."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskmark.agents.cli.hearing import Heard
from taskmark.agents.cli.programs import CliSetting, built_in
from taskmark.agents.cli.provider import CliAgents
from taskmark.contracts import Usage
from taskmark.errors import Category, StepFailed, Unreachable
from taskmark.ports import Answer, Question, StepContext
from taskmark.shared import MemoryShared
from taskmark.task.model import Agent

KEYS = (
    *("type", "subtype", "session_id", "message", "content", "text", "name", "input", "id", "tool_use_id"),
    *(
        "file_path",
        "is_error",
        "errors",
        "result",
        "structured_output",
        "usage",
        "modelUsage",
        "input_tokens",
    ),
    *("total_cost_usd", "rate_limit_info", "resetsAt", "status", "retry_delay_ms", "api_error_status"),
    *("thread_id", "item", "changes", "path", "error", "command", "query", "inputTokens"),
)
KINDS = (
    *("system", "assistant", "user", "result", "rate_limit_event", "thread.started", "turn.completed"),
    *("item.completed", "turn.failed", "error"),
)
DOUBLE = Path(__file__).parents[2] / "programs" / "claude_double.py"
AGENT = Agent(id="coder", model="cli:claude:sonnet", prompt="You write code.")


class Desk:
    """Asks one agent, and tells what it paid and heard."""

    def __init__(self, root: Path, **setting: Any) -> None:
        self.root = root
        self.said: list[str] = []
        self.kept: list[Any] = []
        self.charged: list[Usage] = []
        self.context = StepContext(
            root=root,
            execution_id="exec-1",
            idempotency_key="key-1",
            timeout=20.0,
            say=self.said.append,
            heartbeat=self.kept.append,
            charge=self.charged.append,
        )
        self.agents = self.provider(**setting)

    def provider(self, **setting: Any) -> CliAgents:
        """A worker's provider; a new one remembers nothing of its own."""
        own = CliSetting(program=sys.executable, arguments=("-I", str(DOUBLE)), **setting)
        return CliAgents(built_in(), {"claude": own}, lingers=0.3)

    async def ask(
        self, play: dict[str, Any], *, agent: Agent = AGENT, given: Any = (), **context: Any
    ) -> Answer:
        """Asks what is played. `given` are people's answers."""
        told = {"with": {}, **({"answers": given} if given else {})}
        question = Question(f"Do it. PLAY:{json.dumps(play)}", told)
        return await self.agents.ask(agent, question, replace(self.context, **context))

    @property
    def paid(self) -> list[Any]:
        """The turns that were paid for, in order."""
        return [line["turn"] for line in self._lines]

    @property
    def words(self) -> list[list[str]]:
        """The command lines of the turns."""
        return [line["words"] for line in self._lines]

    @property
    def _lines(self) -> list[dict[str, Any]]:
        file = self.root / ".double" / "paid.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def prompts(self) -> list[str]:
        """What the one session was told, run by run."""
        (file,) = (self.root / ".double").glob("*-*.json")
        prompts: list[str] = json.loads(file.read_text())["prompts"]
        return prompts


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk in an empty root."""
    return Desk(tmp_path)


WRITER = AGENT.model_copy(update={"tools": ("read-file", "write-file")})
WRITES: dict[str, Any] = {"agent": WRITER, "allow": ("write-file",)}
"""Its file lists what it needs for that, and its step allows it."""


async def test_an_answer_has_its_text_what_it_used_and_the_files_it_changed(desk: Desk) -> None:
    turns = [{"say": "I look.\nNow I write.\n", "read": "a.txt"}, {"write": "new.txt"}]
    turns += [{"write": str(desk.root / "other.txt")}]
    answer = await desk.ask({"turns": turns, "answer": "All is done."}, **WRITES)
    assert answer == Answer("All is done.", Usage(tokens=300, cost=0.03), ("new.txt", "other.txt"))
    assert desk.charged[-1] == Usage(tokens=300, cost=0.03)


async def test_who_watches_is_told_what_it_does(desk: Desk) -> None:
    await desk.ask({"turns": [{"say": "First.\nThen this.", "read": "a.txt"}]})
    assert "Then this." in desk.said
    assert "Read a.txt" in desk.said


async def test_an_agent_without_tools_may_only_read(desk: Desk) -> None:
    answer = await desk.ask({"turns": [{"write": "no.txt"}]})
    assert (answer.files, (desk.root / "no.txt").exists()) == ((), False)
    words = desk.words[0]
    assert words[words.index("--tools") + 1] == "Read,Grep,Glob"
    assert "--allowedTools" not in words
    assert words[words.index("--permission-mode") + 1] == "dontAsk"
    denied = words.index("--disallowedTools")
    assert words[denied + 1 : denied + 3] == ["Read(**/.taskmark/**)", "Edit(**/.taskmark/**)"]


@pytest.mark.parametrize(
    ("tools", "there", "rules"),
    [
        (("read-file", "edit-file"), "Read,Edit", ["Edit(./**)"]),
        (("Write", "Edit"), "Write,Edit", ["Edit(./**)"]),
        (("shell",), "Bash", ["Bash"]),
        (("Bash(git log *)", "Bash(git diff *)"), "Bash", ["Bash(git log *)", "Bash(git diff *)"]),
        (("web-search", "http"), "WebSearch,WebFetch", ["WebSearch", "WebFetch"]),
        (("list-files", "search-files"), "Glob,Grep", []),
    ],
)
async def test_an_agents_file_says_what_more_it_may(
    desk: Desk, tools: tuple[str, ...], there: str, rules: list[str]
) -> None:
    """Our names and its own mean the same; files change below the root only."""
    await desk.ask({}, agent=AGENT.model_copy(update={"tools": tools}), allow=tools)
    words = desk.words[0]
    assert words[words.index("--tools") + 1] == there
    begin = words.index("--allowedTools") + 1 if rules else 0
    assert words[begin : begin + len(rules)] == rules


@pytest.mark.semantics("X2")
async def test_without_allow_it_is_started_without_the_tool_and_its_write_is_refused(desk: Desk) -> None:
    answer = await desk.ask({"turns": [{"write": "no.txt"}]}, agent=WRITER)
    assert (answer.files, (desk.root / "no.txt").exists()) == ((), False)
    words = desk.words[0]
    assert words[words.index("--tools") + 1] == "Read"
    assert "--allowedTools" not in words


@pytest.mark.semantics("X2")
@pytest.mark.parametrize(
    ("tools", "allow", "there"),
    [
        (("Read", "Write", "Bash"), ("edit-file", "shell"), "Read,Bash"),
        (("Read", "NotebookEdit"), ("edit-file",), "Read,NotebookEdit"),
        (("Bash(git log *)",), ("shell",), "Bash"),
        (("Bash(git log *)", "Read"), ("Bash(git log *)",), "Bash,Read"),
        (("Bash", "Read"), ("Bash(git log *)",), "Read"),
        (("http", "web-search"), (), "WebSearch"),
        (("Task", "Read"), (), "Read"),
        (("Task", "Read"), ("Task",), "Task,Read"),
        (("Bash",), (), ""),
    ],
)
async def test_of_what_its_file_lists_it_is_given_what_is_harmless_or_allowed(
    desk: Desk, tools: tuple[str, ...], allow: tuple[str, ...], there: str
) -> None:
    """What we do not know counts as having side effects. Who is left without any tool may not even read."""
    await desk.ask({}, agent=AGENT.model_copy(update={"tools": tools}), allow=allow)
    words = desk.words[0]
    assert words[words.index("--tools") + 1] == there


@pytest.mark.semantics("X2")
async def test_it_and_the_log_are_told_once_what_is_held_back(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    agent = AGENT.model_copy(update={"tools": ("Read", "Write", "Bash(git log *)")})
    await desk.ask({}, agent=agent)
    assert "These tools are held back" in desk.prompts[0]
    assert "Write, Bash(git log *)." in desk.prompts[0]
    await desk.ask({}, agent=agent, idempotency_key="key-2")
    (said,) = [record.getMessage() for record in caplog.records if "is asked without" in record.getMessage()]
    assert said.startswith("agent coder is asked without Write, Bash(git log *)")
    assert said.endswith("write `allow: [write-file, shell]`")


async def test_who_has_all_it_lists_is_told_of_nothing(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    await desk.ask({}, **WRITES)
    assert "held back" not in desk.prompts[0]
    assert "is asked without" not in caplog.text


async def test_a_tool_that_it_has_not_is_an_error_that_names_those_it_has(desk: Desk) -> None:
    with pytest.raises(StepFailed, match="Claude Code has no tool 'sql'") as caught:
        await desk.ask({}, agent=AGENT.model_copy(update={"tools": ("sql",)}))
    assert caught.value.category is Category.CONFIGURATION
    assert "read-file" in (caught.value.hint or "")


async def test_the_question_is_on_standard_input_and_never_in_the_command_line(desk: Desk) -> None:
    play = {"answer": "x" * 200_000}
    answer = await desk.ask(play)
    assert len(answer.output) == 200_000
    assert not any("PLAY" in word or "You write code." in word for word in desk.words[0])
    (prompt,) = desk.prompts
    assert prompt.startswith("You write code.\n\n# Your task\n\nDo it.")
    assert '"blocking": true' in prompt


async def test_the_model_and_the_limits_are_passed_on(tmp_path: Path) -> None:
    desk = Desk(tmp_path, max_turns=7, max_cost=1.5)
    await desk.ask({})
    words = " ".join(desk.words[0])
    assert "--model sonnet" in words
    assert "--max-turns 7 --max-budget-usd 1.500000" in words
    three = AGENT.model_copy(update={"metadata": {"maxTurns": 3}})
    await desk.ask({}, agent=three, idempotency_key="key-2")
    assert "--max-turns 3 " in " ".join(desk.words[1])


@pytest.mark.parametrize("value", [0, -1, "many", True, float("inf")])
async def test_a_limit_that_is_no_number_is_an_error(desk: Desk, value: Any) -> None:
    with pytest.raises(StepFailed, match="maxTurns is no number above 0"):
        await desk.ask({}, agent=AGENT.model_copy(update={"metadata": {"maxTurns": value}}))


@pytest.mark.parametrize(
    ("play", "output"),
    [
        ({"answer": '{"votes": 3}'}, {"votes": 3}),
        ({"answer": 'Here:\n```json\n{"votes": 3}\n```'}, 'Here:\n```json\n{"votes": 3}\n```'),
        ({"answer": '```json\n{"votes": 3}\n```'}, {"votes": 3}),
        ({"answer": "x", "structured": {"answer": [1]}}, [1]),
        (
            {"answer": "x", "structured": {"question": {"blocking": True, "question": "Q?"}}},
            {"blocking": True, "question": "Q?"},
        ),
        (
            {"answer": 'I must know.\n{"blocking": true, "question": "Q?"}'},
            {"blocking": True, "question": "Q?"},
        ),
        (
            {"answer": 'So:\n```\n{"blocking": true, "question": "Q?"}\n```\n'},
            {"blocking": True, "question": "Q?"},
        ),
    ],
)
async def test_an_answer_in_json_is_what_it_says(desk: Desk, play: dict[str, Any], output: Any) -> None:
    assert (await desk.ask(play)).output == output


async def test_a_schema_is_passed_on_beside_the_question_it_may_ask(desk: Desk) -> None:
    question = Question("Do it.", {}, schema={"type": "array"})
    await desk.agents.ask(AGENT, question, desk.context)
    words = desk.words[0]
    schema = json.loads(words[words.index("--json-schema") + 1])
    assert schema["properties"]["answer"] == {"type": "array"}
    assert schema["properties"]["question"]["required"] == ["blocking", "question"]


# --- what goes wrong ------------------------------------------------------------------------------


def _fail(status: int, **result: Any) -> dict[str, Any]:
    return {"fail": {"api_error_status": status, **result}}


@pytest.mark.parametrize(
    ("turn", "category", "message", "hint"),
    [
        (_fail(401, error="authentication_failed"), Category.PERMISSION, "API Error", "log in"),
        (_fail(0, result="Not logged in · Please run /login"), Category.PERMISSION, "Not logged", "log in"),
        (_fail(400, result="Credit balance is too low"), Category.PERMISSION, "Credit", "credit"),
        (_fail(404, error="model_not_found"), Category.CONFIGURATION, "API Error", "cli:claude"),
        (_fail(404), Category.CONFIGURATION, "API Error", "cli:claude"),
        (_fail(403), Category.PERMISSION, "API Error", "log in"),
        (_fail(400), Category.LOGIC, "API Error", None),
        (_fail(529, error="overloaded"), Category.TRANSIENT, "API Error", None),
        (_fail(0, error="max_output_tokens"), Category.RESOURCE, "API Error", "shorter"),
        (_fail(0, errors=["it broke"]), Category.TRANSIENT, "it broke", None),
        ({"stop": "error_max_turns"}, Category.LOGIC, "after its turns", "maxTurns"),
        ({"stop": "error_max_budget_usd"}, Category.LOGIC, "money", "maxCost"),
        ({"stop": "error_max_structured_output_retries"}, Category.LOGIC, "schema", "schema"),
        ({"exit": "no such thing"}, Category.TRANSIENT, "exit code 3: no such thing", None),
        ({"cut": True}, Category.TRANSIENT, "an answer: exit code 0.*1 lines were not understood", None),
    ],
)
async def test_a_failure_says_of_what_kind_it_is(
    desk: Desk, turn: dict[str, Any], category: Category, message: str, hint: str | None
) -> None:
    with pytest.raises(StepFailed, match=f"(?s)agent coder: .*{message}") as caught:
        await desk.ask({"turns": [turn]})
    assert caught.value.category is category
    assert (hint is None) == (caught.value.hint is None)
    assert hint is None or hint in (caught.value.hint or "")


async def test_a_rate_limit_says_when_to_try_again(desk: Desk) -> None:
    with pytest.raises(StepFailed) as caught:
        await desk.ask(
            {"turns": [{"fail": {"error": "rate_limit", "api_error_status": 429, "retry_after": 7}}]}
        )
    assert (caught.value.category, caught.value.retry_after) == (Category.TRANSIENT, 7)


async def test_what_a_failed_run_used_is_charged(desk: Desk) -> None:
    with pytest.raises(StepFailed):
        await desk.ask({"turns": [{}, {"stop": "error_max_turns"}]})
    assert desk.charged[-1] == Usage(tokens=200, cost=0.02)


@pytest.mark.semantics("X8")
async def test_what_a_run_used_that_never_told_is_charged_as_far_as_it_came(desk: Desk) -> None:
    """Tokens; what they cost the program tells in the end only."""
    with pytest.raises(StepFailed, match="crashed"):
        await desk.ask({"turns": [{}, {"crash": True}]})
    assert desk.charged == [Usage(tokens=tokens) for tokens in (71, 100, 171, 200)]


async def test_who_streams_nothing_is_charged_in_the_end(desk: Desk) -> None:
    with pytest.raises(StepFailed, match="crashed"):
        await desk.ask({"turns": [{"silent": True}, {"crash": True, "silent": True}]})
    assert desk.charged == []


async def test_lines_that_are_no_messages_are_left_out(desk: Desk) -> None:
    """Bytes that are no text, lists, deep nesting, a line of 5 MB and one of 11 MB."""
    answer = await desk.ask({"turns": [{"garbage": True}, {"long": 5_000_000}, {"long": 11_000_000}]})
    assert answer.output == "done"


async def test_a_last_line_without_an_end_is_read(desk: Desk) -> None:
    assert (await desk.ask({"answer": "here", "unended": True})).output == "here"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
)


# On a busy machine its first draw takes seconds.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=8), st.sampled_from(KINDS))
def test_a_message_of_any_shape_hurts_nobody(message: dict[str, Any], kind: str) -> None:
    for program in built_in().values():
        heard = Heard()
        program.hear({**message, "type": kind}, heard)
        assert heard.used(Usage()).tokens >= 0
        assert isinstance(heard.doing, str)


@pytest.mark.parametrize("model", ["cli:claude:--help", "cli:claude:a b", "cli:claude:x;y"])
async def test_a_model_is_no_option(desk: Desk, model: str) -> None:
    with pytest.raises(StepFailed, match="is no name of a model"):
        await desk.ask({}, agent=AGENT.model_copy(update={"model": model}))


async def test_a_program_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    agents = CliAgents(built_in(), {"claude": CliSetting(program="no-such-claude")})
    assert agents.health("cli:claude").message == "no-such-claude: command not found"
    with pytest.raises(StepFailed, match="no-such-claude: command not found") as caught:
        await agents.ask(AGENT, Question("Do it.", {}), StepContext(root=tmp_path))
    assert caught.value.hint == "npm install -g @anthropic-ai/claude-code, on every worker"


async def test_an_unknown_program_is_an_error_that_names_the_known(desk: Desk) -> None:
    with pytest.raises(StepFailed, match=r"no command-line agent 'claud' \(did you mean") as caught:
        await desk.ask({}, agent=AGENT.model_copy(update={"model": "cli:claud"}))
    assert "claude, codex" in (caught.value.hint or "")
    assert desk.agents.health("cli:claud").healthy is False
    assert desk.agents.health("cli:claude").healthy is True


async def test_only_variables_that_are_named_are_passed_and_none_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret-key-12345")
    monkeypatch.setenv("OTHER_KEY", "other-key-12345")
    shows = "import os, sys; sys.exit(' '.join(sorted(os.environ)) + ' ' + os.environ['MY_KEY'])"
    setting = CliSetting(program=sys.executable, arguments=("-I", "-c", shows), env=("MY_KEY", "ABSENT"))
    agents = CliAgents(built_in(), {"claude": setting})
    with pytest.raises(StepFailed, match=r"MY_KEY .*\*\*\*") as caught:
        await agents.ask(AGENT, Question("Do it.", {}), StepContext(root=tmp_path))
    assert "secret-key-12345" not in caught.value.message
    assert "OTHER_KEY" not in caught.value.message
    for name in ("DISABLE_AUTOUPDATER", "CLAUDE_CODE_DISABLE_ATTACHMENTS"):
        assert name in caught.value.message


async def test_a_key_in_an_answer_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-key-12345")
    desk = Desk(tmp_path, env=("MY_KEY",))
    assert (await desk.ask({"answer": "It is secret-key-12345."})).output == "It is ***."


# --- crashes, sessions, questions -----------------------------------------------------------------


async def test_a_crashed_session_goes_on_where_it_was(desk: Desk) -> None:
    """Turns that were done are not paid for again, and all that was used is counted once."""
    play = {"turns": [{}, {"crash": True}, {"say": "on"}]}
    with pytest.raises(StepFailed, match="crashed"):
        await desk.ask(play)
    resume = desk.kept[-1]
    assert resume["session"]["begun"] is True
    answer = await desk.ask(play, attempt=2, resume=resume)
    assert (answer.output, desk.paid) == ("done", [0, 1, 1, 2])
    assert "--resume" in desk.words[-1]
    assert desk.prompts[1].startswith("You were interrupted.")


@pytest.mark.semantics("X8")
@pytest.mark.parametrize(
    ("total", "before", "lost"),
    [
        (Usage(tokens=100, cost=1), Usage(), 0),
        (Usage(tokens=100, cost=1), Usage(tokens=50, cost=1), 0),  # of the run alone
        (Usage(tokens=300, cost=3), Usage(tokens=200, cost=2), 0),  # of the session
        (Usage(tokens=100, cost=1), Usage(), 200),  # of the run alone, or of what was not killed
        (Usage(tokens=300, cost=3), Usage(), 200),  # of killed runs too
        (Usage(tokens=200, cost=2), Usage(), 200),  # of some killed runs
        (Usage(tokens=400, cost=4), Usage(tokens=100, cost=1), 200),
    ],
)
def test_whatever_a_total_counts_a_run_is_counted_once_and_lost_ones_are_paid(
    total: Usage, before: Usage, lost: int
) -> None:
    used = Heard(total=total, tokens=100).used(before, lost)
    assert used == Usage(tokens=100, cost=(100 + lost) / 100)


@pytest.mark.semantics("X8")
@pytest.mark.parametrize("counts", ["run", "session"])
@pytest.mark.parametrize("memory", ["heartbeat", "shared"])
async def test_what_lost_runs_have_used_is_counted_with_the_one_that_answers(
    desk: Desk, memory: str, counts: str
) -> None:
    """Whose cost nobody told is priced like the rest."""
    play = {"turns": [{}, {"hang": True}, {}], "counts": counts}
    asking = asyncio.ensure_future(desk.ask(play))
    while desk.charged[-1:] != [Usage(tokens=200)]:
        await asyncio.sleep(0.02)
    asking.cancel()
    await asyncio.wait({asking})
    memories = {"shared": desk.context.shared, "heartbeat": MemoryShared()}
    kept = {"heartbeat": desk.kept[-1]}
    desk.agents = desk.provider()
    answer = await desk.ask(play, shared=memories[memory], resume=kept.get(memory))
    assert desk.paid == [0, 1, 1, 2]
    assert answer.usage == Usage(tokens=400, cost=0.04)


@pytest.mark.parametrize("memory", ["heartbeat", "shared", "none"])
async def test_a_session_is_found_by_its_heartbeat_by_what_workers_share_or_by_its_id(
    desk: Desk, memory: str
) -> None:
    play = {"turns": [{}, {"crash": True}]}
    with pytest.raises(StepFailed):
        await desk.ask(play)
    shared = desk.context.shared if memory == "shared" else MemoryShared()
    desk.agents = desk.provider()
    await desk.ask(play, shared=shared, resume=desk.kept[-1] if memory == "heartbeat" else None)
    assert desk.paid == [0, 1, 1]


async def test_a_session_that_is_not_there_begins_anew(desk: Desk) -> None:
    """As on another machine."""
    play = {"turns": [{}, {"stop": "error_during_execution"}]}
    with pytest.raises(StepFailed):
        await desk.ask(play)
    for file in (desk.root / ".double").glob("*-*.json"):
        file.unlink()
    with pytest.raises(StepFailed):
        await desk.ask(play, attempt=2)
    assert desk.paid == [0, 1, 0, 1]
    whole = Usage(tokens=200, cost=0.02)
    assert (desk.charged.count(whole), desk.charged[-1]) == (2, whole)


async def test_an_attempt_that_was_answered_is_not_asked_again(desk: Desk) -> None:
    """Its worker died before it could tell; the next one finds the answer, with what it used."""
    first = await desk.ask({"turns": [{"write": "a.txt"}]}, **WRITES)
    desk.agents = desk.provider()
    assert await desk.ask({"turns": [{"write": "a.txt"}]}, **WRITES) == first
    assert desk.paid == [0]


@pytest.mark.parametrize(
    "said", ["Error: Session ID 5 is already in use.", "No conversation found with session ID: 5"]
)
async def test_an_answer_that_speaks_of_sessions_is_an_answer(desk: Desk, said: str) -> None:
    assert (await desk.ask({"answer": said})).output == said
    await desk.ask({"answer": said}, attempt=2)
    assert desk.paid == [0, "again"]


async def test_another_attempt_or_other_inputs_are_asked(desk: Desk) -> None:
    """An answer that was not accepted is no answer: the same session is asked once more."""
    await desk.ask({"answer": "one"})
    answer = await desk.ask({"answer": "one"}, attempt=2)
    assert (desk.paid, answer.usage) == ([0, "again"], Usage(tokens=100, cost=0.01))
    await desk.ask({"answer": "two"})
    assert desk.paid == [0, "again", 0]


@pytest.mark.parametrize("counts", ["run", "session"])
async def test_a_question_goes_on_in_the_same_session_with_the_answer(desk: Desk, counts: str) -> None:
    """Whether the program counts from the session's beginning or from the run's, each turn counts once."""
    asks = {"question": "Which colour?", "name": "colour", "schema": {"enum": ["red", "blue"]}}
    play = {"turns": [{"say": "hm"}, {"ask": asks}, {"say": "ah"}], "answer": "painted", "counts": counts}
    first = await desk.ask(play)
    assert (first.output, first.usage) == ({"blocking": True, **asks}, Usage(tokens=200, cost=0.02))
    given = [{"question": "Which colour?", "value": "red", "by": "ann"}]
    second = await desk.ask(play, given=given)
    assert (second.output, second.usage) == ("painted", Usage(tokens=100, cost=0.01))
    assert desk.paid == [0, 1, 2]
    assert desk.prompts[1] == "You asked: Which colour?\nThe answer: red\n\nGo on with your task."


async def test_files_changed_before_a_crash_or_a_question_belong_to_the_answer(desk: Desk) -> None:
    play = {"turns": [{"write": "a.txt"}, {"crash": True}, {"write": "b.txt"}, {"ask": {"question": "Q?"}}]}
    with pytest.raises(StepFailed):
        await desk.ask(play, **WRITES)
    await desk.ask(play, **WRITES, attempt=2, resume=desk.kept[-1])
    given = [{"question": "Q?", "value": 1, "by": "ann"}]
    answer = await desk.ask(play, **WRITES, attempt=2, given=given)
    assert answer.files == ("a.txt", "b.txt")


async def test_what_is_told_in_one_breath_with_the_session_is_remembered_with_it(tmp_path: Path) -> None:
    uses = {"type": "tool_use", "id": "1", "name": "Write", "input": {"file_path": str(tmp_path / "a.txt")}}
    result = {"type": "tool_result", "tool_use_id": "1", "is_error": False}
    messages = [
        {"type": "system", "subtype": "init", "session_id": "0c5ec453-ef58-4c33-8505-b987db5a45fc"},
        {"type": "assistant", "message": {"content": [uses]}},
        {"type": "user", "message": {"content": [result]}},
    ]
    text = "".join(json.dumps(message) + "\n" for message in messages)
    setting = CliSetting(
        program=sys.executable, arguments=("-I", "-c", f"print({text!r}); raise SystemExit(1)")
    )
    kept: list[Any] = []
    with pytest.raises(StepFailed):
        await CliAgents(built_in(), {"claude": setting}).ask(
            AGENT, Question("Do it.", {}), StepContext(root=tmp_path, heartbeat=kept.append)
        )
    assert kept[-1]["session"]["files"] == (str(tmp_path / "a.txt"),)


async def test_a_question_whose_session_is_gone_is_answered_in_the_first_prompt(desk: Desk) -> None:
    given = [{"question": "Which colour?", "value": "red", "by": "ann"}]
    assert (await desk.ask({"answer": "painted"}, given=given)).output == "painted"
    (prompt,) = desk.prompts
    assert '"question": "Which colour?"' in prompt
    assert '"value": "red"' in prompt


async def test_a_store_that_is_down_costs_no_answer(desk: Desk) -> None:
    class Down:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            def fails(*_: Any) -> Any:
                raise Unreachable("down")

            return fails

    down: Any = Down()
    assert (await desk.ask({}, shared=down)).output == "done"


async def test_a_program_that_hangs_is_ended_with_all_it_started(desk: Desk) -> None:
    with pytest.raises(StepFailed, match="did not end within 1 s"):
        await desk.ask({"turns": [{"hang": True}]}, timeout=1.0)
    assert not _below(desk.root)


async def test_a_cancelled_call_leaves_nothing_running(desk: Desk) -> None:
    asking = asyncio.ensure_future(desk.ask({"turns": [{"hang": True}]}))
    while not desk.paid:
        await asyncio.sleep(0.02)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not _below(desk.root)


async def test_a_program_that_answers_and_does_not_end_is_ended(desk: Desk) -> None:
    assert (await desk.ask({"answer": "ready", "lingers": 60})).output == "ready"
    assert not _below(desk.root)


def _below(root: Path) -> list[psutil.Process]:
    """Returns the processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == root:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found
