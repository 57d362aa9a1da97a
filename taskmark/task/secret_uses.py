"""Where a task file may name its secrets: in what tools are given, each alone in its braces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from taskmark.errors import InvalidExpression
from taskmark.task import expressions
from taskmark.task.codes import Code
from taskmark.task.drafts import Expression
from taskmark.task.expressions import Reference
from taskmark.task.secret_references import NAME, pieces, references
from taskmark.task.source_text import Findings, shown
from taskmark.task.yaml_nodes import Scalar

_ALONE = "write `{{ secrets.NAME }}`, with other text around the braces if need be"


class Misuse(NamedTuple):
    """What is wrong with a secret in an expression."""

    code: Code
    message: str
    hint: str | None
    part: int = 0
    """Which part of `secrets.NAME` is wrong."""


def misuse(
    reference: Reference, expression: Expression, declared: Iterable[str] | None, findings: Findings
) -> Misuse | None:
    """Returns what is wrong with a secret, or None; `declared` is None if nobody can say which there are."""
    if not expression.takes_secrets:
        message = "secrets may only be given to tools"
        return Misuse(Code.MISPLACED_SECRET, message, "name it in the `with` of a `tool` step")
    if not _stands_alone(reference, expression.source):
        return Misuse(Code.MISPLACED_SECRET, "a secret stands alone in its braces", _ALONE)
    name = reference.path[1]
    if declared is None or name in declared:
        return None
    known = tuple(declared)
    hint = findings.guess(name, known) or f"add it to the metadata: `secrets: [{', '.join((*known, name))}]`"
    return Misuse(Code.UNKNOWN_SECRET, f"the secret `{shown(name)}` is not declared", hint, 1)


def _stands_alone(reference: Reference, source: str) -> bool:
    """Whether it is not part of an expression, nor within a block such as `{% if … %}`."""
    if not any(found.root == reference.offset for found in references(source)):
        return False
    try:
        for text in pieces(source):
            expressions.check(text, template=True)
    except InvalidExpression:
        return False
    return True


def check_names(nodes: Iterable[Scalar], findings: Findings) -> None:
    """Notes names that no secret can have."""
    for node in nodes:
        if NAME.fullmatch(node.text.strip()) is None:
            hint = "letters, digits and `_`, such as API_TOKEN"
            message = f"`{shown(node.text)}` cannot name a secret"
            findings.add(Code.INVALID_NAME, node.place(), message, hint)
