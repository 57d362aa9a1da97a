"""Task files in their canonical form, every byte of prose kept.

Goes by the reader's own outline: what the reader takes for a heading, an option, a step or YAML gets its
canonical spacing; every other line is documentation and stays as it is. Afterwards the text is read again,
and if it does not mean the same, it is not given out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path

from taskmark.errors import InvalidTask, TaskmarkError
from taskmark.task.catalog import Catalog
from taskmark.task.files import normalised, replace_text, sha256_of
from taskmark.task.model import Step, TaskDefinition
from taskmark.task.outline import Item, Outline, PhaseOutline, Section, read_outline
from taskmark.task.parser import check_file, check_text
from taskmark.task.phases import option_sources
from taskmark.task.rendering import NOT_IN_THE_FILE, difference, heading
from taskmark.task.source_text import Findings
from taskmark.task.step_text import value_text
from taskmark.task.steps import is_outside, mapping_rows
from taskmark.task.yaml_layout import lay_out, shifted
from taskmark.task.yaml_nodes import YamlSource

_BOM = "\ufeff"
_LINE_END = re.compile(r"\r\n|\r|\n")
_OUTPUT = re.compile(r"(`?[^\W\d][\w-]*`?)\s*:\s+")
_MARKS_ONLY = re.compile(r"[-*_ \t]*")


@dataclass(frozen=True)
class Formatting:
    """A file's text as it is and as it would be."""

    path: Path
    before: str
    after: str

    @property
    def changes(self) -> bool:
        """Whether the file is not in its canonical form."""
        return self.before != self.after

    def write(self) -> None:
        """Brings the file into its canonical form. Raises `OSError`."""
        if self.changes:
            replace_text(self.path, self.after)


def format_file(path: Path, *, catalog: Catalog | None = None) -> Formatting:
    """Returns what formatting a file would change; the file stays as it is.

    Raises `InvalidTask` if it cannot be read or has errors, also in what it refers to, and `TaskmarkError`
    if what it means would change.
    """
    checked = check_file(path, catalog=catalog)
    if checked.definition is None:
        raise InvalidTask(checked.errors)
    text = path.read_bytes().decode(errors="replace")
    if sha256_of(normalised(text)) != checked.definition.sha256:
        raise TaskmarkError(f"{path} was changed while it was being read", hint="format it again")
    return Formatting(path, text, _canonical(text, checked.definition, str(path), catalog))


def format_text(text: str, *, file: str = "<text>", catalog: Catalog | None = None) -> str:
    """Returns a task file's text in its canonical form; formatting that again changes nothing.

    The line ends of its first line, and a byte order mark, stay. Agents and other tasks are not looked up.
    Raises `InvalidTask` if the text has errors, and `TaskmarkError` if what it means would change.
    """
    checked = check_text(text, file=file, catalog=_without_files(catalog))
    if checked.definition is None:
        raise InvalidTask(checked.errors)
    return _canonical(text, checked.definition, file, catalog)


def _canonical(text: str, definition: TaskDefinition, file: str, catalog: Catalog | None) -> str:
    old = normalised(text)
    new = _formatted(old, definition)
    if new != old:
        again = check_text(new, file=file, catalog=_without_files(catalog), task_id=definition.id)
        _refuse_change(definition, again.definition, file)
    first_end = _LINE_END.search(text)
    ends = "\r\n" if first_end is not None and first_end[0] == "\r\n" else "\n"
    return (_BOM if text.startswith(_BOM) else "") + new.replace("\n", ends)


def _without_files(catalog: Catalog | None) -> Catalog:
    return replace(catalog or Catalog.default(), agent=None, task=None)


def _refuse_change(before: TaskDefinition, after: TaskDefinition | None, file: str) -> None:
    place: str | None = "everything"
    if after is not None:
        left_out = set(NOT_IN_THE_FILE)
        place = difference(before.model_dump(exclude=left_out), after.model_dump(exclude=left_out))
    if place is not None:
        raise TaskmarkError(
            f"formatting would change what {file} means, at `{place}`, so it stays as it is",
            hint="this is a mistake of the formatter: please report it with the file",
        )


def _formatted(text: str, definition: TaskDefinition) -> str:
    page = _Page(text.split("\n"))
    outline = read_outline(text, Findings(""))
    _Parts(page, outline, definition).place()
    return page.text()


# --- lines and the blank lines between them -------------------------------------------------------


class Role(Enum):
    """What a line is, as far as the blank lines around it go."""

    PROSE = auto()
    """Also whatever is not known."""
    HEADING = auto()
    OPTION = auto()
    BEGIN = auto()
    """The first line of the block of metadata."""
    END = auto()
    """The last one."""
    ITEM = auto()
    """The first line of a list item."""
    INSIDE = auto()
    """A line of YAML, or under a list item."""
    HELD = auto()
    """A line that continues a text in YAML, where blank ones count."""


class _Page:
    """The lines of a file, each with its role."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.roles = [Role.PROSE] * len(lines)

    def put(self, row: int, line: str, role: Role) -> None:
        """Sets a line."""
        self.lines[row], self.roles[row] = line, role

    def text(self) -> str:
        """Returns all lines, with the blank lines that belong between them."""
        written: list[str] = []
        last: Role | None = None
        blanks: list[str] = []
        for line, role in zip(self.lines, self.roles, strict=True):
            if not line.strip() and role is not Role.HELD:
                blanks.append(line)
                continue
            if last is not None or line.startswith("---"):
                written += self._between(last, blanks, role)
            written.append(line)
            last, blanks = role if role is not Role.HELD or not line.strip() else Role.INSIDE, []
        return "\n".join(written) + "\n"

    @staticmethod
    def _between(one: Role | None, blanks: list[str], other: Role) -> list[str]:
        wanted = _blank_lines(one, len(blanks), other)
        return blanks if one is other is Role.PROSE else [""] * wanted


def _blank_lines(one: Role | None, there: int, other: Role) -> int:
    """Returns how many blank lines belong between two lines that have so many between them."""
    if one in (None, Role.HELD) or one is other is Role.INSIDE:
        return there
    if other in (Role.HEADING, Role.BEGIN) or one is Role.END:
        return 1
    if one is Role.HEADING and other in (Role.OPTION, Role.ITEM):
        return 0
    if one is other is Role.OPTION:
        return 0
    return min(there, 1)


# --- the parts that are known ---------------------------------------------------------------------


@dataclass
class _Parts:
    """Puts each part of the outline on the page in its canonical form."""

    page: _Page
    outline: Outline
    definition: TaskDefinition
    moving: frozenset[int] = frozenset()
    """Rows of headings and items: they go to the margin whatever stands before them."""

    def place(self) -> None:
        """Places everything."""
        self.moving = frozenset(line - 1 for line in _lines_of_parts(self.outline))
        if self.outline.title is not None:
            self._heading(self.outline.title.place().line, heading(1, self.outline.title.value))
        if self.outline.metadata is not None:
            self._metadata(self.outline.metadata)
        for outline, phase in zip(self.outline.phases, self.definition.phases, strict=True):
            self._phase(outline, phase.steps)
        if self.outline.outputs is not None:
            self._section(self.outline.outputs, "##", ())

    def _heading(self, line: int, text: str) -> None:
        self.page.put(line - 1, text, Role.HEADING)

    def _metadata(self, source: YamlSource) -> None:
        first = source.first_line - 1
        self._yaml(source, Role.INSIDE)
        for row, role in ((first - 1, Role.BEGIN), (first + len(source.lines), Role.END)):
            self.page.put(row, self.page.lines[row].rstrip(), role)

    def _yaml(self, source: YamlSource, role: Role, margin: int = 0) -> None:
        first = source.first_line - 1
        laid_out = lay_out(source.lines, margin)
        for row, line in enumerate(laid_out.lines):
            self.page.put(first + row, line, Role.HELD if row in laid_out.held else role)

    def _phase(self, outline: PhaseOutline, steps: Sequence[Step]) -> None:
        self._phase_heading(outline)
        for source in option_sources(outline):
            self._yaml(source, Role.INSIDE if source is outline.fenced else Role.OPTION)
        for section in outline.sections.values():
            self._section(section, "###", steps if section.kind == "steps" else ())

    def _phase_heading(self, outline: PhaseOutline) -> None:
        line, column = outline.name.place()
        label = " ".join(self.page.lines[line - 1][: column - 1].lstrip(" #\t").split())
        label = label[:1].upper() + label[1:].lower().replace(" :", ":")
        self._heading(line, heading(2, f"{label} {outline.name.value}"))

    def _section(self, section: Section, marks: str, steps: Iterable[Step]) -> None:
        self._heading(section.place.line, f"{marks} {section.kind.capitalize()}")
        step = iter(steps)
        stays = any(self._would_swallow(item) for item in section.items)
        for item in section.items:
            left = item.marker_indent if stays else 0
            self._item(item, next(step, None), section.kind, left)

    # --- list items -------------------------------------------------------------------------------

    def _would_swallow(self, item: Item) -> bool:
        """Whether a line left of an item or behind it would become part of it, stood it at the margin."""
        if not item.marker_indent:
            return False
        rows = range(item.body_line - 1 + len(item.body), len(self.page.lines))
        row = next((row for row in rows if self.page.lines[row].strip()), None)
        behind = row is not None and row not in self.moving and self.page.lines[row][0] in " \t"
        return behind or any(is_outside(item, line) for line in item.body)

    def _item(self, item: Item, step: Step | None, kind: str, left: int) -> None:
        line, column = item.text.place()
        marker = self.page.lines[line - 1][: column - 1].strip()
        bullet, box = re.split(r"[ \t]|$", marker, maxsplit=1)
        # A line of nothing but dashes would be a rule.
        bullet = "-" if bullet in "*+" and not _MARKS_ONLY.fullmatch(item.text.value) else bullet
        text = _output_text(item.text.value) if kind == "outputs" else _step_text(item.text.value, step)
        written = " ".join(filter(None, (bullet, box.strip(), text)))
        self.page.put(line - 1, " " * left + written, Role.ITEM)
        self._body(item, left, left + len(bullet) + 1, is_step=step is not None)

    def _body(self, item: Item, left: int, margin: int, *, is_step: bool) -> None:
        start, stop = mapping_rows(item) if is_step else (len(item.body), len(item.body))
        columns = margin - item.body_indent if is_step else left - item.marker_indent
        self._shift(item, range(start), columns)
        if start < stop:
            self._yaml(YamlSource(item.body[start:stop], item.body_line + start), Role.INSIDE, margin)
            columns = margin - (len(item.body[start]) - len(item.body[start].lstrip(" ")))
        least = margin if start < stop else 0
        self._shift(item, range(stop, len(item.body)), columns, least)

    def _shift(self, item: Item, rows: Iterable[int], columns: int, least: int = 0) -> None:
        """Moves prose under an item along with it."""
        for row in rows:
            line = item.body[row]
            if line.strip() and not is_outside(item, line):
                line = shifted(line, columns, least)
            self.page.put(item.body_line - 1 + row, line, Role.INSIDE)


def _lines_of_parts(outline: Outline) -> Iterator[int]:
    sections = [section for phase in outline.phases for section in phase.sections.values()]
    for section in [*sections, *([outline.outputs] if outline.outputs else [])]:
        yield section.place.line
        yield from (item.text.place().line for item in section.items)
    yield from (phase.name.place().line for phase in outline.phases)


def _output_text(text: str) -> str:
    named = _OUTPUT.match(text)
    return f"{named[1]}: {text[named.end() :]}" if named else text


def _step_text(text: str, step: Step | None) -> str:
    """Returns the first line of a step with one blank behind its kind and around what parts its value
    from its description."""
    if step is None or step.kind == "plain":
        return text
    rest = text[len(step.kind) + 1 :].strip()
    quote = rest[:1] if step.agent_expression is not None and rest[:1] in ('"', "'") else ""
    written = f"{quote}{step.value}{quote}"
    if not rest.startswith(written):
        return f"{step.kind}: {rest}".rstrip()
    behind = rest[len(written) :].strip()
    if not behind.startswith("-"):
        return f"{step.kind}: {value_text(step)}{rest[len(written) :]}".rstrip()
    return f"{step.kind}: {value_text(step)} - {behind[1:].strip()}".rstrip()
