"""The metadata of a task: the YAML block or front matter at its top."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, get_args

from taskmark.task import notices, options, values
from taskmark.task.codes import Code
from taskmark.task.inputs import SIZED, fit
from taskmark.task.model import InputType, Requirement
from taskmark.task.secret_uses import check_names
from taskmark.task.source_text import Findings, Place, replacing, shown
from taskmark.task.yaml_nodes import Entry, Items, Mapping, Node, Scalar, YamlSource, read_mapping

_TYPES: tuple[str, ...] = get_args(InputType)
_OTHER_NAMES = {
    "str": "string",
    "text": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "array": "list",
    "dict": "object",
    "mapping": "object",
    "choice": "enum",
}
_INPUT_NAME = re.compile(r"[^\W\d][\w-]*")


@dataclass
class Metadata:
    """What the metadata says."""

    fields: dict[str, Any] = field(default_factory=dict)
    """Fields of the definition."""
    places: dict[str, Place] = field(default_factory=dict)
    """Where the value of each key stands."""
    input_keys: list[Scalar] = field(default_factory=list)
    """The names of the inputs, also of those that are wrong otherwise."""
    agents: list[Scalar] = field(default_factory=list)
    """The default agents."""
    notices: list[notices.NoticeDraft] = field(default_factory=list)
    """The notifications."""
    readable: bool = True
    """False if it is there and could not be read, so that nothing can be said to be missing in it."""
    inputs_known: bool = True
    """False if requirements could not be read, so that no input can be called unknown."""


def _input_type(node: Scalar, findings: Findings) -> str | None:
    text = node.text.strip()
    if text in _TYPES:
        return text
    if text in ("type", "<type>") or (re.search(r"[|/]", text) and _all_types(text)):
        message = f"`{shown(text)}` is a placeholder, not a type"
        findings.add(Code.PLACEHOLDER, node.place(), message, f"choose one: {', '.join(_TYPES)}")
        return None
    meant = _OTHER_NAMES.get(text.lower())
    hint = f"did you mean `{meant}`?" if meant else findings.guess(text.rstrip("?"), _TYPES)
    place = node.place()
    fix = replacing(place, text, meant) if meant else findings.respelled(place, text, _TYPES)
    if text.endswith("?"):
        hint, fix = "an input is optional with `optional: true` in its long form", None
    findings.add(Code.UNKNOWN_INPUT_TYPE, place, f"there is no input type `{shown(text)}`", hint, fix)
    return None


def _all_types(text: str) -> bool:
    return all(part.strip() in _TYPES for part in re.split(r"[|/]", text))


def _json_list(node: Node, findings: Findings) -> tuple[Any, ...] | None:
    if isinstance(node, Items) and node.nodes:
        return tuple(item.value for item in node.nodes)
    findings.add(Code.WRONG_TYPE, node.place(), "expected a list of values", "such as `[low, high]`")
    return None


_REQUIREMENT: values.Fields = {
    "type": ("type", values.one_of(_input_type, "an input type", {"enum": list(_TYPES)})),
    "description": ("description", values.text),
    "optional": ("optional", values.boolean),
    "default": ("default", values.anything),
    "min": ("min", values.number),
    "max": ("max", values.number),
    "values": ("values", values.shaped(_json_list, {"type": "array", "minItems": 1})),
}


def _requirement(entry: Entry, findings: Findings) -> Requirement | None:
    name = entry.key.text
    if not _INPUT_NAME.fullmatch(name):
        hint = "letters, digits and `_`, beginning with a letter"
        findings.add(Code.INVALID_NAME, entry.key.place(), f"`{shown(name)}` cannot name an input", hint)
        return None
    if values.is_missing(entry, findings):
        return None
    before = len(findings.diagnostics)
    if isinstance(entry.node, Mapping):
        fields = values.read_fields(entry.node, _REQUIREMENT, findings)
        _check_fields(entry.key, entry.node, fields, findings)
    else:
        fields = {"type": _REQUIREMENT["type"][1](entry.node, findings)}
        _check_enum(fields, entry.node.place(), findings)
    if len(findings.diagnostics) > before:
        return None
    requirement = Requirement(name=name, **fields)
    return _with_default(requirement, entry, findings)


def _check_fields(key: Scalar, node: Mapping, fields: dict[str, Any], findings: Findings) -> None:
    if node.get("type") is None:
        message = f"`{key.text}` has no type"
        findings.add(Code.MISSING_VALUE, key.place(), message, f"one of {', '.join(_TYPES)}")
    kind = fields.get("type")
    for name, allowed in (("min", kind in SIZED), ("max", kind in SIZED), ("values", kind == "enum")):
        entry = node.get(name)
        if entry is not None and kind is not None and not allowed:
            findings.add(Code.MISPLACED_KEY, entry.key.place(), f"an input of type {kind} takes no `{name}`")
    if node.get("values") is None:
        _check_enum(fields, key.place(), findings)
    if "min" in fields and "max" in fields and fields["min"] > fields["max"]:
        entry = node.get("max")
        assert entry is not None
        findings.add(Code.INVALID_NUMBER, entry.node.place(), "`max` is below `min`")


def _check_enum(fields: dict[str, Any], place: Place, findings: Findings) -> None:
    if fields.get("type") == "enum":
        hint = "write `{type: enum, values: [low, high]}`"
        findings.add(Code.MISSING_VALUE, place, "an enum needs its values", hint)


def _with_default(requirement: Requirement, entry: Entry, findings: Findings) -> Requirement | None:
    if requirement.default is None:
        return requirement
    assert isinstance(entry.node, Mapping)
    default = entry.node.get("default")
    assert default is not None
    value = requirement.default
    if requirement.type in ("string", "date") and isinstance(default.node, Scalar):
        value = default.node.text
    try:
        return requirement.model_copy(update={"default": fit(requirement, value)})
    except ValueError as error:
        findings.add(
            Code.INVALID_DEFAULT, default.node.place(), f"the default of `{requirement.name}` {error}"
        )
        return None


def _requirements(node: Node, findings: Findings) -> tuple[Requirement, ...] | None:
    found = values.mapping(node, findings)
    if found is None:
        return None
    read = [_requirement(entry, findings) for entry in found.entries]
    return tuple(requirement for requirement in read if requirement is not None)


def _secrets(node: Node, findings: Findings) -> tuple[str, ...]:
    check_names(nodes := values.text_nodes(node, findings), findings)
    return tuple(dict.fromkeys(one.text.strip() for one in nodes))


_INPUT: values.Shape = {
    "anyOf": [
        {"enum": [name for name in _TYPES if name != "enum"]},
        {**values.shape_of_fields(_REQUIREMENT), "required": ["type"]},
    ]
}

METADATA_FIELDS: values.Fields = {
    "name": ("name", values.text),
    "description": ("description", values.text),
    "version": ("version", values.text),
    "maxExecutionTime": ("max_execution_time", values.duration()),
    "retry": ("retry", options.retry),
    "requirements": (
        "requirements",
        values.shaped(_requirements, {"type": "object", "additionalProperties": _INPUT}),
    ),
    "agents": ("default_agents", values.texts),
    "maxConcurrentPhases": ("max_concurrent_phases", values.whole(1)),
    "maxConcurrentSteps": ("max_concurrent_steps", values.whole(1)),
    "project": ("project", values.text),
    "secrets": ("secrets", values.shaped(_secrets, values.shape_of(values.texts))),
    "allow": ("allow", values.texts),
    "budget": ("budget", options.budget),
    "limits": ("limits", options.task_limits),
    "pausedTimeout": ("paused_timeout", options.paused_timeout),
    "schedule": ("schedule", options.schedule),
    "notify": ("notify", notices.notifications),
    "onComplete": ("on_complete", values.anything),
}


def read_metadata(source: YamlSource | None, findings: Findings) -> Metadata:
    """Returns what the metadata block says, as far as it can be read."""
    if source is None:
        return Metadata()
    before = len(findings.diagnostics)
    mapping = read_mapping(source, findings)
    if mapping is None:
        return Metadata(readable=False, inputs_known=False)
    metadata = Metadata(values.read_fields(mapping, METADATA_FIELDS, findings))
    metadata.places = {entry.key.text: entry.node.place() for entry in mapping.entries}
    requirements = mapping.get("requirements")
    if requirements is not None and isinstance(requirements.node, Mapping):
        metadata.input_keys = [entry.key for entry in requirements.node.entries]
    metadata.inputs_known = len(findings.diagnostics) == before or _are_inputs_known(mapping)
    agents = mapping.get("agents")
    if agents is not None and "default_agents" in metadata.fields:
        metadata.agents = values.text_nodes(agents.node, Findings(findings.file))
    notify = mapping.get("notify")
    if notify is not None:
        metadata.notices = notices.drafts(notify.node)
    return metadata


def _are_inputs_known(mapping: Mapping) -> bool:
    entry = mapping.get("requirements")
    if entry is None:
        # A key such as `requirement:` may have meant them.
        return set(mapping.value) <= set(METADATA_FIELDS)
    return isinstance(entry.node, Mapping) and all(map(_INPUT_NAME.fullmatch, entry.node.value))
