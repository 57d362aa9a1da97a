"""The outline of a task file: which lines are title, metadata, phases, sections and list items.

Works on source lines, not on a markdown tree: markdown folds `key: value` lines into one paragraph
and mappings under a list item into its text, and places would be lost. Everything that is not named
here is documentation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from taskmark.task.codes import Code
from taskmark.task.fences import Fence, Fences
from taskmark.task.files import normalised
from taskmark.task.headings import HEADING, PHASE, SECTIONS, Meant, meant
from taskmark.task.source_text import Findings, Place, Text, replacing, shown
from taskmark.task.yaml_nodes import YamlSource

STEP_LIMIT = 10_000

_ITEM = re.compile(r"([ \t]*)(?:[-*+]|\d{1,9}[.)])(?:([ \t]+)(?:\[[ xX]\][ \t]+)?|$)")
_RULE = re.compile(r" {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$")
_UNSPACED = re.compile(r" {0,3}(#{1,6})(?=[^#\s])")
_SPEAKING = re.compile(r" {0,3}(?:[-*+]\s+)?[*_]{0,2}[A-Za-z][\w-]*[*_]{0,2}:")


@dataclass
class Item:
    """A list item: its first line, and the indented lines under it."""

    text: Text
    body_line: int
    """Line number of the first line of `body`."""
    marker_indent: int
    body_indent: int
    body: list[str] = field(default_factory=list)
    unindented: Text | None = None
    """The first `key: value` line under it that is not indented."""


@dataclass
class Section:
    """`### Steps`, `### Agents` or `### Outputs`."""

    kind: str
    place: Place
    items: list[Item] = field(default_factory=list)
    stray: bool = False
    """Whether it stands outside of any phase."""


@dataclass(frozen=True)
class Passed:
    """A line of the form `word: …` that was passed over as prose, and where it stands."""

    number: int
    line: str
    phase: int
    """The number of the phase around it, 0 outside of any."""
    in_head: bool
    """Whether it stands among the phase's options."""
    section: str | None
    """The section around it."""
    after_item: bool
    """Whether a list item of that section stands before it."""
    begins: bool
    """Whether it begins a paragraph, or stands right under one that does."""


@dataclass
class PhaseOutline:
    """A `## Phase:` heading and what stands under it."""

    name: Text
    head: list[tuple[int, str]] = field(default_factory=list)
    """Numbered lines between the heading and the first section; documentation among them."""
    fenced: YamlSource | None = None
    sections: dict[str, Section] = field(default_factory=dict)

    def items(self, kind: str) -> list[Item]:
        """Returns the list items of a section, none if there is no such section."""
        return self.sections[kind].items if kind in self.sections else []


@dataclass
class Outline:
    """The whole file."""

    title: Text | None = None
    metadata: YamlSource | None = None
    phases: list[PhaseOutline] = field(default_factory=list)
    outputs: Section | None = None
    passed: list[Passed] = field(default_factory=list)
    passed_yaml: list[YamlSource] = field(default_factory=list)
    """Fenced blocks of YAML that nothing reads, except those that front matter makes documentation."""
    strays: list[Section] = field(default_factory=list)
    """Sections outside of any phase."""
    intact: bool = True
    """False if something does not end or is misplaced, so that what seems missing may be there."""


def read_outline(text: str, findings: Findings) -> Outline:
    """Returns the outline of a text whose lines end in `\\n`."""
    reader = _OutlineReader(text.split("\n"), findings)
    reader.read()
    return reader.outline


def looks_like_task(text: str) -> bool:
    """Whether a markdown text has a phase or steps, or nearly so, outside of its fenced blocks."""
    findings = Findings("")
    outline = read_outline(normalised(text), findings)
    parts = (Code.MISSPELT_HEADING, Code.MISPLACED_SECTION)
    return bool(outline.phases) or any(found.code in parts for found in findings.diagnostics)


class _OutlineReader:
    """Goes through the lines once; what is open decides what a line means."""

    def __init__(self, lines: Sequence[str], findings: Findings) -> None:
        self.outline = Outline()
        self._lines = lines
        self._findings = findings
        self._fences = Fences(lines)
        self._phase: PhaseOutline | None = None
        self._section: Section | None = None
        self._item: Item | None = None
        self._after_blank = False
        self._in_head = False
        self._has_front_matter = False

    def read(self) -> None:
        row = self._front_matter()
        while row < len(self._lines):
            row = self._line(row)

    def _front_matter(self) -> int:
        """Reads `---` front matter; returns the row after it."""
        if self._lines[0].rstrip() != "---":
            return 0
        for row, line in enumerate(self._lines[1:], start=1):
            if line.rstrip() in ("---", "..."):
                self.outline.metadata = YamlSource(self._lines[1:row], 2)
                self._has_front_matter = True
                return row + 1
        hint = "end it with a line `---`"
        self.outline.intact = False
        self._findings.add(Code.UNCLOSED_FRONT_MATTER, Place(1, 1), "the front matter does not end", hint)
        return 1

    def _line(self, row: int) -> int:
        """Takes one line, or a whole fence or comment; returns the row after it."""
        line = self._lines[row]
        if self._belongs_to_item(line):
            self._add_to_item(line)
            return row + 1
        if not line.strip():
            self._blank(row, line)
            return row + 1
        fence = self._fences.at(row)
        if fence is not None:
            return self._fence(row, fence)
        end = self._fences.comment_end(row)
        if end is not None:
            self._item = None
            return end + 1
        heading = HEADING.match(line) or self._unspaced(row, line)
        if heading is not None:
            self._heading(row, heading)
        else:
            self._content(row, line)
        self._after_blank = False
        return row + 1

    # --- list items -------------------------------------------------------------------------------

    def _belongs_to_item(self, line: str) -> bool:
        if self._item is None or not line.strip():
            return False
        indent = len(line) - len(line.lstrip(" \t"))
        if line[:1] == "\t" or indent >= self._item.body_indent:
            return True
        if indent <= self._item.marker_indent:
            return False
        return not (HEADING.match(line) or _ITEM.match(line))

    def _add_to_item(self, line: str) -> None:
        item = self._item
        assert item is not None
        if line[:1] != "\t":
            item.body_indent = min(item.body_indent, len(line) - len(line.lstrip(" ")))
        item.body.append(line)
        self._after_blank = False

    def _blank(self, row: int, line: str) -> None:
        self._after_blank = True
        if self._item is not None:
            self._item.body.append(line)
        elif self._in_head:
            assert self._phase is not None
            self._phase.head.append((row + 1, ""))

    def _content(self, row: int, line: str) -> None:
        """A line that is neither heading nor fence: a list item, the rest of one, or prose."""
        if self._section is None:
            if self._in_head and self._phase is not None:
                self._phase.head.append((row + 1, line))
            self._pass_over(row, line)
            return
        match = None if _RULE.match(line) else _ITEM.match(line)
        if match is not None and (self._item is not None or len(match[1].expandtabs(4)) <= 3):
            self._begin_item(row, line, match)
        elif self._item is not None and not self._after_blank:
            self._continue_item(row, line)
        else:
            self._item = None
            self._pass_over(row, line)

    def _pass_over(self, row: int, line: str) -> None:
        """Keeps a line that nothing reads, for whoever judges whether it was meant to be read."""
        if _SPEAKING.match(line) is None:
            return
        begins = row == 0 or not self._is_prose(self._lines[row - 1])
        last = self.outline.passed[-1] if self.outline.passed else None
        begins = begins or (last is not None and last.number == row and last.begins)
        section = self._section
        self.outline.passed.append(
            Passed(
                row + 1,
                line,
                len(self.outline.phases) if self._phase is not None else 0,
                self._in_head,
                section.kind if section else None,
                bool(section and section.items),
                begins,
            )
        )

    @staticmethod
    def _is_prose(line: str) -> bool:
        return bool(line.strip()) and not HEADING.match(line) and not line.lstrip().startswith(("```", "~~~"))

    def _begin_item(self, row: int, line: str, match: re.Match[str]) -> None:
        assert self._section is not None
        if self._section.stray:
            self._refuse_stray(self._section)
        text = Text.at(line, row + 1, 1).part(match.end())
        indent = len(match[1])
        marker = len(match[0].strip().split()[0]) if match[0].strip() else 1
        self._item = Item(text, row + 2, indent, indent + marker + 1)
        self._section.items.append(self._item)

    def _continue_item(self, row: int, line: str) -> None:
        """An unindented line right under an item is the rest of its paragraph, as everywhere in markdown."""
        item = self._item
        assert item is not None
        if item.unindented is None and re.match(r"[A-Za-z]\w*:(\s|$)", line):
            item.unindented = Text.at(line, row + 1, 1)
        item.body.append(line)

    # --- fences and headings ----------------------------------------------------------------------

    def _fence(self, row: int, fence: Fence) -> int:
        self._item = None
        stop = fence.stop
        if not fence.closed:
            column = len(self._lines[row]) - len(self._lines[row].lstrip()) + 1
            self.outline.intact = False
            message = "this fenced block does not end"
            self._findings.add(
                Code.UNCLOSED_FENCE, Place(row + 1, column), message, "close it with the same marker"
            )
            stop = self._next_structure(fence.start) if fence.is_yaml else stop
        if fence.is_yaml and (fence.closed or stop < len(self._lines)):
            self._yaml(YamlSource(self._lines[fence.start : stop], fence.start + 1))
        return stop + 1 if fence.closed else stop

    def _next_structure(self, row: int) -> int:
        """Where an unclosed YAML block probably ends: at the next heading that means something."""
        for index in range(row, len(self._lines)):
            heading = HEADING.match(self._lines[index])
            if heading is not None and _is_structure(_heading_text(self._lines[index], index + 1, heading)):
                return index
        return len(self._lines)

    def _yaml(self, source: YamlSource) -> None:
        if not self.outline.phases and self.outline.metadata is None:
            self.outline.metadata = source
        elif self._in_head and self._phase is not None and self._phase.fenced is None:
            self._phase.fenced = source
        elif self.outline.phases or not self._has_front_matter:
            self.outline.passed_yaml.append(source)

    def _heading(self, row: int, match: re.Match[str]) -> None:
        level, title = len(match[1]), _heading_text(self._lines[row], row + 1, match)
        place = Place(row + 1, match.start(1) + 1)
        self._item = None
        phase = PHASE.fullmatch(title.value) if level == 2 else None
        if phase is not None:
            self._begin_phase(title.part(phase.start(1)))
        elif title.value.lower() in SECTIONS and level in (2, 3):
            self._begin_section(title.value.lower(), level, place)
        elif (near := self._meant(title, row)) is not None:
            self._recover(row, match, title, near)
        elif level <= 3:
            self._end_part(level)
            if level == 1 and self.outline.title is None and title.value:
                self.outline.title = title

    def _unspaced(self, row: int, line: str) -> re.Match[str] | None:
        """Returns the mark of a heading such as `###Steps`, which markdown takes for prose."""
        match = _UNSPACED.match(line)
        if match is None or not _is_structure(_heading_text(line, row + 1, match)):
            return None
        place = Place(row + 1, match.start(1) + 1)
        message, hint = "this is no heading yet", "write a blank behind the `#`"
        fix = replacing(place, match[1], f"{match[1]} ")
        self._findings.add(Code.MISSPELT_HEADING, place, message, hint, fix)
        return match

    def _meant(self, title: Text, row: int) -> Meant | None:
        return meant(title.value, self._lines, row, in_phase=self._phase is not None)

    def _recover(self, row: int, match: re.Match[str], title: Text, near: Meant) -> None:
        """Notes a heading that is nearly one of ours, and goes on as if it were."""
        place = Place(row + 1, match.start(1) + 1)
        line = self._lines[row].rstrip()
        is_phase = near.kind == "phase"
        end = title.place(near.name_at).column - 1 if is_phase else len(line)
        example = f"{near.instead}name" if is_phase else near.instead
        what = "this heading opens no phase" if is_phase else f"nobody reads these {near.kind}"
        fix = replacing(place, line[match.start(1) : end], near.instead)
        self._findings.add(Code.MISSPELT_HEADING, place, what, f"write `{example}`", fix)
        if is_phase:
            self._begin_phase(title.part(near.name_at))
        else:
            self._begin_section(near.kind, 3, place)

    def _begin_phase(self, name: Text) -> None:
        self._phase = PhaseOutline(name)
        self.outline.phases.append(self._phase)
        self._section = None
        self._in_head = True

    def _begin_section(self, kind: str, level: int, place: Place) -> None:
        section = Section(kind, place)
        self._in_head = False
        if level == 3 and self._phase is not None:
            self._add_section(self._phase.sections, section)
        elif level == 2 and kind == "outputs":
            self._end_part(level)
            self._set_outputs(section)
        else:
            self._end_part(level)
            section.stray = True
            self.outline.strays.append(section)
        self._section = section

    def _add_section(self, sections: dict[str, Section], section: Section) -> None:
        if section.kind in sections:
            line = sections[section.kind].place.line
            message = f"this phase has its {section.kind} at line {line} already"
            self._findings.add(
                Code.DUPLICATE_SECTION, section.place, message, "a phase begins with `## Phase: name`"
            )
        else:
            sections[section.kind] = section

    def _set_outputs(self, section: Section) -> None:
        if self.outline.outputs is not None:
            line = self.outline.outputs.place.line
            self._findings.add(
                Code.DUPLICATE_SECTION, section.place, f"the task has its outputs at line {line} already"
            )
        else:
            self.outline.outputs = section

    def _refuse_stray(self, section: Section) -> None:
        if section.kind == "steps" and not section.items:
            self.outline.intact = False
            message = "these steps belong to no phase"
            hint = "write `## Phase: name` above, and `### Steps` under it"
            self._findings.add(Code.MISPLACED_SECTION, section.place, message, hint)

    def _end_part(self, level: int) -> None:
        self._section = None
        self._in_head = False
        if level <= 2:
            self._phase = None


def _heading_text(line: str, number: int, match: re.Match[str]) -> Text:
    """Returns what a heading says, without the marks that may close it."""
    end = len(line.rstrip())
    unmarked = line[:end].rstrip("#")
    if unmarked[-1:] in (" ", "\t") and len(unmarked) > match.end(1):
        end = len(unmarked)
    return Text.at(line, number, 1).part(match.end(1), end)


def _is_structure(heading: Text) -> bool:
    return PHASE.fullmatch(heading.value) is not None or heading.value.lower() in SECTIONS


def count_steps(outline: Outline) -> int:
    """Returns the number of steps in all phases."""
    return sum(len(phase.items("steps")) for phase in outline.phases)


def phase_label(phase: PhaseOutline) -> str:
    """Returns how messages name a phase."""
    return f"phase “{shown(phase.name.value)}”"
