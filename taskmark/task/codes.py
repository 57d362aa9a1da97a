"""The stable codes of everything that can be wrong with a task file; docs/task-format.md explains each."""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """One code per kind of problem. Never renamed: people search for them and switch on them."""

    # the text
    UNREADABLE_FILE = "unreadable-file"
    NOT_UTF8 = "not-utf8"
    FILE_TOO_LARGE = "file-too-large"
    TOO_MANY_STEPS = "too-many-steps"
    NESTING_TOO_DEEP = "nesting-too-deep"
    UNCLOSED_FENCE = "unclosed-fence"
    UNCLOSED_FRONT_MATTER = "unclosed-front-matter"
    # YAML
    YAML_SYNTAX = "yaml-syntax"
    YAML_ALIAS = "yaml-alias"
    YAML_TAG = "yaml-tag"
    DUPLICATE_KEY = "duplicate-key"
    TAB_INDENTATION = "tab-indentation"
    # values
    UNKNOWN_KEY = "unknown-key"
    MISPLACED_KEY = "misplaced-key"
    MISSING_VALUE = "missing-value"
    PLACEHOLDER = "placeholder"
    WRONG_TYPE = "wrong-type"
    INVALID_DURATION = "invalid-duration"
    INVALID_SIZE = "invalid-size"
    INVALID_NUMBER = "invalid-number"
    INVALID_VALUE = "invalid-value"
    INVALID_NAME = "invalid-name"
    UNKNOWN_INPUT_TYPE = "unknown-input-type"
    INVALID_DEFAULT = "invalid-default"
    # structure
    MISSING_NAME = "missing-name"
    NO_PHASES = "no-phases"
    DUPLICATE_PHASE = "duplicate-phase"
    DUPLICATE_SECTION = "duplicate-section"
    MISPLACED_SECTION = "misplaced-section"
    MISSPELT_HEADING = "misspelt-heading"
    IGNORED_TEXT = "ignored-text"
    PHASE_WITHOUT_STEPS = "phase-without-steps"
    # steps
    EMPTY_STEP = "empty-step"
    UNKNOWN_KIND = "unknown-kind"
    NESTED_STEP = "nested-step"
    UNINDENTED_MAPPING = "unindented-mapping"
    DUPLICATE_STEP = "duplicate-step"
    UNKNOWN_TOOL = "unknown-tool"
    UNKNOWN_ARGUMENT = "unknown-argument"
    MISSING_ARGUMENT = "missing-argument"
    INVALID_ARGUMENT = "invalid-argument"
    EXPRESSION_AS_TEXT = "expression-as-text"
    UNFILLED_TEMPLATE = "unfilled-template"
    UNKNOWN_AGGREGATE = "unknown-aggregate"
    UNKNOWN_AGENT = "unknown-agent"
    DUPLICATE_AGENT = "duplicate-agent"
    UNUSED_AGENT = "unused-agent"
    CHOICE_WITHOUT_AGENTS = "choice-without-agents"
    UNKNOWN_TASK = "unknown-task"
    TASK_CYCLE = "task-cycle"
    TASK_TOO_DEEP = "task-too-deep"
    GATE_WITHOUT_TIMEOUT = "gate-without-timeout"
    NOTE = "note"
    RETRIES_EXCEED_LIMIT = "retries-exceed-limit"
    TIMEOUT_EXCEEDS_LIMIT = "timeout-exceeds-limit"
    REPEATED_EFFECT = "repeated-effect"
    NOT_IN_EFFECT = "not-in-effect"
    TOOL_NOT_ALLOWED = "tool-not-allowed"
    # dependencies, names and outputs
    UNKNOWN_PHASE = "unknown-phase"
    SELF_DEPENDENCY = "self-dependency"
    DUPLICATE_DEPENDENCY = "duplicate-dependency"
    DEPENDENCY_CYCLE = "dependency-cycle"
    STEP_CYCLE = "step-cycle"
    INVALID_EXPRESSION = "invalid-expression"
    UNKNOWN_NAME = "unknown-name"
    UNKNOWN_INPUT = "unknown-input"
    UNKNOWN_SECRET = "unknown-secret"  # noqa: S105 - a code
    MISPLACED_SECRET = "misplaced-secret"  # noqa: S105 - a code
    UNUSED_INPUT = "unused-input"
    INCOMPARABLE_TYPES = "incomparable-types"
    CONSTANT_COMPARISON = "constant-comparison"
    UNREACHABLE = "unreachable"
    UNKNOWN_STEP = "unknown-step"
    UNKNOWN_OUTPUT = "unknown-output"
    NOT_A_DEPENDENCY = "not-a-dependency"
    LATER_STEP = "later-step"
    DUPLICATE_OUTPUT = "duplicate-output"
    OUTPUT_WITHOUT_SOURCE = "output-without-source"


WARNINGS = frozenset(
    {
        Code.NO_PHASES,
        Code.PHASE_WITHOUT_STEPS,
        Code.GATE_WITHOUT_TIMEOUT,
        Code.NOTE,
        Code.RETRIES_EXCEED_LIMIT,
        Code.NOT_IN_EFFECT,
        Code.TOOL_NOT_ALLOWED,
        Code.IGNORED_TEXT,
        Code.EXPRESSION_AS_TEXT,
        Code.UNFILLED_TEMPLATE,
        Code.DUPLICATE_AGENT,
        Code.UNUSED_AGENT,
        Code.TIMEOUT_EXCEEDS_LIMIT,
        Code.REPEATED_EFFECT,
        Code.UNUSED_INPUT,
        Code.CONSTANT_COMPARISON,
        Code.UNREACHABLE,
    }
)
"""Codes that never prevent a start."""
