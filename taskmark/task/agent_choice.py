"""`agent: "{{ expression }}"`: an agent that is chosen when the step runs."""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

from taskmark.task.drafts import Expression
from taskmark.task.expressions import can_be_read
from taskmark.task.source_text import Text

_OPENING = re.compile(r"(['\"]?)(?=\{\{)")
_MOST_ENDS = 16


class Choice(NamedTuple):
    """What an `agent:` step says, if its agent is an expression."""

    value: Text
    """With its braces, without the quotes around them."""
    description: Text


def read_choice(text: Text) -> Choice | None:
    """Returns the expression and the description of a text that begins with braces, in quotes or not; None
    for any other. The expression may hold braces and ` - ` itself: it ends where it can be read, and if
    that is nowhere, at the first end there is."""
    opening = _OPENING.match(text.value)
    if opening is None:
        return None
    quote, start = opening[1], opening.end()
    closing = re.finditer(rf"\}}\}}{quote}(?=\s+-(?:\s|$)|\s*$)", text.value)
    ends = [match.start() + 2 for match in islice(closing, _MOST_ENDS)]
    if not ends:
        return None
    readable = (end for end in ends if can_be_read(text.value[start + 2 : end - 2]))
    end = next(readable, ends[0])
    rest = text.part(end + len(quote))
    return Choice(text.part(start, end), rest.part(1) if rest.value else rest)


def expression_of(value: Text) -> Expression:
    """Returns the expression between the braces of a choice."""
    inner = value.value[2:-2]
    shift = 2 + len(inner) - len(inner.lstrip())
    return Expression(inner.strip(), False, value, shift, per_item=True)
