"""What a command-line agent is told, on its standard input, and what its last words mean."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from taskmark.inquiries import inquiry
from taskmark.ports import Question
from taskmark.task.model import Agent, Json

ASKING: Final = """\
If you cannot go on without something that only a person can tell you, do not guess. End with this JSON object
as your whole answer, and nothing else; you will be told what the person said and can go on:
{"blocking": true, "question": "…", "name": "a-short-name", "schema": {…}}
`schema` is a JSON Schema of the answer; it may be left out, as may `name`. Ask nothing else in this way."""

HELD: Final = """\
These tools are held back, because nobody allowed them for this task: {}. You do not have them, and nobody can
allow them while you work. Do not try to reach the same in another way. If you cannot do your task without
them, do what you can and say in your answer what is left."""

INTERRUPTED: Final = """\
You were interrupted. Go on where you were: do not do again what you have done. If you had finished, say your
final answer once more."""

_FENCED: Final = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL)


def first_prompt(agent: Agent, question: Question, held: Sequence[str] = ()) -> str:
    """Returns what begins a session: all that is known, answers of people included. `held` are the tools of
    its file that it is not given."""
    return "\n\n".join(_parts(agent, question, held))


def _parts(agent: Agent, question: Question, held: Sequence[str]) -> Iterator[str]:
    if agent.prompt.strip():
        yield agent.prompt.strip()
    yield f"# Your task\n\n{question.instruction}"
    if question.context:
        yield f"# What is known\n\n```json\n{json.dumps(question.context, ensure_ascii=False, indent=1)}\n```"
    if question.schema is not None:
        yield f"# Your answer\n\nAnswer with JSON that fits this schema:\n{json.dumps(question.schema)}"
    if held:
        yield f"# What you may not do\n\n{HELD.format(', '.join(held))}"
    yield f"# If you have to ask\n\n{ASKING}"


def next_prompt(question: Question) -> str:
    """Returns what a session that is there already goes on with."""
    given = answers(question)
    if not given:
        return INTERRUPTED
    told = [f"You asked: {one.get('question')}\nThe answer: {_written(one.get('value'))}" for one in given]
    return "\n\n".join([*told, "Go on with your task."])


def answers(question: Question) -> list[Mapping[str, Any]]:
    """Returns what people have answered so far."""
    given = question.context.get("answers")
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list | tuple) else []


def _written(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def meant(output: Json) -> Json:
    """Returns what an agent's last words mean: JSON as what it says, in a fence or not, a question at their
    end as the question, anything else as text."""
    if not isinstance(output, str):
        return output
    words = output.strip()
    fences = _FENCED.findall(words)
    whole = _read(fences[0] if len(fences) == 1 and _FENCED.fullmatch(words) else words)
    if whole is not None:
        return whole
    asked = _read(fences[-1]) if fences else _read(words[words.rfind("\n{") + 1 :])
    return asked if inquiry(asked) is not None else words


def _read(text: str) -> Json:
    """Returns a JSON value; None for none, and for `null`, which says as much as its text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
