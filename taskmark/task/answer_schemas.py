"""The JSON Schema of a question's answer: what of it the engine looks at, and whether it can be right."""

from __future__ import annotations

from taskmark.task.codes import Code
from taskmark.task.source_text import Findings, shown
from taskmark.task.yaml_nodes import Items, Mapping, Node, Scalar

TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
_DESCRIBING = frozenset({"title", "description", "default", "examples", "$schema", "$comment"})
_LOOKED_AT = _DESCRIBING | {
    "type", "const", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength",
    "maxLength", "minItems", "maxItems", "items", "properties", "required", "additionalProperties",
}  # fmt: skip


def check_answer_schema(schema: Mapping, findings: Findings) -> None:
    """Notes types that do not exist, misspelt keywords, and keywords that nobody looks at."""
    waiting: list[Mapping] = [schema]
    while waiting:
        current = waiting.pop()
        for entry in current.entries:
            key, place = entry.key.text, entry.key.place()
            if key == "type":
                _check_type(entry.node, findings)
            elif key not in _LOOKED_AT:
                hint = findings.guess(key, _LOOKED_AT)
                message = f"answers are not checked by `{shown(key)}`"
                findings.add(Code.NOT_IN_EFFECT, place, message, hint if hint and "mean" in hint else None)
            elif key == "properties" and isinstance(entry.node, Mapping):
                waiting += [part.node for part in entry.node.entries if isinstance(part.node, Mapping)]
            elif key == "items" and isinstance(entry.node, Mapping):
                waiting.append(entry.node)


def _check_type(node: Node, findings: Findings) -> None:
    for scalar in node.nodes if isinstance(node, Items) else (node,):
        if isinstance(scalar, Scalar) and scalar.text not in TYPES:
            hint, place = findings.guess(scalar.text, TYPES), scalar.place()
            message = f"JSON Schema has no type `{shown(scalar.text)}`"
            fix = findings.respelled(place, scalar.text, TYPES)
            findings.add(Code.INVALID_VALUE, place, message, hint, fix)
