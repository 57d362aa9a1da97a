"""Semantics X: agents that are programs, played by one that speaks as Claude Code does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import psutil
import pytest
from engine import PATIENCE, Engine
from observing import stored_attempts, unique, until
from test_beats import until_said


def asks(play: dict[str, Any], more: str = "") -> str:
    """Returns a task whose one step has an agent play this."""
    return f"""
## Phase: A
### Steps
- agent: cla - Do it PLAY:{json.dumps(play)}
  id: code
{more}
"""


def paid(engine: Engine, word: str) -> list[Any]:
    """Returns the turns that were paid for in the sessions whose first prompt has the word."""
    home = engine.root / ".double"
    files = [file for file in home.glob("*-*.json") if word in json.loads(file.read_text())["prompts"][0]]
    sessions = {file.stem for file in files}
    lines = map(json.loads, (home / "paid.jsonl").read_text().splitlines())
    return [line["turn"] for line in lines if line["session"] in sessions]


@pytest.mark.semantics("X1", "X2")
async def test_its_answer_use_and_files_are_those_of_its_attempt(engine: Engine) -> None:
    """It has no tools in its file, so it may not write."""
    word = unique()
    play = {"turns": [{"say": f"I am {word}"}, {"write": f"{word}.txt"}], "answer": '{"n": 2}'}
    execution = await engine.start(asks(play))
    result = await engine.wait(execution)
    assert (result.status, result.steps["code"].output) == ("completed", {"n": 2})
    assert result.usage is not None
    assert (result.usage.tokens, result.usage.cost) == (200, 0.02)
    (attempt,) = await stored_attempts(
        engine, execution, "code", lambda found: [one.status for one in found] == ["completed"]
    )
    assert (attempt.tokens, attempt.cost, attempt.files, attempt.questions) == (200, 0.02, (), None)
    assert not (engine.root / f"{word}.txt").exists()


@pytest.mark.semantics("X1", "X2")
async def test_what_its_file_lists_and_its_step_allows_is_changed_and_recorded(engine: Engine) -> None:
    word = unique()
    engine.file(
        f"agents/{word}.md", "---\nname: w\nmodel: cli:claude\ntools: read-file, write-file\n---\nWrite.\n"
    )
    play = {"turns": [{"write": f"{word}.txt"}]}
    text = asks(play, "  allow: write-file").replace("agent: cla", f"agent: {word}")
    execution = await engine.start(text)
    assert (await engine.wait(execution)).status == "completed"
    (attempt,) = await stored_attempts(engine, execution, "code", lambda found: found and found[0].files)
    assert attempt.files == (f"{word}.txt",)
    history = engine.client.wiring.history
    row = await until(
        lambda: asyncio.to_thread(history.execution, execution), lambda found: found and found.files_modified
    )
    assert row is not None
    assert row.files_modified == (f"{word}.txt",)


@pytest.mark.semantics("X2")
@pytest.mark.parametrize(("allow", "is_written"), [("[shell]", False), ("[write-file]", True)])
async def test_what_its_file_lists_is_only_done_if_the_task_allows_it(
    engine: Engine, allow: str, is_written: bool
) -> None:
    word = unique()
    engine.file(
        f"agents/{word}.md", "---\nname: w\nmodel: cli:claude\ntools: read-file, write-file\n---\nWrite.\n"
    )
    text = asks({"turns": [{"write": f"{word}.txt"}]}).replace("agent: cla", f"agent: {word}")
    result = await engine.run(f"# Test\n\n```yaml\nallow: {allow}\n```\n{text}")
    assert result.status == "completed"
    assert (engine.root / f"{word}.txt").exists() is is_written


@pytest.mark.semantics("X1")
async def test_who_watches_sees_what_it_does(engine: Engine) -> None:
    execution = await engine.start(asks({"turns": [{"say": "I count the beans.", "hang": True}]}))
    beats = await until_said(engine, execution, "code")
    assert [beat.said for beat in beats.values()] == ["I count the beans."]
    await engine.client.abort(execution)
    await engine.wait(execution)


@pytest.mark.semantics("X3", "X7")
async def test_a_later_attempt_goes_on_in_the_session(engine: Engine) -> None:
    """The turn that it crashed in is paid again, those before are not."""
    word = unique()
    play = {"turns": [{}, {"crash": True}, {}], "answer": word}
    result = await engine.run(asks(play, "  retry: {backoffMs: 10}"))
    assert (result.steps["code"].output, result.steps["code"].attempts) == (word, 2)
    assert paid(engine, word) == [0, 1, 1, 2]


@pytest.mark.semantics("X7")
async def test_a_failure_that_stays_is_not_tried_again_and_says_what_to_do(engine: Engine) -> None:
    word = unique()
    play = {"turns": [{"stop": "error_max_turns"}], "answer": word}
    result = await engine.run(asks(play, "  critical: true"))
    assert result.error is not None
    assert (result.error.category, result.steps["code"].attempts) == ("logic", 1)
    assert "maxTurns" in (result.error.hint or "")
    assert paid(engine, word) == [0]


@pytest.mark.semantics("X5", "G10")
async def test_its_question_waits_and_its_session_goes_on_with_the_answer(engine: Engine) -> None:
    word = unique()
    colour = {"question": "Which colour?", "name": "colour", "schema": {"enum": ["red", "blue"]}}
    play = {"turns": [{}, {"ask": colour}, {}, {"ask": {"question": "Which size?"}}], "answer": word}
    execution = await engine.start(asks(play))
    progress = await engine.until_status(execution, "waiting")
    (wait,) = progress.waiting
    assert (wait.kind, wait.name, wait.prompt, wait.asker) == ("question", "colour", "Which colour?", "cla")
    assert wait.answer_schema == {"enum": ["red", "blue"]}
    await engine.client.answer(execution, "colour", "red", by="ann", shown=wait.shown)
    await engine.until(execution, lambda p: p.waiting and p.waiting[0].prompt == "Which size?")
    await engine.client.answer(execution, "code", 7)
    result = await engine.wait(execution)
    assert (result.steps["code"].output, result.steps["code"].attempts) == (word, 1)
    assert paid(engine, word) == [0, 1, 2, 3, "again"]
    (attempt,) = await stored_attempts(
        engine, execution, "code", lambda found: [one.status for one in found] == ["completed"]
    )
    assert (attempt.questions, attempt.tokens, attempt.cost) == (2, 500, 0.05)
    history = engine.client.wiring.history
    row = await until(
        lambda: asyncio.to_thread(history.execution, execution), lambda found: found and found.questions_asked
    )
    assert row is not None
    assert row.questions_asked == 2


@pytest.mark.semantics("X6")
async def test_an_abort_leaves_nothing_of_it_running(engine: Engine) -> None:
    word = unique()
    execution = await engine.start(asks({"turns": [{"hang": True}], "answer": word}))
    end = asyncio.get_running_loop().time() + PATIENCE
    while not _sessions(engine.root, word):
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.02)
    (session,) = _sessions(engine.root, word)
    assert _running(session)
    await engine.client.abort(execution)
    assert (await engine.wait(execution)).status == "cancelled"
    assert not _running(session)


def _sessions(root: Path, word: str) -> list[str]:
    home = root / ".double"
    return [file.stem for file in home.glob("*-*.json") if word in file.read_text()]


def _running(session: str) -> list[int]:
    """Returns the processes that have the session in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if session in process.cmdline():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
